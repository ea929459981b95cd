"""The benchmarks that measure what records are worth, from end to end with budgets of a moment."""

from __future__ import annotations

import importlib
import json
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

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CONFIG = """
network = "b1c8"
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
    teacher_records(folder / "teacher.sgfs", games=80, rollouts=10, seed=1)
    words = ["--records", str(folder / "teacher.sgfs"), "--game", "go5", "--flops", f"{IMITATION}"]
    words += ["--subset", "20,all", "--permute", "--config", str(folder / "c.toml")]
    words += ["--out", str(folder / "curve")]
    for _ in range(2):  # the second time nothing is left to be done
        tools("imitation_curve").main(words)
    return folder


def test_accuracy_by_flops_and_by_games(curve: Path) -> None:
    found = json.loads((curve / "curve" / "imitation.json").read_text())
    table, (points,) = found["by_games"], found["by_flops"].values()
    assert list(table) == ["all", "games-20", "permuted"]
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
    other = table["permuted"]
    assert other["above"] == pytest.approx(other["top1"] - table["all"]["top1"])
    held = {table.results.tobytes() for table in (
        read_shard(curve / "curve" / name / "records" / "held_out.h5") for name in found["by_games"]
    )}  # fmt: skip
    assert len(held) == 1, "judged on other games"


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
    assert starts["kl"]["above"] == 0, "one network on the same moves"
    assert starts["root"]["log_loss"] == starts["scratch"]["log_loss"] != prior["log_loss"]
    assert "above" not in last["init"]
    assert "TFLOP of self-play" in capsys.readouterr().out
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
