"""One walk down a tree, from its root to a leaf: PUCT below the root, the root's own rule at it."""

from __future__ import annotations

import numpy as np

from ghostgo.engine.games.game import outcome_of, score_of
from ghostgo.engine.jit import borrowing_kernel
from ghostgo.engine.noise import has_noise
from ghostgo.engine.root import NO_EDGE, choose_by_halving, forced_visits
from ghostgo.engine.search_config import Params
from ghostgo.engine.tree import EXPANDED, ROOT, TERMINAL, UNEXPANDED, Trees, follow_edge
from ghostgo.engine.utility import utility


@borrowing_kernel
def choose_puct(trees: Trees, params: Params, g: int, index: int) -> int:
    """Edge with the highest q + c_puct * prior * sqrt(visits) / (1 + its visits).

    At a root with noise, first any edge that was tried and lacks its forced visits; an untried one
    is valued there by `root_fpu_reduction`.
    """
    node = trees.nodes[g, index]
    edges = trees.edges[g]
    first = node.first_edge
    last = first + min(node.visited + 1, node.edges)
    in_flight = 0
    tried = np.float32(0.0)
    for e in range(first, first + node.visited):
        in_flight += edges[e].virtual
        if edges[e].visits:
            tried += abs(edges[e].prior)
    noisy = index == ROOT and has_noise(trees, params, g)
    reduction = params.root_fpu_reduction if noisy else params.fpu_reduction
    unseen = node.value_sum / max(node.visits, 1) - reduction * np.sqrt(tried)
    explore = params.c_puct * np.sqrt(np.float32(max(1, node.visits - 1 + in_flight)))
    forced = noisy and params.forced_k > 0
    best, best_score = first, np.float32(-np.inf)
    for e in range(first, last):
        edge = edges[e]
        if edge.prior < 0:
            continue  # proven lost
        n = edge.visits + edge.virtual
        if forced and n and n < forced_visits(params, edge.prior, node.visits - 1 + in_flight):
            return e
        # A visit in flight counts as a loss until its value arrives (virtual loss).
        q = unseen if n == 0 else (edge.value_sum - edge.virtual) / np.float32(n)
        score = q + explore * edge.prior / np.float32(1 + n)
        if score > best_score:
            best, best_score = e, score
    return best


@borrowing_kernel
def descend(trees: Trees, params: Params, g: int, b: int) -> int:
    """Walk tree `g` from its root to a leaf, noted in leaf slot `b`; returns the leaf's kind.

    `scratch[0]` then holds the leaf's state.
    """
    trees.scratch[0] = trees.states[g]
    state = trees.scratch[0]
    trees.leaf_game[b] = g
    index = ROOT
    depth = 0
    while trees.nodes[g, index].kind == EXPANDED:
        e = choose_by_halving(trees, params, g) if index == ROOT and params.gumbel else NO_EDGE
        if e == NO_EDGE:
            e = choose_puct(trees, params, g, index)
        trees.leaf_path[b, depth] = e
        index = follow_edge(trees, g, index, e, state)
        depth += 1
    trees.leaf_node[b] = index
    trees.leaf_depth[b] = depth
    node = trees.nodes[g, index]
    if node.kind == UNEXPANDED and state.done:
        node.kind = TERMINAL
        node.raw_value = outcome_of(state)
        if params.score_weight > 0:
            margin = score_of(state) if state.to_play == 0 else -score_of(state)
            weight, scale = params.score_weight, params.score_scale
            node.raw_value = utility(weight, scale, node.raw_value, margin)
    return node.kind
