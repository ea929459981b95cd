"""Moves drawn by visits: the first so many, or all by a temperature that falls."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_search import HashEvaluator
from sizes import sized

from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor

GAMES = sized(300, 15)
FAR = sized(4.5, 0.0)  # standard errors; few games cannot tell
PLIES = 6


class NoPass(HashEvaluator):
    """Never thinks of passing, so that no game ends early."""

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1."""
        super().evaluate(n)
        self.policy[:n, -1] = -20.0


def begun(root: str = "puct", **given: Any) -> Actor:
    """Games in play that differ by nothing but the moves drawn, `PLIES` moves on or more."""
    game = get_game("go5")
    config = SearchConfig(root=root, solve=False)  # type: ignore[arg-type]
    actor = Actor(
        game, NoPass(game, GAMES), GAMES, 8, config, seed=np.random.SeedSequence(4), **given
    )
    while actor.slots.length.min() < PLIES:
        actor.step()
    assert not actor._done, "a slot was begun anew"
    return actor


def chances(policies: NDArray[np.float32], heat: float) -> NDArray[np.float64]:
    """Policies (G, A) to the power 1 / `heat`, scaled to 1."""
    powers = (policies / policies.max(axis=1, keepdims=True)).astype(np.float64) ** (1 / heat)
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def deviation(actor: Actor, t: int, heat: float) -> float:
    """How many standard errors the moves at ply `t` are off those drawn by `heat`.

    What is looked at is the policy of the move drawn, summed over the games.
    """
    policies = actor.slots.policies[:, t].astype(np.float64)
    drawn = policies[np.arange(GAMES), actor.slots.moves[:, t]]
    q = chances(actor.slots.policies[:, t], heat)
    mean = (q * policies).sum(axis=1)
    variance = (q * policies**2).sum(axis=1) - mean**2
    return float((drawn.sum() - mean.sum()) / math.sqrt(variance.sum()))


def test_without_sampling_all_games_are_one() -> None:
    assert len(np.unique(begun().slots.moves[:, :PLIES], axis=0)) == 1


def test_the_first_moves_are_drawn_by_visits_and_no_others() -> None:
    actor = begun(sampled_moves=2)
    moves = actor.slots.moves[:, :PLIES]
    for t in range(2):
        assert abs(deviation(actor, t, 1.0)) < 4.5
        assert abs(deviation(actor, t, 3.0)) > FAR
    opened = {tuple(line[:2]) for line in moves.tolist()}
    assert len(opened) > sized(4, 2)
    assert len(opened) == len({tuple(line) for line in moves.tolist()}), (
        "the rest follows from them"
    )


def test_a_gumbel_root_needs_no_sampling() -> None:
    found = [
        begun("gumbel", **given).slots.moves[:, :PLIES]
        for given in ({}, {"sampled_moves": 4}, {"temperatures": (1.0, 1.0)})
    ]
    assert all(len(np.unique(moves, axis=0)) == 1 for moves in found)


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_a_temperature_falls_with_the_moves(late: float) -> None:
    early = 4.0
    actor = begun(temperatures=(early, late))
    for t in range(PLIES):
        heat = late + (early - late) * 0.5 ** (t / 5)  # 5: the side of the board
        assert abs(deviation(actor, t, heat)) < 4.5
    assert abs(deviation(actor, PLIES - 1, 0.5)) > FAR


def test_a_low_temperature_plays_the_likeliest() -> None:
    actor = begun(temperatures=(0.02, 0.0))
    for t in range(PLIES):
        policies = actor.slots.policies[:, t]
        drawn = policies[np.arange(GAMES), actor.slots.moves[:, t]]
        np.testing.assert_array_equal(drawn, policies.max(axis=1))
