"""Games on disk: kept after every move, and gone on with from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from ghostgo import cli, saved, terminal
from ghostgo.bot import PLAY
from ghostgo.duel import Duel, Opponent
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.gtp import Engine
from ghostgo.opponents import make_bot
from ghostgo.saved import Keeper, newest_unfinished, read_saved, record
from ghostgo.session import Session


def game_of(name: str, moves: str, human: int = 0) -> Duel:
    """A game against a random bot, as far as the moves named."""
    bot = make_bot("random", name, None, 1, Path("runs"))
    session = Session(bot.game)
    for move in moves.split():
        session.play(session.game.parse_action(move))
    return Duel(session, bot, human)


def on_disk(folder: Path, duel: Duel) -> Path:
    ending, text = record(duel, datetime(2026, 5, 4))
    path = folder / f"game{len(list(folder.iterdir()))}{ending}"
    path.write_text(text)
    return path


def play(typed: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> int:
    lines: Iterator[str] = iter(typed)
    monkeypatch.setattr(terminal, "_read", lambda prompt: next(lines))
    return cli.run(["play", "random", "--plain", "--seed", "1", "--save", str(folder), *options])


@pytest.mark.parametrize("human", [0, 1])
@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("go5", "C3 D3 pass B2"),
        ("go7x5", "A1 E5"),
        ("connect_four", "4 4 3"),
        ("othello", "D6 C4"),
        ("hex5", "C3 B2 A1"),
        ("tic_tac_toe", ""),
    ],
)
def test_what_is_written_is_read(name: str, moves: str, human: int, tmp_path: Path) -> None:
    duel = game_of(name, moves, human)
    found = read_saved(on_disk(tmp_path, duel))
    assert (found.game, found.human, found.result) == (name, human, "")
    again = found.session(duel.session.game)
    assert again.moves == duel.session.moves
    assert (again.states == duel.session.states).all()


def test_handicap_and_komi_are_kept(tmp_path: Path) -> None:
    duel = game_of("go9", "")
    duel.session.set_komi(-3.5)
    duel.session.place_handicap([16, 32])
    duel.session.play(20)
    found = read_saved(on_disk(tmp_path, duel))
    assert (found.setup, found.first_to_play, found.rules) == ({16: 1, 32: 1}, 1, {"komi": -3.5})
    assert (found.session(duel.session.game).states == duel.session.states).all()


@pytest.mark.parametrize(
    ("root", "first"),
    [
        ("HA[2]AB[gc][cg]", 1),
        ("AB[gc]", 1),
        ("HA[2]AB[gc][cg]AW[aa]", 1),
        ("AB[gc]AW[aa]", 0),
        ("HA[2]AB[gc][cg]PL[B]", 0),
        ("HA[2]AB[gc][cg];B[aa]", 0),
        ("HA[2]", 0),
    ],
)
def test_a_handicap_leaves_the_move_to_white_as_in_gtp(
    root: str, first: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.sgf"
    path.write_text(f"(;SZ[9]{root})")
    found = read_saved(path)
    assert found.first_to_play == first
    session = found.session(get_game("go9"))
    engine = Engine(make_bot("random", "go9", None, 1, tmp_path))
    assert engine.answer(f"loadsgf {path}") == "=\n\n"
    assert engine.session.to_play == session.to_play == (first + len(found.moves)) % 2


@pytest.mark.parametrize("komi", [-100.0, 3.5, 70.0, 100.0, 361.0])
def test_any_komi_of_a_game_of_ours_is_kept(komi: float, tmp_path: Path) -> None:
    duel = game_of("go9", "")
    duel.session.set_komi(komi)
    path = on_disk(tmp_path, duel)
    assert read_saved(path).rules == {"komi": komi}
    engine = Engine(make_bot("random", "go9", None, 1, tmp_path))
    assert engine.answer(f"loadsgf {path}") == "=\n\n" and engine.komi == komi
    path.write_text("(;SZ[9]KM[650])")
    assert read_saved(path).rules == {"komi": 6.5}


def test_stones_set_up_for_black_to_play_are_kept(tmp_path: Path) -> None:
    duel = game_of("go9", "")
    duel.session.set_up({16: 1, 32: 1}, 0)
    assert read_saved(on_disk(tmp_path, duel)).first_to_play == 0


def test_marks_of_dead_stones_are_kept(tmp_path: Path) -> None:
    duel = game_of("go5", "C3 A1 B2 pass pass")
    duel.session.mark_dead(20)
    path = on_disk(tmp_path, duel)
    again = read_saved(path).session(duel.session.game)
    assert again.dead == {20} and again.result() == duel.session.result() == "B+24.5"
    path.write_text(path.read_text().replace("GHD[A1]", "GHD[E5]"))
    with pytest.raises(UserError, match="E5 is empty"):
        read_saved(path).session(duel.session.game)


@pytest.mark.parametrize("name", ["go5", "tic_tac_toe"])
def test_a_game_that_is_gone_on_with_keeps_its_date(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = on_disk(tmp_path, game_of(name, "A1"))
    assert play(["quit"], monkeypatch, tmp_path, "--resume") == 0
    assert read_saved(path).date == "2026-05-04"


@pytest.mark.parametrize("name", ["go5", "tic_tac_toe"])
def test_whom_one_plays_is_kept(name: str, tmp_path: Path) -> None:
    duel = game_of(name, "A1")
    duel.opponent = Opponent(
        "a]b", visits=30, human=0.5, rank="5k", learn=True, symmetries=8, score_weight=0.1, reuse=False,
        variety=False,
    )  # fmt: skip
    assert read_saved(on_disk(tmp_path, duel)).opponent == duel.opponent


def test_visits_that_plain_search_never_made_are_forgotten(tmp_path: Path) -> None:
    duel = game_of("tic_tac_toe", "A1")
    duel.opponent = Opponent("mcts:2000", visits=50)
    assert read_saved(on_disk(tmp_path, duel)).opponent == Opponent("mcts:2000")


def test_what_is_said_anew_counts() -> None:
    before = Opponent("go9", visits=30, human=0.5, rank="5k")
    assert Opponent().completed(before) == before
    assert Opponent("go9", seconds=2.0).completed(before) == Opponent(
        "go9", seconds=2.0, human=0.5, rank="5k"
    )
    assert Opponent("random").completed(before) == Opponent("random")
    assert Opponent(human=0.0, rank="1d").completed(before) == Opponent(
        "go9", 30, human=0.0, rank="1d"
    )
    taught = Opponent("go9", seconds=2.0, learn=True, symmetries=8, score_weight=0.1, reuse=False)
    assert Opponent("go9").completed(taught) == taught
    assert Opponent(visits=9, learn=False, reuse=True).completed(taught) == Opponent(
        "go9", visits=9, learn=False, symmetries=8, score_weight=0.1, reuse=True
    )
    rated = Opponent(level="5k")
    assert Opponent().completed(rated) == rated
    assert Opponent(visits=9).completed(rated) == Opponent(visits=9)
    assert rated.completed(before) == rated


def test_a_game_is_gone_on_with_against_the_same_bot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(["C3", "quit"], monkeypatch, tmp_path, "--game", "go5") == 0
    monkeypatch.setattr(terminal, "_read", lambda prompt: "quit")
    capsys.readouterr()
    assert cli.run(["play", "--plain", "--save", str(tmp_path), "--resume"]) == 0
    said = capsys.readouterr()
    assert "random is White" in said.out and "plays (" not in said.err
    assert cli.run(["play", "capture", "--plain", "--save", str(tmp_path), "--resume"]) == 0
    assert "capture is White" in capsys.readouterr().out


def test_how_the_bot_plays_is_kept_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, ...]] = []

    def make(*arguments: object) -> object:
        made.append(arguments[6:])
        return make_bot("random", "go5", None, 1, tmp_path)

    monkeypatch.setattr(terminal, "dialled_bot", make)
    options = [
        "--symmetries",
        "8",
        "--score-weight",
        "0.1",
        "--no-reuse",
        "--learn",
        "on",
        "--no-variety",
    ]
    assert play(["C3", "quit"], monkeypatch, tmp_path, "--game", "go5", *options) == 0
    for more in ([], ["--learn", "off", "--symmetries", "2", "--variety"]):
        assert play(["quit"], monkeypatch, tmp_path, "--resume", *more) == 0
    search = replace(PLAY, symmetries=8, score_weight=0.1)
    assert made[0] == made[1] == (search, 0.0, None, None, True, False, False)
    assert made[2] == (replace(search, symmetries=2), 0.0, None, None, False, False, True)


def test_a_resigned_game_is_over_until_it_is_undone(tmp_path: Path) -> None:
    duel = game_of("go5", "C3")
    duel.session.resign(0)
    again = read_saved(on_disk(tmp_path, duel)).session(duel.session.game)
    assert again.over and again.winner() == 1
    assert again.undo() and not again.over


def test_a_game_is_gone_on_with_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(["C3", "quit"], monkeypatch, tmp_path, "--game", "go5", "--color", "white") == 0
    (path,) = tmp_path.iterdir()
    before = read_saved(path)
    assert before.human == 1 and before.moves[1] == 12 and len(before.moves) == 3
    capsys.readouterr()
    assert play(["B2", "quit"], monkeypatch, tmp_path, "--resume") == 0
    assert "you are White" in capsys.readouterr().out
    assert [path] == list(tmp_path.iterdir())
    after = read_saved(path)
    assert list(after.moves[:3]) == list(before.moves) and len(after.moves) == 5
    assert play(["resign"], monkeypatch, tmp_path, "--resume") == 0
    assert read_saved(path).result == "B+R"
    assert play([], monkeypatch, tmp_path, "--resume") == 2
    assert "holds no unfinished game" in capsys.readouterr().err


def test_a_loaded_game_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "theirs.sgf"
    text = "(;GM[1]SZ[5]KM[0.5]PB[Lee]PW[Kim]RE[W+R];B[cc];W[dc])"
    path.write_text(text)
    games = tmp_path / "games"
    assert play(["quit"], monkeypatch, games, "--load", str(path)) == 0
    assert not games.exists(), "nothing was added"
    path.write_text(text.replace("RE[W+R]", ""))
    assert play(["B2", "quit"], monkeypatch, games, "--load", str(path)) == 0
    (other,) = games.iterdir()
    found = read_saved(other)
    assert list(found.moves[:3]) == [12, 13, 16] and found.rules == {"komi": 0.5}
    assert path.read_text() == text.replace("RE[W+R]", "")


def test_a_loaded_game_that_is_resigned_at_once_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, games = tmp_path / "theirs.sgf", tmp_path / "games"
    path.write_text("(;GM[1]SZ[5]KM[0.5];B[cc];W[dc])")
    assert play(["resign"], monkeypatch, games, "--load", str(path)) == 0
    (other,) = games.iterdir()
    assert read_saved(other).result == "W+R"


@pytest.mark.parametrize(
    ("name", "moves", "resigns", "words", "sgf"),
    [
        ("tic_tac_toe", "A1 B1 A2 B2 A3", None, "first wins", "B+"),
        ("tic_tac_toe", "A1 B1 A2 B2 C1 B3", None, "second wins", "W+"),
        ("tic_tac_toe", "A1 B1 C1 B2 A2 C2 B3 A3 C3", None, "draw", "0"),
        ("tic_tac_toe", "A1", 0, "second wins by resignation", "W+R"),
        ("tic_tac_toe", "A1", None, "unfinished", ""),
    ],
)
def test_other_games_tell_their_result_in_words(
    tmp_path: Path, name: str, moves: str, resigns: int | None, words: str, sgf: str
) -> None:
    duel = game_of(name, moves)
    if resigns is not None:
        duel.session.resign(resigns)
    path = on_disk(tmp_path, duel)
    assert f"\nresult: {words}\n" in path.read_text()
    assert read_saved(path).result == sgf
    # Files of before had what SGF has.
    path.write_text(path.read_text().replace(words, sgf or words))
    assert read_saved(path).result == sgf


def test_a_score_is_told_in_words_too(tmp_path: Path) -> None:
    duel = game_of("othello", "")
    while not duel.session.over:
        duel.session.play(int(duel.session.game.legal_actions(duel.session.state)[0]))
    path = on_disk(tmp_path, duel)
    winner, margin = duel.session.winner(), abs(duel.session.margin())
    assert winner is not None, "another line of play is wanted"
    assert f"result: {('first', 'second')[winner]} wins by {margin:g}\n" in path.read_text()
    assert read_saved(path).result == duel.session.result()


def test_the_newest_unfinished_game_is_found(tmp_path: Path) -> None:
    assert record(game_of("go5", "C3"), datetime(2026, 5, 4))[1].startswith("(;GM[1]")
    paths = [on_disk(tmp_path, game_of(name, "")) for name in ("go5", "othello", "go5")]
    (tmp_path / "half.sgf").write_text("(;GM[1]")
    (tmp_path / "empty.txt").touch()
    over = game_of("go5", "C3")
    over.session.resign(1)
    on_disk(tmp_path, over)
    for age, path in enumerate(paths):
        stamp = time.time_ns() + age * 10**9
        os.utime(path, ns=(stamp, stamp))
    assert newest_unfinished(tmp_path) == paths[2]
    assert newest_unfinished(tmp_path, "othello") == paths[1]
    with pytest.raises(UserError, match="no unfinished game of go9"):
        newest_unfinished(tmp_path, "go9")


def test_kill_9_loses_no_move(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ghostgo", "play", "random", "--plain", "--game", "go5"]
    process = subprocess.Popen(
        [*command, "--save", str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    process.stdin.write(b"C3\n")
    process.stdin.flush()
    while not any(path.stat().st_size for path in tmp_path.glob("*.sgf")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert read_saved(newest_unfinished(tmp_path)).moves[0] == 12


def test_a_full_disk_does_not_end_the_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise UserError(f"{path}: cannot be written: the disk is full; what was there is unchanged")

    monkeypatch.setattr(saved, "replace_file", full)
    assert play(["C3", "D4", "quit"], monkeypatch, tmp_path, "--game", "go5") == 2
    said = capsys.readouterr()
    assert said.out.count("the disk is full") >= 2 and "the disk is full" in said.err


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.sgf", "no game", [], "a.sgf: "),
        ("a.sgf", "(;GM[1]SZ[5];B[cc];B[dd])", [], "move 2: the same player has moved twice"),
        ("a.sgf", "(;GM[1]SZ[5];B[cc];W[cc])", [], "move 2: C3 is taken"),
        ("a.sgf", "(;GM[1]SZ[5];B[cc];W[zz])", [], "a.sgf: "),
        ("a.sgf", "(;GM[1]SZ[5];B[cc];AW[aa])", [], "in the middle of the game"),
        ("a.sgf", "(;GM[1]SZ[5];B[cc])", ["--game", "go9"], "is a game of go5, not go9"),
        ("a.sgf", "(;GM[1]SZ[5];B[cc])", ["--komi", "3"], "--komi goes with a new game"),
        ("a.sgf", "(;GM[1]SZ[5];B[cc])", ["--resume"], "do not go together"),
        ("a.txt", "game: othello\n", [], "it has no line 'first'"),
        ("a.txt", "game: chess\nfirst: you\nsecond: x\nresult: unfinished\nmoves: ", [], "unknown"),
        ("a.txt", "game: othello\nfirst: a\nsecond: b\nresult: 0\nmoves: D6 A1", [], "move 2: A1"),
        ("a.sgf", "(;GM[1]SZ[5]GHB[{];B[cc])", [], "says of the bot cannot be read"),
        ("a.sgf", '(;GM[1]SZ[5]GHB[{"visits": "x"}];B[cc])', [], "says of the bot cannot be read"),
        ("a.sgf", '(;GM[1]SZ[5]GHB[{"human": 2}];B[cc])', [], "says of the bot is out of range"),
        ("a.sgf", '(;GM[1]SZ[5]GHB[{"learn": 1}];B[cc])', [], "says of the bot cannot be read"),
        ("a.sgf", '(;GM[1]SZ[5]GHB[{"visits": true}];B[cc])', [], "of the bot cannot be read"),
        ("a.sgf", '(;GM[1]SZ[5]GHB[{"score_weight": 2}];B[cc])', [], "of the bot is out of range"),
        ("b.sgf", None, [], "b.sgf: cannot be read"),
    ],
)
def test_bad_files_are_one_line(
    name: str, text: str | None, options: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert play([], monkeypatch, tmp_path / "games", "--load", str(path), *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "games").exists()


def test_a_game_begun_after_a_saved_one_has_its_own_file(tmp_path: Path) -> None:
    duel = game_of("go5", "C3")
    keeper = Keeper(duel, tmp_path)
    assert keeper.write() is None
    duel.session.play(0)
    assert keeper.write() == keeper.write()
    duel.session.undo()
    path = keeper.write()
    assert path is not None and list(read_saved(path).moves) == [12]
