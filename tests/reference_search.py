"""A naive twin of the PUCT search: node objects, one leaf at a time, float64 throughout.

With `solve` it proves sub-trees as the kernels do: a node's proven value, once known, ends walks
there; actions proven lost are not chosen any more. With `score_weight` points count, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import (
    Game,
    legal_mask_of,
    outcome_of,
    play_one,
    score_of,
    write_planes_of,
)
from ghostgo.engine.search_config import SearchConfig


class HashEvaluator:
    """Judges a position by a hash of its planes: arbitrary, but the same in every batch."""

    def __init__(self, game: Game, batch: int) -> None:
        self.game = game
        self.planes = np.zeros((batch, game.points, game.planes), np.uint16)
        self.policy = np.zeros((batch, game.actions), np.float32)
        self.value = np.zeros(batch, np.float32)
        self.score = np.zeros(batch, np.float32)
        self.evaluations = 0
        self.flops_per_evaluation = 1.0

    def judge(self, planes: NDArray[np.uint16]) -> tuple[NDArray[np.float32], float, float]:
        """Logits (A,), value and score of one position's planes (P, C)."""
        weights = np.arange(1, planes.size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        seed = int((planes.reshape(-1).astype(np.uint64) * weights).sum() >> np.uint64(16))
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=self.game.actions).astype(np.float32)
        value, score = rng.uniform(-0.9, 0.9), rng.uniform(-20, 20)
        return logits, float(np.float32(value)), float(np.float32(score))

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1."""
        for i in range(n):
            self.policy[i], self.value[i], self.score[i] = self.judge(self.planes[i])
        self.evaluations += n


class Node:
    """A position: its statistics from its own side to move, and its children by action."""

    def __init__(self, game: Game, state: Any, config: SearchConfig) -> None:
        self.state = state
        self.visits = 0
        self.total = 0.0
        self.prior: dict[int, float] = {}
        self.children: dict[int, Node] = {}
        self.exact: float | None = None
        if state[0].done:
            margin = score_of(state[0]) * (1 if state[0].to_play == 0 else -1)
            self.exact = worth(game, config, outcome_of(state[0]), margin)


def worth(game: Game, config: SearchConfig, value: float, margin: float) -> float:
    """Winning and points together, as the search weighs them."""
    share = math.atan(margin / (2 * math.sqrt(game.points))) / (math.pi / 2)
    return (1 - config.score_weight) * value + config.score_weight * share


def naive_puct(
    game: Game, state: Any, visits: int, config: SearchConfig, evaluator: HashEvaluator
) -> NDArray[np.int32]:
    """Visit counts (A,) of a PUCT search from `state`, a recarray of shape (1,), without noise.

    With `explore` its root has forced visits by `forced_k`, its temperature and its own value of what
    is untried all the same.
    """
    root = Node(game, state.copy(), config)
    root.total, root.visits = _judge(game, root, config, evaluator), 1
    if config.explore:
        root.prior = tempered(root.prior, root_heat(game, state[0], config))
    for _ in range(visits):
        path, actions = [root], []
        while path[-1].prior and path[-1].exact is None:
            action = _choose(path[-1], config, config.explore and len(path) == 1)
            actions.append(action)
            if action not in path[-1].children:
                after = path[-1].state.copy()
                play_one(after[0], action)
                path[-1].children[action] = Node(game, after, config)
            path.append(path[-1].children[action])
        leaf = path[-1]
        value = _judge(game, leaf, config, evaluator) if leaf.exact is None else leaf.exact
        for node in path:
            node.visits += 1
            node.total += value * _same_side(node, leaf)
        if config.solve:
            _prove(path)
    counts = np.zeros(game.actions, np.int32)
    for action, child in root.children.items():
        counts[action] = child.visits
    return counts


def root_heat(game: Game, state: Any, config: SearchConfig) -> float:
    """Temperature of the prior at a root with noise, by the number of its move."""
    early, late = config.root_temperature_early, config.root_temperature_late
    halvings = int(state.move_number) / math.sqrt(game.rows * game.cols)
    return late + (early - late) / 2**halvings


def tempered(chances: dict[int, float], heat: float) -> dict[int, float]:
    """Chances to the power 1 / `heat`, scaled to 1."""
    powers = {a: p ** (1 / heat) for a, p in chances.items()}
    return {a: p / sum(powers.values()) for a, p in powers.items()}


def _same_side(one: Node, other: Node) -> int:
    """1 if the same side is to move, else -1."""
    return 1 if one.state[0].to_play == other.state[0].to_play else -1


def _exact(node: Node, action: int) -> float | None:
    """Exact value of an action for the side to move, if known."""
    child = node.children.get(action)
    if child is None or child.exact is None:
        return None
    return child.exact * _same_side(node, child)


def _prove(path: list[Node]) -> None:
    """Exact values of a walk's nodes from its end upward; never of the root."""
    for node in reversed(path[1:-1]):
        values = [_exact(node, action) for action in node.prior]
        known = [value for value in values if value is not None]
        if any(value > 0 for value in known) or len(known) == len(values):
            node.exact = max(known)


def _judge(game: Game, node: Node, config: SearchConfig, evaluator: HashEvaluator) -> float:
    mask = np.zeros(game.actions, np.uint8)
    planes = np.zeros((game.points, game.planes), np.uint16)
    legal_mask_of(node.state[0], mask)
    write_planes_of(node.state[0], mask, planes)
    logits, value, score = evaluator.judge(planes)
    weights = {a: math.exp(float(logits[a])) for a in map(int, np.flatnonzero(mask))}
    total = sum(weights.values())
    node.prior = {a: w / total for a, w in weights.items()}
    return worth(game, config, value, score)


def _choose(node: Node, config: SearchConfig, noisy: bool) -> int:
    forced = config.forced_k if noisy else 0.0
    reduction = config.fpu_reduction
    if noisy and config.root_fpu_reduction is not None:
        reduction = config.root_fpu_reduction
    tried = sum(node.prior[a] for a in node.children)
    unseen = node.total / node.visits - reduction * math.sqrt(tried)
    ordered = sorted(node.prior.items(), key=lambda item: -item[1])
    best, best_score = ordered[0][0], -math.inf
    for action, prior in ordered:
        child = node.children.get(action)
        n = child.visits if child else 0
        q = unseen
        if child is not None:
            q = child.total / child.visits * _same_side(node, child)
            if config.solve and child.exact is not None:
                q = child.exact * _same_side(node, child)
                if q < 0:
                    continue
        if 0 < n < math.sqrt(forced * prior * (node.visits - 1)):
            return action
        explore = config.c_puct * math.sqrt(max(1, node.visits - 1))
        score = q + explore * prior / (1 + n)
        if score > best_score:
            best, best_score = action, score
    return best
