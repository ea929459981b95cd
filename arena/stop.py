"""Ctrl-C as a wish: the work comes to a clean end, and a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A context in which the first Ctrl-C (or SIGTERM) is noted, and no more than that.

    Nothing is torn by it: who works asks now and then. After the first the signals have again the
    effect that they had before. Only the main thread can catch signals; elsewhere nothing is noted.
    """

    def __init__(self) -> None:
        self.asked = False
        """Whether the work is to stop."""
        self._before: Mapping[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raises KeyboardInterrupt if the work is to stop."""
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in SIGNALS}
            # Who ignores a signal (nohup, a job in the background) goes on ignoring it.
            self._before = {n: h for n, h in found.items() if h not in (signal.SIG_IGN, None)}
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
