"""An independent referee for games between two GTP engines.

Legality is judged by sgfmill's board, not by ours: no stone on a stone, no suicide, no repeated
position (positional superko). Any departure from the protocol or the rules is a `Foul`.

    python tests/referee.py --games 10 'ghostgo gtp mcts:1000' 'gnugo --mode gtp --level 1 ...'
"""

from __future__ import annotations

import argparse
import queue
import re
import shlex
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from sgfmill import boards, common

GNUGO = "--mode gtp --level {level} --chinese-rules --positional-superko --seed {seed}"
BLACK, WHITE = "b", "w"


class Foul(Exception):
    """An engine broke the protocol or the rules."""


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
            raise Foul(f"{self.command[0]}: no answer to {text!r} in {self.timeout} s") from None
        if line is None:
            raise Foul(f"{self.command[0]}: closed its output at {text!r}")
        return line

    def ask(self, text: str) -> str:
        """The answer to a command, without id; raises Foul for a failure or a malformed answer."""
        self._id += 1
        assert self._process.stdin
        self._process.stdin.write(f"{self._id} {text}\n")
        self._process.stdin.flush()
        self._waiting = True
        lines = [self._line(text)]
        while lines[-1] != "\n":
            lines.append(self._line(text))
        self._waiting = False
        match = re.fullmatch(rf"={self._id}(?: (.*))?\n", "".join(lines[:-1]), re.DOTALL)
        if not match:
            raise Foul(f"{self.command[0]}: {text!r} was answered by {''.join(lines)!r}")
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
            raise Foul(f"{self.command[0]}: still there after quit") from None


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
    black: GtpProcess, white: GtpProcess, size: int = 9, komi: float = 7.0, most_moves: int = 400
) -> Verdict:
    """Let the engines play; raises Foul as soon as one errs."""
    for engine in (black, white):
        engine.ask(f"boardsize {size}")
        engine.ask("clear_board")
        engine.ask(f"komi {komi}")
    board = boards.Board(size)
    seen = {_position(board)}
    verdict = Verdict()
    colour, passes = BLACK, 0
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
            _judge(board, seen, colour, point, f"{mover.command[0]}: {colour} {vertex}")
        other.ask(f"play {colour} {vertex}")
        colour = WHITE if colour == BLACK else BLACK
    verdict.finished = passes >= 2
    verdict.margin = board.area_score() - komi
    return verdict


def _parse(vertex: str, size: int, mover: GtpProcess) -> tuple[int, int] | None:
    try:
        point: tuple[int, int] | None = common.move_from_vertex(vertex, size)
    except ValueError as error:
        raise Foul(f"{mover.command[0]}: {vertex!r} is no vertex: {error}") from error
    return point


def _position(board: boards.Board) -> frozenset[tuple[str, tuple[int, int]]]:
    return frozenset(board.list_occupied_points())


def _judge(
    board: boards.Board,
    seen: set[frozenset[tuple[str, tuple[int, int]]]],
    colour: str,
    point: tuple[int, int],
    what: str,
) -> None:
    try:
        board.play(*point, colour)
    except ValueError as error:
        raise Foul(f"{what}: {error}") from error
    if board.get(*point) != colour:
        raise Foul(f"{what}: suicide")
    if _position(board) in seen:
        raise Foul(f"{what}: repeats an earlier position")
    seen.add(_position(board))


def main() -> None:
    """Play games between two command lines, colours in turn, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--games", type=int, default=2)
    parser.add_argument("--size", type=int, default=9)
    parser.add_argument("--komi", type=float, default=7.0)
    options = parser.parse_args()
    engines = [GtpProcess(shlex.split(text)) for text in (options.first, options.second)]
    wins = [0.0, 0.0]
    for number in range(options.games):
        first = number % 2
        verdict = play_game(engines[first], engines[1 - first], options.size, options.komi)
        if verdict.winner is None:
            wins = [w + 0.5 for w in wins]
        else:
            wins[first if verdict.winner == BLACK else 1 - first] += 1
        how = "resignation" if verdict.resigned else f"{verdict.margin:+g}"
        print(f"game {number + 1}: black is {('first', 'second')[first]}, {how}, {wins}")
    for engine in engines:
        engine.close()


if __name__ == "__main__":
    main()
