"""How many different games tables hold, and different positions, however games came to them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.data.short import start_states
from ghostgo.engine.games.game import Game, States, play
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel


class Keys(NamedTuple):
    """A number for each game and position; equal ones are taken to be the same."""

    games: NDArray[np.int64]
    """(G,) of the start, rules included, and the moves."""
    positions: NDArray[np.int64]
    """(M,) of the start and the state after each move: what its hash knows besides the stones, such as
    the side to move and in Go the ko, tells states apart."""


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


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def keys_of(
    game: Game,
    starts: States,
    start_index: NDArray[np.int32],
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
) -> Keys:
    """Keys of games that begin at `starts` (see `start_states`), moves as in a `GameTable`."""
    positions = np.zeros(len(moves), np.int64)
    _hashes(starts, start_index, offsets, moves, game.new_states(1), positions)
    begun = np.array([_digest(start.tobytes()) for start in starts], np.int64)[start_index]
    lengths = np.diff(offsets)
    games = [_digest(moves[first:last].tobytes()) for first, last in pairwise(offsets)]
    return Keys(np.array(games, np.int64) ^ begun, positions ^ np.repeat(begun, lengths))


def table_keys(table: GameTable) -> Keys:
    """Keys of a table's games and positions."""
    game = get_game(table.game)
    return keys_of(game, *start_states(game, table), table.offsets, table.moves)


def distinct_shares(parts: Sequence[Keys]) -> tuple[float, float]:
    """Distinct games as a share of all games of `parts` together, and distinct positions after a
    move as a share of all positions; 0 of none."""

    def share(keys: list[NDArray[np.int64]]) -> float:
        together = np.concatenate([*keys, np.zeros(0, np.int64)])
        return len(np.unique(together)) / max(len(together), 1)

    return share([part.games for part in parts]), share([part.positions for part in parts])
