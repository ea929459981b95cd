"""A naive twin of the PUCT search: node objects, one leaf at a time, float64 throughout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game, legal_mask_of, outcome_of, play_one, write_planes_of
from ghostgo.engine.search_config import SearchConfig


class HashEvaluator:
    """Judges a position by a hash of its planes: arbitrary, but the same in every batch."""

    def __init__(self, game: Game, batch: int) -> None:
        self.game = game
        self.planes = np.zeros((batch, game.points, game.planes), np.uint16)
        self.policy = np.zeros((batch, game.actions), np.float32)
        self.value = np.zeros(batch, np.float32)
        self.evaluations = 0
        self.flops_per_evaluation = 1.0

    def judge(self, planes: NDArray[np.uint16]) -> tuple[NDArray[np.float32], float]:
        """Logits (A,) and value of one position's planes (P, C)."""
        weights = np.arange(1, planes.size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        seed = int((planes.reshape(-1).astype(np.uint64) * weights).sum() >> np.uint64(16))
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=self.game.actions).astype(np.float32)
        return logits, float(np.float32(rng.uniform(-0.9, 0.9)))

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1."""
        for i in range(n):
            self.policy[i], self.value[i] = self.judge(self.planes[i])
        self.evaluations += n


class Node:
    """A position: its statistics from its own side to move, and its children by action."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.visits = 0
        self.total = 0.0
        self.prior: dict[int, float] = {}
        self.children: dict[int, Node] = {}


def naive_puct(
    game: Game, state: Any, visits: int, config: SearchConfig, evaluator: HashEvaluator
) -> NDArray[np.int32]:
    """Visit counts (A,) of a noiseless PUCT search from `state`, a recarray of shape (1,)."""
    root = Node(state.copy())
    _expand(game, root, evaluator)
    for _ in range(visits):
        path, actions = [root], []
        while path[-1].prior:
            action = _choose(path[-1], config)
            actions.append(action)
            if action not in path[-1].children:
                after = path[-1].state.copy()
                play_one(after[0], action)
                path[-1].children[action] = Node(after)
            path.append(path[-1].children[action])
        leaf = path[-1]
        value = outcome_of(leaf.state[0]) if leaf.state[0].done else _judge(game, leaf, evaluator)
        for node in path:
            sign = 1 if node.state[0].to_play == leaf.state[0].to_play else -1
            node.visits += 1
            node.total += sign * value
    counts = np.zeros(game.actions, np.int32)
    for action, child in root.children.items():
        counts[action] = child.visits
    return counts


def _judge(game: Game, node: Node, evaluator: HashEvaluator) -> float:
    mask = np.zeros(game.actions, np.uint8)
    planes = np.zeros((game.points, game.planes), np.uint16)
    legal_mask_of(node.state[0], mask)
    write_planes_of(node.state[0], mask, planes)
    logits, value = evaluator.judge(planes)
    weights = {a: math.exp(float(logits[a])) for a in map(int, np.flatnonzero(mask))}
    total = sum(weights.values())
    node.prior = {a: w / total for a, w in weights.items()}
    return value


def _expand(game: Game, root: Node, evaluator: HashEvaluator) -> None:
    root.total = _judge(game, root, evaluator)
    root.visits = 1


def _choose(node: Node, config: SearchConfig) -> int:
    tried = sum(node.prior[a] for a in node.children)
    unseen = node.total / node.visits - config.fpu_reduction * math.sqrt(tried)
    best, best_score = -1, -math.inf
    for action, prior in sorted(node.prior.items(), key=lambda item: -item[1]):
        child = node.children.get(action)
        n = child.visits if child else 0
        q = unseen
        if child is not None:
            same = child.state[0].to_play == node.state[0].to_play
            q = child.total / child.visits * (1 if same else -1)
        explore = config.c_puct * math.sqrt(max(1, node.visits - 1))
        score = q + explore * prior / (1 + n)
        if score > best_score:
            best, best_score = action, score
    return best
