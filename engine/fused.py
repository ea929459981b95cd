"""CPU inference: batch norms folded, activations and skips fused into convolutions.

In bfloat16 where the processor has it, else in float32, where the 3x3 convolutions are minimal filters
on boards that these pay on: all of the trunk in one kernel (`ghostgo.engine.tower`), or where that is
not to be had layer by layer (`ghostgo.engine.minimal`).

With pre-activation a ReLU stands between the norm before a block and the convolution, and the skip
needs what was before both: that norm can be folded into nothing. It stays in float32, between
activations in bfloat16; such a block reads and writes its input once more than another.

All other convolutions are oneDNN's operators, which torch keeps for its own compiler. They
are private, so `available` tries them once on small tensors against the public operators, and
whoever asks falls back to eager operators where the trial fails.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostgo.engine import minimal
from ghostgo.engine.convolution import INTERPRETED
from ghostgo.engine.minimal import TILES_AT_ONCE, MinimalConv, Rooms, is_minimal
from ghostgo.engine.network import Block, Network, pool
from ghostgo.engine.quantise import folded
from ghostgo.engine.tower import Tower, fits
from ghostgo.engine.winograd import tiles

_POINTWISE: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_POINTWISE_IN_PLACE: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise_", None)


class FusedConv:
    """A convolution with folded batch norm and optional skip and ReLU, weights packed for oneDNN."""

    def __init__(
        self,
        conv: nn.Conv2d,
        relu: bool,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.padding = list(conv.padding)
        weight = conv.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        self.relu = "relu" if relu else None
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight, self.padding, [1, 1], [1, 1], 1, list(shape)
        )

    def __call__(self, x: Tensor) -> Tensor:
        return _POINTWISE(  # type: ignore[no-any-return]
            x, self.weight, self.bias, self.padding, [1, 1], [1, 1], 1, self.relu or "none", [], ""
        )

    def add(self, x: Tensor, skip: Tensor) -> Tensor:
        """conv(x) + skip, behind it the ReLU if it has one; overwrites `skip`, which stays in cache."""
        return _POINTWISE_IN_PLACE.binary(  # type: ignore[no-any-return]
            skip, x, self.weight, self.bias, self.padding, [1, 1], [1, 1], 1,
            "add", 1.0, self.relu, [], "",
        )  # fmt: skip


class FusedNorm:
    """A batch norm and the ReLU behind it, from x, which stays for the skip, into `room`.

    All norms of a network share that room: fresh memory would cost more than they do.
    """

    def __init__(self, norm: nn.BatchNorm2d, room: Tensor) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        self.weight, self.bias = norm.weight.detach().clone(), norm.bias.detach().clone()
        self.mean, self.variance = norm.running_mean.clone(), norm.running_var.clone()
        self.eps = norm.eps
        self.room = room

    def __call__(self, x: Tensor) -> Tensor:
        out = self.room[: len(x)]
        unused = torch.empty(0), torch.empty(0)  # statistics of a batch in training
        torch.native_batch_norm(
            x, self.weight, self.bias, self.mean, self.variance, False, 0.0, self.eps,
            out=(out, *unused),
        )  # fmt: skip
        return out.relu_()


class FusedNetwork:
    """The network's policy, value and, if asked for, score on a CPU, from (B, C, H, W) planes.

    B is at most `batch`. Planes are channels-last. Built from a snapshot: later changes of the network
    do not show. A network's calls share memory, so it belongs to one thread. With minimal filters a
    batch is computed some boards at a time, from the first layer to the last, so that they stay in cache.
    """

    def __init__(
        self,
        network: Network,
        batch: int,
        score: bool = False,
        dtype: torch.dtype | None = None,
        threads: int = 1,
    ) -> None:
        """`dtype` is bfloat16 or float32; None: as `number_format`.

        Minimal filters share a batch out among `threads`, the calling one included.
        """
        game, c = network.game, network.config.channels
        self.game, self.dtype = game, dtype or number_format()
        self.rooms: Rooms | None = None
        self.tower: Tower | None = None
        first = folded(network.blocks[0].first)  # type: ignore[arg-type]
        most = max(1, TILES_AT_ONCE // tiles(game.rows, game.cols))
        if self.dtype == torch.float32 and fits(network):
            self.tower = Tower(network, min(-(-batch // threads), most), threads)
            batch = self.tower.boards
        elif self.dtype == torch.float32 and is_minimal(first, game.rows, game.cols):
            batch = min(batch, most)
            self.rooms = Rooms(batch, game.rows, game.cols, c, game.planes)
        self.boards_at_once = batch
        self.shape = (batch, c, game.rows, game.cols)
        self.room = torch.empty(self.shape, dtype=self.dtype, memory_format=torch.channels_last)
        planes = (batch, game.planes, game.rows, game.cols)
        if self.tower is None:
            self.stem = self._conv(network.stem, network.norm is None, planes)
            self.blocks = [self._block(block) for block in network.blocks]  # type: ignore[arg-type]
        self.norm = self._norm(network.norm)
        self.policy_conv = self._conv(network.policy_conv)
        self.value_conv = self._conv(network.value_conv)
        self.policy_pool = self._linear(network.policy_pool)
        self.pass_out = None if network.pass_out is None else self._linear(network.pass_out)
        self.value_hidden = self._linear(network.value_hidden)
        self.value_out = self._linear(network.value_out)
        wanted = network.score_out if score else None
        self.score_out = None if wanted is None else self._linear(wanted)
        out = network.policy_out
        a = game.actions
        if isinstance(out, nn.Linear):
            self.policy_weight = out.weight.detach()[:a].to(self.dtype)
            self.policy_bias = out.bias.detach()[:a].to(self.dtype)
        else:
            self.policy_weight = out.weight.detach()[:1, :, 0, 0].to(self.dtype)  # type: ignore[operator]
            self.policy_bias = out.bias.detach()[:1].to(self.dtype)  # type: ignore[operator]

    def _conv(
        self,
        pair: nn.Module,
        relu: bool = True,
        shape: tuple[int, int, int, int] | None = None,
    ) -> FusedConv | MinimalConv:
        """The stem's has the `shape` of its input; the results of all others share a room."""
        conv, (rows, cols) = folded(pair), self.shape[2:]
        if self.rooms is not None and is_minimal(conv, rows, cols):
            out = self.rooms.inner if shape is None else self.rooms.trunk
            return MinimalConv(conv, relu, rows, cols, self.rooms, out)
        return FusedConv(conv, relu, shape or self.shape, self.dtype)

    def _linear(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return layer.weight.detach().to(self.dtype), layer.bias.detach().to(self.dtype)

    def _norm(self, norm: nn.BatchNorm2d | None) -> FusedNorm | None:
        return None if norm is None else FusedNorm(norm, self.room)

    def _block(
        self, block: Block
    ) -> tuple[
        FusedNorm | None,
        FusedConv | MinimalConv,
        FusedConv | MinimalConv,
        tuple[Tensor, Tensor] | None,
    ]:
        return (
            self._norm(block.norm),
            self._conv(block.first),
            self._conv(block.second, relu=block.norm is None),
            None if block.pooled is None else self._linear(block.pooled),
        )

    def __call__(
        self, planes: Tensor, wanted: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Policy logits (B, A), value logits (B, 3) and scores (B,) in points, float32.

        Of the first `wanted` boards, if given: what is said of the others has no meaning then. The
        heads still take all B, so that their products have the shape, and the bits, of B boards.
        """
        left, parts = len(planes) if wanted is None else wanted, []
        for part in torch.split(planes, self.boards_at_once):
            parts.append(self._part(part.to(self.dtype), max(1, min(left, len(part)))))
            left -= len(part)
        if len(parts) == 1:
            return parts[0]
        policy, value, score = zip(*parts, strict=True)
        return torch.cat(policy), torch.cat(value), None if score[0] is None else torch.cat(score)

    def _part(self, planes: Tensor, wanted: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same for as many boards as there is memory for."""
        x = self._trunk(planes) if self.tower is None else self.tower(planes, wanted)
        hidden = F.relu(F.linear(self._pool(self.value_conv(x)), *self.value_hidden))
        value, score = F.linear(hidden, *self.value_out).float(), None
        if self.score_out is not None:
            score = F.linear(hidden, *self.score_out)[:, 0].float() * self.game.points**0.5
        return self._policy(x).float(), value, score

    def _trunk(self, planes: Tensor) -> Tensor:
        """The last block's output, layer by layer."""
        x = self.stem(planes)
        for norm, first, second, pooled in self.blocks:
            y = first(x if norm is None else norm(x))
            if pooled is not None:
                y += F.linear(self._pool(y), *pooled)[:, :, None, None]
            x = second.add(y, x)
        return x if self.norm is None else self.norm(x)

    def _pool(self, x: Tensor) -> Tensor:
        return minimal.pool(x) if self.dtype == torch.float32 and not INTERPRETED else pool(x)

    def _policy(self, x: Tensor) -> Tensor:
        p = self.policy_conv(x)
        pooled = self._pool(p)
        p = F.relu(p + F.linear(pooled, *self.policy_pool)[:, :, None, None])
        if self.game.policy_head == "flat":
            return F.linear(p.flatten(1), self.policy_weight, self.policy_bias)
        # Channels-last: points as rows of a matrix, no copy.
        points = F.linear(p.permute(0, 2, 3, 1), self.policy_weight, self.policy_bias).flatten(1)
        if self.pass_out is None:
            return points
        weight, bias = self.pass_out
        return torch.cat([points, F.linear(pooled, weight[:1], bias[:1])], dim=1)


def number_format() -> torch.dtype:
    """What the fused path computes in here: bfloat16 if the processor has it, else float32."""
    return torch.bfloat16 if has_bfloat16() else torch.float32


def has_bfloat16() -> bool:
    """Whether this torch has oneDNN, and that computes in bfloat16 on this processor."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())


def available() -> tuple[bool, str]:
    """Whether the fused operators exist here and compute what the public ones do, and why."""
    if _POINTWISE is None:
        return False, "this torch has no fused oneDNN convolution"
    return _tried(number_format())


@cache
def _tried(dtype: torch.dtype) -> tuple[bool, str]:
    generator = torch.Generator().manual_seed(1)
    conv = nn.Conv2d(16, 16, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator) * 0.1)
    x = torch.randn(4, 16, 5, 5, generator=generator).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            fused = FusedConv(conv, True, (4, 16, 5, 5), dtype)
            plain = FusedConv(conv, False, (4, 16, 5, 5), dtype)
            want = conv(x.float())
            errors = [
                (fused(x).float() - F.relu(want)).abs().max(),
                (fused.add(x, x.clone()).float() - F.relu(want + x.float())).abs().max(),
                (plain.add(x, x.clone()).float() - (want + x.float())).abs().max(),
                (FusedNorm(nn.BatchNorm2d(16), torch.empty_like(x))(x).float() - F.relu(x.float()))
                .abs()
                .max(),
            ]
    except (RuntimeError, TypeError, AttributeError) as error:
        return False, f"fused oneDNN convolution fails: {str(error).splitlines()[0]}"
    if max(float(e) for e in errors) > (0.1 if dtype == torch.bfloat16 else 1e-3):
        return False, "fused oneDNN convolution disagrees with the public operator"
    if dtype == torch.bfloat16:
        return True, "fused bfloat16 convolutions by oneDNN"
    return True, "fused float32 convolutions; this processor has no bfloat16 support in oneDNN"
