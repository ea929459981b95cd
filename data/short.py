"""What the searches of the next moves thought of each position, and where games begin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.engine.games.game import Game, States, play
from ghostgo.engine.games.go import set_up
from ghostgo.engine.jit import kernel

SHORT_HORIZON = 0.05
"""How far `short_values` look ahead, in moves for each point of the board (KataGo's middle one: 0.048)."""


def start_states(game: Game, table: GameTable) -> tuple[States, NDArray[np.int32]]:
    """The distinct start positions of a table's games, (K,) records, and each game's, (G,) int32."""
    keys: dict[tuple[int, int, bytes], int] = {}
    index = np.zeros(len(table), np.int32)
    parts: list[States] = []
    for g in range(len(table)):
        stones = b"" if table.setups is None else table.setups[g].tobytes()
        if not stones.strip(b"\0"):
            stones = b""
        key = (int(table.rules_index[g]), int(table.first_to_play[g]), stones)
        if key not in keys:
            keys[key] = len(parts)
            state = game.new_states(1, table.rules_of(g))
            if stones or key[1]:
                set_up(state[0], np.frombuffer(stones or bytes(game.points), np.int8), key[1])
            parts.append(state)
        index[g] = keys[key]
    starts = np.zeros(len(parts), game.dtype).view(np.recarray)
    for k, state in enumerate(parts):
        starts[k] = state[0]
    return starts, index


@kernel
def _short_values(
    starts: Any,
    start_index: NDArray[np.int32],
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    values: NDArray[np.float32],
    results: NDArray[np.float32],
    decay: float,
    scratch: Any,
    out: NDArray[np.float32],
) -> None:
    """As `short_values`; `out` (M,) takes the sides to move first, then what is wanted."""
    for g in range(len(start_index)):
        scratch[0] = starts[start_index[g]]
        first, last = offsets[g], offsets[g + 1]
        for m in range(first, last):
            out[m] = 1.0 if scratch[0].to_play == 0 else -1.0
            play(scratch[0], moves[m])
        mean = np.float64(results[g])
        for m in range(last - 1, first - 1, -1):
            now = out[m] * values[m]
            out[m] = mean
            mean = (1.0 - decay) * now + decay * mean


def short_values(game: Game, table: GameTable) -> NDArray[np.float32]:
    """What the searches of the next moves thought of each position, (M,), for the first player.

    The mean of later values, each move further off counting h / (1 + h) times the one before, and at
    the end the result; h is `SHORT_HORIZON` of the points. Less noisy than the result and less of
    the network's own making than one search (KataGo, `docs/KataGoMethods.md`, short-term value).
    nan where the table has no values, or the game no result.
    """
    out = np.full(table.positions, np.nan, np.float32)
    if table.values is None:
        return out
    starts, index = start_states(game, table)
    horizon = SHORT_HORIZON * game.points
    _short_values(
        starts, index, table.offsets, table.moves, table.values.astype(np.float32), table.results,
        horizon / (1 + horizon), game.new_states(1), out,
    )  # fmt: skip
    return out
