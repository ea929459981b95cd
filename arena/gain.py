"""What one arm's start is worth to the other: compute-equivalent gain, final lead, crossing.

An arm is one or several runs that differ by their seed. The gain at a level is the FLOPs that arm a
needs to reach it over those of arm b, in log10 with one number a run; what an arm never reaches is
a bound, not a number. Lead and crossing come from the means of the arms' ratings as they stand,
within the compute that every run has spent; nothing is extrapolated.

95 % intervals are of two kinds. With two seeds or more in each arm: Welch's t over seeds, which
knows of errors only what makes the seeds differ. Else from the games alone, by the covariance of
the ratings: how well the games know these very runs; another seed may differ by far more.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.curves import (
    NAN,
    TAIL,
    Crossing,
    Curve,
    Reached,
    default_levels,
    find_crossing,
    leads,
    reach,
    read_curve,
    run_name,
    shared_range,
    welch,
)
from ghostgo.arena.pool import Pool
from ghostgo.arena.ratings import Ratings, spread

GRID, DRAWS = 200, 400


@dataclass(frozen=True)
class Gain:
    """FLOPs of arm a over FLOPs of arm b at a level; above 1, arm b is cheaper."""

    level: float
    factor: float
    low: float
    high: float
    """95 % interval, 0 and infinity where an end is open; nan where there is none."""
    sign: str
    """`=`; `>` at least; `<` at most; `beyond`: no run reaches it; `before`: every run begins above
    it; `mixed`: the seeds differ in that, so that nothing follows."""

    def text(self, how: str) -> str:
        """In words; `how` says where the interval comes from."""
        apart = {
            "beyond": "beyond the budget of both",
            "before": "reached before the first checkpoint of both",
            "mixed": "not every seed reaches it within its curve",
        }
        if self.sign in apart:
            return f"at {self.level:.0f} Elo: {apart[self.sign]}"
        words = {"=": "", ">": "at least ", "<": "at most "}[self.sign]
        interval = _interval(self.low, self.high, how)
        if words and not interval:
            interval = " (mean over seeds, some of which are bounds: no interval)"
        return f"at {self.level:.0f} Elo: {words}{_short(self.factor)} times{interval}"


@dataclass(frozen=True)
class Comparison:
    """Arm a against arm b on one axis of compute."""

    arms: tuple[str, str]
    seeds: tuple[int, int]
    axis: str
    """What the compute counts."""
    gains: tuple[Gain, ...]
    crossing: Crossing
    ahead: float
    """Share of resamplings of seeds and ratings in which arm a is ahead at the end."""
    final: tuple[float, float]
    """Each arm's mean Elo at `at`."""
    lead: float
    """Arm b's lead in Elo at `at`."""
    lead_low: float
    lead_high: float
    at: float
    """The largest compute, in FLOPs, that every run has spent."""
    left_out: tuple[str, ...] = ()
    """Why runs of an arm are not in it."""

    @property
    def how(self) -> str:
        """Where the intervals come from."""
        return "over seeds" if min(self.seeds) > 1 else "games alone"

    def sentences(self) -> list[str]:
        """What was found, for people."""
        (a, b), how = self.arms, self.how
        one = self.seeds == (1, 1)
        seeds = "one seed each" if one else f"{self.seeds[0]} and {self.seeds[1]} seeds"
        gains = "; ".join(gain.text(how) for gain in self.gains) or (
            "no level that two checkpoints of each run bear out (--level fixes one)"
        )
        ahead = self.lead >= 0
        low, high = (self.lead_low, self.lead_high) if ahead else (-self.lead_high, -self.lead_low)
        crossing = {
            "=": f"{a} overtakes at {self.crossing.flops:.2g} FLOPs",
            "beyond": "no crossing within the budget",
            "before": f"{a} is ahead all along",
        }[self.crossing.sign] + _interval(self.crossing.low, self.crossing.high, how, " FLOPs")
        return [
            f"Compute-equivalent gain of {b} over {a}, {self.axis} ({seeds}): {gains}.",
            (
                f"At {self.at:.2g} FLOPs, the most that every run has spent, {b} stands at "
                f"{self.final[1]:.0f} Elo and {a} at {self.final[0]:.0f}: {b} "
                f"{'leads' if ahead else 'trails'} by {abs(self.lead):.0f} Elo "
                f"({low:.0f} to {high:.0f}, {how}); {a} is ahead in {self.ahead:.0%} of "
                f"resamplings. Within that: {crossing}."
            ),
            *(f"Not compared: {reason}." for reason in self.left_out),
        ]


@dataclass(frozen=True)
class Apart:
    """Two arms that cannot be compared on an axis of compute."""

    arms: tuple[str, str]
    axis: str
    reason: str

    def sentences(self) -> list[str]:
        """The reason, for people."""
        return [f"{self.arms[0]} and {self.arms[1]} not compared, {self.axis}: {self.reason}."]


def _interval(low: float, high: float, how: str, unit: str = "") -> str:
    """An interval of what is above zero, in words; 0 and infinity are open ends, nan is none."""
    if np.isnan(low):
        return ""
    if low == 0 and np.isinf(high):
        return f" (open at both ends, {how})"
    if np.isinf(high):
        return f" ({_short(low)}{unit} or more, {how})"
    if low == 0:
        return f" ({_short(high)}{unit} or less, {how})"
    return f" ({_short(low)} to {_short(high)}, {how})"


def _short(value: float) -> str:
    """Two digits of a number; one from 100 to a million without an exponent."""
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.2g}"


def arm_name(runs: Sequence[str]) -> str:
    """What the runs' names share, without a seed's number behind it."""
    names = list(dict.fromkeys(run_name(run) for run in runs))
    shared = re.sub(r"[-_.]?\d*$", "", os.path.commonprefix(names))
    return names[0] if len(names) == 1 else shared or "+".join(names)


def arm_names(arms: Sequence[Sequence[str]]) -> list[str]:
    """The arms' names; of those that would be called alike, what all their runs are called."""
    names = [arm_name(arm) for arm in arms]
    return [
        name if names.count(name) == 1 else "+".join(dict.fromkeys(map(run_name, arm)))
        for name, arm in zip(names, arms, strict=True)
    ]


def gain_at(level: float, a: Sequence[Reached], b: Sequence[Reached]) -> Gain:
    """The gain at one level from where each seed of both arms reaches it; interval over seeds."""
    logs = [np.array([r.log_flops for r in arm]) for arm in (a, b)]
    difference, low, high = welch(*logs)
    signs_a, signs_b = ({r.sign for r in arm} for arm in (a, b))
    if signs_a == signs_b == {"="}:
        return Gain(level, 10**difference, 10**low, 10**high, "=")
    # A bound holds if every seed that is not exact errs to the same side of the ratio.
    if signs_a <= {"=", ">"} and signs_b <= {"=", "<"}:
        return Gain(level, 10**difference, NAN, NAN, ">")
    if signs_a <= {"=", "<"} and signs_b <= {"=", ">"}:
        return Gain(level, 10**difference, NAN, NAN, "<")
    kind = {">": "beyond", "<": "before"}.get("".join(signs_a | signs_b), "mixed")
    return Gain(level, NAN, NAN, NAN, kind)


def _gains(
    arms: Sequence[Sequence[Curve]], elo: NDArray[np.float64], levels: Sequence[float]
) -> list[Gain]:
    """The gain at each level under the ratings `elo` (K,)."""
    fits = [[(curve, curve.monotone(elo)) for curve in arm] for arm in arms]
    return [
        gain_at(level, *([reach(curve, fit, level) for curve, fit in arm] for arm in fits))
        for level in levels
    ]


def gains_by_games(
    arms: Sequence[Sequence[Curve]],
    elo: NDArray[np.float64],
    levels: Sequence[float],
    drawn: NDArray[np.float64],
) -> list[Gain]:
    """The gain at each level with an interval from ratings `drawn` (D, K) around `elo` (K,).

    The ends are percentiles of the gains worked out anew. Where a draw tells a bound alone, it
    counts as far out as it may lie, so that an end is open once 2.5 % of the draws are bounds
    there. This covers the errors of these runs' ratings; not what another seed would do, nor that
    the levels may have been chosen by the same ratings, nor that a monotone fit of noisy ratings
    is too flat inside and too steep at its ends (drawing anew adds as much of that again).
    """
    worked = [_gains(arms, each, levels) for each in drawn]
    found = []
    for i, gain in enumerate(_gains(arms, elo, levels)):
        draws = [each[i] for each in worked]
        lows = [each.factor if each.sign in ("=", ">") else 0.0 for each in draws]
        highs = [each.factor if each.sign in ("=", "<") else np.inf for each in draws]
        low = float(np.percentile(lows, TAIL, method="lower"))
        high = float(np.percentile(highs, 100 - TAIL, method="higher"))
        if not np.isfinite(gain.factor):
            low = high = NAN
        found.append(Gain(gain.level, gain.factor, low, high, gain.sign))
    return found


def _drawn(
    arms: Sequence[Sequence[Curve]], ratings: Ratings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(DRAWS, K) ratings, those of the curves drawn from their errors."""
    used = np.unique(np.concatenate([curve.entries for arm in arms for curve in arm]))
    both = [c[np.ix_(used, used)] for c in (ratings.covariance, ratings.clustered)]
    larger = max(both, key=lambda c: float(spread(c).sum()))
    drawn = np.tile(ratings.elo, (DRAWS, 1))
    drawn[:, used] = rng.multivariate_normal(ratings.elo[used], larger, DRAWS, method="eigh")
    return drawn


def _ahead(
    arms: Sequence[Sequence[Curve]],
    log_flops: float,
    drawn: NDArray[np.float64],
    rng: np.random.Generator,
) -> float:
    """Share of `drawn` ratings, seeds drawn with replacement, in which a is ahead of b."""
    means = []
    for arm in arms:
        at = np.array([log_flops])
        weights = np.array([curve.weights(at, drawn.shape[1])[0] for curve in arm])
        chosen = rng.integers(len(arm), size=(len(drawn), len(arm)))
        means.append(np.take_along_axis(drawn @ weights.T, chosen, axis=1).mean(axis=1))
    return float((means[0] > means[1]).mean())


def compare(
    pool: Pool,
    ratings: Ratings,
    a: Sequence[str],
    b: Sequence[str],
    imitation: bool = True,
    levels: Sequence[float] | None = None,
    seed: int = 0,
) -> Comparison | Apart:
    """Compare the arms of runs `a` and `b`, or say why that cannot be done.

    With `imitation` an imitating run is charged for it, as its ledger is.
    """
    first, second = arm_names((a, b))
    names, axis = (first, second), _axis(pool, imitation)
    given = [list(dict.fromkeys(map(run_name, runs))) for runs in (a, b)]
    if common := [run for run in given[0] if run in given[1]]:
        return Apart(names, axis, f"{', '.join(common)} in both arms")
    read = [[read_curve(pool, ratings, run, imitation) for run in runs] for runs in given]
    arms = [[curve for curve in arm if len(curve.flops) > 1] for arm in read]
    short = [_too_short(curve) for arm in read for curve in arm if len(curve.flops) < 2]
    if not all(arms):
        return Apart(names, axis, "; ".join(short))
    every = [curve for arm in arms for curve in arm]
    start, end = shared_range(every)
    if end <= start:
        return Apart(names, axis, _no_overlap(every))

    knots = np.concatenate([curve.log_flops for curve in every])
    inside = knots[(knots > start) & (knots < end)]
    grid = np.unique(np.concatenate([np.linspace(start, end, GRID), inside]))
    found = leads(arms, ratings, grid)
    levels = levels or default_levels([[c.monotone(ratings.elo) for c in arm] for arm in arms])
    rng = np.random.default_rng([seed, 17])
    drawn = _drawn(arms, ratings, rng)
    if min(len(arm) for arm in arms) > 1:
        gains = _gains(arms, ratings.elo, levels)
    else:
        gains = gains_by_games(arms, ratings.elo, levels, drawn)
    final = [
        float(np.mean([np.interp(end, c.log_flops, ratings.elo[c.entries]) for c in arm]))
        for arm in arms
    ]
    lead, low, high = map(float, found[:, -1])
    return Comparison(
        names, (len(arms[0]), len(arms[1])), axis, tuple(gains), find_crossing(grid, found),
        _ahead(arms, end, drawn, rng), (final[0], final[1]), lead, low, high, float(10**end),
        tuple(short),
    )  # fmt: skip


def _too_short(curve: Curve) -> str:
    """Why a run has no curve."""
    rated = "one rated checkpoint" if len(curve.flops) else "no rated checkpoint"
    return f"{curve.run} has {rated} that cost anything, a curve needs two"


def _no_overlap(curves: Sequence[Curve]) -> str:
    """Why no compute is common to the curves."""
    late = max(curves, key=lambda curve: float(curve.flops[0]))
    early = min(curves, key=lambda curve: float(curve.flops[-1]))
    return (
        f"no compute in common, {late.run} is rated from {late.flops[0]:.2g} FLOPs on, "
        f"{early.run} up to {early.flops[-1]:.2g}"
    )


def _axis(pool: Pool, imitation: bool) -> str:
    """What the compute counts, and on a ladder at which rung the runs are compared."""
    counted = "imitation charged" if imitation else "imitation not charged"
    return f"{counted}, at {pool.base.words}" if pool.base else counted


def compare_arms(
    pool: Pool, ratings: Ratings, arms: Sequence[Sequence[str]], levels: Sequence[float] | None
) -> list[Comparison | Apart]:
    """The arms with imitation charged and, where there was any, without; none for a single arm."""
    a, b = arms
    if not a or not b:
        return []
    imitated = any(point.totals.imitation_flops for point in pool.points)
    return [
        compare(pool, ratings, a, b, charged, levels) for charged in (True, False)[: 1 + imitated]
    ]


def gain_csv(comparisons: Sequence[Comparison | Apart]) -> str:
    """One line a number: gains at levels, the final lead, the crossing, how often a is ahead."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["a", "b", "seeds_a", "seeds_b", "axis", "what"]
        + ["at", "sign", "value", "low", "high", "interval"]
    )
    for c in comparisons:
        if isinstance(c, Apart):
            continue
        cross = c.crossing
        rows = [("gain", g.level, g.sign, g.factor, g.low, g.high) for g in c.gains]
        rows += [
            (f"final_{arm}", c.at, "=", elo, NAN, NAN)
            for arm, elo in zip("ab", c.final, strict=True)
        ]
        rows.append(("lead", c.at, "=", c.lead, c.lead_low, c.lead_high))
        rows.append(("crossing", c.at, cross.sign, cross.flops, cross.low, cross.high))
        rows.append(("ahead", c.at, "=", c.ahead, NAN, NAN))
        for what, at, sign, *numbers in rows:
            shown = ["" if np.isnan(value) else f"{value:.6g}" for value in numbers]
            how = c.how if shown[1] else ""
            writer.writerow([*c.arms, *c.seeds, c.axis, what, f"{at:.6g}", sign, *shown, how])
    return text.getvalue()
