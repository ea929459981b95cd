"""Neighbouring ranks learn from each other: a smooth step for the rows of a rank embedding.

Each rank has a row of its own, and some are rare: of 105,000 games of people one move in 300 is a
4d's. Adam makes each row's step as long as any other's, so a rare row follows the noise of its few
positions: moves of 4d to 9d were foretold better by a network told 1d than told 4d. Here a row's
gradient is averaged with those of the ranks beside it, so that what they have in common, and what
grows from weak to strong, is learnt from all of them, and what is one rank's alone at last. The
matrix of weights is positive definite: where it stops a gradient there is none.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

REACH = 20
"""Ranks so far apart learn nothing from each other; the weight falls linearly to there. Of 5, 10 and
20 the one with which every band was foretold best when told its own (RESULTS, eighteenth round)."""


@cache  # asked for at every step
def neighbour_weights(ranks: int, reach: int = REACH) -> Tensor:
    """Weights (ranks, ranks), float32, of the average over neighbours; code 0, not told, is alone.

    Row r is what rank code r's gradient takes from each code's. Symmetric, positive definite; not to
    be written to, since every caller has the same tensor.
    """
    codes = torch.arange(ranks)
    apart = (codes[:, None] - codes[None, :]).abs()
    weights = (1 - apart / reach).clamp(min=0) / reach
    weights[0, :] = weights[:, 0] = 0.0
    weights[0, 0] = 1.0
    return weights


@torch.no_grad()
def average_neighbours(ranks: nn.Embedding | None) -> None:
    """Replace the gradient (ranks, C) of a rank embedding by its average over neighbours, in place.

    Nothing happens without an embedding or without a gradient.
    """
    if ranks is None or ranks.weight.grad is None:
        return
    gradient = ranks.weight.grad
    gradient.copy_(neighbour_weights(len(gradient)).to(gradient) @ gradient)
