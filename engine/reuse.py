"""Tree reuse: a search goes on from what the last one found below the position now reached.

A tree serves again if the new position is its root, or if one of its lines leads there with the very
record of the real game: hash and move number are compared first, then every field, so that what the
record holds of the past (superko history, last moves) is that of the game, whatever transposes. The
node there becomes the root, its sub-tree moves to the front of the arrays and the rest is freed.
Anything else (a move taken back, another game, a line never searched, a node that was not expanded)
is searched from an empty tree.

A search's budget is the total of its root's simulations, so those kept are saved, as in Leela Zero and
KataGo. Each node of a sub-tree but its root took a simulation, so a tree within its budget always
fits the arrays that a fresh one would need, however often it is kept.

Not where the root has noise, which would come too late for the visits already made, nor with
sequential halving, whose plan begins with no visits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import State, States, play_one
from ghostgo.engine.jit import borrowing_kernel, kernel
from ghostgo.engine.search_config import SearchConfig
from ghostgo.engine.tree import (
    EXPANDED,
    FROZEN,
    LEAST_PRIOR,
    ROOT,
    TERMINAL,
    UNEXPANDED,
    Trees,
    clear_edge,
    reset_tree,
)

NOT_FOUND = -1


def may_reuse(config: SearchConfig) -> bool:
    """Whether trees may be kept from one search by `config` to the next."""
    return config.root == "puct" and not config.explore


@borrowing_kernel
def _trace(
    nodes: Any, edges: Any, depth: NDArray[np.int32], via: NDArray[np.int32], parent: Any
) -> None:
    """For each of (N,) nodes: plies below the root, the edge that leads to it, and its parent."""
    depth[ROOT] = 0
    for index in range(len(nodes)):  # a child stands behind its parent
        node = nodes[index]
        for e in range(node.first_edge, node.first_edge + node.visited):
            child = edges[e].child
            depth[child] = depth[index] + 1
            via[child] = e
            parent[child] = index


@borrowing_kernel
def _next_like(
    trees: Trees,
    g: int,
    start: int,
    wanted: int,
    path: NDArray[np.int32],
    depth: NDArray[np.int32],
    via: NDArray[np.int32],
    parent: NDArray[np.int32],
) -> int:
    """The first node from `start` on, `len(path)` plies below root `g`, whose hash is `wanted`.

    NOT_FOUND if there is none. `scratch[0]` then holds its state; `path` is scratch.
    """
    plies = len(path)
    for index in range(start, trees.node_count[g]):
        if depth[index] != plies:
            continue
        at = index
        for d in range(plies - 1, -1, -1):
            path[d] = trees.edges[g, via[at]].action
            at = parent[at]
        trees.scratch[0] = trees.states[g]
        for d in range(plies):
            play_one(trees.scratch[0], path[d])
        if trees.scratch[0].hash == wanted:
            return index
    return NOT_FOUND


def find_node(trees: Trees, g: int, state: State) -> int:
    """The node of tree `g` whose state is `state` in every field, or NOT_FOUND.

    It replays each line of that length, which costs less than the search that found them.
    """
    count = int(trees.node_count[g])
    plies = int(state.move_number) - int(trees.states[g].move_number)
    if count == 0 or plies < 0:
        return NOT_FOUND
    depth, via, parent = (np.full(count, NOT_FOUND, np.int32) for _ in range(3))
    _trace(trees.nodes[g, :count], trees.edges[g], depth, via, parent)
    path = np.zeros(plies, np.int32)
    found, wanted = NOT_FOUND, int(state.hash)
    while True:
        found = _next_like(trees, g, found + 1, wanted, path, depth, via, parent)
        if found == NOT_FOUND or trees.scratch[0] == state:
            return found


@borrowing_kernel
def _mark(nodes: Any, edges: Any, root: int, new: NDArray[np.int32]) -> int:
    """Number the nodes at and below `root` in `new` (N,), in their order; returns how many there are.

    `new` holds NOT_FOUND everywhere.
    """
    kept = 0
    new[root] = 0
    for index in range(root, len(nodes)):  # a child stands behind its parent
        if new[index] == NOT_FOUND:
            continue
        new[index] = kept
        kept += 1
        node = nodes[index]
        for e in range(node.first_edge, node.first_edge + node.visited):
            new[edges[e].child] = 0
    return kept


@borrowing_kernel
def _move(
    nodes: Any, edges: Any, order: NDArray[np.int64], kept: NDArray[np.int64], new: Any
) -> int:
    """Move the nodes `kept` (K,), ascending, and their edges to the front; returns the edges left.

    `order` (K,) are the same nodes by the place of their edges, so nothing is written over that is
    still to be read. A node that was frozen for want of room may be expanded now that there is some.
    """
    last = 0
    for index in order:
        node = nodes[index]
        first = node.first_edge
        for i in range(node.edges):
            edges[last + i] = edges[first + i]
            if i < node.visited:
                edges[last + i].child = new[edges[last + i].child]
        node.first_edge = last
        last += node.edges
        if node.kind == FROZEN:
            node.kind = UNEXPANDED
    for index in kept:
        nodes[new[index]] = nodes[index]
    return last


@kernel
def _open_root(trees: Trees, g: int) -> None:
    """Make node ROOT of tree `g`, until now one below it, what a root is.

    It is open even if it is proven; `raw_value` is the proven one then. Simulations that ended
    there for its proof count no more.
    """
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    trees.logits[g, :] = -np.inf
    trees.noise[g, :] = 0.0
    visits, value_sum = 0, np.float32(0.0)
    for i in range(node.edges):
        edge = edges[node.first_edge + i]
        # Softmax makes the network's priors of these as of its own logits.
        trees.logits[g, edge.action] = np.log(max(abs(edge.prior), LEAST_PRIOR))
        if i < node.visited:
            visits += edge.visits
            value_sum += edge.value_sum
        else:
            clear_edge(edge)
    if node.kind == TERMINAL:
        node.kind = EXPANDED
        node.visits = visits + 1
        node.value_sum = node.raw_value + value_sum
    trees.started[g] = visits


def reroot(trees: Trees, g: int, root: int) -> None:
    """Make node `root` of tree `g`, with all below it, the whole tree, and free the rest.

    It must have edges, and no leaf may be in flight. `states[g]` and the budget are the caller's.
    """
    if root == ROOT:
        return
    count = int(trees.node_count[g])
    nodes, edges = trees.nodes[g, :count], trees.edges[g]
    new = np.full(count, NOT_FOUND, np.int32)
    trees.node_count[g] = _mark(nodes, edges, root, new)
    kept = np.flatnonzero(new != NOT_FOUND)
    order = kept[np.argsort(nodes["first_edge"][kept], kind="stable")]
    trees.edge_count[g] = _move(nodes, edges, order, kept, new)
    _open_root(trees, g)


def keep_trees(trees: Trees, states: States, budget: int, deeper: bool) -> NDArray[np.int32]:
    """Set trees 0 .. n-1 up to search `states` (n,), with what each knows of its state already.

    Without `deeper` only a tree whose root is that state is kept. Returns the simulations kept, (n,).
    """
    for g in range(len(states)):
        found = find_node(trees, g, states[g])
        if found == NOT_FOUND or not trees.nodes[g, found].edges or (found != ROOT and not deeper):
            trees.states[g] = states[g]
            reset_tree(trees, g, budget)
            continue
        reroot(trees, g, found)
        trees.states[g] = states[g]
        trees.budget[g] = budget
    return trees.started[: len(states)].copy()
