"""The benchmarks that measure what records are worth, from end to end with budgets of a moment."""

from __future__ import annotations

import importlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sizes import teacher_records
from test_replay import random_table

from ghostgo.data.ledger import Totals
from ghostgo.data.run import Run
from ghostgo.data.shards import read_shard
from ghostgo.data.split import game_hashes
from ghostgo.selfplay.learner import Learner
from ghostgo.selfplay.loop import run_selfplay
from ghostgo.selfplay.monitor import LiveLine

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CONFIG = """
network = "b1c8r"
workers = 1
[learner]
batch_size = 32
[selfplay]
visits = 4
games = 4
positions_per_iteration = 40
[anchor]
fade_flops = 1e9
"""
IMITATION, PLAY = 2e8, 1e8


@pytest.fixture(scope="module")
def tools() -> Any:
    """The benchmarks' folder as modules by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory, tools: Any) -> Path:
    """A folder with records, a config, and in `curve` what the imitation curve made of them."""
    folder = tmp_path_factory.mktemp("worth")
    (folder / "c.toml").write_text(CONFIG)
    records = folder / "teacher.sgfs"
    teacher_records(records, games=80, rollouts=10, seed=1)
    records.write_text(re.sub(r"\(;", "(;BR[15k]WR[1d]", records.read_text()))
    run_selfplay(
        "animal", game="go5", games=60, config_file=folder / "c.toml", root=folder,
        line=LiveLine(io.StringIO()),
    )  # fmt: skip
    words = ["--records", str(folder / "teacher.sgfs"), "--game", "go5", "--flops", f"{IMITATION}"]
    words += ["--subset", "20,all", "--permute", "--config", str(folder / "c.toml")]
    words += ["--elf", str(folder / "animal"), "--match-elf", "--out", str(folder / "curve")]
    for _ in range(2):  # the second time nothing is left to be done
        tools("imitation_curve").main(words)
    return folder


def test_accuracy_by_flops_and_by_games(curve: Path) -> None:
    found = json.loads((curve / "curve" / "imitation.json").read_text())
    table, (points,) = found["by_games"], found["by_flops"].values()
    assert list(table)[:4] == ["all", "games-20", "permuted", "elf"] and len(table) == 5
    whole = Run.open(curve / "curve" / "all")
    assert [row["step"] for row in points] == [info.step for info in whole.checkpoints()]
    assert points[0]["flops"] == 0 and points[-1]["flops"] >= IMITATION
    assert [row["annealed"] for row in points] == [False] * (len(points) - 1) + [True]
    meta = whole.latest().meta["held_out"]
    for name in ("top1", "log_loss", "positions"):
        assert table["all"][name] == pytest.approx(meta[name]), "not what imitation reported"
    assert table["games-20"]["games"] == 20 < table["all"]["games"] == 80 - meta["games"]
    assert table["permuted"]["games"] == table["all"]["games"]
    for row in table.values():
        assert row["flops"] == table["all"]["flops"], "not at equal FLOPs"
        assert row["top1_half_width"] > 0 and row["log_loss_half_width"] > 0
    whole_row, other = table["all"], table["permuted"]
    assert other["above"] == pytest.approx(other["top1"] - whole_row["top1"])
    assert other["log_loss_above"] == pytest.approx(other["log_loss"] - whole_row["log_loss"])
    assert other["log_loss_above_half_width"] > 0
    untold = other["untold"]
    assert untold["above"] == pytest.approx(untold["top1"] - whole_row["untold"]["top1"])
    assert whole_row["untold"]["log_loss"] != whole_row["log_loss"], "it learnt the ranks"
    held = {table.results.tobytes() for table in (
        read_shard(curve / "curve" / name / "records" / "held_out.h5")
        for name in found["by_games"] if name != "elf"
    )}  # fmt: skip
    assert len(held) == 1, "judged on other games"


def test_games_of_a_program_and_as_many_positions_of_people(curve: Path) -> None:
    table = json.loads((curve / "curve" / "imitation.json").read_text())["by_games"]
    elf, (matched, people) = table["elf"], list(table.items())[-1]
    assert elf["records"] == ["animal"]
    assert elf["untold"]["log_loss"] == elf["log_loss"], "its games teach no rank"
    own = Run.open(curve / "curve" / "elf").latest().meta["held_out"]
    assert elf["own_held_out"] == own and own["top1"] != elf["top1"]
    train = read_shard(curve / "curve" / matched / "records" / "train.h5")
    assert people["games"] == len(train) == int(matched.removeprefix("games-"))
    counts = np.bincount(train.game_of()[train.weights > 0])
    assert people["learnt"] == counts.sum()
    last = counts[np.argsort(game_hashes(train), kind="stable")[-1]]
    assert people["learnt"] - last < elf["learnt"] <= people["learnt"], (
        "one game fewer would not do"
    )


def test_every_arm_from_one_prior(
    curve: Path, tools: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors, out = tools("anchors"), curve / "anchors"
    words = ["--prior", str(curve / "curve" / "all"), "--records", str(curve / "teacher.sgfs")]
    words += ["--config", str(curve / "c.toml"), "--flops", f"{PLAY}", "--out", str(out)]
    anchors.main([*words, "--arms", "kl"])
    first = {name: Run.open(out / f"{name}-1").latest().meta["sha256"] for name in ("init", "kl")}
    anchors.main([*words, "--arms", "init,kl,mix,root,scratch"])
    for name, digest in first.items():
        assert Run.open(out / f"{name}-1").latest().meta["sha256"] == digest, "trained again"
    rows = json.loads((out / "anchors.json").read_text())["rows"]
    last = {row["arm"]: row for row in rows}
    assert list(last) == ["init", "kl", "mix", "root", "scratch"]
    assert all(row["flops"] >= PLAY for row in last.values()), "a budget was not spent"
    starts = {row["arm"]: row for row in rows if row["flops"] == 0}
    prior = Run.open(curve / "curve" / "all").latest().meta["held_out"]
    for arm in ("init", "kl", "mix"):
        assert starts[arm]["top1"] == pytest.approx(prior["top1"]), "it does not begin as the prior"
    for start in (starts["kl"], starts["kl"]["untold"]):
        assert start["above"] == start["log_loss_above"] == 0, "one network on the same moves"
    assert last["kl"]["untold"]["log_loss_above"] != last["kl"]["log_loss_above"] != 0
    assert starts["init"]["untold"]["log_loss"] != starts["init"]["log_loss"]
    assert starts["root"]["log_loss"] == starts["scratch"]["log_loss"] != prior["log_loss"]
    assert "above" not in last["init"]
    shown = capsys.readouterr().out
    assert "TFLOP of self-play" in shown and "log loss above init" in shown
    lines = [line for line in shown.splitlines() if line.startswith("| scratch-1 |")]
    assert {line.split(" | ")[2] for line in lines} == {"told", "untold"}
    with pytest.raises(SystemExit):
        anchors.main([*words, "--held-out", "0.5"])
    assert "the prior has seen all but 0.1" in capsys.readouterr().err


def test_a_judgement_is_of_all_that_is_shown(tools: Any) -> None:
    digest, rows = tools("judging").digest, np.arange(9)
    table = random_table("go5", 3)
    ranked = replace(table, ranks=table.ranks + 1)
    other_komi = replace(table, rules_table=({"komi": 3.5},) * len(table.rules_table))
    found = {digest(each, rows) for each in (table, replace(table), ranked, other_komi)}
    assert len(found | {digest(table, rows[1:])}) == 4


def test_old_judgements_are_not_taken_for_new(
    curve: Path, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging, info = tools("judging"), Run.open(curve / "curve" / "all").latest()
    held = judging.HeldOutMoves([curve / "teacher.sgfs"], "go5", 0.1, 50, tmp_path)
    found = held.judge(info)
    assert list(found) == ["told", "untold"] and len(list(tmp_path.iterdir())) == 2
    learners: list[Learner] = []

    def counted(*given: Any) -> Learner:
        learners.append(Learner(*given))
        return learners[-1]

    monkeypatch.setattr(judging, "Learner", counted)
    held.judge(info)
    assert not learners, "kept"
    monkeypatch.setattr(judging, "WAY", judging.WAY + 1)
    held.judge(info)
    assert len(learners) == 2, "each is judged anew"


def test_what_is_left_of_a_budget_and_what_compares(tools: Any) -> None:
    anchors = tools("anchors")
    before = Totals(imitation_flops=100.0, seconds=30.0)
    spent = Totals(imitation_flops=100.0, selfplay_flops=20.0, training_flops=30.0, seconds=60.0)
    assert anchors.share_of(spent, before, 200.0, None) == 0.25
    assert anchors.share_of(spent, before, None, 2.0) == 0.25
    among = {0.0: "start", 100.0: "late"}
    assert anchors.comparable(0.0, among) == "start"
    assert anchors.comparable(120.0, among) == anchors.comparable(81.0, among) == "late"
    assert anchors.comparable(126.0, among) is anchors.comparable(79.0, among) is None
    assert anchors.comparable(1.0, {}) is None


def test_a_run_that_was_stopped_ends_it(tools: Any) -> None:
    judging, seen = tools("judging"), list[int]()

    def square(n: int) -> int:
        seen.append(n)
        return n * n

    def check(task: tuple[int], found: int) -> None:
        if found == 4:
            raise SystemExit("stopped")

    with pytest.raises(SystemExit, match="stopped"):
        judging.side_by_side(square, [(1,), (2,), (3,)], 1, check)
    assert seen == [1, 2]
    root = judging.side_by_side(np.sqrt, [(4.0,), (9.0,)], 2, lambda *_: None)
    assert root == [2.0, 3.0], "in processes of their own"
