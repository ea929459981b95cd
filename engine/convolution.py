"""The 3x3 convolution of training on a CPU in float32, by `winograd`; `minimal` has that of inference.

Twice as fast there from 64 channels on as oneDNN, which torch calls and which has no minimal filters
for float32: docs/decisions/0009-minimal-filters.md.
"""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ghostgo.engine.winograd import (
    ANYTHING,
    PRODUCTS,
    G,
    gather,
    gather_back,
    spread,
    spread_back,
    tiles,
)

TILES_AT_ONCE = 288
"""Tiles of one round, 32 boards of 9x9: more leave the cache, fewer cost calls."""
LEAST_CHANNELS = 32
"""With fewer channels the products are too few for what is spent around them."""
MOST_PRODUCTS = 0.55
"""Share of the direct sum's products beyond which a board is not worth cutting."""
INTERPRETED = bool(numba.config.__dict__["DISABLE_JIT"])
"""Whether kernels run as plain Python, which is far slower than torch."""
KERNEL = torch.from_numpy(np.kron(G, G)).float()
"""(25, 9): what a 3x3 kernel contributes to each product."""


class _Scratch(threading.local):
    """Floats that a thread writes its tiles into, kept: fresh memory costs more than the products."""

    def __init__(self) -> None:
        self.held: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor of this shape, with whatever was in it."""
        need = int(np.prod(shape))
        held = self.held.get(name)
        if held is None or held.numel() < need:
            held = self.held[name] = torch.empty(need)
        return held[:need].view(shape)


_scratch = _Scratch()


def _flat(x: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(B, C, H, W) as (B, H * W * C), points before channels; not copied where it lies so already."""
    return x.detach().permute(0, 2, 3, 1).contiguous().view(len(x), -1).numpy()


class _Convolution(torch.autograd.Function):
    """(B, C, H, W), (O, C, 3, 3) to (B, O, H, W) in channels-last, zeros around the board."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        b, c, h, w = x.shape
        o, t = len(weight), tiles(h, w)
        boards, step = _flat(x), max(1, TILES_AT_ONCE // t)
        kernel = (KERNEL @ weight.permute(2, 3, 1, 0).reshape(9, c * o)).view(PRODUCTS, c, o)
        out, no_bias = torch.empty(b, h * w * o), np.zeros(w * o, np.float32)
        for first in range(0, b, step):
            part = boards[first : first + step]
            v = _scratch.take("inputs", PRODUCTS, len(part) * t, c)
            m = _scratch.take("outputs", PRODUCTS, len(part) * t, o)
            spread(part, v.numpy(), h, w)
            torch.bmm(v, kernel, out=m)
            gather(m.numpy(), no_bias, out[first : first + step].numpy(), h, w, False, ANYTHING)
        ctx.save_for_backward(x, kernel)
        return out.view(b, h, w, o).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        x, kernel = ctx.saved_tensors
        b, c, h, w = x.shape
        o, t = kernel.shape[2], tiles(h, w)
        boards, given, step = _flat(x), _flat(gradients[0]), max(1, TILES_AT_ONCE // t)
        of_kernel = torch.zeros(PRODUCTS, c, o)
        of_x = torch.empty(b, h * w * c) if ctx.needs_input_grad[0] else None
        for first in range(0, b, step):
            part = boards[first : first + step]
            v = _scratch.take("inputs", PRODUCTS, len(part) * t, c)
            m = _scratch.take("outputs", PRODUCTS, len(part) * t, o)
            spread(part, v.numpy(), h, w)  # again: keeping it would cost three times x in memory
            gather_back(given[first : first + step], m.numpy(), h, w)
            of_kernel.baddbmm_(v.transpose(1, 2), m)
            if of_x is not None:
                torch.bmm(m, kernel.transpose(1, 2), out=v)
                spread_back(v.numpy(), of_x[first : first + step].numpy(), h, w)
        weight = (KERNEL.T @ of_kernel.view(PRODUCTS, c * o)).view(3, 3, c, o).permute(3, 2, 0, 1)
        return (None if of_x is None else of_x.view(b, h, w, c).permute(0, 3, 1, 2)), weight


def share_of_products(rows: int, cols: int) -> float:
    """Products of a board's tiles, as a share of those of the direct sum."""
    # Of the direct sum's 3x3 products a point, those beyond the edge are not made.
    return tiles(rows, cols) * PRODUCTS / ((3 * rows - 2) * (3 * cols - 2))


def is_served(x: Tensor, weight: Tensor) -> bool:
    """Whether `Conv3x3` computes this by `winograd`: in training, on a CPU, in float32, compiled."""
    rows, cols = x.shape[2:]
    return (
        not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and weight.requires_grad
        and min(weight.shape[:2]) >= LEAST_CHANNELS
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not INTERPRETED
        and share_of_products(int(rows), int(cols)) <= MOST_PRODUCTS
    )


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution without bias, zeros around the board; same weights as `nn.Conv2d`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, O, H, W)."""
        if self.bias is None and is_served(input, self.weight):
            return _Convolution.apply(input, self.weight)  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(input)
