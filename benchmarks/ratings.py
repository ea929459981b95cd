"""Do the arena's intervals, its choice of pairings and its sequential test keep their word?

    python benchmarks/ratings.py [--leagues 1000] [--pairs 240] [--tests 4000] [--hard 300]
                                 [--workers N] [--json FILE]

Simulated leagues of 12 players with known ratings: an anchor and two runs, games by the
Bradley-Terry model with a first mover's advantage of 40 Elo. Printed with standard errors:

    coverage95                        share of 95 % intervals (differences to the anchor) that hold
                                      the truth, pairings chosen by information
    information_vs_round_robin_games  games by information that give round robin's mean interval
                                      width, as a share of round robin's games
    sprt_false_accept                 share of tests that accept H1 where players are equal
    sprt_false_reject                 share that accept H0 where the lead is elo1 (0 against 35 Elo,
                                      alpha = beta = 0.05)

The same again, under further keys:

    ..._twice                         `--hard` leagues twice as long
    ..._hard                          as many of 2,500 Elo, a fifth of even games drawn, the luck of a
                                      pair's two games correlated by 0.1
    ..._outsiders                     as many of players who are no run's checkpoints, so that the
                                      schedule knows no order among them
    sprt_..._correlated               tests with draws (0.4 of even games) and a correlation of 0.3
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ghostgo.arena.ratings import ELO, GameRow, rate
from ghostgo.arena.schedule import Member, Pairing, next_pairs
from ghostgo.arena.sprt import Sprt, expected_score

PLAYERS, BATCH, COLOUR, SPREAD = 12, 8, 40.0, 1200.0
NAMES = [str(i) for i in range(PLAYERS)]
MEMBERS = [Member(None)] + [Member("a" if i < PLAYERS // 2 else "b") for i in range(1, PLAYERS)]


@dataclass(frozen=True)
class World:
    """How the simulated games come about."""

    spread: float = SPREAD
    """Ratings lie between 0 and this."""
    draws: float = 0.0
    """Share of games drawn between equals."""
    shared: float = 0.0
    """Correlation of the luck (as normal scores) that whoever moves first has in a pair's two games:
    their opening. Each game by itself is still won as the ratings say."""
    first: float = COLOUR
    """Elo that moving first is worth."""
    runs: bool = True
    """Whether the players but the first are checkpoints of two runs, each stronger than those before
    it, as the schedule may plan with; else they are outsiders of whom nothing is known."""

    def pair(self, rng: np.random.Generator, gap: float) -> tuple[float, float]:
        """Points of the player `gap` Elo ahead as first, then as second."""
        if self.shared:
            common, own = rng.standard_normal(), rng.standard_normal(2)
            luck = ndtr(self.shared**0.5 * common + (1 - self.shared) ** 0.5 * own)
        else:
            luck = rng.random(2)
        first, second = (
            self._points(float(u), side * gap + self.first)
            for u, side in zip(luck, (1, -1), strict=True)
        )
        return first, 1 - second

    def _points(self, luck: float, edge: float) -> float:
        """One game's: draws take equally from both sides, so the mean is the logistic curve's."""
        p = 1 / (1 + np.exp(-edge / ELO))
        drawn = self.draws * min(p, 1 - p)
        return 1.0 if luck < p - drawn else 0.5 if luck < p + drawn else 0.0


PLAIN, HARD = World(), World(2500.0, draws=0.2, shared=0.1)
OUTSIDERS = World(runs=False)
CORRELATED = World(draws=0.4, shared=0.3, first=0.0)


class League:
    """Players of known ratings, and the games they have played."""

    def __init__(self, seed: int, world: World = PLAIN) -> None:
        self.rng, self.world = np.random.default_rng(seed), world
        # Within a run later checkpoints are stronger, the two runs overlap.
        ratings = self.rng.uniform(0, world.spread, PLAYERS - 1)
        half = PLAYERS // 2 - 1
        if world.runs:
            ratings = np.concatenate([np.sort(ratings[:half]), np.sort(ratings[half:])])
        self.truth = np.concatenate([[0.0], ratings])
        self.games: list[GameRow] = []
        self.played = np.zeros((PLAYERS, PLAYERS), np.int64)

    def play(self, pairings: list[Pairing]) -> None:
        """A pair of games, colours swapped, for each pairing."""
        for a, b in pairings:
            number = int(self.played.sum()) // 2
            self.played[a, b] += 1
            self.played[b, a] += 1
            first, second = self.world.pair(self.rng, self.truth[a] - self.truth[b])
            self.games += [GameRow(a, b, first, number), GameRow(b, a, 1 - second, number)]

    def widths_and_coverage(self) -> tuple[float, float]:
        """Mean width of the intervals and the share that holds the truth."""
        rated = rate(NAMES, self.games).ratings[1:]
        held = [r.low <= t <= r.high for r, t in zip(rated, self.truth[1:], strict=True)]
        return float(np.mean([r.width for r in rated])), float(np.mean(held))


def one_league(
    pairs: int, world: World, seed: int
) -> tuple[NDArray[np.float64], float, float, float]:
    """Widths after each batch and coverage by information; width and coverage by round robin."""
    informed, turns = League(seed, world), pairs // BATCH
    widths = np.zeros(turns)
    members = MEMBERS if world.runs else [Member(None)] * PLAYERS
    fit = rate(NAMES, informed.games)
    for turn in range(turns):
        flying = np.zeros_like(informed.played)
        chosen = next_pairs(members, fit.elo, fit.covariance, informed.played, flying, BATCH)
        informed.play(chosen)
        fit = rate(NAMES, informed.games)
        widths[turn] = np.mean([r.width for r in fit.ratings[1:]])
    robin = League(seed, world)
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


def one_correlated_test(elo: float, seed: int, world: World = CORRELATED) -> str:
    """As `one_test`, both games of a pair from one opening."""
    test, rng = Sprt(), np.random.default_rng([seed, 10])
    pairs = [0] * 5
    while not (verdict := test.decide(pairs)):
        pairs[round(2 * sum(world.pair(rng, elo)))] += 1
    return verdict


def summary(
    leagues: list[tuple[NDArray[np.float64], float, float, float]], suffix: str = ""
) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of some leagues by name, and the standard errors of those that have one."""
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
        "width": float(curve[-1]),
        "width_round_robin": float(robin_width.mean()),
    }
    errors = {
        "coverage95": float(cover.std(ddof=1) / len(leagues) ** 0.5),
        "coverage95_round_robin": float(robin_cover.std(ddof=1) / len(leagues) ** 0.5),
    }
    return {k + suffix: v for k, v in figures.items()}, {k + suffix: v for k, v in errors.items()}


def main() -> None:
    """Simulate, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--leagues", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=240, help="a league: 80 games a player")
    parser.add_argument("--hard", type=int, default=300, help="longer and harder leagues, each")
    parser.add_argument("--tests", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    start, lead = given.seed * 1_000_000, Sprt().elo1
    figures: dict[str, float] = {}
    errors: dict[str, float] = {}
    with ProcessPoolExecutor(given.workers) as pool:
        for suffix, count, pairs, world in (
            ("", given.leagues, given.pairs, PLAIN),
            ("_twice", given.hard, 2 * given.pairs, PLAIN),
            ("_hard", given.hard, given.pairs, HARD),
            ("_outsiders", given.hard, given.pairs, OUTSIDERS),
        ):
            seeds = range(start, start + count)
            play = partial(one_league, pairs, world)
            found = summary(list(pool.map(play, seeds, chunksize=4)), suffix)
            figures |= found[0]
            errors |= found[1]
        seeds = range(start, start + given.tests)
        for name, test in (
            ("", one_test),
            ("_correlated", one_correlated_test),
        ):
            for wrong, elo, end in (("H1", 0.0, "accept"), ("H0", lead, "reject")):
                verdicts = list(pool.map(partial(test, elo), seeds, chunksize=16))
                key = f"sprt_false_{end}{name}"
                figures[key] = verdicts.count(wrong) / given.tests
                errors[key] = (0.05 * 0.95 / given.tests) ** 0.5
    for key, value in figures.items():
        error = f" +- {errors[key]:.4f}" if key in errors else ""
        print(f"{key:40} {value:.{0 if key.startswith('width') else 3}f}{error}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
