"""One board of a run: its games in play, its replay window, what it costs.

A run plays on one board unless `[selfplay] sizes` names more. Each has actors with evaluators of
its own; the weights are the same. The run's own board comes first, and its actors draw what they
would draw if it were alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ghostgo.data.records import GameTable, concat
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.shards import DamagedFile, read_shard
from ghostgo.engine.evaluator import NetworkEvaluator, make_evaluator
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, count_flops
from ghostgo.engine.search_config import batch_rows
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.config import RunConfig, rule_sets
from ghostgo.selfplay.sizes import deal, shares_of


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
            short=network.config.short,
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
                    (play.temperature_early, play.temperature_late), decided,
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


def fill_windows(
    boards: Sequence[Board], shards: Path, wanted: int, say: Callable[[str], None]
) -> None:
    """Fill the windows to `wanted` rows in all from the newest files in the folder `shards`.

    A damaged one is set apart, and named by `say`.
    """
    tables: dict[str, list[GameTable]] = {board.game.name: [] for board in boards}
    short = {board.game.name: board.rows(wanted) for board in boards}  # windows not full yet
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
        if table.game in short:
            found = tables[table.game]
            found.append(table)
            if sum(int((each.weights > 0).sum()) for each in found) >= short[table.game]:
                del short[table.game]
    for board in boards:
        for table in reversed(tables[board.game.name]):
            board.window.add(table, board.rows(wanted))


def raw_rate(actors: Sequence[Actor], seconds: float) -> float:
    """Evaluations a second of all `actors` at once on full batches, with no search."""

    def work(actor: Actor) -> float:
        torch.set_num_threads(1)
        evaluator = actor.evaluator
        rows = len(evaluator.value)
        evaluator.evaluate(rows)
        before, start = evaluator.evaluations, time.perf_counter()
        while time.perf_counter() - start < seconds:
            evaluator.evaluate(rows)
        rate = (evaluator.evaluations - before) / (time.perf_counter() - start)
        evaluator.evaluations = 0
        return rate

    with ThreadPoolExecutor(len(actors)) as pool:
        return sum(pool.map(work, actors))
