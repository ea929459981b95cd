"""The lower confidence bound of a move, and the sums that it is made of."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from sizes import sized

from ghostgo.bot import SearchBot
from ghostgo.engine.confidence import lower_bound, sum_squares
from ghostgo.engine.games.game import play_one
from ghostgo.engine.tree import EXPANDED, ROOT, TERMINAL
from ghostgo.opponents import make_bot


def test_the_bound_is_katagos() -> None:
    # By hand: n = 4, w = 1/16, variance 0.5 - 0.25 + w / (n + w), (n + w)^2 / (n + w^2) visits.
    variance = 0.25 + (1 / 16) / (4 + 1 / 16)
    effective = (4 + 1 / 16) ** 2 / (4 + 1 / 256)
    radius = 5 * math.sqrt(variance / effective)
    assert lower_bound(0.5, 0.5, 4) == pytest.approx(0.5 - radius)
    assert lower_bound(0.9, 0.81, 1) == -1, "one visit tells nothing"
    assert lower_bound(0.9, 0.5, 10**6) == pytest.approx(0.9, abs=1e-6), "no negative variance"


def test_the_bound_rises_with_visits_and_falls_with_spread() -> None:
    bounds = [lower_bound(0.2, 0.1, n) for n in (10, 100, 1000, 10_000)]
    assert bounds == sorted(bounds) and bounds[0] < bounds[-1] < 0.2
    assert lower_bound(0.2, 0.9, 1000) < lower_bound(0.2, 0.1, 1000)


def test_squares_are_of_the_values_that_visits_ended_at() -> None:
    bot = make_bot("connect_four", None, sized(200, 100), 1, Path("nowhere"))
    assert isinstance(bot, SearchBot)
    states = bot.game.new_states(1)
    for column in (1, 6, 3, 2, 0, 3, 6, 4, 5, 0, 1, 5, 5):  # some moves lose at once
        play_one(states[0], column)
    bot.choose(states)
    searcher = bot._searcher
    trees = searcher.trees
    found = sum_squares(trees, 0, bot.game.actions)

    def below(index: int) -> tuple[float, int]:
        """Sum of squares and visits of a node and all below it."""
        node = trees.nodes[0, index]
        own, total = int(node.visits), 0.0
        if node.kind == EXPANDED:
            for edge in trees.edges[0, node.first_edge : node.first_edge + node.visited]:
                squares, visits = below(int(edge.child))
                assert visits == edge.visits
                own, total = own - visits, total + squares
        return total + own * float(node.raw_value) ** 2, int(node.visits)

    root = trees.nodes[0, ROOT]
    expected = np.zeros(bot.game.actions)
    for edge in trees.edges[0, root.first_edge : root.first_edge + root.visited]:
        expected[edge.action] = below(int(edge.child))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    result = searcher.result()
    seen = result.visits[0] > 0
    assert (result.q[0][seen] ** 2 <= expected[seen] / result.visits[0][seen] + 1e-5).all()
    assert (expected[seen] > 0).all() and not expected[~seen].any()
    nodes = trees.nodes[0, : trees.node_count[0]]
    proven = (nodes.kind == TERMINAL) & (nodes.visited > 0)
    assert proven.any(), "else nothing is told of what lies below a proof"
