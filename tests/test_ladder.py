"""The visits ladder: what search buys beside training, on planes that are known and in an arena."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostgo import cli
from ghostgo.arena.curves import read_curve
from ghostgo.arena.effort import Effort, parse_ladder
from ghostgo.arena.ladder import Step, Trade, fit_trade, ladder_table, make_ladder
from ghostgo.arena.league import League
from ghostgo.arena.pool import CurvePoint, PlayerOptions, Pool, build_pool, spread_out
from ghostgo.arena.ratings import Rating, Ratings
from ghostgo.arena.results import PlayerInfo
from ghostgo.data.ledger import Totals
from ghostgo.data.run import CheckpointInfo, Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

GAME = "tic_tac_toe"
TRAIN, TEST = 400.0, 250.0
"""True worth of ten times the compute, in Elo."""


def simulated(
    error: float, seed: int, rungs: int = 3, test: float = TEST
) -> tuple[list[Step], Ratings]:
    """Five checkpoints at `rungs` budgets on a plane, rated with independent errors."""
    rng, steps, elo = np.random.default_rng(seed), [], [0.0]
    for i in range(5):
        for k in range(rungs):
            train, move = 10 ** (10 + i / 2), 10 ** (6 + k / 2)
            true = -4000 + TRAIN * np.log10(train) + test * np.log10(move)
            point = CurvePoint("run", i, Totals(selfplay_flops=train), len(elo), Effort(4**k))
            elo.append(float(true + rng.normal(0, error)))
            low, high = elo[-1] - 2 * error, elo[-1] + 2 * error
            steps.append(Step(point, 4**k, move, elo[-1], low, high, 40))
    covariance = np.eye(len(elo)) * error**2
    rows = tuple(Rating(str(i), e, e, e, 40, 20.0, "") for i, e in enumerate(elo))
    return steps, Ratings(rows, np.array(elo), covariance, covariance, 0, 0.0, 0.0)


def trade_of(error: float, seed: int, **options: Any) -> Trade:
    trade = fit_trade("run", *simulated(error, seed, **options))
    assert trade is not None
    return trade


def test_a_known_plane_is_found() -> None:
    trade = trade_of(1e-3, 0)
    assert trade.train == pytest.approx(TRAIN, abs=0.1)
    assert trade.test == pytest.approx(TEST, abs=0.1)
    assert trade.saved == pytest.approx(10 ** (TRAIN / TEST), rel=1e-2)
    assert trade.residual < 0.01 and trade.ratings == 15
    text = trade.sentence()
    assert "worth 400 Elo (400 to 400)" in text and "saves a factor of 40 in search" in text


def test_intervals_hold_what_they_promise() -> None:
    truths = {"train": TRAIN, "test": TEST, "saved": 10 ** (TRAIN / TEST)}
    trades = [trade_of(40.0, seed) for seed in range(300)]
    for name, truth in truths.items():
        ends = [getattr(trade, f"{name}_interval") for trade in trades]
        covered = np.mean([low <= truth <= high for low, high in ends])
        assert 0.91 <= covered <= 0.985, f"{name}: {covered:.0%}"
    assert np.mean([trade.residual for trade in trades]) == pytest.approx(40, rel=0.06)


def test_search_that_buys_nothing_clear_has_no_rate() -> None:
    trade = trade_of(60.0, 3, test=0.0)
    assert trade.test_interval[0] < 0 < trade.test_interval[1]
    assert np.isnan(trade.saved) and "the games do not tell" in trade.sentence()


def test_too_few_points_make_no_plane() -> None:
    steps, ratings = simulated(1.0, 0)
    assert fit_trade("run", steps[:3], ratings) is None, "one checkpoint"
    assert fit_trade("run", steps[::3], ratings) is None, "one rung"
    assert fit_trade("run", [], ratings) is None
    corner = [steps[i] for i in (0, 1, 3)]
    assert fit_trade("run", corner, ratings) is None, "three points fit any plane"
    assert fit_trade("run", [*corner, steps[4]], ratings) is not None


def test_a_ladder_is_two_budgets_of_one_kind_in_order() -> None:
    assert parse_ladder("64,16,64") == (Effort(16), Effort(64))
    assert parse_ladder("2e9flops,1e8flops") == (Effort(flops=1e8), Effort(flops=2e9))
    for text, says in (
        ("16", "two budgets at least"),
        ("16,16", "two budgets at least"),
        ("16,many", "'many' is no budget"),
        ("16,1e9flops", "all visits, or all FLOPs, or all seconds"),
    ):
        with pytest.raises(UserError, match=says):
            parse_ladder(text)


def test_checkpoints_are_spread_over_what_they_cost() -> None:
    meta = [{"totals": {"selfplay_flops": flops}} for flops in (0, 1e8, 2e8, 1e9, 9e9, 1e10)]
    infos = [CheckpointInfo(Path(f"{i}"), i, each) for i, each in enumerate(meta)]

    def steps(most: int | None) -> list[int]:
        return [info.step for info in spread_out(infos, most)]

    assert steps(None) == steps(6) == steps(9) == [0, 1, 2, 3, 4, 5]
    assert (steps(1), steps(2), steps(3), steps(4)) == ([5], [0, 5], [0, 3, 5], [0, 2, 3, 5])
    free = [CheckpointInfo(Path("0"), i, {"totals": {}}) for i in range(5)]
    assert len(spread_out(free, 3)) == 3 and spread_out(free, 1)[0].step == 4
    assert {info.step for info in spread_out(free, 2)} == {0, 4}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Runs `scratch` and `warm` of tic-tac-toe, three untrained checkpoints each."""
    for name, seed in (("scratch", 0), ("warm", 10)):
        with Run.creating(tmp_path / name, GAME, 0, "") as run:
            for i in range(3):
                torch.manual_seed(seed + i)
                network = Network(get_game(GAME), NetworkConfig(1, 8))
                totals = Totals(selfplay_flops=(i + seed / 20) * 1e9)
                run.save_checkpoint(10 * i, network, {"totals": totals.to_dict()})
    return tmp_path


def arena(root: Path, *more: str) -> int:
    return cli.run(["arena", "--root", str(root), "--games", "150", *more])


def test_each_checkpoint_is_a_player_at_each_rung(root: Path) -> None:
    options = PlayerOptions(root, Effort(3), ladder=(Effort(2), Effort(5)), checkpoints=2)
    pool = build_pool(["scratch"], {"mine": "scratch@10"}, None, ("random",), options)
    names = [entry.info.name for entry in pool.entries]
    assert names == [
        "random", "mine", "scratch@0:2", "scratch@20:2", "scratch@0:5", "scratch@20:5",
    ]  # fmt: skip
    assert [entry.info.settings.get("visits") for entry in pool.entries] == [None, 3, 2, 2, 5, 5]
    assert pool.base == Effort(5), "--visits is no rung, so runs meet at the highest"
    curves = [entry.run for entry in pool.entries]
    assert curves == [None, None, *2 * ["scratch, 2 visits"], *2 * ["scratch, 5 visits"]]


def test_the_arena_reports_a_ladder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert arena(root, "--visits-ladder", "2,8", "--visits", "2") == 0
    shown = capsys.readouterr().out
    block = shown.split("Elo, 95 % interval")[1]
    assert re.search(r"2 visits +8 visits\n.* a move.* a move\n", block)
    for name in ("scratch@0", "scratch@10", "scratch@20"):
        assert re.search(rf"\n{name} +\S+ +-?\d+ \(-?\d+ \.\. -?\d+\) +-?\d+ \(", block)
    assert "ten times the training FLOPs are worth" in shown
    assert "imitation charged, at 2 visits (one seed each)" in shown

    out = root / "arena"
    with (out / "ladder.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12 and {line["rung"] for line in lines} == {"2", "8"}
    cost = {
        rung: np.mean([float(line["flops_per_move"]) for line in lines if line["rung"] == rung])
        for rung in ("2", "8")
    }
    assert 2 < cost["8"] / cost["2"] < 3.1, "nine evaluations against three, less at the end"
    with (out / "arena.csv").open() as file:
        ratings = {line["player"]: line["elo"] for line in csv.DictReader(file)}
    for line in lines:
        assert ratings[f"{line['run']}@{line['step']}:{line['rung']}"] == line["elo"]
    assert (out / "ladder.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "arena.html").read_text()
    (spec,) = re.findall(r"vegaEmbed\('#ladder', (\{.*\}), \{actions: false\}\)", page)
    drawn = re.findall(r'"player": "(\S+?)"', spec)
    assert json.loads(spec) and set(drawn) == {name for name in ratings if "@" in name}
    assert '"scratch, 8 visits"' in page, "the first chart has a curve a rung"


def test_games_at_a_rung_count_whether_or_not_there_was_a_ladder(root: Path) -> None:
    assert arena(root, "--visits", "8") == 0
    ledger = root / "arena" / "results.jsonl"
    before = ledger.read_text()
    assert arena(root, "--visits-ladder", "2,8", "--games", "150") == 0
    assert ledger.read_text() == before, "the budget of games was spent"
    with (root / "arena" / "ladder.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["rung"] for line in lines} == {"8"} and len(lines) == 6


def test_a_ladder_without_runs_is_no_matter(root: Path) -> None:
    command = ["--a", "", "--b", "", "--game", GAME, "--visits-ladder", "2,8", "--games", "4"]
    assert arena(root, *command) == 0
    assert not (root / "arena" / "ladder.csv").exists()


def test_without_a_ladder_nothing_is_said_of_one(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert arena(root, "--visits", "2", "--checkpoints", "1", "--games", "20") == 0
    shown = capsys.readouterr().out
    assert "ten times" not in shown and not (root / "arena" / "ladder.csv").exists()
    assert "scratch@20" in shown and "scratch@10" not in shown
    assert "scratch and warm not compared, imitation charged: scratch has one rated" in shown


def test_runs_are_compared_at_one_rung() -> None:
    steps, ratings = simulated(1.0, 0)
    pool = Pool(get_game(GAME), rungs=(Effort(1), Effort(4), Effort(16)), base=Effort(4))
    pool.points = [step.point for step in steps]
    curve = read_curve(pool, ratings, "run", imitation=True)
    at = {step.point.entry: step.visits for step in steps}
    assert [at[int(entry)] for entry in curve.entries] == 5 * [4]


def test_an_unplayed_rung_leaves_its_cell_empty() -> None:
    steps, ratings = simulated(1.0, 0, rungs=2)
    pool = Pool(get_game(GAME), rungs=(Effort(1), Effort(4)))
    pool.points = [step.point for step in steps]
    rows = list(ratings.ratings)
    rows[2] = Rating("2", 0.0, 0.0, 0.0, 0, 0.0, "unplayed")
    infos = [PlayerInfo(str(i), "net", {"visits": i}) for i in range(11)]
    league = League(pool.game, {}, infos, 11)
    part = Ratings(tuple(rows), ratings.elo, ratings.covariance, ratings.clustered, 0, 0, 0)
    ladder = make_ladder(pool, league, part)
    assert ladder is not None and len(ladder.steps) == 9
    first = ladder_table(ladder).splitlines()[2]
    assert first.startswith("run@0") and first.count("(") == 1
