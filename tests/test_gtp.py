"""The GTP server: protocol by script, and whole games under an independent referee."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from referee import GNUGO, Foul, GtpProcess, play_game

from ghostgo.arena.gtp_client import find_program
from ghostgo.bot import Analysis, Bot, Opinions
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.registry import get_game
from ghostgo.gtp import Engine
from ghostgo.gtp_protocol import COMMANDS, clean
from ghostgo.gtp_server import converse
from ghostgo.opponents import make_bot
from ghostgo.plain_bots import RandomBot


@pytest.fixture
def engine() -> Engine:
    return Engine(RandomBot(get_game("go9"), seed=1))


def ask(engine: Engine, *lines: str) -> str:
    """The last line's answer, with every answer checked to end in exactly one empty line."""
    answer = ""
    for line in lines:
        answer = engine.answer(line) or ""
        assert answer.endswith("\n\n") and not answer.endswith("\n\n\n")
        assert "\n\n" not in answer[:-2]
    return answer[:-2]


class Fixed:
    """A bot that always gives the same move and win rate."""

    name = "fixed"

    def __init__(self, game: Game, action: int, win_rate: float = 0.5) -> None:
        self.game, self.action, self.win_rate = game, action, win_rate
        self.seconds: float | None = None

    def choose(self, states: States, seconds: float | None = None) -> int:
        self.seconds = seconds
        return self.action

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        self.seconds = seconds
        return Analysis(self.action, self.win_rate, ())

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        yield lambda: self.analyse(states)

    def ownership(self, states: States) -> None:
        return None

    def margins(self, states: States) -> None:
        return None

    def bind(self, game: Game) -> Bot:
        return Fixed(game, self.action, self.win_rate)


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["protocol_version"], "= 2"),
        (["17 protocol_version"], "=17 2"),
        (["  \t3\tname # who are you"], "=3 ghostgo"),
        (["known_command genmove"], "= true"),
        (["known_command fly"], "= false"),
        (["known_command"], "= false"),
        (["4 fly away"], "?4 unknown command"),
        (["12"], "?12 unknown command"),
        (["boardsize 9"], "="),
        (["boardsize 20"], "? unacceptable size"),
        (["boardsize 1"], "? unacceptable size"),
        (["boardsize 9 9"], "="),
        (["boardsize 9 13"], "? unacceptable size"),
        (["boardsize nine"], "? syntax error"),
        (["boardsize"], "? syntax error"),
        (["komi 6.5", "get_komi"], "= 6.5"),
        (["komi 6.5", "clear_board", "get_komi"], "= 6.5"),
        (["komi 6.5", "boardsize 7", "get_komi"], "= 6.5"),
        (["boardsize 7", "get_komi"], "= 9"),
        (["komi 6.3", "get_komi"], "= 6.3"),
        (["komi 6.3", "final_score"], "= W+6.3"),
        (["komi 1000", "final_score"], "= W+1000"),
        (["play b E5", "komi 80.8", "play w pass", "play b pass", "final_score"], "= B+0.2"),
        (["komi nan"], "? syntax error"),
        (["komi"], "? syntax error"),
        (["play b e5"], "="),
        (["play BLACK E5"], "="),
        (["play black i5"], "? invalid color or coordinate"),
        (["play black E10"], "? invalid color or coordinate"),
        (["play red E5"], "? invalid color or coordinate"),
        (["play b"], "? syntax error"),
        (["play b E5", "play w E5"], "? illegal move: E5 is taken"),
        (["play b E5", "play b E5"], "? illegal move: E5 is taken"),
        (["undo"], "? cannot undo"),
        (["play b E5", "undo", "undo"], "? cannot undo"),
        (["play b E5", "undo", "play b E5"], "="),
        (["play b E5", "play w C3", "play b resign", "undo", "final_status_list alive"], "= E5"),
        (["play b E5", "play b resign", "undo", "final_score"], "= W+7"),
        (["play b resign", "undo"], "? cannot undo"),
        (["genmove"], "? invalid color or coordinate"),
        (["final_score"], "= W+7"),
        (["play b E5", "komi 3.5", "final_score"], "= B+77.5"),
        (["play b E5", "play w resign", "final_score"], "= B+R"),
        (["komi 0", "final_score"], "= 0"),
        (["fixed_handicap 4"], "= C3 G7 C7 G3"),
        (["fixed_handicap 10"], "? invalid number of stones"),
        (["boardsize 5", "fixed_handicap 2"], "? invalid number of stones"),
        (["play b A1", "fixed_handicap 2"], "? board not empty"),
        (["boardsize 8", "place_free_handicap 7"], "= C3 F6 C6 F3"),
        (["boardsize 5", "place_free_handicap 3"], "= B2 D4 B4"),
        (["boardsize 5", "place_free_handicap 9"], "= B2 D4 B4 D2 C3"),
        (["boardsize 5", "place_free_handicap 2", "final_status_list alive"], "= D4 B2"),
        (["boardsize 5", "place_free_handicap 1"], "? invalid number of stones"),
        (["boardsize 5", "play b A1", "place_free_handicap 2"], "? board not empty"),
        (["boardsize 6", "place_free_handicap 5"], "= B2 E5 B5 E2"),
        (["boardsize 7", "place_free_handicap 5"], "= C3 E5 C5 E3"),
        (["boardsize 4", "place_free_handicap 2"], "= B2 C3"),
        (["boardsize 3", "place_free_handicap 4"], "= A1 C3 A3 C1"),
        (["boardsize 2", "place_free_handicap 4"], "= A1 B2"),
        (["boardsize 19", "place_free_handicap 12"], "= D4 Q16 D16 Q4 D10 Q10 K16 K4 K10"),
        (["boardsize 6", "fixed_handicap 2"], "? invalid number of stones"),
        (["boardsize 19", "fixed_handicap 5"], "= D4 Q16 D16 Q4 K10"),
        (["set_free_handicap A1 B2", "final_status_list alive"], "= B2 A1"),
        (["set_free_handicap A1 A1"], "? bad vertex list"),
        (["set_free_handicap A1 pass"], "? bad vertex list"),
        (["set_free_handicap A1"], "? bad vertex list"),
        (["loadsgf"], "? syntax error"),
        (["time_settings 600 30 1"], "="),
        (["time_settings 600"], "? syntax error"),
        (["time_left b 30 0"], "="),
        (["time_left b x 0"], "? syntax error"),
        (["play b A1", "final_status_list dead"], "="),
        (["final_status_list asleep"], "? syntax error"),
        (["kata-set-rule ko SIMPLE", "kata-set-rule suicide maybe"],
         '? rule suicide cannot be "maybe": it is true or false'),
        (["kata-set-rule ko NONE"],
         '? rule ko cannot be "NONE": it is POSITIONAL or SITUATIONAL or SIMPLE'),
        (["play b A1", "kata-set-rule ko SIMPLE"], "? board not empty"),
    ],
)  # fmt: skip
def test_scripted_answers(engine: Engine, lines: list[str], answer: str) -> None:
    assert ask(engine, *lines) == answer


def test_comments_and_blank_lines_get_no_answer(engine: Engine) -> None:
    assert [engine.answer(line) for line in ("\n", "  \t \r\n", "# a comment\n")] == [None] * 3
    assert clean("1\tname\x07\r\n") == "1 name"


def test_every_listed_command_is_known(engine: Engine) -> None:
    listed = ask(engine, "list_commands").removeprefix("= ").split("\n")
    assert listed == sorted(COMMANDS)
    required = """protocol_version name version known_command list_commands quit boardsize
        clear_board komi play genmove undo final_score final_status_list fixed_handicap
        place_free_handicap set_free_handicap time_settings time_left showboard"""
    assert set(required.split()) <= set(listed)


def test_suicide_and_ko_are_refused_by_name(engine: Engine) -> None:
    ask(engine, "play b A2", "play b B1")
    assert ask(engine, "play w A1") == "? illegal move: A1 would be suicide"
    ask(engine, "kata-set-rule ko POSITIONAL")
    ask(engine, "clear_board")
    for move in ("b C3", "w D3", "b B2", "w E2", "b C1", "w D1", "b D2", "w C2"):
        assert ask(engine, f"play {move}") == "="
    assert ask(engine, "play b D2") == (
        "? illegal move: D2 would repeat an earlier position (positional ko rule)"
    )


def test_either_colour_may_play_at_any_time(engine: Engine) -> None:
    """GUIs set positions up by plays of one colour."""
    for vertex in ("C3", "D4", "E5"):
        assert ask(engine, f"play w {vertex}") == "="
    assert ask(engine, "genmove w").startswith("= ")
    for _ in range(4):
        assert ask(engine, "undo") == "="
    assert ask(engine, "final_status_list alive") == "="


def test_play_goes_on_after_two_passes(engine: Engine) -> None:
    ask(engine, "play b pass", "play w PASS")
    assert ask(engine, "genmove b").startswith("= ")
    assert ask(engine, "final_score") != "= W+7"


def test_handicap_gives_white_the_move_and_cannot_be_undone(engine: Engine) -> None:
    ask(engine, "fixed_handicap 2")
    assert "White to play" in ask(engine, "showboard")
    assert ask(engine, "undo") == "? cannot undo"
    assert ask(engine, "komi 0.5", "final_score") == "= B+80.5"


def test_showboard_marks_the_last_move(engine: Engine) -> None:
    board = ask(engine, "boardsize 5", "play b C3", "play w A5", "showboard").split("\n")
    assert board[0] == "= "
    assert board[1:8] == [
        "    A B C D E",
        " 5 (O). . . .  5",
        " 4  . + . + .  4",
        " 3  . . X . .  3",
        " 2  . + . + .  2",
        " 1  . . . . .  1",
        "    A B C D E",
    ]


SGF = b"(;GM[1]SZ[5]KM[2.5]AB[bb][cc]AW[dd]PL[W];W[aa];B[ab];W[];B[ba](;W[ee])(;W[cd]))"


def test_loadsgf_takes_set_up_stones_komi_and_a_move_number(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "game.sgf"
    path.write_bytes(SGF)
    assert ask(engine, f"loadsgf {path}") == "="
    assert ask(engine, "get_komi") == "= 2.5"
    # White's stone on A5 was captured by A4 and B5.
    assert ask(engine, "final_status_list alive") == "= B5 A4 B4 C3 D2 E1"
    assert ask(engine, f"loadsgf {path} 2") == "="
    assert ask(engine, "final_status_list alive") == "= A5 B4 C3 D2"
    assert "Black to play" in ask(engine, "showboard")
    for number in (1, 0):
        assert ask(engine, f"loadsgf {path} {number}") == "="
        assert ask(engine, "final_status_list alive") == "= B4 C3 D2"
        assert "White to play" in ask(engine, "showboard")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"(;SZ[5];B[aa];W[aa])",
        b"(;SZ[5];B[zz])",
        b"(;SZ[30];B[aa])",
        b"(;SZ[5];B[aa];AW[bb];W[cc])",
    ],
)
def test_loadsgf_of_a_bad_file_changes_nothing(
    engine: Engine, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bad.sgf"
    path.write_bytes(content)
    ask(engine, "play b E5")
    assert ask(engine, f"loadsgf {path}").startswith("? cannot load file: ")
    assert ask(engine, f"loadsgf {path}.missing").startswith("? cannot load file: ")
    assert ask(engine, "final_status_list alive") == "= E5"


def test_resignation_is_an_option() -> None:
    lost = Fixed(get_game("go9"), 40, win_rate=0.01)
    assert ask(Engine(lost), "genmove b") == "= E5"
    engine = Engine(lost, resign_below=0.05)
    assert ask(engine, "genmove b") == "= resign"
    assert ask(engine, "final_score") == "= W+R"
    assert ask(Engine(Fixed(get_game("go9"), 40, 0.06), 0.05), "genmove b") == "= E5"


def test_a_fault_of_ours_is_an_answer_and_the_connection_lives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(Fixed):
        def choose(self, states: States, seconds: float | None = None) -> int:
            raise RuntimeError("broken")

    engine = Engine(Broken(get_game("go9"), 0))
    assert ask(engine, "5 genmove b") == "?5 internal error: RuntimeError"
    assert ask(engine, "name") == "= ghostgo"
    assert "RuntimeError: broken" in capsys.readouterr().err


def test_only_go_on_square_boards() -> None:
    for name in ("connect_four", "go5x7"):
        with pytest.raises(UserError, match="square boards"):
            Engine(RandomBot(get_game(name), 1))


def test_conversation_stops_at_quit_end_of_input_and_closed_output() -> None:
    class Closed(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError

    def fresh() -> Engine:
        return Engine(RandomBot(get_game("go9"), 1))

    out = io.BytesIO()
    converse(fresh(), io.BytesIO(b"1 name\n\n2 quit\n3 name\n"), out)
    assert out.getvalue() == b"=1 ghostgo\n\n=2\n\n"
    out = io.BytesIO()
    converse(fresh(), io.BytesIO(b"name\r\n\xff\xfe\nname"), out)
    assert out.getvalue() == b"= ghostgo\n\n? unknown command\n\n= ghostgo\n\n"
    converse(fresh(), io.BytesIO(b"name\n"), Closed())


def test_the_process_writes_answers_only(
    ghostgo_command: list[str], clean_environment: dict[str, str]
) -> None:
    script = "boardsize 5\ngenmove b\ngenmove w\nshowboard\n"
    done = subprocess.run(
        [*ghostgo_command, "gtp", "mcts:20", "--seed", "1"],
        input=script, check=False, capture_output=True, text=True, timeout=300, env=clean_environment,
    )  # fmt: skip
    assert done.returncode == 0
    answers = done.stdout.split("\n\n")
    assert len(answers) == 5 and answers[-1] == ""
    assert all(answer.startswith("=") for answer in answers[:-1])
    assert "Traceback" not in done.stderr


def test_what_c_code_prints_is_no_answer(clean_environment: dict[str, str]) -> None:
    program = """if True:
        import os, sys
        from ghostgo import cli, plain_bots

        def choose(self, states, seconds=None):
            os.write(1, b"noise\\n")
            print("more")
            return 40

        plain_bots.RandomBot.choose = choose
        sys.exit(cli.run(["gtp", "random"]))"""
    done = subprocess.run(
        [sys.executable, "-c", program], input="genmove b\n", check=False, capture_output=True,
        text=True, timeout=300, env=clean_environment,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == "= E5\n\n"
    assert "noise\n" in done.stderr and "more\n" in done.stderr


def test_an_untrained_network_plays_on_other_boards_too(untrained_runs: Path) -> None:
    bot = make_bot("fresh", None, visits=16, seed=1, root=untrained_runs)
    engine = Engine(bot)
    assert ask(engine, "version").endswith("fresh@3")
    for size in (9, 5, 9):
        assert ask(engine, f"boardsize {size}") == "="
        vertex = ask(engine, "genmove b").removeprefix("= ")
        assert get_game(f"go{size}").parse_action(vertex) <= size * size


GNUGO_PATH = find_program("gnugo")
needs_gnugo = pytest.mark.skipif(
    GNUGO_PATH is None, reason="GNU Go is not installed: apt-get install gnugo"
)


@needs_gnugo
@pytest.mark.parametrize(
    "opponent",
    [
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("random", "mcts:50")),
        "capture",
        "fresh",
    ],
)
def test_games_against_gnugo_under_a_referee(
    opponent: str, ghostgo_command: list[str], untrained_runs: Path
) -> None:
    arguments = ["gtp", opponent, "--seed", "1", "--root", str(untrained_runs)]
    visits = ["--visits", "8"] if opponent == "fresh" else []
    ours = GtpProcess([*ghostgo_command, *arguments, *visits])
    theirs = GtpProcess([str(GNUGO_PATH), *GNUGO.format(level=1, seed=1).split()])
    try:
        for black, white in ((ours, theirs), (theirs, ours)):
            verdict = play_game(black, white, size=9, komi=6.5)
            assert verdict.finished and verdict.resigned is None
            assert verdict.winner is not None
            written = f"{verdict.winner.upper()}+{abs(verdict.margin):g}"
            assert ours.ask("final_score") == written
        assert ours.close() == 0
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("script", "foul"),
    [
        (["A1", "A1"], "A1"),
        (["A2", "pass", "B1", "A1"], "suicide"),
        (["Z9"], "no vertex"),
        (["C3", "D3", "B2", "E2", "C1", "D1", "D2", "C2", "D2"], "repeats"),
    ],
)
def test_the_referee_sees_fouls(script: list[str], foul: str) -> None:
    """A referee that never whistles proves nothing."""

    class Scripted(GtpProcess):
        moves = iter(script)

        def __init__(self) -> None:
            self.command = ["scripted"]

        def ask(self, text: str) -> str:
            return next(self.moves) if text.startswith("genmove") else ""

    with pytest.raises(Foul, match=foul):
        play_game(Scripted(), Scripted())


def test_a_closed_standard_input_is_the_end_of_input(
    ghostgo_command: list[str], tmp_path: Path
) -> None:
    command = shlex.join([*ghostgo_command, "gtp", "random"])
    done = subprocess.run(
        ["sh", "-c", f"{command} <&-"], check=False, capture_output=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, b"") and b"Traceback" not in done.stderr
