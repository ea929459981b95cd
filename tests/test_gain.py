"""Gain, lead and crossing on curves whose true values are known, and how often intervals hold them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostgo.arena.curves import (
    Curve,
    Reached,
    default_levels,
    find_crossing,
    leads,
    reach,
    read_curve,
    welch,
)
from ghostgo.arena.gain import (
    Apart,
    Comparison,
    Gain,
    arm_name,
    compare,
    compare_arms,
    gain_at,
    gain_csv,
    gains_by_games,
)
from ghostgo.arena.pool import CurvePoint, Pool
from ghostgo.arena.ratings import Z95, Rating, Ratings
from ghostgo.data.ledger import Totals
from ghostgo.engine.games.registry import get_game

Array = NDArray[np.float64]
DECADES = np.linspace(0.0, 3.0, 13)
IMITATION = 3.0
"""FLOPs, so that the ghost's first checkpoints cost more than the animal's."""
CROSSING = 380 / 170
"""log10 of the FLOPs at which the animal overtakes the ghost."""


def animal(x: Array) -> Array:
    return 100 + 500 * x


def ghost(x: Array) -> Array:
    return 480 + 330 * x


def level_ghost(x: Array) -> Array:
    """Learns no more from its fifth checkpoint on."""
    return np.minimum(ghost(x), 810.0)


def true_gain(level: float) -> float:
    return float(10 ** ((level - 100) / 500 - (level - 480) / 330))


def rated(elo: Sequence[float], covariance: Array | None = None) -> Ratings:
    """Ratings as given, all but the first (the anchor) after ten games."""
    if covariance is None:
        covariance = np.zeros((len(elo), len(elo)))
    rows = tuple(Rating(str(i), e, e - 10, e + 10, 10, 5.0, "") for i, e in enumerate(elo))
    return Ratings(rows, np.array(elo), covariance, covariance, 0, 0.0, 0.0)


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
    covariance = np.eye(len(elo)) * error**2
    covariance[0, 0] = 0.0
    return pool, rated(elo, covariance), arms


def small(
    runs: dict[str, Sequence[tuple[float, float]]], error: float = 0.0
) -> tuple[Pool, Ratings]:
    """A pool of runs given by (FLOPs, Elo) of each checkpoint, errors independent."""
    pool, elo = Pool(get_game("tic_tac_toe")), [0.0]
    for run, points in runs.items():
        for step, (flops, rating) in enumerate(points):
            pool.points.append(CurvePoint(run, step, Totals(selfplay_flops=flops), len(elo)))
            elo.append(rating)
    return pool, rated(elo, np.eye(len(elo)) * error**2)


def found(
    pool: Pool, ratings: Ratings, *arms: str, levels: list[float] | None = None
) -> Comparison:
    """The comparison of two arms, runs separated by blanks."""
    a, b = (arm.split() for arm in arms)
    comparison = compare(pool, ratings, a, b, levels=levels)
    assert isinstance(comparison, Comparison)
    return comparison


def refused(pool: Pool, ratings: Ratings, a: str, b: str) -> str:
    """The one sentence that says why two arms are not compared."""
    comparison = compare(pool, ratings, a.split(), b.split())
    assert isinstance(comparison, Apart)
    (sentence,) = comparison.sentences()
    assert gain_csv([comparison]).count("\n") == 1, "the heading alone"
    return sentence


# Known curves


def test_gain_lead_and_crossing_of_noiseless_curves_are_exact() -> None:
    pool, ratings, (a, b) = league(1, 0.0, np.random.default_rng(0), error=0.0)
    c = found(pool, ratings, *a, *b, levels=[700.0, 900.0, 1100.0, 5000.0])
    assert c.arms == ("animal-0", "ghost-0") and c.seeds == (1, 1)
    for gain, level in zip(c.gains[:3], (700.0, 900.0, 1100.0), strict=True):
        assert gain.sign == "="
        assert [gain.factor, gain.low, gain.high] == pytest.approx(3 * [true_gain(level)])
    assert c.gains[3].sign == "beyond" and "beyond the budget" in c.gains[3].text("")
    assert c.crossing.sign == "=" and c.crossing.flops == pytest.approx(10**CROSSING)
    assert c.crossing.low == pytest.approx(10**CROSSING, rel=0.04), "to a point of the grid"
    assert c.crossing.low < c.crossing.flops < c.crossing.high
    assert c.ahead == 1.0 and c.at == pytest.approx(1000)
    assert c.final == pytest.approx((animal(np.array(3.0)), ghost(np.array(3.0))))
    assert [c.lead, c.lead_low, c.lead_high] == pytest.approx(3 * [-130.0])
    text = " ".join(c.sentences())
    assert "animal-0 overtakes at 1.7e+02 FLOPs" in text
    assert "ghost-0 stands at 1470 Elo and animal-0 at 1600: ghost-0 trails by 130 Elo" in text


def test_lead_and_crossing_stand_on_the_ratings_not_on_a_monotone_fit() -> None:
    pool, ratings = small(
        {"a": [(1, 0), (10, 700), (100, 800)], "b": [(1, 300), (10, 900), (100, 700)]}
    )
    c = found(pool, ratings, "a", "b")
    assert c.final == pytest.approx((800, 700)) and c.lead == pytest.approx(-100)
    # The lead falls from 200 at 10 FLOPs to -100 at 100.
    assert c.crossing.flops == pytest.approx(10 ** (1 + 2 / 3))
    assert "a overtakes" in " ".join(c.sentences())


def test_imitation_is_charged_or_not() -> None:
    pool, ratings, arms = league(2, 20.0, np.random.default_rng(1))
    both = compare_arms(pool, ratings, arms, [900.0])
    assert [c.axis for c in both] == ["imitation charged", "imitation not charged"]
    charged, free = both
    assert isinstance(charged, Comparison) and isinstance(free, Comparison)
    assert charged.arms == ("animal", "ghost") and charged.seeds == (2, 2)
    assert free.gains[0].factor > charged.gains[0].factor
    assert compare_arms(pool, ratings, [arms[0], []], None) == []


def test_the_newest_of_checkpoints_that_cost_the_same_counts() -> None:
    points = [(1.0, 0.0), (10.0, 100.0), (10.0, 200.0), (100.0, 300.0)]
    pool, ratings = small({"a": points})
    pool.points.reverse()  # in whatever order they joined
    curve = read_curve(pool, ratings, "a", imitation=True)
    assert curve.flops.tolist() == [1, 10, 100]
    assert ratings.elo[curve.entries].tolist() == [0, 200, 300]


def test_seeds_may_share_a_checkpoint() -> None:
    pool, ratings = small(
        {"a": [(1, 0), (10, 100)], "b-1": [(1, 50), (10, 120)], "b-2": [(1, 60), (10, 140)]}, 10.0
    )
    shared = pool.points[2]
    pool.points[4] = CurvePoint("b-2", 0, shared.totals, shared.entry)
    c = found(pool, ratings, "a", "b-1 b-2")
    assert c.seeds == (1, 2) and c.lead == pytest.approx(30)
    a, *bs = (read_curve(pool, ratings, run, imitation=True) for run in ("a", "b-1", "b-2"))
    start = leads([[a], bs], ratings, np.array([0.0]))[:, 0]
    half = Z95 * 10 * np.sqrt(2)  # one rating against one, not against the mean of two
    assert start.tolist() == pytest.approx([50, 50 - half, 50 + half])


# Where intervals come from


def test_intervals_say_where_they_come_from() -> None:
    for a, b, seeds, how in (
        ("animal-0", "ghost-0", "one seed each", "games alone"),
        ("animal-0", "ghost-0 ghost-1", "1 and 2 seeds", "games alone"),
        ("animal-0 animal-1", "ghost-0 ghost-1", "2 and 2 seeds", "over seeds"),
    ):
        pool, ratings, _ = league(2, 20.0, np.random.default_rng(4))
        c = found(pool, ratings, a, b, levels=[900.0])
        gain, lead = c.sentences()
        assert c.how == how and f"({seeds})" in gain
        assert f", {how}); " in lead and f", {how})." in gain and f", {how})." in lead
        other = {"games alone": "over seeds", "over seeds": "games alone"}[how]
        assert other not in gain + lead
        assert c.gains[0].low < c.gains[0].factor < c.gains[0].high


def test_over_seeds_it_is_welch_on_what_each_seed_has() -> None:
    pool, ratings, (a, b) = league(3, 60.0, np.random.default_rng(6))
    c = found(pool, ratings, " ".join(a), " ".join(b), levels=[900.0])
    # All animals end at 1,000 FLOPs, where the ghosts have not quite come to their last.
    ends = [
        np.array([
            np.interp(3.0, curve.log_flops, ratings.elo[curve.entries])
            for curve in (read_curve(pool, ratings, run, imitation=True) for run in arm)
        ])
        for arm in (b, a)
    ]  # fmt: skip
    assert [c.lead, c.lead_low, c.lead_high] == pytest.approx(welch(*ends))
    logs = [
        np.array([
            reach(curve, curve.monotone(ratings.elo), 900.0).log_flops
            for curve in (read_curve(pool, ratings, run, imitation=True) for run in arm)
        ])
        for arm in (a, b)
    ]  # fmt: skip
    gain = c.gains[0]
    assert np.log10([gain.factor, gain.low, gain.high]) == pytest.approx(welch(*logs))


def test_a_run_named_twice_is_one_seed() -> None:
    pool, ratings, _ = league(2, 20.0, np.random.default_rng(4))
    c = found(pool, ratings, "animal-0 runs/animal-0", "ghost-0 ghost-1")
    assert c.seeds == (1, 2) and c.how == "games alone"


def test_games_alone_weigh_the_covariance_of_the_ratings() -> None:
    pool, ratings = small({"a": [(1, 0), (100, 200)], "b": [(1, 10), (10, 150)]})
    model = np.diag([0.0, 1.0, 4.0, 9.0, 16.0])
    model[2, 4] = model[4, 2] = 3.0
    half = Ratings(ratings.ratings, ratings.elo, model, model / 2, 0, 0.0, 0.0)
    # Half way between a's checkpoints: 16 + 1/4 + 4/4 - 2 * 3/2.
    wide = Z95 * np.sqrt(16 + 0.25 + 1 - 3)
    c = found(pool, half, "a", "b")
    assert c.lead == pytest.approx(50)
    assert [c.lead_low, c.lead_high] == pytest.approx([50 - wide, 50 + wide])
    double = Ratings(ratings.ratings, ratings.elo, model, model * 4, 0, 0.0, 0.0)
    assert found(pool, double, "a", "b").lead_high == pytest.approx(50 + 2 * wide)


# How often intervals hold the truth


def draws(
    truths: Sequence[Callable[[Array], Array]], seeds: int, spread: float, error: float, tries: int
) -> list[tuple[list[list[Curve]], Ratings]]:
    """Ratings of nine checkpoints a run, drawn with a known covariance (a part common to all)."""
    x = np.linspace(0, 3, 9)
    numbers = np.arange(1, 1 + 18 * seeds).reshape(2, seeds, 9)
    arms = [[Curve("", 10**x, entries) for entries in arm] for arm in numbers]
    players = 1 + 18 * seeds
    covariance = (np.eye(players) + 1) * error**2
    covariance[0] = covariance[:, 0] = 0.0
    rng = np.random.default_rng([seeds, 5])
    found = []
    for _ in range(tries):
        truth = np.zeros(players)
        for arm, curve in zip(numbers, truths, strict=True):
            truth[arm] = curve(x) + rng.normal(0, spread, (seeds, 1))
        noise = error * (rng.normal(size=players) + rng.normal())
        noise[0] = 0.0
        found.append((arms, rated(list(truth + noise), covariance)))
    return found


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_lead_is_unbiased_and_its_interval_covers_the_truth(seeds: int) -> None:
    tries, truth = 200, 810.0 - 1600.0
    held, error, lifted = 0, [], []
    for arms, ratings in draws((animal, level_ghost), seeds, 60.0 * (seeds > 1), 60.0, tries):
        lead, low, high = leads(arms, ratings, np.array([3.0]))[:, 0]
        held += low <= truth <= high
        error.append(lead - truth)
        ends = [[curve.monotone(ratings.elo)[-1] for curve in arm] for arm in arms]
        lifted.append(np.mean(ends[1]) - np.mean(ends[0]) - lead)
    assert 0.90 <= held / tries <= 0.99, "0.95, within three binomial errors"
    scatter = 3 / np.sqrt(tries)
    assert abs(np.mean(error)) < scatter * np.std(error)
    # What a monotone fit says of its end is lifted by the same noise.
    assert np.mean(lifted) > scatter * np.std(lifted) > 0


@pytest.mark.parametrize(("seeds", "error"), [(1, 40.0), (3, 20.0)])
def test_the_interval_of_the_crossing_covers_the_truth(seeds: int, error: float) -> None:
    grid = np.linspace(0, 3, 121)  # the checkpoints stand on it
    tries, held, open_ends = 200, 0, 0
    for arms, ratings in draws((animal, ghost), seeds, 60.0 * (seeds > 1), error, tries):
        crossing = find_crossing(grid, leads(arms, ratings, grid))
        held += crossing.low <= 10**CROSSING <= crossing.high
        open_ends += not np.isfinite(crossing.high)
    assert 0.90 <= held / tries <= 0.995
    assert open_ends < tries, "some are closed"


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


def test_welch_without_scatter_has_no_width() -> None:
    assert welch(np.array([3.0, 3.0]), np.array([1.0, 1.0])) == (2.0, 2.0, 2.0)
    assert np.isnan(welch(np.array([3.0]), np.array([1.0, 1.0]))[1])


# Gains at levels


def drawn(elo: Array, error: float) -> Array:
    rng = np.random.default_rng(8)
    return np.asarray(elo + rng.normal(0, error, (400, len(elo))))


def test_by_the_games_alone_a_gain_has_the_error_of_its_levels() -> None:
    arms = [[Curve("a", np.array([1e0, 1e2]), np.array([0, 1]))],
            [Curve("b", np.array([1e0, 1e2]), np.array([2, 3]))]]  # fmt: skip
    elo = np.array([0.0, 1000.0, 200.0, 1200.0])
    (gain,) = gains_by_games(arms, elo, [600.0], drawn(elo, 10.0))
    assert gain.sign == "=" and gain.factor == pytest.approx(10**0.4)
    # log10 FLOPs at 600 Elo: the curve's error there over its slope of 500 a decade.
    sure = [np.hypot(0.4, 0.6), np.hypot(0.6, 0.4)]
    half = Z95 * 10 * np.hypot(*sure) / 500
    assert np.log10([gain.low, gain.high]) == pytest.approx([0.4 - half, 0.4 + half], abs=half / 5)


def test_an_end_is_open_where_resamplings_do_not_get_there() -> None:
    arms = [[Curve("a", np.array([1e0, 1e2]), np.array([0, 1]))],
            [Curve("b", np.array([1e0, 1e2]), np.array([2, 3]))]]  # fmt: skip
    elo = np.array([0.0, 1000.0, 200.0, 1200.0])
    near, beyond, never = gains_by_games(arms, elo, [995.0, 1050.0, 2000.0], drawn(elo, 10.0))
    assert near.sign == "=" and 1 < near.low < near.factor and np.isinf(near.high)
    assert "or more, games alone" in near.text("games alone")
    assert beyond.sign == ">" and beyond.low > 1 and np.isinf(beyond.high)
    assert never.sign == "beyond" and np.isnan([never.low, never.high]).all()
    turned, *_ = gains_by_games(arms[::-1], elo, [995.0], drawn(elo, 10.0))
    assert turned.low == 0 and "or less, games alone" in turned.text("games alone")
    assert "open at both ends" in Gain(1.0, 1.0, 0.0, np.inf, "=").text("games alone")


def test_bounds_where_an_arm_never_gets_there() -> None:
    exact, never, already = Reached(2.0, "="), Reached(3.0, ">"), Reached(1.0, "<")
    assert gain_at(0, [never], [exact]).sign == ">"
    assert gain_at(0, [exact], [already]).sign == ">"
    assert gain_at(0, [exact], [never]).sign == "<"
    assert gain_at(0, [never], [never]).sign == "beyond"
    assert gain_at(0, [already], [already]).sign == "before"
    assert gain_at(0, [never, already], [exact, exact]).sign == "mixed"
    for a, b in (([exact, never], [exact, never]), ([never, never], [exact, never])):
        assert gain_at(0, a, b).sign == "mixed", "one run does reach it"
    bound = gain_at(0, [exact, never], [exact, exact])
    assert bound.sign == ">" and "no interval" in bound.text("over seeds")
    assert gain_at(0, [never, exact], [exact, exact]).text("").count("at least") == 1
    exactly = gain_at(0, [exact, Reached(2.2, "=")], [already, already])
    assert exactly.sign == ">" and np.isnan(exactly.low)


def test_reach_reads_between_checkpoints_of_a_monotone_fit() -> None:
    curve = Curve("run", np.array([10.0, 100.0, 1000.0]), np.array([0, 1, 2]))
    fit = curve.monotone(np.array([0.0, 200.0, 100.0]))
    assert fit.tolist() == [0.0, 150.0, 150.0]
    assert reach(curve, fit, 75.0) == Reached(1.5, "=")
    assert reach(curve, fit, 151.0) == Reached(3.0, ">")
    assert reach(curve, fit, -1.0) == Reached(1.0, "<")


def test_default_levels_lie_within_what_both_arms_cover() -> None:
    a, b = np.array([0.0, 400.0, 800.0, 800.0]), np.array([200.0, 600.0, 600.0])
    assert default_levels([[a], [b]]) == [300, 400, 500]
    lucky = np.array([200.0, 600.0, 1000.0])
    assert default_levels([[a], [lucky]]) == [300, 400, 500], "its last stands alone"
    assert default_levels([[a], [np.array([900.0, 950.0, 950.0])]]) == []
    # A seed that learnt nothing does not take the levels from the others.
    assert default_levels([[a, a, np.zeros(4)], [b, b]]) == [300, 400, 500]


# Crossings


def lines(start: float, end: float, half: float) -> tuple[Array, Array]:
    grid = np.linspace(0, 2, 201)
    lead = start + (end - start) * grid / 2
    return grid, np.array([lead, lead - half, lead + half])


def test_the_crossing_and_its_interval_where_the_lead_is_a_line() -> None:
    crossing = find_crossing(*lines(100, -100, 50))
    assert crossing.sign == "=" and crossing.flops == pytest.approx(10)
    assert np.log10([crossing.low, crossing.high]) == pytest.approx([0.5, 1.5], abs=0.011)
    wide = find_crossing(*lines(100, -100, 150))
    assert wide.sign == "=" and wide.low == 0 and np.isinf(wide.high)


def test_no_crossing_is_beyond_the_budget_or_before_it() -> None:
    beyond = find_crossing(*lines(100, 20, 50))
    assert beyond.sign == "beyond" and np.isnan(beyond.flops) and np.isinf(beyond.high)
    assert np.log10(beyond.low) == pytest.approx(1.25, abs=0.011)
    before = find_crossing(*lines(-20, -100, 50))
    assert before.sign == "before" and np.isnan(before.flops) and before.low == 0
    assert np.log10(before.high) == pytest.approx(0.75, abs=0.011)
    points = [(1.0, 0.0), (10.0, 500.0)]
    pool, ratings = small({"weak": points, "strong": [(x, e + 100) for x, e in points]}, 1.0)
    one, other = (
        found(pool, ratings, *arms).sentences()[1]
        for arms in (("weak", "strong"), ("strong", "weak"))
    )
    assert "no crossing within the budget (10 FLOPs or more, games alone)" in one
    assert "strong is ahead all along (1 FLOPs or less, games alone)" in other


def test_the_share_ahead_is_that_of_the_errors_at_the_end() -> None:
    points = [(1.0, 0.0), (10.0, 500.0)]
    for lead, low, high in ((0.0, 0.42, 0.58), (-200.0, 0.99, 1.0), (20.0, 0.01, 0.16)):
        b = [(x, e + lead) for x, e in points]
        pool, ratings = small({"a": points, "b": b}, error=10.0)
        assert low <= found(pool, ratings, "a", "b").ahead <= high


# What cannot be compared, and the file


def test_reasons_why_arms_are_not_compared_are_given_in_words() -> None:
    pool, ratings = small({
        "a": [(1, 0), (10, 100)], "late": [(1e3, 0), (1e4, 100)],
        "one": [(5, 0)], "free": [(0, 0), (0, 100)],
    })  # fmt: skip
    assert "no compute in common, late is rated from 1e+03 FLOPs on, a up to 10" in refused(
        pool, ratings, "a", "late"
    )
    assert "one has one rated checkpoint that cost anything" in refused(pool, ratings, "a", "one")
    assert "free has no rated checkpoint that cost" in refused(pool, ratings, "free", "a")
    assert "a and nobody not compared, imitation charged" in refused(pool, ratings, "a", "nobody")
    assert "a in both arms" in refused(pool, ratings, "a", "runs/a late")


def test_a_run_without_a_curve_is_left_out_and_said_so() -> None:
    points = [(1.0, 0.0), (10.0, 100.0)]
    pool, ratings = small({"a": points, "b-1": points, "b-2": points[:1]})
    c = found(pool, ratings, "a", "b-1 b-2")
    assert c.seeds == (1, 1)
    assert c.sentences()[-1] == (
        "Not compared: b-2 has one rated checkpoint that cost anything, a curve needs two."
    )


def test_the_csv_has_a_line_a_number() -> None:
    pool, ratings, arms = league(2, 20.0, np.random.default_rng(1))
    c = found(pool, ratings, *map(" ".join, arms), levels=[900.0, 5000.0])
    rows = list(csv.DictReader(gain_csv([c]).splitlines()))
    assert [row["what"] for row in rows] == [
        "gain", "gain", "final_a", "final_b", "lead", "crossing", "ahead"
    ]  # fmt: skip
    assert {(row["a"], row["b"], row["seeds_a"], row["seeds_b"]) for row in rows} == {
        ("animal", "ghost", "2", "2")
    }
    gain, beyond, final_a, final_b, lead, crossing, ahead = rows
    levels = [float(row["value"]) for row in (final_a, final_b)]
    assert levels[1] - levels[0] == pytest.approx(float(lead["value"]), rel=1e-4)
    assert (gain["at"], gain["sign"], gain["interval"]) == ("900", "=", "over seeds")
    assert float(gain["value"]) == pytest.approx(c.gains[0].factor, rel=1e-4)
    assert [beyond[key] for key in ("sign", "value", "low", "interval")] == ["beyond", "", "", ""]
    assert float(lead["low"]) == pytest.approx(c.lead_low, rel=1e-4)
    assert float(lead["at"]) == pytest.approx(c.at, rel=1e-4)
    assert float(crossing["value"]) == pytest.approx(c.crossing.flops, rel=1e-4)
    assert float(ahead["value"]) == pytest.approx(c.ahead) and ahead["low"] == ""


@pytest.mark.parametrize(
    ("runs", "name"),
    [(["scratch"], "scratch"), (["runs/s-1", "runs/s-2"], "s"), (["x", "y"], "x+y")],
)
def test_arm_names(runs: list[str], name: str) -> None:
    assert arm_name(runs) == name
