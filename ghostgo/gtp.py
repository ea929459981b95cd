"""Go Text Protocol, version 2 (Farneback 2002): any bot for any Go program.

`Engine.answer` turns one line into one response and does no input or output; `gtp_server.py`
connects it to the standard streams. After an analysis command, `Engine.stream` gives the lines that
follow the response while the search goes on.
"""

from __future__ import annotations

import math
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

from ghostgo import (  # noqa: F401 - they register their commands
    __version__,
    gtp_analysis,
    gtp_handicap,
    gtp_kgs,
    gtp_rules,
)
from ghostgo.board import render
from ghostgo.bot import Analysis, Bot, SearchBot
from ghostgo.clock import Clock, moves_to_come
from ghostgo.data import sgf, sgf_values
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import MAX_KOMI, MAX_SIZE, MIN_SIZE, is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.gtp_protocol import (
    COMMANDS,
    GtpError,
    clean,
    command,
    parse_color,
    parse_number,
)
from ghostgo.human import HumanBot
from ghostgo.session import Session
from ghostgo.variety import Lot

AT_ONCE = frozenset(
    {"protocol_version", "name", "version", "known_command", "list_commands", "quit"}
)
"""Commands that never wait for kernels."""


def playable_komi(komi: float) -> float:
    """The nearest komi that our rules know and under which the same side wins.

    GTP wants any komi accepted, "even if it is ridiculous"; areas differ by whole points.
    """
    if not (2 * komi).is_integer():
        komi = math.floor(komi) + 0.5
    return min(max(komi, -MAX_KOMI), MAX_KOMI)


class Engine:
    """The state of one GTP connection."""

    def __init__(self, bot: Bot, resign_below: float | None = None, ko: str = "positional") -> None:
        """Raises UserError if the bot plays something else than Go on a square board."""
        if not is_go(bot.game) or bot.game.rows != bot.game.cols:
            raise UserError(f"GTP is for Go on square boards, and {bot.name} plays {bot.game.name}")
        self.bot = bot
        self.quitting = False
        self.stream: Callable[[Callable[[], bool]], Iterator[str]] | None = None
        """Lines that follow the last response, to be stopped by its argument; None if none do."""
        self.endless = False
        """Whether the stream waits for the next command rather than ending by itself."""
        self.resign_below = resign_below
        self.komi: float = bot.game.rules["komi"]
        self.ko = ko
        self.suicide: bool = bot.game.rules["suicide"]
        self._trained_for = bot
        self._warmed: Bot | None = None
        self._time_given: tuple[float, float, int] | None = None
        self.clocks: dict[int, Clock] = {}
        """Each side's clock, if there are any."""
        self._komi_given = False
        self.session = self._fresh()

    def set_clocks(self, given: tuple[float, float, int] | None) -> None:
        """Set both sides' clocks, now and for each new game, by a `Clock`'s arguments; None: none."""
        self._time_given = given
        self.clocks = {} if given is None else {side: Clock(*given) for side in (0, 1)}

    def start_anew(self) -> None:
        """Begin a new game, its clocks set, and drawn anew if the last one has any move."""
        if self.lot and self.session.moves:
            self.lot.next_game()
        self.session = self._fresh()

    @property
    def lot(self) -> Lot | None:
        """What draws the bot's moves, if anything does."""
        return self.bot.lot if isinstance(self.bot, SearchBot | HumanBot) else None

    def _fresh(self) -> Session:
        """A new game, its clocks set."""
        self._answered = False
        self._finished: Session | None = None
        self.set_clocks(self._time_given)
        rules = {"komi": playable_komi(self.komi), "ko": self.ko, "suicide": self.suicide}
        return Session(self.bot.game, rules)

    def answer(self, line: str) -> str | None:
        """The response to one line, ending in an empty line; None if the line is blank.

        The empty line is left to whoever writes `stream`, if there is one.
        """
        text = clean(line)
        if not text:
            return None
        match = re.fullmatch(r"(\d*)\s*(.*)", text, re.ASCII)
        number, rest = (match[1], match[2]) if match else ("", text)
        name, *arguments = rest.split() or [""]
        self.stream = None
        try:
            if name not in COMMANDS:
                raise GtpError("unknown command")
            response = f"={number} {COMMANDS[name](self, arguments)}".rstrip() + "\n"
            if name not in AT_ONCE:
                self._warm()
            return response if self.stream else response + "\n"
        except (GtpError, UserError) as error:
            message = " ".join(str(error).split())
        except Exception as error:  # noqa: BLE001 - the connection must outlive a fault of ours
            traceback.print_exc(file=sys.stderr)
            message = f"internal error: {type(error).__name__}"
        self.stream = None
        return f"?{number} {message}\n\n"

    def _warm(self) -> None:
        """Let a network's kernels be compiled while a game is set up, not at its first move.

        The first command does it that is about a game, once for each board, after whatever it does.
        """
        if self._warmed is self.bot or not isinstance(self.bot, SearchBot | HumanBot):
            return
        self._warmed = self.bot
        try:
            self.bot.warm()
            trial = Session(self.bot.game)
            trial.play(self.bot.game.parse_action("pass"))
            trial.stones()
        except Exception:  # noqa: BLE001 - the command itself has succeeded
            traceback.print_exc(file=sys.stderr)

    def action(self, text: str) -> int:
        """The action of a vertex. Raises GtpError if it is none."""
        try:
            return self.session.game.parse_action(text)
        except ValueError as error:
            raise GtpError("invalid color or coordinate") from error

    def vertex(self, action: int) -> str:
        """An action as a vertex."""
        return self.session.game.action_name(action)

    def seconds(self, player: int) -> float | None:
        """What the next move of `player` may take by its clock; None: no limit."""
        clock = self.clocks.get(player)
        if clock is None:
            return None
        return clock.budget(moves_to_come(self.session.game.points, len(self.session.moves)))

    def _choose(self, player: int, seconds: float | None = None) -> int | None:
        """The bot's move; None to resign."""
        states = self.session.ready(player)
        opinion = None if self.resign_below is None else self.bot.analyse(states, seconds)
        return self.bot.choose(states, seconds) if opinion is None else self.judge(opinion)

    def judge(self, opinion: Analysis) -> int | None:
        """The move that an opinion stands for; None to resign."""
        hopeless = self.resign_below is not None and opinion.win_rate < self.resign_below
        return None if hopeless else opinion.action

    def settle(self, player: int, action: int | None, start: float) -> str:
        """Play the bot's move, thought about since `start`, or resign for it; what GTP calls it."""
        if player in self.clocks:
            self.clocks[player].spend(time.monotonic() - start)
        self._answered, self._finished = True, None  # a game that had ended goes on
        if action is None:
            self.session.resign(player)
        else:
            self.session.play(action, player)
        self._remember()
        return "resign" if action is None else self.vertex(action)

    def _remember(self) -> None:
        """Keep a game that the bot has played to its end for its lesson: `undo` may review it next."""
        if self._answered and self.session.over:
            self._answered, self._finished = False, self.session.copy()

    @command("protocol_version")
    def _protocol_version(self, arguments: list[str]) -> str:
        return "2"

    @command("name")
    def _name(self, arguments: list[str]) -> str:
        return "ghostgo"

    @command("version")
    def _version(self, arguments: list[str]) -> str:
        return f"{__version__} {self.bot.name}"

    @command("known_command")
    def _known_command(self, arguments: list[str]) -> str:
        return "true" if arguments and arguments[0] in COMMANDS else "false"

    @command("list_commands")
    def _list_commands(self, arguments: list[str]) -> str:
        return "\n".join(sorted(COMMANDS))

    @command("quit")
    def _quit(self, arguments: list[str]) -> str:
        self.quitting = True  # whoever answers takes the lesson after it
        return ""

    @command("boardsize")
    def _boardsize(self, arguments: list[str]) -> str:
        size = parse_number(arguments[0] if arguments else "")
        # Lizzie names both sides of a board that is no square.
        if not MIN_SIZE <= size <= MAX_SIZE or arguments[1:] not in ([], arguments[:1]):
            raise GtpError("unacceptable size")
        self.take_lesson()
        if size != self.bot.game.rows:
            try:
                self.bot = self._trained_for.bind(get_game(f"go{size}"))
            except UserError as error:
                raise GtpError(f"unacceptable size: {error}") from error
            if not self._komi_given:
                self.komi = self.bot.game.rules["komi"]
        self.start_anew()
        return ""

    @command("rectangular_boardsize")
    def _rectangular_boardsize(self, arguments: list[str]) -> str:
        if len(arguments) != 2:
            raise GtpError("syntax error")
        if arguments[0] != arguments[1]:
            raise GtpError("unacceptable size")
        return self._boardsize(arguments[:1])

    @command("stop")
    def _stop(self, arguments: list[str]) -> str:
        return ""  # an analysis has ended when the next command is read

    @command("clear_board")
    def _clear_board(self, arguments: list[str]) -> str:
        self.take_lesson()
        self.start_anew()
        return ""

    def take_lesson(self) -> None:
        """Let a bot that learns take its lesson from the game that it has played to the end.

        It raises nothing: without a lesson the reason is on standard error.
        """
        finished, self._finished = self._finished, None
        if finished is None or not isinstance(self.bot, SearchBot):
            return
        try:
            entry = self.bot.learn(finished)
        except UserError as error:  # moves out of turn, or another process teaches it
            print(f"no lesson: {error}", file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001 - the board must be cleared all the same
            traceback.print_exc(file=sys.stderr)
        else:
            if entry:
                print(entry, file=sys.stderr, flush=True)

    @command("komi")
    def _komi(self, arguments: list[str]) -> str:
        try:
            komi = float(arguments[0])
        except (IndexError, ValueError) as error:
            raise GtpError("syntax error") from error
        if not math.isfinite(komi):
            raise GtpError("syntax error")
        self.session.set_komi(playable_komi(komi))
        self.komi = komi
        self._komi_given = True
        return ""

    @command("get_komi")
    def _get_komi(self, arguments: list[str]) -> str:
        return f"{self.komi:g}"

    @command("play")
    def _play(self, arguments: list[str]) -> str:
        if len(arguments) < 2:
            raise GtpError("syntax error")
        player = parse_color(arguments[0])
        if arguments[1].lower() == "resign":
            self.session.resign(player)
        else:
            action = self.action(arguments[1])
            try:
                self.session.play(action, player)
            except UserError as error:
                raise GtpError(f"illegal move: {error}") from error
        self._remember()
        return ""

    @command("genmove")
    def _genmove(self, arguments: list[str]) -> str:
        player = parse_color(arguments[0] if arguments else "")
        start = time.monotonic()
        return self.settle(player, self._choose(player, self.seconds(player)), start)

    @command("reg_genmove")
    def _reg_genmove(self, arguments: list[str]) -> str:
        player = parse_color(arguments[0] if arguments else "")
        # For regression tests: the same answer in every session (GTP 2, section 6.3.2).
        with self.bot.without_lot() if isinstance(self.bot, SearchBot) else nullcontext():
            action = self._choose(player)
        return "resign" if action is None else self.vertex(action)

    @command("undo")
    def _undo(self, arguments: list[str]) -> str:
        if not self.session.moves:
            raise GtpError("cannot undo")
        self.session.resigned = None  # no move to a controller, which takes one back
        self.session.undo()
        return ""

    @command("showboard")
    def _showboard(self, arguments: list[str]) -> str:
        to_play = self.session.game.player_names[self.session.to_play]
        return f"\n{render(self.session)}\n{to_play} to play, komi {self.komi:g}"

    @command("final_score")
    def _final_score(self, arguments: list[str]) -> str:
        if self.session.resigned is not None:
            return self.session.result()
        margin = round(self.session.margin() + self.session.rules["komi"] - self.komi, 6)
        return f"{'B' if margin > 0 else 'W'}+{abs(margin):g}" if margin else "0"

    @command("final_status_list")
    def _final_status_list(self, arguments: list[str]) -> str:
        # Under Tromp-Taylor scoring whatever stands on the board is alive.
        status = arguments[0] if arguments else ""
        if status not in ("alive", "seki", "dead"):
            raise GtpError("syntax error")
        if status != "alive":
            return ""
        stones = self.session.stones()
        return " ".join(self.vertex(a) for a in range(len(stones)) if stones[a])

    @command("loadsgf")
    def _loadsgf(self, arguments: list[str]) -> str:
        if not arguments:
            raise GtpError("syntax error")
        stop = max(parse_number(arguments[1]) - 1, 0) if len(arguments) > 1 else None
        before = self.bot, self.session, self.komi, self._komi_given, self.clocks, self._answered
        number = self.lot.game_number if self.lot else 0
        try:
            self._load(Path(arguments[0]), stop)
        except (OSError, UserError, GtpError) as error:
            self.bot, self.session, self.komi, self._komi_given, self.clocks, self._answered = (
                before
            )
            if self.lot:
                self.lot.game_number = number
            raise GtpError(f"cannot load file: {error}") from error
        return ""

    def _load(self, path: Path, stop: int | None) -> None:
        """Set the main line of a file's first game up, before move number `stop` + 1."""
        record = next(sgf.parse_games(path.read_bytes()), None)
        size = sgf_values.parse_size(record.raw(b"SZ")) if record else None
        if record is None or size is None or size[0] != size[1]:
            raise GtpError("no game of Go on a square board")
        if record.late_setup:
            raise GtpError("stones are set up in the middle of the game")
        komi = record.komi()
        self._boardsize([str(size[0])])
        if komi is not None and not math.isnan(komi):
            self._komi([str(komi)])
        stones = record.stones(*size)
        first = record.first_to_play(stones)
        if stones or first:
            self.session.set_up(stones, first)
        moves = zip(record.colours, record.actions(*size), strict=True)
        for colour, action in list(moves)[:stop]:
            self.session.play(action, 0 if colour == b"B" else 1)
