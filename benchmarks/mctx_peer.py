"""Gumbel search by mctx over pgx's games, with a network of ghostgo's size written in jax.

For `benchmarks/peers.py`, where jax, mctx and pgx are installed. The network has the trunk of
`ghostgo.engine.network` without its pooling, which is a few percent of the work, and a dense policy
and a pooled value head, in float32, compiled by XLA; weights are random, as speed does not ask for
good ones. The search is `mctx.gumbel_muzero_policy` as in
pgx's AlphaZero example: perfect model, values of finished games zero, discount -1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pgx

from ghostgo.engine.games.game import Game
from ghostgo.engine.network import NetworkConfig

NAMES = {
    "go9": "go_9x9",
    "go19": "go_19x19",
    "connect_four": "connect_four",
    "othello": "othello",
    "tic_tac_toe": "tic_tac_toe",
}


def _weights(inputs: int, actions: int, config: NetworkConfig, points: int) -> dict[str, Any]:
    """Random weights: `stem`, `blocks` of two 3x3 convolutions, and the two heads."""
    rng, c = np.random.default_rng(0), config.channels
    h = max(16, c // 2)

    def conv(size: int, a: int, b: int) -> Any:
        return jnp.array(rng.normal(0, (size * size * a) ** -0.5, (size, size, a, b)), jnp.float32)

    def dense(a: int, b: int) -> Any:
        return jnp.array(rng.normal(0, a**-0.5, (a, b)), jnp.float32)

    return {
        "stem": conv(3, inputs, c),
        "blocks": [(conv(3, c, c), conv(3, c, c)) for _ in range(config.blocks)],
        "policy_conv": conv(1, c, h),
        "policy": dense(points * h, actions),
        "value_conv": conv(1, c, h),
        "value_hidden": dense(2 * h, c),
        "value": dense(c, 1),
    }


def _convolve(x: Any, kernel: Any) -> Any:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def _network(weights: dict[str, Any], observation: Any) -> Any:
    """Logits (B, A) and values (B,) of observations (B, H, W, C)."""
    x = jax.nn.relu(_convolve(observation.astype(jnp.float32), weights["stem"]))
    for first, second in weights["blocks"]:
        x = jax.nn.relu(x + _convolve(jax.nn.relu(_convolve(x, first)), second))
    p = jax.nn.relu(_convolve(x, weights["policy_conv"]))
    v = jax.nn.relu(_convolve(x, weights["value_conv"]))
    pooled = jnp.concatenate([v.mean(axis=(1, 2)), v.max(axis=(1, 2))], axis=1)
    hidden = jax.nn.relu(pooled @ weights["value_hidden"])
    return p.reshape(len(p), -1) @ weights["policy"], jnp.tanh(hidden @ weights["value"])[:, 0]


def search_work(game: Game, net: str, simulations: int, batch: int) -> Callable[[], int]:
    """One move of `batch` games at once from their start; the unit is a simulation.

    Raises KeyError for a game that pgx does not have in this form.
    """
    env = pgx.make(NAMES[game.name])
    state = jax.vmap(env.init)(jax.random.split(jax.random.PRNGKey(0), batch))
    observation = state.observation
    rows, cols = observation.shape[1:3]
    actions = state.legal_action_mask.shape[1]
    weights = _weights(observation.shape[3], actions, NetworkConfig.preset(net), rows * cols)

    def judge(state: Any) -> Any:
        logits, value = _network(weights, state.observation)
        return jnp.where(state.legal_action_mask, logits, jnp.finfo(jnp.float32).min), value

    def step(params: Any, key: Any, action: Any, state: Any) -> Any:
        player = state.current_player
        state = jax.vmap(env.step)(state, action)
        logits, value = judge(state)
        over = state.terminated
        output = mctx.RecurrentFnOutput(
            reward=state.rewards[jnp.arange(batch), player],
            discount=jnp.where(over, 0.0, -1.0),
            prior_logits=logits,
            value=jnp.where(over, 0.0, value),
        )
        return output, state

    @jax.jit
    def search(key: Any, state: Any) -> Any:
        logits, value = judge(state)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=state)
        found = mctx.gumbel_muzero_policy(
            None, key, root, step, simulations, invalid_actions=~state.legal_action_mask
        )
        return found.action, found.search_tree.summary().visit_counts

    def work() -> int:
        action, visits = search(jax.random.PRNGKey(1), state)
        action.block_until_ready()
        assert int(visits[0].sum()) == simulations
        return batch * simulations

    return work
