"""One board of a run: its games in play, its replay window, what it costs.

A run plays on one board unless `[selfplay] sizes` names more. Each has actors with evaluators of
its own; the weights are the same. The run's own board comes first, and its actors draw what they
would draw if it were alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostgo.data.ledger import Ledger, read_ledger
from ghostgo.data.records import GameTable, concat
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import Run
from ghostgo.data.shards import DamagedFile, attributes, read_shard
from ghostgo.engine.evaluator import NetworkEvaluator, make_evaluator
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, count_flops, own_counting
from ghostgo.engine.search_config import batch_rows
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.anchor import Anchor
from ghostgo.selfplay.config import RunConfig, rule_sets
from ghostgo.selfplay.feeding import Drawn
from ghostgo.selfplay.sizes import deal, shares_of

MEBIBYTE = 1 << 20


class Board:
    """A game of the run, its share of self-play, its actors and its replay window."""

    def __init__(self, game: Game, share: float, games: int, network: Network, config: RunConfig):
        self.game, self.share, self.games = game, share, games
        """The share is of positions and of rows, `games` how many are in play."""
        self.flops = count_flops(network.on(game))
        """Of one evaluation."""
        self.window = ReplayWindow(
            game,
            seed=config.seed,
            surprise_share=config.selfplay.surprise_share,
            counting=own_counting(game),
            short=network.config.short,
            symmetries=config.learner.symmetries,
            most_bytes=max(MEBIBYTE, int(share * config.learner.window_mb * MEBIBYTE)),
        )
        self.actors: list[Actor] = []
        """The first is worker 0's, and so on; fewer than workers where there are fewer games."""

    def make_actors(
        self, network: Network, config: RunConfig, workers: int, device: str, backend: str,
        entropy: list[int], prior: Network | None,
    ) -> None:  # fmt: skip
        """Make the actors, with `prior` at the roots of their searches; seeds come from `entropy`."""
        play = config.selfplay
        decided = (play.decided_value, play.decided_visits, play.decided_moves)
        if not play.decided_value:
            decided = (0.0, 0, 0)
        seeds = np.random.SeedSequence(entropy).spawn(min(workers, self.games))
        for i, seed in enumerate(seeds):
            games = len(range(i, self.games, workers))
            rows = batch_rows(config.search, games)
            evaluator = make_evaluator(network.on(self.game), rows, device, backend)
            asked = None if prior is None else make_evaluator(prior, games, device)
            self.actors.append(
                Actor(
                    self.game, evaluator, games, play.visits, config.search,
                    rule_sets(play, self.game), play.sampled_moves, play.opening_plies, seed,
                    play.cheap_visits, play.full_share, asked, config.anchor.weight if asked else 0.0,
                    (play.temperature_early, play.temperature_late), decided, play.decided_share,
                )
            )  # fmt: skip

    def quota(self, positions: int) -> int:
        """Positions that each actor plays when all boards together shall come to `positions`."""
        return math.ceil(self.share * positions / len(self.actors))

    def rows(self, wanted: int) -> int:
        """Rows of this board's window when all windows together shall have `wanted`."""
        return max(1, int(self.share * wanted))

    def load(self, network: Network) -> None:
        """Have the actors play by the present weights of `network`."""
        for actor in self.actors:
            assert isinstance(actor.evaluator, NetworkEvaluator)
            actor.evaluator.load(network.on(self.game))
            actor.restart_searches()

    def take(self) -> GameTable:
        """The games finished since the last call."""
        return concat([actor.take() for actor in self.actors])

    @property
    def evaluations(self) -> int:
        """Positions that the network has judged."""
        return sum(actor.evaluator.evaluations for actor in self.actors)

    @property
    def cached(self) -> int:
        """Positions whose judgement was remembered."""
        return sum(int(actor.cache.counts[1]) for actor in self.actors)


def make_boards(network: Network, config: RunConfig) -> list[Board]:
    """The boards of a run, its own first, as yet without actors and with empty windows."""
    shares = shares_of(config.selfplay.sizes, config.game)
    games = deal(config.selfplay.games, list(shares.values()))
    return [
        Board(get_game(name), share, dealt, network, config)
        for (name, share), dealt in zip(shares.items(), games, strict=True)
    ]


def draw_board(boards: Sequence[Board], rng: np.random.Generator) -> Board:
    """The board of the next batch, drawn by the rows in the windows; a single one without a draw."""
    if len(boards) == 1:
        return boards[0]
    ends = np.cumsum([board.window.rows for board in boards])
    return boards[int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))]


def drawing(
    boards: Sequence[Board], size: int, seed: int, flops: float, anchor: Anchor | None
) -> Callable[[int], Drawn]:
    """A function that draws a step's batch of `size` rows when the run has spent `flops`."""

    def draw(step: int) -> Drawn:
        # A generator a step: what is drawn depends on the step alone, so a resumed run agrees.
        rng = np.random.default_rng([seed, 11, step])
        board = draw_board(boards, rng)
        if anchor is None:
            return Drawn(board.window.sample(size, rng), board.game)
        return Drawn(anchor.mixed(board.window, size, flops, rng), board.game)

    return draw


def adopt_shards(run: Run, ledger: Ledger, step: int, last: int | None = None) -> tuple[int, int]:
    """Shards of `run` newer than its checkpoint `step`: their number, and the positions in them.

    `last` is the number of the newest that it knew; without, as checkpoints of earlier versions are,
    those count that were played from it on.

    A kill between a shard and its checkpoint leaves such a shard, and so does a newer checkpoint that
    was damaged. Its games count and are still to be learnt; the ledger gets the row that it lacks. One
    that was set apart counts as a shard, so that its games are not played again.
    """

    def is_newer(path: Path, given: dict[str, Any]) -> bool:
        if last is None or not path.stem.isdecimal():
            return bool(given["step"] >= step)
        return int(path.stem) > last

    booked = {row.get("of") for row in read_ledger(ledger.path)}
    shards = positions = 0
    for path in run.shards.glob("*.damaged"):  # set apart, for what it holds, by whoever runs it
        with contextlib.suppress(DamagedFile):  # playing again may do no harm then
            known = last is not None and path.stem.isdecimal()
            shards += is_newer(path, {} if known else attributes(path))
    for path in sorted(run.shards.glob("*.h5"), reverse=True):
        try:
            given = attributes(path)
        except DamagedFile:
            continue  # `fill_windows` names it
        if not is_newer(path, given):
            break
        shards += 1
        positions += given["amounts"]["positions"]
        if path.stem not in booked:
            ledger.append("selfplay", path.stem, **given["amounts"])
    return shards, positions


def fill_windows(
    boards: Sequence[Board],
    shards: Path,
    wanted: int,
    say: Callable[[str], None],
    oldest: Sequence[str] = (),
) -> None:
    """Fill the windows to `wanted` rows in all from the newest files in the folder `shards`.

    Where each board's `oldest` file is given, nothing older is read: a window drops files only when
    games come in, and what is wanted may have grown since. A damaged file is set apart, and named by
    `say`.
    """
    ends = {board.game.name: name for board, name in zip(boards, oldest, strict=False)}
    tables: dict[str, list[tuple[str, GameTable]]] = {board.game.name: [] for board in boards}
    short = {board.game.name: board for board in boards}  # windows not full yet
    for path in sorted(shards.glob("*.h5"), reverse=True):
        if not short:
            break
        try:
            table = read_shard(path)
        except DamagedFile as error:
            apart = path.with_suffix(".damaged")
            path.rename(apart)
            say(f"{error}; set apart as {apart.name}")
            continue
        if path.name < ends.get(table.game, ""):
            short.pop(table.game, None)
        if (board := short.get(table.game)) is not None:
            found = tables[table.game]
            found.append((path.name, table))
            rows = sum(int((each.weights > 0).sum()) for _, each in found)
            most = board.window.most_bytes
            if rows >= board.rows(wanted) or (most is not None and _least_bytes(found) > most):
                del short[table.game]
    for board in boards:
        for name, table in reversed(tables[board.game.name]):
            board.window.add(table, board.rows(wanted), name)


def _least_bytes(tables: Sequence[tuple[str, GameTable]]) -> int:
    """What the window's arrays of these tables have at the least."""
    return sum(
        table.moves.nbytes + (0 if table.policies is None else table.policies.nbytes)
        for _, table in tables
    )


def raw_rate(actors: Sequence[Actor], seconds: float) -> float:
    """Evaluations a second of all `actors` at once on full batches, with no search.

    It draws nothing and leaves searches, caches and counts as they were.
    """

    def work(actor: Actor) -> float:
        torch.set_num_threads(1)
        evaluator = actor.evaluator
        rows, played = len(evaluator.value), evaluator.evaluations
        evaluator.evaluate(rows)
        before, start = evaluator.evaluations, time.perf_counter()
        while time.perf_counter() - start < seconds:
            evaluator.evaluate(rows)
        rate = (evaluator.evaluations - before) / (time.perf_counter() - start)
        evaluator.evaluations = played
        return rate

    with ThreadPoolExecutor(len(actors)) as pool:
        return sum(pool.map(work, actors))
