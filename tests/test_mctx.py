"""The Gumbel root against DeepMind's mctx, where that is installed (`pip install ghostgo[peers]`).

Below the root the two differ by design (PUCT here), which shows from an action's third visit on; so
searches are compared in which no action gets more than two.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_search import HashEvaluator
from test_search import positions

from ghostgo.engine.games.game import Game, legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig

mctx: Any = pytest.importorskip("mctx", reason="mctx is not installed: pip install ghostgo[peers]")
jax: Any = pytest.importorskip("jax")

DEPTH = 3


class Table:
    """All positions within DEPTH plies of one, with a network's answers, as arrays for jax."""

    def __init__(self, game: Game, root: Any, evaluator: HashEvaluator) -> None:
        self.logits: list[NDArray[np.float32]] = []
        self.values: list[float] = []
        self.children: list[list[int]] = []
        mask = np.zeros(game.actions, np.uint8)
        planes = np.zeros((game.points, game.planes), np.uint16)
        level = [root.copy()]
        for depth in range(DEPTH + 1):
            first_child = len(self.values) + len(level)
            below: list[Any] = []
            for state in level:
                assert not state[0].done
                assert legal_mask_of(state[0], mask) == game.actions
                write_planes_of(state[0], mask, planes)
                logits, value, _ = evaluator.judge(planes)
                self.logits.append(logits)
                self.values.append(value)
                self.children.append([first_child + len(below) + a for a in range(game.actions)])
                for action in range(game.actions if depth < DEPTH else 0):
                    child = state.copy()
                    play_one(child[0], action)
                    below.append(child)
            level = below


def search(table: Table, simulations: int) -> Any:
    """mctx's Gumbel policy without noise, values in the units that the paper gives for [0, 1]."""
    logits = jax.numpy.array(np.stack(table.logits))
    values = jax.numpy.array(np.array(table.values, np.float32))
    children = jax.numpy.array(np.array(table.children))

    def step(params: Any, key: Any, action: Any, node: Any) -> Any:
        child = children[node, action]
        output = mctx.RecurrentFnOutput(
            reward=jax.numpy.zeros(1), discount=-jax.numpy.ones(1),
            prior_logits=logits[child], value=values[child],
        )  # fmt: skip
        return output, child

    root = mctx.RootFnOutput(
        prior_logits=logits[:1], value=values[:1], embedding=jax.numpy.zeros(1, int)
    )
    return mctx.gumbel_muzero_policy(
        None, jax.random.PRNGKey(0), root, step, simulations, gumbel_scale=0.0,
        qtransform=partial(
            mctx.qtransform_completed_by_mix_value, value_scale=0.5, rescale_values=False
        ),
    )  # fmt: skip


@pytest.mark.parametrize("simulations", [2, 4, 7, 8, 10])
def test_visits_policy_and_action_equal_those_of_mctx(simulations: int) -> None:
    game = get_game("connect_four")
    evaluator = HashEvaluator(game, 1)
    searcher = Searcher(game, evaluator, 1, simulations, SearchConfig(root="gumbel"))
    for state in positions(game, 20, 7, 3):
        one = game.new_states(1)
        one[0] = state
        found = searcher.run(one)
        wanted = search(Table(game, one, evaluator), simulations)
        visits = np.asarray(wanted.search_tree.summary().visit_counts)[0]
        assert found.visits[0].max() <= 2
        assert (found.visits[0] == visits).all()
        assert np.allclose(found.policy[0], np.asarray(wanted.action_weights)[0], atol=1e-4)
        assert found.action[0] == int(wanted.action[0])
