"""Any GTP engine as a player: one process, one game at a time, and never trusted.

An engine that hangs, dies, answers nonsense or plays an illegal move loses that game, with its last
lines quoted; a new process plays the next. Games are scored by our rules, which count every stone
on the board as alive. An engine that passes is therefore asked once more by `kgs-genmove_cleanup`,
where it knows that command, so that it takes dead stones off the board first.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.players import RESIGN, Actions, PlayerFailed
from ghostgo.engine import coords
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States, is_legal_one
from ghostgo.engine.games.go import is_go

QUOTED_LINES = 4
"""How many of an engine's last lines a failure quotes."""
QUOTED_LENGTH = 200
"""Characters of a line that it quotes."""
LAST_WORDS = 0.5
"""Seconds that a failure waits for what the engine has yet to say."""
LONGEST_LINE = 1 << 16
MOST_LINES = 1 << 12
"""Lines of an answer, at most; no command that is sent here has a tenth of that."""
MOST_WAITING = 2 * MOST_LINES
"""Lines read ahead of what was asked for."""
LONGEST_TIMEOUT = 86400.0
GAMES_PATH = "/usr/games:/usr/local/games"
"""Where Debian puts games, which is not on every user's PATH."""
CLEANUP = "kgs-genmove_cleanup"


class EngineFailed(Exception):
    """The engine cannot go on; the message says why and quotes its last lines."""


class EngineRefused(Exception):
    """The engine answered `?`; the message is its reason."""


def find_program(name: str) -> str | None:
    """Full path of a program, looked for on PATH and where Debian puts games."""
    return shutil.which(name) or shutil.which(name, path=GAMES_PATH)


def missing(name: str) -> str:
    """What to say where the program `name` is not found."""
    remedy = f": apt-get install {name}" if name == "gnugo" else " on PATH"
    return f"GTP engine: no program {name!r} is installed here{remedy}"


def quoted(text: str) -> str:
    """`text` on one line that is short and safe to print."""
    line = " ".join(text[: 2 * QUOTED_LENGTH].split())[:QUOTED_LENGTH]
    return "".join(sign if sign.isprintable() else "?" for sign in line)


class GtpEngine:
    """A running engine process and its conversation.

    Each of its three pipes has a thread of its own, which alone may wait for it: an engine that
    reads nothing, or leaves a child behind that holds its pipes, delays nobody.
    """

    def __init__(self, command: str, timeout: float) -> None:
        """Start it; it has `timeout` seconds for each answer.

        Raises UserError if there is no such program, or the timeout is none.
        """
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise UserError(
                f"gtp_timeout {timeout:g} is no time for an answer: more than 0 seconds, at most "
                f"{LONGEST_TIMEOUT:g}"
            )
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UserError(f"GTP engine {command!r}: {error}") from None
        program = find_program(words[0]) if words else None
        if program is None:
            raise UserError(missing(words[0] if words else ""))
        self.timeout = timeout
        self._closed = False
        self._said: deque[str] = deque(maxlen=QUOTED_LINES)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._commands: queue.Queue[str | None] = queue.Queue()
        try:
            self._process = subprocess.Popen(
                [program, *words[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # a group of its own, which ends with all its children
            )
        except OSError as error:
            raise UserError(f"GTP engine {command!r}: {error.strerror}") from None
        self._threads = [
            threading.Thread(target=target, args=(stream,), daemon=True)
            for target, stream in (
                (self._listen, self._process.stdout),
                (self._overhear, self._process.stderr),
                (self._speak, self._process.stdin),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self, stream: IO[str]) -> None:
        with stream:
            while line := stream.readline(LONGEST_LINE):
                self._lines.put(line.strip())
                while self._lines.qsize() > MOST_WAITING and not self._closed:
                    time.sleep(0.01)  # whoever floods us fills no memory
        self._lines.put(None)

    def _overhear(self, stream: IO[str]) -> None:
        with stream:
            while line := stream.readline(LONGEST_LINE):
                self._note(line)

    def _speak(self, stream: IO[str]) -> None:
        try:
            with stream:
                while (command := self._commands.get()) is not None:
                    stream.write(command + "\n")
                    stream.flush()
        except OSError:
            self._lines.put(None)  # it reads no more

    def _note(self, line: str) -> None:
        if line.strip():
            self._said.append(quoted(line))

    def _fail(self, what: str) -> EngineFailed:
        """The failure `what`, with the engine's last lines."""
        until = time.monotonic() + LAST_WORDS
        for thread in self._threads[:2]:
            thread.join(max(until - time.monotonic(), 0))
        for _ in range(self._lines.qsize()):  # what is there now: a flood has no end
            with contextlib.suppress(queue.Empty):
                self._note(self._lines.get_nowait() or "")
        return EngineFailed(f"{what}; its last lines: {' | '.join(self._said) or 'nothing'}")

    def ask(self, command: str) -> str:
        """Send one command and return the answer's text; the timeout is for all of it.

        Raises EngineFailed if the engine dies, hangs or answers no GTP, EngineRefused for `?`.
        """
        deadline = time.monotonic() + self.timeout
        self._commands.put(command)
        answer = ""
        while not answer:
            answer = self._next_line(command, deadline)
        if answer[0] not in "=?":
            raise self._fail(f"answered {command!r} with no GTP")
        lines = [answer]
        while lines[-1]:
            if len(lines) > MOST_LINES:
                raise self._fail(f"answered {command!r} with more than {MOST_LINES} lines")
            lines.append(self._next_line(command, deadline))
        body = "\n".join(lines)[1:].strip()
        if answer[0] == "?":
            raise EngineRefused(quoted(body) or "no reason given")
        return body

    def _next_line(self, command: str, deadline: float) -> str:
        try:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 1e-3))
        except queue.Empty:
            line = ""
        if line is None:
            raise self._died(command)
        if time.monotonic() >= deadline:
            raise self._fail(f"no answer to {command!r} in {self.timeout:g} s")
        self._note(line)
        return line

    def _died(self, command: str) -> EngineFailed:
        try:
            code = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return self._fail(f"closed its output at {command!r}")
        return self._fail(f"ended with status {code} at {command!r}")

    def knows(self, command: str) -> bool:
        """Whether the engine has this command."""
        try:
            return self.ask(f"known_command {command}").lower() == "true"
        except EngineRefused:
            return False

    def program(self) -> str:
        """What it calls itself, version included; what it does not tell is left out."""
        told = []
        for question in ("name", "version"):
            try:
                told += self.ask(question).split()
            except EngineRefused:
                continue
        return quoted(" ".join(told))

    def close(self) -> None:
        """End the process and its children, whatever state they are in; waits for nobody."""
        self._closed = True
        self._commands.put(None)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)


class GtpPlayer:
    """A GTP engine as a `Player`; it plays its games one after another."""

    concurrent = 1

    def __init__(self, name: str, command: str, game: Game, timeout: float = 60.0) -> None:
        """Start the engine once. Raises UserError if it does not run or refuses the board."""
        if not is_go(game) or game.rows != game.cols:
            raise UserError(f"player {name!r}: GTP engines play square Go boards, not {game.name}")
        self.name = name
        self.evaluations = 0
        self.flops = 0.0
        self.row_cost: tuple[NDArray[np.int64], float] | None = None
        self._command = command
        self._game = game
        self._timeout = timeout
        self._engine: GtpEngine | None = None
        self._cleans_up = False
        self._moves: list[int] = []
        self._sent = -1  # moves of this game that the engine knows; -1: it knows of no game
        try:
            self._start().ask(f"boardsize {game.rows}")
            self.program = self._start().program()
        except (EngineFailed, EngineRefused) as error:
            self.close()
            raise UserError(f"player {name!r} ({command}): {error}") from error
        except BaseException:
            self.close()
            raise

    def _start(self) -> GtpEngine:
        engine = self._engine
        if engine is None:
            self._engine = engine = GtpEngine(self._command, self._timeout)
            self._cleans_up = engine.knows(CLEANUP) and engine.knows("undo")
        return engine

    def check_rules(self, rules: Mapping[str, Any]) -> None:
        """GTP has no word for suicide: engines that take it for illegal would forfeit."""
        if rules.get("suicide"):
            raise UserError(f"player {self.name!r}: a GTP engine cannot be told of rule suicide")

    def reset(self, games: Sequence[int]) -> None:
        """A new game begins."""
        self._moves = []
        self._sent = -1

    def observe(self, game: int, action: int) -> None:
        """Note a move; the engine hears of it when it is asked."""
        self._moves.append(action)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """The engine's move in the one position `states`, (1,).

        Raises PlayerFailed if it has none; the process is then gone.
        """
        if len(states) != 1:
            raise ValueError(f"{self.name} plays one game at a time, not {len(states)}")
        try:
            action = self._generate(states[0])
        except (EngineFailed, EngineRefused, UserError) as error:
            self.close()
            raise PlayerFailed(f"{self.name}: {error}") from error
        return np.array([action], np.int32)

    def _generate(self, state: States) -> int:
        engine = self._start()
        rows, cols = self._game.rows, self._game.cols
        if self._sent < 0:
            for command in (f"boardsize {rows}", "clear_board", f"komi {float(state.komi):g}"):
                engine.ask(command)
            self._sent = 0
        for ply in range(self._sent, len(self._moves)):
            engine.ask(f"play {'bw'[ply % 2]} {coords.to_gtp(self._moves[ply], rows, cols)}")
        colour = "bw"[len(self._moves) % 2]
        answer = engine.ask(f"genmove {colour}")
        if answer.lower() == "pass" and self._cleans_up:
            engine.ask("undo")
            answer = engine.ask(f"{CLEANUP} {colour}")
        if answer.lower() == "resign":
            return RESIGN
        answer = quoted(answer)
        action = coords.from_gtp(answer, rows, cols)
        if not is_legal_one(state, action):
            raise engine._fail(f"played the illegal move {answer}")
        self._sent = len(self._moves) + 1
        return action

    def close(self) -> None:
        """End the process; the next game starts a new one."""
        engine, self._engine = self._engine, None  # another thread may be closing it, too
        if engine is not None:
            engine.close()
        self._sent = -1
