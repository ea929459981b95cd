"""Who meets next: a spanning set first, then the pairing that narrows the table most.

The gain of a pairing is how far one block of it would lower the sum of all rating variances (the
A-optimal design, which serves the interval widths that a tournament stops at).
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

from ghostgo.arena.ratings import ELO, spread

SPAN_PAIRS = 1
"""Pairs that each pairing of the spanning set gets before information decides."""
FAR = 400.0
"""Elo beyond which a pairing carries model error, not information."""
BLOCK = 2
"""Pairs added at a time, so that a network's batches are fuller."""

Pairing = tuple[int, int]


@dataclass(frozen=True)
class Member:
    """What the schedule knows of a player: its run (None for anchors and outsiders) and caps."""

    run: str | None = None
    sequential: bool = False
    """It plays one game at a time, so it never gets more than a block in flight."""


def spanning_set(members: Sequence[Member]) -> list[Pairing]:
    """Pairings that link all players; members of a run are in order of time, anchors of strength.

    Neighbours within each run and among the anchors; each run's first and last against the first
    and last anchor; the runs' first and last against each other.
    """
    groups: dict[str | None, list[int]] = {}
    for i, member in enumerate(members):
        groups.setdefault(member.run, []).append(i)
    pairings = [pairing for group in groups.values() for pairing in itertools.pairwise(group)]
    anchors = groups.pop(None, [])
    ends = [(group[0], group[-1]) for group in groups.values()]
    for first, last in ends:
        if anchors:
            pairings += [(first, anchors[0]), (last, anchors[-1])]
    for one, other in itertools.pairwise(ends):
        pairings += [(one[0], other[0]), (one[1], other[1])]
    return list(dict.fromkeys((min(p), max(p)) for p in pairings if p[0] != p[1]))


def game_weight(elo: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) p * (1 - p), the information of a game, at the ratings as they stand.

    Not averaged over their errors: early ratings lie too close together as it is, since the prior
    draws them there, and the average would send more games to pairings that are far apart.
    """
    p = 1 / (1 + np.exp((elo[None, :] - elo[:, None]) / ELO))
    return np.asarray(p * (1 - p))


def gains(covariance: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) by how much one block of each pairing would lower the covariance's trace, Elo^2."""
    square = covariance @ covariance
    diagonal = np.diag(square)
    moved = diagonal[:, None] + diagonal[None, :] - 2 * square
    scaled = 2 * BLOCK * weight / ELO**2
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
    allowed = near_enough(elo, covariance)
    if settled is not None:
        allowed &= ~settled
    return chosen + _narrowing(members, elo, covariance, flying, allowed, count - len(chosen))


def _room(members: Sequence[Member], flying: NDArray[np.int64], a: int, b: int) -> bool:
    return not any(members[i].sequential and flying[i].sum() >= BLOCK for i in (a, b))


def _narrowing(
    members: Sequence[Member],
    elo: NDArray[np.float64],
    covariance: NDArray[np.float64],
    flying: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    count: int,
) -> list[Pairing]:
    """Up to `count` pairs by gain, in blocks."""
    k = len(members)
    weight = game_weight(elo)
    for a, b in zip(*np.nonzero(np.triu(flying)), strict=True):
        covariance = _after(covariance, weight, int(a), int(b), int(flying[a, b]))
    chosen: list[Pairing] = []
    while len(chosen) < count:
        gain = np.where(allowed, gains(covariance, weight), -1.0)
        for i in range(k):
            if members[i].sequential and flying[i].sum() >= BLOCK:
                gain[i] = gain[:, i] = -1.0
        a, b = divmod(int(gain.argmax()), k)
        if gain[a, b] <= 0:
            break
        size = min(BLOCK, count - len(chosen))
        chosen += [(min(a, b), max(a, b))] * size
        flying[a, b] += size
        flying[b, a] += size
        covariance = _after(covariance, weight, a, b, size)
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
