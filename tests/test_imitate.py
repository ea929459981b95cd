"""Imitation: records in, a judged prior and the start of a run out."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sizes import sized, teacher_records
from test_replay import random_table

from ghostgo.data.batch import Batch
from ghostgo.data.ledger import Ledger, read_ledger
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import Run, load_network
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import legal_mask_of, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.learner import Learner
from ghostgo.selfplay.loop import reopen, run_selfplay
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.evaluate import HeldOut, evaluate
from ghostgo.warmstart.imitate import Imitation, run_warmstart
from ghostgo.warmstart.select import import_records
from ghostgo.warmstart.teacher import make_records

CONFIG = """
network = "b1c8"
workers = 1
[selfplay]
games = 8
visits = 4
positions_per_iteration = 60
[learner]
batch_size = 32
learning_rate = 0.01
"""
HUMAN = Path(__file__).resolve().parent.parent.parent / "shared" / "records" / "pro9"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "teacher.sgfs"
    teacher_records(path, games=60, rollouts=30, seed=1)
    return path


def options(tmp_path: Path, out: io.StringIO | None = None) -> dict[str, Any]:
    config = tmp_path / "c.toml"
    config.write_text(CONFIG)
    return {
        "root": tmp_path / "runs",
        "line": LiveLine(out or io.StringIO()),
        "config_file": config,
    }


def test_teacher_games_are_seeded_and_import_whole(records: Path, tmp_path: Path) -> None:
    table, report = import_records([records], "go5")
    assert report.dropped.total() == 60 - len(table) <= 5, "only games that are equal may go"
    one, two, other = (tmp_path / f"{name}.sgfs" for name in ("one", "two", "other"))
    for path, seed in ((one, 1), (two, 1), (other, 2)):
        make_records(path, "go5", games=sized(20, 3), rollouts=sized(20, 3), seed=seed)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    with pytest.raises(UserError, match="name a Go board"):
        make_records(one, "connect_four")
    with pytest.raises(UserError, match="no folder"):
        make_records(tmp_path / "missing" / "x.sgfs", "go5", games=1)


def test_a_prior_learns_its_records_and_starts_a_run(records: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    info = run_warmstart([records], "warm", game="go5", epochs=25, **options(tmp_path, out))
    judged = info.meta["held_out"]
    assert info.meta["done"] and info.meta["games_imitated"] + judged["games"] >= 55
    # 25 points: chance is 4 % for the first choice and 20 % for the first five.
    assert judged["top1"] > 0.08 and judged["top5"] > 0.3
    assert judged["log_loss"] < math.log(26)
    assert "top-1" in out.getvalue() and "value MSE" in out.getvalue()
    totals = info.totals
    assert totals.imitation_flops == totals.flops > 0 and totals.samples > 0
    # The same call again has nothing to do; self-play goes on from the prior.
    given = {**options(tmp_path), "config_file": None}
    assert run_warmstart([records], "warm", **given).step == info.step
    more = run_selfplay("warm", games=5, **given)
    assert more.step > info.step and more.totals.imitation_flops == totals.imitation_flops
    assert more.totals.selfplay_flops > 0
    assert load_network(info.path).config.name == "b1c8", "self-play deleted its prior"


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_records_are_shown_under_the_rules_of_the_self_play_to_come(
    ko: str, records: Path, tmp_path: Path
) -> None:
    """The rule is a plane: a prior that never saw its value there plays nonsense afterwards."""
    given = options(tmp_path)
    text = given["config_file"].read_text()
    given["config_file"].write_text(text + f'[selfplay.rules]\nko = "{ko}"\n')
    run_warmstart([records], "warm", game="go5", flops=1e7, **given)
    run, game = Run.open(tmp_path / "runs" / "warm"), get_game("go5")
    imitation = Imitation(run, reopen(run.folder, None, None, None)[1], given["line"])
    fresh = np.zeros((1, game.points, game.planes), np.uint16)
    state, mask = game.new_states(1, {"ko": ko}), np.zeros(game.actions, np.uint8)
    legal_mask_of(state[0], mask)
    write_planes_of(state[0], mask, fresh[0])
    rule = [game.plane_names.index(f"{name}_rule") for name in ("simple_ko", "situational_superko")]
    for window in (imitation.window, imitation.held_out):
        planes = window.rows_batch(np.arange(window.rows)).planes
        assert (planes[:, :, rule] == fresh[:, :, rule]).all()


def test_interrupted_imitation_goes_on(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostgo.warmstart.imitate.SAVE_SECONDS", 0.0)
    given = options(tmp_path)
    part = run_warmstart([records], "warm", game="go5", flops=1e8, **given)
    assert part.meta["done"]
    # As a kill leaves it: the newest checkpoint is an unfinished one.
    run = Run.open(tmp_path / "runs" / "warm")
    shutil.rmtree(part.path)
    unfinished = run.latest()
    assert unfinished.meta["done"] is False
    given["config_file"] = None
    with pytest.raises(UserError, match="has not finished imitating"):
        run_selfplay("warm", games=5, **given)
    spent = Ledger(run.folder / "ledger.jsonl").totals.flops
    done = run_warmstart((), "warm", flops=2e8, **given)
    assert done.meta["done"] and done.totals.flops >= spent
    assert done.totals.core_seconds
    rows = read_ledger(run.folder / "ledger.jsonl")
    assert done.totals.core_seconds == pytest.approx(sum(row["core_seconds"] for row in rows))
    load_network(done.path)


def test_minutes_count_those_before_an_interruption(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostgo.warmstart.imitate.SAVE_SECONDS", 0.0)
    given = options(tmp_path)
    shutil.rmtree(run_warmstart([records], "warm", game="go5", flops=1e7, **given).path)
    run = Run.open(tmp_path / "runs" / "warm")
    before = run.latest().totals.samples
    Ledger(run.folder / "ledger.jsonl").append("imitation", seconds=3000.0, core_seconds=3000.0)
    imitation = Imitation(run, reopen(run.folder, None, None, None)[1], given["line"])
    assert imitation._share(Stop(minutes=60), None) >= 50 / 60, "the rate is where it was"
    # Nothing is left of 50 minutes.
    done = run_warmstart((), "warm", minutes=50, **{**given, "config_file": None})
    assert done.meta["done"] and done.totals.samples == before


def test_what_nothing_tells_is_null_in_meta_data(records: Path, tmp_path: Path) -> None:
    """No result is known: there is no error of the value."""
    unknown = tmp_path / "unknown.sgfs"
    unknown.write_text(re.sub(r"RE\[[^]]*\]", "", records.read_text()))
    out = io.StringIO()
    info = run_warmstart([unknown], "warm", game="go5", flops=1e7, **options(tmp_path, out))
    assert json.loads((info.path / "meta.json").read_text())["held_out"]["value_mse"] is None
    assert "value MSE nan" in out.getvalue()
    judged = HeldOut.from_dict(Run.open(tmp_path / "runs" / "warm").latest().meta["held_out"])
    assert math.isnan(judged.value_mse) and judged.top1 >= 0


@pytest.mark.parametrize("name", ["go5", "go4x7"])
def test_a_pass_is_no_candidate_for_the_move_match(name: str) -> None:
    game = get_game(name)
    table = random_table(name, 5, searched=False)
    assert (table.moves == game.points).any()
    window = ReplayWindow(game)
    window.add(table)

    def all_knowing_but_for_passes(batch: Batch) -> dict[str, torch.Tensor]:
        policy = torch.from_numpy(batch.policy) * 5
        policy[:, -1] = 9
        return {"policy": policy, "value": torch.zeros(len(batch), 3)}

    learner = SimpleNamespace(network=SimpleNamespace(game=game), judge=all_knowing_but_for_passes)
    judged = evaluate(learner, window, 5)  # type: ignore[arg-type]
    assert judged.top1 == judged.top5 == 1


def test_too_few_games_leave_no_run(records: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.sgfs"
    one.write_text(records.read_text().splitlines()[0])
    with pytest.raises(UserError, match="too few games of go5"):
        run_warmstart([one], "warm", game="go5", **options(tmp_path))
    assert not list((tmp_path / "runs").iterdir())


def test_bad_records_leave_no_run(records: Path, tmp_path: Path) -> None:
    given = options(tmp_path)
    (tmp_path / "empty.sgf").write_text("not a game")
    for paths, message in (
        ([tmp_path / "missing.zip"], "no such file"),
        ([tmp_path / "empty.sgf"], "holds no go5 game"),
        ([], "no records given"),
    ):
        with pytest.raises(UserError, match=message):
            run_warmstart(paths, "warm", game="go5", **given)
        assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
    with pytest.raises(UserError, match="holds no go9 game"):
        run_warmstart([records], "warm", game="go9", **given)
    run_selfplay("plain", game="go5", games=1, **given)
    with pytest.raises(UserError, match="is a self-play run"):
        run_warmstart([records], "plain", **given)


def test_other_records_of_the_same_name_are_refused(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = options(tmp_path)
    folder = tmp_path / "moved"
    folder.mkdir()
    moved = Path(shutil.copy(records, folder))
    monkeypatch.chdir(folder)
    for name, paths in (("warm", [records]), ("dot", [Path(".")])):
        run_warmstart(paths, name, game="go5", flops=1.0, **given)
    given["config_file"] = None
    for name, path in (("warm", moved), ("dot", Path(".")), ("dot", folder)):
        assert run_warmstart([path], name, **given).meta["done"], "they may be moved"
    moved.write_bytes(records.read_bytes() * 2)
    for name, path in (("warm", moved), ("dot", Path("."))):
        with pytest.raises(UserError, match=f"{re.escape(str(path))}: has .* run {name} imitates"):
            run_warmstart([path], name, **given)
        assert run_warmstart((), name, **given).meta["done"]
    # An earlier version stored no sizes, and the folder `.` without its name.
    train = given["root"] / "dot" / "records" / "train.h5"
    made = attributes(train)
    assert made.pop("records") == ["moved"] and made.pop("bytes") == [records.stat().st_size]
    write_shard(train, read_shard(train), {**made, "records": [""]})
    assert run_warmstart([Path(".")], "dot", **given).meta["done"]


@pytest.mark.skipif(not HUMAN.is_dir(), reason="human records are not beside the checkout")
def test_human_records_teach_more_than_chance(tmp_path: Path) -> None:
    given = options(tmp_path)
    info = run_warmstart([HUMAN], "warm", game="go9", epochs=2, **given)
    judged = info.meta["held_out"]
    assert judged["games"] > 20
    # The most frequent point of each move number reaches 4.6 % on these games, chance 1.9 %.
    assert judged["top1"] > 0.06


@pytest.mark.parametrize("wanted", [True, False])
def test_imitation_begins_at_the_marginals_if_so_configured(
    wanted: bool, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def step(learner: Learner, *given: Any) -> dict[str, float]:
        seen.append(bool(learner.average.value_out.bias.any()))
        return plain(learner, *given)

    plain = Learner.step
    monkeypatch.setattr(Learner, "step", step)
    given = options(tmp_path)
    given["config_file"].write_text(f"{CONFIG}start_at_marginals = {str(wanted).lower()}\n")
    run_warmstart([records], "r", game="go5", flops=1.0, **given)
    assert seen == [wanted]
