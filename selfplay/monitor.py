"""What a person sees while a run works, and what TensorBoard keeps."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

_STATM = Path("/proc/self/statm")


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


def resident_bytes() -> int:
    """Memory that the process holds now; where no /proc tells, its peak; 0 where nobody does."""
    with contextlib.suppress(OSError, ValueError):
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


class LiveLine:
    """One line that is redrawn on a terminal, and plain lines, not too many, elsewhere."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.every = every
        self.live = self.stream.isatty()
        """Whether the line is redrawn, as much of it as fits."""
        self._width = 0
        self._last = time.monotonic()

    def show(self, text: str, force: bool = False) -> None:
        """Show `text` now on a terminal, as much as fits into a line of it; elsewhere if `every`
        seconds have passed, or `force`."""
        now = time.monotonic()
        if self.live:
            room = self._columns() - 1  # what wraps cannot be redrawn
            text = text[:room]
            self.stream.write("\r" + text.ljust(min(self._width, room)))
            self._width = len(text)
        elif force or now - self._last >= self.every:
            self._last = now
            self.stream.write(text + "\n")
        else:
            return
        self.stream.flush()

    def _columns(self) -> int:
        """Width of the stream's own terminal, whatever stdout is."""
        with contextlib.suppress(OSError, ValueError):
            if columns := os.get_terminal_size(self.stream.fileno()).columns:
                return columns
        return 80

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self.stream.write(text + "\n")
        self.stream.flush()

    def close(self) -> None:
        """End the live line."""
        if self.live and self._width:
            self.stream.write("\n")
            self._width = 0


class Events:
    """TensorBoard scalars of a run: a file of events for each process that writes them.

    Whole records are appended, so that a full disk leaves no half one; it costs the scalars, not
    the run, and `say` is told once.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._path: Path | None = None
        self._failed = False

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write each value under its name at iteration `step`."""
        # Here, as the import is slow.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        now, image = time.time(), io.BytesIO()
        records = RecordWriter(image)
        if self._path is None:  # TensorBoard reads the files in the order of their names
            self._path = self.folder / f"events.out.tfevents.{now:.6f}.{os.getpid()}"
        if not (self._path.exists() and self._path.stat().st_size):
            version = Event(wall_time=now, file_version="brain.Event:2")
            records.write(version.SerializeToString())
        shown = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        event = Event(wall_time=now, step=step, summary=Summary(value=shown))
        records.write(event.SerializeToString())
        try:
            self._append(self._path, image.getvalue())
            self._failed = False
        except OSError as error:
            if not self._failed:
                self.say(f"{self.folder}: cannot be written: {error.strerror}; the run goes on")
            self._failed = True

    def _append(self, path: Path, records: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(records)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise
