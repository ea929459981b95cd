"""What choosing pairings by information gains over a round robin, on simulated leagues.

    python benchmarks/pairing.py [--leagues 30] [--pairs 200] [--players 12] [--seed 1]

Two runs of checkpoints and an anchor with known ratings play by the Bradley-Terry model, a first
mover's advantage included. Printed for each rule: the mean width of the 95 % intervals (of
differences to the anchor) and the share of them that hold the truth, with its standard error over
leagues; and how many pairs each rule needed for the round robin's width at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.ratings import ELO, GameRow, Ratings, rate
from ghostgo.arena.schedule import Member, Pairing, next_pairs

BATCH = 8
COLOUR = 40.0
Rule = Callable[[list[Member], Ratings, NDArray[np.int64], int], list[Pairing]]


def by_information(
    members: list[Member], fit: Ratings, played: NDArray[np.int64], turn: int
) -> list[Pairing]:
    """The arena's own rule."""
    flying = np.zeros_like(played)
    return next_pairs(members, fit.elo, fit.covariance, played, flying, BATCH)


def round_robin(
    members: list[Member], fit: Ratings, played: NDArray[np.int64], turn: int
) -> list[Pairing]:
    """Whoever has met least, in a fixed order."""
    k = len(members)
    pairings = [(a, b) for a in range(k) for b in range(a + 1, k)]
    return [pairings[(turn * BATCH + i) % len(pairings)] for i in range(BATCH)]


def league(
    truth: NDArray[np.float64], members: list[Member], rule: Rule, pairs: int, seed: int
) -> tuple[list[float], float]:
    """Mean interval width after every batch of pairs, and the coverage at the end."""
    rng, games = np.random.default_rng(seed), list[GameRow]()
    names = [str(i) for i in range(len(truth))]
    played = np.zeros((len(truth), len(truth)), np.int64)
    fit, widths = rate(names, games), []
    for turn in range(pairs // BATCH):
        for a, b in rule(members, fit, played, turn):
            number = int(played.sum()) // 2
            played[a, b] += 1
            played[b, a] += 1
            for first, second in ((a, b), (b, a)):
                edge = (truth[first] - truth[second] + COLOUR) / ELO
                won = rng.random() < 1 / (1 + np.exp(-edge))
                games.append(GameRow(first, second, float(won), number))
        fit = rate(names, games)
        widths.append(float(np.mean([r.width for r in fit.ratings[1:]])))
    held = [r.low <= t <= r.high for r, t in zip(fit.ratings[1:], truth[1:], strict=True)]
    return widths, float(np.mean(held))


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--leagues", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--players", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    members = [Member(None)] + [
        Member("a" if i < given.players // 2 else "b") for i in range(1, given.players)
    ]
    rules: dict[str, Rule] = {"round robin": round_robin, "information": by_information}
    widths: dict[str, list[list[float]]] = {name: [] for name in rules}
    cover: dict[str, list[float]] = {name: [] for name in rules}
    for i in range(given.leagues):
        rng = np.random.default_rng([given.seed, i])
        truth = np.concatenate([[0.0], np.sort(rng.uniform(0, 1200, given.players - 1))])
        for name, rule in rules.items():
            width, held = league(truth, members, rule, given.pairs, given.seed + i)
            widths[name].append(width)
            cover[name].append(held)
    goal = np.mean(widths["round robin"], axis=0)[-1]
    for name in rules:
        curve = np.mean(widths[name], axis=0)
        error = np.std(cover[name], ddof=1) / len(cover[name]) ** 0.5
        needed = BATCH * (1 + int(np.argmax(curve <= goal)))
        print(
            f"{name}: mean width {curve[-1]:.0f} Elo after {given.pairs // BATCH * BATCH} pairs, "
            f"coverage {np.mean(cover[name]):.3f} +- {error:.3f}; {needed} pairs to {goal:.0f} Elo"
        )


if __name__ == "__main__":
    main()
