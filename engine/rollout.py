"""Plain Monte-Carlo tree search: UCT with uniformly random playouts, no network.

A fixed opponent and a yardstick. Everything happens in one kernel over the generic game kernels, so
it works for every game. A node is expanded with all its legal actions, in random order, when it is
visited for the second time; each is tried once before UCB1 (Auer et al. 2002; Kocsis and
Szepesvari 2006) decides, and the action visited most often is played. Values lie in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import (
    Game,
    State,
    States,
    is_legal,
    outcome,
    play,
    rollout_action,
)
from ghostgo.engine.jit import Rng, kernel, random_below

EXPLORATION = 1.0
"""UCB1's constant, for values in [-1, 1]."""
MOST_NODES = 1 << 22
"""A tree stops growing here; its leaves are then played out without being expanded."""
ROOT = 0


class RolloutTree(NamedTuple):
    """A search tree as parallel arrays; N nodes, node 0 the root, children of a node adjacent."""

    action: NDArray[np.int16]  # (N,) the action that leads here
    mover: NDArray[np.int8]  # (N,) who played it
    first_child: NDArray[np.int32]  # (N,)
    children: NDArray[np.int16]  # (N,) 0: not expanded
    tried: NDArray[np.int16]  # (N,) children visited at least once
    visits: NDArray[np.int32]  # (N,)
    total: NDArray[np.float64]  # (N,) sum of results, from the mover's side


def make_tree(game: Game, rollouts: int) -> RolloutTree:
    """An empty tree with room for `rollouts` playouts of `game`."""
    n = min(1 + (rollouts + 1) * game.actions, MOST_NODES)
    return RolloutTree(
        action=np.empty(n, np.int16),
        mover=np.empty(n, np.int8),
        first_child=np.empty(n, np.int32),
        children=np.empty(n, np.int16),
        tried=np.empty(n, np.int16),
        visits=np.empty(n, np.int32),
        total=np.empty(n, np.float64),
    )


@kernel
def _add_node(tree: RolloutTree, node: int, action: int, mover: int) -> None:
    tree.action[node] = action
    tree.mover[node] = mover
    tree.first_child[node] = 0
    tree.children[node] = 0
    tree.tried[node] = 0
    tree.visits[node] = 0
    tree.total[node] = 0.0


@kernel
def _expand(state: State, actions: int, tree: RolloutTree, node: int, size: int, rng: Rng) -> int:
    """Give `node` its legal actions as children, shuffled; returns the tree's new size."""
    tree.first_child[node] = size
    count = 0
    for action in range(actions):
        if not is_legal(state, action):
            continue
        _add_node(tree, size + count, action, state.to_play)
        other = size + random_below(rng, count + 1)
        tree.action[size + count], tree.action[other] = tree.action[other], action
        count += 1
    tree.children[node] = count
    return size + count


@kernel
def _select(tree: RolloutTree, node: int, exploration: float) -> int:
    """The child to descend to: the next untried one, else the highest upper confidence bound."""
    first = int(tree.first_child[node])
    if tree.tried[node] < tree.children[node]:
        tree.tried[node] += 1
        return first + int(tree.tried[node]) - 1
    log_visits = np.log(float(tree.visits[node]))
    best, best_bound = first, -np.inf
    for child in range(first, first + tree.children[node]):
        visits = float(tree.visits[child])
        bound = tree.total[child] / visits + exploration * np.sqrt(log_visits / visits)
        if bound > best_bound:
            best, best_bound = child, bound
    return best


@kernel
def _backup(tree: RolloutTree, path: NDArray[np.int32], depth: int, result: float) -> None:
    """Add `result`, the first player's, to the nodes of `path[0 .. depth]`."""
    for i in range(depth + 1):
        node = path[i]
        tree.visits[node] += 1
        tree.total[node] += result if tree.mover[node] == 0 else -result


@kernel
def _most_visited(tree: RolloutTree) -> int:
    first = int(tree.first_child[ROOT])
    best = first
    for child in range(first, first + tree.children[ROOT]):
        more = tree.visits[child] > tree.visits[best]
        tie = tree.visits[child] == tree.visits[best] and tree.total[child] > tree.total[best]
        if more or tie:
            best = child
    return int(tree.action[best])


@kernel
def _plant(states: States, actions: int, tree: RolloutTree, rng: Rng) -> int:
    """Begin a search of `states[0]`; returns the tree's size."""
    _add_node(tree, ROOT, -1, 1 - states[0].to_play)
    return _expand(states[0], actions, tree, ROOT, 1, rng)


@kernel
def _grow(
    states: States,
    actions: int,
    rollouts: int,
    exploration: float,
    tree: RolloutTree,
    size: int,
    path: NDArray[np.int32],
    rng: Rng,
) -> int:
    """So many more rollouts from `states[0]`, with `states[1]` as scratch; the tree's new size."""
    for _ in range(rollouts):
        states[1] = states[0]
        state = states[1]
        node, depth = ROOT, 0
        path[0] = ROOT
        while not state.done:
            if tree.children[node] == 0:
                if tree.visits[node] == 0 or size + actions > len(tree.action):
                    break
                size = _expand(state, actions, tree, node, size, rng)
            node = _select(tree, node, exploration)
            play(state, int(tree.action[node]))
            depth += 1
            path[depth] = node
        while not state.done:
            play(state, rollout_action(state, rng))
        result = outcome(state)
        _backup(tree, path, depth, -result if state.to_play else result)
    return size


@kernel
def _choose(
    states: States,
    actions: int,
    rollouts: int,
    seeds: NDArray[np.uint64],
    tree: RolloutTree,
    path: NDArray[np.int32],
    scratch: States,
    out: NDArray[np.int32],
) -> None:
    """One search a row; row i of `out` depends on `states[i]` and `seeds[i]` only."""
    rng = np.empty(1, np.uint64)
    for i in range(len(states)):
        rng[0] = seeds[i]
        scratch[0] = states[i]
        size = _plant(scratch, actions, tree, rng)
        _grow(scratch, actions, rollouts, EXPLORATION, tree, size, path, rng)
        out[i] = _most_visited(tree)


@kernel
def random_actions(states: States, seeds: NDArray[np.uint64], out: NDArray[np.int32]) -> None:
    """A `rollout_action` for each unfinished state (n,); row i depends on `seeds[i]`."""
    rng = np.empty(1, np.uint64)
    for i in range(len(states)):
        rng[0] = seeds[i]
        out[i] = rollout_action(states[i], rng)


class RolloutSearcher:
    """Plain MCTS over a batch of positions, one after another, with one tree's memory."""

    def __init__(self, game: Game, rollouts: int, seed: int | np.random.SeedSequence = 0) -> None:
        """Raises UserError unless `rollouts` is from 1 to MOST_NODES."""
        if rollouts < 1:
            raise UserError(f"{rollouts} rollouts: at least 1 is needed")
        if rollouts > MOST_NODES:
            raise UserError(f"{rollouts} rollouts are too many: {MOST_NODES} at most")
        self.game = game
        self.rollouts = rollouts
        self._tree = make_tree(game, rollouts)
        self._path = np.zeros(game.max_moves + 2, np.int32)
        self._scratch = game.new_states(2)
        self._random = np.random.default_rng(seed)
        self._rng: Rng = np.zeros(1, np.uint64)
        self._size, self._left = 0, 0

    def begin(self, states: States, seed: int | None = None) -> None:
        """Set up a search of the unfinished position `states`, (1,), to be made step by step.

        Without a seed it takes one word of the searcher's own stream, as `choose` does, and finds
        the same.
        """
        self._rng[:] = self._random.integers(0, 2**64, 1, np.uint64) if seed is None else seed
        self._scratch[0] = states[0]
        self._left = self.rollouts
        self._size = _plant(self._scratch, self.game.actions, self._tree, self._rng)

    def step(self, rollouts: int) -> bool:
        """Up to so many more rollouts of the search that was begun; False when all are done."""
        count = min(rollouts, self._left)
        self._left -= count
        self._size = _grow(
            self._scratch, self.game.actions, count, EXPLORATION, self._tree, self._size,
            self._path, self._rng,
        )  # fmt: skip
        return self._left > 0

    def best(self) -> int:
        """The action to play by the rollouts of the search that was begun, at least one."""
        return int(_most_visited(self._tree))

    def choose(
        self, states: States, seeds: NDArray[np.uint64] | Sequence[int] | None = None
    ) -> NDArray[np.int32]:
        """The action to play in each of the unfinished `states` (n,), as (n,) int32.

        With `seeds` (n,) a row's action depends on its state and seed only; without, the
        searcher's own stream supplies them.
        """
        n = len(states)
        if seeds is None:
            words = self._random.integers(0, 2**64, n, np.uint64)
        else:
            words = np.asarray(seeds, np.uint64)
        out = np.empty(n, np.int32)
        _choose(
            states,
            self.game.actions,
            self.rollouts,
            words,
            self._tree,
            self._path,
            self._scratch,
            out,
        )
        return out

    def root_statistics(self) -> dict[int, tuple[int, float]]:
        """Of the last search: action -> (visits, mean result for the side to move at the root)."""
        tree, first = self._tree, int(self._tree.first_child[ROOT])
        return {
            int(tree.action[i]): (
                int(tree.visits[i]),
                float(tree.total[i] / max(int(tree.visits[i]), 1)),
            )
            for i in range(first, first + int(tree.children[ROOT]))
        }


def plain_mcts(game: Game, state: State, rollouts: int, rng: Rng) -> int:
    """The action that plain MCTS plays in one unfinished `state`; advances `rng`."""
    states = game.new_states(1)
    states[0] = state
    rng[0] += np.uint64(1)
    return int(RolloutSearcher(game, rollouts).choose(states, rng.copy())[0])
