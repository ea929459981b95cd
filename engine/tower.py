"""A network's trunk on a CPU in float32: all its minimal filters (`winograd`) in one kernel.

A batch goes from the planes to the last block without coming back to Python, so that threads can
share it: they meet once a batch, torch's own at every operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ghostgo.engine import blas
from ghostgo.engine.jit import kernel
from ghostgo.engine.minimal import board_means, is_minimal, transformed
from ghostgo.engine.network import Block, Network
from ghostgo.engine.quantise import folded
from ghostgo.engine.winograd import PRODUCTS, gather, spread, tiles

Floats = NDArray[np.float32]
_0 = np.float32(0)


@kernel
def _convolve(
    x: Floats, weights: Floats, bias: Floats, out: Floats, onto: bool, v: Floats, m: Floats,
    rows: int, cols: int,
) -> None:  # fmt: skip
    """A convolution and its ReLU, of boards `x` into or onto `out`; `v` and `m` are memory."""
    p, i, o = weights.shape
    t = len(x) * -(-rows // 3) * -(-cols // 3)
    spreads, products = v[: p * t * i].reshape(p, t, i), m[: p * t * o].reshape(p, t, o)
    spread(x, spreads, rows, cols)
    blas.multiply(spreads, weights, products)
    gather(products, bias, out, rows, cols, onto, _0)


@kernel
def _shift(boards: Floats, means: Floats, weights: Floats, bias: Floats) -> None:
    """Add means @ weights + bias, (B, 3C) by (3C, C), to each point of `boards` (B, P * C)."""
    c = len(bias)
    for b in range(len(boards)):
        added = bias.copy()
        for j in range(3 * c):
            f, w = means[b, j], weights[j]
            for u in range(c):
                added[u] += f * w[u]
        for p in range(boards.shape[1] // c):
            y = boards[b, p * c : (p + 1) * c]
            for u in range(c):
                y[u] += added[u]


@kernel
def _climb(
    x: Floats, weights: Floats, biases: Floats, pooled: NDArray[np.int64], shifts: Floats,
    shift_biases: Floats, y: Floats, v: Floats, m: Floats, rows: int, cols: int,
) -> None:  # fmt: skip
    """Blocks onto boards `x`; `pooled` has each block's place in `shifts`, -1 if it pools nothing."""
    means = np.empty((len(x), 3 * weights.shape[3]), np.float32)
    for i in range(len(pooled)):
        _convolve(x, weights[2 * i], biases[2 * i], y, False, v, m, rows, cols)
        if pooled[i] >= 0:
            board_means(y, means, rows * cols)
            _shift(y, means, shifts[pooled[i]], shift_biases[pooled[i]])
        _convolve(y, weights[2 * i + 1], biases[2 * i + 1], x, True, v, m, rows, cols)


def fits(network: Network) -> bool:
    """Whether `Tower` is the faster way to compute this network's trunk here."""
    game, blocks = network.game, network.blocks
    plain = network.norm is None and len(blocks) > 0
    convs = [folded(network.stem), folded(blocks[0].first)] if plain else []  # type: ignore[arg-type]
    return (
        plain and all(is_minimal(conv, game.rows, game.cols) for conv in convs) and blas.available()
    )


class Tower:
    """Stem and blocks of a network that `fits`, for so many boards at a time and thread.

    Built from a snapshot. Calls share memory, also that of their result.
    """

    def __init__(self, network: Network, boards: int, threads: int = 1) -> None:
        game = network.game
        self.rows, self.cols = game.rows, game.cols
        stem = folded(network.stem)
        c, planes = stem.out_channels, stem.in_channels
        self.first = _layer(stem, self.cols)
        blocks: Sequence[Block] = list(network.blocks)  # type: ignore[arg-type]
        layers = [_layer(folded(conv), self.cols) for b in blocks for conv in (b.first, b.second)]
        linears = [block.pooled for block in blocks if block.pooled is not None]
        places = np.cumsum([block.pooled is not None for block in blocks]) - 1
        self.rest = (
            np.stack([weights for weights, _ in layers]),
            np.stack([bias for _, bias in layers]),
            np.array([-1 if b.pooled is None else k for b, k in zip(blocks, places, strict=True)]),
            _stacked([each.weight.T for each in linears], (3 * c, c)),
            _stacked([each.bias for each in linears], (c,)),
        )
        self.boards, self.channels = boards * threads, c
        """Most boards in a call."""
        flat = self.rows * self.cols * c
        room = boards * PRODUCTS * tiles(self.rows, self.cols)
        self.rooms = [
            (_empty(boards, flat), _empty(room * max(c, planes)), _empty(room * c))
            for _ in range(threads)
        ]
        self.x = torch.zeros(self.boards, flat)
        others = threads - 1
        self.pool = (
            ThreadPoolExecutor(others, "share", torch.set_num_threads, (1,)) if others else None
        )

    def __call__(self, planes: Tensor, wanted: int | None = None) -> Tensor:
        """(B, C, H, W) of channels-last float32 to the same, B at most `boards`.

        Only the first `wanted` boards are computed, if given: what the others get has no meaning.
        """
        n, w = len(planes), len(planes) if wanted is None else wanted
        x, boards = self.x[:w], planes[:w].permute(0, 2, 3, 1).reshape(w, -1).numpy()
        if self.pool is None or w == 1:
            self._climb(boards, x.numpy(), self.rooms[0])
        else:
            shares = [np.array_split(each, len(self.rooms)) for each in (boards, x.numpy())]
            (own, *others) = zip(*shares, self.rooms, strict=True)
            asked = [self.pool.submit(self._climb, *each) for each in others if len(each[0])]
            self._climb(*own)
            for each in asked:
                each.result()
        return self.x[:n].view(n, self.rows, self.cols, self.channels).permute(0, 3, 1, 2)

    def _climb(self, boards: Floats, x: Floats, room: tuple[Floats, Floats, Floats]) -> None:
        y, v, m = room
        _convolve(boards, *self.first, x, False, v, m, self.rows, self.cols)
        _climb(x, *self.rest, y[: len(x)], v, m, self.rows, self.cols)


def _layer(conv: nn.Conv2d, cols: int) -> tuple[Floats, Floats]:
    weights, bias = transformed(conv, cols)
    return weights.numpy(), bias


def _empty(*shape: int) -> Floats:
    return np.empty(shape, np.float32)


def _stacked(each: Sequence[Tensor], shape: tuple[int, ...]) -> Floats:
    if not each:
        return _empty(0, *shape)
    stacked: Floats = torch.stack([one.detach().float() for one in each]).contiguous().numpy()
    return stacked
