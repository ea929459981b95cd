"""A head that tells how likely each final margin is, and its bins (KataGo; Wu 2019, appendix A)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostgo.engine.games.go import MAX_SIZE

MOST_POINTS = MAX_SIZE * MAX_SIZE
SCORE_ROOM = 20
"""Points of komi beyond the board that the score distribution tells apart."""


def score_bins(points: int) -> int:
    """Number of the margins that a board of so many points tells apart."""
    return 2 * (points + SCORE_ROOM) + 1


def score_bin(score: Tensor, points: int) -> Tensor:
    """Index of each margin of `score` (B,): whole points, rounded down; the ends take what is beyond."""
    most = points + SCORE_ROOM
    return score.floor().clamp(-most, most).long() + most


def score_deviation(logits: Tensor) -> Tensor:
    """(B,) standard deviation in points of the margins that (B, S) logits of their bins tell."""
    chances = torch.softmax(logits.float(), dim=1)
    bins = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32)
    mean = (chances * bins).sum(dim=1, keepdim=True)
    return (chances * (bins - mean) ** 2).sum(dim=1).sqrt()


class ScoreDistribution(nn.Module):
    """How likely each final margin is, by one function of the position and the margin.

    Its weights do not depend on the board's size (KataGo; Wu 2019, appendix A). To that comes a
    constant for each margin, the same on all boards, by which it can start at the marginal.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.position = nn.Linear(inputs, width)
        self.margin = nn.Linear(2, width, bias=False)
        self.out = nn.Linear(width, 1)
        self.usual = nn.Parameter(torch.zeros(score_bins(MOST_POINTS)))
        """What is added for each margin, from the lowest that the largest board tells apart."""
        self.register_load_state_dict_pre_hook(_without_usual)  # type: ignore[no-untyped-call]

    def constants(self, points: int) -> Tensor:
        """The part (`score_bins`,) of `usual` that a board of so many points has margins for."""
        beyond = MOST_POINTS - points
        return self.usual[beyond : len(self.usual) - beyond]

    def forward(self, hidden: Tensor, points: int) -> Tensor:
        """(B, inputs) to (B, `score_bins`) logits on a board of so many points."""
        most = points + SCORE_ROOM
        margins = torch.arange(-most, most + 1, device=hidden.device, dtype=torch.float32)
        # The margin in units of the board's side, and whether it is odd: komi forbids every other.
        said = torch.stack([margins / points**0.5, margins % 2], dim=1)
        both = F.relu(self.position(hidden)[:, None, :] + self.margin(said.to(hidden.dtype))[None])
        logits: Tensor = self.out(both)[:, :, 0] + self.constants(points)
        return logits


def _without_usual(module: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Weights stored before the constants were there have learnt none: they are 0."""
    weights.setdefault(f"{prefix}usual", torch.zeros(score_bins(MOST_POINTS)))
