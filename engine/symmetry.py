"""Index tables of the board's symmetries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def board_symmetries(rows: int, cols: int) -> NDArray[np.int32]:
    """Point permutations of a rows x cols board, (S, rows * cols) int32; S is 8 if square, else 4.

    Row s sends the point at flat index p to `table[s, p]`. Row 0 is the identity.
    """
    grid = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols)
    turned = [grid, grid[::-1], grid[:, ::-1], grid[::-1, ::-1]]
    if rows == cols:
        turned += [image.T for image in turned]
    return np.stack([np.argsort(image.reshape(-1)).astype(np.int32) for image in turned])


def mirror_columns(rows: int, cols: int) -> NDArray[np.int32]:
    """Identity and left-right mirror, (2, rows * cols) int32, for boards with gravity."""
    grid = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols)
    return np.stack([grid.reshape(-1), grid[:, ::-1].reshape(-1)])


def inverse(table: NDArray[np.int32]) -> NDArray[np.int32]:
    """Inverse permutations, row by row, of an (S, n) table."""
    return np.argsort(table, axis=1).astype(np.int32)
