"""Seeded random openings, no two alike up to the board's symmetries, balanced by a network.

Deterministic players would play one game over and over from the empty board. A pair of games starts
from a short random opening instead, and is played twice with colours swapped, so that an unfair
opening favours neither player. One that is decided already would tell nothing, so where there is a
reference network, openings that it judges even are taken. What was found, and by whose judgement,
stays in a file, so that a tournament that goes on with a newer reference keeps its openings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.results import LineFile
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States, is_legal_one, play_one

SHORTEST, LONGEST = 2, 6
ATTEMPTS = 200
"""Random openings tried in a row before the list of new ones counts as exhausted."""
EVEN = 0.3
"""Largest |value| of an opening that is even enough."""
CANDIDATES = 32
"""New openings judged at a time; if none of them is even, the most even one is taken."""
FORMAT = 1


@dataclass(frozen=True)
class Reference:
    """A network that judges openings."""

    name: str
    """What the file calls it: a checkpoint's digest."""
    judge: Callable[[States], NDArray[np.float32]]
    """Values (n,) of the unfinished positions (n,), in [-1, 1], for the side to move."""


@dataclass(frozen=True)
class _Opening:
    actions: tuple[int, ...]
    attempt: int
    """Number of the random draw that it came from."""
    value: float | None = None
    reference: str | None = None


class Openings:
    """An endless list of openings: `openings[i]` is a tuple of actions, the same for the same seed.

    Each has 2 to 6 random legal plies without a pass and leaves the game unfinished. All lead to
    different positions, up to symmetry, until a small game has no more; then the list repeats.
    """

    def __init__(
        self,
        game: Game,
        seed: int,
        rules: Mapping[str, Any] | None = None,
        reference: Reference | None = None,
        path: Path | None = None,
    ) -> None:
        """With `path`, openings found before are read from it and new ones written to it.

        Those of other games, rules and seeds in it are left alone. Raises UserError if that file
        is damaged, from a newer format, or holds what this game's rules do not allow.
        """
        self.game = game
        self.rules = rules
        self.reference = reference
        self._seed = seed
        self._path = path
        self._tag = {
            "seed": seed,
            "game": game.name,
            "game_version": game.version,
            "rules": {**game.rules, **(rules or {})},
        }
        self._found: list[_Opening] = []
        self._seen: set[int] = set()
        self._attempt = 0
        self._exhausted = False
        for number, opening in _read(path, self._tag) if path else []:
            if not self._is_legal(opening.actions):
                raise UserError(
                    f"{path}: line {number}: {list(opening.actions)} is no opening of {game.name} "
                    "under these rules: move the file away, or choose another --out folder"
                )
            self._found.append(opening)
            self._seen.add(self.canonical(opening.actions))
            self._attempt = max(self._attempt, opening.attempt + 1)

    def __getitem__(self, index: int) -> tuple[int, ...]:
        """Raises UserError if the game has no opening at all, or the file cannot be written."""
        self._find(index)
        return self._found[index % len(self._found)].actions

    def repeats(self, index: int) -> bool:
        """Whether `openings[index]` stood in the list before; UserError as there."""
        self._find(index)
        return index >= len(self._found)

    def _find(self, index: int) -> None:
        """Find openings up to `index`, or until there are no more."""
        new: list[_Opening] = []
        while len(self._found) <= index and not self._exhausted:
            new += self._find_next()
        if new and self._path:
            with LineFile(self._path) as file:
                file.append(*(_row(self._tag, opening) for opening in new))
        if not self._found:
            raise UserError(f"{self.game.name} has no opening of {SHORTEST} to {LONGEST} plies")

    def _is_legal(self, actions: tuple[int, ...]) -> bool:
        """Whether the rules allow `actions` from the start, and the game goes on behind them."""
        state = self.game.new_states(1, self.rules)[0]
        for action in actions:
            if state.done or not 0 <= action < self.game.actions:
                return False
            if not is_legal_one(state, action):
                return False
            play_one(state, action)
        return bool(actions) and not state.done

    def _find_next(self) -> list[_Opening]:
        """Add to the openings found, and return what was added; nothing if there are no more."""
        new = self._draw_new(CANDIDATES if self.reference else 1)
        if new and self.reference:
            new = self._even_ones(new, self.reference)
        self._exhausted = not new
        self._seen.update(self.canonical(opening.actions) for opening in new)
        self._found += new
        return new

    def _even_ones(self, drawn: list[_Opening], reference: Reference) -> list[_Opening]:
        """Those of `drawn` that the reference judges even, or the most even one."""
        states = self.game.new_states(len(drawn), self.rules)
        for opening, state in zip(drawn, states, strict=True):
            for action in opening.actions:
                play_one(state, action)
        values = np.asarray(reference.judge(states), np.float64).round(4)
        judged = [
            replace(opening, value=float(value), reference=reference.name)
            for opening, value in zip(drawn, values, strict=True)
        ]
        even = [judged[i] for i in np.flatnonzero(np.abs(values) < EVEN)]
        return even or [judged[int(np.argmin(np.abs(values)))]]

    def _draw_new(self, wanted: int) -> list[_Opening]:
        """Up to `wanted` openings unlike each other and all found."""
        drawn: dict[int, _Opening] = {}
        misses = 0
        while len(drawn) < wanted and misses < ATTEMPTS:
            actions = self._draw()
            key = self.canonical(actions)
            if actions and key not in self._seen and key not in drawn:
                drawn[key] = _Opening(actions, self._attempt)
                misses = 0
            else:
                misses += 1
            self._attempt += 1
        return list(drawn.values())

    def _draw(self) -> tuple[int, ...]:
        """Random opening number `_attempt`; the empty tuple if the game ended on the way."""
        random = np.random.default_rng(np.random.SeedSequence([self._seed, 0x0BE, self._attempt]))
        state = self.game.new_states(1, self.rules)[0]
        moves: list[int] = []
        for _ in range(int(random.integers(SHORTEST, LONGEST + 1))):
            legal = self.game.legal_actions(state)
            if self.game.policy_head == "points_and_pass":
                legal = legal[legal != self.game.actions - 1]
            if len(legal) == 0:
                return ()
            moves.append(int(random.choice(legal)))
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


def _row(tag: Mapping[str, Any], opening: _Opening) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **tag,
        "attempt": opening.attempt,
        "actions": opening.actions,
        "value": opening.value,
        "reference": opening.reference,
    }


def _read(path: Path, tag: Mapping[str, Any]) -> list[tuple[int, _Opening]]:
    """The openings of a file that belong to `tag`, with their lines; a torn last line is left out.

    A row from before there were tags says no more than its seed, and may be of any game.
    """
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else [], 1):
        try:
            row = json.loads(line)
            if row["format"] == FORMAT and _belongs(row, tag):
                actions = tuple(int(action) for action in row["actions"])
                opening = _Opening(actions, int(row["attempt"]), row["value"], row["reference"])
                found.append((number, opening))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: line {number} is damaged: move the file away") from error
        if row["format"] != FORMAT:
            raise UserError(
                f"{path}: line {number} has format {row['format']}, this version reads {FORMAT}: "
                "use the version that wrote it, or another --out folder"
            )
    return found


def _belongs(row: Mapping[str, Any], tag: Mapping[str, Any]) -> bool:
    return row["seed"] == tag["seed"] and all(row.get(key, tag[key]) == tag[key] for key in tag)


def canonical_moves(game: Game, moves: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """The least of the images of a move sequence under the game's symmetries."""
    images = game.action_symmetries[:, np.asarray(moves, np.int64)]
    return min(tuple(image) for image in images.tolist())
