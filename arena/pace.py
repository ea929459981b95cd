"""How many games to keep in flight: many fill the networks' batches, few let results come soon."""

from __future__ import annotations

START = 32
"""Games in flight until the speed is known."""
LEAST = 16
PATIENCE = 120.0
"""Seconds within which a game that begins should end."""
WAVES = 8
"""A tournament with a time limit should have time for so many games one after another."""
SETTLING = 2.0
"""Seconds before the speed is believed."""


class Pace:
    """Learns how fast moves come and how long games are."""

    def __init__(self, most: int, length: float, minutes: float | None) -> None:
        """At most `most` games; `length` is a first guess at the plies of one."""
        self._most = most
        self._patience = min(PATIENCE, minutes * 60 / WAVES) if minutes else PATIENCE
        self._plies = length * LEAST
        self._games = float(LEAST)

    def finished(self, plies: int) -> None:
        """A game ended that took so many plies."""
        self._plies += plies
        self._games += 1

    def games(self, plies: int, seconds: float) -> int:
        """Games to keep in flight, `plies` having been played in `seconds`."""
        if seconds < SETTLING:
            return min(START, self._most)
        length = self._plies / self._games
        wanted = plies / seconds * self._patience / length
        return int(min(max(wanted, LEAST), self._most))
