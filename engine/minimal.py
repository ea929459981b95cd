"""Layers of inference on a CPU in float32: 3x3 convolutions by `winograd`, and global pooling."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ghostgo.engine.convolution import (
    INTERPRETED,
    KERNEL,
    LEAST_CHANNELS,
    MOST_PRODUCTS,
    share_of_products,
)
from ghostgo.engine.jit import kernel
from ghostgo.engine.winograd import ANYTHING, PRODUCTS, gather, spread, tiles

TILES_AT_ONCE = 576
"""Tiles of one round, 64 boards of 9x9: more leave the cache, fewer cost calls."""
MANY_CHANNELS, FEW_PRODUCTS = 48, 0.42
"""With fewer channels the share of the direct sum's products has to be so small."""
LEAST_PLANES = 12
"""Fewer planes are left to torch: their products are few."""


class Rooms:
    """Memory that the convolutions of one network share, for so many boards at a time."""

    def __init__(self, boards: int, rows: int, cols: int, channels: int, planes: int) -> None:
        size = PRODUCTS * tiles(rows, cols) * boards * max(channels, planes)
        self.inputs, self.outputs = torch.empty(size), torch.empty(size)
        """Tiles."""
        flat = boards, rows * cols * channels
        self.trunk, self.inner = torch.empty(flat), torch.empty(flat)
        """What goes from block to block, and what stands between a block's convolutions."""


def is_minimal(conv: nn.Conv2d, rows: int, cols: int) -> bool:
    """Whether `MinimalConv` is the faster way to compute this on such a board."""
    inputs, outputs = conv.in_channels, conv.out_channels
    wide = inputs >= LEAST_PLANES and outputs >= LEAST_CHANNELS
    most = MOST_PRODUCTS if outputs >= MANY_CHANNELS else FEW_PRODUCTS
    pays = wide and share_of_products(rows, cols) <= most
    return conv.kernel_size == (3, 3) and pays and not INTERPRETED


def transformed(conv: nn.Conv2d, cols: int) -> tuple[Tensor, NDArray[np.float32]]:
    """The kernel as (25, I, O) factors of the products, and the bias (cols * O,) of a row of points."""
    weight = conv.weight.detach().float().permute(2, 3, 1, 0).reshape(9, -1)
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().float()
    factors = (KERNEL @ weight).view(PRODUCTS, conv.in_channels, conv.out_channels)
    return factors, bias.repeat(cols).numpy()


class MinimalConv:
    """A convolution with folded batch norm and optional skip and ReLU.

    Batches have at most as many boards as `rooms` was made for. Results lie in `out`, which
    convolutions whose results are not needed together can share.
    """

    def __init__(
        self, conv: nn.Conv2d, relu: bool, rows: int, cols: int, rooms: Rooms, out: Tensor
    ) -> None:
        """`out` is (B, rows * cols * C) float32."""
        self.rows, self.cols, self.rooms, self.out = rows, cols, rooms, out
        self.inputs, self.outputs = conv.in_channels, conv.out_channels
        self.kernel, self.bias = transformed(conv, cols)
        self.least = np.float32(0) if relu else ANYTHING

    def _run(self, x: Tensor, out: Tensor, onto: bool) -> Tensor:
        n, t = len(x), len(x) * tiles(self.rows, self.cols)
        v = self.rooms.inputs[: PRODUCTS * t * self.inputs].view(PRODUCTS, t, self.inputs)
        m = self.rooms.outputs[: PRODUCTS * t * self.outputs].view(PRODUCTS, t, self.outputs)
        boards = x.permute(0, 2, 3, 1).reshape(n, -1)
        spread(boards.numpy(), v.numpy(), self.rows, self.cols)
        torch.bmm(v, self.kernel, out=m)
        gather(m.numpy(), self.bias, out.numpy(), self.rows, self.cols, onto, self.least)
        return out.view(n, self.rows, self.cols, self.outputs).permute(0, 3, 1, 2)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, O, H, W), channels-last."""
        return self._run(x, self.out[: len(x)], False)

    def add(self, x: Tensor, skip: Tensor) -> Tensor:
        """conv(x) + skip, behind it the ReLU if it has one; overwrites `skip`."""
        return self._run(x, skip.permute(0, 2, 3, 1).view(len(x), -1), True)


@kernel
def board_means(boards: NDArray[np.float32], out: NDArray[np.float32], points: int) -> None:
    """`ghostgo.engine.network.pool` of boards (B, points * C), into (B, 3C)."""
    c = out.shape[1] // 3
    share = np.float32(1.0 / points)
    scale = np.float32((np.sqrt(points) - 14.0) / 10.0)
    for b in range(len(boards)):
        total, most = out[b, :c], out[b, 2 * c :]
        x = boards[b, :c]
        for u in range(c):
            total[u] = x[u]
        for u in range(c):
            most[u] = x[u]
        for p in range(1, points):
            x = boards[b, p * c : (p + 1) * c]
            for u in range(c):
                total[u] += x[u]
            for u in range(c):
                most[u] = max(most[u], x[u])
        scaled = out[b, c : 2 * c]
        for u in range(c):
            total[u] *= share
        for u in range(c):
            scaled[u] = total[u] * scale


def pool(x: Tensor) -> Tensor:
    """`ghostgo.engine.network.pool` of float32 in channels-last, in a fraction of the time."""
    boards = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    out = torch.empty(len(x), 3 * x.shape[1])
    board_means(boards.numpy(), out.numpy(), x.shape[2] * x.shape[3])
    return out
