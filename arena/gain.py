"""What one arm's start is worth to the other: compute-equivalent gain, crossing, final lead.

An arm is one or several runs that differ by their seed. Each run's Elo is made monotone in the
logarithm of its FLOPs (isotonic fit) and read off between checkpoints. The gain at a level is the
FLOPs that arm a needs to reach it over those of arm b, worked out in log10 with one number a seed
and a Welch t interval over seeds; what an arm never reaches is a bound, not a number.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import t as student

from ghostgo.arena.pool import Pool
from ghostgo.arena.ratings import Ratings

SHARES = (0.25, 0.5, 0.75)
"""Default levels: so far up the range of Elo that both arms cover."""
GRID, DRAWS = 200, 400
CHANCE = 95.0


@dataclass(frozen=True)
class Curve:
    """One run's checkpoints in order of compute."""

    run: str
    flops: NDArray[np.float64]
    """(n,) above zero, ascending."""
    entries: NDArray[np.int64]
    """(n,) each checkpoint's number among the rated players."""

    def elo(self, ratings: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) monotone Elo under `ratings` (K,)."""
        return np.asarray(isotonic_regression(ratings[self.entries]).x)


@dataclass(frozen=True)
class Reached:
    """log10 of the FLOPs at which a run reaches a level, or a bound."""

    log_flops: float
    sign: str
    """`=`, `<` (its first checkpoint is stronger already) or `>` (it never gets there)."""


@dataclass(frozen=True)
class Gain:
    """FLOPs of arm a over FLOPs of arm b at a level; above 1, arm b is cheaper."""

    level: float
    factor: float
    low: float
    high: float
    """95 % interval over seeds; nan with one seed in an arm, or a bound."""
    sign: str
    """`=`; `>` at least; `<` at most; `beyond` what both arms spent; `before` the first checkpoint
    of both; `mixed`: some seeds of each arm are bounds, so that nothing follows."""

    def text(self) -> str:
        """In words."""
        apart = {
            "beyond": "beyond the budget of both",
            "before": "reached before the first checkpoint of both",
            "mixed": "not every seed reaches it",
        }
        if self.sign in apart:
            return f"at {self.level:.0f} Elo: {apart[self.sign]}"
        words = {"=": "", ">": "at least ", "<": "at most "}[self.sign]
        interval = f" ({self.low:.2g} to {self.high:.2g})" if np.isfinite(self.low) else ""
        return f"at {self.level:.0f} Elo: {words}{self.factor:.2g} times{interval}"


@dataclass(frozen=True)
class Comparison:
    """Arm a against arm b on one axis of compute."""

    arms: tuple[str, str]
    seeds: tuple[int, int]
    axis: str
    """What the compute counts."""
    gains: tuple[Gain, ...]
    crossing: float | None
    """FLOPs from which arm a's mean stays ahead; None: not within the budget."""
    crossed: float
    """Share of resamplings of seeds and ratings in which it has crossed by the end."""
    lead: float
    """Arm b's lead in Elo at the largest compute that every run has spent."""
    lead_low: float
    lead_high: float
    at: float
    """That compute."""

    def sentences(self) -> list[str]:
        """What was found, for people."""
        a, b = self.arms
        one = self.seeds == (1, 1)
        seeds = "one seed each" if one else f"{self.seeds[0]} and {self.seeds[1]} seeds"
        crossing = "no crossing within the budget"
        if self.crossing:
            crossing = f"{a} overtakes at {self.crossing:.2g} FLOPs"
        ahead = self.lead >= 0
        low, high = (self.lead_low, self.lead_high) if ahead else (-self.lead_high, -self.lead_low)
        gains = "; ".join(gain.text() for gain in self.gains) or "no level that both reach"
        return [
            f"Compute-equivalent gain of {b} over {a}, {self.axis} ({seeds}): {gains}.",
            (
                f"At {self.at:.2g} FLOPs {b} {'leads' if ahead else 'trails'} {a} by "
                f"{abs(self.lead):.0f} Elo ({low:.0f} to {high:.0f}); {crossing} (crossed in "
                f"{self.crossed:.0%} of resamplings)."
            ),
        ]


def arm_name(runs: Sequence[str]) -> str:
    """What the runs' names share, without a seed's number behind it."""
    names = [os.path.basename(run.rstrip("/")) for run in runs]
    return (
        names[0]
        if len(names) == 1
        else os.path.commonprefix(names).rstrip("-_.0123456789") or "+".join(names)
    )


def make_curves(pool: Pool, ratings: Ratings, runs: Sequence[str], imitation: bool) -> list[Curve]:
    """Each run's rated checkpoints that cost anything; imitation's FLOPs count or not.

    On a ladder, those at the pool's base rung.
    """
    curves = []
    for run in runs:
        name = os.path.basename(run.rstrip("/"))
        found = {
            point.totals.flops - (0.0 if imitation else point.totals.imitation_flops): point.entry
            for point in pool.points
            if point.run == name and point.rung == pool.base and ratings.ratings[point.entry].games
        }
        spent = sorted(flops for flops in found if flops > 0)
        if len(spent) > 1:
            entries = np.array([found[flops] for flops in spent])
            curves.append(Curve(name, np.array(spent), entries))
    return curves


def reach(curve: Curve, elo: NDArray[np.float64], level: float) -> Reached:
    """Where a monotone curve first reaches `level`, straight between checkpoints in log FLOPs."""
    log = np.log10(curve.flops)
    if elo[0] >= level:
        return Reached(float(log[0]), "<" if elo[0] > level else "=")
    if elo[-1] < level:
        return Reached(float(log[-1]), ">")
    i = int(np.argmax(elo >= level))
    share = (level - elo[i - 1]) / (elo[i] - elo[i - 1])
    return Reached(float(log[i - 1] + share * (log[i] - log[i - 1])), "=")


def welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """mean(a) - mean(b) and its 95 % interval over seeds; nan ends where an arm has one seed."""
    difference = float(a.mean() - b.mean())
    if len(a) < 2 or len(b) < 2:
        return difference, float("nan"), float("nan")
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb == 0:
        return difference, difference, difference
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = float(student.ppf(0.975, freedom) * np.sqrt(va + vb))
    return difference, difference - half, difference + half


def gain_at(level: float, a: Sequence[Reached], b: Sequence[Reached]) -> Gain:
    """The gain at one level from where each seed of both arms reaches it."""
    logs = [np.array([r.log_flops for r in arm]) for arm in (a, b)]
    difference, low, high = welch(*logs)
    signs_a, signs_b = ({r.sign for r in arm} for arm in (a, b))
    nan = float("nan")
    if signs_a == signs_b == {"="}:
        return Gain(level, 10**difference, 10**low, 10**high, "=")
    # A bound holds if every seed that is not exact errs to the same side of the ratio.
    if signs_a <= {"=", ">"} and signs_b <= {"=", "<"}:
        return Gain(level, 10**difference, nan, nan, ">")
    if signs_a <= {"=", "<"} and signs_b <= {"=", ">"}:
        return Gain(level, 10**difference, nan, nan, "<")
    signs = signs_a | signs_b
    kind = "beyond" if "<" not in signs else "before" if ">" not in signs else "mixed"
    return Gain(level, nan, nan, nan, kind)


def default_levels(arms: Sequence[Sequence[NDArray[np.float64]]]) -> list[float]:
    """Levels within the range of Elo that every seed covers, or at least some seed of each arm.

    `arms` are lists of the seeds' Elo arrays.
    """
    every = [elo for arm in arms for elo in arm]
    low, high = max(float(elo[0]) for elo in every), min(float(elo[-1]) for elo in every)
    if high <= low:
        low = max(min(float(elo[0]) for elo in arm) for arm in arms)
        high = min(max(float(elo[-1]) for elo in arm) for arm in arms)
    return [low + share * (high - low) for share in SHARES] if high > low else []


def _mean_at(
    curves: Sequence[Curve], elos: Sequence[NDArray[np.float64]], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    rows = [np.interp(grid, np.log10(c.flops), e) for c, e in zip(curves, elos, strict=True)]
    return np.asarray(np.mean(rows, axis=0))


def _crossing(lead: NDArray[np.float64], grid: NDArray[np.float64]) -> float | None:
    """log10 FLOPs from which the lead (of b) stays negative, if it was positive before."""
    if lead[-1] >= 0 or not (lead > 0).any():
        return None
    i = int(np.flatnonzero(lead > 0)[-1])
    share = lead[i] / (lead[i] - lead[i + 1])
    return float(grid[i] + share * (grid[i + 1] - grid[i]))


def compare(
    pool: Pool,
    ratings: Ratings,
    a: Sequence[str],
    b: Sequence[str],
    imitation: bool = True,
    levels: Sequence[float] | None = None,
    seed: int = 0,
) -> Comparison | None:
    """Compare the arms of runs `a` and `b`; None if an arm has no curve or they share no compute.

    With `imitation` an imitating run is charged for it, as its ledger is.
    """
    arms = [make_curves(pool, ratings, runs, imitation) for runs in (a, b)]
    if not all(arms):
        return None
    every = [curve for arm in arms for curve in arm]
    start = max(np.log10(curve.flops[0]) for curve in every)
    end = min(np.log10(curve.flops[-1]) for curve in every)
    if end <= start:
        return None
    grid = np.linspace(start, end, GRID)
    elos = [[curve.elo(ratings.elo) for curve in arm] for arm in arms]
    gains = []
    for level in levels if levels else default_levels(elos):
        reached = [
            [reach(curve, elo, level) for curve, elo in zip(arm, each, strict=True)]
            for arm, each in zip(arms, elos, strict=True)
        ]
        gains.append(gain_at(level, *reached))
    means = [_mean_at(arm, each, grid) for arm, each in zip(arms, elos, strict=True)]
    crossing = _crossing(means[1] - means[0], grid)
    ends = [
        np.array([np.interp(end, np.log10(c.flops), e) for c, e in zip(arm, each, strict=True)])
        for arm, each in zip(arms, elos, strict=True)
    ]
    lead, low, high = welch(ends[1], ends[0])
    drawn = _resample(arms, ratings, grid, seed)
    if not np.isfinite(low):  # one seed: how well the games know it
        half = (100 - CHANCE) / 2
        low, high = np.percentile([each[-1] for each in drawn], [half, 100 - half])
    crossed = float(np.mean([_crossing(each, grid) is not None for each in drawn]))
    return Comparison(
        (arm_name(a), arm_name(b)), (len(arms[0]), len(arms[1])),
        _axis(pool, imitation), tuple(gains),
        10**crossing if crossing is not None else None, crossed, lead, float(low), float(high),
        float(10**end),
    )  # fmt: skip


def _axis(pool: Pool, imitation: bool) -> str:
    """What the compute counts, and on a ladder at which rung the runs are compared."""
    counted = "imitation charged" if imitation else "imitation not charged"
    return f"{counted}, at {pool.base.words}" if pool.base else counted


def compare_arms(
    pool: Pool, ratings: Ratings, arms: Sequence[Sequence[str]], levels: Sequence[float] | None
) -> list[Comparison]:
    """The arms with imitation charged and, where there was any, without; none for a single arm."""
    a, b = arms
    if not a or not b or set(a) & set(b):
        return []
    imitated = any(point.totals.imitation_flops for point in pool.points)
    found = [
        compare(pool, ratings, a, b, charged, levels) for charged in (True, False)[: 1 + imitated]
    ]
    return [comparison for comparison in found if comparison]


def _resample(
    arms: Sequence[Sequence[Curve]], ratings: Ratings, grid: NDArray[np.float64], seed: int
) -> list[NDArray[np.float64]]:
    """Leads of arm b over the grid, seeds drawn with replacement and ratings from their errors."""
    rng = np.random.default_rng([seed, 17])
    larger = np.trace(ratings.clustered) > np.trace(ratings.covariance)
    covariance = ratings.clustered if larger else ratings.covariance
    draws = rng.multivariate_normal(ratings.elo, covariance, DRAWS, method="eigh")
    leads = []
    for elo in draws:
        means = []
        for arm in arms:
            chosen = [arm[i] for i in rng.integers(len(arm), size=len(arm))]
            means.append(_mean_at(chosen, [curve.elo(elo) for curve in chosen], grid))
        leads.append(means[1] - means[0])
    return leads


def gain_csv(comparisons: Sequence[Comparison]) -> str:
    """One line a level and axis."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["a", "b", "seeds_a", "seeds_b", "axis", "elo", "sign", "factor", "low", "high"]
    )
    for c in comparisons:
        for gain in c.gains:
            numbers = [f"{value:.6g}" for value in (gain.factor, gain.low, gain.high)]
            writer.writerow([*c.arms, *c.seeds, c.axis, f"{gain.level:.1f}", gain.sign, *numbers])
    return text.getvalue()
