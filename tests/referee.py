"""An independent referee for games between two GTP engines.

Legality is judged by sgfmill's board, not by ours: no stone on a stone, no suicide, no repeated
position (positional superko). Any departure from the protocol or the rules is a `Foul`.
`benchmarks/refereed.py` plays many such games.
"""

from __future__ import annotations

import queue
import random
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from sgfmill import boards, common

GNUGO = "--mode gtp --level {level} --chinese-rules --positional-superko --seed {seed}"
BLACK, WHITE = "b", "w"


class Foul(Exception):
    """An engine broke the protocol or the rules."""

    def __init__(self, engine: GtpProcess, what: str) -> None:
        super().__init__(f"{engine.command[0]}: {what}")
        self.engine = engine


class GtpProcess:
    """An engine in a child process, spoken to with command ids and a time limit."""

    def __init__(self, command: Sequence[str], timeout: float = 60.0) -> None:
        self.command = list(command)
        self.timeout = timeout
        self._id = 0
        self._waiting = False
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _line(self, text: str) -> str:
        try:
            line = self._lines.get(timeout=self.timeout)
        except queue.Empty:
            raise Foul(self, f"no answer to {text!r} in {self.timeout} s") from None
        if line is None:
            raise Foul(self, f"closed its output at {text!r}")
        return line

    def ask(self, text: str) -> str:
        """The answer to a command, without id; raises Foul for a failure or a malformed answer."""
        self._id += 1
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{self._id} {text}\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Foul(self, f"gone at {text!r}") from error
        self._waiting = True
        lines = [self._line(text)]
        while lines[-1] != "\n":
            lines.append(self._line(text))
        self._waiting = False
        match = re.fullmatch(rf"={self._id}(?: (.*))?\n", "".join(lines[:-1]), re.DOTALL)
        if not match:
            raise Foul(self, f"{text!r} was answered by {''.join(lines)!r}")
        return match[1] or ""

    def close(self) -> int:
        """Say quit; returns the exit code. Raises Foul if the engine does not go.

        One that still owes an answer is not asked.
        """
        if self._waiting:
            self._process.kill()
        elif self._process.poll() is None:
            self.ask("quit")
        try:
            return self._process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Foul(self, "still there after quit") from None

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self._process.kill()
        self._process.wait()


@dataclass
class Verdict:
    """A refereed game."""

    moves: list[tuple[str, str]] = field(default_factory=list)
    """Colour and vertex of each move."""
    resigned: str | None = None
    margin: float = 0.0
    """Black's margin by area with komi, everything on the board alive."""
    finished: bool = False
    """Whether the game ended by two passes or a resignation, not by the referee's patience."""

    @property
    def winner(self) -> str | None:
        """`b`, `w` or None for a draw."""
        if self.resigned:
            return WHITE if self.resigned == BLACK else BLACK
        return BLACK if self.margin > 0 else WHITE if self.margin < 0 else None


def play_game(
    black: GtpProcess,
    white: GtpProcess,
    size: int = 9,
    komi: float = 7.0,
    most_moves: int = 400,
    opening: Sequence[str] = (),
) -> Verdict:
    """Let the engines play on from `opening`, vertices from Black's first; Foul as soon as one errs."""
    for engine in (black, white):
        engine.ask(f"boardsize {size}")
        engine.ask("clear_board")
        engine.ask(f"komi {komi}")
    board = boards.Board(size)
    seen = {_position(board)}
    verdict = Verdict()
    for i, vertex in enumerate(opening):
        colour = WHITE if i % 2 else BLACK
        verdict.moves.append((colour, vertex))
        judge(board, seen, colour, common.move_from_vertex(vertex, size))
        for engine in (black, white):
            engine.ask(f"play {colour} {vertex}")
    colour, passes = WHITE if len(opening) % 2 else BLACK, 0
    while passes < 2 and len(verdict.moves) < most_moves:
        mover, other = (black, white) if colour == BLACK else (white, black)
        vertex = mover.ask(f"genmove {colour}")
        if vertex.lower() == "resign":
            verdict.resigned, verdict.finished = colour, True
            return verdict
        verdict.moves.append((colour, vertex))
        point = _parse(vertex, size, mover)
        passes = passes + 1 if point is None else 0
        if point is not None:
            try:
                judge(board, seen, colour, point)
            except ValueError as error:
                raise Foul(mover, f"{colour} {vertex}: {error}") from error
        other.ask(f"play {colour} {vertex}")
        colour = WHITE if colour == BLACK else BLACK
    verdict.finished = passes >= 2
    verdict.margin = board.area_score() - komi
    return verdict


def _parse(vertex: str, size: int, mover: GtpProcess) -> tuple[int, int] | None:
    try:
        point: tuple[int, int] | None = common.move_from_vertex(vertex, size)
    except ValueError as error:
        raise Foul(mover, f"{vertex!r} is no vertex: {error}") from error
    return point


def _position(board: boards.Board) -> frozenset[tuple[str, tuple[int, int]]]:
    return frozenset(board.list_occupied_points())


def judge(
    board: boards.Board,
    seen: set[frozenset[tuple[str, tuple[int, int]]]],
    colour: str,
    point: tuple[int, int],
) -> None:
    """Play a stone on `board`, whose positions so far are `seen`; ValueError if the rules forbid it.

    Both are changed even then.
    """
    board.play(*point, colour)
    if board.get(*point) != colour:
        raise ValueError("suicide")
    if _position(board) in seen:
        raise ValueError("repeats an earlier position")
    seen.add(_position(board))


def random_opening(plies: int, rng: random.Random, size: int = 9) -> list[str]:
    """So many random legal stones, as vertices, Black's first."""
    board = boards.Board(size)
    seen = {_position(board)}
    opening: list[str] = []
    while len(opening) < plies:
        point = rng.randrange(size), rng.randrange(size)
        trial, before = board.copy(), set(seen)
        try:
            judge(trial, before, WHITE if len(opening) % 2 else BLACK, point)
        except ValueError:
            continue
        board, seen = trial, before
        opening.append(common.format_vertex(point))
    return opening
