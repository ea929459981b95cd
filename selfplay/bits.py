"""How many bits of fresh games the network knew before it trained on them, by head.

Of each target, the log loss of the network is held against that of its marginal: a forecast that
knows only how often each outcome came so far. The difference, in bits a game, is what the network
has taken from all games before (prequential coding, Dawid 1984; Blier and Ollivier 2018): of an
outcome at most 1 bit where draws are rare, of ownership at most one a point, of policies several a
move. `search` is not such a difference: it is the KL divergence of the search's policy from the
network's own, what the search had to add.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostgo.data.records import GameTable
from ghostgo.data.replay import Batch, ReplayWindow
from ghostgo.engine.games.game import Game
from ghostgo.selfplay.learner import Learner, value_classes

ROWS = 1024
"""Fresh positions that are judged in an iteration, at most."""
CHUNK = 256
NAT = 1 / math.log(2)
"""Bits."""


class Marginals:
    """How often each target has come so far, everything from the side to move."""

    def __init__(self, game: Game) -> None:
        # Half an observation of each beforehand (Krichevsky and Trofimov 1981).
        self.value = torch.full((3,), 0.5, dtype=torch.float64)
        self.policy = torch.full((game.actions,), 0.5, dtype=torch.float64)
        self.reply = torch.full((game.actions,), 0.5, dtype=torch.float64)
        self.ownership = torch.full((2, game.points), 0.5, dtype=torch.float64)
        self.score = torch.zeros(2, dtype=torch.float64)
        """Number and sum."""

    def state_dict(self) -> dict[str, Tensor]:
        """The counts."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict`."""
        for name in vars(self):
            setattr(self, name, state[name])

    def add(self, batch: Batch) -> None:
        """Count the targets of `batch`."""
        value = torch.from_numpy(batch.value)
        known = torch.isfinite(value)
        self.value += torch.bincount(value_classes(value[known]), minlength=3)
        self.policy += torch.from_numpy(batch.policy).sum(dim=0)
        self.reply += torch.from_numpy(batch.reply).sum(dim=0)
        owner = torch.from_numpy(batch.ownership)
        owner = owner[torch.isfinite(owner[:, 0])]
        self.ownership[0] += owner.sum(dim=0)
        self.ownership[1] += (1 - owner).sum(dim=0)
        score = torch.from_numpy(batch.score)
        score = score[torch.isfinite(score)]
        self.score += torch.tensor([len(score), float(score.sum())])


def _outcome(out: dict[str, Tensor], batch: Batch, marginals: Marginals) -> float:
    value = torch.from_numpy(batch.value)
    known = torch.isfinite(value)
    classes = value_classes(value[known])
    base = F.cross_entropy(marginals.value.log().expand(len(classes), 3), classes)
    return float(base - F.cross_entropy(out["value"][known], classes)) * NAT


def _policy(logits: Tensor, target: Tensor, counts: Tensor) -> float:
    """Bits a position, rows without a target adding none; nan if none has one."""
    rows, has = len(target), target.sum(dim=1) > 0
    if not has.any():
        return math.nan
    target, logits = target[has].double(), logits[has].double()
    gain = torch.log_softmax(logits, dim=1) - torch.log_softmax(counts.log(), dim=0)
    # A target of 0 counts for nothing, also where the forecast is minus infinity.
    # The mean is over all rows, since it is multiplied by all: a game's last move has no reply.
    return float(torch.where(target > 0, target * gain, 0.0).sum()) / rows * NAT


def _ownership(logits: Tensor, batch: Batch, marginals: Marginals) -> float:
    owner = torch.from_numpy(batch.ownership)
    known = torch.isfinite(owner[:, 0])
    target = owner[known].double()
    counts = marginals.ownership
    base = F.binary_cross_entropy(
        (counts[0] / counts.sum(dim=0)).expand_as(target), target, reduction="none"
    )
    mine = F.binary_cross_entropy_with_logits(logits[known].double(), target, reduction="none")
    return float((base - mine).sum(dim=1).mean()) * NAT


def _score(expected: Tensor, batch: Batch, marginals: Marginals) -> float:
    """Bits by which errors are smaller, both coded as Laplace's distribution of their own width."""
    score = torch.from_numpy(batch.score)
    known = torch.isfinite(score)
    count, total = marginals.score.tolist()
    base = (score[known] - total / max(count, 1.0)).abs().mean()
    mine = (score[known] - expected[known]).abs().mean()
    least = 0.05  # points
    return float(torch.log2(base.clamp(min=least) / mine.clamp(min=least)))


def bits_a_game(
    learner: Learner, table: GameTable, marginals: Marginals, seed: list[int]
) -> dict[str, float]:
    """Bits a game that the network knew of the games of `table`, by head; see the module.

    Measured on up to `ROWS` of their learnable positions, drawn by `seed`; `marginals` then learns
    the targets. Empty if there is no such position. A head is negative while it does worse than its
    marginal.
    """
    game = learner.network.game
    fresh = ReplayWindow(game)
    fresh.add(table)
    if not fresh.rows:
        return {}
    if learner.device == "cpu":
        torch.set_num_threads(1)  # as in training: several threads beside a busy process crawl
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(fresh.rows)[:ROWS]
    batch = fresh.rows_batch(drawn)
    parts = [
        learner.judge(batch.rows(first, first + CHUNK)) for first in range(0, len(drawn), CHUNK)
    ]
    out = {head: torch.cat([part[head] for part in parts]) for head in parts[0]}
    bits = _bits_a_row(out, batch, marginals)
    marginals.add(batch)
    moves = fresh.rows / len(table)
    found = {
        head: each * (moves if head in PER_MOVE else 1)
        for head, each in bits.items()
        if math.isfinite(each)
    }
    if table.surprise is not None:
        learnable = table.surprise[table.weights > 0].astype(np.float64)
        found["search"] = float(np.nansum(learnable)) * NAT / len(table)
    return found


PER_MOVE = ("policy", "reply")
"""Heads that have a target for every move or every move but the last; the others have one a game."""


def _bits_a_row(out: dict[str, Tensor], batch: Batch, marginals: Marginals) -> dict[str, float]:
    """Bits a row by head; nan where no row has a target."""
    bits: dict[str, Any] = {
        "outcome": _outcome(out, batch, marginals),
        "policy": _policy(out["policy"], torch.from_numpy(batch.policy), marginals.policy),
        "reply": _policy(out["reply"], torch.from_numpy(batch.reply), marginals.reply),
    }
    if "score" in out:
        bits["score"] = _score(out["score"], batch, marginals)
    if "ownership" in out:
        bits["ownership"] = _ownership(out["ownership"], batch, marginals)
    return bits
