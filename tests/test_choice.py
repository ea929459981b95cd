"""A run's backend: measured by `ghostgo bench --run`, kept with the run, used where it works."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import trainer
from test_network import lively
from test_quantise import needs_openvino
from test_replay import random_table

from ghostgo import bench_run, cli
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.bot import SearchBot
from ghostgo.data import choice as choices
from ghostgo.data.choice import (
    FILE,
    Backend,
    Choice,
    Int8,
    chosen_backend,
    read_choice,
    write_choice,
)
from ghostgo.data.positions import draw
from ghostgo.data.run import Run
from ghostgo.data.shards import write_shard
from ghostgo.engine import exactness
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.quantise import Rounding, calibrate
from ghostgo.opponents import make_bot
from ghostgo.selfplay.budget import Stop

FP32 = Choice("cpu", "fp32", "because", 100, 8, {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of 5x5 Go with two checkpoints of one lively network, in `tmp_path`, no shards."""
    network = lively("go5", "b2c16")
    with Run.creating(tmp_path / "r", "go5", seed=1, config="") as made:
        made.save_checkpoint(1, lively("go5", "b2c16", seed=5), {"totals": {}})
        made.save_checkpoint(2, network, {"totals": {}})
    return Run.open(tmp_path / "r")


@pytest.fixture
def in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few positions, and rates that do not depend on the machine: later backends are faster."""
    monkeypatch.setattr(bench_run, "JUDGED", 200)
    monkeypatch.setattr(bench_run, "CALIBRATION", 64)

    def rates(works: dict[str, object], seconds: float) -> dict[str, float]:
        return {name: 100.0 * (i + 1) for i, name in enumerate(works)}

    monkeypatch.setattr(bench_run, "side_by_side", rates)


def test_a_choice_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_choice(tmp_path) is None
    network = lively("go5", "b1c16")
    table = random_table("go5", 3)
    calibration = calibrate(network, draw(network.game, table, 20, 0).planes)
    tried = Int8("abc", True, [list(each) for each in calibration])
    write_choice(tmp_path, replace(FP32, int8=tried))
    found = read_choice(tmp_path)
    assert found is not None and found.backend == "fp32" and found.int8 is not None
    assert found.int8.roundings() == calibration


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not JSON"),
        ('{"format": 2}', "newer ghostgo"),
        ('{"format": 1}', "something is missing"),
        ('{"format": 1, "bakend": "fp32"}', "unknown key 'bakend'"),
        ({"backend": "int8"}, "'int8' is no backend for a run"),
        ({"backend": "cuda"}, "'cuda' is no backend for a run"),
        ({"int8": {"sha256": "", "admitted": True, "calibration": [[1, 2]]}}, "is damaged"),
    ],
)
def test_a_damaged_choice_is_named(tmp_path: Path, content: object, fault: str) -> None:
    write_choice(tmp_path, FP32)
    path = tmp_path / FILE
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text()), **content})
    path.write_text(str(content))
    with pytest.raises(UserError, match=fault) as caught:
        read_choice(tmp_path)
    assert str(path) in str(caught.value)


def test_without_a_choice_nothing_changes(run: Run) -> None:
    assert chosen_backend(run.latest(), "cpu") == Backend("auto", None)


def test_int8_is_for_its_own_weights_and_never_for_training(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "backend_works", lambda backend, device: (True, ""))
    older, newest = run.checkpoints()
    tried = Int8(newest.meta["sha256"], True, [[0.0, 1.0, [0.5]]])
    write_choice(run.folder, replace(FP32, int8=tried))
    assert chosen_backend(newest, "cpu") == Backend("int8", (Rounding(0.0, 1.0, (0.5,)),))
    assert chosen_backend(older, "cpu").name == "fp32"
    assert chosen_backend(newest, "cpu", training=True).name == "fp32"
    write_choice(run.folder, replace(FP32, int8=replace(tried, admitted=False)))
    assert chosen_backend(newest, "cpu").name == "fp32"


def test_what_does_not_work_here_is_said_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(choices, "backend_works", lambda backend, device: (False, "no such chip"))
    choices._say.cache_clear()
    write_choice(run.folder, FP32)
    assert [chosen_backend(run.latest(), "cpu").name for _ in range(2)] == ["auto"] * 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "fp32" in told and "no such chip" in told
    write_choice(run.folder, replace(FP32, device="cuda"))
    assert chosen_backend(run.latest(), "cpu").name == "auto"
    assert "chosen for cuda" in capsys.readouterr().err


def test_play_arena_and_training_use_it(run: Run, tmp_path: Path) -> None:
    write_choice(run.folder, FP32)
    bot = make_bot("r", None, 8, 1, tmp_path)
    assert isinstance(bot, SearchBot) and bot._evaluator.backend == "fp32"
    larger = make_bot("r", "go9", 8, 1, tmp_path)
    assert isinstance(larger, SearchBot) and larger.game is get_game("go9")
    player = make_entry("r", "r", get_game("go5"), PlayerOptions(root=tmp_path)).player
    assert isinstance(player, NetPlayer) and player._ready().evaluator.backend == "fp32"  # type: ignore[attr-defined]
    trainer(tmp_path, "t", "go5")
    write_choice(tmp_path / "runs" / "t", FP32)
    first, again = trainer(tmp_path, "t", "go5"), trainer(tmp_path, "u", "go5")
    assert {actor.evaluator.backend for actor in first.actors} == {"fp32"}  # type: ignore[attr-defined]
    assert again.backend == "auto"
    first.iterate(Stop())
    assert first.ledger.totals.games > 0


def test_same_seed_same_run_with_a_choice(tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        trainer(tmp_path, name, "go5")
        write_choice(tmp_path / "runs" / name, FP32)
        made = trainer(tmp_path, name, "go5")
        made.iterate(Stop())
        weights.append(made.learner.average.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_positions_are_those_of_the_games() -> None:
    game, table = get_game("go5"), random_table("go5", 4)
    found = draw(game, table, 1000, 0)
    assert len(found.planes) == table.positions
    wanted = set()
    for g in range(len(table)):
        state = game.new_states(1)
        for action in table.moves_of(g):
            legal = np.zeros(game.actions, np.uint8)
            planes = np.zeros((game.points, game.planes), np.uint16)
            legal_mask_of(state[0], legal)
            write_planes_of(state[0], legal, planes)
            wanted.add((planes.tobytes(), legal.tobytes()))
            play_one(state[0], int(action))
    assert {(p.tobytes(), m.tobytes()) for p, m in zip(*found, strict=True)} == wanted
    few = draw(game, table, 5, 0)
    assert (few.planes == found.planes[:5]).all()


@pytest.mark.usefixtures("in_small")
@pytest.mark.parametrize("shards", [False, True])
def test_bench_chooses_and_keeps_it(
    run: Run, tmp_path: Path, shards: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if shards:
        for i in range(3):
            write_shard(run.shards / f"{i:06d}.h5", random_table("go5", 60, seed=i), {})
        write_shard(run.shards / "000003.h5", random_table("go3", 5, seed=3), {})  # another board
    assert cli.run(["bench", "--run", "r", "--root", str(tmp_path), "--seconds", "0.1"]) == 0
    told = capsys.readouterr().out
    assert ("of the run's newest games" if shards else "that it played for this") in told
    assert "r@2: go5, b2c16" in told and "200 positions" in told and "int8 was not tried" in told
    found = read_choice(run.folder)
    assert found is not None and found.int8 is None and found.positions == 200
    assert f"chosen: {found.backend}, {found.why}" in told
    assert found.measured["fp32"]["policy_kl"] == 0
    rates = {name: row["evaluations_per_second"] for name, row in found.measured.items()}
    exact = [name for name, row in found.measured.items() if row["value_error"] < 0.01]
    assert found.backend == max(exact, key=lambda name: rates[name])
    assert cli.run(["doctor", "--root", str(tmp_path)]) == 0
    assert f"r ({found.backend})" in capsys.readouterr().out


@needs_openvino
@pytest.mark.usefixtures("in_small")
@pytest.mark.parametrize("most", [1.0, 1e-30])
def test_int8_is_admitted_by_its_test_alone(
    run: Run, tmp_path: Path, most: float, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(exactness, "MOST_KL", most)
    monkeypatch.setattr(exactness, "MOST_VALUE_ERROR", most)
    arguments = ["bench", "--run", "r", "--int8", "--root", str(tmp_path), "--seconds", "0.1"]
    assert cli.run(arguments) == 0
    told = capsys.readouterr().out
    admitted = most == 1.0
    assert ("int8: admitted" in told) == admitted and ("int8: refused" in told) != admitted
    bot = make_bot("r", None, 8, 1, tmp_path)
    assert isinstance(bot, SearchBot) and (bot._evaluator.backend == "int8") == admitted
    assert bot.choose(bot.game.new_states(1)) in range(26)
    entry = make_entry("r", "r", get_game("go5"), PlayerOptions(root=tmp_path))
    assert ("backend" in entry.info.settings) == admitted


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--int8",), "needs --run"),
        (("--run", "none"), "is not a run"),
        (("--run", "r", "--net", "b1c8"), "--net is not for --run"),
        (("--run", "r", "--json", "x"), "--json is not for --run"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], fault: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["bench", *words, "--root", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and fault in told


def test_int8_without_openvino_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_run, "backend_works", lambda backend, device: (False, "not there"))
    assert cli.run(["bench", "--run", "r", "--int8", "--root", str(tmp_path)]) == 2
    assert "int8 cannot be tried: not there" in capsys.readouterr().err
    assert read_choice(run.folder) is None
