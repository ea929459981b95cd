"""Judging a network on records: the same figures as imitation's, split by rank and move number."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sizes import teacher_records
from test_replay import random_table

from ghostgo import cli
from ghostgo.data.batch import Batch
from ghostgo.data.checkpoints import split_of
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.data.split import SPLIT, split_by_hash
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.anchor import HELD_OUT_SHARE
from ghostgo.selfplay.loop import open_run
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.evaluate import (
    BANDS,
    Judged,
    after_the_end,
    assess,
    calibration,
    chosen_rows,
    describe_rows,
    judge_rows,
)
from ghostgo.warmstart.imitate import run_warmstart
from ghostgo.warmstart.select import import_records
from ghostgo.warmstart.store import load_records
from ghostgo.warmstart.table import table_lines, without_nan

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


def evaluate(folder: Path, *options: str, who: str = "warm") -> int:
    records = ["--records", str(folder / "teacher.sgfs")]
    return cli.run(["warmstart", "evaluate", who, *records, "--root", str(folder), *options])


def test_the_held_out_games_give_what_imitation_reported(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged.json"
    assert evaluate(here, "--json", str(out)) == 0
    found = json.loads(out.read_text())
    assert found["held_out"] == 0.1 and found["sets"] == ["teacher.sgfs"]
    assert {"top1", "top5", "log_loss", "value_mse", "positions", "games"} <= set(found)
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
    assert evaluate(here, "--held-out", "1", "--json", str(out)) == 0
    every = json.loads(out.read_text())
    assert every["games"] > found["games"] and every["positions"] > found["positions"]


def test_what_a_network_has_not_seen_is_known_of_its_followers_too(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged.json"
    for run, start, share in (("animal", None, 1.0), ("arm", "warm", 0.1)):
        opened, _, _ = open_run(
            run, here, game="go5", preset=None, start=start, seed=None,
            config_file=here / "c.toml", workers=None,
        )  # fmt: skip
        first = opened.latest()
        opened.save_checkpoint(1, load_network(first.path), {"totals": first.meta["totals"]})
        for step in (0, 1):
            assert evaluate(here, "--json", str(out), who=f"{run}@{step}") == 0
            assert json.loads(out.read_text())["held_out"] == share
    # As runs were before their share was stored.
    shutil.copytree(here / "warm", here / "old")
    info, records = find_checkpoint("old", here), here / "old" / "records" / "train.h5"
    assert evaluate(here, "--json", str(out), who="old") == 0
    del info.meta[HELD_OUT_SHARE]
    (info.path / "meta.json").write_text(json.dumps(info.meta))
    assert evaluate(here, "--json", str(out), who="old") == 0
    assert json.loads(out.read_text())["held_out"] == 0.1, "the run's records tell it"
    given = attributes(records)
    del given["held_out"]
    write_shard(records, read_shard(records), given)
    capsys.readouterr()
    assert evaluate(here, who="old") == 2
    assert "was not stored when it was made: give --held-out" in capsys.readouterr().err
    assert evaluate(here, "--held-out", "1", who="old") == 0


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
        assert evaluate(here, "--held-out", "1", "--positions", "100", "--json", str(file)) == 0
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
    said = {"games": 4, "held_out": 1.0, "sets": ["x.sgf"]}
    everything = assess(found, table, rows) | said
    everything["passes"] |= after_the_end(judge, GAME, table)
    text = "\n".join(table_lines(everything))
    assert f"{whole['top1']:6.1%}" in text and "move 0+" in text
    assert f"+-{whole['half_width']['log_loss']:.3f}" in text
    chance = np.exp(logits[:, -1] - np.log(np.exp(logits).sum(axis=1)))
    passes = everything["passes"]
    assert passes["positions"] == (~board).sum() > 0 and passes["recall"] == 0
    assert passes["p_pass"] == pytest.approx(chance[~board].mean(), rel=1e-5)


def judged(**values: NDArray[Any]) -> Judged:
    """What is given, and ones or zeros for the rest."""
    n = len(next(iter(values.values())))
    flags, numbers = np.ones(n, bool), np.zeros(n)
    rest = {"on_board": flags, "top1": flags, "top5": flags, "passes": ~flags}
    rest |= dict.fromkeys(("loss", "guess", "result", "passing"), numbers)
    return Judged(**{**rest, "game": np.arange(n), **values})


def test_the_value_without_the_end_of_resigned_games() -> None:
    """There the one to move wins: who sees no more than that looks good, and no better before."""
    table = random_table("go5", 6)
    assert (table.lengths > 4).all() and (table.results != 0).all()
    table.scores[:4] = np.nan  # resigned; of the fourth nobody knows who won
    table.results[3] = np.nan
    table.weights[::5] = 0
    rows = np.arange(int((table.weights > 0).sum()) - 2)
    number, _ = describe_rows(table, rows)
    places = np.flatnonzero(table.weights > 0)[rows]
    game = table.game_of()[places]
    late = (game < 3) & (number + 3 >= table.lengths[game])
    found = judged(guess=np.where(late, 1.0, 0.5), result=table.results[game], game=game)
    found.result[late] = 1.0
    everything = assess(found, table, rows)
    known = np.isfinite(found.result)
    error = (found.guess - found.result) ** 2
    assert everything["value_mse"] == pytest.approx(error[known].mean())
    wanted = error[known & ~late].mean()
    assert everything["value_mse_before_resigning"] == pytest.approx(wanted)
    assert everything["half_width"]["value_mse_before_resigning"] > 0
    said = {"games": 6, "held_out": 1.0, "sets": ["x.sgf"]}
    everything["passes"] |= dict.fromkeys(
        ("after_last", "after_counted"), everything["passes"] | {"games": 0}
    )
    line = "value MSE without the last 3 moves of resigned games: "
    assert f"{line}{wanted:.3f} +-" in "\n".join(table_lines(everything | said))
    table.scores[:3] = 1.0
    counted = assess(found, table, rows)
    assert counted["value_mse_before_resigning"] == counted["value_mse"]


def test_intervals_are_clustered_by_game() -> None:
    """Two games that agree in themselves are two observations: s.e. 0.5, not 0.29."""
    top1, games = np.array([True, True, False, False]), np.array([0, 0, 1, 1])
    halves = judged(top1=top1, game=games, loss=np.arange(4.0)).summary()["half_width"]
    assert halves["top1"] == pytest.approx(1.96 * 0.5)
    assert halves["log_loss"] == pytest.approx(1.96 * 1.0) and halves["top5"] == 0
    result = np.array([1.0, np.nan, -1.0, np.nan])
    part = judged(result=result, game=games).summary(np.array([True, True, False, False]))
    assert without_nan(part)["half_width"]["value_mse"] is None, "one game tells nothing"


def test_passes_that_records_leave_out_are_no_targets_but_asked_about(tmp_path: Path) -> None:
    moves, records = ";B[cc];W[cd];B[dc]", tmp_path / "x.sgf"
    unpassed = [f"(;SZ[5]KM[7.5]RE[{result}]{moves})" for result in ("B+3.5", "W+R")]
    passed = f"(;SZ[5]KM[7.5]RE[B+3.5]{moves};W[dd];B[];W[])"
    records.write_text(unpassed[0] + unpassed[1].replace("dc", "bb") + passed)
    table, _ = import_records([records], "go5")
    assert len(table) == 3
    window = ReplayWindow(GAME)
    window.add(table)
    targets = window.rows_batch(np.arange(window.rows)).policy[:, GAME.points]
    assert targets.tolist() == [0] * (3 + 3 + 4) + [1, 1], "those of the third game"
    asked = []

    def judge(batch: Batch) -> dict[str, torch.Tensor]:
        asked.append(batch)
        policy = torch.zeros(len(batch), GAME.actions)
        policy[:, -1] = torch.tensor([2.0, 1.0])
        return {"policy": policy, "value": torch.zeros(len(batch), 3)}

    found = after_the_end(judge, GAME, table)
    chance = [np.exp(x) / (np.exp(x) + 25) for x in (2.0, 1.0)]
    assert found["after_last"] == {"games": 2, "p_pass": pytest.approx(np.mean(chance))}
    assert found["after_counted"] == {"games": 1, "p_pass": pytest.approx(chance[0])}
    state, mask = GAME.new_states(1, table.rules_of(0)), np.zeros(GAME.actions, np.uint8)
    planes = np.zeros((1, GAME.points, GAME.planes), np.uint16)
    for action in table.moves_of(0):
        play_one(state[0], int(action))
    legal_mask_of(state[0], mask)
    write_planes_of(state[0], mask, planes[0])
    np.testing.assert_array_equal(asked[0].planes[0], planes[0])


def test_calibration_by_tenths() -> None:
    guess = np.array([-1.0, -0.95, 0.05, 0.1, 1.0, 0.5])
    result = np.array([-1.0, 1.0, 0.0, 1.0, 1.0, np.nan])
    found = calibration(judged(guess=guess, result=result))
    assert [part["positions"] for part in found] == [2, 2, 1]
    assert [part["result"] for part in found] == [0.0, 0.5, 1.0]
    assert found[0]["guess"] == pytest.approx(-0.975)


def test_baselines_stand_in_the_table(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, train = tmp_path / "judged.json", str(here / "warm" / "records" / "train.h5")
    options = ["--held-out", "0.1", "--baselines", train, "--json", str(out)]
    assert evaluate(here, *options) == 0
    found = json.loads(out.read_text())
    parts = found["baselines"]
    learnt = parts.pop("fitted")
    assert learnt["name"] == "train.h5" and learnt["games"] == 80 - found["games"]
    assert list(parts) == ["uniform", "point", "table"]
    assert {part["positions"] for part in parts.values()} == {found["positions"]}
    assert len({part["log_loss"] for part in parts.values()}) == 3
    for part in parts.values():
        assert 0 < part["top1"] < part["top5"] < 1 and 0 < part["half_width"]["top1"] < 0.2
    shown = capsys.readouterr().out
    assert re.search(r"\n +all .*\n +uniform .*\n +point .*\n +table ", shown)
    assert re.search(r"fitted on \d+ games of .*, none of them\n +judged\n", shown)
    assert evaluate(here, "--held-out", "1", "--baselines", str(here / "teacher.sgfs")) == 2
    assert "every game in it is among those judged" in capsys.readouterr().err


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


def test_help_says_what_is_read_and_what_ranks_need(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["warmstart"], ["warmstart", "evaluate"]):
        assert cli.run([*words, "--help"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert ".zip, .tar or .sgfs" in told and "RUN@FROM-TO" in told
        assert ("with r in its name" in told) == (words == ["warmstart"])


def test_options_of_the_group_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["warmstart", "--run", "x", "evaluate", "warm", "--records", "y"]) == 2
    assert "options of `warmstart evaluate` stand behind it" in capsys.readouterr().err
