"""Search trees as parallel arrays, for a batch of games at once.

Letters, used everywhere: G games (one tree each), N nodes a tree, E edges a tree, B rows of an
evaluation batch, A actions, P points, C planes, D longest path.

A node is expanded when the network has judged it; its legal actions then stand as a run of edges.
Inside a run the visited edges come first, and the best unvisited prior stands right behind them, so
that selection reads (visited + 1) edges instead of all. Statistics live on edges; a node keeps the
sum over its own visits. Node 0 is the root. No state is kept in a node: a leaf's state is the
root's copy plus the path replayed, which is cheaper than the memory traffic of storing it.

A node whose value is proven from the ends of the game below it becomes TERMINAL, like those ends,
and is not searched any further (Winands, Bjornsson and Saito 2008, "Monte-Carlo tree search
solver"). The root alone stays open. The value of such a node is exact: 1, 0 or -1. Where points
count (`ghostgo.engine.utility`) its sign still is: every won end is worth more than 0, every lost
one less. Its size comes from the line that proved it, beside which there may be better ones.

Values: an edge's `value_sum` and a node's `value_sum` and `raw_value` are all from the side to move
at that node (for an edge: at its parent), in [-1, 1] per visit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game, State, play_one
from ghostgo.engine.jit import borrowing_kernel, make_rng

EDGE_LIMIT = 1 << 24
"""Most edges a tree may hold (320 MiB); beyond it, leaves are valued but no longer expanded."""

ROOT = 0
NO_CHILD = -1
# Node kinds. TERMINAL: the game is over there, or its value is proven.
UNEXPANDED, EXPANDED, TERMINAL, FROZEN = 0, 1, 2, 3

# expf of Cephes: see `softmax`.
LOWEST_EXPONENT, LOG2_E = np.float32(-87.0), np.float32(1.44269504)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E7, _E6, _E5 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519e-3)
_E4, _E3, HALF = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(0.5)
ZERO, ONE = np.float32(0.0), np.float32(1.0)

LEAST_PRIOR = np.float32(1e-30)
"""Priors that underflow still have a sign."""

NODE = np.dtype(
    [
        ("value_sum", np.float32),
        ("raw_value", np.float32),  # the network's value, or the proven one of a terminal node
        ("visits", np.int32),
        ("first_edge", np.int32),
        ("edges", np.int16),
        ("visited", np.int16),  # edges tried so far, those in flight included
        ("to_play", np.int8),
        ("kind", np.uint8),
        ("pending", np.int16),  # 1 while a leaf evaluation is in flight
    ]
)
EDGE = np.dtype(
    [
        ("prior", np.float32),  # negative where the action is proven lost
        ("value_sum", np.float32),
        ("visits", np.int32),
        ("child", np.int32),
        ("action", np.int16),
        ("virtual", np.int16),  # visits in flight
    ]
)


class Trees(NamedTuple):
    """All arrays of a batch of searches; allocated once, reset per search."""

    states: Any  # (G,) game records: the roots
    scratch: Any  # (1,) game record
    nodes: Any  # (G, N) NODE
    edges: Any  # (G, E) EDGE
    node_count: NDArray[np.int32]  # (G,)
    edge_count: NDArray[np.int32]  # (G,)
    started: NDArray[np.int32]  # (G,) simulations begun below the root, those in flight included
    budget: NDArray[np.int32]  # (G,) simulations wanted
    logits: NDArray[np.float32]  # (G, A) root policy logits, -inf where illegal
    noise: NDArray[np.float32]  # (G, A) Gumbel draws at the root, 0 where the search is noiseless
    anchor: NDArray[np.float32]  # (G, A) another policy's logits at the root, for its owner to fill
    mixed: NDArray[np.float32]  # (A,) the root's logits with a share of those
    rng: NDArray[np.uint64]  # (G, 1) one RNG state a tree
    priors: NDArray[np.float32]  # (A,) of the node that is being expanded
    leaf_game: NDArray[np.int32]  # (B,)
    leaf_node: NDArray[np.int32]  # (B,)
    leaf_depth: NDArray[np.int32]  # (B,)
    leaf_path: NDArray[np.int32]  # (B, D) edge indices from the root
    leaf_mask: NDArray[np.uint8]  # (B, A) legal actions of the leaf


def bytes_per_node(game: Game) -> int:
    """Most bytes that one node can take, all its edges included."""
    return int(NODE.itemsize + game.actions * EDGE.itemsize)


def make_trees(
    game: Game, games: int, visits: int, batch: int, seed: np.random.SeedSequence
) -> Trees:
    """Allocate trees for `games` searches of up to `visits` simulations each.

    Edge arrays are sized for the worst case, up to EDGE_LIMIT a tree, but their pages are taken only
    when touched.
    """
    nodes = visits + 2
    a, depth = game.actions, min(visits + 1, game.max_moves + 1)
    streams = [make_rng(child) for child in seed.spawn(games)]
    record = np.dtype((np.record, NODE)), np.dtype((np.record, EDGE))
    return Trees(
        states=game.new_states(games),
        scratch=game.new_states(1),
        nodes=np.zeros((games, nodes), record[0]).view(np.recarray),
        edges=np.zeros((games, min(nodes * a, EDGE_LIMIT) + 1), record[1]).view(np.recarray),
        node_count=np.zeros(games, np.int32),
        edge_count=np.zeros(games, np.int32),
        started=np.zeros(games, np.int32),
        budget=np.zeros(games, np.int32),
        logits=np.zeros((games, a), np.float32),
        noise=np.zeros((games, a), np.float32),
        anchor=np.zeros((games, a), np.float32),
        mixed=np.zeros(a, np.float32),
        rng=np.stack(streams),
        priors=np.zeros(a, np.float32),
        leaf_game=np.zeros(batch, np.int32),
        leaf_node=np.zeros(batch, np.int32),
        leaf_depth=np.zeros(batch, np.int32),
        leaf_path=np.zeros((batch, depth), np.int32),
        leaf_mask=np.zeros((batch, a), np.uint8),
    )


@borrowing_kernel
def reset_tree(trees: Trees, g: int, budget: int) -> None:
    """Forget tree `g` and make its root from `states[g]`, with `budget` simulations to do."""
    trees.node_count[g] = 0
    trees.edge_count[g] = 0
    trees.started[g] = 0
    trees.budget[g] = budget
    new_node(trees, g, trees.states[g].to_play)


@borrowing_kernel
def start_searches(trees: Trees, games: int, budget: int) -> None:
    """Reset trees 0 .. games-1 from their root states."""
    for g in range(games):
        reset_tree(trees, g, budget)


@borrowing_kernel
def new_node(trees: Trees, g: int, to_play: int) -> int:
    """Append an unexpanded node to tree `g`; returns its index."""
    index = trees.node_count[g]
    trees.node_count[g] = index + 1
    node = trees.nodes[g, index]
    node.value_sum = 0.0
    node.raw_value = 0.0
    node.visits = 0
    node.first_edge = 0
    node.edges = 0
    node.visited = 0
    node.to_play = to_play
    node.kind = UNEXPANDED
    node.pending = 0
    return index


@borrowing_kernel
def clear_edge(edge: Any) -> None:
    """Statistics of an edge that was never tried."""
    edge.value_sum = 0.0
    edge.visits = 0
    edge.child = NO_CHILD
    edge.virtual = 0


@borrowing_kernel
def bring_best_forward(trees: Trees, g: int, index: int) -> None:
    """Swap the best unvisited prior of node `index` into the place behind the visited edges.

    Its statistics are cleared there: edges further behind have none yet, except at the root.
    """
    node = trees.nodes[g, index]
    edges = trees.edges[g]
    first = node.first_edge + node.visited
    last = node.first_edge + node.edges
    if first == last:
        return
    best = first
    best_prior = np.float32(-1.0)
    for e in range(first, last):
        if edges[e].prior > best_prior:
            best_prior = edges[e].prior
            best = e
    if best != first:
        prior, action = edges[first].prior, edges[first].action
        edges[first].prior, edges[first].action = edges[best].prior, edges[best].action
        edges[best].prior, edges[best].action = prior, action
    clear_edge(edges[first])


@borrowing_kernel
def softmax(mask: NDArray[np.uint8], logits: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Probabilities of the actions where `mask` is set, into `out`; all arrays (A,).

    The exponential is that of the Cephes library (Moshier 1989, `expf`: argument reduced by powers
    of two, then a polynomial; 2 units in the last place), written out so that it runs in SIMD
    lanes. Arguments below -87 count as -87, so no legal action has probability 0.
    """
    highest = np.float32(-np.inf)
    for a in range(len(mask)):
        if mask[a] and logits[a] > highest:
            highest = logits[a]
    for a in range(len(mask)):
        x = max(logits[a] - highest, LOWEST_EXPONENT)
        whole = np.floor(x * LOG2_E + HALF)
        r = x - whole * LN2_HIGH - whole * LN2_LOW
        y = ((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + HALF
        power = np.int32((np.int32(whole) + 127) << 23).view(np.float32)
        out[a] = (y * r * r + r + ONE) * power if mask[a] else ZERO
    total = ZERO
    for a in range(len(mask)):
        total += out[a]
    for a in range(len(mask)):
        out[a] /= total


@borrowing_kernel
def expand(
    trees: Trees, g: int, index: int, mask: NDArray[np.uint8], logits: NDArray[np.float32]
) -> None:
    """Give node `index` an edge for each legal action, its prior the softmax of `logits` (A,).

    A node that no longer fits keeps its network value for good (FROZEN).
    """
    node = trees.nodes[g, index]
    legal = 0
    for a in range(len(mask)):
        legal += mask[a]
    first = trees.edge_count[g]
    if first + legal >= trees.edges.shape[1]:
        node.kind = FROZEN
        return
    softmax(mask, logits, trees.priors)
    edges = trees.edges[g]
    e = first
    for a in range(len(mask)):  # an illegal action's edge is written too, and then written over
        edges[e].prior = trees.priors[a]
        edges[e].action = a
        e += np.int64(mask[a])
    if index == ROOT:
        for e in range(first, first + legal):
            clear_edge(edges[e])
    trees.edge_count[g] = first + legal
    node.first_edge = first
    node.edges = legal
    node.kind = EXPANDED
    bring_best_forward(trees, g, index)


@borrowing_kernel
def follow_edge(trees: Trees, g: int, index: int, edge_index: int, state: State) -> int:
    """Mark an edge of node `index` in flight and play it on `state`; returns the child's index.

    The child is made where it is missing; a search never makes more nodes than simulations.
    """
    node = trees.nodes[g, index]
    edge = trees.edges[g, edge_index]
    edge.virtual += 1
    if edge_index - node.first_edge == node.visited:
        node.visited += 1
        bring_best_forward(trees, g, index)
    play_one(state, edge.action)
    if edge.child == NO_CHILD:
        edge.child = new_node(trees, g, state.to_play)
    return edge.child


@borrowing_kernel
def backup(trees: Trees, b: int, value: float) -> None:
    """Add `value`, from the side to move at leaf `b`, to every edge and node of its path."""
    g = trees.leaf_game[b]
    nodes = trees.nodes[g]
    edges = trees.edges[g]
    depth = trees.leaf_depth[b]
    leaf_to_play = nodes[trees.leaf_node[b]].to_play
    index = ROOT
    for d in range(depth + 1):
        node = nodes[index]
        signed = value if node.to_play == leaf_to_play else -value
        node.visits += 1
        node.value_sum += signed
        if d < depth:
            edge = edges[trees.leaf_path[b, d]]
            edge.visits += 1
            edge.virtual -= 1
            edge.value_sum += signed
            index = edge.child


@borrowing_kernel
def cancel(trees: Trees, b: int) -> None:
    """Take back the virtual visits of leaf `b`, whose node another leaf is already waiting for."""
    g = trees.leaf_game[b]
    for d in range(trees.leaf_depth[b]):
        trees.edges[g, trees.leaf_path[b, d]].virtual -= 1


@borrowing_kernel
def proven(trees: Trees, g: int, index: int, edge_index: int) -> float:
    """Proven value of an edge of node `index` for the side to move there; nan while unknown."""
    child = trees.edges[g, edge_index].child
    if child == NO_CHILD or trees.nodes[g, child].kind != TERMINAL:
        return np.nan
    value = float(trees.nodes[g, child].raw_value)
    return value if trees.nodes[g, child].to_play == trees.nodes[g, index].to_play else -value


@borrowing_kernel
def best_if_all_proven(trees: Trees, g: int, index: int) -> float:
    """The best edge's value if every legal action of node `index` is proven, else nan."""
    node = trees.nodes[g, index]
    if node.visited < node.edges:
        return np.nan
    best = -1.0
    for e in range(node.first_edge, node.first_edge + node.edges):
        value = proven(trees, g, index, e)
        if np.isnan(value):
            return np.nan
        best = max(best, value)
    return best


@borrowing_kernel
def prove(trees: Trees, b: int) -> None:
    """Carry the exact value of leaf `b`, a terminal node, up its path as far as it proves.

    A node is won by one won action, and drawn or lost when all its actions are proven. An edge's
    mean becomes exact; a lost action's prior turns negative, which takes it out of PUCT (sequential
    halving goes on visiting it, by its table, at no evaluation).
    """
    g = trees.leaf_game[b]
    nodes, edges = trees.nodes[g], trees.edges[g]
    for d in range(trees.leaf_depth[b] - 1, -1, -1):
        e = trees.leaf_path[b, d]
        index = ROOT if d == 0 else edges[trees.leaf_path[b, d - 1]].child
        value = proven(trees, g, index, e)
        edges[e].value_sum = value * edges[e].visits
        if value < 0:
            edges[e].prior = -max(abs(edges[e].prior), LEAST_PRIOR)
        if index == ROOT:
            return
        if value <= 0:
            value = best_if_all_proven(trees, g, index)
            if np.isnan(value):
                return
        nodes[index].kind = TERMINAL
        nodes[index].raw_value = value


@borrowing_kernel
def keep_exact(trees: Trees, b: int) -> None:
    """Make the proven edges of leaf `b`'s path exact again: its value came from below a proof."""
    g = trees.leaf_game[b]
    index = ROOT
    for d in range(trees.leaf_depth[b]):
        e = trees.leaf_path[b, d]
        value = proven(trees, g, index, e)
        if not np.isnan(value):
            trees.edges[g, e].value_sum = value * trees.edges[g, e].visits
        index = trees.edges[g, e].child
