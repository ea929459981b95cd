"""Compute-equivalent gain and crossing on curves whose true values are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostgo.arena.gain import (
    Comparison,
    Curve,
    Reached,
    arm_name,
    compare,
    compare_arms,
    gain_at,
    gain_csv,
    reach,
    welch,
)
from ghostgo.arena.pool import CurvePoint, Pool
from ghostgo.arena.ratings import Rating, Ratings
from ghostgo.data.ledger import Totals
from ghostgo.engine.games.registry import get_game

DECADES = np.linspace(0.0, 3.0, 13)
IMITATION = 3.0
"""FLOPs, so that the ghost's first checkpoints cost more than the animal's."""


def animal(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 + 500 * x


def ghost(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 480 + 330 * x


def league(
    seeds: int, spread: float, rng: np.random.Generator, error: float = 5.0
) -> tuple[Pool, Ratings, list[list[str]]]:
    """Runs of both arms with checkpoints at the same compute, rated with a small error."""
    pool, elo, arms = Pool(get_game("tic_tac_toe")), [0.0], []
    for arm, truth in (("animal", animal), ("ghost", ghost)):
        runs = [f"{arm}-{seed}" for seed in range(seeds)]
        for run in runs:
            shift = rng.normal(0, spread)
            for step, x in enumerate(DECADES):
                imitation = IMITATION if arm == "ghost" else 0.0
                totals = Totals(selfplay_flops=10**x, imitation_flops=imitation)
                pool.points.append(CurvePoint(run, step, totals, len(elo)))
                spent = np.log10(totals.flops)
                elo.append(float(truth(np.array(spent)) + shift + rng.normal(0, error)))
        arms.append(runs)
    names = [str(i) for i in range(len(elo))]
    rows = tuple(Rating(n, e, e - 10, e + 10, 10, 5.0, "") for n, e in zip(names, elo, strict=True))
    covariance = np.eye(len(elo)) * error**2
    covariance[0, 0] = 0.0
    return pool, Ratings(rows, np.array(elo), covariance, covariance, 0, 0.0, 0.0, 100), arms


def true_gain(level: float) -> float:
    return float(10 ** ((level - 100) / 500 - (level - 480) / 330))


def test_gain_and_crossing_of_noiseless_curves() -> None:
    pool, ratings, (a, b) = league(1, 0.0, np.random.default_rng(0), error=0.0)
    found = compare(pool, ratings, a, b, levels=[700.0, 900.0, 1100.0, 5000.0])
    assert found is not None and found.arms == ("animal-0", "ghost-0")
    for gain, level in zip(found.gains[:3], (700.0, 900.0, 1100.0), strict=True):
        assert gain.sign == "=" and gain.factor == pytest.approx(true_gain(level), rel=0.03)
        assert np.isnan(gain.low), "one seed gives no interval"
    assert found.gains[3].sign == "beyond" and "beyond the budget" in found.gains[3].text()
    assert found.crossing == pytest.approx(10 ** (380 / 170), rel=0.02)
    assert found.crossed == 1.0
    x = np.log10(found.at)
    assert found.lead == pytest.approx(float(ghost(x) - animal(x)), abs=3)
    text = " ".join(found.sentences())
    assert "animal-0 overtakes" in text and "one seed each" in text
    assert len(gain_csv([found]).splitlines()) == 5


def test_imitation_is_charged_or_not() -> None:
    pool, ratings, arms = league(2, 20.0, np.random.default_rng(1))
    both = compare_arms(pool, ratings, arms, [900.0])
    assert [c.axis for c in both] == ["imitation charged", "imitation not charged"]
    assert both[0].arms == ("animal", "ghost") and both[0].seeds == (2, 2)
    assert both[1].gains[0].factor > both[0].gains[0].factor
    assert compare_arms(pool, ratings, [arms[0], arms[0]], None) == []
    assert compare_arms(pool, ratings, [arms[0], []], None) == []


def test_intervals_over_seeds_cover_the_truth() -> None:
    held, tries = 0, 200
    for trial in range(tries):
        rng = np.random.default_rng([trial, 2])
        # The seeds' shifts alone, as the gain sees them.
        logs = [
            np.array([(900 - base - rng.normal(0, 60)) / slope for _ in range(5)])
            for base, slope in ((100, 500), (480, 330))
        ]
        _, low, high = welch(*logs)
        held += low <= np.log10(true_gain(900.0)) <= high
    assert 0.90 <= held / tries <= 0.99


def test_bounds_where_an_arm_never_gets_there() -> None:
    exact, never, already = Reached(2.0, "="), Reached(3.0, ">"), Reached(1.0, "<")
    assert gain_at(0, [never], [exact]).sign == ">"
    assert gain_at(0, [exact], [already]).sign == ">"
    assert gain_at(0, [exact], [never]).sign == "<"
    assert gain_at(0, [never], [never]).sign == "beyond"
    assert gain_at(0, [already], [already]).sign == "before"
    assert gain_at(0, [never, already], [exact, exact]).sign == "mixed"
    assert gain_at(0, [never, exact], [exact, exact]).text().count("at least") == 1
    exactly = gain_at(0, [exact, Reached(2.2, "=")], [already, already])
    assert exactly.sign == ">" and np.isnan(exactly.low)


def test_reach_reads_between_checkpoints_of_a_monotone_fit() -> None:
    curve = Curve("run", np.array([10.0, 100.0, 1000.0]), np.array([0, 1, 2]))
    elo = curve.elo(np.array([0.0, 200.0, 100.0]))
    assert elo.tolist() == [0.0, 150.0, 150.0]
    assert reach(curve, elo, 75.0) == Reached(1.5, "=")
    assert reach(curve, elo, 151.0) == Reached(3.0, ">")
    assert reach(curve, elo, -1.0) == Reached(1.0, "<")


@pytest.mark.parametrize(
    ("runs", "name"),
    [(["scratch"], "scratch"), (["runs/s-1", "runs/s-2"], "s"), (["x", "y"], "x+y")],
)
def test_arm_names(runs: list[str], name: str) -> None:
    assert arm_name(runs) == name


def test_no_comparison_without_two_curves() -> None:
    pool, ratings, (a, _) = league(1, 0.0, np.random.default_rng(0))
    found: Comparison | None = compare(pool, ratings, a, ["nobody"])
    assert found is None
