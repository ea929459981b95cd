"""The evaluator that knows nothing; it needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game


class UniformEvaluator:
    """Equal logits and an even value for every position: search without knowledge, and tests."""

    def __init__(self, game: Game, batch: int) -> None:
        self.game = game
        self.planes: NDArray[np.uint16] = np.zeros((batch, game.points, game.planes), np.uint16)
        self.policy: NDArray[np.float32] = np.zeros((batch, game.actions), np.float32)
        self.value: NDArray[np.float32] = np.zeros(batch, np.float32)
        self.evaluations = 0
        self.flops_per_evaluation = 0.0

    def evaluate(self, n: int) -> None:
        """Count the rows; the answers never change."""
        self.evaluations += n
