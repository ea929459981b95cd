"""How many bits of fresh games the network knew before it trained on them, by head.

Of each target, the log loss of the network is held against that of its marginal: a forecast that
knows only how often each outcome came so far. The difference, in bits a game, is what the network
has taken from all games before (prequential coding, Dawid 1984; Blier and Ollivier 2018): of an
outcome at most 1 bit where draws are rare, of ownership at most one a point, of policies several a
move. `score` and `short` are numbers: they are coded as Laplace's and the normal distribution, whose
widths come from the games before as well. `short` is of one position, since its targets overlap from
move to move. `search` is not such a difference: it is the KL divergence of the search's policy from the
network's own, what the search had to add.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostgo.data.batch import Batch
from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow
from ghostgo.engine.games.game import Game
from ghostgo.engine.network import own_counting
from ghostgo.engine.score_head import score_bin, score_bins
from ghostgo.selfplay.learner import Learner, value_classes

ROWS = 1024
"""Fresh positions that are judged in an iteration, at most."""
CHUNK = 256
NAT = 1 / math.log(2)
"""Bits."""


LEAST_SCORE, LEAST_SHORT = 0.5, 0.02
"""Least widths that a forecast is given, in points and of a value: who was always right may be wrong."""


class Marginals:
    """How often each target has come so far, everything from the side to move.

    Of numbers, also how far they were from their mean, and of late from the network's forecast.
    """

    def __init__(self, game: Game) -> None:
        # Half an observation of each beforehand (Krichevsky and Trofimov 1981).
        self.value = torch.full((3,), 0.5, dtype=torch.float64)
        self.policy = torch.full((game.actions,), 0.5, dtype=torch.float64)
        self.reply = torch.full((game.actions,), 0.5, dtype=torch.float64)
        self.ownership = torch.full((2, game.points), 0.5, dtype=torch.float64)
        self.distribution = torch.full((score_bins(game.points),), 0.5, dtype=torch.float64)
        self.score = torch.zeros(2, dtype=torch.float64)
        """Number and sum."""
        # One observation as far off as the board's side beforehand.
        side = game.points**0.5
        self.score_width = torch.tensor([1.0, side, side], dtype=torch.float64)
        """Number and sum of distances from the mean before; the network's mean distance of late."""
        self.short = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
        """Number, sum and sum of squares; the network's mean squared error of late."""

    def state_dict(self) -> dict[str, Tensor]:
        """The counts."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict`; what an older state lacks is counted from here."""
        for name in vars(self):
            if name in state:
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
        score = score[torch.isfinite(score)].double()
        bins = score_bin(score, batch.ownership.shape[1])
        self.distribution += torch.bincount(bins, minlength=len(self.distribution))
        if len(score):
            far = (score - self.mean_score).abs().sum()
            self.score_width[:2] += torch.tensor([len(score), float(far)])
        self.score += torch.tensor([len(score), float(score.sum())])
        short = torch.from_numpy(batch.short)
        short = short[torch.isfinite(short)].double()
        self.short[:3] += torch.tensor([len(short), float(short.sum()), float((short**2).sum())])

    def note(self, out: dict[str, Tensor], batch: Batch) -> None:
        """How far the network's forecasts of numbers were off."""
        if "score" in out:
            off = (torch.from_numpy(batch.score) - out["score"]).double().abs()
            if (known := torch.isfinite(off)).any():
                self.score_width[2] = off[known].mean()
        if "short" in out:
            off = (torch.from_numpy(batch.short) - out["short"]).double() ** 2
            if (known := torch.isfinite(off)).any():
                self.short[3] = off[known].mean()

    @property
    def mean_score(self) -> float:
        """Mean margin in points."""
        count, total = self.score.tolist()
        return float(total / max(count, 1.0))


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


def _distribution(logits: Tensor, batch: Batch, marginals: Marginals) -> float:
    score = torch.from_numpy(batch.score)
    known = torch.isfinite(score)
    bins = score_bin(score[known], batch.ownership.shape[1])
    base = F.cross_entropy(marginals.distribution.log().expand(len(bins), -1), bins)
    return float(base - F.cross_entropy(logits[known].double(), bins)) * NAT


def _score(expected: Tensor, batch: Batch, marginals: Marginals) -> float:
    """Bits by which Laplace's distribution around the forecast beats that around the mean."""
    score = torch.from_numpy(batch.score).double()
    known = torch.isfinite(score)
    count, total, late = marginals.score_width.tolist()

    def length(off: Tensor, width: float) -> float:
        width = max(width, LEAST_SCORE)
        return math.log(width) + float(off.abs().mean()) / width

    base = length(score[known] - marginals.mean_score, total / count)
    return (base - length((score - expected)[known], late)) * NAT


def _short(expected: Tensor, batch: Batch, marginals: Marginals) -> float:
    """Bits by which the normal distribution around the forecast beats that around the mean."""
    short = torch.from_numpy(batch.short).double()
    known = torch.isfinite(short)
    count, total, squares, late = marginals.short.tolist()
    mean = total / count

    def length(off: Tensor, variance: float) -> float:
        variance = max(variance, LEAST_SHORT**2)
        return 0.5 * (math.log(variance) + float((off**2).mean()) / variance)

    base = length(short[known] - mean, squares / count - mean**2)
    return (base - length((short - expected)[known], late)) * NAT


def bits_a_game(
    learner: Learner, table: GameTable, marginals: Marginals, seed: list[int]
) -> dict[str, float]:
    """Bits a game that the network knew of the games of `table`, by head; see the module.

    Measured on up to `ROWS` of their learnable positions, drawn by `seed`; `marginals` then learns
    the targets. Empty if there is no such position. A head is negative while it does worse than its
    marginal.
    """
    game = learner.network.game
    fresh = ReplayWindow(game, counting=own_counting(game), short=learner.network.config.short)
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
    marginals.note(out, batch)
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
"""Heads that have a target for every move or every move but the last; the others count once a game."""


def _bits_a_row(out: dict[str, Tensor], batch: Batch, marginals: Marginals) -> dict[str, float]:
    """Bits a row by head; nan where no row has a target."""
    bits: dict[str, Any] = {
        "outcome": _outcome(out, batch, marginals),
        "policy": _policy(out["policy"], torch.from_numpy(batch.policy), marginals.policy),
    }
    if "reply" in out:
        bits["reply"] = _policy(out["reply"], torch.from_numpy(batch.reply), marginals.reply)
    if "score" in out:
        bits["score"] = _score(out["score"], batch, marginals)
    if "ownership" in out:
        bits["ownership"] = _ownership(out["ownership"], batch, marginals)
    if "distribution" in out:
        bits["distribution"] = _distribution(out["distribution"], batch, marginals)
    if "short" in out:
        bits["short"] = _short(out["short"], batch, marginals)
    return bits
