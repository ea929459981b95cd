"""Who forfeits game after game is paired no more."""

from __future__ import annotations

from collections.abc import Sequence

from ghostgo.arena.results import GameResult

FORFEITS_IN_A_ROW = 3
"""After so many a player is not paired any more in this tournament."""


class Forfeits:
    """Counts each player's forfeits in a row."""

    def __init__(self, players: int) -> None:
        self._in_a_row = [0] * players

    def admit(self) -> None:
        """One more player."""
        self._in_a_row.append(0)

    def idle(self) -> list[int]:
        """Numbers of those who are paired no more."""
        return [i for i, n in enumerate(self._in_a_row) if n >= FORFEITS_IN_A_ROW]

    def record(self, numbers: Sequence[int], names: Sequence[str], game: GameResult) -> list[str]:
        """Count a game of the players `numbers`, called `names`; what there is to say of it."""
        said = []
        for side, (number, name) in enumerate(zip(numbers, names, strict=True)):
            failed = game.end == "forfeit" and game.points == float(side)
            if game.end == "forfeit" and not failed:
                continue  # the other's failure tells nothing of this one
            self._in_a_row[number] = self._in_a_row[number] + 1 if failed else 0
            if failed:
                said.append(f"forfeit: {game.note}")
            if self._in_a_row[number] == FORFEITS_IN_A_ROW:
                said.append(f"{name} forfeits every game: it is paired no more today")
        return said
