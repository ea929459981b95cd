"""Importing records that are damaged or made to be a burden: bounded memory, nothing lost uncounted."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
from importing import GO9, PASS, distinct_games, sgf_of
from test_select import tar_of

from ghostgo.data import sgf
from ghostgo.data.players import player_key
from ghostgo.warmstart.reading import understand
from ghostgo.warmstart.select import import_records


def of_moves(points: bytes) -> bytes:
    """A record on 9x9 of moves at these points, two letters each, `..` for a pass."""
    pairs = [points[i : i + 2].replace(b"..", b"") for i in range(0, len(points), 2)]
    nodes = (b";%s[%s]" % (b"BW"[i % 2 : i % 2 + 1], point) for i, point in enumerate(pairs))
    return b"(;SZ[9]" + b"".join(nodes) + b")"


@pytest.mark.parametrize(
    ("content", "reason", "band"),
    [
        (of_moves(b"aa..ba..cada" * 5000), "illegal move", "5"),
        (of_moves(b"aa...." + b"ba" * 30_000), "play after two passes", "0"),
        (of_moves(b"aa" + b".." * 30_000), "kept", None),
    ],
)
def test_records_of_very_many_moves_wait_short(
    content: bytes, reason: str, band: str | None, tmp_path: Path
) -> None:
    (written,) = sgf.parse_games(content)
    assert len(written.points) >= 30_000
    assert len(understand(written, GO9, 1, "a", "a").moves) <= GO9.max_moves + 1
    (tmp_path / "a.sgf").write_bytes(content)
    (tmp_path / "b.sgf").write_bytes(sgf_of([40, 41]))
    table, report = import_records(tmp_path)
    assert report.files["a.sgf"] == {reason: 1}
    assert report.dropped_at == ({reason: {band: 1}} if band else {})
    if reason == "kept":
        assert table.moves_of(0).tolist() == [0, PASS, PASS]


def test_long_values_are_not_remembered(tmp_path: Path) -> None:
    contents = []
    for i, moves in enumerate(distinct_games(30)):
        long = b"%d" % i + b"x" * 50_000
        values = b"".join(name + b"[" + long + b"]" for name in (b"PB", b"PW", b"BR", b"WR", b"DT"))
        values += b"RE[B+%s]RU[Chinese %s]%s[1]" % (long, long, b"a" * 50_000 + long)
        contents.append(sgf_of(moves, result="", rules="").replace(b"KM", values + b"KM", 1))
        # Refused by the size, the komi.
        contents.append(b"(;SZ[" + long + b"];B[aa])")
        contents.append(b"(;SZ[9]KM[" + long + b"];B[aa])")
    (tmp_path / "good.sgf").write_bytes(sgf_of([40, 41]))
    import_records(tmp_path)
    (tmp_path / "long.sgfs").write_bytes(b"\n".join(c.replace(b"\n", b"") for c in contents))
    tracemalloc.start()
    try:
        table, report = import_records(tmp_path)
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert left < 2e6, "what 30 games take, not the 15 MB of their values"
    wanted = {"kept": 30, "wrong board size": 30, "komi makes no sense": 30}
    assert report.files["long.sgfs"] == wanted
    assert report.endings == {"unstated": 30, "resign": 1} and report.counting["area"] == 30
    assert table.players is not None
    assert len(set(table.players[1:, 0].tolist())) == 30, "the names differ where they begin"
    assert table.players[1, 0] == player_key("0" + "x" * 999)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_with_a_damaged_header_is_counted(mode: str, tmp_path: Path) -> None:
    members = {f"{i}.sgf": sgf_of(moves) for i, moves in enumerate(distinct_games(100))}
    whole = bytearray(tar_of(tmp_path / "a.tar", members, "w").read_bytes())
    third = whole.index(b"2.sgf\0")
    for damaged in (whole[:third], whole[: whole.rindex(b"99.sgf") + 512 * 4], whole):
        # It ends between two members, after all of them, or with zeros.
        (tmp_path / "a.tar").write_bytes(damaged)
        assert not import_records(tmp_path / "a.tar")[1].dropped
    whole[third + 148] ^= 1  # its checksum
    name = "a.tar" if mode == "w" else "a.tgz"
    (tmp_path / name).write_bytes(gzip.compress(whole) if mode == "w:gz" else whole)
    _, report = import_records(tmp_path / name)
    assert report.files == {name: {"kept": 2, "damaged archive": 1}}


def test_games_on_several_lines_make_up_no_others_in_sgfs(tmp_path: Path) -> None:
    content = b"(;GM[1]SZ[9]\n;SZ[9];B[aa];W[bb]\n ;B[cc])\n" + sgf_of([40, 41]).replace(b"\n", b"")
    (tmp_path / "a.sgfs").write_bytes(content)
    assert import_records(tmp_path)[1].files == {"a.sgfs": {"kept": 1, "no moves": 1, "not SGF": 2}}
    # A whole file that lost its first bracket is a game.
    (tmp_path / "a.sgf").write_bytes(b"\n;SZ[9];B[aa];W[bb]\n ;B[cc])")
    assert import_records(tmp_path)[1].files["a.sgf"] == {"kept": 1}


def test_stones_set_up_again_and_again_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    points = sgf._point_list

    def counted(value: bytes, rows: int, cols: int) -> list[int]:
        read.append(value)
        return points(value, rows, cols)

    monkeypatch.setattr(sgf, "_point_list", counted)
    (game,) = sgf.parse_games(b"(;SZ[9]AB" + b"[aa:ii]" * 10_000 + b"[bb]AE[aa];W[bb])")
    assert len(game.stones(9, 9)) == 80 and len(read) == 3
