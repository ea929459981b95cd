"""How well one number a player explains the games: against simulated tournaments, no table.

The statistic is the sum over the pairings of squared standardised residuals, (points - expected)^2 /
(variance + 1/4). Its distribution is that of tournaments simulated under the fitted ratings, each
rated anew (parametric bootstrap, Efron and Tibshirani 1993, chapter 6): the same pairings, draws
where draws were found (`ratings.drawn_shares`), and pairs whose two games hang together as much as
those found do, since they share an opening. A chi-squared table wants many independent games in
each pairing, which an arena does not have.

What a small p says: some pairings went as no ratings of these players make likely. It does not say
which or why: players may beat each other in a circle, or have changed while they played, or lost to
a crash. What a large p says: these games do not show it; with few games a pairing they seldom could.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from ghostgo.arena.ratings import (
    ELO,
    PRIOR_GAMES,
    GameRow,
    Ratings,
    drawn_shares,
    prior_draws,
    result_variance,
)

Array = NDArray[np.float64]

TOURNAMENTS = 2000
"""Simulated tournaments, at most."""
FEWEST = 200
"""Simulated tournaments of a very large league."""
WORK = 6e8
"""Most of tournaments x (20 games + players^3): beyond it there are fewer tournaments."""
CHUNK = 2_000_000
"""Numbers in the largest array."""
SLACK = 0.25
"""Variance, in games, added to each pairing's: certain wins would divide by nothing."""
LOOSE_PAIRS = 8.0
"""Even pairs, whose games have nothing to do with each other, added to those found."""
STEPS = 8
"""Newton's, at most; three or four do."""


@dataclass(frozen=True)
class Goodness:
    """What the simulated tournaments say."""

    statistic: float
    expected: float
    """Mean of the simulated."""
    exceeding: int
    """Simulated tournaments whose statistic is as large or larger."""
    tournaments: int
    deviation: Array
    """(M,) standard deviation of each pairing's points less those expected, over the simulated: what
    is left of the luck once the ratings have been fitted to it."""

    @property
    def p_value(self) -> float:
        """(exceeding + 1) / (tournaments + 1), so never 0 (Davison and Hinkley 1997, 4.2)."""
        return (self.exceeding + 1) / (self.tournaments + 1)

    def sentence(self) -> str:
        """Statistic, expectation, p and what it means."""
        p = f"p = {self.p_value:.2g}" if self.exceeding else f"p < {1 / self.tournaments:.2g}"
        if self.p_value < 0.01:
            says = "one number a player does not explain the pairings: some scored what they should not"
        elif self.p_value < 0.05:
            says = "these games cast some doubt on one number a player"
        else:
            says = (
                "these games do not show one number a player to be too few; few games seldom could"
            )
        return (
            f"Goodness of fit: squared deviations sum to {self.statistic:.1f}, {self.expected:.1f} is "
            f"to be expected ({self.tournaments} simulated tournaments, {p}); {says}."
        )


@dataclass(frozen=True)
class Tally:
    """Games by pairing: M pairings of players a < b, everything from a's side.

    Of the 2M cells the even ones are the games in which a moved first.
    """

    a: NDArray[np.int64]  # (M,)
    b: NDArray[np.int64]
    counts: Array  # (2M,) games
    points: Array  # (2M,)
    pairs: NDArray[np.int64]  # (M,) pairs of games with colours swapped
    drawn: Array  # (2M,) as `drawn_shares`
    means: Array  # (2M,) expected scores by the ratings
    luck: float
    """Share of the pairs that one stroke of luck decides, below 0 if it favours who moves first."""

    @property
    def games(self) -> NDArray[np.int64]:
        """(M,) games of each pairing."""
        return by_pairing(self.counts).astype(np.int64)

    @property
    def variance(self) -> Array:
        """(M,) of each pairing's points."""
        return self.variance_at(self.means[:, None])[:, 0]

    def variance_at(self, means: Array) -> Array:
        """(M, S) variance of a pairing's points where cells have expected scores `means` (2M, S)."""
        drawn = self.drawn[:, None]
        own = by_pairing(self.counts[:, None] * result_variance(means, drawn))
        shared = shared_covariance(means, drawn, self.luck > 0)
        return np.asarray(np.maximum(own + 2 * self.pairs[:, None] * abs(self.luck) * shared, 0.0))


def by_pairing(cells: Array) -> Array:
    """(M, ...) sums of the two cells of each pairing (2M, ...)."""
    return np.asarray(cells[::2] + cells[1::2])


def shared_covariance(means: Array, drawn: Array, same: bool) -> Array:
    """(M, S) covariance of a's results in two games, one of each cell, that share all their luck.

    A game is won if a uniform u < w and not lost if u < w + d. The other game has the same u, or
    1 - u if the luck is that of who moves first.
    """
    room = np.minimum(means, 1 - means) * drawn
    ends = (means - room, means + room)
    total = np.zeros_like(means[::2])
    for one in ends:
        for other in ends:
            p, q = one[::2], other[1::2]
            both = np.minimum(p, q) if same else np.maximum(p + q - 1, 0.0)
            total += (both - p * q) / 4
    return total


def tally(games: Sequence[GameRow], ratings: Ratings) -> Tally:
    """`games` by pairing, with what `ratings` expect. Their order does not matter."""
    first = np.array([game.first for game in games], np.int64)
    second = np.array([game.second for game in games], np.int64)
    result = np.array([game.result for game in games], np.float64)
    gap = (ratings.elo[first] - ratings.elo[second] + ratings.colour) / ELO
    drawn = drawn_shares(games, expit(gap))
    sides = np.sort(np.stack([first, second], axis=1), axis=1)
    met, pairing = np.unique(sides, axis=0, return_inverse=True)
    a, b = met.T
    swapped = first > second
    cell = 2 * pairing.ravel() + swapped
    size = 2 * len(met)
    share = np.zeros(size)
    share[cell] = drawn
    share = np.repeat(np.maximum(share[::2], share[1::2]), 2)  # where one cell has no games
    colour = np.tile([ratings.colour, -ratings.colour], len(met))
    means = expit((np.repeat(ratings.elo[a] - ratings.elo[b], 2) + colour) / ELO)
    points = np.where(swapped, 1 - result, result)
    found = _pairs([game.pair for game in games], cell)
    residual = points - means[cell]
    return Tally(
        a=a, b=b, counts=np.bincount(cell, minlength=size).astype(np.float64),
        points=np.bincount(cell, points, minlength=size).astype(np.float64),
        pairs=np.bincount(cell[found[:, 0]] // 2, minlength=len(met)),
        drawn=share, means=means,
        luck=_luck(cell[found[:, 0]] // 2, residual[found], means, share),
    )  # fmt: skip


def _pairs(numbers: Sequence[int], cell: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) games of the pairs of two games between the same two, colours swapped, even cell first."""
    rows: dict[int, list[int]] = {}
    for i, number in enumerate(numbers):
        rows.setdefault(number, []).append(i)
    found = [
        sorted(group, key=lambda i: int(cell[i]))
        for group in rows.values()
        if len(group) == 2 and cell[group[0]] ^ 1 == cell[group[1]]
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def _luck(pairing: NDArray[np.int64], residual: Array, means: Array, drawn: Array) -> float:
    """`Tally.luck` from the residuals (n, 2) of pairs of games.

    Each pairing's own mean is taken off first: a player who scores too much in both games of all
    pairs is a misfit and no luck. What is left is held against what pairs that share all their luck
    would have.
    """
    size = len(means) // 2
    count = np.bincount(pairing, minlength=size)
    mean = [np.bincount(pairing, r, minlength=size) / np.maximum(count, 1) for r in residual.T]
    centred = residual - np.stack(mean, axis=1)[pairing]
    found = float((centred[:, 0] * centred[:, 1]).sum())
    whole = np.abs(shared_covariance(means[:, None], drawn[:, None], found > 0)[:, 0])
    most = float((np.maximum(count - 1, 0) * whole).sum()) + LOOSE_PAIRS / 4
    return float(np.clip(found / most, -1, 1))


def cycles(players: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Independent cycles in the graph of pairings: edges less vertices plus components."""
    if not len(a):
        return 0
    met = csr_array((np.ones(len(a)), (a, b)), shape=(players, players))
    groups = int(connected_components(met, directed=False)[0])
    return len(a) - players + groups


def goodness(
    games: Tally, ratings: Ratings, seed: int = 0, tournaments: int = TOURNAMENTS
) -> Goodness | None:
    """The fit of `ratings`, by the tournaments of `seed`; None if the pairings have no cycle.

    At most so many `tournaments`, fewer in a very large league. Without a cycle there is a rating to
    spare for each pairing, and nothing to find.
    """
    players = len(ratings.elo)
    if not cycles(players, games.a, games.b):
        return None
    rater = _Rater(games, ratings)
    statistic = float(_statistic(games, games.points[:, None], games.means[:, None])[0])
    rng = np.random.default_rng(seed)
    total = int(games.counts.sum())
    wanted = min(tournaments, max(int(WORK / (20 * total + players**3)), FEWEST))
    most = max(CHUNK // (2 * total + (players + 1) ** 2), 1)
    found: list[Array] = []
    squares = np.zeros(len(games.a))
    for start in range(0, wanted, most):
        points = _play(games, rng, min(most, wanted - start))
        means = rater.refit(points)
        found.append(_statistic(games, points, means))
        squares += (_residual(games, points, means) ** 2).sum(axis=1)
    simulated = np.concatenate(found)
    exceeding = int((simulated >= statistic - 1e-9).sum())
    return Goodness(
        statistic, float(simulated.mean()), exceeding, wanted, np.sqrt(squares / wanted)
    )


def _residual(games: Tally, points: Array, means: Array) -> Array:
    """(M, S) pairings' points less those expected, from cells' (2M, S)."""
    return by_pairing(points - games.counts[:, None] * means)


def _statistic(games: Tally, points: Array, means: Array) -> Array:
    """(S,) from cells' points and expected scores (2M, S)."""
    residual = _residual(games, points, means)
    return np.asarray((residual**2 / (games.variance_at(means) + SLACK)).sum(axis=0))


def _play(games: Tally, rng: np.random.Generator, count: int) -> Array:
    """(2M, count) points of simulated tournaments."""
    pairs = np.repeat(np.arange(len(games.pairs)), games.pairs)
    rest = games.counts.astype(np.int64) - np.repeat(games.pairs, 2)
    single = np.repeat(np.arange(len(rest)), rest)
    one, other = rng.random((2, len(pairs), count))
    shared = rng.random((len(pairs), count)) < abs(games.luck)
    other = np.where(shared, one if games.luck > 0 else 1 - one, other)
    luck = np.concatenate([one, other, rng.random((len(single), count))])
    cell = np.concatenate([2 * pairs, 2 * pairs + 1, single])
    mean = games.means[cell, None]
    room = games.drawn[cell, None] * np.minimum(mean, 1 - mean)
    result = ((luck < mean - room).astype(np.float64) + (luck < mean + room)) / 2
    sums = csr_array((np.ones(len(cell)), (cell, np.arange(len(cell)))), (len(rest), len(cell)))
    return np.asarray(sums @ result)


class _Rater:
    """Rates many tournaments of the same pairings at once, as `ratings.rate` does."""

    def __init__(self, games: Tally, ratings: Ratings) -> None:
        players, cells = len(ratings.elo), len(games.counts)
        first, second = np.repeat(games.a, 2), np.repeat(games.b, 2)
        swapped = np.arange(cells) % 2 == 1
        played = games.counts.astype(np.int64)
        more_a, more_b, weight = prior_draws(
            players, np.repeat(first, played), np.repeat(second, played), ratings.anchor
        )
        self.anchor = ratings.anchor
        # The games, the prior's draws, and the draw that holds the colour advantage.
        a = np.concatenate([first, more_a, [self.anchor]])
        b = np.concatenate([second, more_b, [self.anchor]])
        colour = np.concatenate([np.where(swapped, -1, 1), np.zeros(len(more_a)), [1]])
        self.counts = np.concatenate([games.counts, weight, [PRIOR_GAMES]])[:, None]
        self.extra = np.concatenate([weight, [PRIOR_GAMES]])[:, None] / 2
        self.start = np.append(ratings.elo, ratings.colour) / ELO
        rows, size = len(a), players + 1
        index = np.stack([a, b, np.full(rows, players)], axis=1)
        value = np.stack([np.ones(rows), -np.ones(rows), colour], axis=1)
        value[index == self.anchor] = 0
        number = np.repeat(np.arange(rows), 3)
        self.design = csr_array((value.ravel(), (number, index.ravel())), (rows, size))
        square = index[:, :, None] * size + index[:, None, :]
        product = value[:, :, None] * value[:, None, :]
        self.outer = csr_array(
            (product.ravel(), (square.ravel(), np.repeat(np.arange(rows), 9))), (size**2, rows)
        )

    def refit(self, points: Array) -> Array:
        """(2M, S) expected scores by ratings fitted to `points` (2M, S), by Newton's method."""
        cells, count = points.shape
        result = np.concatenate([points, np.repeat(self.extra, count, axis=1)])
        size = len(self.start)
        beta = np.repeat(self.start[:, None], count, axis=1)
        for _ in range(STEPS):
            p = expit(self.design @ beta)
            slope = self.design.T @ (result - self.counts * p)
            curve = np.asarray(self.outer @ (self.counts * p * (1 - p))).T
            curve = np.ascontiguousarray(curve).reshape(count, size, size)
            curve[:, self.anchor, self.anchor] = 1
            step = np.linalg.solve(curve, slope.T[:, :, None])[:, :, 0].T
            beta += np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-3:
                break
        return np.asarray(expit((self.design @ beta)[:cells]))
