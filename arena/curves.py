"""Runs as curves of Elo over compute, and what is read off them.

A curve goes through the ratings as they stand, straight in log10 FLOPs between checkpoints. Only
where a run first reaches a level is read off a fit that may not fall (isotonic), since a curve
with noise in it passes a level several times. The ends of that fit are biased, the last one up: it
is the largest mean of any last stretch of checkpoints. So nothing else is read off it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import t as student

from ghostgo.arena.pool import Pool
from ghostgo.arena.ratings import Z95, Ratings

NAN = float("nan")
TAIL = 2.5
"""Per cent beyond each end of an interval."""
SHARES = (0.25, 0.5, 0.75)
"""Default levels: so far up the range of Elo that both arms cover."""


@dataclass(frozen=True)
class Curve:
    """One run's checkpoints in order of compute."""

    run: str
    flops: NDArray[np.float64]
    """(n,) above zero, ascending."""
    entries: NDArray[np.int64]
    """(n,) each checkpoint's number among the rated players."""

    @property
    def log_flops(self) -> NDArray[np.float64]:
        """(n,) log10 of the FLOPs."""
        return np.log10(self.flops)

    def weights(self, log_flops: NDArray[np.float64], players: int) -> NDArray[np.float64]:
        """(G, players) what each rating counts for the curve's Elo at each of `log_flops` (G,)."""
        each = [np.interp(log_flops, self.log_flops, unit) for unit in np.eye(len(self.flops))]
        return np.asarray(np.transpose(each) @ np.eye(players)[self.entries])

    def monotone(self, elo: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) the checkpoints' Elo made monotone (least squares), from all players' `elo` (K,)."""
        return np.asarray(isotonic_regression(elo[self.entries]).x)


@dataclass(frozen=True)
class Reached:
    """log10 of the FLOPs at which a run reaches a level, or a bound."""

    log_flops: float
    sign: str
    """`=`, `<` (its first checkpoint is stronger already) or `>` (it never gets there)."""


@dataclass(frozen=True)
class Crossing:
    """Where arm a overtakes: b's mean was ahead before, a's is from there on to the end."""

    sign: str
    """`=`; `beyond`: b is ahead at the end of the budget; `before`: a is ahead all along."""
    flops: float
    """nan where there is no crossing."""
    low: float
    high: float
    """95 % interval: the last FLOPs before it at which b, and the first after it at which a, is
    ahead beyond doubt; 0 and infinity where neither ever is."""


def run_name(run: str) -> str:
    """What the pool's points call a run that is given by name or folder."""
    return os.path.basename(run.rstrip("/"))


def read_curve(pool: Pool, ratings: Ratings, run: str, imitation: bool) -> Curve:
    """The rated checkpoints of a run that cost anything; imitation's FLOPs count or not.

    On a ladder, those at the pool's base rung. Of checkpoints that cost the same, the newest.
    """
    name = run_name(run)
    points = [
        point
        for point in pool.points
        if point.run == name and point.rung == pool.base and ratings.ratings[point.entry].games
    ]
    found = {}
    for point in sorted(points, key=lambda point: point.step):
        spent = point.totals
        found[spent.flops if imitation else spent.selfplay_flops + spent.training_flops] = point
    costs = sorted(flops for flops in found if flops > 0)
    entries = np.array([found[flops].entry for flops in costs], np.int64)
    return Curve(name, np.array(costs), entries)


def shared_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """The log10 FLOPs from which and up to which all curves go; the first is larger if none are."""
    return (
        float(max(curve.log_flops[0] for curve in curves)),
        float(min(curve.log_flops[-1] for curve in curves)),
    )


def reach(curve: Curve, fit: NDArray[np.float64], level: float) -> Reached:
    """Where a curve's monotone `fit` first reaches `level`, straight between checkpoints."""
    log = curve.log_flops
    if fit[0] >= level:
        return Reached(float(log[0]), "<" if fit[0] > level else "=")
    if fit[-1] < level:
        return Reached(float(log[-1]), ">")
    i = int(np.argmax(fit >= level))
    share = (level - fit[i - 1]) / (fit[i] - fit[i - 1])
    return Reached(float(log[i - 1] + share * (log[i] - log[i - 1])), "=")


def default_levels(arms: Sequence[Sequence[NDArray[np.float64]]]) -> list[float]:
    """Levels within the Elo that every run of both arms covers, or else half of each arm's runs.

    `arms` are lists of the runs' monotone fits. A fit counts up to what two checkpoints bear out,
    so that one lucky last checkpoint does not lift the levels. None where nothing is left.
    """
    lows = [[float(fit[0]) for fit in arm] for arm in arms]
    highs = [[float(fit[-2]) for fit in arm] for arm in arms]
    low, high = max(map(max, lows)), min(map(min, highs))
    if high <= low:
        low = max(float(np.median(arm)) for arm in lows)
        high = min(float(np.median(arm)) for arm in highs)
    return [low + share * (high - low) for share in SHARES] if high > low else []


def welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """mean(a) - mean(b) and its 95 % interval over seeds; nan ends where an arm has one seed."""
    if len(a) < 2 or len(b) < 2:
        return float(a.mean() - b.mean()), NAN, NAN
    difference, low, high = _welch(a, b)
    return float(difference), float(low), float(high)


def _welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, ...) difference of the means over the first axis and its 95 % interval (Welch's t)."""
    difference = a.mean(axis=0) - b.mean(axis=0)
    va, vb = a.var(axis=0, ddof=1) / len(a), b.var(axis=0, ddof=1) / len(b)
    below = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
    # Where no seed differs the interval has no width, whatever the degrees of freedom.
    freedom = np.divide((va + vb) ** 2, below, out=np.ones_like(below), where=below > 0)
    half = student.ppf(1 - TAIL / 100, freedom) * np.sqrt(va + vb)
    return np.array([difference, difference - half, difference + half])


def leads(
    arms: Sequence[Sequence[Curve]], ratings: Ratings, log_flops: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(3, G) arm b's lead in Elo at each of `log_flops` (G,) and its 95 % interval.

    By Welch's t if both arms have two seeds, else from the games alone: the lead is a weighted sum
    w of ratings with variance w'Cw, C the larger of the model's and the clustered covariance.
    """
    weights = [
        np.array([curve.weights(log_flops, len(ratings.elo)) for curve in arm]) for arm in arms
    ]
    if min(len(arm) for arm in arms) > 1:
        return _welch(weights[1] @ ratings.elo, weights[0] @ ratings.elo)
    w = weights[1].mean(axis=0) - weights[0].mean(axis=0)
    both = [((w @ c) * w).sum(axis=1) for c in (ratings.covariance, ratings.clustered)]
    half = Z95 * np.sqrt(np.maximum(np.maximum(*both), 0.0))
    lead = w @ ratings.elo
    return np.array([lead, lead - half, lead + half])


def find_crossing(log_flops: NDArray[np.float64], found: NDArray[np.float64]) -> Crossing:
    """The crossing of `leads` `found` (3, G) that are straight between `log_flops` (G,).

    Its interval inverts the lead's: it goes to the nearest points on either side at which the lead
    is not zero at 95 %. (Resampling three seeds would cover the truth in 78 % of cases only.)
    """
    lead, low, high = found
    if lead[-1] >= 0:
        sign, last, log = "beyond", len(lead) - 1, NAN
    elif not (lead > 0).any():
        sign, last, log = "before", -1, NAN
    else:
        sign, last = "=", int(np.flatnonzero(lead > 0)[-1])
        share = lead[last] / (lead[last] - lead[last + 1])
        log = log_flops[last] + share * (log_flops[last + 1] - log_flops[last])
    b_ahead = log_flops[: last + 1][low[: last + 1] > 0]
    a_ahead = log_flops[last + 1 :][high[last + 1 :] < 0]
    return Crossing(
        sign,
        float(10**log),
        float(10 ** b_ahead[-1]) if len(b_ahead) else 0.0,
        float(10 ** a_ahead[0]) if len(a_ahead) else float("inf"),
    )
