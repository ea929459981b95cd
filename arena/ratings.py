"""Ratings: one Bradley-Terry fit over all games, with honest intervals.

P(first player wins) = sigma(r_first - r_second + colour), draws counting half, fitted as a binomial
GLM with one player, the anchor, frozen at 0 Elo. Three things keep it sane:

- A weak prior by data augmentation: every player also drew one game in all, spread over its
  opponents in proportion to the games played (and one against the anchor if it has no chain of
  games to it). An unbeaten player's rating is then finite, and strong players are not pulled
  towards the anchor.
- Games of one pair share an opening, so errors are clustered by pair (sandwich estimate).
- Where few games make the sandwich too small, the model's own variance is used instead. A game
  that may be drawn varies less, and draws lie in some pairings more than in others, so each game
  counts with the draws of its own pairing (`drawn_shares`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ELO = 400 / np.log(10)
"""Elo points in one unit of log odds."""
PRIOR_GAMES = 1.0
"""Weight, in games, of the draws that each player is given."""
Z95 = 1.959964
MOST_DRAWN = 0.9
"""Largest `drawn_shares`: a pairing that has only drawn so far is not taken for one that must."""
DRAWN_PRIOR = 4.0
"""Even games, with draws as in all games together, that each pairing's share of draws is given."""


@dataclass(frozen=True)
class GameRow:
    """One rated game."""

    first: int
    """Index of the first player (Black in Go)."""
    second: int
    result: float
    """1 if the first player won, 0.5 for a draw, 0 if it lost."""
    pair: int
    """Number of the pair that the game belongs to; games of one pair share an opening."""


@dataclass(frozen=True)
class Rating:
    """One player's rating in Elo above the anchor, with its 95 % interval."""

    name: str
    elo: float
    low: float
    high: float
    games: int
    points: float
    """Wins plus half the draws."""
    mark: str
    """`unbeaten`, `winless`, `unplayed`, `anchor` or empty."""

    @property
    def one_sided(self) -> bool:
        """Whether it has won, or lost, every game."""
        return self.mark in ("unbeaten", "winless")

    @property
    def width(self) -> float:
        """Width of the interval in Elo."""
        return self.high - self.low


@dataclass(frozen=True)
class Ratings:
    """A fit over K players; arrays are in Elo and in the players' order."""

    ratings: tuple[Rating, ...]
    elo: NDArray[np.float64]  # (K,)
    covariance: NDArray[np.float64] = field(repr=False)
    """(K, K) the model's own, Elo squared, zero for the anchor; what the schedule plans with."""
    clustered: NDArray[np.float64] = field(repr=False)
    """(K, K) the same, errors clustered by pair."""
    anchor: int
    colour: float
    """Elo advantage of moving first, an average over the games."""
    colour_error: float


def rate(names: Sequence[str], games: Sequence[GameRow], anchor: int = 0) -> Ratings:
    """Rate `names` from `games`, with `names[anchor]` frozen at 0 Elo.

    Players without games get the anchor's rating and a very wide interval.
    """
    if len(names) < 2:
        return _trivial(names, anchor)
    design, result, weight, cluster = _rows(len(names), games, anchor)
    beta, hat, sandwich = _fit(design, result, weight, cluster, games)
    keep = np.delete(np.arange(len(names)), anchor)
    elo = np.zeros(len(names))
    elo[keep] = beta[:-1] * ELO
    covariance, clustered = np.zeros((2, len(names), len(names)))
    covariance[np.ix_(keep, keep)] = hat[:-1, :-1] * ELO**2
    clustered[np.ix_(keep, keep)] = sandwich[:-1, :-1] * ELO**2
    error = np.sqrt(np.maximum(np.diag(covariance), np.diag(clustered)))
    return Ratings(
        ratings=_table(names, games, elo, error, anchor),
        elo=elo,
        covariance=covariance,
        clustered=clustered,
        anchor=anchor,
        colour=float(beta[-1] * ELO),
        colour_error=float(np.sqrt(max(hat[-1, -1], sandwich[-1, -1])) * ELO),
    )


def spread(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) variance of every difference, from the covariance."""
    diagonal = np.diag(covariance)
    return np.asarray(np.maximum(diagonal[:, None] + diagonal[None, :] - 2 * covariance, 0.0))


def _trivial(names: Sequence[str], anchor: int) -> Ratings:
    n = len(names)
    ratings = _table(names, [], np.zeros(n), np.zeros(n), anchor)
    zero = np.zeros((n, n))
    return Ratings(ratings, np.zeros(n), zero, zero, anchor, 0.0, 0.0)


def _rows(
    players: int, games: Sequence[GameRow], anchor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Design (R, K), results, weights and clusters (R,): the games, then the prior's draws.

    Columns are the players without the anchor, then the first player's advantage.
    """
    first = np.array([game.first for game in games], np.int64)
    second = np.array([game.second for game in games], np.int64)
    prior_first, prior_second, prior_weight = prior_draws(players, first, second, anchor)
    n, m = len(games), len(prior_first)
    design = np.zeros((n + m + 1, players + 1))
    rows = np.arange(n + m)
    design[rows, np.concatenate([first, prior_first])] += 1
    design[rows, np.concatenate([second, prior_second])] -= 1
    design[:n, players] = 1
    design[n + m, players] = 1  # and one draw that holds the colour advantage
    result = np.full(n + m + 1, 0.5)
    result[:n] = [game.result for game in games]
    weight = np.concatenate([np.ones(n), prior_weight, [PRIOR_GAMES]])
    _, pair = np.unique([game.pair for game in games], return_inverse=True)
    own = np.arange(m + 1) + (pair.max() + 1 if n else 0)
    cluster = np.concatenate([pair, own]).astype(np.int64)
    return np.delete(design, anchor, axis=1), result, weight, cluster


def prior_draws(
    players: int, first: NDArray[np.int64], second: NDArray[np.int64], anchor: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The prior's draws as (player, player, weight), one a pairing."""
    played = np.zeros((players, players))
    np.add.at(played, (first, second), 1.0)
    played += played.T
    total = played.sum(axis=1)
    safe = np.maximum(total, 1)
    weight = PRIOR_GAMES / 2 * played * (1 / safe[:, None] + 1 / safe[None, :])
    for island in _islands(played):
        if anchor not in island:
            weight[island[0], anchor] = weight[anchor, island[0]] = PRIOR_GAMES
    a, b = np.nonzero(np.triu(weight))
    return a, b, weight[a, b]


def _islands(played: NDArray[np.float64]) -> list[list[int]]:
    """Players grouped so that a chain of games links all of a group."""
    left = set(range(len(played)))
    islands = []
    while left:
        island = [left.pop()]
        for player in island:
            near = [int(other) for other in np.flatnonzero(played[player]) if other in left]
            left.difference_update(near)
            island += near
        islands.append(island)
    return islands


def _fit(
    design: NDArray[np.float64],
    result: NDArray[np.float64],
    weight: NDArray[np.float64],
    cluster: NDArray[np.int64],
    games: Sequence[GameRow],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients, the model's covariance, and the covariance clustered by pair.

    Both are sandwiches, hat B hat: B sums the variances that the model expects of the results, draws
    allowed for, or the squares that were found.
    """
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    model = GLM(result, design, family=Binomial(), var_weights=weight)
    with warnings.catch_warnings():
        # Without games all results are the prior's draws, predicted perfectly: no fault.
        warnings.simplefilter("ignore")
        fit: Any = model.fit(maxiter=200, tol=1e-10, scale=1.0)
    beta = np.asarray(fit.params, np.float64)
    hat = np.asarray(fit.normalized_cov_params, np.float64)
    expected = 1 / (1 + np.exp(-design @ beta))
    drawn = np.zeros(len(expected))
    drawn[: len(games)] = drawn_shares(games, expected[: len(games)])
    variance = weight * result_variance(expected, drawn)
    covariance = hat @ (design.T * variance) @ design @ hat
    scores = design * (weight * (result - expected))[:, None]
    clusters = int(cluster.max()) + 1
    summed = np.zeros((clusters, design.shape[1]))
    np.add.at(summed, cluster, scores)
    correction = clusters / max(clusters - 1, 1)
    return beta, covariance, correction * hat @ (summed.T @ summed) @ hat


def drawn_shares(games: Sequence[GameRow], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """How drawish each game's pairing is, (n,) in 0 .. `MOST_DRAWN`, the same for all its games.

    At an expected score p (`expected`, (n,), of the first player) a game is drawn with a chance of
    at most 2 min(p, 1 - p). The share is of that: the pairing's draws over what they could be,
    shrunk to the same of all games by `DRAWN_PRIOR` even games. 0 without draws.
    """
    if not games:
        return np.zeros(0)
    sides = np.sort(np.array([(game.first, game.second) for game in games], np.int64), axis=1)
    _, pairing = np.unique(sides, axis=0, return_inverse=True)
    drawn = np.array([game.result == 0.5 for game in games], np.float64)
    room = 2 * np.minimum(expected, 1 - expected)
    pool = min(float(drawn.sum() / max(room.sum(), 1e-9)), 1.0)
    draws, rooms = (np.bincount(pairing.ravel(), values) for values in (drawn, room))
    share = (draws + DRAWN_PRIOR * pool) / (rooms + DRAWN_PRIOR)
    return np.asarray(np.minimum(share, MOST_DRAWN)[pairing.ravel()])


def result_variance(
    expected: NDArray[np.float64], drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variance of results with those expected scores p and `drawn_shares`, elementwise.

    p (1 - p) less a quarter of the chance of a draw; never below 0.1 p (1 - p).
    """
    return np.asarray(expected * (1 - expected) - drawn * np.minimum(expected, 1 - expected) / 2)


def _table(
    names: Sequence[str],
    games: Sequence[GameRow],
    elo: NDArray[np.float64],
    error: NDArray[np.float64],
    anchor: int,
) -> tuple[Rating, ...]:
    count = np.zeros(len(names), np.int64)
    points = np.zeros(len(names))
    for game in games:
        count[[game.first, game.second]] += 1
        points[game.first] += game.result
        points[game.second] += 1 - game.result
    rows = []
    for i, name in enumerate(names):
        half = Z95 * float(error[i])
        mark = "anchor" if i == anchor else _mark(int(count[i]), float(points[i]))
        rating = float(elo[i])
        rows.append(
            Rating(
                name, rating, rating - half, rating + half, int(count[i]), float(points[i]), mark
            )
        )
    return tuple(rows)


def _mark(games: int, points: float) -> str:
    if games == 0:
        return "unplayed"
    if points == games:
        return "unbeaten"
    return "winless" if points == 0 else ""
