"""Imported records as a file: `ghostgo records import`, `show`, and a warm start from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sizes import teacher_records
from test_imitate import CONFIG

from ghostgo import cli
from ghostgo.data.run import Run
from ghostgo.data.shards import read_shard, write_shard
from ghostgo.warmstart.select import import_records
from ghostgo.warmstart.store import describe, load_records, read_imported


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "teacher.sgfs"
    teacher_records(path, games=40, rollouts=20, seed=2)
    with path.open("a") as file:
        file.write("(;GM[1]SZ[5];B[aa];W[aa])\n(;GM[1]SZ[13];B[aa])\n")
    return path


def test_import_show_and_warm_start(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(CONFIG)
    words = ["records", "import", str(source), "--out", "data.h5", "--game", "go5"]
    assert cli.run(words) == 0
    first = Path("data.h5").read_bytes()
    table, report = import_records(source, "go5")
    stored, stored_report = read_imported("data.h5")
    assert stored_report.as_dict() == report.as_dict()
    assert (stored.moves == table.moves).all() and len(stored) == len(table)
    capsys.readouterr()
    assert cli.run(["records", "show", "data.h5"]) == 0
    told = capsys.readouterr().out
    assert f"{report.kept} games kept of {report.read} read" in told
    assert "at move   illegal move: 0+ 1" in told and "counting  area 40" in told
    assert "sizes     of the wrong ones: 13x13 1" in told
    assert "illegal move 1" in told and "teacher.sgfs" in told and "bytes a move" in told
    assert cli.run(words) == 0 and Path("data.h5").read_bytes() == first

    start = ["warmstart", "--records", "data.h5", "--game", "go5", "--config", "c.toml"]
    assert cli.run([*start, "--epochs", "2"]) == 0
    run = Run.open(Path("runs/warm"))
    kept = sum(len(read_shard(run.folder / "records" / f"{n}.h5")) for n in ("train", "held_out"))
    assert kept == len(table) and run.latest().totals.imitation_flops > 0


def test_a_file_of_an_older_import_is_shown(source: Path, tmp_path: Path) -> None:
    table, report = import_records(source, "go5")
    table.players = table.years = table.counting = None
    old = {
        key: value
        for key, value in report.as_dict().items()
        if key in ("game", "read", "kept", "dropped", "winners", "endings", "ranks", "komi", "rules",
                   "setups", "lengths")
    }  # fmt: skip
    write_shard(tmp_path / "old.h5", table, {"records": ["teacher.sgfs"], "report": old})
    told = "\n".join(describe(tmp_path / "old.h5"))
    assert f"{report.kept} games kept" in told and "illegal move 1" in told
    assert "players" not in told and "at move" not in told and "sizes" not in told


def test_short_games_are_left_out(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.h5"
    words = ["records", "import", str(source), "--out", str(out), "--game", "go5"]
    every = import_records(source, "go5")[0]
    stones = [int((every.moves_of(i) != 25).sum()) for i in range(len(every))]
    least = sorted(stones)[len(stones) // 2]
    assert cli.run([*words, "--min-moves", str(least)]) == 0
    table, report = read_imported(out)
    assert 0 < len(table) == sum(n >= least for n in stones) < len(stones)
    assert report.dropped["too few moves"] >= len(stones) - len(table)
    assert cli.run([*words, "--min-moves", "0"]) == 2


def test_records_and_file_give_the_same_games(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.h5"
    assert cli.run(["records", "import", str(source), "--out", str(out), "--game", "go5"]) == 0
    one, two = load_records([source], "go5")[0], load_records([out], "go5")[0]
    for name in ("moves", "offsets", "results", "ranks", "weights"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=name == "results")


def test_bad_input_is_one_line(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["records", "import", str(source), "--out", "d.h5", "--game", "go5"]) == 0
    write_shard("games.h5", read_shard("d.h5"), {})
    Path("torn.h5").write_bytes(Path("d.h5").read_bytes()[:-9])
    before = sorted(Path().iterdir())
    for words, told in (
        (["records", "import", str(source), "--out", "d.sgf", "--game", "go5"], "must end in .h5"),
        (["records", "import", str(source), "--out", "no/d.h5", "--game", "go5"], "no folder"),
        (["records", "import", "missing", "--out", "e.h5"], "missing"),
        (["records", "import", str(source), "--out", "e.h5"], "wrong board size"),
        (["records", "show", "games.h5"], "not imported records"),
        (["records", "show", "torn.h5"], "damaged"),
        (["records", "show", "nothing.h5"], "no such file"),
        (["warmstart", "--records", "d.h5"], "holds games of go5"),
        (
            ["warmstart", "--records", "d.h5", "--most-of-player", "0.1"],
            "give it to ghostgo records",
        ),
        (["records", "import", str(source), "--out", "e.h5", "--most-of-player", "0"], "0"),
        (["warmstart", "--records", "d.h5", "--records", str(source), "--game", "go5"], "alone"),
    ):
        capsys.readouterr()
        assert cli.run(words) == 2, words
        error = capsys.readouterr().err.splitlines()
        assert told in error[-1], words
        assert "Traceback" not in "".join(error)
    assert [p for p in sorted(Path().iterdir()) if p.name != "runs"] == before
