"""When a tournament stops, and how long that will take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostgo.engine.errors import UserError

GAMES_PER_PLAYER = 40
"""Budget where none is given: so many in all for each player of the pool, who so plays 80 on average."""
ENDLESS = 1 << 40
"""Games where only time or width count."""
MOST_TOLD = 1 << 16
"""Games in flight, or threads, that may be asked for."""


@dataclass(frozen=True)
class Limits:
    """When a tournament stops: at whatever comes first."""

    games: int
    """Games between players of the present pool, those of earlier starts included."""
    minutes: float | None = None
    """Time of this start, in which at least the first games are played to their end."""
    width: float | None = None
    """Mean width of the pool's 95 % intervals, in Elo."""
    by_players: bool = False
    """Whether `games` is so many a player, since no limit was given."""

    def for_players(self, players: int) -> Limits:
        """The limits of a pool that has grown to so many."""
        return replace(self, games=GAMES_PER_PLAYER * players) if self.by_players else self

    def seconds_left(self, games: int, rate: float, width: float, elapsed: float) -> float | None:
        """Seconds until the first limit, as far as that can be told; None if it cannot.

        `games` of this pool have been played, `rate` a second, the mean interval is `width` Elo wide, and this
        start is `elapsed` seconds old.
        """
        ends = []
        if self.minutes is not None:
            ends.append(self.minutes * 60 - elapsed)
        if rate > 0 and self.games < ENDLESS:
            ends.append((self.games - games) / rate)
        if rate > 0 and self.width is not None and np.isfinite(width):
            ratio = width / self.width
            ends.append(games * (ratio * ratio - 1) / rate)  # a product overflows to infinity
        return max(min(ends), 0.0) if ends else None


def check_numbers(
    games: float | None,
    minutes: float | None,
    width: float | None,
    parallel: float | None,
    workers: float | None,
    levels: Sequence[float] | None,
) -> None:
    """Raises UserError for a limit that is none; None is no limit."""
    for name, value, most in (
        ("--games", games, ENDLESS),
        ("parallel", parallel, MOST_TOLD),
        ("workers", workers, MOST_TOLD),
    ):
        if value is not None and not 1 <= value <= most:
            raise UserError(f"{name} is {value:g}: it must be from 1 to {most}")
    for name, value in (("--minutes", minutes), ("--width", width)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} is {value:g}: it must be a number above 0")
    for level in levels or ():
        if not math.isfinite(level):
            raise UserError(f"--level is {level:g}: it must be a rating in Elo")


def make_limits(
    players: int, games: int | None, minutes: float | None, width: float | None
) -> Limits:
    """The limits that were asked for; without any, so many games a player."""
    if games is None and minutes is None and width is None:
        return Limits(GAMES_PER_PLAYER * players, by_players=True)
    return Limits(ENDLESS if games is None else games, minutes, width)
