"""A game on the terminal: the dialogue by itself, and the verb as a process."""

from __future__ import annotations

import io
import shlex
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from sgfmill import sgf

from ghostgo import cli
from ghostgo.board import hoshi, render
from ghostgo.bot import Analysis, Bot, Candidate, Margins, Opinions
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.registry import get_game
from ghostgo.opponents import make_bot
from ghostgo.saved import Keeper, record
from ghostgo.session import Session, fixed_handicap
from ghostgo.terminal import Dialogue, converse


class Scripted:
    """A bot that plays the moves it was given, then passes (Go only)."""

    name = "scripted"

    def __init__(self, game: Game, moves: str = "") -> None:
        self.game = game
        self.moves = [game.parse_action(move) for move in moves.split()]

    def choose(self, states: States, seconds: float | None = None) -> int:
        return self.moves.pop(0) if self.moves else self.game.points

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        moves = (Candidate(40, 30, 0.625), Candidate(41, 2, 0.5))
        return Analysis(40, 0.61, moves, (40, 30))

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        yield lambda: self.analyse(states)

    def ownership(self, states: States) -> None:
        return None

    def margins(self, states: States) -> None:
        return None

    def bind(self, game: Game) -> Bot:
        return Scripted(game)


def dialogue(moves: str = "", game: str = "go9", human: int = 0) -> Dialogue:
    bot = Scripted(get_game(game), moves)
    return Dialogue(Session(bot.game), bot, human)


def typed(talk: Dialogue, lines: Iterable[str]) -> list[str]:
    """What is shown when a person types these lines and then ends the input."""
    shown: list[str] = []
    left = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    converse(talk, read, shown.append)
    return shown


def test_moves_show_the_board_with_the_last_move() -> None:
    talk = dialogue("C3", "go5")
    greeting, board, _ = typed(talk, ["d4"])
    assert "you are Black (X), scripted is White (O). Komi 0.5, positional ko." in greeting
    assert board.split("\n") == [
        "    A B C D E",
        " 5  . . . . .  5",
        " 4  . + . X .  4",
        " 3  . .(O). .  3",
        " 2  . + . + .  2",
        " 1  . . . . .  1",
        "    A B C D E",
        "White plays C3.",
    ]


def test_two_passes_end_the_game_with_a_count_and_a_word_on_the_rules() -> None:
    talk = dialogue("A1")
    shown = typed(talk, ["E5", "p", "done", "D5"])
    assert talk.over
    assert "Black wins: well played (W+R)" not in shown[-1]
    assert "White wins" in shown[-1] and "(W+7)" in shown[-1]
    assert "Black 1, White 1 and komi 7: White is ahead by 7" in shown[-1]
    assert "dead stones count as alive until they are captured" in shown[-1]


def test_the_person_wins() -> None:
    shown = typed(dialogue(), ["E5", "pass"])
    assert "Black wins: well played (B+74)." in shown[2]


def test_dead_stones_are_marked_line_by_line() -> None:
    talk = dialogue("A1", "go5")
    assert talk.answer("dead A1") == "dead stones are marked when a game of Go is over"
    assert talk.answer("done") == "done is for after the end, when dead stones are marked"
    talk.answer("C3")
    ended = talk.answer("pass")  # the bot passes, too
    assert "W+0.5" in ended and "`dead D5` marks a chain dead" in ended and not talk.over
    assert talk.prompt == "dead, done or undo > "
    assert talk.answer("dead") == "scripted takes no stone for dead"
    talk.bot.ownership = lambda states: np.ones(25, np.float32)  # type: ignore[method-assign]
    assert "scripted takes A1 for dead." in talk.answer("dead C3")
    talk.answer("d")
    assert not talk.session.dead, "all marks are taken away"
    assert "Black wins: well played (B+24.5)." in talk.answer("dead")
    assert talk.session.dead == {20}
    for line in ("C4", "resign", "hint", "winrate", "estimate"):
        assert talk.answer(line).startswith("the game is over; `dead")
    assert talk.answer("dead B2") == "B2 is empty" and talk.session.dead == {20}
    assert talk.answer("dead pass") == "pass is empty"
    assert talk.answer("done").startswith("Black wins: well played (B+24.5).") and talk.over
    talk.agreed = False
    assert "Taken back" in talk.answer("undo") and not talk.session.dead


def test_an_estimate_is_the_networks() -> None:
    talk = dialogue("A1", "go5")
    assert talk.answer("estimate") == "scripted has no idea of the score"
    talk.bot.margins = lambda states: Margins(np.full(1, -3.4, np.float32), None)  # type: ignore[method-assign]
    assert talk.answer("estimate") == "scripted: W+3.4 expected."
    owners = np.full(25, 0.9, np.float32)
    owners[:5], owners[5] = -0.9, 0.1
    talk.bot.ownership = lambda states: owners  # type: ignore[method-assign]
    assert talk.answer("e") == "scripted: W+3.4 expected: Black 19, White 5, 1 open."


def test_undo_takes_back_the_answer_too_and_leaves_the_bots_opening() -> None:
    talk = dialogue("C3 D4 E5 F6", human=1)
    typed(talk, ["G7", "u"])
    assert [action for _, action in talk.session.moves] == [talk.session.game.parse_action("C3")]
    assert talk.session.to_play == 1
    assert talk.answer("g 7").endswith("Black plays E5.")
    assert talk.answer("undo").endswith("\nTaken back: G7, E5.")
    assert talk.answer("undo") == "there is no move of yours to take back"
    assert "Black plays F6." in talk.answer("G6")


def test_a_pass_of_the_bot_says_how_the_game_ends() -> None:
    shown = typed(dialogue(), ["E5"])
    assert shown[1].endswith("White passes. Pass too, and the game ends and is counted.")
    assert "you are X, scripted is O." in typed(dialogue("A1", "tic_tac_toe"), [])[0]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("z9", "'z9' is not a point of this board: A1 to J9, or pass; `help`"),
        ("fly", "'fly' is not a point of this board"),
        ("E5", "E5 is taken"),
        ("hint", "  E5        30 visits, you win  62%\n  F5         2 visits, you win  50%\n"),
        ("h", "\n  expected: E5 D6"),
        ("winrate", "scripted gives you 61%"),
        ("score", "As the board stands: Black 1, White 1 and komi 7: White is ahead by 7."),
        ("help", "undo     take your last move back"),
        ("", ""),
    ],
)
def test_questions_and_mistakes_change_nothing(line: str, reply: str) -> None:
    talk = dialogue("C3")
    typed(talk, ["E5"])
    before = talk.session.states.copy()
    assert talk.answer(line).startswith(reply) or reply in talk.answer(line)
    assert talk.session.states == before
    assert not talk.over


def test_resigning_and_leaving() -> None:
    talk = dialogue("C3")
    assert talk.answer("r").startswith("'r' is not a point") and not talk.session.over
    assert typed(talk, ["E5", "resign", "D5"])[-1] == "White wins by resignation (W+R)."
    talk = dialogue("C3")
    typed(talk, ["E5", "quit", "D5"])
    assert talk.left and not talk.session.over and len(talk.session.moves) == 2


def test_the_record_is_sgf_that_sgfmill_reads() -> None:
    talk = dialogue("C3 pass")
    typed(talk, ["E5", "pass"])
    ending, text = record(talk, datetime(2026, 5, 4))
    game = sgf.Sgf_game.from_bytes(text.encode())
    assert ending == ".sgf"
    moves = [node.get_move() for node in game.get_main_sequence()[1:]]
    assert moves == [("b", (4, 4)), ("w", (2, 2)), ("b", None), ("w", None)]
    assert game.get_komi() == 7.0 and game.get_size() == 9 and game.get_winner() == "w"
    root = game.get_root()
    assert root.get("RE") == "W+7" and root.get("PB") == "you" and root.get("DT") == "2026-05-04"


def test_games_are_saved_under_new_names_and_empty_ones_are_not(tmp_path: Path) -> None:
    talk = dialogue("C3")
    keepers = [Keeper(talk, tmp_path / "games") for _ in range(3)]
    assert keepers[0].write() is None and not (tmp_path / "games").exists()
    typed(talk, ["E5"])
    paths = {keeper.write() for keeper in keepers for _ in range(2)}
    assert len(paths) == 3 and len(list((tmp_path / "games").iterdir())) == 3


def test_a_move_is_on_disk_before_the_bot_thinks(tmp_path: Path) -> None:
    talk = dialogue("C3")
    talk.keep = Keeper(talk, tmp_path).write
    kept: list[str] = []

    def choose(states: States, seconds: float | None = None) -> int:
        kept.extend(path.read_text() for path in tmp_path.iterdir())
        return 0

    talk.bot.choose = choose  # type: ignore[method-assign]
    talk.answer("E5")
    assert len(kept) == 1 and kept[0].endswith("B[ee])\n")


def test_other_games_play_in_the_same_way() -> None:
    talk = dialogue("1 1 1", "connect_four")
    shown = typed(talk, ["4", "4", "9", "pass", "4", "4"])
    assert "'9' is not a column" in shown[3]
    assert "Red wins: well played." in shown[-1] and talk.over
    ending, text = record(talk, datetime(2026, 5, 4))
    assert ending == ".txt" and "moves: 4 1 4 1 4 1 4\n" in text and "result: first wins\n" in text
    assert talk.answer("score") == "connect_four has no points; the end decides"


def test_a_player_of_another_game_is_told_what_wins_and_hears_nothing_of_go() -> None:
    talk = dialogue("A1", "hex5")
    greeting = typed(talk, ["A2"])[0]
    assert "Red joins top and bottom, Blue left and right." in greeting
    assert "score" not in talk.answer("help") and "estimate" not in talk.answer("help")
    assert "  score " in dialogue("", "othello").answer("help")
    assert talk.answer("resign") == "Blue wins by resignation."
    aims = {"gomoku9": "Five or more", "connect_four": "Four", "tic_tac_toe": "Three"}
    for game, aim in aims.items():
        assert f"{aim} in a row win." in dialogue(game=game).greeting()


def test_a_board_of_hex_is_slanted_so_that_cells_that_touch_are_neighbours() -> None:
    session = Session(get_game("hex4"))
    for name in ("B3", "C3"):
        session.play(session.game.parse_action(name))
    assert render(session).split("\n") == [
        "    A B C D",
        " 4  . . . .  4",
        "  3  . X(O).  3",
        "   2  . . . .  2",
        "    1  . . . .  1",
        "       A B C D",
    ]


def test_othello_is_counted_by_discs_and_nothing_is_said_of_go() -> None:
    talk = dialogue("", "othello")
    assert talk.answer("score") == "As the board stands: Black 2, White 2: even."
    bot = make_bot("random", "othello", None, 1, Path("runs"))
    session = Session(bot.game)
    while not session.over:
        session.play(bot.choose(session.states))
    shown = Dialogue(session, bot, 0).greeting().splitlines()[-2]
    assert session.result() in shown and "Tromp" not in shown and "komi" not in shown


def test_a_forced_pass_is_announced_line_by_line() -> None:
    talk, rng = dialogue("", "othello"), np.random.default_rng(0)
    session = talk.session
    while not talk.must_pass:  # the first player has nothing but a pass
        if session.over:
            talk = dialogue("", "othello")
            session = talk.session
        session.play(int(rng.choice(session.game.legal_actions(session.state))))
    last = session.moves[-1][1]
    session.undo()
    assert not talk.must_pass, "it is the bot's turn"
    talk.bot.moves = [last]
    said = talk.greeting().splitlines()
    assert said[-1] == "You have no other move than to pass: `pass`."
    assert said[-2] == f"White plays {session.game.action_name(last)}."
    assert "pass  when you have no other move" in talk.answer("help")
    assert "pass" not in dialogue("", "connect_four").answer("help")


@pytest.mark.parametrize("size", [5, 7, 9, 13, 19])
def test_handicap_points_are_drawn_as_hoshi(size: int) -> None:
    if size >= 7:
        most = 9 if size >= 9 else 4
        points = {divmod(a, size) for a in fixed_handicap(size, size, most)}
        assert points <= hoshi(size, size) | {(size // 2, i) for i in range(size)} | {
            (i, size // 2) for i in range(size)
        }
    assert all(0 <= row < size and 0 <= col < size for row, col in hoshi(size, size))


def test_session_stones_agree_with_go_after_captures_and_undo() -> None:
    session = Session(get_game("go5"))
    drawn = [render(session)]
    for move in ("B1", "A1", "A2", "C3", "pass", "pass"):
        session.play(session.game.parse_action(move))
        drawn.append(render(session))
    assert session.stones()[20] == 0, "the stone on A1 was captured"
    assert session.over
    while session.moves:
        assert render(session) == drawn.pop()
        session.undo()
    assert render(session) == drawn.pop() and not drawn
    assert not session.undo()


def test_komi_changes_at_any_time_as_if_it_had_been_so_from_the_start() -> None:
    late, early = Session(get_game("go5")), Session(get_game("go5"), {"komi": 3.5})
    for session in (late, early):
        session.play(10)
        session.play(20)
    late.set_komi(3.5)
    assert late.states == early.states
    late.undo()
    early.undo()
    assert late.states == early.states
    with pytest.raises(UserError, match="komi"):
        late.set_komi(3.3)


def test_rollout_bot_finds_the_winning_move_and_says_so() -> None:
    session = Session(get_game("connect_four"))
    for column in "1122334":
        session.play(int(column) - 1)
    assert session.over and session.winner() == 0
    session.undo()
    bot = make_bot("mcts:200", "connect_four", None, 1, Path("runs"))
    opinion = bot.analyse(session.states)
    assert opinion and opinion.action == 3 == opinion.candidates[0].action
    assert opinion.candidates[0].win_rate == 1.0
    assert sum(move.visits for move in opinion.candidates) == 200


def test_network_bot_analyses_what_it_plays(untrained_runs: Path) -> None:
    bot = make_bot("fresh", None, visits=40, seed=1, root=untrained_runs)
    states = bot.game.new_states(1)
    opinion = bot.analyse(states)
    assert opinion and bot.name == "fresh@3"
    assert opinion.action == bot.choose(states) == opinion.candidates[0].action == opinion.line[0]
    assert sum(move.visits for move in opinion.candidates) == 40
    assert 0 <= opinion.win_rate <= 1
    rates = np.array([move.win_rate for move in opinion.candidates])
    assert ((rates >= 0) & (rates <= 1)).all()


def test_the_process_plays_saves_at_end_of_input_and_resumes_nothing(
    tmp_path: Path, ghostgo_command: list[str], clean_environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [*ghostgo_command, "play", "mcts:20", "--game", "go5", "--seed", "1", "--color", "white"],
        input="hint\nwinrate\nboard\n", check=False, capture_output=True, text=True, timeout=60,
        cwd=tmp_path, env=clean_environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "you are White (O), mcts:20 is Black (X)." in done.stdout
    assert "mcts:20 gives you" in done.stdout
    (path,) = (tmp_path / "games").iterdir()
    assert f"saved: {Path('games') / path.name}" in done.stdout
    game = sgf.Sgf_game.from_bytes(path.read_bytes())
    assert len(game.get_main_sequence()) == 2


def test_bytes_that_are_no_text_are_no_move_and_end_nothing(
    tmp_path: Path, ghostgo_command: list[str], clean_environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [*ghostgo_command, "play", "random", "--game", "go5", "--seed", "1", "--plain"],
        input=b"D5\n\xe9\nquit\n", check=False, capture_output=True, timeout=60, cwd=tmp_path,
        env=clean_environment | {"PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert b"'\\\\xe9' is not a point of this board" in done.stdout
    (path,) = (tmp_path / "games").iterdir()
    assert b";B[da]" in path.read_bytes()


LOST = "(;GM[1]FF[4]SZ[5]KM[0.5]PB[you]PW[bot]RE[{result}];B[cc];W[bb];B[dd])"
"""A game in which the person is Black; the move would be White's."""


def plays(words: list[str], typed: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `ghostgo play` line by line for somebody who types that, then ends the input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return cli.run(["play", "random", "--plain", "--seed", "1", *words])


@pytest.mark.parametrize("typed", ["", "quit\n", "board\n"])
def test_a_finished_game_is_shown_and_waits(
    typed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "lost.sgf"
    path.write_text(LOST.format(result="W+R"))
    words = ["--load", str(path), "--save", str(tmp_path / "games")]
    assert plays(words, typed, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert " 2  . + .(X).  2" in shown and "White wins by resignation (W+R)." in shown
    assert "`undo` takes moves back to go on from there, `quit` leaves." in shown
    assert shown.count("undo or quit > ") == (1 if typed != "board\n" else 2)
    assert not (tmp_path / "games").exists() and path.read_text() == LOST.format(result="W+R")


@pytest.mark.parametrize("words", [[], ["--plain"]])
def test_a_closed_standard_input_is_the_end_of_input(
    words: list[str], tmp_path: Path, ghostgo_command: list[str], clean_environment: dict[str, str]
) -> None:
    path = tmp_path / "lost.sgf"
    path.write_text(LOST.format(result="W+R"))
    command = shlex.join([*ghostgo_command, "play", "random", *words, "--load", str(path)])
    done = subprocess.run(
        ["sh", "-c", f"{command} <&-"], check=False, capture_output=True, text=True, timeout=60,
        cwd=tmp_path, env=clean_environment,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "White wins by resignation (W+R)." in done.stdout


def test_a_finished_game_goes_on_from_an_earlier_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lost.sgf"
    path.write_text(LOST.format(result="W+R"))
    words = ["--load", str(path), "--save", str(tmp_path / "games")]
    assert plays(words, "A5\nhint\nu\nu\nA5\nq\n", monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.count("the game is over; `undo` takes") == 2, "neither a move nor a hint"
    assert "Taken back: the resignation.\n" in shown
    assert "Taken back: D2, " in shown, "the bot had moved when the resignation was taken back"
    (saved,) = (tmp_path / "games").iterdir()
    moves = [n.get_move() for n in sgf.Sgf_game.from_bytes(saved.read_bytes()).get_main_sequence()]
    assert moves[1:4] == [("b", (2, 2)), ("w", (3, 1)), ("b", (4, 0))] and len(moves) == 5


def test_a_game_that_ends_after_it_was_taken_back_ends_the_dialogue() -> None:
    talk = dialogue("1 1 1 1 1 1", "connect_four")
    for name in "4142434":
        talk.session.play(int(name) - 1)
    talk = Dialogue(talk.session, Scripted(talk.session.game, "1 2"), 0)
    shown = typed(talk, ["undo", "4", "4", "4"])
    assert talk.over and "Red wins" in shown[0] and "Taken back: 4." in shown[1]
    assert "Red wins" in shown[-1] and len(shown) == 3, "nothing is read after the end"


def test_a_finished_game_with_stones_asks_for_dead_ones_first() -> None:
    talk = dialogue("A1", "go5")
    for name in ("C3", "A1", "pass", "pass"):
        talk.session.play(talk.session.game.parse_action(name))
    talk = Dialogue(talk.session, talk.bot, 0)
    shown = typed(talk, ["dead A1", "done", "board"])
    assert "`dead D5` marks" in shown[0] and "`quit` leaves" not in shown[0]
    assert "B+24.5" in shown[-1] and talk.over, "done leaves it at that"
