"""The heads of a new network, started at what they could say without looking at the board.

Every head of a new network is zero: a uniform policy, an even value. A constant that is right on
average costs nothing to find, and what training then learns is about positions from its first step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ghostgo.data.batch import Batch
from ghostgo.engine.network import DRAW, LOSS, WIN, Network
from ghostgo.engine.score_head import score_bin, score_bins

ROWS = 4096
"""Positions whose targets are counted."""
BEFORE = 0.5
"""Observations of each outcome beforehand (Krichevsky and Trofimov 1981): no forecast is 0 or 1."""


def _untouched(head: Any) -> bool:
    """Whether there is such a head, and it says zero whatever it is shown."""
    return head is not None and not head.weight.any() and not head.bias.any()


@torch.no_grad()
def start_at_marginals(network: Network, batch: Batch) -> None:
    """Have every head of `network` that is still at zero forecast the marginal of its target in `batch`.

    Only biases are set: value log p of win, draw and loss; own move and reply the mean policy, where
    points share one bias the mass on the pass alone; score and short-horizon value their means;
    ownership one chance for all points; score distribution log p of every margin. Where `batch` knows
    no target there is no marginal, and the head stays as it is.
    """
    weights = [torch.from_numpy(batch.policy_weight), torch.ones(len(batch))]
    targets = [torch.from_numpy(batch.policy), torch.from_numpy(batch.reply)]
    counts = [(each * w[:, None]).sum(dim=0) for each, w in zip(targets, weights, strict=True)]
    _start_policies(network, counts[: network.policies])
    value = torch.from_numpy(batch.value)
    if _untouched(network.value_out) and torch.isfinite(value).any():
        found = torch.full((3,), BEFORE)
        for index, result in ((WIN, 1), (DRAW, 0), (LOSS, -1)):
            found[index] += (value == result).sum()
        network.value_out.bias.copy_((found / found.sum()).log())
    score = torch.from_numpy(batch.score)
    _start(network.score_out, score / batch.ownership.shape[1] ** 0.5)
    _start_distribution(network, score[torch.isfinite(score)])
    owner = torch.from_numpy(batch.ownership)
    owner = owner[torch.isfinite(owner[:, 0])]
    if len(owner):
        # Half an observation is one of a point on one board.
        share = (owner.sum() + BEFORE) / (owner.numel() + 2 * BEFORE)
        _start(network.ownership_out, torch.logit(share)[None])
    short = torch.from_numpy(batch.short)
    if torch.isfinite(short).any():
        _start(network.short_out, torch.atanh(short.nanmean().clamp(-0.99, 0.99))[None])


def _start(head: Any, known: Tensor) -> None:
    """Set the bias of a head of one output to the mean of what is known."""
    known = known[torch.isfinite(known)]
    if _untouched(head) and len(known):
        head.bias.fill_(known.mean())


def _start_distribution(network: Network, score: Tensor) -> None:
    """The chance of each margin, of those seen, (N,)."""
    head, points = network.distribution_out, network.game.points
    if head is None or not _untouched(head.out) or head.usual.any() or not len(score):
        return
    # One observation over all beforehand (Perks 1947): most margins never happen.
    found = torch.bincount(score_bin(score, points), minlength=score_bins(points)).float()
    found += 1 / len(found)
    head.constants(points).copy_((found / found.sum()).log())


def _start_policies(network: Network, counts: list[Tensor]) -> None:
    """Both policies, of how often each action was chosen, (A,) each."""
    flat = network.game.policy_head == "flat"
    head: Any = network.policy_out if flat else network.pass_out
    if not _untouched(head) or not _untouched(network.policy_out):
        return  # without a pass all points share one bias, which says nothing
    for i, count in enumerate(counts):
        if not count.sum():
            continue
        if flat:
            bias = ((count + BEFORE) / (count + BEFORE).sum()).log()
            head.bias[i * len(count) : (i + 1) * len(count)] = bias
        else:
            # Softmax over P points at 0 and the pass: odds of the pass to one point.
            odds = (count[-1] + BEFORE) / (count[:-1].sum() + BEFORE) * (len(count) - 1)
            head.bias[i] = odds.log()
