"""A loss that is no number: one line that names what is at fault, and a way out that works."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_loop import small_config, trainer

from ghostgo import cli
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.engine.errors import UserError
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.faults import faulty_rows, trained
from ghostgo.selfplay.feeding import Drawn
from ghostgo.selfplay.learner import Learner, LearnerConfig


def selfplay(tmp_path: Path, games: int, *options: str) -> int:
    root = str(tmp_path / "runs")
    return cli.run(["selfplay", "--run", "r", "--root", root, "--games", str(games), *options])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    told = [line for line in error.splitlines() if line.startswith("ghostgo: ")]
    assert len(told) == 1
    return told[0]


def test_a_poisoned_shard_is_named_and_the_run_goes_on_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ["--game", "tic_tac_toe", "--config", str(small_config(tmp_path))]
    assert selfplay(tmp_path, 10, *first) == 0
    capsys.readouterr()
    shard = tmp_path / "runs" / "r" / "shards" / "000001.h5"
    table = read_shard(shard)
    assert table.policies is not None
    table.policies[table.offsets[2] : table.offsets[3]] = np.nan
    write_shard(shard, table, attributes(shard))
    assert selfplay(tmp_path, 60) == 2
    told = one_line(capsys)
    assert "on tic_tac_toe, step " in told and "the loss of policy" in told
    assert re.search(r"\(000001.h5 game 2 ply \d", told), told
    asked = re.search(r"rename in (\S+) (\S+) to (\S+),", told)
    assert asked is not None
    folder = Path(asked[1])
    (folder / asked[2]).rename(folder / asked[3])
    assert selfplay(tmp_path, 60) == 0
    assert not shard.exists(), "its number is not used again"


def test_a_newest_shard_that_is_set_apart_is_not_played_again(tmp_path: Path) -> None:
    """The weights that made it would make it again."""
    run = trainer(tmp_path, "r")
    for _ in range(2):
        run.iterate(Stop())
    checkpoints, shards = run.run.folder / "checkpoints", run.run.shards
    shutil.copytree(checkpoints / "00000002", tmp_path / "kept")
    run.iterate(Stop())
    # As if training on the newest games had failed.
    shutil.rmtree(checkpoints / "00000003")
    shutil.rmtree(checkpoints / "00000002", ignore_errors=True)
    shutil.copytree(tmp_path / "kept", checkpoints / "00000002")
    moves = read_shard(shards / "000003.h5").moves
    (shards / "000003.h5").rename(shards / "000003.damaged")
    again = trainer(tmp_path, "r")
    assert again.step == 2
    again.iterate(Stop())
    played = read_shard(shards / "000004.h5").moves
    assert len(played) != len(moves) or (played != moves).any()


def test_weights_that_run_away_are_told_from_targets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    config.write_text(config.read_text() + "value_weight = 1e30\n")
    assert selfplay(tmp_path, 10, "--game", "tic_tac_toe", "--config", str(config)) == 2
    told = one_line(capsys)
    assert "step 0: the gradient is not a number" in told and "000001.h5" in told
    assert "no target of the batch" in told and "learning_rate = 0.008" in told
    asked = re.search(r"under \[learner\] in (\S+),", told)
    assert asked is not None
    stored = Path(asked[1])
    stored.write_text(re.sub(r"value_weight = \S+", "value_weight = 1.0", stored.read_text()))
    assert selfplay(tmp_path, 60) == 0


def test_every_rate_is_named_where_the_weights_run_away(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r")
    run.iterate(Stop())
    config = LearnerConfig(value_weight=1e30, optimizer="muon")
    learner = Learner(run.learner.network, config)
    batch = run.window.rows_batch(np.arange(20))
    with pytest.raises(UserError, match="lower muon_rate = 0.004, learning_rate = 0.008, or"):
        trained(learner, Drawn(batch, run.game), run.run)


def test_rows_at_fault_are_those_with_no_finite_policy(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r")
    run.iterate(Stop())
    batch = run.window.rows_batch(np.arange(20))
    assert not faulty_rows(batch).any(), "an unknown value is no fault"
    batch.policy[3, 0] = np.inf
    batch.reply[5, 1] = np.nan
    batch.policy_weight[7] = np.nan
    batch.score[9] = batch.value[9] = np.nan
    assert np.flatnonzero(faulty_rows(batch)).tolist() == [3, 5, 7]
    batch.origin["source"][5] = "train.h5"
    wanted = f"train.h5 game {batch.origin['game'][5]} ply {batch.origin['ply'][5] + 1}"
    with pytest.raises(UserError, match=wanted) as raised:
        trained(run.learner, Drawn(batch, run.game), run.run)
    assert "begin another run without them" in str(raised.value)
