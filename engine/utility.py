"""What a position is worth where points count beside winning.

    u = (1 - w) * v + w * 2 / pi * arctan(s / (2 * sqrt(P)))

with the value v, the margin s in points and the weight w, all for the side to move, on a board of P
points: KataGo's static score utility (Wu 2019, "Accelerating Self-Play Learning in Go"), but as a
mean, so that u stays in [-1, 1]. At most `w / (2 - w)` of a sure win is given up for points: a sure
win is worth over 1 - w, the largest one at most 1, and a loss at most w - 1.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.jit import kernel

SCORE_SCALE = 2.0
"""Margin, in widths of the board, that counts half of what the largest does."""
MOST_SCORE_WEIGHT = 0.5
"""With more, points would count for more than winning."""


class Scoring(Protocol):
    """What an evaluator has besides where points count."""

    value: NDArray[np.float32]
    score: NDArray[np.float32]
    """(batch,) expected margin in points, for the side to move."""


@kernel
def utility(weight: float, scale: float, value: float, margin: float) -> float:
    """The formula above; `scale` is SCORE_SCALE * sqrt(P) points."""
    share = np.arctan(margin / scale) * 2.0 / np.pi
    return float((1.0 - weight) * value + weight * share)


def utilities(weight: float, scale: float, judged: Scoring, n: int) -> NDArray[np.float32]:
    """(n,) the utility of the first n rows that an evaluator has judged."""
    share = np.arctan(judged.score[:n] / scale) * (2.0 / np.pi)
    return np.asarray((1.0 - weight) * judged.value[:n] + weight * share, np.float32)
