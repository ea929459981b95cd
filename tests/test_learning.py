"""The journal of lessons: kept, listed, undone, safe; and the bot that plays with what it learnt."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from test_lesson import SMALL, finished

from ghostgo import cli, terminal
from ghostgo.bot import SearchBot
from ghostgo.data.run import Run, find_checkpoint, load_network
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network
from ghostgo.gtp import Engine
from ghostgo.learning import JOURNAL, Student, log_lines, read_journal, student_of
from ghostgo.lesson import Lesson, take_lesson
from ghostgo.opponents import make_bot
from ghostgo.session import Session

CONFIG = """
network = "b1c8"
workers = 1
[selfplay]
games = 8
visits = 4
positions_per_iteration = 100
[learner]
batch_size = 32
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run of 5x5 Go."""
    root = tmp_path_factory.mktemp("learning")
    (root / "c.toml").write_text(CONFIG)
    options = ["--root", str(root), "--config", str(root / "c.toml"), "--games", "10"]
    assert cli.run(["selfplay", "--run", "r", "--game", "go5", *options]) == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """The same, nothing learnt yet."""
    (tmp_path / "r").symlink_to(made / "r")
    return tmp_path


def student(root: Path) -> Student:
    return Student(find_checkpoint("r", root), root, SMALL)


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(other.state_dict()[n], v) for n, v in one.state_dict().items())


def test_lessons_add_up_and_are_undone(root: Path) -> None:
    taught = student(root)
    nets = [taught.network()]
    for seed in (1, 2, 3):
        entry = taught.teach(finished(seed=seed))
        assert entry.number == seed and entry.moves == 30
        nets.append(student(root).network())
    assert not any(same(a, b) for a, b in itertools.pairwise(nets))
    assert taught.undo() == 2 and same(taught.network(), nets[2])
    assert taught.undo(0) == 0 and same(taught.network(), nets[0])
    assert same(load_network(find_checkpoint("r", root).path), nets[0]), "its own weights stay"
    fourth = taught.teach(finished(seed=1))
    assert fourth.number == 4, "numbers are never used twice"
    assert same(taught.network(), student(root).network())
    journal = taught.journal
    assert [e.number for e in journal.entries] == [1, 2, 3, 4]
    assert [e.number for e in journal.live] == [4]
    assert taught.lessons == 6


def test_each_lesson_is_held_to_the_network_before_all(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught, given = student(root), []

    def spy(*words: Any) -> tuple[Network, Lesson]:
        given.append(words[4])
        return take_lesson(*words)

    monkeypatch.setattr("ghostgo.learning.take_lesson", spy)
    first = taught.network()
    entries = [taught.teach(finished(seed=seed)) for seed in (1, 2)]
    assert given[0] is None and same(given[1], first)
    assert entries[0].total == entries[0].drift and entries[1].total != entries[1].drift
    assert entries[1].flops > entries[0].flops, "asking it costs"
    assert f"({entries[1].total:.4f} in all)" in str(entries[1])
    path = taught.folder / JOURNAL
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    old = [{**row, "format": 1} for row in rows]
    for row in old:
        del row["total"]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert [e.total for e in read_journal(path).live] == [None, None]
    assert "in all" not in str(read_journal(path).live[0])


def test_a_lesson_on_another_board_serves_all(root: Path) -> None:
    taught = student(root)
    before = taught.network()
    entry = taught.teach(finished("go9", seed=2))
    after = taught.network()
    assert entry.game == "go9" and after.game is get_game("go5") and not same(before, after)


def test_what_it_spent_is_told(root: Path) -> None:
    taught = student(root)
    entry = taught.teach(finished())
    path = f".learnt/{taught.folder.name}"
    totals = find_checkpoint(path, root).totals
    assert totals.training_flops == pytest.approx(taught.origin.totals.training_flops + entry.flops)
    assert entry.flops > 0
    assert find_checkpoint(f"{path}@0", root).meta["sha256"] == taught.origin.meta["sha256"]


def test_a_kill_leaves_a_journal_that_goes_on(root: Path) -> None:
    taught = student(root)
    taught.teach(finished(seed=1))
    path = taught.folder / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])  # killed while the second line was written
    assert len(read_journal(path).entries) == 1
    assert taught.teach(finished(seed=2)).number == 2
    assert [e.number for e in read_journal(path).live] == [1, 2]


def test_the_journal_says_that_an_agreed_result_was_not_taught(root: Path) -> None:
    taught = student(root)
    session = Session(get_game("go5"))
    for move in ("C3", "pass", "B2", "pass", "pass"):
        session.play(session.game.parse_action(move))
    played = taught.teach(session)
    assert played.outcome and ", B+" in str(played) and "agreement" not in str(played)
    session.mark_dead(12)
    agreed = taught.teach(session)
    assert not agreed.outcome and f"{session.result()} by agreement, not taught;" in str(agreed)
    path = taught.folder / JOURNAL
    assert read_journal(path).live == [played, agreed]
    row = json.loads(path.read_text().splitlines()[0])
    del row["outcome"]
    path.write_text(json.dumps({**row, "format": 2}) + "\n")
    assert read_journal(path).live == [played], "a journal of format 2"


def test_damage_is_named(root: Path) -> None:
    taught = student(root)
    taught.teach(finished(seed=1))
    path = taught.folder / JOURNAL
    whole = path.read_text()
    path.write_text("nonsense\n" + whole)
    with pytest.raises(UserError, match="line 1 is damaged"):
        taught.network()
    newer = {**json.loads(whole), "format": 99}
    path.write_text(json.dumps(newer) + "\n")
    with pytest.raises(UserError, match="format 99; use a newer ghostgo"):
        taught.network()
    path.write_text(whole)
    shutil.rmtree(taught.folder / "checkpoints" / "00000001")
    with pytest.raises(UserError, match="learn undo r --to 0"):
        taught.network()
    taught.undo(0)
    taught.network()


def test_the_way_back_skips_what_was_undone(root: Path) -> None:
    taught = student(root)
    for seed in (1, 2):
        taught.teach(finished(seed=seed))
    taught.undo(1)
    third = taught.teach(finished(seed=3))
    assert [e.number for e in taught.journal.live] == [1, 3]
    shutil.rmtree(taught.folder / "checkpoints" / f"{third.number:08d}")
    with pytest.raises(UserError, match="learn undo r --to 1"):
        taught.network()
    assert taught.undo() == 1


def test_two_cannot_teach_at_once(root: Path) -> None:
    one, other = student(root), student(root)
    one.teach(finished(seed=1))
    with one._held(), pytest.raises(UserError, match="being written by another process"):
        other.teach(finished(seed=2))


def test_a_lesson_that_ends_while_an_undoing_waits_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = student(root), student(root)
    one.teach(finished(seed=1))
    held = other._held

    @contextmanager
    def later() -> Iterator[Run]:
        one.teach(finished(seed=2))
        with held() as run:
            yield run

    monkeypatch.setattr(other, "_held", later)
    assert other.undo() == 1, "the second lesson is undone, not both"


def test_lessons_of_other_weights_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taught = student(root)
    for name in ("r-x-12345678", "r-nonsense"):  # of the run r-x, and no journal
        (taught.folder.parent / name).mkdir(parents=True)
        (taught.folder.parent / name / JOURNAL).write_text("")
    make_bot("r", None, 4, 1, root, learn=True)
    assert not capsys.readouterr().err
    before = taught.folder.with_name("r-12345678")
    before.mkdir()
    (before / JOURNAL).write_text("")
    line = "r begins without lessons: those in r-12345678 changed other weights than it has now"
    make_bot("r", None, 4, 1, root, learn=True)
    assert capsys.readouterr().err == f"{line}\n"
    assert log_lines("r", root)[0] == line
    taught.teach(finished(seed=1))
    assert taught.lost() is None


def test_the_bot_plays_with_what_it_has_learnt_on_every_board(root: Path) -> None:
    bot = make_bot("r", None, 8, 1, root, learn=True)
    assert isinstance(bot, SearchBot) and bot.student is not None
    bot.student.config = SMALL
    large = bot.bind(get_game("go9"))
    states = bot.game.new_states(1), large.game.new_states(1)
    before = [b.analyse(s) for b, s in zip((bot, large), states, strict=True)]
    assert bot.learn(finished(seed=1)) is not None
    after = [b.analyse(s) for b, s in zip((bot, large), states, strict=True)]
    for old, new in zip(before, after, strict=True):
        assert old.win_rate != new.win_rate
    fresh = make_bot("r", None, 8, 1, root, learn=True)
    assert fresh.analyse(states[0]) == after[0]
    plain = make_bot("r", None, 8, 1, root)
    assert plain.analyse(states[0]) == before[0], "without --learn it plays as it always did"


def play(lines: list[str], root: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    typed: Iterator[str] = iter(lines)
    monkeypatch.setattr(terminal, "_read", lambda prompt: next(typed))
    where = ["--root", str(root), "--save", str(root / "games"), "--plain", "--visits", "4"]
    return cli.run(["play", "r", *where, *options])


def test_a_game_on_the_terminal_is_a_lesson(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ghostgo.learning.LessonConfig", lambda: SMALL)
    assert play(["C3", "quit"], root, monkeypatch, "--learn", "on") == 0
    assert "learns" not in capsys.readouterr().out, "the game was not finished"
    assert play(["C3", "resign"], root, monkeypatch, "--learn", "on") == 0
    assert "no lesson: a game of 2 moves is too short" in capsys.readouterr().out
    # The bot takes at most every other of these points.
    whole = ["C3", "B2", "D4", "B4", "D2", "C4", "resign"]
    assert play(whole, root, monkeypatch, "--learn", "on") == 0
    assert "lesson 1, " in capsys.readouterr().out
    assert play(["C3", "resign"], root, monkeypatch) == 0
    assert "lesson" not in capsys.readouterr().out
    assert cli.run(["learn", "log", "--root", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "1 lessons, 1 of them count" in shown and "W+R" in shown
    assert cli.run(["learn", "undo", "r", "--root", str(root)]) == 0
    assert capsys.readouterr().out == "r plays as it began\n"
    assert cli.run(["learn", "log", "r", "--root", str(root)]) == 0
    assert "(undone)" in capsys.readouterr().out


PLAYED = ["play b C3", "play w D3", "play b C2", "genmove w"]


class Taught:
    """A GTP engine that would learn, and the games that it would learn from."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = Engine(make_bot("r", None, 4, 1, root, learn=True))
        self.games: list[Session] = []
        monkeypatch.setattr(SearchBot, "learn", lambda bot, session: self.games.append(session))

    def ask(self, *lines: str) -> str:
        """The last line's answer."""
        return [self.engine.answer(line) or "" for line in lines][-1]


def test_a_gtp_game_is_a_lesson_as_it_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = Taught(root, monkeypatch)
    review = ["undo", "undo", "komi 9.5", "play b pass", "play w pass"]
    taught.ask(*PLAYED, "play b resign", *review, "clear_board", "clear_board")
    (game,) = taught.games
    assert game.resigned == 0 and len(game.moves) == 4 and game.rules["komi"] != 9.5
    taught.ask(*PLAYED, "play b resign", "undo", "genmove w", "clear_board")
    assert len(taught.games) == 1, "it went on, and was not finished"
    taught.ask(*PLAYED, "play b resign", "undo", "genmove w", "play b resign", "boardsize 5")
    assert len(taught.games) == 2 and taught.games[1].moves[:3] == game.moves[:3]


def test_a_file_that_cannot_be_loaded_costs_no_lesson(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.sgf"
    bad.write_text("(;GM[1]SZ[5];B[cc];W[cc])")
    taught = Taught(root, monkeypatch)
    taught.ask(*PLAYED)
    assert taught.ask(f"loadsgf {bad}").startswith("? cannot load file")
    taught.ask("play b resign")
    assert taught.ask(f"loadsgf {bad}").startswith("? cannot load file")
    taught.ask("clear_board")
    assert [len(game.moves) for game in taught.games] == [4], "once"


def test_a_lesson_that_fails_does_not_keep_the_board(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(bot: SearchBot, session: Session) -> None:
        raise RuntimeError("out of memory")

    taught = Taught(root, monkeypatch)
    monkeypatch.setattr(SearchBot, "learn", fail)
    assert taught.ask(*PLAYED, "play b resign", "clear_board") == "=\n\n"
    assert not taught.engine.session.moves
    error = capsys.readouterr().err
    assert "Traceback" in error and "RuntimeError: out of memory" in error


@pytest.mark.parametrize(
    "end",
    [["clear_board", "quit"], ["quit"], [], ["kata-analyze 100000"]],
    ids=["clear_board", "quit", "end of input", "end of input while analysing"],
)
def test_gtp_games_are_lessons(root: Path, ghostgo_command: list[str], end: list[str]) -> None:
    commands = [*PLAYED, "play b pass", "play w pass", *end]
    served = subprocess.run(
        [
            *ghostgo_command, "gtp", "r", "--root", str(root), "--visits", "4", "--learn", "on",
        ],
        input="\n".join(commands) + "\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "?" not in served.stdout
    assert "lesson 1, " in served.stderr and "lesson 2" not in served.stderr
    assert len(student(root).journal.live) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn", "undo", "r"], "r has learnt nothing that could be undone"),
        (["learn", "undo", "nobody"], "'nobody' is neither a run nor a checkpoint"),
        (["learn", "log", "nobody"], "'nobody' is neither a run nor a checkpoint"),
        (["play", "mcts:10", "--plain", "--learn", "on"], "it cannot --learn"),
        (["play", "r", "--plain", "--learn", "on", "--human", "0.5"], "goes with --human 0"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*arguments, "--root", str(root)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_undoing_what_is_not_there_names_what_is(root: Path) -> None:
    taught = student(root)
    for seed in (1, 2):
        taught.teach(finished(seed=seed))
    with pytest.raises(UserError, match="has no lesson 7 that counts; there are 1, 2"):
        taught.undo(7)
    assert log_lines(None, root)[0].endswith("2 lessons, 2 of them count")
    assert student_of("r", root).folder == taught.folder
