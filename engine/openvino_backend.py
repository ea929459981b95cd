"""CPU inference by OpenVINO, in bfloat16 or with an 8-bit trunk; the extra `ghostgo[openvino]`.

The model is built from the weights operator by operator, which takes a fraction of a second. What is
to be computed in 8 bits (see `ghostgo.engine.quantise`) is marked by FakeQuantize operators, which
OpenVINO turns into integer convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ghostgo.engine.network import Block, Network
from ghostgo.engine.quantise import (
    LEVELS,
    WEIGHT_LEVELS,
    Calibration,
    Rounding,
    folded,
    weight_limits,
)

SETTINGS = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    # Else the evaluators of all workers share one core.
    "ENABLE_CPU_PINNING": False,
    "INFERENCE_PRECISION_HINT": "bf16",
}
"""An evaluator belongs to one thread, as with torch."""
BOARD_AXES = (2, 3)
FLATTENED = (0, -1)


def _integers(values: Sequence[int]) -> Any:
    return np.array(values, np.int64)


class _Graph:
    """The operators that the network needs, on OpenVINO's nodes."""

    def __init__(self, width: float) -> None:
        from openvino import opset13

        self.ops: Any = opset13
        self.width = width
        """Square root of the board's points, for pooling."""

    def constant(self, tensor: Tensor) -> Any:
        return self.ops.constant(tensor.detach().float().contiguous().numpy())

    def in_8_bits(self, x: Any, low: Any, high: Any, levels: int = LEVELS) -> Any:
        return self.ops.fake_quantize(x, low, high, low, high, levels)

    def conv(self, x: Any, pair: nn.Module, rounding: Rounding | None = None) -> Any:
        """A convolution with its batch norm, if any, folded; in 8 bits if given how."""
        conv = folded(pair)
        assert conv.bias is not None
        weight, bias = self.constant(conv.weight), conv.bias.detach()
        if rounding is not None:
            limits = weight_limits(conv.weight)
            weight = self.in_8_bits(
                weight, self.constant(-limits), self.constant(limits), WEIGHT_LEVELS
            )
            x = self.in_8_bits(x, np.float32(rounding.low), np.float32(rounding.high))
            bias = bias + torch.tensor(rounding.shift)
        padding = list(conv.padding)
        out = self.ops.convolution(x, weight, [1, 1], padding, padding, [1, 1])
        return self.ops.add(out, self.constant(bias[None, :, None, None]))

    def before(self, x: Any, norm: nn.BatchNorm2d | None) -> Any:
        """Batch norm and ReLU, where there is a norm."""
        if norm is None:
            return x
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        scale, shift = (self.constant(each[None, :, None, None]) for each in (scale, shift))
        return self.ops.relu(self.ops.add(self.ops.multiply(x, scale), shift))

    def linear(self, x: Any, weight: Tensor, bias: Tensor) -> Any:
        return self.ops.add(
            self.ops.matmul(x, self.constant(weight), False, True), self.constant(bias)
        )

    def spread(self, x: Any, layer: nn.Linear) -> Any:
        """The layer's output for x, (B, C), to be added to every point: (B, C, 1, 1)."""
        return self.ops.unsqueeze(self.linear(x, layer.weight, layer.bias), _integers(BOARD_AXES))

    def pool(self, x: Any) -> Any:
        """As `ghostgo.engine.network.pool`."""
        axes = _integers(BOARD_AXES)
        mean = self.ops.reduce_mean(x, axes, False)
        wide = self.ops.multiply(mean, np.float32((self.width - 14.0) / 10.0))
        return self.ops.concat([mean, wide, self.ops.reduce_max(x, axes, False)], 1)


def _model(network: Network, calibration: Calibration | None, score: bool) -> Any:
    """The network as an OpenVINO model: (B, H, W, C) bf16 planes to policy and value logits.

    With `score` the expected margin in points, (B, 1), comes third.
    """
    import openvino

    game = network.game
    g = _Graph(float(game.points) ** 0.5)
    ops = g.ops
    shape = openvino.PartialShape([-1, game.rows, game.cols, game.planes])
    planes = ops.parameter(shape, openvino.Type.bf16)
    roundings = iter(calibration or [None] * (2 * len(network.blocks)))
    x = ops.transpose(ops.convert(planes, "f32"), _integers((0, 3, 1, 2)))
    x = g.conv(x, network.stem)
    x = ops.relu(x) if network.norm is None else x
    for block in network.blocks:
        assert isinstance(block, Block)
        y = ops.relu(g.conv(g.before(x, block.norm), block.first, next(roundings)))
        if block.pooled is not None:
            y = ops.add(y, g.spread(g.pool(y), block.pooled))
        x = ops.add(x, g.conv(y, block.second, next(roundings)))
        x = ops.relu(x) if block.norm is None else x
    x = g.before(x, network.norm)
    outputs = [_policy(g, network, x), *_value_and_score(g, network, x)]
    return openvino.Model(outputs if score else outputs[:2], [planes], "ghostgo")


def _policy(g: _Graph, network: Network, x: Any) -> Any:
    """Logits of the own move, (B, A)."""
    ops, actions, out = g.ops, network.game.actions, network.policy_out
    p = ops.relu(g.conv(x, network.policy_conv))
    pooled = g.pool(p)
    p = ops.relu(ops.add(p, g.spread(pooled, network.policy_pool)))
    if isinstance(out, nn.Linear):
        flat = ops.reshape(p, _integers(FLATTENED), True)
        return g.linear(flat, out.weight[:actions], out.bias[:actions])
    assert isinstance(out, nn.Conv2d) and out.bias is not None
    points = ops.convolution(p, g.constant(out.weight[:1]), [1, 1], [0, 0], [0, 0], [1, 1])
    points = ops.add(points, g.constant(out.bias[:1]))
    points = ops.reshape(points, _integers(FLATTENED), True)
    if network.pass_out is None:
        return points
    passing = g.linear(pooled, network.pass_out.weight[:1], network.pass_out.bias[:1])
    return ops.concat([points, passing], 1)


def _value_and_score(g: _Graph, network: Network, x: Any) -> list[Any]:
    """Logits of win, draw, loss, (B, 3), and points, (B, 1), where the game has them."""
    hidden, out, score = network.value_hidden, network.value_out, network.score_out
    v = g.pool(g.ops.relu(g.conv(x, network.value_conv)))
    v = g.ops.relu(g.linear(v, hidden.weight, hidden.bias))
    value = g.linear(v, out.weight, out.bias)
    if score is None:
        return [value]
    return [value, g.ops.multiply(g.linear(v, score.weight, score.bias), np.float32(g.width))]


class OpenVinoNetwork:
    """The network's policy and value for inference on one thread of a CPU, from (B, C, H, W) bf16
    planes, channels-last.

    The trunk in 8 bits if there is a calibration for these weights, else all in bfloat16. Built from
    a snapshot: later changes of the network do not show.
    """

    def __init__(
        self, network: Network, calibration: Calibration | None = None, score: bool = False
    ) -> None:
        """Raises ValueError if the calibration is for another number of convolutions."""
        import openvino

        if calibration is not None and len(calibration) != 2 * len(network.blocks):
            raise ValueError("the calibration is of another network")
        model = _model(network, calibration, score)
        self._score = score
        self._type, self._tensor = openvino.Type.bf16, openvino.Tensor
        compiled = openvino.Core().compile_model(model, "CPU", SETTINGS)
        self._request = compiled.create_infer_request()

    def __call__(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Policy logits (B, A), value logits (B, 3) and, if asked for, scores (B,), float32.

        Overwritten by the next call.
        """
        bits = planes.permute(0, 2, 3, 1).view(torch.int16).numpy()
        self._request.set_input_tensor(self._tensor(bits, bits.shape, self._type))
        self._request.infer()
        outputs = [
            torch.from_numpy(self._request.get_output_tensor(i).data)
            for i in range(2 + self._score)
        ]
        return outputs[0], outputs[1], outputs[2][:, 0] if self._score else None


@cache
def available() -> tuple[bool, str]:
    """Whether OpenVINO is installed and runs on this processor, and why."""
    if find_spec("openvino") is None:
        return False, "OpenVINO is not installed: pip install 'ghostgo[openvino]'"
    try:
        import openvino

        if "CPU" not in openvino.Core().available_devices:
            return False, "OpenVINO does not know this processor"
    except (ImportError, RuntimeError) as error:
        return False, f"OpenVINO fails: {str(error).splitlines()[0]}"
    return True, f"OpenVINO {openvino.__version__.partition('-')[0]}"
