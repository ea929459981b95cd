"""The analysis commands of Leela Zero and KataGo: what they are asked, and what they report.

A GUI sends `lz-analyze` or `kata-analyze` and gets a line of moves every so often until it sends
something else; `lz-genmove_analyze` and `kata-genmove_analyze` do the same until the move is chosen.
Both dialects are described in the GTP documentation of KataGo ("GTP Extensions"). All numbers are
from the side to move.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ghostgo.bot import Analysis, Bot, Candidate, Opinions
from ghostgo.clock import STEP_MARGIN
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import States, play_one
from ghostgo.gtp_protocol import COLORS, command

if TYPE_CHECKING:
    from ghostgo.gtp import Engine

Dialect = Literal["lz", "kata"]
Stop = Callable[[], bool]
Line = tuple[int, ...]
SHOWN = ("ownership", "pvvisits")
"""Keys of KataGo for what is reported if they are true."""
EXTRAS = ("ownershipstdev", "movesownership", "movesownershipstdev", "pvedgevisits", "rootinfo")
"""Keys of KataGo for parts of the report that are left out here; GUIs do without them."""
NUMBERS = ("interval", "minmoves", "maxmoves")
DEFAULT_INTERVAL = 1.0
MOST_JUDGED = 32
"""Lines whose margin the network is asked for in one report; of the others it is in a later one."""


@dataclass(frozen=True)
class Request:
    """What an analysis command asks for."""

    player: int | None = None
    """Side to move, None: whoever's turn it is."""
    interval: float = DEFAULT_INTERVAL
    """Seconds between two reports."""
    most: int = 1 << 30
    """Moves reported at most."""
    ownership: bool = False
    """Whether to report whose each point will be."""
    line_visits: bool = False
    """Whether to report the visits of each move of a line."""


def parse_request(arguments: list[str]) -> Request:
    """The request in `[color] [centiseconds] [KEY VALUE]...`.

    `minmoves` is taken and has no effect: moves without visits are not reported. Raises UserError,
    naming it, for an unknown key or value, and for restrictions to some moves, which are not
    supported.
    """
    words = [word.lower() for word in arguments]
    numbers: dict[str, int] = {}
    shown: dict[str, bool] = {}
    player = COLORS[words.pop(0)] if words and words[0] in COLORS else None
    if words and words[0].isdigit():
        words.insert(0, "interval")
    while words:
        key = words.pop(0)
        if key in COLORS:  # KataGo takes the colour anywhere
            player = COLORS[key]
            continue
        if key in ("avoid", "allow"):
            raise UserError(f"{key} is not supported: all legal moves are searched")
        if not words:
            raise UserError(f"{key} needs a value")
        value = words.pop(0)
        if key in (*SHOWN, *EXTRAS) and value in ("true", "false"):
            shown[key] = value == "true"
        elif key in NUMBERS and re.fullmatch(r"\d{1,6}", value, re.ASCII):
            numbers[key] = int(value)
        else:
            raise UserError(f"{key} {value} is not understood")
    return Request(
        player,
        numbers.get("interval", round(100 * DEFAULT_INTERVAL)) / 100,
        max(1, numbers.get("maxmoves", 1 << 30)),
        shown.get("ownership", False),
        shown.get("pvvisits", False),
    )


class Reporter:
    """Writes the lines of one analysis of the position `states`, (1,)."""

    def __init__(self, bot: Bot, states: States, dialect: Dialect, request: Request) -> None:
        self._bot, self._states = bot, states
        self._dialect, self._request = dialect, request
        self._leads: dict[Line, tuple[float, float | None]] = {}
        """By line: points that the side to move is ahead behind it, and their deviation."""
        self._owners: str | None = None
        self._line_seconds = 0.0

    def ask_ownership(self) -> None:
        """Ask now for what a report says of the owners, if it is to say anything."""
        if self._dialect == "kata" and self._request.ownership:
            self._ownership()

    def report(self, found: Analysis, hurry: bool = False, seconds: float | None = None) -> str:
        """One line of `info move ...`, best move first; in a hurry, by what was known before.

        What is not known yet is asked for as far as `seconds` last, if they are given.
        Leela Zero writes rates in ten-thousandths, KataGo as fractions, and points besides.
        """
        moves = found.candidates[: self._request.most]
        if self._dialect == "kata" and not hurry:
            self._judge([_line(move) for move in moves], self._judged_within(seconds))
        parts = [self._info(order, move) for order, move in enumerate(moves)]
        if parts and self._dialect == "kata" and self._request.ownership:
            parts += [self._ownership()]
        return " ".join(part for part in parts if part)

    def _info(self, order: int, move: Candidate) -> str:
        name, line = self._bot.game.action_name, _line(move)
        rates = {"winrate": move.win_rate, "prior": move.prior, "lcb": move.lcb}
        if self._dialect == "lz":
            said = [f"{key} {round(10_000 * rate)}" for key, rate in rates.items()]
        else:
            said = [f"{key} {rate:.6f}" for key, rate in rates.items()]
            lead, deviation = self._leads.get(line, (None, None))
            if lead is not None:
                said += [f"scoreMean {lead:.3f} scoreLead {lead:.3f}"]
            if deviation is not None:
                said += [f"scoreStdev {deviation:.3f}"]
        pv = " ".join(name(action) for action in line)
        if self._request.line_visits:
            pv += f" pvVisits {' '.join(map(str, move.line_visits or (move.visits,)))}"
        return (
            f"info move {name(move.action)} visits {move.visits} {' '.join(said)} "
            f"order {order} pv {pv}"
        )

    def _judged_within(self, seconds: float | None) -> int:
        """How many lines can be judged in so many seconds; one where nobody knows."""
        if seconds is None:
            return MOST_JUDGED
        if self._line_seconds == 0:
            return 1
        return min(MOST_JUDGED, int(max(0.0, seconds) / (STEP_MARGIN * self._line_seconds)))

    def _judge(self, lines: list[Line], most: int) -> None:
        """Ask what the game is expected to be won by at the end of up to `most` lines that are new."""
        new = [line for line in lines if line not in self._leads][:most]
        if not new:
            return
        start = time.monotonic()
        states = self._states.repeat(len(new))
        for i, line in enumerate(new):
            for action in line:
                play_one(states[i], action)
        margins = self._bot.margins(states)
        self._line_seconds = max(self._line_seconds, (time.monotonic() - start) / len(new))
        if margins is None:
            return
        sign = 1 if self._states[0].to_play == 0 else -1
        for i, line in enumerate(new):
            deviations = margins.deviations
            deviation = None if deviations is None else float(deviations[i])
            self._leads[line] = sign * float(margins.means[i]), deviation

    def _ownership(self) -> str:
        """The list of all points, from the upper left, row by row; empty if the bot has no idea."""
        if self._owners is None:
            found = self._bot.ownership(self._states)
            sign = 1 if self._states[0].to_play == 0 else -1
            values = [] if found is None else [f"{sign * float(value):.4f}" for value in found]
            self._owners = " ".join(["ownership", *values]) if values else ""
        return self._owners

    def reports(self, opinions: Opinions, stop: Stop, calm: float | None = None) -> Iterator[str]:
        """A line every interval while the search goes on, and a last one when it ends or must stop.

        Where a clock is running nothing new is judged later than `calm` seconds from now, and
        nothing at all for somebody who waits for the end.
        """
        start = last = time.monotonic()
        read: Callable[[], Analysis] | None = None
        for read in opinions:
            stopping, now = stop(), time.monotonic()
            if stopping or now - last >= self._request.interval:
                left = None if calm is None else calm - (now - start)
                late = left is not None and left < 0
                yield from _lines(self.report(read(), stopping or late, left))
                last = time.monotonic()
            if stopping:
                return
        if read is not None:  # else the bot has no opinion
            yield from _lines(self.report(read(), hurry=calm is not None))


def _line(move: Candidate) -> Line:
    return move.line or (move.action,)


def _lines(text: str) -> Iterator[str]:
    """`text`, unless it is empty: an empty line would end the response."""
    if text:
        yield text


@command("lz-analyze")
def _lz_analyze(engine: Engine, arguments: list[str]) -> str:
    return _analyze(engine, arguments, "lz")


@command("kata-analyze")
def _kata_analyze(engine: Engine, arguments: list[str]) -> str:
    return _analyze(engine, arguments, "kata")


@command("lz-genmove_analyze")
def _lz_genmove_analyze(engine: Engine, arguments: list[str]) -> str:
    return _genmove_analyze(engine, arguments, "lz")


@command("kata-genmove_analyze")
def _kata_genmove_analyze(engine: Engine, arguments: list[str]) -> str:
    return _genmove_analyze(engine, arguments, "kata")


def _analyze(engine: Engine, arguments: list[str], dialect: Dialect) -> str:
    """Set the stream of an endless analysis up."""
    request = parse_request(arguments)
    player = engine.session.to_play if request.player is None else request.player
    states, bot = engine.session.ready(player), engine.bot
    reporter = Reporter(bot, states, dialect, request)

    def analyse(stop: Stop) -> Iterator[str]:
        yield from reporter.reports(bot.ponder(states, True), stop)

    engine.stream, engine.endless = analyse, True
    return ""


def _genmove_analyze(engine: Engine, arguments: list[str], dialect: Dialect) -> str:
    """Set the stream of an analysis up that ends with the move played."""
    request = parse_request(arguments)
    player = engine.session.to_play if request.player is None else request.player
    states, bot = engine.session.ready(player), engine.bot
    reporter = Reporter(bot, states, dialect, request)

    def analyse_and_play(stop: Stop) -> Iterator[str]:
        last: Callable[[], Analysis] | None = None
        start, seconds = time.monotonic(), engine.seconds(player)

        left = seconds
        if seconds is not None:
            reporter.ask_ownership()
            left = max(0.0, seconds - (time.monotonic() - start))

        def opinions() -> Opinions:
            nonlocal last
            for read in bot.ponder(states, seconds=left):
                last = read
                yield read

        calm = None if left is None else left / 2
        yield from reporter.reports(opinions(), lambda: False, calm)
        action = engine.judge(last()) if last else bot.choose(states)
        yield f"play {engine.settle(player, action, start)}"

    engine.stream, engine.endless = analyse_and_play, False
    return ""
