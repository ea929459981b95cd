"""When a run stops: time, compute, games, or a person."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from ghostgo.data.ledger import Totals
from ghostgo.selfplay.monitor import clock, si


class Stop:
    """Says when to stop: a deadline, a count, or Ctrl-C."""

    def __init__(
        self, minutes: float | None = None, flops: float | None = None, games: int | None = None
    ) -> None:
        self.started = time.monotonic()
        self.minutes, self.flops, self.games = minutes, flops, games
        self.event = threading.Event()
        self.reason = ""

    def now(self) -> bool:
        """Whether to stop at once (deadline or Ctrl-C); cheap."""
        if not self.event.is_set() and self.overdue():
            self.reason = "time is up"
            self.event.set()
        return self.event.is_set()

    def overdue(self) -> bool:
        """Whether the minutes of this call are over."""
        elapsed = time.monotonic() - self.started
        return self.minutes is not None and elapsed >= self.minutes * 60

    def reached(self, totals: Totals) -> bool:
        """Whether to stop after an iteration that brought the run to `totals`."""
        if self.flops is not None and totals.flops >= self.flops:
            self.reason = f"{si(self.flops)}FLOP spent"
        elif self.games is not None and totals.games >= self.games:
            self.reason = f"{self.games} games played"
        else:
            return self.now()
        return True

    def left(self, totals: Totals, share_before: float) -> str:
        """Time left by the nearest budget, as text; empty when there is none."""
        elapsed = time.monotonic() - self.started
        estimates = []
        if self.minutes is not None:
            estimates.append(self.minutes * 60 - elapsed)
        done = self.share(totals)
        if done is not None and done > share_before:
            estimates.append(elapsed * (1 - done) / (done - share_before))
        return f"{clock(min(estimates))} left" if estimates else ""

    def share(self, totals: Totals) -> float | None:
        shares = []
        if self.flops:
            shares.append(totals.flops / self.flops)
        if self.games:
            shares.append(totals.games / self.games)
        return max(shares) if shares else None

    @contextlib.contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """While inside, the first Ctrl-C (or SIGTERM) asks to stop; a second one is not caught."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number: int, frame: Any) -> None:
            self.reason = "interrupted"
            self.event.set()
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
