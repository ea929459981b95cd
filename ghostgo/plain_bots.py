"""Bots without a network: at random, by captures, by plain tree search."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ghostgo.bot import Analysis, Candidate, Margins, Opinions, time_limit, win_rate
from ghostgo.engine.confidence import lower_bound
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.capture import capture_actions
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.go import is_go
from ghostgo.engine.rollout import RolloutSearcher, random_actions

SLICE = 0.01
"""Seconds of rollouts, about, between two moments at which plain search can be stopped."""


class RandomBot:
    """Plays at random, but does not fill its own eyes in Go."""

    def __init__(self, game: Game, seed: int | None) -> None:
        self.name = "random"
        self.game = game
        self._seed = seed
        self._random = np.random.default_rng(seed)

    def choose(self, states: States, seconds: float | None = None) -> int:
        """A random move."""
        out = np.empty(1, np.int32)
        random_actions(states, self._random.integers(0, 2**64, 1, np.uint64), out)
        return int(out[0])

    def analyse(self, states: States, seconds: float | None = None) -> Analysis | None:
        """None: chance has no opinion."""
        return None

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        """Nothing."""
        return iter(())

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """None."""
        return None

    def margins(self, states: States) -> Margins | None:
        """None."""
        return None

    def bind(self, game: Game) -> RandomBot:
        """The same for another game."""
        return RandomBot(game, self._seed)


class CaptureBot(RandomBot):
    """Takes the largest chain it can, saves its own, else plays at random (Go only)."""

    def __init__(self, game: Game, seed: int | None) -> None:
        """Raises UserError if the game is not Go."""
        super().__init__(game, seed)
        if not is_go(game):
            raise UserError(f"the capture bot plays Go, not {game.name}")
        self.name = "capture"
        self._scratch = game.new_states(2)

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The largest capture, a rescue, or a random move."""
        out = np.empty(1, np.int32)
        seeds = self._random.integers(0, 2**64, 1, np.uint64)
        capture_actions(states, self._scratch, seeds, out)
        return int(out[0])

    def bind(self, game: Game) -> CaptureBot:
        """The same for another board."""
        return CaptureBot(game, self._seed)


class RolloutBot:
    """Plain MCTS with random playouts: so many a move, or as many as the time allows."""

    def __init__(
        self, game: Game, rollouts: int, seed: int | None, seconds: float | None = None
    ) -> None:
        """Raises UserError if there are no rollouts, or too many."""
        self.name = f"mcts:{rollouts}"
        self.game = game
        self._rollouts, self._seed, self._seconds = rollouts, seed, seconds
        self._searcher = RolloutSearcher(game, rollouts, np.random.SeedSequence(seed))
        # Kernels are compiled now, not while a clock is running.
        self._searcher.begin(game.new_states(1), seed=0)
        self._searcher.step(1)
        self._searcher.best()

    def _search(self, states: States, limit: float) -> Iterator[None]:
        """A step for every slice of the rollouts, the last one when they or the time are over."""
        start = time.monotonic()
        self._searcher.begin(states)
        count, more = 1, True
        while more:
            before = time.monotonic()
            more = self._searcher.step(count)
            took = time.monotonic() - before
            yield
            if time.monotonic() - start >= limit:
                return
            if took < SLICE / 2:
                count *= 2
            elif took > 2 * SLICE:
                count = max(count // 2, 1)

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The most visited move."""
        for _ in self._search(states, time_limit(seconds, self._seconds)):
            pass
        return self._searcher.best()

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        """Visits and mean results of a fresh search."""
        self.choose(states, seconds)
        return self._read()

    def _read(self) -> Analysis:
        """What the search has found so far."""
        action = self._searcher.best()
        # No result squared is above 1: with draws the bound is lower than it could be.
        moves = [
            Candidate(
                a, visits, win_rate(value), lcb=win_rate(lower_bound(value, 1.0, visits))
            )
            for a, (visits, value) in self._searcher.root_statistics().items()
            if visits
        ]  # fmt: skip
        # The move played comes first: it wins ties by its mean result.
        moves.sort(key=lambda move: (-move.visits, move.action != action))
        total = sum(move.visits for move in moves)
        rate = sum(move.visits * move.win_rate for move in moves) / max(total, 1)
        return Analysis(action, rate, tuple(moves), (action,))

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        """A step for every slice of the rollouts, never more of them than for a move."""
        for _ in self._search(states, time_limit(seconds, None if endless else self._seconds)):
            yield self._read

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """None: playouts are not kept."""
        return None

    def margins(self, states: States) -> Margins | None:
        """None: playouts are not kept."""
        return None

    def bind(self, game: Game) -> RolloutBot:
        """The same for another game."""
        return RolloutBot(game, self._rollouts, self._seed, self._seconds)
