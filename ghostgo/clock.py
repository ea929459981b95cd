"""Time for a move under GTP's clocks, and a search that keeps to it.

Clocks have main time, then so many moves in each further period.
`time_settings MAIN PERIOD MOVES` (GTP 2, section 4.2): after MAIN seconds, every MOVES moves must be
made within PERIOD seconds (Canadian overtime); MOVES 1 is a Japanese byo-yomi of one period that
renews itself, PERIOD 0 sudden death, and PERIOD above 0 with MOVES 0 no limit at all. Nor is no time
whatever, MAIN 0 and PERIOD 0, taken for a limit: nobody could make a move.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

LAG = 0.1
"""Seconds before the clock runs out at which a search ends: the controller takes some as well."""
LAG_SHARE = 0.1
"""A share of what a move may take that goes into the last network call and the answer."""
FEWEST_MOVES = 20
"""A side is always taken to have so many moves to come."""
RESERVE, RESERVE_SHARE = 2.0, 0.1
"""Seconds of main time without overtime that are kept for moves without thinking, where a game goes
on far beyond its usual length; or this share of the main time, if that is less."""

STEP_MARGIN = 1.5
"""A step is given so many times the time that the longest one took."""
FADING = 0.8
"""Of the longest step's time, what is left of it at the next move."""


@dataclass
class Clock:
    """One side's clock."""

    main: float
    """Seconds of main time."""
    period: float = 0.0
    """Seconds of each further period."""
    moves: int = 0
    """Moves to be made in each."""

    def __post_init__(self) -> None:
        self.left = self.main
        """Seconds left, of the main time or of this period."""
        self.to_make = 0
        """Moves left to be made in this period; 0: still in main time."""
        if self.main <= 0:
            self._begin_period()

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit."""
        nothing = self.main <= 0 and self.period <= 0
        return nothing or (self.period > 0 and self.moves == 0)

    def _begin_period(self) -> None:
        self.left, self.to_make = self.period, self.moves

    def told(self, left: float, to_make: int) -> None:
        """Take the controller's word for it (`time_left`).

        Of Japanese byo-yomi some say how many periods are left instead of moves: one is to be made.
        """
        self.left, self.to_make = left, min(to_make, self.moves) if self.moves else to_make

    def spend(self, seconds: float) -> bool:
        """Book a move that took so long; False if the clock ran out over it.

        Where there is overtime a new period has then begun: a controller that asks for more moves
        has not ended the game, as with byo-yomi of several periods.
        """
        if self.unlimited:
            return True
        self.left -= seconds
        if self.left < 0 and self.to_make == 0 and self.period > 0:
            late = -self.left
            self._begin_period()
            self.left -= late
        if self.left < 0:
            if self.period > 0:
                self._begin_period()
            return False
        if self.to_make:
            self.to_make -= 1
            if self.to_make == 0:
                self._begin_period()
        return True

    def budget(self, moves_to_come: float) -> float | None:
        """Seconds that the next move may think, of `moves_to_come` of this side; None: no limit."""
        if self.unlimited:
            return None
        if self.to_make:
            most = self.left
            share = self.left / self.to_make
        else:
            overtime = self.period / self.moves if self.moves else 0.0
            most = self.left + overtime
            kept = 0.0 if overtime else min(RESERVE, RESERVE_SHARE * self.main)
            share = max(0.0, self.left - kept) / max(moves_to_come, FEWEST_MOVES) + overtime
        return max(0.0, min((1 - LAG_SHARE) * share, most - LAG))


def moves_to_come(points: int, played: int) -> float:
    """A side's moves still to come in a game of Go on `points` points after `played` moves.

    As if it filled the board: rather too many than too few.
    """
    return max(FEWEST_MOVES, (points - played) / 2)


class Pace:
    """When a search that goes on step by step, a network call each, has to end to be in time."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds that a step may take: those of the longest so far, which fades from move to move."""
        self._start, self._limit = 0.0, math.inf

    def begin(self, limit: float = math.inf) -> None:
        """Thinking about a move begins now, and may take `limit` seconds."""
        # A machine that stood still for a while is no reason not to think at all.
        self.longest = min(FADING * self.longest, limit)
        self._start, self._limit = time.monotonic(), limit

    def step(self, make: Callable[[], bool]) -> bool:
        """Make a step, and remember how long it took; what `make` returns."""
        before = time.monotonic()
        more = make()
        self.longest = max(self.longest, time.monotonic() - before)
        return more

    @property
    def needed(self) -> float:
        """Seconds to be left for one more step."""
        return STEP_MARGIN * self.longest

    @property
    def fits(self) -> bool:
        """Whether one more step is expected to end before the limit."""
        return time.monotonic() - self._start + self.needed < self._limit
