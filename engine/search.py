"""Batched tree search: select, evaluate, expand, back up, for many games in one network call.

One step of a search: each tree walks from its root, with virtual loss, to up to `leaves_per_step`
leaves and writes their feature planes straight into the evaluator's buffer; one call evaluates them
all; then they are expanded and backed up. Walks that end in a finished game, or at a position that
the cache knows, are backed up at once and cost no evaluation.

Two roots: `gumbel` (sequential halving over Gumbel-sampled actions, completed Q-values as policy
target; Danihelka et al. 2022, "Policy improvement by planning with Gumbel") and `puct` (Silver et
al. 2018). Below the root both select by PUCT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.cache import NOT_FOUND, Cache, answer_key, find, make_cache, remember
from ghostgo.engine.descent import descend
from ghostgo.engine.games.game import Game, States, legal_mask_of, write_planes_of
from ghostgo.engine.jit import borrowing_kernel
from ghostgo.engine.orientation import (
    Orientation,
    make_orientation,
    mean_answer,
    show_canonical,
    show_images,
    turn_back,
)
from ghostgo.engine.reuse import keep_trees, may_reuse
from ghostgo.engine.root import hold_to_anchor, prepare_root, read_root, root_value
from ghostgo.engine.search_config import Params, SearchConfig, check_search, make_params
from ghostgo.engine.tree import (
    EXPANDED,
    ROOT,
    TERMINAL,
    UNEXPANDED,
    Trees,
    backup,
    cancel,
    expand,
    keep_exact,
    make_trees,
    prove,
    start_searches,
)
from ghostgo.engine.utility import Scoring, utilities


class Evaluator(Protocol):
    """Whatever judges positions in batches; the searcher writes planes and reads the answers.

    Where points count (`SearchConfig.score_weight`) it must be `Scoring` too.
    """

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


@borrowing_kernel
def _judge(
    trees: Trees,
    params: Params,
    shown: Orientation,
    b: int,
    logits: NDArray[np.float32],
    value: float,
) -> None:
    """Expand the leaf in slot `b` by the logits (A,) it was given as shown; back its value up."""
    if shown.turns[b]:
        turn_back(shown, b, logits)
        logits = shown.logits
    g, index = trees.leaf_game[b], trees.leaf_node[b]
    node = trees.nodes[g, index]
    node.pending = 0
    node.raw_value = value
    if index == ROOT and params.anchor_share > 0:
        hold_to_anchor(trees, params, g, logits)
        expand(trees, g, index, trees.leaf_mask[b], trees.mixed)
        prepare_root(trees, params, g, trees.mixed)
    else:
        expand(trees, g, index, trees.leaf_mask[b], logits)
        if index == ROOT:
            prepare_root(trees, params, g, logits)
    backup(trees, b, value)
    if params.solve and params.leaves > 1:
        keep_exact(trees, b)


@borrowing_kernel
def _judged_before(
    trees: Trees,
    params: Params,
    cache: Cache,
    shown: Orientation,
    b: int,
    planes: NDArray[np.uint16],
) -> bool:
    """Judge the leaf in slot `b` by the cache, if it knows its planes (P, C)."""
    if len(cache.keys) == 0:
        return False
    key = answer_key(planes, shown.rows[b])
    entry = find(cache, key)
    if entry == NOT_FOUND:
        cache.leaf_keys[b] = key
        return False
    _judge(trees, params, shown, b, cache.policy[entry], cache.value[entry])
    return True


@borrowing_kernel
def select_leaves(
    trees: Trees,
    params: Params,
    cache: Cache,
    shown: Orientation,
    games: int,
    planes: NDArray[np.uint16],
) -> int:
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
            rows = params.symmetries if at_root else params.leaf_symmetries
            if b + rows > len(trees.leaf_game):
                return b
            kind = descend(trees, params, g, b)
            node = trees.nodes[g, trees.leaf_node[b]]
            if kind != UNEXPANDED:
                backup(trees, b, node.raw_value)
                if params.solve and kind == TERMINAL:
                    prove(trees, b)
                trees.started[g] += 1
                continue
            if node.pending:
                cancel(trees, b)
                break
            node.pending = 1
            if not at_root:
                trees.started[g] += 1
            legal_mask_of(trees.scratch[0], trees.leaf_mask[b])
            write_planes_of(trees.scratch[0], trees.leaf_mask[b], planes[b])
            shown.turns[b] = 0
            shown.rows[b] = rows
            if trees.scratch[0].move_number < params.canonical_plies:
                shown.turns[b] = show_canonical(shown, planes[b])
            if _judged_before(trees, params, cache, shown, b, planes[b]):
                continue
            if rows > 1:
                show_images(shown, b, planes)
            in_flight += 1
            b += rows
    return b


@borrowing_kernel
def apply_evaluations(
    trees: Trees,
    params: Params,
    cache: Cache,
    shown: Orientation,
    count: int,
    policy: NDArray[np.float32],
    value: NDArray[np.float32],
) -> None:
    """Expand the leaves of rows 0 .. count-1 and back their values up.

    `policy` (B, A) logits and `value` (B,) are the network's; a leaf of several rows takes the mean.
    """
    b = 0
    while b < count:
        rows = shown.rows[b]
        logits, worth = policy[b], value[b]
        if rows > 1:
            worth = mean_answer(shown, b, trees.leaf_mask[b], policy, value)
            logits = shown.mean
        _judge(trees, params, shown, b, logits, worth)
        if len(cache.keys):
            remember(cache, b, logits, worth)
        b += rows


def simulate(
    trees: Trees,
    params: Params,
    cache: Cache,
    shown: Orientation,
    games: int,
    evaluator: Evaluator,
) -> int:
    """One network call for trees 0 .. games-1; returns its rows, 0 when every search is done."""
    count = select_leaves(trees, params, cache, shown, games, evaluator.planes)
    if count:
        evaluator.evaluate(count)
        value = evaluator.value
        if params.score_weight:
            weight, scale = params.score_weight, params.score_scale
            value = utilities(weight, scale, cast(Scoring, evaluator), count)
        apply_evaluations(trees, params, cache, shown, count, evaluator.policy, value)
    return count


@borrowing_kernel
def is_done(trees: Trees, g: int) -> bool:
    """Whether tree `g` has done its simulations (none may be in flight when this is asked)."""
    return trees.started[g] >= trees.budget[g] and trees.nodes[g, ROOT].kind != UNEXPANDED


@borrowing_kernel
def read_roots(
    trees: Trees,
    params: Params,
    games: int,
    visits: NDArray[np.int32],
    q: NDArray[np.float32],
    prior: NDArray[np.float32],
    policy: NDArray[np.float32],
    value: NDArray[np.float32],
    raw_value: NDArray[np.float32],
    action: NDArray[np.int32],
) -> None:
    """Write what trees 0 .. games-1 found into the arrays of a `SearchResult`, in its order."""
    for g in range(games):
        action[g] = read_root(trees, params, g, visits[g], q[g], prior[g], policy[g])
        value[g] = root_value(trees, params, g)
        raw_value[g] = trees.nodes[g, ROOT].raw_value


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
    """(n,) mean value of the root's visits, for the side to move; exact if it is proven.

    Where points count, here and in `q` and `raw_value`, utilities (`ghostgo.engine.utility`).
    """
    raw_value: NDArray[np.float32]
    """(n,) the network's own value of the root."""
    action: NDArray[np.int32]
    """(n,) the action to play, by visits and value."""


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
        """Raises UserError for a config that the game cannot be searched by."""
        self.game = game
        self.evaluator = evaluator
        self.games = games
        self.visits = visits
        self.config = config or SearchConfig()
        check_search(self.config, game)
        sequence = (
            seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        )
        batch = len(evaluator.value)
        if batch < max(self.config.symmetries, self.config.leaf_symmetries):
            raise ValueError("the evaluator's batch must hold the rows of one leaf at least")
        if self.config.score_weight and len(getattr(evaluator, "score", ())) != batch:
            raise ValueError("points count, but the evaluator gives no scores")
        self.trees = make_trees(game, games, visits, batch, sequence)
        self.cache = make_cache(game, self.config.cache_mb << 20, batch)
        """What the evaluator has said; empty it with `forget` if its weights change, and keep no tree."""
        self.shown = make_orientation(game, batch)
        self._begun = 0, make_params(self.config, game, visits)
        self._whole = True
        """Whether the trees are as they should be: False once a call was broken off."""

    def begin(
        self, states: States, visits: int | None = None, keep: bool = False
    ) -> NDArray[np.int32]:
        """Set up a search of each of the n unfinished `states`, (n,) records, from scratch.

        With `keep` search i goes on from what tree i has below it (`ghostgo.engine.reuse`); `visits`
        are those in all. Returns how many are there already, (n,). Raises ValueError if there are
        more states or visits than room, a game is over, or the config's trees cannot be kept.
        """
        n, budget = len(states), self.visits if visits is None else visits
        if n > self.games or not 1 <= budget <= self.visits:
            raise ValueError(f"{n} games, {budget} visits: room for {self.games}, {self.visits}")
        if np.any(states.done):
            raise ValueError("a finished game cannot be searched")
        if keep and not may_reuse(self.config):
            raise ValueError("a tree is kept at a PUCT root without noise only")
        self._begun = n, make_params(self.config, self.game, budget)
        if keep and self._whole:
            alike = self.config.symmetries == self.config.leaf_symmetries
            self._whole = False
            kept = keep_trees(self.trees, states, budget, deeper=alike)
            self._whole = True
            return kept
        self.trees.node_count[:] = 0
        self.trees.states[:n] = states
        start_searches(self.trees, n, budget)
        self._whole = True
        return np.zeros(n, np.int32)

    def step(self) -> bool:
        """One network call of the searches that were begun; False when all their visits are done."""
        n, params = self._begun
        self._whole = False
        rows = simulate(self.trees, params, self.cache, self.shown, n, self.evaluator)
        self._whole = True
        return rows > 0

    def result(self) -> SearchResult:
        """What the searches have found so far; they may go on afterwards.

        At least one `step` must have been made.
        """
        n, params = self._begun
        return self._read(n, params)

    def run(self, states: States, visits: int | None = None) -> SearchResult:
        """Search each of the n unfinished `states`, (n,) records, from scratch, to the end.

        Raises ValueError as `begin` does.
        """
        self.begin(states, visits)
        while self.step():
            pass
        return self.result()

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
        read_roots(
            self.trees, params, n, result.visits, result.q, result.prior, result.policy,
            result.value, result.raw_value, result.action,
        )  # fmt: skip
        return result

    def principal_variation(self, i: int, first: int, length: int = 10) -> list[int]:
        """The actions of `main_line`; `first` alone if it was never tried."""
        return [action for action, _ in self.main_line(i, first, length)] or [first]

    def main_line(self, i: int, first: int, length: int = 10) -> list[tuple[int, int]]:
        """The line that begins with action `first` in tree `i` of the last `run`: (action, visits).

        Behind it the most visited actions, those proven lost left out while there are others. Empty
        if `first` was never tried.
        """
        line: list[tuple[int, int]] = []
        index = ROOT
        while len(line) < length:
            node = self.trees.nodes[i, index]
            if node.kind != EXPANDED or not node.visited:
                break
            run = self.trees.edges[i, node.first_edge : node.first_edge + node.visited]
            if line:
                best = run[int(np.argmax(np.where(run.prior < 0, -1, run.visits)))]
            else:
                found = run[run.action == first]
                if not len(found):
                    break
                best = found[0]
            if not best.visits:
                break
            line.append((int(best.action), int(best.visits)))
            index = int(best.child)
        return line
