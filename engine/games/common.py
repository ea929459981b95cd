"""Kernels that several games share.

Those of a `winner` are for records with such a field: 1 first player, -1 second, 0 nobody (yet).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Mask, State, is_legal
from ghostgo.engine.jit import kernel


@kernel
def outcome_of_winner(state: State) -> float:
    """1, 0 or -1 for the side to move."""
    return float(state.winner if state.to_play == 0 else -state.winner)


@kernel
def score_of_winner(state: State) -> float:
    """1, 0 or -1 for the first player."""
    return float(state.winner)


@kernel
def no_ownership(state: State, out: NDArray[np.int8]) -> None:
    """Zeros: nobody owns points in this game."""
    out[:] = 0


@kernel
def mask_by_is_legal(state: State, out: Mask) -> int:
    """`legal_mask` by asking `is_legal` for each action in turn."""
    count = 0
    for action in range(len(out)):
        legal = is_legal(state, action)
        out[action] = legal
        count += legal
    return count
