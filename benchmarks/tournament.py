"""How fast the arena plays 30 checkpoints of two 7x7 runs, and how near to bare inference.

    python benchmarks/tournament.py [--minutes 6] [--parallel 64] [--json FILE]
                                    [--root runs --a RUN --b RUN | --net b2c32] [--warm-up 64]

15 checkpoints of run a and 15 of run b, or of two runs of untrained networks in a temporary folder,
meet by the arena's own schedule and match code at 64 visits, one thread. Between waves of games the
same networks judge batches of the size that the games gave them, with no search: both rates come
from the same minutes, half of them each. What is played before `--warm-up` games have ended (as many
as are played at a time, unless told) is not counted, since all began together: with fewer, the
games' length is not to be believed, nor games a second, but rates of moves and evaluations are.

    games, moves_per_game   finished games, and the mean number of moves after the opening
    games_per_second        moves a second over the mean length: games in progress count as well
    games_ended_per_second  finished games over the time that the games took
    moves_per_second        moves in all games
    evaluations_per_second  what their searches had judged
    raw_per_second          the same networks at the same mean batch, nothing else
    share_of_raw            evaluations_per_second over it: what search and bookkeeping leave
    best_raw_per_second     the same networks at batches of 64
    share_of_best_raw       evaluations_per_second over it: what small batches cost as well
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import NetPlayer, search_rows
from ghostgo.arena.pool import PlayerOptions, Pool, build_pool
from ghostgo.arena.schedule import Member, next_pairs
from ghostgo.data.ledger import Totals
from ghostgo.data.run import Run
from ghostgo.engine.evaluator import NetworkEvaluator
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

GAME, CHECKPOINTS, WAVE = "go7", 15, 4.0
ROWS = search_rows(64)


def untrained(root: Path, net: str) -> Pool:
    """Two runs of untrained checkpoints, as a pool without anchors."""
    for number, name in enumerate(("scratch", "warm")):
        with Run.creating(root / name, GAME, 0, "") as run:
            for step in range(CHECKPOINTS):
                torch.manual_seed(100 * number + step)
                network = Network(get_game(GAME), NetworkConfig.preset(net))
                totals = Totals(selfplay_flops=1e12 * (step + 1))
                run.save_checkpoint(step, network, {"totals": totals.to_dict()})
    return trained(root, "scratch", "warm")


def trained(root: Path, *runs: str) -> Pool:
    """The checkpoints of `runs`, as many of each, as a pool without anchors."""
    pool = build_pool(runs, {}, None, (), PlayerOptions(root, checkpoints=CHECKPOINTS))
    assert len(pool.entries) == CHECKPOINTS * len(runs), f"{len(pool.entries)} checkpoints"
    return pool


class Games:
    """The pool at play, `parallel` games at a time, and how large its network calls were."""

    def __init__(self, pool: Pool, parallel: int) -> None:
        self.pool, self.parallel = pool, parallel
        self.players = [e.player for e in pool.entries if isinstance(e.player, NetPlayer)]
        self.match = Match(pool.game, self.players, parallel, workers=1)
        self.members = [Member(entry.run) for entry in pool.entries]
        self.openings = Openings(pool.game, 0)
        k = len(self.members)
        self.played, self.flying = np.zeros((2, k, k), np.int64)
        self.begun = self.games = self.moves = 0
        self.seconds = 0.0

    def top_up(self) -> None:
        """Begin pairs as the schedule has them where all are equal."""
        k, room = len(self.members), (self.parallel - self.match.in_flight) // 2
        if room < self.parallel // 16:
            return
        # Ratings are held equal: whoever meets makes the same work, and the fit is not timed.
        covariance = np.diag(4e4 / (1.0 + self.played.sum(axis=1)))
        pairs = next_pairs(self.members, np.zeros(k), covariance, self.played, self.flying, room)
        for a, b in pairs:
            self.match.add(PairTask(str(self.begun), a, b, self.openings[self.begun]))
            self.flying[[a, b], [b, a]] += 1
            self.begun += 1

    def play(self, seconds: float) -> None:
        """Play so long, to the end of a round of moves."""
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.top_up()
            for task, results in self.match.sweep():
                self.games += 2
                self.moves += sum(len(game.moves) - len(task.opening) for game in results)
                for table, by in ((self.played, 1), (self.flying, -1)):
                    table[[task.a, task.b], [task.b, task.a]] += by
        self.seconds += time.perf_counter() - start

    def evaluators(self) -> list[NetworkEvaluator]:
        """The networks' evaluators."""
        found = [player._ready().evaluator for player in self.players]
        return [e for e in found if isinstance(e, NetworkEvaluator)]


Amount = NDArray[np.float64]
"""Rows judged, and the seconds that they took."""


class Calls:
    """Counts network calls, and can make such calls itself."""

    def __init__(self, evaluators: list[NetworkEvaluator]) -> None:
        self.turns, self.count, self.rows = cycle(evaluators), 0, 0
        for evaluator in evaluators:
            self._count(evaluator)

    def _count(self, evaluator: NetworkEvaluator) -> None:
        plain = evaluator.evaluate

        def evaluate(n: int) -> None:
            self.count += 1
            self.rows += n
            plain(n)

        evaluator.evaluate = evaluate  # type: ignore[method-assign]

    @property
    def mean_batch(self) -> float:
        """Rows a call."""
        return self.rows / self.count

    def raw(self, batch: int, seconds: float) -> Amount:
        """Every network in turn judges batches of one size, nothing else; not counted."""
        rows, count, start = self.rows, self.count, time.perf_counter()
        while time.perf_counter() - start < seconds:
            evaluator = next(self.turns)
            # A move's worth of calls in a row, as a search makes them.
            for _ in range(64):
                evaluator.evaluate(batch)
        found = np.array([self.rows - rows, time.perf_counter() - start])
        self.rows, self.count = rows, count
        return found


def measure(games: Games, minutes: float, warm_up: int) -> dict[str, float]:
    """Play and judge in turns for so many minutes, once `warm_up` games have ended."""
    calls = Calls(games.evaluators())
    begun = time.perf_counter()
    games.play(WAVE)  # compiles
    while games.games < warm_up:
        games.play(WAVE)
        print(f"\r{games.games} of {warm_up} games to warm up", end="", file=sys.stderr)
    print(f", {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    calls.rows = calls.count = games.games = games.moves = 0
    games.seconds, warm = 0.0, games.match.plies
    same, best = np.zeros((2, 2))
    while games.seconds < 30 * minutes:
        games.play(WAVE)
        same += calls.raw(round(calls.mean_batch), WAVE / 2)
        best += calls.raw(ROWS, WAVE / 2)
    rate, raw, most = calls.rows / games.seconds, same[0] / same[1], best[0] / best[1]
    moves = (games.match.plies - warm) / games.seconds
    length = games.moves / games.games if games.games else float("nan")
    return {
        "players": len(games.players),
        "games": games.games,
        "moves_per_game": length,
        "games_per_second": moves / length,
        "games_ended_per_second": games.games / games.seconds,
        "moves_per_second": moves,
        "mean_batch": calls.mean_batch,
        "evaluations_per_second": rate,
        "raw_per_second": raw,
        "share_of_raw": rate / raw,
        "best_raw_per_second": most,
        "share_of_best_raw": rate / most,
    }


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--parallel", type=int, default=64, help="games in flight")
    parser.add_argument("--warm-up", type=int, help="games to end first")
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--a", help=f"a run of {GAME}")
    parser.add_argument("--b", help=f"another run of {GAME}")
    parser.add_argument("--net", default="b2c32", help="of untrained checkpoints")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if bool(given.a) != bool(given.b):
        parser.error("--a and --b go together")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pool = (
            trained(given.root, given.a, given.b) if given.a else untrained(Path(folder), given.net)
        )
        games = Games(pool, given.parallel)
        warm_up = given.parallel if given.warm_up is None else given.warm_up
        figures = measure(games, given.minutes, warm_up)
    games.match.close()
    for name, value in figures.items():
        print(f"{name:24} {value:,.2f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
