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
from ghostgo.data.shards import attributes, read_shard
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


def one_move_on(table: GameTable) -> GameTable:
    """The games that end without a pass, each with one behind its last move, the only one to learn.

    Its position is where such a record stops. Games that the rules ended there are left out.
    """
    game = get_game(table.game)
    usual = game.rules.get("move_limit", 0)  # 0: no pass of the player's choice ends such a game
    limits = [table.rules_of(g).get("move_limit", usual) for g in range(len(table))]
    unfinished = np.flatnonzero((table.lengths > 0) & (table.lengths < np.array(limits)))
    last = table.moves[table.offsets[unfinished + 1] - 1]
    part = table.select(unfinished[last != game.points])
    ends = part.offsets[1:]
    return replace(
        part,
        offsets=part.offsets + np.arange(len(part.offsets)),
        moves=np.insert(part.moves, ends, game.points),
        weights=np.insert(np.zeros_like(part.weights), ends, 1),
        policies=None,
        values=None,
        surprise=None,
    )


def run_and_steps(path: Path) -> tuple[Path, tuple[int, int] | None] | None:
    """The run's folder and the steps that `RUN` or `RUN@FROM-TO` names; None if it is no run.

    Raises UserError for other text behind the @ of a run.
    """
    if (path / "run.json").is_file():
        return path, None
    name, sign, steps = path.name.rpartition("@")
    folder = path.with_name(name) if sign and name else path
    if not (folder / "run.json").is_file():
        return None
    first, _, last = steps.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise UserError(
            f"{path}: behind the @ stands {steps!r}; FROM-TO is wanted, such as 100-200"
        )
    return folder, (int(first), int(last))


def steps_of(path: Path) -> tuple[int, int] | None:
    """The steps that records `RUN@FROM-TO` are limited to; None for any others."""
    found = run_and_steps(path)
    return found and found[1]


def games_of_run(folder: Path, game: str, steps: tuple[int, int] | None = None) -> GameTable:
    """All games that the run in `folder` has on disk, as records: moves, results, how counted.

    What records of people do not tell either, such as whose each point was, is left out.

    With `steps` (first, last), only those stored by an iteration that began at such a step. The
    random moves at their beginning are not learnt, nor those that were searched cheaply; games on
    other boards (`[selfplay.sizes]`) are left out. Raises UserError if there are none, or the run is
    of another game than `game`.
    """
    run = Run.open(folder)
    if run.game != game:
        raise UserError(f"{folder}: holds games of {run.game}, not {game}")
    shards = sorted(run.shards.glob("*.h5"))
    which = ""
    if steps is not None:
        shards = [path for path in shards if steps[0] <= attributes(path)["step"] <= steps[1]]
        which = f" of steps {steps[0]} to {steps[1]}"
    tables = [
        replace(table, policies=None, values=None, surprise=None, ownership=None)
        for table in map(read_shard, shards)
        if table.game == game
    ]
    if not any(len(table) for table in tables):
        raise UserError(f"{folder}: has no finished game{which} yet")
    found, code = concat(tables), own_counting(get_game(game))
    return replace(found, counting=np.full(len(found), code, np.int8)) if code else found
