"""Search against training: each checkpoint at several visits, and what either kind of compute buys.

A run's ratings are put on a plane, Elo = a + b log10(training FLOPs) + c log10(FLOPs a move), after
Jones 2021 (arXiv:2104.03113), who found it straight below perfect play. Ten times the training is
worth b Elo, ten times the search c, and of two equally strong players the one with ten times the
training needs 10^(b/c) times less search.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.league import League
from ghostgo.arena.pool import CurvePoint, Pool
from ghostgo.arena.ratings import Ratings

LEAST_POINTS = 4
"""A plane through three points would fit whatever they are."""
DRAWS = 2000
BEYOND = 1e6
"""Factors from here on say that search is worth next to nothing, not how much."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Step:
    """One checkpoint at one rung."""

    point: CurvePoint
    visits: int
    move_flops: float
    """FLOPs that its moves took on average."""
    elo: float
    low: float
    high: float
    games: int

    @property
    def train_flops(self) -> float:
        """FLOPs that its run had spent: imitation, self-play and training."""
        return self.point.totals.flops


@dataclass(frozen=True)
class Trade:
    """The plane through one run's ratings; intervals are of the games alone, 95 %."""

    run: str
    ratings: int
    """Ratings that the plane goes through."""
    train: float
    """Elo that ten times the training FLOPs are worth."""
    train_interval: Interval
    test: float
    """Elo that ten times the FLOPs a move are worth."""
    test_interval: Interval
    saved: float
    """Factor in FLOPs a move that ten times the training saves at equal Elo; nan without one."""
    saved_interval: Interval
    """nan where the worth of search is not clearly above zero."""
    residual: float
    """Root mean square of ratings less plane, in Elo; degrees of freedom allowed for."""

    def sentence(self) -> str:
        """What was found, for people."""
        saving = "whether one can stand for the other the games do not tell"
        if np.isfinite(self.saved_interval).all():
            low, high = self.saved_interval
            saving = (
                f"at equal strength ten times the training saves a factor of {_factor(self.saved)} "
                f"in search ({_factor(low)} to {_factor(high)})"
            )
        return (
            f"{self.run}: ten times the training FLOPs are worth {_worth(self.train)} Elo "
            f"({_worth(self.train_interval[0])} to {_worth(self.train_interval[1])}), ten times "
            f"the FLOPs a move {_worth(self.test)} ({_worth(self.test_interval[0])} to "
            f"{_worth(self.test_interval[1])}); {saving}. A plane through {self.ratings} ratings, "
            f"{self.residual:.0f} Elo off; intervals are of the games alone, for one seed."
        )


def _worth(elo: float) -> str:
    return str(round(elo))


def _factor(factor: float) -> str:
    if factor >= BEYOND:
        return "beyond a million"
    return f"{factor:.2g}" if factor < 100 else f"{float(f'{factor:.2g}'):,.0f}"


@dataclass(frozen=True)
class Ladder:
    """Every checkpoint at every rung, and each run's trade where there is enough to tell it by."""

    rungs: tuple[str, ...]
    """In words, lowest first."""
    steps: tuple[Step, ...]
    trades: tuple[Trade, ...]

    def by_run(self) -> dict[str, dict[int, dict[str, Step]]]:
        """Run, step of training (ascending), rung in words."""
        found: dict[str, dict[int, dict[str, Step]]] = {}
        for step in sorted(self.steps, key=lambda each: (each.point.run, each.point.step)):
            runs = found.setdefault(step.point.run, {})
            assert step.point.rung is not None
            runs.setdefault(step.point.step, {})[step.point.rung.words] = step
        return found


def make_ladder(pool: Pool, league: League, ratings: Ratings) -> Ladder | None:
    """The pool's ladder with its ratings, without those who have not played; None if nobody has."""
    steps = []
    for point in pool.points:
        rating = ratings.ratings[point.entry]
        if point.rung is not None and rating.games:
            cost = league.costs[point.entry].per_move()[2]
            visits = league.infos[point.entry].settings["visits"]
            steps.append(
                Step(point, visits, cost, rating.elo, rating.low, rating.high, rating.games)
            )
    if not steps:
        return None
    trades = [
        trade
        for run in dict.fromkeys(point.run for point in pool.points)
        if (trade := fit_trade(run, [s for s in steps if s.point.run == run], ratings))
    ]
    return Ladder(tuple(rung.words for rung in pool.rungs), tuple(steps), tuple(trades))


def fit_trade(run: str, steps: Sequence[Step], ratings: Ratings, seed: int = 0) -> Trade | None:
    """The least-squares plane through a run's steps; None if they do not determine one.

    Steps that cost nothing to train are left out: they have no logarithm. How far the games leave
    the plane open comes from the ratings' covariance, whichever of both estimates is larger.
    """
    steps = [step for step in steps if step.train_flops > 0 and step.move_flops > 0]
    logs = np.log10([[step.train_flops, step.move_flops] for step in steps]).reshape(-1, 2)
    design = np.column_stack([np.ones(len(steps)), logs])
    if len(steps) < LEAST_POINTS or np.linalg.matrix_rank(design, tol=1e-3) < 3:
        return None
    solve = np.linalg.pinv(design)  # (3, n)
    elo = np.array([step.elo for step in steps])
    plane = solve @ elo
    residual = elo - design @ plane
    entries = [step.point.entry for step in steps]
    larger = np.trace(ratings.clustered) > np.trace(ratings.covariance)
    covariance = (ratings.clustered if larger else ratings.covariance)[np.ix_(entries, entries)]
    rng = np.random.default_rng([seed, 23])
    drawn = rng.multivariate_normal(plane, solve @ covariance @ solve.T, DRAWS, method="eigh")
    train, test = drawn[:, 1], drawn[:, 2]
    clear = float(np.quantile(test, 0.025)) > 0
    ratio = _interval(train / test)
    return Trade(
        run, len(steps), float(plane[1]), _interval(train), float(plane[2]), _interval(test),
        _power(plane[1] / plane[2]) if clear else float("nan"),
        (_power(ratio[0]), _power(ratio[1])) if clear else (float("nan"), float("nan")),
        float(np.sqrt((residual**2).sum() / (len(steps) - 3))),
    )  # fmt: skip


def _power(exponent: float) -> float:
    """10 to the `exponent`, which games that tell little can put anywhere."""
    return float(10 ** np.clip(exponent, -99, 99))


def _interval(drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def cell_text(step: Step | None) -> str:
    """A rating with its interval, empty where there is none."""
    return f"{step.elo:.0f} ({step.low:.0f} .. {step.high:.0f})" if step else ""


def head_text(rung: str, steps: Sequence[Step]) -> tuple[str, str]:
    """A column's two lines of head: the rung, and what a move costs there."""
    costs = [step.move_flops for step in steps if step.point.rung and step.point.rung.words == rung]
    return rung, f"{np.median(costs):.2e} a move" if costs else ""


def ladder_table(ladder: Ladder) -> str:
    """Elo by training (down) and search (across) as text, a block a run."""
    lines: list[list[str]] = []
    for run, rows in ladder.by_run().items():
        every = [step for row in rows.values() for step in row.values()]
        heads = [head_text(rung, every) for rung in ladder.rungs]
        if lines:
            lines.append(["" for _ in lines[0]])
        lines += [
            ["Elo, 95 % interval", "", *(head[0] for head in heads)],
            ["checkpoint", "FLOPs spent", *(head[1] for head in heads)],
        ]
        for number, row in rows.items():
            spent = next(iter(row.values())).train_flops
            cells = [cell_text(row.get(rung)) for rung in ladder.rungs]
            lines.append([f"{run}@{number}", f"{spent:.2e}" if spent else "0", *cells])
    wide = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))] if lines else []
    return "\n".join(
        "  ".join(
            f"{cell:{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(line, wide, strict=True))
        ).rstrip()
        for line in lines
    )


def ladder_csv(ladder: Ladder) -> str:
    """One line a checkpoint and rung."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["run", "step", "rung", "visits", "train_flops", "flops_per_move", "elo", "low", "high"]
        + ["games"]
    )
    for step in ladder.steps:
        numbers = [f"{value:.1f}" for value in (step.elo, step.low, step.high)]
        writer.writerow(
            [step.point.run, step.point.step, step.point.rung, step.visits]
            + [f"{step.train_flops:.6g}", f"{step.move_flops:.6g}", *numbers, step.games]
        )
    return text.getvalue()
