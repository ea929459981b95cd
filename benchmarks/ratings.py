"""Do the arena's intervals, its choice of pairings and its sequential test keep their word?

    python benchmarks/ratings.py [--leagues 1000] [--pairs 240] [--tests 1000] [--workers N]
                                 [--json FILE]

Simulated leagues of 12 players with known ratings: an anchor and two runs, games by the
Bradley-Terry model with a first mover's advantage of 40 Elo. Printed with standard errors:

    coverage95                        share of 95 % intervals (differences to the anchor) that hold
                                      the truth, pairings chosen by information
    information_vs_round_robin_games  games by information that give round robin's mean interval
                                      width, as a share of round robin's games
    sprt_false_accept                 share of tests that accept H1 where players are equal
    sprt_false_reject                 share that accept H0 where the lead is elo1 (0 against 35 Elo,
                                      alpha = beta = 0.05)
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.ratings import ELO, GameRow, rate
from ghostgo.arena.schedule import Member, Pairing, next_pairs
from ghostgo.arena.sprt import Sprt, expected_score

PLAYERS, BATCH, COLOUR, SPREAD = 12, 8, 40.0, 1200.0
NAMES = [str(i) for i in range(PLAYERS)]
MEMBERS = [Member(None)] + [Member("a" if i < PLAYERS // 2 else "b") for i in range(1, PLAYERS)]


class League:
    """Players of known ratings, and the games they have played."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        # Within a run later checkpoints are stronger, the two runs overlap.
        ratings = self.rng.uniform(0, SPREAD, PLAYERS - 1)
        half = PLAYERS // 2 - 1
        self.truth = np.concatenate([[0.0], np.sort(ratings[:half]), np.sort(ratings[half:])])
        self.games: list[GameRow] = []
        self.played = np.zeros((PLAYERS, PLAYERS), np.int64)

    def play(self, pairings: list[Pairing]) -> None:
        """A pair of games, colours swapped, for each pairing."""
        for a, b in pairings:
            number = int(self.played.sum()) // 2
            self.played[a, b] += 1
            self.played[b, a] += 1
            for first, second in ((a, b), (b, a)):
                edge = (self.truth[first] - self.truth[second] + COLOUR) / ELO
                won = self.rng.random() < 1 / (1 + np.exp(-edge))
                self.games.append(GameRow(first, second, float(won), number))

    def widths_and_coverage(self) -> tuple[float, float]:
        """Mean width of the intervals and the share that holds the truth."""
        rated = rate(NAMES, self.games).ratings[1:]
        held = [r.low <= t <= r.high for r, t in zip(rated, self.truth[1:], strict=True)]
        return float(np.mean([r.width for r in rated])), float(np.mean(held))


def one_league(pairs: int, seed: int) -> tuple[NDArray[np.float64], float, float, float]:
    """Widths after each batch and coverage by information; width and coverage by round robin."""
    informed, turns = League(seed), pairs // BATCH
    widths = np.zeros(turns)
    fit = rate(NAMES, informed.games)
    for turn in range(turns):
        flying = np.zeros_like(informed.played)
        chosen = next_pairs(MEMBERS, fit.elo, fit.covariance, informed.played, flying, BATCH)
        informed.play(chosen)
        fit = rate(NAMES, informed.games)
        widths[turn] = np.mean([r.width for r in fit.ratings[1:]])
    robin = League(seed)
    everyone = [(a, b) for a in range(PLAYERS) for b in range(a + 1, PLAYERS)]
    robin.play([everyone[i % len(everyone)] for i in range(turns * BATCH)])
    return widths, informed.widths_and_coverage()[1], *robin.widths_and_coverage()


def one_test(elo: float, seed: int) -> str:
    """The verdict of a sequential test between players `elo` apart, both games independent."""
    test, rng, p = Sprt(), np.random.default_rng([seed, 9]), expected_score(elo)
    pairs = [0] * 5
    while not (verdict := test.decide(pairs)):
        pairs[2 * int(rng.random() < p) + 2 * int(rng.random() < p)] += 1
    return verdict


def main() -> None:
    """Simulate, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--leagues", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=240, help="a league: 40 games a player")
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    seeds = range(given.seed * 1_000_000, given.seed * 1_000_000 + given.leagues)
    tests = range(given.seed * 1_000_000, given.seed * 1_000_000 + given.tests)
    with ProcessPoolExecutor(given.workers) as pool:
        leagues = list(pool.map(partial(one_league, given.pairs), seeds, chunksize=4))
        accepted = list(pool.map(partial(one_test, 0.0), tests, chunksize=16))
        rejected = list(pool.map(partial(one_test, Sprt().elo1), tests, chunksize=16))
    curve = np.mean([league[0] for league in leagues], axis=0)
    cover, robin_width, robin_cover = (
        np.array([league[i] for league in leagues]) for i in (1, 2, 3)
    )
    # Where the mean curve of widths crosses round robin's, straight between batches.
    turns = np.arange(1, len(curve) + 1)
    needed = np.interp(-robin_width.mean(), -np.minimum.accumulate(curve), turns)
    figures = {
        "coverage95": float(cover.mean()),
        "coverage95_round_robin": float(robin_cover.mean()),
        "information_vs_round_robin_games": float(needed / len(curve)),
        "sprt_false_accept": accepted.count("H1") / given.tests,
        "sprt_false_reject": rejected.count("H0") / given.tests,
    }
    errors = {
        "coverage95": cover.std(ddof=1) / given.leagues**0.5,
        "coverage95_round_robin": robin_cover.std(ddof=1) / given.leagues**0.5,
        "sprt_false_accept": (0.05 * 0.95 / given.tests) ** 0.5,
        "sprt_false_reject": (0.05 * 0.95 / given.tests) ** 0.5,
    }
    for name, value in figures.items():
        error = f" +- {errors[name]:.3f}" if name in errors else ""
        print(f"{name:36} {value:.3f}{error}")
    print(
        f"mean width after {given.pairs // BATCH * BATCH} pairs: {curve[-1]:.0f} Elo by "
        f"information, {robin_width.mean():.0f} by round robin"
    )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
