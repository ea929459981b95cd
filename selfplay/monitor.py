"""What a person sees while a run works, and what TensorBoard keeps."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, TextIO


def si(value: float) -> str:
    """A number with an SI suffix and three digits: 12300 is `12.3k`."""
    for suffix in ("", "k", "M", "G", "T", "P", "E"):
        if abs(value) < 999.5:
            return f"{value:.3g}{suffix}"
        value /= 1000
    return f"{value:.3g}Z"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    whole = max(0, int(seconds + 0.5))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


class LiveLine:
    """One line that is redrawn on a terminal, and plain lines, not too many, elsewhere."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.every = every
        self._live = self.stream.isatty()
        self._width = 0
        self._last = time.monotonic()

    def show(self, text: str, force: bool = False) -> None:
        """Show `text` now on a terminal; elsewhere if `every` seconds have passed, or `force`."""
        now = time.monotonic()
        if self._live:
            self.stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif force or now - self._last >= self.every:
            self._last = now
            self.stream.write(text + "\n")
        else:
            return
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self.stream.write(text + "\n")
        self.stream.flush()

    def close(self) -> None:
        """End the live line."""
        if self._live and self._width:
            self.stream.write("\n")
            self._width = 0


class Events:
    """TensorBoard scalars of a run; made on first use, as the import is slow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write each value under its name at iteration `step`."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Flush what is left."""
        if self._writer is not None:
            self._writer.close()
