"""Imported records: which are the same game, the split, players, and the report."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from importing import GO9, PASS, distinct_games, import_text, line_of, sgf_of
from test_records import make_table

from ghostgo.data.players import frequencies, player_key, within_share
from ghostgo.data.records import concat
from ghostgo.data.split import game_hashes
from ghostgo.engine.errors import UserError
from ghostgo.warmstart.report import ImportReport, rank_name
from ghostgo.warmstart.select import import_records, split_by_hash

# Sameness and the split


def images(moves: Sequence[int]) -> list[list[int]]:
    return [[int(row[m]) for m in moves] for row in GO9.action_symmetries]


def test_symmetric_images_are_one_game(tmp_path: Path) -> None:
    first, second = distinct_games(2)
    contents = [sgf_of(image) for moves in (first, second) for image in images(moves)]
    random.Random(1).shuffle(contents)
    contents.append(sgf_of(first[:-1]))  # a beginning is another game
    contents.append(sgf_of([*first, PASS]))  # passes at the end are no other game
    contents.append(sgf_of([first[0], PASS, *first[1:]]))  # those within it are
    contents.append(sgf_of([first[1], first[0], *first[2:]]))  # so is another order
    table = import_text(tmp_path, *contents)
    assert len(table) == 5, "two games, a beginning, another order and a pass within"


def test_set_up_stones_and_first_player_tell_games_apart(tmp_path: Path) -> None:
    table = import_text(
        tmp_path,
        sgf_of([40, 41]),
        sgf_of([40, 41], first_to_play=1),
        sgf_of([40, 41], first_to_play=1, setup={0: 1}),
        sgf_of([40, 49], first_to_play=1, setup={8: 1}),  # an image of the one before
        sgf_of([40, 41], first_to_play=1, setup={0: 1, 8: 1}),
        sgf_of([40, 41], first_to_play=1, setup={0: 1, 1: 1}),
    )
    assert len(table) == 5


def test_hashes_are_the_same_in_every_run(tmp_path: Path) -> None:
    """Golden values: a change moves games between training and held-out sets of old runs."""
    table = import_text(
        tmp_path, sgf_of([40, 41, 50]), sgf_of([0, 1], first_to_play=1, setup={20: 1, 60: 1})
    )
    assert [f"{value:016x}" for value in game_hashes(table).tolist()] == GOLDEN_HASHES


GOLDEN_HASHES = ["e28d5edfc80912a2", "2cc3ee48602fea14"]


def test_copies_without_the_last_passes_are_one_game_on_one_side(tmp_path: Path) -> None:
    games = distinct_games(40)
    table = import_text(tmp_path, *(sgf_of(moves) for moves in games))
    (tmp_path / "passes").mkdir()
    passed = import_text(tmp_path / "passes", *(sgf_of([*moves, PASS, PASS]) for moves in games))
    assert (game_hashes(table) == game_hashes(passed)).all()
    assert [len(p.select(split_by_hash(p, 0.5)[1])) for p in (table, passed)].count(0) == 0
    assert (split_by_hash(table, 0.5)[1] == split_by_hash(passed, 0.5)[1]).all()
    # By version 1, which old runs were split by, they were others.
    assert (game_hashes(table, 1) == game_hashes(table)).all()
    assert not (game_hashes(passed, 1) == game_hashes(passed)).any()
    joined = concat([table.select([3]), passed.select([0, 3]), table.select([3])])
    assert len(set(game_hashes(joined).tolist())) == 2


def test_the_copy_that_tells_more_is_kept_whatever_the_order(tmp_path: Path) -> None:
    moves = distinct_games(3)[2]
    bare = b"(;SZ[9]" + sgf_of(moves, result="").partition(b"]KM[5.5]")[2].partition(b"]")[2]
    told = sgf_of(images(moves)[3], result="W+R", black="a", white="b")
    names = {"bare": bare, "komi": bare.replace(b"]", b"]KM[5.5]", 1), "told": told}
    other = line_of(distinct_games(1)[0])
    for words in ("bare komi told", "told komi bare", "komi told bare"):
        order = words.split()
        paths = [tmp_path / f"{name}.sgfs" for name in order]
        for name, path in zip(order, paths, strict=True):
            path.write_bytes(names[name].replace(b"\n", b" ") + b"\n" + other)
        table, report = import_records(paths)
        table.validate()
        assert len(table) == 2 and report.dropped == {"duplicate": 4} and report.read == 6
        row = table.results.tolist().index(-1)
        assert table.rules_of(row)["komi"] == 5.5 and table.moves_of(row).tolist() in images(moves)
        assert table.players is not None and table.players[row].all()
        assert report.sets["told.sgfs"]["kept"] == 1 + (order[0] == "told")
    # Of copies that tell as much, the first; and only new games count towards the limit.
    again = tmp_path / "again.sgfs"
    again.write_bytes(told.replace(b"\n", b" ").replace(b"PB[a]", b"PB[c]"))
    for paths in ([tmp_path / "told.sgfs", again], [again, tmp_path / "told.sgfs"]):
        assert import_records(paths)[1].sets[paths[0].name]["kept"] == 1 + (paths[0] != again)
    (tmp_path / "new.sgfs").write_bytes(line_of(distinct_games(2)[1]))
    paths = [tmp_path / f"{name}.sgfs" for name in ("bare", "told", "new")]
    table, report = import_records(paths, limit=3)
    assert report.kept == len(table) == 3


def test_games_of_passes_alone_are_one_game() -> None:
    table = make_table(1, 9)
    table.first_to_play[:] = 0
    table.moves[: table.offsets[5]] = 25
    hashes = game_hashes(table).tolist()
    assert len(set(hashes[:5])) == 1 and hashes[0] not in hashes[5:]


def test_the_split_is_by_game_whatever_the_table(tmp_path: Path) -> None:
    games = distinct_games(3000, seed=3)
    (tmp_path / "a.sgfs").write_bytes(b"".join(line_of(moves) for moves in games))
    turned = [random.Random(i).choice(images(moves)) for i, moves in enumerate(games)]
    (tmp_path / "b.sgfs").write_bytes(b"".join(line_of(m) for m in reversed(turned)))
    a, b = (import_records(tmp_path / name)[0] for name in ("a.sgfs", "b.sgfs"))
    train, held = split_by_hash(a)
    assert sorted([*train, *held]) == list(range(3000))
    assert abs(len(held) - 300) < 5 * math.sqrt(3000 * 0.1 * 0.9)
    assert sorted(2999 - split_by_hash(b)[1]) == held.tolist()
    more = split_by_hash(a, 0.3)[1]
    assert set(held) < set(more) and abs(len(more) - 900) < 5 * math.sqrt(3000 * 0.3 * 0.7)
    assert [len(part) for part in split_by_hash(a, 0.0)] == [3000, 0]
    assert [len(part) for part in split_by_hash(a, 1.0)] == [0, 3000]
    with pytest.raises(UserError, match="held-out share"):
        split_by_hash(a, 1.5)


# Who played, and when


def of_players(*names: tuple[str, str]) -> list[bytes]:
    """A game of one line for each pair of names, all games different."""
    moves = distinct_games(len(names), seed=9)
    return [
        sgf_of(game, black=black, white=white).replace(b"\n", b" ")
        for game, (black, white) in zip(moves, names, strict=True)
    ]


def test_players_and_years(tmp_path: Path) -> None:
    table = import_text(
        tmp_path,
        b"(;SZ[9]PB[Lee  Chang]PW[\xe6\x9f\xaf\xe6\xb4\x81]DT[2016-03-09];B[aa])",
        b"(;SZ[9]PB[ lee chang ]PW[?]DT[about 1933,12];B[ba])",
        b"(;SZ[9]PW[LEE CHANG]DT[yesterday];B[ca])",
    )
    assert table.players is not None and table.years is not None
    lee, ke = table.players[0].tolist()
    assert table.players.tolist() == [[lee, ke], [lee, 0], [0, lee]] and len({lee, ke, 0}) == 3
    assert lee == player_key("Lee Chang") == 0xA6125AA26627D371, "the same in every run"
    for nobody in ("", "?", "???", "\ufffd\ufffd \ufffd", "- -"):
        assert player_key(nobody) == 0, "different people, not one player"
    assert 0 not in {player_key(name) for name in ("7", "\u674e", "\u30a2", "x\ufffd")}
    assert table.years.tolist() == [2016, 1933, 0]
    report = ImportReport("go9", kept=3)
    report.summarise(table)
    assert (report.players, report.player_shares) == (2, [1.0, 1 / 3])
    assert report.years == {2016: 1, 1933: 1, 0: 1} and report.counting == {"unknown": 3}


def test_a_players_games_are_capped_in_whatever_order_they_come(tmp_path: Path) -> None:
    names = [("bot", f"p{i}") for i in range(30)] + [(f"q{i}", "BOT") for i in range(10)]
    lines = of_players(*names, *((f"r{i}", f"s{i % 7}") for i in range(20)), *[("", "")] * 5)
    tables = []
    for number in range(2):
        (tmp_path / f"{number}.sgfs").write_bytes(b"\n".join(lines))
        table, report = import_records(tmp_path / f"{number}.sgfs", most_of_player=0.25)
        assert table.players is not None and len(table) == report.kept
        shares = frequencies(table.players)[1]
        assert shares == report.player_shares and max(shares) <= 0.25
        assert report.shares_before[0] == 40 / 65
        # As many as fit: 25 games without that player, and a third as many with them.
        assert report.dropped == {"player too frequent": 65 - 33} and len(table) == 33
        assert report.files == {f"{number}.sgfs": {"kept": 33, "player too frequent": 32}}
        assert report.winners == {"Black": 33}
        assert "before    the most frequent were in 61.5" in "\n".join(report.lines())
        tables.append({bytes(game.moves.data) for game in (table.select([i]) for i in range(33))})
        random.Random(3).shuffle(lines)
    assert tables[0] == tables[1]
    every, report = import_records(tmp_path / "0.sgfs")
    assert every.players is not None and len(every) == 65 and not report.shares_before
    assert within_share(every.players[:1], game_hashes(every)[:1], 0.01).all(), "one is left"
    for share in (0.0, 1.5):
        with pytest.raises(UserError, match="share of a player"):
            import_records(tmp_path / "0.sgfs", most_of_player=share)


def test_capped_games_are_spread_over_both_sides_of_the_split(tmp_path: Path) -> None:
    names = [("bot", f"p{i}") for i in range(400)] + [(f"r{i}", f"s{i}") for i in range(400)]
    (tmp_path / "a.sgfs").write_bytes(b"\n".join(of_players(*names)))
    table, _ = import_records(tmp_path / "a.sgfs", most_of_player=0.2)
    assert table.players is not None and len(table) == 500
    train, held = split_by_hash(table, 0.3)
    assert abs(len(held) - 150) < 5 * math.sqrt(500 * 0.3 * 0.7)
    bot = (table.players == player_key("bot")).any(axis=1)
    first = np.argsort(game_hashes(table))[:100]  # as a subset is taken
    for side in (train, held, first):
        assert abs(bot[side].mean() - 0.2) < 5 * math.sqrt(0.2 * 0.8 / len(side))


# The report


def test_a_stored_report_tells_a_hundred_files_apart() -> None:
    report = ImportReport("go9")
    for i in range(150):
        for _ in range(1 + (i == 149)):
            report.drop(f"{i}.sgf", "not SGF", of=f"{i}")
    stored = report.as_dict()
    for name in ("files", "sets"):
        assert len(stored[name]) == 100 and stored[name]["all others"] == {"not SGF": 51}
    assert stored["files"]["149.sgf"] == {"not SGF": 2}
    assert "all others" not in ImportReport("go9", files={"a": Counter(kept=1)}).as_dict()["files"]


def test_the_report_counts_and_reads_well(tmp_path: Path) -> None:
    (tmp_path / "a.sgfs").write_bytes(
        b"(;SZ[9]KM[6.5]RE[B+3.5]BR[5k]WR[2d]RU[Japanese];B[aa];W[bb];B[cc])\n"
        b"(;SZ[9]KM[6.5]RE[W+R]BR[25k]WR[?]RU[Ja\x1b[2J];B[ba];W[bb])\n"
        b"(;SZ[19];B[aa])\n"
    )
    (tmp_path / "b.sgf").write_bytes(b"(;SZ[9]AB[aa]RE[W+T];W[ca])")
    _, report = import_records(tmp_path)
    assert (report.read, report.kept, report.setups) == (4, 3, 1)
    assert report.files == {"a.sgfs": {"kept": 2, "wrong board size": 1}, "b.sgf": {"kept": 1}}
    assert report.winners == {"Black": 1, "White": 2}
    assert report.endings == {"score": 1, "resign": 1, "time": 1}
    assert report.komi == {"6.5": 2, "unknown": 1}
    assert report.rules == {"Japanese": 1, "Ja?[2J": 1, "not stated": 1}
    assert report.lengths == {"min": 1, "median": 2, "max": 3, "total": 6}
    assert report.as_dict()["ranks"] == {"?": 3, "25k": 1, "5k": 1, "2d": 1}
    text = "\n".join(report.lines())
    assert "go9: 3 games kept of 4 read" in text and "wrong board size 1" in text
    assert "10k to 1k 1, 30k to 21k 1, unknown 3" in text and "\x1b" not in text
    assert ImportReport("go9").lines() == ["go9: 0 games kept of 0 read"]


def test_rank_names() -> None:
    assert [rank_name(code) for code in (0, 1, 30, 31, 39)] == ["?", "30k", "1k", "1d", "9d"]
