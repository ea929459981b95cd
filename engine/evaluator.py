"""Where and how batches of positions are judged: device, number format, backend."""

from __future__ import annotations

import copy
import os
import re

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ghostgo.engine import fused, openvino_backend
from ghostgo.engine.errors import UserError
from ghostgo.engine.network import Network, count_flops, expected_value
from ghostgo.engine.quantise import Calibration

BACKENDS = ("fp32", "bf16", "fused", "openvino", "int8")
ROUND_ROWS = 8
"""Batches are rounded up to a multiple of this: few shapes occur, and a board's result has the same
bits in each of them. The fused trunk skips the boards that only fill up (`Tower`)."""


def choose_device(wanted: str = "auto") -> tuple[str, str]:
    """The device to use, and why; `wanted` is `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises UserError for a device that is not there.
    """
    if wanted == "auto":
        wanted = os.environ.get("GHOSTGO_DEVICE", "auto")
    if wanted == "cpu":
        return "cpu", "asked for"
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda", f"a GPU is at hand: {torch.cuda.get_device_name()}"
        return "cpu", "no GPU that this torch can use"
    match = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if not match:
        raise UserError(f"device {wanted!r} is unknown; one of: auto, cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        raise UserError(f"device {wanted!r} is not available: this torch sees no GPU; use cpu")
    count = torch.cuda.device_count()
    if int(match[1] or 0) >= count:
        raise UserError(f"device {wanted!r} is not available: the last GPU is cuda:{count - 1}")
    return wanted, "asked for"


def choose_backend(device: str) -> tuple[str, str]:
    """How to compute on `device`, and why: `fused`, `bf16` or `fp32`."""
    if device != "cpu":
        if torch.cuda.is_bf16_supported():
            return "bf16", "bfloat16, channels-last"
        return "fp32", "this GPU has no bfloat16"
    ok, why = fused.available()
    if ok:
        return "fused", why
    if fused.has_bfloat16():
        return "bf16", f"eager bfloat16, channels-last ({why})"
    return "fp32", f"float32, channels-last ({why})"


def backend_works(backend: str, device: str) -> tuple[bool, str]:
    """Whether `backend` (see `choose_backend`, `openvino` and `int8` besides) works here, and why.

    Raises UserError for a name that is none.
    """
    if backend in ("fp32", "bf16"):
        return True, "eager torch"
    if backend not in BACKENDS:
        raise UserError(f"backend {backend!r} is unknown; one of: {', '.join(BACKENDS)}")
    if device != "cpu":
        return False, f"it computes on a CPU, not on {device}"
    return fused.available() if backend == "fused" else openvino_backend.available()


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class NetworkEvaluator:
    """Judges batches with a network; see `ghostgo.engine.search.Evaluator` for the arrays.

    Weights are a snapshot: call `load` after training. On a CPU it computes with the calling
    thread's torch thread count, by OpenVINO with one thread. With `threads` minimal filters
    (backend `fused` in float32) share each batch out among so many. The backend `int8` needs the
    calibration of just these weights (`ghostgo.engine.quantise.calibrate`). With `score` it gives
    the network's scores too.
    """

    def __init__(
        self,
        network: Network,
        batch: int,
        device: str = "auto",
        backend: str = "auto",
        calibration: Calibration | None = None,
        score: bool = False,
        rank: int = 0,
        threads: int = 1,
    ) -> None:
        """With a `rank` (codes of `GameTable.ranks`) the network judges as players of it would.

        Raises ValueError if scores are asked for in a game without points, or a rank of a network
        that is not told ranks; UserError if scores are asked of a network that forecasts none.
        """
        game = network.game
        if score and not game.has_score:
            raise ValueError(f"{game.name} has no points to expect")
        if score and network.score_out is None:
            raise UserError(
                f"score_weight: the network {network.config.name} forecasts no score: it must be 0"
            )
        self.game = game
        self.rank = rank
        self.threads = threads
        self.device, _ = choose_device(device)
        self.backend = choose_backend(self.device)[0] if backend == "auto" else backend
        rows = -(-batch // ROUND_ROWS) * ROUND_ROWS
        bits = torch.zeros(rows, game.rows, game.cols, game.planes, dtype=torch.int16)
        if self.device != "cpu":
            bits = bits.pin_memory()
        self._input = bits.view(torch.bfloat16).permute(0, 3, 1, 2)
        flat = bits.numpy().view(np.uint16).reshape(rows, game.points, game.planes)
        self.planes: NDArray[np.uint16] = flat[:batch]
        self.policy: NDArray[np.float32] = np.zeros((rows, game.actions), np.float32)
        self.value: NDArray[np.float32] = np.zeros(batch, np.float32)
        self.score: NDArray[np.float32] = np.zeros(batch if score else 0, np.float32)
        """(batch,) expected margin in points for the side to move; empty if not asked for."""
        self.evaluations = 0
        self.flops_per_evaluation = count_flops(network)
        self._compiled: fused.FusedNetwork | openvino_backend.OpenVinoNetwork | None = None
        self.load(network, calibration)

    def load(self, network: Network, calibration: Calibration | None = None) -> None:
        """Take a fresh snapshot of the network's weights; for int8 with the calibration of these.

        Raises ValueError for int8 without one.
        """
        if self.backend == "int8" and calibration is None:
            raise ValueError("int8 needs a calibration for these weights")
        network = network.at_rank(self.rank)
        with torch.no_grad():
            if self.backend in ("fused", "openvino", "int8"):
                snapshot = copy.deepcopy(network).to("cpu").eval()
                scores = len(self.score) > 0
                self._compiled = (
                    fused.FusedNetwork(snapshot, len(self._input), scores, threads=self.threads)
                    if self.backend == "fused"
                    else openvino_backend.OpenVinoNetwork(snapshot, calibration, scores)
                )
                return
            dtype = torch.bfloat16 if self.backend == "bf16" else torch.float32
            self._eager = copy.deepcopy(network).eval().requires_grad_(False)
            self._eager.to(device=self.device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _forward(self, x: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the network says of the boards `x`, of which only the first n need be right."""
        if isinstance(self._compiled, fused.FusedNetwork):
            return self._compiled(x, n)
        if self._compiled is not None:
            return self._compiled(x)
        dtype = torch.bfloat16 if self.backend == "bf16" else torch.float32
        x = x.to(device=self.device, dtype=dtype, non_blocking=True)
        trunk = self._eager.trunk(x)
        heads = self._eager.value_heads(trunk)
        score = heads["score"].float() if len(self.score) else None
        return self._eager.policy_heads(trunk)[:, 0].float(), heads["value"].float(), score

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1 of `planes` into `policy` and `value`, and `score` if asked for.

        Raises FloatingPointError if the network gives something that is not a number.
        """
        rows = min(-(-n // ROUND_ROWS) * ROUND_ROWS, len(self._input))
        with torch.inference_mode():
            policy, value, score = self._forward(self._input[:rows], n)
            torch.from_numpy(self.policy)[:rows].copy_(policy)
            self.value[:n] = expected_value(value)[:n].cpu().numpy()
            if score is not None:
                self.score[:n] = score[:n].cpu().numpy()
        for head in ("value", "policy", "score"):
            if not np.isfinite(getattr(self, head)[:n]).all():
                raise FloatingPointError(
                    f"the network's {head} is not a number: its weights are broken"
                )
        self.evaluations += n


def make_evaluator(
    network: Network,
    batch: int,
    device: str = "auto",
    backend: str = "auto",
    calibration: Calibration | None = None,
    score: bool = False,
    rank: int = 0,
    threads: int = 1,
) -> NetworkEvaluator:
    """An evaluator of up to `batch` rows for `network` on the best device and backend here."""
    return NetworkEvaluator(network, batch, device, backend, calibration, score, rank, threads)
