"""Which games are the same, and which are held out: hashes that no symmetry of the board changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel

SPLIT = 2
"""Version of the hash, and so of the split, that is told with what was split. 1 hashed the passes at the
end of a game as well, so that copies with and without them were two games; 2 goes up to the last stone."""

# Constants of SplitMix64's output function (Steele, Lea and Flood 2014).
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


@kernel
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> _S30)) * _MIX1
    x = (x ^ (x >> _S27)) * _MIX2
    return x ^ (x >> _S31)


@kernel
def _hash_games(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    moves: NDArray[np.int16],
    first_to_play: NDArray[np.int8],
    setups: NDArray[np.int8],
    symmetries: NDArray[np.int32],
    out: NDArray[np.uint64],
) -> None:
    """The least hash over the board's symmetries of each game's set-up and moves, mixed again."""
    for g in range(len(out)):
        least = np.uint64(0)
        for s in range(len(symmetries)):
            image = symmetries[s]
            value = np.uint64(first_to_play[g]) + _GAMMA
            for point in range(setups.shape[1]):
                if setups[g, point]:
                    # Stones come in no order, so their words are added up.
                    word = np.uint64(4 * (image[point] + 1) + setups[g, point] + 1)
                    value += _mix(word * _GAMMA)
            for i in range(starts[g], ends[g]):
                value = _mix(value + np.uint64(image[moves[i]] + 1) * _GAMMA)
            if s == 0 or value < least:
                least = value
        # The least of eight is not uniform; the split wants a hash that is.
        out[g] = _mix(least + _GAMMA)


def game_hashes(table: GameTable, version: int = SPLIT) -> NDArray[np.uint64]:
    """(G,) uint64: a hash of each game's set-up and moves, the same for all its symmetric images.

    Uniform over 64 bits, and the same in every run and on every machine. The passes at the end count
    in `version` 1 alone: many records leave them out.
    """
    ends = table.offsets[1:] if version == 1 else _ends(table)
    out = np.zeros(len(table), np.uint64)
    symmetries = get_game(table.game).action_symmetries
    _hash_games(
        table.offsets[:-1], ends, table.moves, table.first_to_play, set_up_stones(table),
        symmetries, out,
    )  # fmt: skip
    return out


def _ends(table: GameTable) -> NDArray[np.int64]:
    """(G,) int64: where each game's moves end but for the passes that follow its last stone."""
    game = get_game(table.game)
    if game.policy_head != "points_and_pass":
        return table.offsets[1:]
    stones = np.flatnonzero(table.moves != game.points)
    # The last stone before a game's end; one of an earlier game says that this one has none.
    before = np.searchsorted(stones, table.offsets[1:]) - 1
    last = np.append(stones, -1)[before]
    ends: NDArray[np.int64] = np.maximum(last + 1, table.offsets[:-1])
    return ends


def split_by_hash(
    table: GameTable, held_out: float = 0.1, version: int = SPLIT
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(indices to train on, indices held out), ascending int64, by each game's `game_hashes`.

    A game falls on the same side in every table, run and machine, and so do its symmetric images and
    its copies without the passes at the end (not in `version` 1); about the share `held_out` is held out. Raises UserError unless 0 <= held_out <= 1.
    """
    if not 0 <= held_out <= 1:
        raise UserError(f"held-out share {held_out} is not between 0 and 1")
    # The top 53 bits, which a float holds exactly.
    held = (game_hashes(table, version) >> np.uint64(11)).astype(np.float64) < held_out * 2.0**53
    return np.flatnonzero(~held), np.flatnonzero(held)


def set_up_stones(table: GameTable) -> NDArray[np.int8]:
    """(G, P) set-up stones, zeros where there are none."""
    if table.setups is not None:
        return table.setups
    return np.zeros((len(table), get_game(table.game).points), np.int8)
