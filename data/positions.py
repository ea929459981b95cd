"""Positions out of game tables, as the network sees them, with their legal moves."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.data.short import start_states
from ghostgo.engine.games.game import Game, legal_mask, play, write_planes
from ghostgo.engine.jit import kernel


class Positions(NamedTuple):
    """N positions, each from its side to move."""

    planes: NDArray[np.uint16]
    """(N, P, C) bfloat16 bits."""
    legal: NDArray[np.uint8]
    """(N, A) 1 where legal."""


@kernel
def _fill(
    starts: Any,
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    rows: NDArray[np.int64],
    owners: NDArray[np.int64],
    scratch: Any,
    planes: NDArray[np.uint16],
    legal: NDArray[np.uint8],
) -> None:
    """Write the positions before moves `rows`, which are of the games `owners`."""
    start_of, index = starts
    for i in range(len(rows)):
        scratch[0] = start_of[index[owners[i]]]
        for k in range(offsets[owners[i]], rows[i]):
            play(scratch[0], moves[k])
        legal_mask(scratch[0], legal[i])
        write_planes(scratch[0], legal[i], planes[i])


def draw(game: Game, table: GameTable, count: int, seed: int) -> Positions:
    """`count` different places of the games of `table`, or all if it has fewer, in random order."""
    chosen = np.random.default_rng(seed).permutation(table.positions)[:count]
    found = Positions(
        np.zeros((len(chosen), game.points, game.planes), np.uint16),
        np.zeros((len(chosen), game.actions), np.uint8),
    )
    owners = table.game_of()[chosen].astype(np.int64)
    _fill(
        start_states(game, table), table.offsets, table.moves, chosen, owners, game.new_states(1),
        *found,
    )  # fmt: skip
    return found
