"""Seeded random openings, no two alike up to the board's symmetries.

Deterministic players would play one game over and over from the empty board. A pair of games starts
from a short random opening instead, and is played twice with colours swapped, so that an unfair
opening favours neither player.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, play_one

SHORTEST, LONGEST = 2, 6
ATTEMPTS = 200
"""Random openings tried in a row before the list of new ones counts as exhausted."""


class Openings:
    """An endless list of openings: `openings[i]` is a tuple of actions, the same for the same seed.

    Each has 2 to 6 random legal plies without a pass and leaves the game unfinished. All lead to
    different positions, up to symmetry, until a small game has no more; then the list repeats.
    """

    def __init__(self, game: Game, seed: int, rules: Mapping[str, Any] | None = None) -> None:
        self.game = game
        self.rules = rules
        self._random = np.random.default_rng(np.random.SeedSequence([seed, 0x0BE]))
        self._found: list[tuple[int, ...]] = []
        self._seen: set[int] = set()
        self._exhausted = False

    def __getitem__(self, index: int) -> tuple[int, ...]:
        """Raises UserError if the game has no opening at all."""
        while len(self._found) <= index and not self._exhausted:
            self._find_next()
        if not self._found:
            raise UserError(f"{self.game.name} has no opening of {SHORTEST} to {LONGEST} plies")
        return self._found[index % len(self._found)]

    def _find_next(self) -> None:
        for _ in range(ATTEMPTS):
            actions = self._draw()
            if not actions:
                continue
            key = self.canonical(actions)
            if key not in self._seen:
                self._seen.add(key)
                self._found.append(actions)
                return
        self._exhausted = True

    def _draw(self) -> tuple[int, ...]:
        """A random opening; the empty tuple if the game ended on the way."""
        state = self.game.new_states(1, self.rules)[0]
        moves: list[int] = []
        for _ in range(int(self._random.integers(SHORTEST, LONGEST + 1))):
            legal = self.game.legal_actions(state)
            if self.game.policy_head == "points_and_pass":
                legal = legal[legal != self.game.actions - 1]
            if len(legal) == 0:
                return ()
            moves.append(int(self._random.choice(legal)))
            play_one(state, moves[-1])
        return () if state.done else tuple(moves)

    def canonical(self, actions: tuple[int, ...]) -> int:
        """A number for the position after `actions`, equal for its images under symmetry."""
        tables = self.game.action_symmetries
        states = self.game.new_states(len(tables), self.rules)
        for table, state in zip(tables, states, strict=True):
            for action in actions:
                play_one(state, int(table[action]))
        return min(int(state.hash) for state in states)


def canonical_moves(game: Game, moves: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """The least of the images of a move sequence under the game's symmetries."""
    images = game.action_symmetries[:, np.asarray(moves, np.int64)]
    return min(tuple(image) for image in images.tolist())
