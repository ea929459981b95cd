"""How many different positions a table's games went through, however they came to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.data.short import start_states
from ghostgo.engine.games.game import play
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel


@kernel
def _hashes(
    starts: Any,
    start_index: NDArray[np.int32],
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    scratch: Any,
    out: NDArray[np.int64],
) -> None:
    """The hash of the state after each move, into `out` (M,)."""
    for g in range(len(start_index)):
        scratch[0] = starts[start_index[g]]
        for m in range(offsets[g], offsets[g + 1]):
            play(scratch[0], moves[m])
            out[m] = scratch[0].hash


def distinct_positions(table: GameTable) -> float:
    """Distinct positions after a move, as a share of the table's positions.

    Two are the same if their states' hashes are, and the rules: however the game came there. What a
    hash knows besides the stones, such as the side to move and in Go the ko, tells them apart.
    """
    game = get_game(table.game)
    hashes = np.zeros(table.positions, np.int64)
    starts, index = start_states(game, table)
    _hashes(starts, index, table.offsets, table.moves, game.new_states(1), hashes)
    rules = table.rules_index[table.game_of()].astype(np.int64)
    return len(set(zip(rules.tolist(), hashes.tolist(), strict=True))) / max(table.positions, 1)
