"""Judging a network on records: the same figures as imitation's, split by rank and move number."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sizes import teacher_records
from test_replay import random_table

from ghostgo import cli
from ghostgo.data.checkpoints import split_of
from ghostgo.data.replay import Batch, ReplayWindow
from ghostgo.data.run import find_checkpoint
from ghostgo.data.shards import read_shard
from ghostgo.data.split import SPLIT, split_by_hash
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.evaluate import (
    BANDS,
    Judged,
    assess,
    calibration,
    chosen_rows,
    describe_rows,
    judge_rows,
    table_lines,
)
from ghostgo.warmstart.imitate import run_warmstart
from ghostgo.warmstart.store import load_records

GAME = get_game("go5")
CONFIG = """
network = "b1c8"
workers = 1
[learner]
batch_size = 32
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records and the run `warm`, which has imitated nine tenths of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "c.toml").write_text(CONFIG)
    teacher_records(folder / "teacher.sgfs", games=80, rollouts=10, seed=1)
    run_warmstart(
        [folder / "teacher.sgfs"], "warm", game="go5", epochs=3, config_file=folder / "c.toml",
        root=folder, line=LiveLine(io.StringIO()),
    )  # fmt: skip
    return folder


def evaluate(folder: Path, *options: str) -> int:
    records = ["--records", str(folder / "teacher.sgfs")]
    return cli.run(["warmstart", "evaluate", "warm", *records, "--root", str(folder), *options])


def test_the_held_out_games_give_what_imitation_reported(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged.json"
    assert evaluate(here, "--held-out", "0.1", "--json", str(out)) == 0
    found = json.loads(out.read_text())
    for name, value in find_checkpoint("warm", here).meta["held_out"].items():
        assert found[name] == pytest.approx(value), name
    assert f"{found['games']} games" in capsys.readouterr().out
    info = find_checkpoint("warm", here)
    assert info.meta["split"] == SPLIT and split_of(info) == {"split": SPLIT}
    train = read_shard(here / "warm" / "records" / "train.h5")
    assert found["games"] + len(train) == 80, "no more, no fewer than were not learnt"
    # A checkpoint of before the split's number is judged on what the first split held back.
    old = {key: value for key, value in info.meta.items() if key != "split"}
    (info.path / "meta.json").write_text(json.dumps(old))
    try:
        assert evaluate(here, "--held-out", "0.1", "--json", str(out)) == 0
        table = load_records([here / "teacher.sgfs"], "go5")[0]
        first = table.select(split_by_hash(table, 0.1, 1)[1])
        judged = json.loads(out.read_text())
        assert (judged["games"], judged["positions"]) == (len(first), first.positions)
    finally:
        (info.path / "meta.json").write_text(json.dumps(info.meta))
    assert evaluate(here, "--json", str(out)) == 0
    every = json.loads(out.read_text())
    assert every["games"] > found["games"] and every["positions"] > found["positions"]


def test_parts_make_up_the_whole(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "judged.json"
    assert evaluate(here, "--json", str(out)) == 0
    found = json.loads(out.read_text())
    for parts in (found["by_rank"], found["by_move"]):
        assert sum(part["positions"] for part in parts.values()) == found["positions"]
        total = sum(part["log_loss"] * part["positions"] for part in parts.values())
        assert total / found["positions"] == pytest.approx(found["log_loss"])
    assert list(found["by_rank"]) == ["unknown"], "a program has no rank"
    assert list(found["by_move"])[:3] == ["0", "5", "10"]


def test_fewer_positions_are_a_fixed_sample(here: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        assert evaluate(here, "--positions", "100", "--json", str(file)) == 0
    assert files[0].read_text() == files[1].read_text()
    assert json.loads(files[0].read_text())["positions"] == 100
    assert len(chosen_rows(50, 0)) == len(chosen_rows(50)) == 50


def test_ranks_and_move_numbers_are_those_of_the_side_to_move() -> None:
    table = random_table("go5", 3)
    table.ranks = np.array([[5, 35], [0, 22], [31, 0]], np.int8)
    table.first_to_play = np.array([0, 1, 0], np.int8)
    table.weights[::4] = 0
    learnable = np.flatnonzero(table.weights > 0)
    number, rank = describe_rows(table, np.arange(len(learnable)))
    for i, place in enumerate(learnable):
        g = int(np.searchsorted(table.offsets, place, side="right")) - 1
        ply = place - table.offsets[g]
        assert number[i] == ply
        assert rank[i] == table.ranks[g][(table.first_to_play[g] + ply) % 2]


def test_bands_hold_every_rank_once() -> None:
    for code in range(40):
        assert sum(low <= code <= high for _, low, high in BANDS) == 1


def test_figures_are_what_they_say() -> None:
    """Against a judge whose answers can be counted by hand."""
    table = random_table("go5", 4, searched=False)
    window = ReplayWindow(GAME)
    window.add(table)

    def judge(batch: Batch) -> dict[str, torch.Tensor]:
        policy = torch.from_numpy(batch.policy) * 3.0
        policy[:, 0] += 4.0  # the first point is always the favourite, the move second
        value = torch.tensor([2.0, 0.0, 0.0]).expand(len(batch), 3)
        return {"policy": policy, "value": value}

    rows = np.arange(window.rows)
    found = judge_rows(judge, GAME, window, rows)
    moves = table.moves
    board = moves < GAME.points
    whole = found.summary()
    assert whole["top1"] == pytest.approx((moves[board] == 0).mean())
    assert whole["top5"] == 1.0
    logits = np.zeros((len(moves), GAME.actions))
    logits[np.arange(len(moves)), moves] = 3.0
    logits[:, 0] += 4.0
    chosen = logits[np.arange(len(moves)), moves]
    loss = np.log(np.exp(logits).sum(axis=1)) - chosen
    assert whole["log_loss"] == pytest.approx(loss.mean(), rel=1e-5)
    guess = (np.exp(2) - 1) / (np.exp(2) + 2)
    assert whole["value_mse"] == pytest.approx(((guess - found.result) ** 2).mean(), rel=1e-4)
    text = "\n".join(table_lines(assess(found, table, rows) | {"games": 4}))
    assert f"{whole['top1']:6.1%}" in text and "move 0+" in text


def test_calibration_by_tenths() -> None:
    guess = np.array([-1.0, -0.95, 0.05, 0.1, 1.0, 0.5])
    result = np.array([-1.0, 1.0, 0.0, 1.0, 1.0, np.nan])
    flags = np.ones(6, bool)
    found = calibration(Judged(flags, flags, flags, np.zeros(6), guess, result))
    assert [part["positions"] for part in found] == [2, 2, 1]
    assert [part["result"] for part in found] == [0.0, 0.5, 1.0]
    assert found[0]["guess"] == pytest.approx(-0.975)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--root", "elsewhere"], "'warm' is neither a run nor a checkpoint"),
        (["--json", "missing/x.json"], "missing/x.json"),
        (["--held-out", "0.000001"], "hold no position of go5"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(here, *options) == 2
    assert message in capsys.readouterr().err


def test_options_of_the_group_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["warmstart", "--run", "x", "evaluate", "warm", "--records", "y"]) == 2
    assert "options of `warmstart evaluate` stand behind it" in capsys.readouterr().err
