"""Importing human records: where they lie, what is refused and why."""

from __future__ import annotations

import io
import math
import random
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import GO9, PASS, distinct_games, import_text, line_of, refusal, sgf_of
from reference import ReferenceGo
from sizes import sized
from test_records import rows

from ghostgo.data.sgf_writer import write_game
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.warmstart.report import move_band
from ghostgo.warmstart.select import import_records

# Where records lie


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tar_of(path: Path, members: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_files_folders_and_archives_hold_the_same_games(tmp_path: Path) -> None:
    games = distinct_games(7)
    files = {f"deep/er/{i}.SGF": sgf_of(moves) for i, moves in enumerate(games)}
    lines = b"".join(line_of(moves) for moves in games)
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "folder" / "README.md").write_text("not a game")
    (tmp_path / "games.sgfs").write_bytes(b"\n" + lines + b"\n")
    (tmp_path / "collection.sgf").write_bytes(lines)
    inner = zip_of(tmp_path / "inner.zip", files).read_bytes()
    tar_of(tmp_path / "disguised", files, "w:gz")
    paths = [
        tmp_path / "folder",
        tmp_path / "games.sgfs",
        tmp_path / "collection.sgf",
        zip_of(tmp_path / "a.zip", {**files, "x.txt": b"no"}),
        zip_of(tmp_path / "b.zip", {"games.sgfs": lines}),
        zip_of(tmp_path / "c.zip", {"inner.zip": inner}),
        tar_of(tmp_path / "a.tar", files, "w"),
        tar_of(tmp_path / "b.tgz", {"games.sgfs": lines, "y": b""}, "w:gz"),
        tar_of(tmp_path / "c.tar.xz", {"inner.zip": inner}, "w:xz"),
        tmp_path / "disguised",
    ]
    tables = [import_records(path)[0] for path in paths]
    for path, table in zip(paths, tables, strict=True):
        table.validate()
        assert rows(table) == rows(tables[0]), path
        assert [table.moves_of(i).tolist() for i in range(len(table))] == games
        assert table.sources == [path.name]
    together, report = import_records(paths)
    assert rows(together) == rows(tables[0])
    assert report.dropped == {"duplicate": 7 * (len(paths) - 1)}


def test_what_holds_no_game_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: no such file or folder"):
        import_records(tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="empty holds no go9 game: no SGF file in it"):
        import_records(empty)
    for i in range(3):
        (empty / f"{i}.sgf").write_bytes(b"(;SZ[19];B[aa])")
    (empty / "page.sgf").write_bytes(b"<html>(500)</html>")
    with pytest.raises(UserError) as caught:
        import_records(empty)
    assert str(caught.value).endswith(
        "empty holds no go9 game: 4 records read, 4 dropped: wrong board size 3, not SGF 1"
    )
    with pytest.raises(UserError, match=r"empty, .*empty hold no go9 game: 8 records read, 8 drop"):
        import_records([empty, empty])
    good = tmp_path / "good.sgf"
    good.write_bytes(sgf_of([1, 2, 3]))
    with pytest.raises(UserError, match="tic_tac_toe"):
        import_records(good, "tic_tac_toe")
    with pytest.raises(UserError, match="no records given"):
        import_records([])


def test_a_path_without_a_game_does_not_cost_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.sgf").write_bytes(sgf_of([1, 2, 3]))
    (tmp_path / "large").mkdir()
    for i in range(2):
        (tmp_path / "large" / f"{i}.sgf").write_bytes(b"(;SZ[19];B[aa])")
    (tmp_path / "README.md").write_text("not a game")
    (tmp_path / "none").mkdir()
    names = ["README.md", "good.sgf", "large", "none"]
    table, report = import_records([tmp_path / name for name in names])
    assert len(table) == 1 and table.sources == names
    assert report.useless == {
        "README.md": "1 record read, 1 dropped: not SGF 1",
        "large": "2 records read, 2 dropped: wrong board size 2",
        "none": "no SGF file in it",
    }
    wanted = {
        "README.md": {"not SGF": 1},
        "good.sgf": {"kept": 1},
        "large": {"wrong board size": 2},
    }
    assert report.sets == wanted
    told = report.lines()
    assert "no use    none: no SGF file in it" in told and "large: wrong board size 2" in told
    missing = [tmp_path / "good.sgf", tmp_path / "missing"]
    with pytest.raises(UserError, match="missing: no such file or folder"):
        import_records(missing, progress=lambda *_: pytest.fail("it began to read"))


def test_progress_is_told_of_games_that_are_not_understood(tmp_path: Path) -> None:
    (tmp_path / "a.sgfs").write_bytes(b"(;SZ[19];B[aa])\n" * 3500 + sgf_of([1]).replace(b"\n", b""))
    calls: list[int] = []
    import_records(tmp_path / "a.sgfs", progress=lambda games, _: calls.append(games))
    assert calls == [1000, 2000, 3000, 3501]
    # As are those of one large file.
    (tmp_path / "b.sgf").write_bytes((tmp_path / "a.sgfs").read_bytes())
    import_records(tmp_path / "b.sgf", progress=lambda games, _: calls.append(games))
    assert calls[4:] == calls[:4]


def test_damaged_archives_are_counted(tmp_path: Path) -> None:
    members = {f"{i}.sgf": sgf_of(moves) for i, moves in enumerate(distinct_games(40))}
    whole = zip_of(tmp_path / "whole.zip", members).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.zip holds no go9 game: .* damaged archive 1"):
        import_records(tmp_path / "cut.zip")
    start = whole.index(b"7.sgf") + 5  # the seventh member's packed bytes
    (tmp_path / "bad.zip").write_bytes(whole[:start] + bytes(20) + whole[start + 20 :])
    _, report = import_records(tmp_path / "bad.zip")
    assert (report.kept, report.dropped) == (39, {"damaged archive": 1})
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    squeezed = (tmp_path / "lzma.zip").read_bytes()
    start = squeezed.index(b"7.sgf") + 5
    (tmp_path / "lzma.zip").write_bytes(squeezed[:start] + b"\xff" * 20 + squeezed[start + 20 :])
    _, report = import_records(tmp_path / "lzma.zip")
    assert (report.kept, report.dropped) == (39, {"damaged archive": 1})
    packed = tar_of(tmp_path / "whole.tgz", members, "w:gz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(packed[: len(packed) * 3 // 4])
    _, report = import_records(tmp_path / "cut.tgz")
    assert 0 < report.kept < 40 and report.dropped == {"damaged archive": 1}


def test_a_damaged_line_costs_one_game(tmp_path: Path) -> None:
    lines = [line_of(moves) for moves in distinct_games(9)]
    lines[3] = lines[3][:60] + b"[[[\n"
    lines[5] = b"(;\xff\xfe garbage\n"
    (tmp_path / "a.sgfs").write_bytes(b"".join(lines))
    table, report = import_records(tmp_path / "a.sgfs")
    assert (len(table), report.read, sum(report.dropped.values())) == (7, 9, 2)


def test_limit_progress_and_least_moves(tmp_path: Path) -> None:
    games = distinct_games(2500)
    (tmp_path / "a.sgfs").write_bytes(b"".join(line_of(moves) for moves in games))
    calls: list[tuple[int, float]] = []
    table, _ = import_records(
        tmp_path / "a.sgfs", progress=lambda n, share: calls.append((n, share))
    )
    assert len(table) == 2500
    assert calls == sorted(calls) and calls[-1] == (2500, 1.0) and len(calls) >= 3
    some, report = import_records(tmp_path / "a.sgfs", limit=1234)
    assert rows(some) == rows(table.select(range(1234))) and report.kept == 1234
    long, report = import_records(tmp_path / "a.sgfs", min_moves=15)
    wanted = [moves for moves in games if len(moves) >= 15]
    assert [long.moves_of(i).tolist() for i in range(len(long))] == wanted
    assert report.dropped == {"too few moves": 2500 - len(wanted)}
    with pytest.raises(UserError, match="limit 0"):
        import_records(tmp_path / "a.sgfs", limit=0)


# What is kept and what is refused


def test_columns_of_a_game(tmp_path: Path) -> None:
    table = import_text(
        tmp_path,
        b"(;SZ[9]KM[6.5]RE[B+3.5]BR[5k]WR[2d]RU[Japanese];B[aa];W[];B[ii])",
        b"(;SZ[9]KM[]RE[W+R]BR[9p]WR[1900];B[ba])",
        b"(;SZ[9]KM[7]RE[Void];B[ca])",
        b"(;SZ[9]KM[7]RE[0]RU[Chinese];B[da])",
        b"(;SZ[9]KM[5.5]RE[W+12];B[bb])",  # no count with komi 5.5 ends in a whole number
        b"(;SZ[9]KM[0.5]HA[2]AB[cc][gg]RE[W+T];W[ee];B[ef])",
    )
    table.validate()
    assert [table.moves_of(i).tolist() for i in range(3)] == [[0, PASS, 80], [1], [2]]
    unknown = math.nan
    np.testing.assert_equal(table.results.tolist(), [1, -1, unknown, 0, -1, -1])
    np.testing.assert_equal(table.scores.tolist(), [3.5, unknown, unknown, 0, unknown, unknown])
    assert table.ranks.tolist()[:2] == [[26, 32], [39, 0]]
    assert [table.rules_of(i) for i in range(6)] == [
        {"komi": 6.5, "ko": "simple"},
        {"ko": "simple"},
        {"komi": 7.0, "ko": "simple"},
        {"komi": 7.0, "ko": "simple"},
        {"komi": 5.5, "ko": "simple"},
        {"komi": 0.5, "ko": "simple"},
    ]
    assert table.first_to_play.tolist() == [0, 0, 0, 0, 0, 1]
    assert table.counting is not None and table.counting.tolist() == [2, 0, 0, 1, 0, 0]
    assert table.setups is not None and np.argwhere(table.setups).tolist() == [[5, 20], [5, 60]]
    assert (table.weights == 1).all()
    for rules in table.rules_table:
        GO9.new_states(1, rules)  # the game takes them


_BLACK_FENCE = b"AB[ba][ab]"  # aa is then suicide for White

REFUSALS = [
    (b"<html>Server Error (500)</html>", "not SGF"),
    (b"\0" * 100, "not SGF"),
    (b"", "not SGF"),
    (b"(;GM[2]SZ[9];B[aa])", "not Go"),
    (b"(;SZ[13];B[aa])", "wrong board size"),
    (b"(;B[aa])", "wrong board size"),  # the standard's default is 19
    (b"(;SZ[9:7];B[aa])", "wrong board size"),
    (b"(;SZ[nine];B[aa])", "wrong board size"),
    (b"(;SZ[9]PB[x])", "no moves"),
    (b"(;SZ[9];B[];W[])", "too few moves"),
    (b"(;SZ[9]KM[six];B[aa])", "komi makes no sense"),
    (b"(;SZ[9]KM[1000000];B[aa])", "komi makes no sense"),
    (b"(;AP[ghostgo]SZ[9]KM[3.75];B[aa])", "komi makes no sense"),  # ours: not pairs of points
    (b"(;AP[ghostgo]SZ[9]KM[60.5];B[aa])", "komi makes no sense"),
    (b"(;SZ[9];B[aa];AB[bb];W[cc])", "stones set up during the game"),
    (b"(;SZ[9]AB[aa]AW[bb];W[cc])", "white stones set up"),
    (b"(;SZ[9]HA[3];W[cc];B[dd])", "handicap without its stones"),
    (b"(;SZ[9];W[cc];B[dd])", "White first without handicap"),
    (b"(;SZ[9];B[cc];B[dd])", "same colour twice"),
    (b"(;SZ[9];B[cc];W[dd];W[ee];B[ff])", "same colour twice"),
    (b"(;SZ[9];B[cc];W[jj])", "move off the board"),
    (b"(;SZ[9]AB[zz];W[cc])", "move off the board"),
    (b"(;SZ[9];B[cc];W[cc])", "illegal move"),
    (b"(;SZ[9]" + _BLACK_FENCE + b";W[aa])", "illegal move"),
    (b"(;SZ[9];B[cc];W[];B[];W[dd])", "play after two passes"),
    (b"(;SZ[9]AB[aa:ii]AE[];W[cc])", "move off the board"),
    (b"(;SZ[9]AB[aa:ii];W[cc])", "set-up stones without liberties"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSALS)
def test_each_refusal_is_counted_by_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    assert refusal(tmp_path, content) == reason


def test_refusals_are_counted_by_the_move_at_fault(tmp_path: Path) -> None:
    long = b"".join(
        b";%s[%c%c]" % (b"BW"[i % 2 : i % 2 + 1], 97 + i % 9, 97 + i // 9) for i in range(12)
    )
    contents = [
        b"(;SZ[9];B[cc];W[cc])",
        b"(;SZ[9]" + long + b";B[aa])",
        b"(;SZ[9]" + long + b";W[ii])",
        b"(;SZ[9];B[cc];B[dd];B[zz])",  # the reader meets the point off the board first
        b"(;SZ[9];B[cc];W[];B[];W[dd])",
        b"(;SZ[9];W[cc];B[dd])",
        b"(;SZ[19];B[aa])",
        b"(;B[aa])",
        b"(;SZ[9:7];B[aa])",
        b"(;SZ[nine];B[aa])",
        sgf_of([40, 41]),
    ]
    (tmp_path / "a.sgfs").write_bytes(b"\n".join(c.replace(b"\n", b"") for c in contents))
    _, report = import_records(tmp_path / "a.sgfs")
    wanted = {
        "illegal move": {"0": 1, "10": 1},
        "same colour twice": {"10": 1},
        "move off the board": {"0": 1},
        "play after two passes": {"0": 1},
        "White first without handicap": {"0": 1},
    }
    assert report.dropped_at == wanted and report.as_dict()["dropped_at"] == wanted
    assert "at move   illegal move: 0+ 1, 10+ 1" in report.lines()
    sizes = {"19x19": 2, "9x7": 1, "unreadable": 1}
    assert report.wrong_sizes == report.as_dict()["wrong_sizes"] == sizes
    assert "sizes     of the wrong ones: 19x19 2, 9x7 1, unreadable 1" in report.lines()
    for n in range(200):
        report.drop("x", "wrong board size", size=f"{n}x1")
    assert len(report.wrong_sizes) <= 101 and report.wrong_sizes.total() == 204
    assert [move_band(ply) for ply in (0, 4, 5, 199, 200, 721)] == [
        "0",
        "0",
        "5",
        "120",
        "200",
        "200",
    ]


_SYNTAX = st.text("()[];\\BWABSZHKMREae9 \n", max_size=80).map(str.encode)


@given(st.binary(max_size=80) | _SYNTAX, _SYNTAX, st.sampled_from(("a.sgf", "a.sgfs", "a.zip")))
@settings(max_examples=sized(60, 15), deadline=None)
def test_no_bytes_upset_the_import(head: bytes, tail: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "good.sgf").write_bytes(sgf_of([1, 2]))
        Path(place, name).write_bytes(head + b"(;SZ[9];B[aa]" + tail)
        table, report = import_records(place)
    table.validate()
    assert len(table) == report.kept >= 1
    assert report.read == report.kept + report.dropped.total() >= 2


def test_a_game_longer_than_our_rules_allow(tmp_path: Path) -> None:
    # Black and White take each other's corners without end.
    board = get_game("go2")
    naive, rng = ReferenceGo(2, 2, ko="simple"), random.Random(2)
    moves: list[int] = []
    while len(moves) <= board.max_moves:
        action = rng.choice(naive.legal_actions()[:-1] or [4])
        naive.play(action)
        moves.append(action)
    assert not naive.done
    (tmp_path / "long.sgf").write_text(write_game(board, moves, komi=0.5))
    (tmp_path / "short.sgf").write_text(write_game(board, moves[:-1], komi=0.5))
    table, report = import_records(tmp_path, "go2")
    assert report.files == {"long.sgf": {"too many moves": 1}, "short.sgf": {"kept": 1}}
    assert len(table.moves) == board.max_moves


def test_handled_oddities(tmp_path: Path) -> None:
    table = import_text(
        tmp_path,
        b"(;SZ[9];B[aa];W[];B[];W[];B[])",  # passes beyond the second
        b"(;SZ[9]PL[W];W[ba];B[bb])",  # White first, and the file says so
        b"(;SZ[9]AB[aa];W[ca];B[cb])",  # handicap stones without HA
        b"(;SZ[9];B[da](;W[tt](;B[db]))(;W[dc]))",
        b"(;SZ[9]KM[0]HA[0]TC[3]TT[30];B[ea])",  # Fox: 0 is "not recorded"
        b"(;SZ[9]KM[0]HA[0];B[fa])",
    )
    assert [table.moves_of(i).tolist() for i in range(4)] == [
        [0, PASS, PASS],
        [1, 10],
        [2, 11],
        [3, PASS, 12],
    ]
    assert table.first_to_play.tolist() == [0, 1, 1, 0, 0, 0]
    assert ["komi" in table.rules_of(i) for i in (4, 5)] == [False, True]


def test_legality_agrees_with_the_reference(tmp_path: Path) -> None:
    """Random play on a small board, where captures, kos and suicides abound."""
    rng = random.Random(5)
    board = get_game("go3")
    legal_games, contents = [], []
    for _ in range(400):
        naive, moves, legal = ReferenceGo(3, 3, ko="simple"), [], True
        for _ in range(rng.randrange(6, 20)):
            if naive.done:
                break
            action = rng.randrange(10)
            if rng.random() < 0.97:
                action = rng.choice(naive.legal_actions())
            moves.append(action)
            if not naive.is_legal(action):
                legal = False
                break
            naive.play(action)
        if len(moves) > moves.count(9):
            contents.append(write_game(board, moves, komi=0.5).encode())
            legal_games.append(legal)
    lines = b"".join(text.replace(b"\n", b" ") + b"\n" for text in contents)
    (tmp_path / "a.sgfs").write_bytes(lines)
    _, report = import_records(tmp_path / "a.sgfs", "go3")
    assert report.dropped["illegal move"] == legal_games.count(False) > 20
    assert report.kept + report.dropped["duplicate"] == legal_games.count(True) > 100
