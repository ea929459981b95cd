"""Batched tree search: select, evaluate, expand, back up, for many games in one network call.

One step of a search: each tree walks from its root, with virtual loss, to up to `leaves_per_step`
leaves and writes their feature planes straight into the evaluator's buffer; one call evaluates them
all; then they are expanded and backed up. Walks that end in a finished game are backed up at once
and cost no evaluation.

Two roots: `gumbel` (sequential halving over Gumbel-sampled actions, completed Q-values as policy
target; Danihelka et al. 2022, "Policy improvement by planning with Gumbel") and `puct` (Silver et
al. 2018). Below the root both select by PUCT.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game, States, legal_mask, outcome, write_planes
from ghostgo.engine.jit import kernel, random_gumbel, random_unit
from ghostgo.engine.tree import (
    EXPANDED,
    ROOT,
    TERMINAL,
    UNEXPANDED,
    Trees,
    backup,
    cancel,
    expand,
    follow_edge,
    make_trees,
    reset_tree,
)


class Evaluator(Protocol):
    """Whatever judges positions in batches; the searcher writes planes and reads the answers."""

    planes: NDArray[np.uint16]
    """(batch, P, C) bfloat16 bits, rows written by the searcher."""
    policy: NDArray[np.float32]
    """(batch, A) logits, any value where illegal."""
    value: NDArray[np.float32]
    """(batch,) from the side to move, in [-1, 1]."""
    evaluations: int
    """Rows evaluated so far."""
    flops_per_evaluation: float

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1."""


@dataclass(frozen=True)
class SearchConfig:
    """How a search chooses; the defaults are for self-play with few simulations."""

    root: Literal["gumbel", "puct"] = "gumbel"
    """`gumbel` learns from few simulations; `puct` is the usual choice for play and analysis."""
    c_puct: float = 1.1
    """Weight of prior against value in PUCT (KataGo: 1.1)."""
    fpu_reduction: float = 0.2
    """An untried action is valued at its parent's value minus this times the square root of the
    prior mass tried so far (KataGo: 0.2)."""
    max_considered: int = 16
    """Actions that sequential halving starts from (Gumbel paper: min(simulations, 16))."""
    c_visit: float = 50.0
    """Gumbel: sigma(q) = (c_visit + most visits) * c_scale * q, with q mapped to [0, 1]."""
    c_scale: float = 1.0
    """See `c_visit` (paper: 1.0 for board games)."""
    explore: bool = False
    """Noise at the root: Gumbel draws, or Dirichlet noise with `puct`. Off for play and rating."""
    dirichlet_total: float = 10.83
    """PUCT: total concentration, spread evenly over the legal actions (KataGo: 10.83)."""
    dirichlet_weight: float = 0.25
    """PUCT: share of noise in the root prior (AlphaZero: 0.25)."""
    leaves_per_step: int = 1
    """Leaves a tree may have in one batch. 1 is sequential search; more fill a batch from one game
    at some loss of strength."""


class Params(NamedTuple):
    """`SearchConfig` as numbers for kernels."""

    gumbel: bool
    explore: bool
    c_puct: np.float32
    fpu_reduction: np.float32
    c_visit: np.float32
    c_scale: np.float32
    dirichlet_total: float
    dirichlet_weight: np.float32
    leaves: int
    considered: NDArray[np.int32]  # (max_considered + 1, simulations)


@cache
def considered_visits(max_considered: int, simulations: int) -> NDArray[np.int32]:
    """Sequential halving as a table, (max_considered + 1, simulations) int32.

    Row m is for m considered actions; entry i is the visit count that an action must have to be
    searched at simulation i (Danihelka et al. 2022, appendix; the same table as in mctx).
    """
    table = np.zeros((max_considered + 1, simulations), np.int32)
    for m in range(max_considered + 1):
        if m <= 1:
            table[m] = np.arange(simulations)
            continue
        phases = int(np.ceil(np.log2(m)))
        counts = [0] * m
        sequence: list[int] = []
        left = m
        while len(sequence) < simulations:
            for _ in range(max(1, simulations // (phases * left))):
                sequence += counts[:left]
                for i in range(left):
                    counts[i] += 1
            left = max(2, left // 2)
        table[m] = sequence[:simulations]
    table.setflags(write=False)
    return table


@kernel
def _gamma(shape: float, rng: NDArray[np.uint64]) -> float:
    """A gamma draw of unit scale (Marsaglia and Tsang 2000; boosted below shape 1)."""
    boost = 1.0
    if shape < 1.0:
        boost = random_unit(rng) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    while True:
        # Box and Muller
        radius = np.sqrt(-2.0 * np.log(1.0 - random_unit(rng)))
        x = radius * np.cos(2.0 * np.pi * random_unit(rng))
        v = (1.0 + c * x) ** 3
        if v > 0.0 and np.log(1.0 - random_unit(rng)) < 0.5 * x * x + d - d * v + d * np.log(v):
            return boost * d * v


@kernel
def _add_dirichlet(trees: Trees, g: int, params: Params) -> None:
    """Mix Dirichlet noise into the root's priors."""
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    draws = np.empty(node.edges, np.float64)
    total = 0.0
    for i in range(node.edges):
        draws[i] = _gamma(params.dirichlet_total / node.edges, trees.rng[g])
        total += draws[i]
    for i in range(node.edges):
        edge = edges[node.first_edge + i]
        noise = np.float32(draws[i] / total)
        edge.prior += params.dirichlet_weight * (noise - edge.prior)


@kernel
def _prepare_root(trees: Trees, params: Params, g: int, logits: NDArray[np.float32]) -> None:
    """Keep the root's logits, draw its noise. The root is expanded already."""
    node = trees.nodes[g, ROOT]
    trees.logits[g, :] = -np.inf
    trees.noise[g, :] = 0.0
    for e in range(node.first_edge, node.first_edge + node.edges):
        action = trees.edges[g, e].action
        trees.logits[g, action] = logits[action]
        if params.gumbel and params.explore:
            trees.noise[g, action] = random_gumbel(trees.rng[g])
    if params.explore and not params.gumbel:
        _add_dirichlet(trees, g, params)


@kernel
def _sigma(params: Params, most_visits: int, q: float) -> Any:
    return (params.c_visit + most_visits) * params.c_scale * np.float32(0.5) * (q + 1.0)


@kernel
def _most_visits(trees: Trees, g: int) -> int:
    node = trees.nodes[g, ROOT]
    most = 0
    for e in range(node.first_edge, node.first_edge + node.edges):
        most = max(most, trees.edges[g, e].visits)
    return most


@kernel
def _choose_root_gumbel(trees: Trees, params: Params, g: int) -> int:
    """Edge of the next simulation by sequential halving."""
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    m = min(params.considered.shape[0] - 1, np.int64(node.edges))
    wanted = params.considered[m, trees.started[g]]
    most = _most_visits(trees, g)
    best, best_score = -1, np.float32(-np.inf)
    for e in range(node.first_edge, node.first_edge + node.edges):
        edge = edges[e]
        if edge.visits + edge.virtual != wanted:
            continue
        score = trees.noise[g, edge.action] + trees.logits[g, edge.action]
        if edge.visits:
            score += _sigma(params, most, edge.value_sum / edge.visits)
        if best < 0 or score > best_score:
            best, best_score = e, score
    if best < 0:  # cancelled leaves can leave the table behind: fall back to PUCT
        return _choose_puct(trees, params, g, ROOT)
    if best > node.first_edge + node.visited:
        # Keep visited edges first: trade places with the edge behind them.
        front = edges[node.first_edge + node.visited]
        chosen = edges[best]
        front.prior, chosen.prior = chosen.prior, front.prior
        front.action, chosen.action = chosen.action, front.action
        best = node.first_edge + node.visited
    return best


@kernel
def _choose_puct(trees: Trees, params: Params, g: int, index: int) -> int:
    """Edge with the highest q + c_puct * prior * sqrt(visits) / (1 + its visits)."""
    node = trees.nodes[g, index]
    edges = trees.edges[g]
    first = node.first_edge
    last = first + min(node.visited + 1, node.edges)
    in_flight = 0
    tried = np.float32(0.0)
    for e in range(first, first + node.visited):
        in_flight += edges[e].virtual
        if edges[e].visits:
            tried += edges[e].prior
    unseen = node.value_sum / max(node.visits, 1) - params.fpu_reduction * np.sqrt(tried)
    explore = params.c_puct * np.sqrt(np.float32(max(1, node.visits - 1 + in_flight)))
    best, best_score = first, np.float32(-np.inf)
    for e in range(first, last):
        edge = edges[e]
        n = edge.visits + edge.virtual
        # A visit in flight counts as a loss until its value arrives (virtual loss).
        q = unseen if n == 0 else (edge.value_sum - edge.virtual) / np.float32(n)
        score = q + explore * edge.prior / np.float32(1 + n)
        if score > best_score:
            best, best_score = e, score
    return best


@kernel
def _descend(trees: Trees, params: Params, g: int, b: int) -> int:
    """Walk tree `g` from its root to a leaf, noted in leaf slot `b`; returns the leaf's kind.

    `scratch[0]` then holds the leaf's state.
    """
    trees.scratch[0] = trees.states[g]
    state = trees.scratch[0]
    trees.leaf_game[b] = g
    index = ROOT
    depth = 0
    while trees.nodes[g, index].kind == EXPANDED:
        if index == ROOT and params.gumbel:
            e = _choose_root_gumbel(trees, params, g)
        else:
            e = _choose_puct(trees, params, g, index)
        trees.leaf_path[b, depth] = e
        index = follow_edge(trees, g, index, e, state)
        depth += 1
    trees.leaf_node[b] = index
    trees.leaf_depth[b] = depth
    node = trees.nodes[g, index]
    if node.kind == UNEXPANDED and state.done:
        node.kind = TERMINAL
        node.raw_value = outcome(state)
    return node.kind


@kernel
def select_leaves(trees: Trees, params: Params, games: int, planes: NDArray[np.uint16]) -> int:
    """Walk trees 0 .. games-1 to new leaves and write their planes; returns the rows to evaluate.

    A tree stops when its budget is begun, when it has `leaves` in flight, or when a walk ends at a
    leaf already in flight.
    """
    b = 0
    for g in range(games):
        in_flight = 0
        while in_flight < params.leaves:
            at_root = trees.nodes[g, ROOT].kind == UNEXPANDED
            if in_flight if at_root else trees.started[g] >= trees.budget[g]:
                break
            if b == len(trees.leaf_game):
                return b
            kind = _descend(trees, params, g, b)
            node = trees.nodes[g, trees.leaf_node[b]]
            if kind != UNEXPANDED:
                backup(trees, b, node.raw_value)
                trees.started[g] += 1
                continue
            if node.pending:
                cancel(trees, b)
                break
            node.pending = 1
            if not at_root:
                trees.started[g] += 1
            legal_mask(trees.scratch[0], trees.leaf_mask[b])
            write_planes(trees.scratch[0], trees.leaf_mask[b], planes[b])
            in_flight += 1
            b += 1
    return b


@kernel
def apply_evaluations(
    trees: Trees,
    params: Params,
    count: int,
    policy: NDArray[np.float32],
    value: NDArray[np.float32],
) -> None:
    """Expand leaves 0 .. count-1 by their logits (count, A) and back their values (count,) up."""
    for b in range(count):
        g, index = trees.leaf_game[b], trees.leaf_node[b]
        node = trees.nodes[g, index]
        node.pending = 0
        node.raw_value = value[b]
        expand(trees, g, index, trees.leaf_mask[b], policy[b])
        if index == ROOT:
            _prepare_root(trees, params, g, policy[b])
        backup(trees, b, value[b])


@kernel
def is_done(trees: Trees, g: int) -> bool:
    """Whether tree `g` has done its simulations (none may be in flight when this is asked)."""
    return trees.started[g] >= trees.budget[g] and trees.nodes[g, ROOT].kind != UNEXPANDED


@kernel
def read_root(
    trees: Trees,
    params: Params,
    g: int,
    visits: NDArray[np.int32],
    q: NDArray[np.float32],
    prior: NDArray[np.float32],
    policy: NDArray[np.float32],
) -> int:
    """Write the root's statistics, each (A,), and return the action to play.

    `policy` is the improved policy: with `gumbel` the softmax of logits + sigma(completed q), else
    the visit shares. Unvisited actions are completed by the mixed value (paper, eq. 33).
    """
    node = trees.nodes[g, ROOT]
    visits[:] = 0
    q[:] = np.nan
    prior[:] = 0.0
    policy[:] = 0.0
    weighted, mass, total, most = 0.0, 0.0, 0, 0
    for e in range(node.first_edge, node.first_edge + node.edges):
        edge = trees.edges[g, e]
        prior[edge.action] = edge.prior
        if edge.visits:
            visits[edge.action] = edge.visits
            q[edge.action] = edge.value_sum / edge.visits
            weighted += edge.prior * q[edge.action]
            mass += edge.prior
            total += edge.visits
            most = max(most, edge.visits)
    mixed = node.raw_value
    if total:
        mixed = (node.raw_value + total * weighted / max(mass, 1e-12)) / (1 + total)
    if params.gumbel:
        _improved_policy(trees, params, g, most, mixed, visits, q, policy)
    else:
        for a in range(len(visits)):
            policy[a] = visits[a] / total if total else prior[a]
    best, best_score = -1, np.float32(-np.inf)
    for e in range(node.first_edge, node.first_edge + node.edges):
        a = trees.edges[g, e].action
        if visits[a] < most:
            continue
        score = np.float32(prior[a])
        if params.gumbel:
            score = trees.noise[g, a] + trees.logits[g, a]
        if visits[a]:
            score += _sigma(params, most, q[a])
        if best < 0 or score > best_score:
            best, best_score = a, score
    return best


@kernel
def _improved_policy(
    trees: Trees,
    params: Params,
    g: int,
    most: int,
    mixed: float,
    visits: NDArray[np.int32],
    q: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    highest = np.float32(-np.inf)
    for a in range(len(out)):
        out[a] = trees.logits[g, a]
        if out[a] > -np.inf:
            out[a] += _sigma(params, most, q[a] if visits[a] else mixed)
            highest = max(highest, out[a])
    total = np.float32(0.0)
    for a in range(len(out)):
        out[a] = np.exp(out[a] - highest)
        total += out[a]
    for a in range(len(out)):
        out[a] /= total


@kernel
def start_searches(trees: Trees, games: int, budget: int) -> None:
    """Reset trees 0 .. games-1 from their root states."""
    for g in range(games):
        reset_tree(trees, g, budget)


@dataclass
class SearchResult:
    """What a batch of n searches found; see each field for shape and side."""

    visits: NDArray[np.int32]
    """(n, A)"""
    q: NDArray[np.float32]
    """(n, A) value of each action for the side to move at the root; nan where unvisited."""
    prior: NDArray[np.float32]
    """(n, A) the network's policy over legal actions (with Dirichlet noise, if any)."""
    policy: NDArray[np.float32]
    """(n, A) improved policy: the training target."""
    value: NDArray[np.float32]
    """(n,) mean value of the root's visits, for the side to move."""
    raw_value: NDArray[np.float32]
    """(n,) the network's own value of the root."""
    action: NDArray[np.int32]
    """(n,) the action to play, by visits and value."""


def make_params(config: SearchConfig, visits: int) -> Params:
    """`config` for kernels; `visits` is the longest search that the table must serve."""
    return Params(
        gumbel=config.root == "gumbel",
        explore=config.explore,
        c_puct=np.float32(config.c_puct),
        fpu_reduction=np.float32(config.fpu_reduction),
        c_visit=np.float32(config.c_visit),
        c_scale=np.float32(config.c_scale),
        dirichlet_total=config.dirichlet_total,
        dirichlet_weight=np.float32(config.dirichlet_weight),
        leaves=config.leaves_per_step,
        considered=considered_visits(min(config.max_considered, visits), visits),
    )


class Searcher:
    """Searches up to `games` positions at once, each with up to `visits` simulations."""

    def __init__(
        self,
        game: Game,
        evaluator: Evaluator,
        games: int,
        visits: int,
        config: SearchConfig | None = None,
        seed: int | np.random.SeedSequence = 0,
    ) -> None:
        self.game = game
        self.evaluator = evaluator
        self.games = games
        self.visits = visits
        self.config = config or SearchConfig()
        sequence = (
            seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        )
        batch = len(evaluator.value)
        if batch < 1:
            raise ValueError("the evaluator's batch must hold at least one row")
        self.trees = make_trees(game, games, visits, batch, sequence)

    def run(self, states: States, visits: int | None = None) -> SearchResult:
        """Search each of the n unfinished `states`, (n,) records, from scratch.

        Raises ValueError if there are more states or visits than room, or a game is over.
        """
        n, budget = len(states), self.visits if visits is None else visits
        if n > self.games or not 1 <= budget <= self.visits:
            raise ValueError(f"{n} games, {budget} visits: room for {self.games}, {self.visits}")
        if np.any(states.done):
            raise ValueError("a finished game cannot be searched")
        trees, params = self.trees, make_params(self.config, budget)
        trees.states[:n] = states
        start_searches(trees, n, budget)
        evaluator = self.evaluator
        while True:
            count = select_leaves(trees, params, n, evaluator.planes)
            if count == 0:
                break
            evaluator.evaluate(count)
            apply_evaluations(trees, params, count, evaluator.policy, evaluator.value)
        return self._read(n, params)

    def _read(self, n: int, params: Params) -> SearchResult:
        a = self.game.actions
        result = SearchResult(
            visits=np.zeros((n, a), np.int32),
            q=np.zeros((n, a), np.float32),
            prior=np.zeros((n, a), np.float32),
            policy=np.zeros((n, a), np.float32),
            value=np.zeros(n, np.float32),
            raw_value=np.zeros(n, np.float32),
            action=np.zeros(n, np.int32),
        )
        for i in range(n):
            result.action[i] = read_root(
                self.trees, params, i, result.visits[i], result.q[i], result.prior[i],
                result.policy[i],
            )  # fmt: skip
            root = self.trees.nodes[i, ROOT]
            result.value[i] = root.value_sum / max(root.visits, 1)
            result.raw_value[i] = root.raw_value
        return result

    def principal_variation(self, i: int, length: int = 10) -> list[int]:
        """The most visited line of tree `i` in the last `run`, as actions."""
        line: list[int] = []
        index = ROOT
        while len(line) < length:
            node = self.trees.nodes[i, index]
            if node.kind != EXPANDED or not node.visited:
                break
            run = self.trees.edges[i, node.first_edge : node.first_edge + node.visited]
            best = run[int(np.argmax(run.visits))]
            if not best.visits:
                break
            line.append(int(best.action))
            index = int(best.child)
        return line
