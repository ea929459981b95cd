"""What a prior is compared with: fewer games, moves without sense, games of a program.

subset     so many games, each subset within the larger ones
permuted   the same positions with other moves to learn: any legal one, at random
a run      the games that a run of self-play played, as if they were records
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable, concat
from ghostgo.data.run import Run
from ghostgo.data.shards import read_shard
from ghostgo.data.short import start_states
from ghostgo.data.split import game_hashes
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import legal_mask, play
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import Rng, kernel, make_rng, random_below
from ghostgo.engine.network import own_counting


def take_subset(table: GameTable, games: int) -> GameTable:
    """The `games` games of least hash, in the table's order; all, if there are no more."""
    order = np.argsort(game_hashes(table), kind="stable")
    return table.select(np.sort(order[:games]))


@kernel
def _legal_moves(
    starts: Any,
    start_index: NDArray[np.int32],
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    scratch: Any,
    mask: NDArray[np.uint8],
    rng: Rng,
    out: NDArray[np.int64],
) -> None:
    """A legal move at random for every position of every game, into `out` (M,)."""
    for g in range(len(start_index)):
        scratch[0] = starts[start_index[g]]
        for k in range(offsets[g], offsets[g + 1]):
            legal_mask(scratch[0], mask)
            legal = 0
            for a in range(len(mask)):
                legal += mask[a]
            left = random_below(rng, legal)
            for a in range(len(mask)):
                if mask[a]:
                    if left == 0:
                        out[k] = a
                        break
                    left -= 1
            play(scratch[0], moves[k])


def permute_moves(table: GameTable, seed: int) -> GameTable:
    """The same games with a legal move at random to be learnt in place of each move played.

    Memory: two bytes for each position and action.
    """
    game = get_game(table.game)
    starts, index = start_states(game, table)
    targets = np.zeros(table.positions, np.int64)
    _legal_moves(
        starts, index, table.offsets, table.moves, game.new_states(1),
        np.zeros(game.actions, np.uint8), make_rng(seed), targets,
    )  # fmt: skip
    policies = np.zeros((table.positions, game.actions), np.float16)
    policies[np.arange(table.positions), targets] = 1
    return replace(table, policies=policies)


def games_of_run(folder: Path, game: str) -> GameTable:
    """All games that the run in `folder` has on disk, as records: moves, results, how counted.

    The random moves at their beginning are not learnt, nor those that were searched cheaply; games on
    other boards (`[selfplay.sizes]`) are left out. Raises UserError if there are none, or the run is of another game than `game`.
    """
    run = Run.open(folder)
    if run.game != game:
        raise UserError(f"{folder}: holds games of {run.game}, not {game}")
    tables = [
        replace(table, policies=None, values=None, surprise=None)
        for table in map(read_shard, sorted(run.shards.glob("*.h5")))
        if table.game == game
    ]
    if not any(len(table) for table in tables):
        raise UserError(f"{folder}: has no finished game yet")
    found, code = concat(tables), own_counting(get_game(game))
    return replace(found, counting=np.full(len(found), code, np.int8)) if code else found
