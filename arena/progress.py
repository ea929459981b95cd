"""One line that says how far a tournament is."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LOG_EVERY = 10.0
"""Seconds between lines where the output is no terminal."""
SHOW_EVERY = 0.2


class Progress:
    """Rewrites a line on a terminal; elsewhere writes one every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._next = 0.0

    def show(self, text: str) -> None:
        """The state of things, shown if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (SHOW_EVERY if self._live else LOG_EVERY)
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._stream.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """`45 s`, `12 min` or `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
