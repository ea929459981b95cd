"""Neighbouring ranks learn from each other: a smooth step for the rows of a rank embedding.

Each rank has a row of its own, and some are rare: of 105,000 games of people one move in 300 is a
4d's. Adam makes each row's step as long as any other's, so a rare row follows the noise of its few
positions: moves of 4d to 9d were foretold better by a network told 1d than told 4d. Here a row's
gradient is averaged with those of the ranks beside it, so that what they have in common, and what
grows from weak to strong, is learnt from all of them, and what is one rank's alone at last. The
matrix of weights is positive definite: where it stops a gradient there is none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

REACH = 20
"""Ranks so far apart learn nothing from each other; the weight falls linearly to there. Of 5, 10 and
20 the one with which every band was foretold best when told its own (RESULTS, eighteenth round)."""


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
