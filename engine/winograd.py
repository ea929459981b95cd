"""Kernels of the minimal filter F(3x3, 3x3): a 3x3 convolution by 25 products a tile instead of 81.

A board is cut into tiles of 3x3 points. With A, B, G below, the outputs of a tile are
A' ((G g G') * (B' d B)) A of its 5x5 inputs d and the kernel g (Winograd 1980; Lavin and Gray 2016,
"Fast algorithms for convolutional neural networks", section 4.2; ' is the transpose, * elementwise).
The products over channels are 25 matrix products over all tiles of a batch, which the caller makes.
The evaluation points are 0, 1, -1, 2 and infinity; in float32 the results differ from the direct
sum's by some 1e-6 of the largest.

Boards are (B, rows * cols * C) float32, points row by row, channels last; tiles are (25, B * T, C)
with T tiles a board, row by row; what lies beyond the board counts as zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.jit import kernel

Floats = NDArray[np.float32]

SIDE = 3
"""Points of a tile's side."""
PRODUCTS = 25
"""Products of a tile, 5 by 5."""
G = np.array([[3, 0, 0], [-3, -3, -3], [-1, 1, -1], [1, 2, 4], [0, 0, 6]]) / 6.0
"""What a kernel's three weights contribute to each of five products, in one direction. B' and A' are
written out in `spread` and `gather`."""
ANYTHING = np.float32(-np.inf)
"""The `least` of `gather` that leaves results as they are."""
_2, _3, _4 = np.float32(2), np.float32(3), np.float32(4)


def tiles(rows: int, cols: int) -> int:
    """Tiles that a board is cut into."""
    return -(-rows // SIDE) * -(-cols // SIDE)


# Each loop writes one vector, named just before it: that is what the compiler vectorises. With the sums
# in functions of their own the kernels take twice as long.


@kernel
def spread(boards: Floats, v: Floats, rows: int, cols: int) -> None:
    """Write B' d B of each board's tiles into `v`."""
    c = v.shape[2]
    down, across, n = -(-rows // 3), -(-cols // 3), cols * c
    z = np.zeros((5, (3 * across + 2) * c), np.float32)  # B' d of a row of tiles; zeros beside it
    off = np.zeros(n, np.float32)
    for b in range(len(boards)):
        x = boards[b]
        for i in range(down):
            r = (3 * i - 1) * n
            d0 = x[r : r + n] if i else off
            d1 = x[r + n : r + 2 * n]
            d2 = x[r + 2 * n : r + 3 * n] if 3 * i + 1 < rows else off
            d3 = x[r + 3 * n : r + 4 * n] if 3 * i + 2 < rows else off
            d4 = x[r + 4 * n : r + 5 * n] if 3 * i + 3 < rows else off
            e = z[0, c : c + n]
            for u in range(n):
                e[u] = _2 * (d0[u] - d2[u]) + (d3[u] - d1[u])
            e = z[1, c : c + n]
            for u in range(n):
                e[u] = d3[u] - d2[u] - _2 * d1[u]
            e = z[2, c : c + n]
            for u in range(n):
                e[u] = d3[u] - _3 * d2[u] + _2 * d1[u]
            e = z[3, c : c + n]
            for u in range(n):
                e[u] = d3[u] - d1[u]
            e = z[4, c : c + n]
            for u in range(n):
                e[u] = _2 * (d1[u] - d3[u]) + (d4[u] - d2[u])
            for j in range(across):
                t, s = (b * down + i) * across + j, 3 * j * c
                for k in range(5):
                    zk, p = z[k], 5 * k
                    e0, e1, e2 = zk[s : s + c], zk[s + c : s + 2 * c], zk[s + 2 * c : s + 3 * c]
                    e3, e4 = zk[s + 3 * c : s + 4 * c], zk[s + 4 * c : s + 5 * c]
                    w = v[p, t]
                    for u in range(c):
                        w[u] = _2 * (e0[u] - e2[u]) + (e3[u] - e1[u])
                    w = v[p + 1, t]
                    for u in range(c):
                        w[u] = e3[u] - e2[u] - _2 * e1[u]
                    w = v[p + 2, t]
                    for u in range(c):
                        w[u] = e3[u] - _3 * e2[u] + _2 * e1[u]
                    w = v[p + 3, t]
                    for u in range(c):
                        w[u] = e3[u] - e1[u]
                    w = v[p + 4, t]
                    for u in range(c):
                        w[u] = _2 * (e1[u] - e3[u]) + (e4[u] - e2[u])


@kernel
def spread_back(v: Floats, boards: Floats, rows: int, cols: int) -> None:
    """Write into `boards` the gradient of `spread`'s inputs, by that of its results, `v`."""
    c = v.shape[2]
    down, across, n = -(-rows // 3), -(-cols // 3), cols * c
    z = np.empty((5, (3 * across + 2) * c), np.float32)
    off = np.empty(n, np.float32)  # gradients of what lies beyond the board, for nobody
    for b in range(len(boards)):
        x = boards[b]
        x[:] = 0
        for i in range(down):
            for k in range(5):
                zk, p = z[k], 5 * k
                zk[:] = 0
                for j in range(across):
                    t, s = (b * down + i) * across + j, 3 * j * c
                    v0, v1, v2, v3, v4 = v[p, t], v[p + 1, t], v[p + 2, t], v[p + 3, t], v[p + 4, t]
                    e = zk[s : s + c]
                    for u in range(c):
                        e[u] += _2 * v0[u]
                    e = zk[s + c : s + 2 * c]
                    for u in range(c):
                        e[u] += _2 * (v2[u] + v4[u] - v1[u]) - v0[u] - v3[u]
                    e = zk[s + 2 * c : s + 3 * c]
                    for u in range(c):
                        e[u] -= _2 * v0[u] + v1[u] + _3 * v2[u] + v4[u]
                    e = zk[s + 3 * c : s + 4 * c]
                    for u in range(c):
                        e[u] += v0[u] + v1[u] + v2[u] + v3[u] - _2 * v4[u]
                    e = zk[s + 4 * c : s + 5 * c]
                    for u in range(c):
                        e[u] += v4[u]
            r = (3 * i - 1) * n
            z0, z1, z2 = z[0, c : c + n], z[1, c : c + n], z[2, c : c + n]
            z3, z4 = z[3, c : c + n], z[4, c : c + n]
            d = x[r : r + n] if i else off
            for u in range(n):
                d[u] += _2 * z0[u]
            d = x[r + n : r + 2 * n]
            for u in range(n):
                d[u] += _2 * (z2[u] + z4[u] - z1[u]) - z0[u] - z3[u]
            d = x[r + 2 * n : r + 3 * n] if 3 * i + 1 < rows else off
            for u in range(n):
                d[u] -= _2 * z0[u] + z1[u] + _3 * z2[u] + z4[u]
            d = x[r + 3 * n : r + 4 * n] if 3 * i + 2 < rows else off
            for u in range(n):
                d[u] += z0[u] + z1[u] + z2[u] + z3[u] - _2 * z4[u]
            d = x[r + 4 * n : r + 5 * n] if 3 * i + 3 < rows else off
            for u in range(n):
                d[u] += z4[u]


@kernel
def gather(
    m: Floats, bias: Floats, boards: Floats, rows: int, cols: int, onto: bool, least: np.float32
) -> None:
    """Write A' m A + bias into `boards`, or if `onto` add it there; below `least` it becomes that.

    `bias` (cols * C,) is the channels' bias at each point of a row.
    """
    c = m.shape[2]
    down, across, n = -(-rows // 3), -(-cols // 3), cols * c
    z = np.empty((5, 3 * across * c), np.float32)  # m A of a row of tiles
    for b in range(len(boards)):
        x = boards[b]
        if not onto:
            x[:] = 0
        for i in range(down):
            for k in range(5):
                zk, p = z[k], 5 * k
                for j in range(across):
                    t, s = (b * down + i) * across + j, 3 * j * c
                    m0, m1, m2, m3, m4 = m[p, t], m[p + 1, t], m[p + 2, t], m[p + 3, t], m[p + 4, t]
                    e = zk[s : s + c]
                    for u in range(c):
                        e[u] = m0[u] + m1[u] + m2[u] + m3[u]
                    e = zk[s + c : s + 2 * c]
                    for u in range(c):
                        e[u] = m1[u] - m2[u] + _2 * m3[u]
                    e = zk[s + 2 * c : s + 3 * c]
                    for u in range(c):
                        e[u] = m1[u] + m2[u] + _4 * m3[u] + m4[u]
            r = 3 * i * n
            z0, z1, z2, z3, z4 = z[0, :n], z[1, :n], z[2, :n], z[3, :n], z[4, :n]
            # `max` with its arguments in this order keeps what is not a number.
            y = x[r : r + n]
            for u in range(n):
                w = y[u] + bias[u] + (z0[u] + z1[u] + z2[u] + z3[u])
                y[u] = max(w, least)
            if 3 * i + 1 < rows:
                y = x[r + n : r + 2 * n]
                for u in range(n):
                    w = y[u] + bias[u] + (z1[u] - z2[u] + _2 * z3[u])
                    y[u] = max(w, least)
            if 3 * i + 2 < rows:
                y = x[r + 2 * n : r + 3 * n]
                for u in range(n):
                    w = y[u] + bias[u] + (z1[u] + z2[u] + _4 * z3[u] + z4[u])
                    y[u] = max(w, least)


@kernel
def gather_back(boards: Floats, m: Floats, rows: int, cols: int) -> None:
    """Write into `m` the gradient of `gather`'s inputs, by that of its results, `boards`."""
    c = m.shape[2]
    down, across, n = -(-rows // 3), -(-cols // 3), cols * c
    z = np.zeros((5, 3 * across * c), np.float32)
    off = np.zeros(n, np.float32)
    for b in range(len(boards)):
        x = boards[b]
        for i in range(down):
            r = 3 * i * n
            y0 = x[r : r + n]
            y1 = x[r + n : r + 2 * n] if 3 * i + 1 < rows else off
            y2 = x[r + 2 * n : r + 3 * n] if 3 * i + 2 < rows else off
            e = z[0, :n]
            for u in range(n):
                e[u] = y0[u]
            e = z[1, :n]
            for u in range(n):
                e[u] = y0[u] + y1[u] + y2[u]
            e = z[2, :n]
            for u in range(n):
                e[u] = y0[u] - y1[u] + y2[u]
            e = z[3, :n]
            for u in range(n):
                e[u] = y0[u] + _2 * y1[u] + _4 * y2[u]
            e = z[4, :n]
            for u in range(n):
                e[u] = y2[u]
            for j in range(across):
                t, s = (b * down + i) * across + j, 3 * j * c
                for k in range(5):
                    zk, p = z[k], 5 * k
                    e0, e1, e2 = zk[s : s + c], zk[s + c : s + 2 * c], zk[s + 2 * c : s + 3 * c]
                    w = m[p, t]
                    for u in range(c):
                        w[u] = e0[u]
                    w = m[p + 1, t]
                    for u in range(c):
                        w[u] = e0[u] + e1[u] + e2[u]
                    w = m[p + 2, t]
                    for u in range(c):
                        w[u] = e0[u] - e1[u] + e2[u]
                    w = m[p + 3, t]
                    for u in range(c):
                        w[u] = e0[u] + _2 * e1[u] + _4 * e2[u]
                    w = m[p + 4, t]
                    for u in range(c):
                        w[u] = e2[u]
