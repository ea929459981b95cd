"""One line that says how far a tournament is."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO

LOG_EVERY = 10.0
"""Seconds between lines where the output is no terminal."""
SHOW_EVERY = 0.2
USUAL_COLUMNS = 80


class Progress:
    """Rewrites a line on a terminal; elsewhere writes one every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._next = 0.0
        self._open = False

    def show(self, text: str) -> None:
        """The state of things, shown if it is time; on a terminal no more than fits on a line."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (SHOW_EVERY if self._live else LOG_EVERY)
        if self._live:
            self._write(f"\r\x1b[K{text[: self._columns() - 1]}")
            self._open = True
        else:
            self._write(f"{text}\n")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._open = False

    def close(self) -> None:
        """End the line that is rewritten, so that what others write stands below it."""
        if self._open:
            self._write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):  # a terminal that does not tell
            columns = 0
        return columns if columns > 1 else USUAL_COLUMNS


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def state_line(games: int, others: int, rate: float, players: int, joined: int) -> str:
    """How far a tournament is: `games` of its pool, `rate` a second; `others` are in its folder."""
    beside = f" and {others} with former players" if others else ""
    line = f"arena: {games} games{beside}, {rate:.1f}/s, {players} players"
    return f"{line}, {joined} of them since the start" if joined else line


def outlook(training: Sequence[str], width: float, left: float | None) -> str:
    """Whom it follows, how wide the intervals are in Elo, and the seconds left if that is known."""
    line = f", following {' and '.join(training)}" if training else ""
    line += f", mean interval {width:.0f} Elo" if math.isfinite(width) else ", first meetings"
    if left is None or not math.isfinite(left):
        return line
    return f"{line}, about {duration(left)} left"
