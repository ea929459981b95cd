"""Who meets next: a spanning set first, then the pairing that narrows the table most.

The gain of a pairing is how far one pair of it would lower the sum of all standard errors (an
A-optimal design weighted for the mean interval width, which a tournament stops at).
`benchmarks/ratings.py` measures on simulated leagues what that saves and whether intervals hold.
Pairs in flight count as played, by a rank-one update of the covariance,
so that one call spreads its picks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from ghostgo.arena.ratings import ELO, spread

SPAN_PAIRS = 1
"""Pairs that each pairing of the spanning set gets before information decides."""
FAR = 400.0
"""Elo beyond which a pairing carries model error, not information."""
QUEUED = 2
"""Pairs in flight that a player gets who plays one game at a time, so that it never waits."""

Pairing = tuple[int, int]


@dataclass(frozen=True)
class Member:
    """What the schedule knows of a player: its run (None for anchors and outsiders) and caps."""

    run: str | None = None
    sequential: bool = False
    """It plays one game at a time, so it never gets more than `QUEUED` in flight."""


def spanning_set(members: Sequence[Member]) -> list[Pairing]:
    """The K - 1 pairings that link all K players, in a tree whose links are likely to be close.

    Members of a run are in order of time, anchors of strength: neighbours within each run and among
    the anchors meet, and each run's first meets the weakest anchor, or the next run's first where
    there is no anchor. One way to each player is enough: two cost games between unequal players.
    """
    groups: dict[str | None, list[int]] = {}
    for i, member in enumerate(members):
        groups.setdefault(member.run, []).append(i)
    pairings = [pairing for group in groups.values() for pairing in itertools.pairwise(group)]
    anchors = groups.pop(None, [])
    firsts = [group[0] for group in groups.values()]
    if anchors:
        pairings += [(anchors[0], first) for first in firsts]
    else:
        pairings += itertools.pairwise(firsts)
    return [(min(pairing), max(pairing)) for pairing in pairings]


def planning_ratings(
    members: Sequence[Member], elo: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(K,) ratings that pairings are chosen by: runs rise with time as far as that is plausible.

    Later checkpoints are seldom weaker, while early ratings are mostly noise. Each rating is moved
    to the isotonic fit of its run, weighted by the ratings' variances; the further that is, the
    less of the way, and not at all beyond one standard error, so that a run that does fall is
    planned as it is. No published rating is touched.
    """
    variance = np.maximum(np.diag(covariance), 1.0)
    planned = elo.copy()
    for run in {member.run for member in members} - {None}:
        group = [i for i, member in enumerate(members) if member.run == run]
        move = isotonic_regression(elo[group], weights=1 / variance[group]).x - elo[group]
        planned[group] += move * np.maximum(1 - move**2 / variance[group], 0.0)
    return planned


def game_weight(elo: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) p * (1 - p), the information of a game, at the ratings as they stand.

    Not averaged over their errors: early ratings lie too close together as it is, since the prior
    draws them there, and the average would send more games to pairings that are far apart.
    """
    p = 1 / (1 + np.exp((elo[None, :] - elo[:, None]) / ELO))
    return np.asarray(p * (1 - p))


def gains(covariance: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) by how much one pair of each pairing would lower the sum of standard errors, Elo.

    To first order: a standard error s falls by half the fall of its variance over s.
    """
    variance = np.diag(covariance)
    share = np.where(variance > 0, 0.5 / np.sqrt(np.maximum(variance, 1.0)), 0.0)
    square = covariance @ (share[:, None] * covariance)
    diagonal = np.diag(square)
    moved = diagonal[:, None] + diagonal[None, :] - 2 * square
    scaled = 2 * weight / ELO**2
    return np.asarray(scaled * moved / (1 + scaled * spread(covariance)))


def near_enough(elo: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K, K) which players may meet: those less than `FAR` apart, give or take a standard error.

    Neighbours in the order of ratings always may, else a gap would stay unknown for ever.
    """
    gap = np.abs(elo[:, None] - elo[None, :])
    near = gap - np.sqrt(spread(covariance)) <= FAR
    order = np.argsort(elo)
    near[order[:-1], order[1:]] = True
    np.fill_diagonal(near, False)
    return np.asarray(near | near.T)


def next_pairs(
    members: Sequence[Member],
    elo: NDArray[np.float64],
    covariance: NDArray[np.float64],
    played: NDArray[np.int64],
    flying: NDArray[np.int64],
    count: int,
    settled: NDArray[np.bool_] | None = None,
) -> list[Pairing]:
    """Up to `count` pairs to begin now; a pairing may occur several times.

    `elo` (K,) and `covariance` (K, K) are the fit; `played` and `flying` (K, K), symmetric, count
    finished pairs and those in flight. `settled` (K, K) marks pairings so one-sided that more of
    them would say nothing; they get none beyond the spanning set.
    """
    if len(members) < 2:
        return []
    flying = flying.copy()
    chosen: list[Pairing] = []
    missing = played + flying
    for a, b in spanning_set(members):
        for _ in range(SPAN_PAIRS - int(missing[a, b])):
            if len(chosen) < count and _room(members, flying, a, b):
                chosen.append((a, b))
                flying[a, b] += 1
                flying[b, a] += 1
    elo = planning_ratings(members, elo, covariance)
    allowed = near_enough(elo, covariance)
    if settled is not None:
        allowed &= ~settled
    return chosen + _narrowing(members, elo, covariance, flying, allowed, count - len(chosen))


def _room(members: Sequence[Member], flying: NDArray[np.int64], a: int, b: int) -> bool:
    return not any(members[i].sequential and flying[i].sum() >= QUEUED for i in (a, b))


def _narrowing(
    members: Sequence[Member],
    elo: NDArray[np.float64],
    covariance: NDArray[np.float64],
    flying: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    count: int,
) -> list[Pairing]:
    """Up to `count` pairs by gain, one at a time."""
    k = len(members)
    weight = game_weight(elo)
    for a, b in zip(*np.nonzero(np.triu(flying)), strict=True):
        covariance = _after(covariance, weight, int(a), int(b), int(flying[a, b]))
    chosen: list[Pairing] = []
    while len(chosen) < count:
        gain = np.where(allowed, gains(covariance, weight), -1.0)
        for i in range(k):
            if members[i].sequential and flying[i].sum() >= QUEUED:
                gain[i] = gain[:, i] = -1.0
        a, b = divmod(int(gain.argmax()), k)
        if gain[a, b] <= 0:
            break
        chosen.append((min(a, b), max(a, b)))
        flying[a, b] += 1
        flying[b, a] += 1
        covariance = _after(covariance, weight, a, b, 1)
    return chosen


def _after(
    covariance: NDArray[np.float64],
    weight: NDArray[np.float64],
    a: int,
    b: int,
    pairs: int,
) -> NDArray[np.float64]:
    """The covariance to be expected after `pairs` more pairs of a and b (Sherman and Morrison)."""
    scaled = 2 * pairs * weight[a, b] / ELO**2
    column = covariance[:, a] - covariance[:, b]
    shrink = scaled / (1 + scaled * (column[a] - column[b]))
    return np.asarray(covariance - shrink * np.outer(column, column))
