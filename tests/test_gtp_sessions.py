"""Whole conversations over GTP, and games by the clock in a time that stands still between network calls."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from screen_suite import FirstLegal
from sizes import sized
from test_gtp import Fixed, ask

from ghostgo import clock as clock_module
from ghostgo import gtp as gtp_module
from ghostgo import gtp_analysis
from ghostgo.bot import Analysis, Candidate, Margins, Opinions, SearchBot
from ghostgo.clock import Pace
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.registry import get_game
from ghostgo.gtp import Engine
from ghostgo.gtp_server import converse

GAME = get_game("go9")
SESSIONS = sorted((Path(__file__).parent / "sessions").glob("*.gtp"))
RECORD = "(;GM[1]SZ[9]KM[6.5];B[ee];W[cc];B[gg];W[gc])"
POINT = r"(pass|[A-HJ]\d)"
INFO = rf"info move {POINT} visits \d+ winrate \d[\d.]*( [a-zA-Z]+ -?\d[\d.]*)* pv( {POINT})+"
PARTS = {
    "{info}": f"{INFO}( {INFO})*",  # a line of moves as Sabaki reads it, the variation last
    "{ownership}": r"ownership( -?[01]\.\d+){81}",
}


class Opinionated(FirstLegal):
    """Plays the moves it is told, None for the first that is legal, and resigns if told to.

    It has an opinion of either side's positions, and takes all points for Black's.
    """

    def __init__(self, game: Game, told: list[str | None]) -> None:
        super().__init__(game)
        self.told = told
        self.expected = np.full(game.points, 0.5, np.float32)
        self.lead = 3.5

    def analyse(self, states: States, seconds: float | None = None) -> Analysis | None:
        found, name = super().analyse(states), self.told.pop(0)
        assert found
        if name == "resign":
            return replace(found, win_rate=0.0)
        return found if name is None else replace(found, action=self.game.parse_action(name))

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        found = super().analyse(states) if endless else self.analyse(states)
        assert found
        yield lambda: found


def told(commands: list[str], answers: list[str]) -> list[str | None]:
    """The move in each answer to a command that asks for one; None if any will do."""
    asked = [answer for line, answer in zip(commands, answers, strict=True) if "genmove" in line]
    moves = [re.search(rf"(?:=\d* |play )({POINT}|resign)$", answer) for answer in asked]
    return [move and move[1] for move in moves]


@pytest.mark.parametrize("path", SESSIONS, ids=[path.stem for path in SESSIONS])
def test_a_conversation_as_a_gui_holds_it(path: Path, tmp_path: Path) -> None:
    (tmp_path / "game.sgf").write_text(RECORD)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    lines = [line.replace("{sgf}", str(tmp_path / "game.sgf")) for line in lines]
    commands, answers = lines[::2], [line.removeprefix("~ ") for line in lines[1::2]]
    engine = Engine(Opinionated(GAME, told(commands, answers)), resign_below=0.1)
    out = io.BytesIO()
    converse(engine, io.BytesIO("\n".join([*commands, ""]).encode()), out)
    got = out.getvalue().decode().split("\n\n")[:-1]
    assert len(got) == len(commands) == len(answers)
    for line, answer, wanted in zip(commands, got, answers, strict=True):
        for name, part in PARTS.items():
            wanted = wanted.replace(name, part)
        assert re.fullmatch(wanted, answer), f"{line}: {answer!r} is not {wanted!r}"


def test_there_are_conversations() -> None:
    assert [path.stem for path in SESSIONS] == ["gogui", "katago", "kgs", "lizzie", "sabaki"]


# ---- cleaning up


def cleaning(win: Analysis | None, expected: float | None) -> Engine:
    """Black's walls hold a white stone on A9; the bot would pass."""
    bot = Fixed(GAME, GAME.points)
    bot.analyse = lambda states, seconds=None: win  # type: ignore[method-assign,assignment,return-value]
    owners = None if expected is None else np.full(GAME.points, expected, np.float32)
    bot.ownership = lambda states: owners  # type: ignore[method-assign,assignment]
    engine = Engine(bot)
    ask(engine, "play w A9", "play b C9", "play b C8", "play b B7", "play b A7")
    return engine


def test_dead_stones_are_captured_before_a_pass() -> None:
    passing = Analysis(GAME.points, 0.99, (Candidate(81, 30, 0.99), Candidate(1, 5, 0.98)))
    engine = cleaning(passing, 0.9)
    assert ask(engine, "kgs-genmove_cleanup b") == "= B9", "the liberty that the search visited"
    assert ask(engine, "kgs-genmove_cleanup b") == "= A8"
    assert "A9" not in ask(engine, "final_status_list alive")
    assert ask(engine, "kgs-genmove_cleanup b") == "= pass"
    assert ask(cleaning(None, 0.9), "kgs-genmove_cleanup b") == "= B9", "any that is legal"


@pytest.mark.parametrize("expected", [None, 0.2, -0.9])
def test_what_is_not_dead_is_left_alone(expected: float | None) -> None:
    assert ask(cleaning(None, expected), "kgs-genmove_cleanup b") == "= pass"
    assert ask(cleaning(None, expected), "kgs-genmove_cleanup") == "? invalid color or coordinate"


# ---- blitz


class Virtual:
    """A time that passes only in network calls, and at the controller's."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.now, self.rng = 0.0, rng

    def call(self) -> None:
        """A network call of about 8 ms; one in a hundred is held up."""
        self.now += float(self.rng.lognormal(np.log(0.008), 0.4))
        if self.rng.random() < 0.01:
            self.now += float(self.rng.uniform(0.02, 0.06))


class Slow(Virtual):
    """Network calls of up to half a second, of about the same length in one game."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.mean = float(rng.uniform(0.02, 0.41))

    def call(self) -> None:
        """A network call."""
        self.now += self.mean * float(self.rng.uniform(0.8, 1.2))


class Timed(SearchBot):
    """The real bot's loop around a search whose steps cost virtual time and find random moves."""

    def __init__(self, time: Virtual) -> None:
        self.name, self.game, self.student = "timed", GAME, None
        self._seconds, self._reuse, self._searcher = None, True, self  # type: ignore[assignment]
        self._time, self._states, self.steps = time, GAME.new_states(1), 0
        self._pace, self._warmed, self.lot, self.kept = Pace(), True, None, 0

    def warm(self) -> None:
        """Nothing is compiled here."""

    def begin(self, states: States, keep: bool) -> list[int]:
        self._states = states
        return [self.kept]

    def step(self) -> bool:
        self._time.call()
        self.steps += 1
        return True

    def result(self) -> Any:
        legal = GAME.legal_actions(self._states[0])
        board = legal[legal < GAME.points]
        return SimpleNamespace(action=[self._time.rng.choice(board if len(board) else legal)])


@dataclass
class Referee:
    """A clock kept from the rules of the time system, by nothing of ours."""

    kind: str
    main: float
    period: float = 0.0
    count: int = 0
    """Stones a period (canadian), or periods (byoyomi)."""

    def __post_init__(self) -> None:
        self.bank, self.used, self.stones = self.main, 0.0, 0

    def moved(self, seconds: float) -> bool:
        """Whether a move of so many seconds was in time."""
        over = max(0.0, seconds - self.bank)
        self.bank = max(0.0, self.bank - seconds)
        if over == 0 and self.bank > 0:
            return True
        if self.kind == "absolute":
            return over == 0
        if self.kind == "byoyomi":
            self.count -= int(over // self.period)
            return self.count > 0
        self.used, self.stones = self.used + over, self.stones + 1
        in_time = self.used <= self.period
        if self.stones == self.count:
            self.used, self.stones = 0.0, 0
        return in_time

    def left(self) -> tuple[float, int]:
        """What `time_left` says."""
        if self.bank > 0 or self.kind == "absolute":
            return self.bank, 0
        if self.kind == "byoyomi":
            return self.period, self.count
        return self.period - self.used, self.count - self.stones


SYSTEMS = [
    ("absolute", 10), ("absolute", 60), ("canadian", 5, 10, 10), ("canadian", 0, 8, 25),
    ("byoyomi", 10, 2, 3), ("byoyomi", 0, 1, 1),
]  # fmt: skip


SLOW_SYSTEMS = [
    ("absolute", 60), ("absolute", 300), ("canadian", 5, 10, 10), ("canadian", 0, 20, 25),
    ("byoyomi", 10, 2, 3), ("byoyomi", 0, 1, 1),
]  # fmt: skip
"""Under which half a second a move is possible."""


def by(time: Virtual, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `time` be everybody's."""
    for module in (gtp_module, gtp_analysis, clock_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.now))


def blitz(
    monkeypatch: pytest.MonkeyPatch,
    games: int,
    kind: type[Virtual] = Virtual,
    systems: list[tuple[Any, ...]] = SYSTEMS,
    thought: float = 3.0,
) -> None:
    """So many games by the clock, by turns under each system, told of the time left or not.

    Network calls a move are more than `thought`.
    """
    for number in range(games):
        rng = np.random.default_rng(number)
        time, system = kind(rng), systems[number % len(systems)]
        by(time, monkeypatch)
        bot = Timed(time)
        engine = Engine(bot)
        clocks = [Referee(*system) for _ in "bw"]
        assert ask(engine, f"kata-time_settings {' '.join(map(str, system))}") == "="
        tells = number // len(systems) % 2 == 0
        for ply in range(int(GAME.points * rng.uniform(0.4, 1.3))):
            side = "bw"[ply % 2]
            if tells:
                left, stones = clocks[ply % 2].left()
                ask(engine, f"time_left {side} {left:.3f} {stones}")
            start = time.now
            assert ask(engine, f"genmove {side}").startswith("= ")
            # The controller's own, which an engine can allow for only where it is told the time.
            delay = float(rng.uniform(0, 0.005)) * tells
            in_time = clocks[ply % 2].moved(time.now - start + delay)
            assert in_time, (number, system, tells, ply, time.now - start, clocks)
        assert bot.steps >= thought * len(engine.session.moves), "it has thought"


def test_blitz_is_never_lost_on_time(monkeypatch: pytest.MonkeyPatch) -> None:
    blitz(monkeypatch, sized(30, 1))


@pytest.mark.slow
def test_a_thousand_games_of_blitz(monkeypatch: pytest.MonkeyPatch) -> None:
    blitz(monkeypatch, sized(1000, 1))


def test_a_slow_network_keeps_to_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    blitz(monkeypatch, sized(30, 1), Slow, SLOW_SYSTEMS, thought=1.0)


@pytest.mark.slow
def test_a_thousand_games_with_slow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    blitz(monkeypatch, sized(1000, 1), Slow, SLOW_SYSTEMS, thought=1.0)


def test_where_no_call_fits_the_policy_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Slow(np.random.default_rng(1))
    time.mean = 0.3
    by(time, monkeypatch)
    bot, states = Timed(time), GAME.new_states(1)

    def steps(seconds: float | None, kept: int = 0) -> int:
        bot.kept, before, start = kept, bot.steps, time.now
        list(bot.ponder(states, seconds=seconds))
        pondered = bot.steps - before
        assert seconds is None or time.now - start <= max(seconds, 0.36)
        bot.choose(states, seconds)
        assert bot.steps - before == 2 * pondered
        return pondered

    assert steps(0.9) == 2 and steps(0.4) == 1 and steps(0.0) == 1
    assert steps(0.0, kept=7) == 0, "what the last search has left is enough"
    assert steps(0.9, kept=7) == 2


class Judging(FirstLegal):
    """A bot whose network takes 0.3 s a position to say what is expected there."""

    def __init__(self, time: Virtual) -> None:
        super().__init__(GAME)
        self.time = time

    def margins(self, states: States) -> Margins:
        self.time.now += 0.3 * len(states)
        return Margins(np.ones(len(states), np.float32), None)

    def ownership(self, states: States) -> Any:
        self.time.now += 0.3
        return np.ones(GAME.points, np.float32)

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        moves = tuple(Candidate(action, 9, 0.5) for action in range(60))
        end = self.time.now + (seconds or 0.0)
        while self.time.now + 0.05 < end:
            self.time.now += 0.05
            yield lambda: Analysis(0, 0.5, moves)


def test_reports_of_a_slow_network_keep_to_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Virtual(np.random.default_rng(1))
    by(time, monkeypatch)
    engine = Engine(Judging(time))
    ask(engine, "time_settings 0 5 1")
    assert engine.answer("kata-genmove_analyze b 10 ownership true") == "=\n"
    assert engine.stream
    *infos, played = engine.stream(lambda: False)
    assert time.now <= 4.5 and played.startswith("play ")
    assert 3 <= infos[-1].count("scoreLead") <= 6 and "ownership 1.0000" in infos[-1]


def test_the_referee_sees_a_lost_clock() -> None:
    """A referee that never whistles proves nothing."""
    assert not Referee("absolute", 1).moved(1.1)
    canadian = Referee("canadian", 0, 1, 2)
    assert canadian.moved(0.6) and not canadian.moved(0.6)
    canadian = Referee("canadian", 1, 1, 2)
    assert canadian.moved(1.5) and canadian.moved(0.4) and canadian.moved(0.9)
    byoyomi = Referee("byoyomi", 1, 1, 2)
    assert byoyomi.moved(1.5) and byoyomi.moved(1.5) and not byoyomi.moved(1.5)
