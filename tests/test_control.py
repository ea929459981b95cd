"""Controls for imitation: fewer games, moves without sense, games of a program."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sizes import teacher_records
from test_replay import random_table

from ghostgo import cli
from ghostgo.data.records import AREA, concat
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import find_checkpoint
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.data.split import game_hashes
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.loop import run_selfplay
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.control import permute_moves, take_subset
from ghostgo.warmstart.store import load_records

GAME = get_game("go5")
CONFIG = """
network = "b1c8"
workers = 1
[selfplay]
games = 16
visits = 4
cheap_visits = 2
full_share = 0.5
positions_per_iteration = 100
[learner]
batch_size = 32
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records and the self-play run `animal`."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "c.toml").write_text(CONFIG)
    teacher_records(folder / "teacher.sgfs", games=60, rollouts=5, seed=1)
    run_selfplay(
        "animal", game="go5", games=60, config_file=folder / "c.toml", root=folder,
        line=LiveLine(io.StringIO()),
    )  # fmt: skip
    return folder


def warmstart(folder: Path, run: str, *options: str, records: str = "teacher.sgfs") -> int:
    where = ["--root", str(folder), "--run", run, "--config", str(folder / "c.toml")]
    given = ["--records", str(folder / records), "--game", "go5", "--epochs", "1"]
    return cli.run(["warmstart", *where, *given, *options])


def test_smaller_subsets_lie_within_larger_ones() -> None:
    table = random_table("go5", 30)
    parts = {n: take_subset(table, n) for n in (3, 10, 30, 100)}
    hashes = {n: set(game_hashes(part).tolist()) for n, part in parts.items()}
    assert [len(part) for part in parts.values()] == [3, 10, 30, 30]
    assert hashes[3] < hashes[10] < hashes[30] == hashes[100]
    # In the order of the table, and the same whatever that order is.
    shuffled = table.select(np.random.default_rng(1).permutation(30))
    assert set(game_hashes(take_subset(shuffled, 10)).tolist()) == hashes[10]


def test_permuted_moves_are_legal_even_and_seeded() -> None:
    table = random_table("go5", 40, searched=False)
    found = permute_moves(table, 1)
    assert found.policies is not None
    targets = found.policies.argmax(axis=1)
    assert (found.policies.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(found.moves, table.moves)
    first: list[int] = []
    for g in range(len(table)):
        state = GAME.new_states(1)
        for m in range(table.offsets[g], table.offsets[g + 1]):
            legal = GAME.legal_actions(state[0])
            assert targets[m] in legal
            first += [int(np.flatnonzero(legal == targets[m])[0])] if len(legal) == 20 else []
            play_one(state[0], int(table.moves[m]))
    # Any of twenty, as likely as the others.
    assert len(first) > 20 and 6 < np.mean(first) < 13
    again, other = permute_moves(table, 1), permute_moves(table, 2)
    assert again.policies is not None and other.policies is not None
    np.testing.assert_array_equal(again.policies, found.policies)
    assert (other.policies != found.policies).any()
    # Most moves are not those that were played.
    assert (targets == table.moves).mean() < 0.3


def test_a_permuted_prior_learns_no_moves(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert warmstart(here, "noise", "--permute") == 0
    made = attributes(here / "noise" / "records" / "train.h5")
    assert made["permuted"] is True and made["subset"] is None
    train, held_out = (
        read_shard(here / "noise" / "records" / f"{name}.h5") for name in ("train", "held_out")
    )
    assert train.policies is not None and held_out.policies is None, "it is judged on real moves"
    window = ReplayWindow(GAME)
    window.add(train)
    assert (window.rows_batch(np.arange(50)).policy.max(axis=1) == 1).all()
    capsys.readouterr()
    assert warmstart(here, "noise", "--permute") == 0, "the same command again is no contradiction"
    assert "has its prior already" in capsys.readouterr().err
    assert warmstart(here, "noise") == 2
    assert "imitates any legal moves, by --permute" in capsys.readouterr().err


def test_a_subset_of_the_games_is_learnt(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert warmstart(here, "few", "--subset", "10") == 0
    info = find_checkpoint("few", here)
    assert info.meta["games_imitated"] == 10
    assert info.meta["held_out"]["games"] >= 3
    assert warmstart(here, "few") == 2, "a whole command without it is another one"
    assert "run few has --subset 10" in capsys.readouterr().err
    assert cli.run(["warmstart", "--root", str(here), "--run", "few"]) == 0


def test_a_runs_games_are_records(here: Path) -> None:
    assert warmstart(here, "elf", records="animal") == 0
    played = [read_shard(path) for path in (here / "animal" / "shards").glob("*.h5")]
    train, held_out = (
        read_shard(here / "elf" / "records" / f"{name}.h5") for name in ("train", "held_out")
    )
    assert len(train) + len(held_out) == sum(len(table) for table in played)
    assert train.policies is None, "its moves are imitated, not its searches"
    assert played[0].ownership is not None and train.ownership is None, "people's games tell none"
    assert (train.weights == 0).any(), "random openings are not learnt"
    assert find_checkpoint("elf", here).meta["done"]


def test_of_a_runs_games_only_what_was_searched_in_full_is_learnt(
    here: Path, tmp_path: Path
) -> None:
    shutil.copytree(here / "animal", tmp_path / "animal")
    paths = sorted((tmp_path / "animal" / "shards").glob("*.h5"))
    first = read_shard(paths[0])
    rules = tuple({**rules, "komi": 3.5} for rules in first.rules_table)
    write_shard(paths[0], replace(first, rules_table=rules), attributes(paths[0]))
    played = concat([read_shard(path) for path in paths])
    assert played.surprise is not None
    searched = ~np.isnan(played.surprise)
    cheap = searched & (played.weights == 0)  # those of decided games are stored in the same way
    assert cheap.any() and not searched.all()
    table = load_records([tmp_path / "animal"], "go5")[0]
    window = ReplayWindow(GAME)
    window.add(table)
    batch = window.rows_batch(np.arange(window.rows))
    learnt = np.zeros(table.positions, bool)
    learnt[table.offsets[batch.origin["game"]] + batch.origin["ply"]] = True
    np.testing.assert_array_equal(learnt, searched & ~cheap)
    np.testing.assert_array_equal(batch.policy.argmax(axis=1), table.moves[learnt])
    komi = [table.rules_of(g)["komi"] for g in range(len(table))]
    assert komi == [3.5] * len(first) + [GAME.rules["komi"]] * (len(table) - len(first))
    assert table.counting is not None and set(table.counting.tolist()) == {AREA}
    assert not table.ranks.any(), "it plays at no rank"


def test_games_that_teach_nothing_are_too_few(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(here / "animal", tmp_path / "idle")
    shutil.copy(here / "c.toml", tmp_path)
    for path in (tmp_path / "idle" / "shards").glob("*.h5"):
        table = read_shard(path)
        write_shard(path, replace(table, weights=0 * table.weights), attributes(path))
    assert warmstart(tmp_path, "elf", records="idle") == 2
    assert "too few games of go5 in the records" in capsys.readouterr().err
    assert not (tmp_path / "elf").exists()


def test_games_of_some_of_a_runs_steps(here: Path) -> None:
    of = {path: attributes(path)["step"] for path in (here / "animal" / "shards").glob("*.h5")}
    last = max(of.values())
    assert min(of.values()) < 2 <= last
    wanted = sum(len(read_shard(path)) for path, step in of.items() if 1 <= step <= last - 1)
    assert wanted < sum(len(read_shard(path)) for path in of)
    name = f"animal@1-{last - 1}"
    assert len(load_records([here / name], "go5")[0]) == wanted
    assert warmstart(here, "late", "--held-out", "0.5", records=name) == 0
    meta = find_checkpoint("late", here).meta
    assert meta["records"] == [name] and meta["steps"] == [1, last - 1]
    assert meta["games_imitated"] + meta["held_out"]["games"] == wanted


@pytest.mark.parametrize(
    ("run", "options", "records", "message"),
    [
        ("plain", ["--subset", "5"], "teacher.sgfs", "has --subset None"),
        ("plain", ["--permute"], "teacher.sgfs", "imitates moves as played"),
        ("plain", ["--held-out", "0.2"], "teacher.sgfs", "has --held-out 0.1, not 0.2"),
        ("new", [], "animal@900-901", "has no finished game of steps 900 to 901"),
        ("new", [], "animal@5", "FROM-TO is wanted"),
        ("plain", ["--most-of-player", "0.1"], "teacher.sgfs", "has --most-of-player None"),
        (
            "new",
            ["--most-of-player", "0.1"],
            "teacher.sgfs",
            "too few games of go5 in the records: ",
        ),
        ("new", ["--most-of-player", "0.1"], "animal", "--most-of-player is for SGF records"),
        ("new", [], "empty", "has no finished game yet"),
        ("new", ["--game", "go9"], "animal", "holds games of go5, not go9"),
    ],
)
def test_what_does_not_fit_is_refused(
    run: str, options: list[str], records: str, message: str, here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if not (here / "plain").exists():
        assert warmstart(here, "plain") == 0
        where = ["--root", str(here), "--run", "empty", "--config", str(here / "c.toml")]
        assert cli.run(["selfplay", *where, "--game", "go5", "--games", "1"]) == 0
        for shard in (here / "empty" / "shards").iterdir():
            shard.unlink()
    capsys.readouterr()
    assert warmstart(here, run, *options, records=records) == 2
    assert message in capsys.readouterr().err
    assert not (here / "new").exists()
