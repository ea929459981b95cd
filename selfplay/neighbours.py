"""Neighbouring ranks learn from each other: a smooth step for the rows of a rank embedding.

Each rank has a row of its own, and some are rare: of 105,000 games of people one move in 300 is a
4d's. Adam makes each row's step as long as any other's, so a rare row follows the noise of its few
positions. Here a row's gradient is averaged with those of the ranks beside it, so that what they
have in common is learnt from all of them. The matrix of weights is positive definite: gradients
vanish where they would have vanished without it, so it says how fast, not what, is learnt.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

REACH = 5
"""Ranks so far apart learn nothing from each other; the weight falls linearly to there."""


def neighbour_weights(ranks: int, reach: int = REACH) -> Tensor:
    """(ranks, ranks) float32 weights by which gradients are averaged; code 0, not told, is alone."""
    codes = torch.arange(ranks)
    apart = (codes[:, None] - codes[None, :]).abs()
    weights = (1 - apart / reach).clamp(min=0) / reach
    weights[0, :] = weights[:, 0] = 0.0
    weights[0, 0] = 1.0
    return weights


@torch.no_grad()
def average_neighbours(ranks: nn.Embedding | None) -> None:
    """Replace the gradient of each rank's row by the average over its neighbourhood, in place."""
    if ranks is None or ranks.weight.grad is None:
        return
    gradient = ranks.weight.grad
    gradient.copy_(neighbour_weights(len(gradient)).to(gradient) @ gradient)
