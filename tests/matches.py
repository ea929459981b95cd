"""Matches played to their end."""

from __future__ import annotations

from ghostgo.arena.match import FinishedPair, Match


def play_all(match: Match) -> list[FinishedPair]:
    """All pairs of `match`, in the order in which they end."""
    finished = []
    while match.in_flight:
        finished += match.sweep()
    return finished
