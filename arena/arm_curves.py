"""Elo against compute by arms: axes of compute, means over seeds with t bands, monotone fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import t as student

from ghostgo.arena.effort import Effort
from ghostgo.arena.report import Report, Row
from ghostgo.data.ledger import Totals

GRID = 100
"""Places at which an arm's mean is worked out."""

Points = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Compute (n,), ascending and above zero, and Elo (n,)."""


@dataclass(frozen=True)
class Axis:
    """What compute may be counted in."""

    title: str
    amount: Callable[[Totals], float | None]
    """What a checkpoint had spent; None: it was not measured."""


AXES = (
    Axis("FLOPs spent", lambda totals: totals.flops),
    Axis("FLOPs without imitation", lambda totals: totals.selfplay_flops + totals.training_flops),
    Axis("network evaluations in self-play", lambda totals: totals.evaluations),
    Axis("core-seconds", lambda totals: totals.core_seconds),
    Axis("games of self-play", lambda totals: totals.games),
    Axis("positions trained on", lambda totals: totals.samples),
)
"""The first is that of the PNG."""


@dataclass(frozen=True)
class Line:
    """One run's rated checkpoints, at one rung if there is a ladder, in order of compute."""

    run: str
    rows: tuple[Row, ...]
    spent: tuple[float, ...]
    """On the axis; may be zero."""

    def points(self) -> Points:
        """Those that cost anything; of several that cost the same, the last."""
        found = {x: row.elo for x, row in zip(self.spent, self.rows, strict=True) if x > 0}
        return np.array(list(found)), np.array(list(found.values()))


@dataclass(frozen=True)
class Band:
    """A mean over seeds on a grid of compute, with its 95 % t interval; arrays (GRID,)."""

    x: NDArray[np.float64]
    elo: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class ArmCurve:
    """An arm, at one rung if there is a ladder, on one axis."""

    label: str
    arm: int
    """Its number, in the order of the arms' names."""
    rung: Effort | None
    lines: tuple[Line, ...]
    mean: Band | None
    """None with one seed, or where the seeds share no range of compute."""

    def fits(self) -> list[Points]:
        """Monotone fits: of the mean, or without one of each run; none of a single checkpoint."""
        if self.mean:
            return [(self.mean.x, monotone(self.mean.elo))]
        every = [line.points() for line in self.lines]
        return [(x, monotone(elo)) for x, elo in every if len(x) > 1]


def t_band(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over the rows of `values` (S, n), S >= 2, and half the width of its 95 % t interval."""
    seeds = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(seeds)
    return values.mean(axis=0), student.ppf(0.975, seeds - 1) * error


def mean_curve(curves: Sequence[Points]) -> Band | None:
    """The mean of seeds' curves, each straight between its points in log compute.

    It covers the range that all of them cover, but for curves of one point, which are left out as in
    `ghostgo.arena.gain`; None if that is empty, or with one seed.
    """
    curves = [(x, elo) for x, elo in curves if len(x) > 1]
    if len(curves) < 2:
        return None
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if low >= high:
        return None
    grid = np.geomspace(low, high, GRID)
    rows = [np.interp(np.log(grid), np.log(x), elo) for x, elo in curves]
    mean, half = t_band(np.array(rows))
    return Band(grid, mean, mean - half, mean + half)


def monotone(elo: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rising sequence (n,) that is nearest to `elo` (n,) in squares: an isotonic fit."""
    return np.asarray(isotonic_regression(elo).x)


def offered_axes(report: Report) -> list[Axis]:
    """The axes on which some run has spent anything; FLOPs in any case.

    FLOPs without imitation are left out where nobody imitated.
    """
    found = []
    for axis in AXES:
        spent = any(max(line.spent) > 0 for line in _lines(report, axis).values())
        same = axis is AXES[1] and not any(
            row.point.totals.imitation_flops for row in report.rows if row.point and row.games
        )
        if axis is AXES[0] or (spent and not same):
            found.append(axis)
    return found


def arm_curves(report: Report, axis: Axis) -> list[ArmCurve]:
    """Every arm of the report on `axis`, by name and then by rung.

    A run with a checkpoint whose amount was not measured is left out, and its arm then has no mean.
    """
    lines = _lines(report, axis)
    groups: dict[tuple[int, Effort | None], list[str]] = {}
    arms = sorted(report.arms, key=lambda arm: arm.name)  # rungs are in order in `curves`
    number = {run: i for i, arm in enumerate(arms) for run in arm.runs}
    for curve, rows in report.curves().items():
        point = rows[0].point
        assert point is not None
        groups.setdefault((number[point.run], point.rung), []).append(curve)
    found = []
    for (arm, rung), curves in sorted(groups.items(), key=lambda item: item[0][0]):
        there = tuple(lines[curve] for curve in curves if curve in lines)
        complete = len(there) == len(curves)
        mean = mean_curve([line.points() for line in there]) if complete else None
        words = arms[arm].label(
            sum(len(line.points()[0]) > 1 for line in there) if mean else len(curves)
        )
        label = f"{words}, {rung.words}" if rung else words
        found.append(ArmCurve(label, arm, rung, there, mean))
    return found


def _lines(report: Report, axis: Axis) -> dict[str, Line]:
    """The line of each curve of the report that has the axis."""
    found = {}
    for curve, rows in report.curves().items():
        spent = [axis.amount(row.point.totals) for row in rows if row.point]
        known = [amount for amount in spent if amount is not None]
        if len(known) == len(rows):
            order = sorted(range(len(rows)), key=lambda i: known[i])
            found[curve] = Line(
                curve, tuple(rows[i] for i in order), tuple(float(known[i]) for i in order)
            )
    return found


def left_edge(curves: Sequence[ArmCurve]) -> float:
    """Where what cost nothing stands on a logarithmic axis: half of the smallest amount above zero."""
    spent = [x for curve in curves for line in curve.lines for x in line.spent if x > 0]
    return min(spent) / 2 if spent else 1.0


def caption(every: Sequence[ArmCurve]) -> str:
    """What lines and bands mean in a plot of these arms; empty without any."""
    said = []
    if any(curve.mean for curve in every):
        said.append(
            "Thick lines: means over an arm's seeds, which are the thin lines; their bands: 95 % "
            "t intervals over seeds."
        )
    if any(curve.lines and not curve.mean for curve in every):
        said.append("Bands of single runs: the ratings' own 95 % intervals.")
    if any(curve.fits() for curve in every):
        said.append("Dotted: monotone (isotonic) fits, of the mean where there is one.")
    if any(x == 0 for curve in every for line in curve.lines for x in line.spent):
        said.append("What had spent nothing stands at the left edge.")
    return " ".join(said)
