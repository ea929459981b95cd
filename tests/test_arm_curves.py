"""The arena's plot: arms, means over seeds, axes of compute, and what is written of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from ghostgo.arena.arm_curves import (
    AXES,
    GRID,
    arm_curves,
    caption,
    left_edge,
    mean_curve,
    monotone,
    offered_axes,
    t_band,
)
from ghostgo.arena.effort import Effort
from ghostgo.arena.league import League
from ghostgo.arena.plots import draw_png, make_chart
from ghostgo.arena.pool import CurvePoint, Pool
from ghostgo.arena.ratings import Rating, Ratings
from ghostgo.arena.report import Arm, Report, make_arms, make_rows, write_report
from ghostgo.arena.results import PlayerInfo
from ghostgo.data.ledger import Totals
from ghostgo.engine.games.registry import get_game

FLOPS, WITHOUT, EVALUATIONS, CORES, GAMES, SAMPLES = AXES
RUNGS = (Effort(16), Effort(64))


def simulated(
    arms: Sequence[Sequence[str]], rungs: Sequence[Effort] = (), **more: Mapping[str, float | None]
) -> tuple[Pool, League, Ratings]:
    """Each run's checkpoints 0, 1, 2 after 0, 1e9 and 1e10 FLOPs, with Elo 100, 200, 300 + its place.

    `more` are further totals of an arm's runs, by the letters that their names begin with, those of
    checkpoints 1 and 2 once and ten times.
    """
    pool = Pool(get_game("tic_tac_toe"), rungs=tuple(rungs))
    infos, elo = [PlayerInfo("random", "random")], [0.0]
    for arm in arms:
        for place, run in enumerate(arm):
            given = next((amounts for key, amounts in more.items() if run.startswith(key)), {})
            for rung, step in ((rung, step) for rung in rungs or (None,) for step in range(3)):
                size = 0 if step == 0 else 10 ** (step - 1)
                totals = Totals(selfplay_flops=1e9 * size).plus(
                    {name: n * size if n else n for name, n in given.items()}
                )
                pool.points.append(CurvePoint(run, step, totals, len(elo), rung))
                infos.append(PlayerInfo(pool.points[-1].name, "net", {"visits": 4}))
                elo.append(100.0 * (step + 1) + 10 * place)
    rows = tuple(
        Rating(info.name, e, e - 20, e + 20, 10, 5.0, "" if i else "anchor")
        for i, (info, e) in enumerate(zip(infos, elo, strict=True))
    )
    none = np.zeros((len(elo), len(elo)))
    ratings = Ratings(rows, np.array(elo), none, none, 0, 0.0, 0.0)
    return pool, League(pool.game, {}, infos, len(infos)), ratings


def report_of(
    arms: Sequence[Sequence[str]], rungs: Sequence[Effort] = (), **more: Mapping[str, float | None]
) -> Report:
    pool, league, ratings = simulated(arms, rungs, **more)
    rows, nowhere = make_rows(pool, league, ratings), Path()
    grouped = make_arms(arms, pool.points)
    return Report("a title", rows, (), nowhere, nowhere, nowhere, pool.rungs, grouped)


def test_a_mean_and_its_t_band_are_those_of_the_textbook() -> None:
    mean, half = t_band(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    assert mean.tolist() == [2.0, 5.0]
    # t(0.975, 2 degrees of freedom) = 4.302653; the standard deviation is 1, of three seeds.
    assert half == pytest.approx([4.302653 / 3**0.5, 0.0], abs=1e-6)
    _, half = t_band(np.array([[0.0], [2.0]]))
    assert half == pytest.approx([12.706205], abs=1e-5)


def test_a_mean_covers_what_all_seeds_cover_and_is_straight_in_log_compute() -> None:
    a = (np.array([1.0, 100.0]), np.array([0.0, 200.0]))
    b = (np.array([10.0, 100.0, 1000.0]), np.array([300.0, 400.0, 400.0]))
    band = mean_curve([a, b])
    assert band is not None and len(band.x) == GRID
    assert (band.x[0], band.x[-1]) == pytest.approx((10.0, 100.0))
    shares = np.log10(band.x) - 1
    assert np.diff(shares) == pytest.approx(1 / (GRID - 1))
    assert band.elo == pytest.approx((100 + 100 * shares + 300 + 100 * shares) / 2)
    half = 12.706205 * 100  # half the distance of two seeds, which are 200 apart
    assert band.high - band.elo == pytest.approx(half, rel=1e-5)
    assert band.elo - band.low == pytest.approx(half, rel=1e-5)
    apart = (np.array([200.0, 300.0]), np.array([0.0, 1.0]))
    assert mean_curve([a, apart]) is None, "no range in common"
    assert mean_curve([a]) is None and mean_curve([a, (np.array([]), np.array([]))]) is None


def test_a_monotone_fit_pools_what_falls() -> None:
    assert monotone(np.array([1.0, 4.0, 2.0, 5.0])).tolist() == [1.0, 3.0, 3.0, 5.0]


def test_arms_have_names_of_their_own_and_every_run_is_in_one() -> None:
    points = [CurvePoint(run, 0, Totals(), 0) for run in ("s-1", "s-2", "s-3", "s-4", "x")]
    assert make_arms([["runs/s-1", "s-2"], ["s-2"]], points[:2]) == (Arm("s", ("s-1", "s-2")),)
    both = make_arms([["s-1", "s-2"], ["s-3", "s-4", "absent"]], points)
    assert both == (
        Arm("s-1+s-2", ("s-1", "s-2")), Arm("s-3+s-4", ("s-3", "s-4")), Arm("x", ("x",)),
    )  # fmt: skip
    assert [arm.name for arm in make_arms([], points)] == ["s-1", "s-2", "s-3", "s-4", "x"]


def test_seeds_of_an_arm_are_one_curve_with_a_mean_and_single_runs_keep_their_own_band() -> None:
    report = report_of([["s-1", "s-2", "s-3"], ["a"]])
    single, several = arm_curves(report, FLOPS)
    assert (single.label, several.label) == ("a", "s (3 seeds)")
    assert single.mean is None and several.mean is not None
    assert [line.run for line in several.lines] == ["s-1", "s-2", "s-3"]
    assert several.lines[0].spent == (0.0, 1e9, 1e10)
    # The free checkpoint has no place on a log axis, so that the mean begins after it.
    assert (several.mean.x[0], several.mean.x[-1]) == pytest.approx((1e9, 1e10))
    assert (several.mean.elo[0], several.mean.elo[-1]) == pytest.approx((210.0, 310.0))
    assert several.mean.high[0] - 210 == pytest.approx(4.302653 * 10 / 3**0.5, abs=1e-4)
    ((x, elo),) = single.fits()
    assert x.tolist() == [1e9, 1e10] and elo.tolist() == [200.0, 300.0]
    assert len(several.fits()) == 1
    assert left_edge([single, several]) == 5e8
    said = caption([single, several])
    assert "t intervals over seeds" in said and "the ratings' own 95 % intervals" in said
    assert "t intervals" not in caption([single]) and "ratings' own" not in caption([several])
    assert caption([]) == ""


def test_axes_are_offered_where_some_run_has_them() -> None:
    assert offered_axes(report_of([["a"]])) == [FLOPS]
    assert offered_axes(report_of([[], []])) == [FLOPS]
    spent = {"imitation_flops": 5e8, "evaluations": 7, "seconds": 2.0, "core_seconds": 3.0}
    every = report_of([["a"], ["b"]], b={**spent, "games": 2, "samples": 9})
    assert offered_axes(every) == list(AXES)
    amounts = {axis.title: arm_curves(every, axis)[1].lines[0].spent for axis in AXES}
    assert list(amounts.values()) == [
        (0.0, 1.5e9, 1.5e10), (0.0, 1e9, 1e10), (0.0, 7.0, 70.0), (0.0, 3.0, 30.0),
        (0.0, 2.0, 20.0), (0.0, 9.0, 90.0),
    ]  # fmt: skip


def test_a_run_whose_cores_were_not_counted_is_not_on_that_axis() -> None:
    old, new = {"seconds": 2.0, "core_seconds": None}, {"seconds": 2.0, "core_seconds": 3.0}
    assert CORES not in offered_axes(report_of([["old"]], old=old))
    report = report_of([["old-1", "new"], ["b"]], old=old, new=new, b=new)
    assert CORES in offered_axes(report)
    single, mixed = arm_curves(report, CORES)
    assert [line.run for line in single.lines + mixed.lines] == ["b", "new"]
    assert mixed.mean is None, "not over some of the seeds"
    assert arm_curves(report, FLOPS)[1].mean is not None


@pytest.mark.parametrize(
    ("arms", "rungs", "labels"),
    [
        ([["a"], ["b"]], (), ["a", "b"]),
        ([["s1", "s2", "s3"], ["b"]], (), ["b", "s (3 seeds)"]),
        ([["s1", "s2"]], RUNGS, ["s (2 seeds), 16 visits", "s (2 seeds), 64 visits"]),
        ([[], []], (), []),
    ],
)
def test_one_seed_several_a_ladder_and_no_run_at_all_can_be_drawn(
    arms: list[list[str]], rungs: Sequence[Effort], labels: list[str]
) -> None:
    report = report_of(arms, rungs)
    assert draw_png(report).startswith(b"\x89PNG")
    spec = make_chart(report).to_dict()
    colours = [
        layer["encoding"]["color"]["scale"]
        for layer in spec["layer"]
        if "color" in layer["encoding"]
    ]
    assert all(scale["domain"] == labels for scale in colours) and bool(colours) == bool(labels)
    assert all(len(set(scale["range"])) == len(labels) for scale in colours)
    assert not any("bind" in parameter for parameter in spec.get("params", []))


def test_the_report_offers_the_axes_and_tells_every_amount(tmp_path: Path) -> None:
    arms = [["s1", "s2"], ["b"]]
    spent: dict[str, float | None] = {"imitation_flops": 5e8, "games": 4, "seconds": 1.0}
    cores: dict[str, float | None] = {"seconds": 1.0, "core_seconds": 3.0, "samples": 8}
    pool, league, ratings = simulated(arms, b=spent, s=cores)
    report = write_report(tmp_path, pool, league, ratings, shown=False, arms=arms)
    assert report.title == "tic_tac_toe: s (2 seeds) and b"
    assert report.png.read_bytes().startswith(b"\x89PNG")
    page = report.html.read_text().rsplit("<body>", 1)[1]
    (options,) = re.findall(r'"options": \[(.*?)\]', page)
    offered = [FLOPS, WITHOUT, CORES, GAMES, SAMPLES]
    assert options == ", ".join(f'"{axis.title}"' for axis in offered)
    assert '"input": "select"' in page and "datum.axis === compute" in page
    assert "t intervals over seeds" in page and "ratings&#x27; own 95 % intervals" in page
    with report.csv.open() as file:
        lines = {line["player"]: line for line in csv.DictReader(file)}
    first, other = lines["s2@2"], lines["b@1"]
    assert (first["arm"], first["run"]) == ("s", "s2")
    assert [float(first[f"run_{name}"]) for name in ("core_seconds", "games", "samples")] == [
        30.0, 0.0, 80.0,
    ]  # fmt: skip
    assert (float(other["flops"]), float(other["flops_without_imitation"])) == (1.5e9, 1e9)
    assert other["run_core_seconds"] == "" and float(other["run_games"]) == 4
    assert lines["random"]["arm"] == lines["random"]["flops_without_imitation"] == ""
