"""Neighbouring ranks learn from each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_ranks import GAME, STRONG, ranked_table
from torch import nn

from ghostgo.data.replay import ReplayWindow
from ghostgo.engine.network import RANKS, Network, NetworkConfig, rank_code
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.selfplay.neighbours import REACH, average_neighbours, neighbour_weights


def test_weights_fall_linearly_and_code_0_is_alone() -> None:
    weights = neighbour_weights(RANKS)
    for a in range(RANKS):
        for b in range(RANKS):
            near = max(0.0, 1 - abs(a - b) / REACH) / REACH
            expected = float(a == b) if 0 in (a, b) else near
            assert weights[a, b] == pytest.approx(expected, abs=1e-7), (a, b)


def test_what_is_learnt_in_the_end_is_the_same() -> None:
    """Positive definite: the averaged gradient is zero only where the gradient is."""
    assert torch.linalg.eigvalsh(neighbour_weights(RANKS).double()).min() > 1e-4


def test_a_gradient_reaches_the_ranks_beside_it() -> None:
    ranks = nn.Embedding(RANKS, 3)
    average_neighbours(ranks)  # no gradient yet, and none made
    assert ranks.weight.grad is None
    gradient = torch.zeros(RANKS, 3)
    gradient[0], gradient[STRONG] = 7.0, torch.tensor([REACH * 1.0, 0.0, -REACH])
    ranks.weight.grad = gradient.clone()
    average_neighbours(ranks)
    found = ranks.weight.grad
    assert torch.equal(found[0], gradient[0])
    for code in range(1, RANKS):
        weight = max(0.0, 1 - abs(code - STRONG) / REACH)
        torch.testing.assert_close(found[code], torch.tensor([weight, 0.0, -weight]))
    assert not found[rank_code("20k")].any() and found[rank_code("9d")].any()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_learner_teaches_neighbours_and_no_one_else(optimizer: str) -> None:
    window = ReplayWindow(GAME)
    table = ranked_table()
    table.ranks[:] = weakest = rank_code("30k")
    window.add(table)
    config = LearnerConfig(batch_size=64, warmup_steps=5, average=0.9, optimizer=optimizer)  # type: ignore[arg-type]
    learner = Learner(Network(GAME, NetworkConfig.preset("b1c16r")), config)
    for step in range(10):
        learner.step(window.sample(64, np.random.default_rng(step)))
    assert learner.average.rank is not None
    learnt = learner.average.rank.weight.detach().any(dim=1).numpy()
    codes = np.arange(RANKS)
    near = abs(codes - weakest) < REACH
    assert 0 < near[1:].sum() < RANKS - 1
    assert np.array_equal(learnt[1:], near[1:])
    assert not learnt[0], "all of these rows were told a rank"
