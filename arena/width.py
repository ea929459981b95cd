"""How wide a pool's intervals are, and how narrow more games could make them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.league import ONE_SIDED, League
from ghostgo.arena.ratings import Z95, Ratings
from ghostgo.arena.schedule import near_enough

PATIENCE = 0.25
"""A width counts as out of reach when it has been so for this share of the games played."""


def counted(ratings: Ratings, pool: int) -> list[int]:
    """Numbers of those of the first `pool` players whose intervals a mean width is over.

    The anchor is left out, and so is who has won or lost every game of a fair number: more of
    them would not narrow such an interval.
    """
    return [
        i
        for i, rating in enumerate(ratings.ratings[:pool])
        if i != ratings.anchor and not (rating.one_sided and rating.games >= ONE_SIDED)
    ]


def mean_width(ratings: Ratings, pool: int) -> float:
    """Mean width of the pool's intervals in Elo, infinite before all have met."""
    widths = [
        rating.width if rating.games else float("inf")
        for rating in (ratings.ratings[i] for i in counted(ratings, pool))
    ]
    return float(np.mean(widths)) if widths else float("inf")


def least_width(
    ratings: Ratings, pool: int, active: NDArray[np.bool_], settled: NDArray[np.bool_]
) -> float:
    """The mean width in Elo that endless games would leave, as the ratings stand.

    `active` (pool,) says who is still paired, `settled` (pool, pool) which pairings get no more
    games. Players whom a chain of the others links have then no error between them: each link is
    one observation without error (Sherman and Morrison), and what remains is the error between
    such groups.
    """
    open_pairs = near_enough(ratings.elo[:pool], ratings.covariance[:pool, :pool])
    open_pairs &= ~settled & active[:, None] & active[None, :]
    left = np.maximum(np.diag(ratings.covariance), np.diag(ratings.clustered))[:pool].copy()
    covariance = ratings.covariance[:pool, :pool].copy()
    before = np.diag(covariance).copy()
    for a, b in zip(*np.nonzero(np.triu(open_pairs)), strict=True):
        column = covariance[:, a] - covariance[:, b]
        gap = column[a] - column[b]
        if gap > 1e-6:  # they are not linked yet
            covariance -= np.outer(column, column) / gap
    # The clustered error of a player whom nothing narrows stays, and shrinks with the model's else.
    share = np.divide(np.diag(covariance), before, out=np.zeros(pool), where=before > 0)
    widths = 2 * Z95 * np.sqrt(left * np.clip(share, 0.0, 1.0))
    unmet = [i for i in range(pool) if not ratings.ratings[i].games and not open_pairs[i].any()]
    widths[unmet] = np.inf
    who = counted(ratings, pool)
    return float(widths[who].mean()) if who else float("inf")


class Reach:
    """Tells when a width is out of reach, and stays so."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._seen: Ratings | None = None

    def lost(self, wanted: float, ratings: Ratings, league: League, idle: Mapping[int, str]) -> str:
        """Why a mean width of `wanted` Elo is not to be had, in a sentence; empty while it may be.

        `idle` are the names of those of the pool who are not paired any more, by their numbers. A
        limit above `wanted` may pass, as the ratings move: it must have held for a fair number of
        games.
        """
        if ratings is self._seen:
            return ""
        self._seen = ratings
        pool = league.pool_size
        pairs, settled = league.played()
        games = int(pairs.sum())
        active = np.array([i not in idle for i in range(pool)])
        least = least_width(ratings, pool, active, settled)
        if least <= wanted:
            self._since = None
            return ""
        self._since = games if self._since is None else self._since
        if games - self._since < max(ONE_SIDED, PATIENCE * self._since):
            return ""
        why = "the pairings that are left are won by one side alone, or repeat their games"
        if idle and least_width(ratings, pool, np.ones(pool, bool), settled) <= wanted:
            why = f"{' and '.join(idle.values())} forfeited and is paired no more"
        what = f"narrower than {least:.0f} Elo" if np.isfinite(least) else "an interval"
        return f"{what} is not to be had: {why}"
