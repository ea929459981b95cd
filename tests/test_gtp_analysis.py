"""What GTP does beside the moves: analysis while the search goes on, and clocks."""

from __future__ import annotations

import io
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from test_gtp import Fixed, ask

from ghostgo.bot import Opinions, SearchBot
from ghostgo.engine.games.game import States
from ghostgo.engine.games.registry import get_game
from ghostgo.gtp import Engine
from ghostgo.gtp_analysis import Request, parse_request
from ghostgo.gtp_server import converse
from ghostgo.opponents import make_bot
from ghostgo.plain_bots import RandomBot


class Slow:
    """Input that gives each line only when asked to, as a GUI does."""

    def __init__(self) -> None:
        self.lines: SimpleQueue[bytes] = SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        while line := self.lines.get():
            yield line


def analysing(untrained_runs: Path, visits: int = 64) -> Engine:
    return Engine(make_bot("fresh", None, visits, 1, untrained_runs))


@pytest.mark.parametrize("dialect", ["lz", "kata"])
def test_analysis_goes_on_until_the_next_command(untrained_runs: Path, dialect: str) -> None:
    typed, out = Slow(), io.BytesIO()
    engine = analysing(untrained_runs)
    thread = threading.Thread(target=converse, args=(engine, typed, out), daemon=True)
    thread.start()
    typed.lines.put(f"7 {dialect}-analyze b 1\n".encode())
    deadline = time.monotonic() + 120
    while out.getvalue().count(b"\n") < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    typed.lines.put(b"8 play b D5\n")
    typed.lines.put(b"quit\n")
    thread.join(120)
    assert not thread.is_alive()
    first, second, third = out.getvalue().decode().split("\n\n")[:3]
    head, *infos = first.split("\n")
    assert head == "=7" and len(infos) >= 3 and second == "=8" and third == "="
    for info in infos:
        moves = info.split("info move ")[1:]
        assert 1 <= len(moves) <= 82
        for order, move in enumerate(moves):
            words = move.split()
            assert words[1] == "visits" and int(words[2]) > 0
            rate = float(words[words.index("winrate") + 1])
            assert 0 <= rate <= (10_000 if dialect == "lz" else 1)
            assert int(words[words.index("order") + 1]) == order
            assert words[words.index("pv") + 1] == words[0]
    visits = [sum(int(n) for n in re.findall(r"visits (\d+)", info)) for info in infos]
    assert visits == sorted(visits) and visits[-1] > visits[0]


def test_genmove_analyze_ends_with_the_move_it_played(untrained_runs: Path) -> None:
    out = io.BytesIO()
    engine = analysing(untrained_runs)
    converse(
        engine,
        io.BytesIO(b"1 lz-genmove_analyze b 0\n2 kata-genmove_analyze w maxmoves 2\nname\n"),
        out,
    )
    first, second, third, _ = out.getvalue().decode().split("\n\n")
    assert first.startswith("=1\ninfo move ") and second.startswith("=2\ninfo move ")
    assert third == "= ghostgo" and second.split("\n")[-2].count("info move") == 2
    played = [text.split("\n")[-1].split() for text in (first, second)]
    assert [words[0] for words in played] == ["play", "play"]
    moves = [engine.session.game.action_name(move) for _, move in engine.session.moves]
    assert moves == [words[1] for words in played]
    last = first.split("\n")[-2]
    assert last.split()[2] == played[0][1], "the best of the last report"
    assert sum(int(n) for n in re.findall(r"visits (\d+)", last)) == 64


def test_genmove_analyze_resigns_too() -> None:
    engine = Engine(Fixed(get_game("go9"), 40, 0.01), resign_below=0.05)
    out = io.BytesIO()
    converse(engine, io.BytesIO(b"lz-genmove_analyze b\n"), out)
    assert out.getvalue() == b"=\nplay resign\n\n" and engine.session.resigned == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("b 10 avoid b D5 3", "avoid is not supported"),
        ("b 10 maxmoves", "maxmoves needs a value"),
        ("b 10 maxmoves few", "maxmoves few is not understood"),
        ("b fast yes", "fast yes is not understood"),
    ],
)
def test_analysis_refuses_what_it_does_not_know(arguments: str, complaint: str) -> None:
    answer = Engine(RandomBot(get_game("go9"), 1)).answer(f"kata-analyze {arguments}")
    assert answer is not None and answer.startswith("? ") and complaint in answer
    assert answer.endswith("\n\n")


def test_analysis_request() -> None:
    assert parse_request([]) == Request()
    assert parse_request(["50"]) == Request(None, 0.5)
    assert parse_request(["interval", "20", "W", "ownership", "true"]) == Request(
        1, 0.2, ownership=True
    )
    assert parse_request(["10", "ownership", "false", "pvVisits", "true"]) == Request(
        None, 0.1, line_visits=True
    )
    assert parse_request(["movesOwnership", "true", "minmoves", "3"]) == Request()
    assert parse_request(["b", "100", "maxmoves", "5"]) == Request(0, 1.0, 5)


@pytest.mark.parametrize("name", ["lz-analyze b 10", "kata-genmove_analyze b"])
def test_a_bot_without_opinions_still_answers(name: str) -> None:
    out = io.BytesIO()
    engine = Engine(RandomBot(get_game("go9"), 1))
    converse(engine, io.BytesIO(f"{name}\nname\n".encode()), out)
    first, second, _ = out.getvalue().decode().split("\n\n")
    assert first.split()[:2] == (["=", "play"] if "genmove" in name else ["="])
    assert second == "= ghostgo"


def test_a_fault_while_analysing_ends_the_response_only(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Fixed):
        def ponder(
            self, states: States, endless: bool = False, seconds: float | None = None
        ) -> Opinions:
            raise FloatingPointError("the network's value is not a number")

    out = io.BytesIO()
    engine = Engine(Broken(get_game("go9"), 40))
    converse(engine, io.BytesIO(b"lz-analyze\n2 name\n"), out)
    assert out.getvalue() == b"=\n\n=2 ghostgo\n\n"
    assert "not a number" in capsys.readouterr().err


def test_the_clock_limits_the_search() -> None:
    bot = Fixed(get_game("go9"), 40)
    engine = Engine(bot)
    engine.answer("genmove b")
    assert bot.seconds is None
    engine.answer("clear_board")
    engine.answer("time_settings 90 0 0")
    engine.answer("genmove b")
    assert bot.seconds == pytest.approx(0.9 * 88 / 40.5)
    engine.answer("time_left b 3 1")
    bot.action = 41
    engine.answer("genmove b")
    assert bot.seconds == pytest.approx(0.9 * 3)
    engine.answer("clear_board")
    bot.action = 42
    engine.answer("genmove b")
    assert bot.seconds == pytest.approx(0.9 * 88 / 40.5), "a new game has fresh clocks"
    engine.answer("reg_genmove b")
    assert bot.seconds is None
    for action, settings in ((43, "0 10 0"), (44, "0 0 0")):
        engine.answer(f"time_settings {settings}")
        bot.action = action
        engine.answer("genmove w")
        assert bot.seconds is None


def test_a_search_stops_when_its_time_is_over(untrained_runs: Path) -> None:
    bot = make_bot("fresh", None, None, 1, untrained_runs, seconds=1e-6)
    short = bot.analyse(bot.game.new_states(1))
    full = make_bot("fresh", None, 200, 1, untrained_runs).analyse(bot.game.new_states(1))
    assert short is not None and full is not None
    assert sum(move.visits for move in short.candidates) <= 8
    assert sum(move.visits for move in full.candidates) == 200
    assert short.action in bot.game.legal_actions(bot.game.new_states(1)[0])
    # GUIs that analyse while the bot thinks get no more.
    for limited in (bot, make_bot("fresh", None, 200, 1, untrained_runs)):
        engine = Engine(limited)
        engine.answer("time_settings 0 1 1")
        engine.answer("time_left b 0 1")
        engine.answer("lz-genmove_analyze b 0")
        assert engine.stream is not None
        *infos, played = engine.stream(lambda: False)
        assert played.startswith("play ")
        visits = [int(n) for n in re.findall(r"visits (\d+)", " ".join(infos[-1:]))]
        assert sum(visits) <= 8


def test_how_long_a_call_takes_is_known_before_the_first_move(untrained_runs: Path) -> None:
    bot = make_bot("fresh", None, 20, 1, untrained_runs)
    assert isinstance(bot, SearchBot) and bot._pace.longest == 0
    Engine(bot).answer("clear_board")
    assert bot._pace.longest > 0
    limited = make_bot("fresh", None, 20, 1, untrained_runs, seconds=60)
    assert isinstance(limited, SearchBot)
    limited.choose(limited.game.new_states(1))
    assert limited._warmed, "compiling is no search"


def test_the_clock_limits_a_bot_that_may_resign() -> None:
    bot = Fixed(get_game("go9"), 40)
    engine = Engine(bot, resign_below=0.1)
    engine.answer("time_settings 90 0 0")
    engine.answer("genmove b")
    assert bot.seconds == pytest.approx(0.9 * 88 / 40.5)


def test_a_file_that_does_not_load_leaves_the_clock_alone(tmp_path: Path) -> None:
    engine = Engine(Fixed(get_game("go9"), 40))
    engine.answer("time_settings 90 0 0")
    engine.answer("time_left b 50 0")
    bad = tmp_path / "bad.sgf"
    bad.write_text("(;GM[1]SZ[9];B[aa];B[aa])")
    assert ask(engine, f"loadsgf {bad}").startswith("? cannot load file")
    assert engine.clocks[0].left == 50


def test_seconds_and_a_bot_in_the_box_from_the_command_line(
    ghostgo_command: list[str], clean_environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [*ghostgo_command, "gtp", "--seconds", "0.05"], input="genmove b\nversion\nquit\n",
        capture_output=True, text=True, check=True, cwd=tmp_path, env=clean_environment,
    )  # fmt: skip
    move, version, quitting, _ = done.stdout.split("\n\n")
    assert move.startswith("= ") and version.endswith(" go9") and quitting == "="
