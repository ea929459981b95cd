"""Many self-play games in lockstep on one thread: one network call judges a leaf of every game.

A game that ends is replaced at once, so the batch stays full. Each game is searched afresh at every
move (no tree is carried over: the root's noise would be spent on an old tree), but what the network
said for the move before is remembered.

With playout caps (KataGo, Wu 2019, section 3.1) most moves are searched cheaply and without noise, to
get the game over with, and only the others, searched fully, are learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable, Rules, concat, empty_table
from ghostgo.engine.cache import forget, make_cache
from ghostgo.engine.games.game import (
    Game,
    legal_mask,
    ownership_of,
    play,
    rollout_action,
    score_of,
    write_planes,
)
from ghostgo.engine.jit import kernel, random_below, random_unit
from ghostgo.engine.orientation import make_orientation
from ghostgo.engine.root import read_root, root_value, surprise
from ghostgo.engine.search import Evaluator, is_done, simulate
from ghostgo.engine.search_config import Params, SearchConfig, make_params
from ghostgo.engine.tree import Trees, make_trees, reset_tree


class _Slots(NamedTuple):
    """Records of the games in play, one slot a tree; T is the game's longest length."""

    length: NDArray[np.int32]  # (G,)
    opening: NDArray[np.int32]  # (G,) how many of the first moves were random
    rules: NDArray[np.int32]  # (G,) which of the sets of rules the game is played by
    moves: NDArray[np.int16]  # (G, T)
    policies: NDArray[np.float32]  # (G, T, A)
    values: NDArray[np.float32]  # (G, T)
    surprise: NDArray[np.float32]  # (G, T)
    full: NDArray[np.uint8]  # (G, T) 0 where the move was searched cheaply
    unanchored: NDArray[np.uint8]  # (G,) 1 where the anchor has not judged the position yet
    finished: NDArray[np.int32]  # (G,) slots whose game has just ended, in front
    stats: tuple[
        NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]
    ]  # four (A,) buffers for a root's statistics


class _Pace(NamedTuple):
    """How long searches are and how games begin."""

    visits: int
    cheap_visits: int  # 0: no search is cheap
    full_share: float  # of the moves
    sampled_moves: int
    opening_plies: int


@kernel
def _sample(weights: NDArray[np.float32], rng: NDArray[np.uint64]) -> int:
    target = random_unit(rng)
    total = 0.0
    last = -1
    for a in range(len(weights)):
        if weights[a] > 0:
            total += weights[a]
            last = a
            if target < total:
                return a
    return last


@kernel
def _begin_search(trees: Trees, slots: _Slots, pace: _Pace, g: int) -> None:
    """Start the search of the next move of slot `g`, a full one or, by chance, a cheap one."""
    full = True
    if pace.cheap_visits:
        full = random_unit(trees.rng[g]) < pace.full_share
    slots.full[g, slots.length[g]] = full
    slots.unanchored[g] = 1
    _reset_search(trees, slots, pace, g)


@kernel
def _reset_search(trees: Trees, slots: _Slots, pace: _Pace, g: int) -> None:
    """Start the search of slot `g` from nothing, full or cheap as it was."""
    full = slots.full[g, slots.length[g]]
    reset_tree(trees, g, pace.visits if full else pace.cheap_visits)


@kernel
def _reset_searches(trees: Trees, slots: _Slots, pace: _Pace) -> None:
    for g in range(len(slots.length)):
        _reset_search(trees, slots, pace, g)


@kernel
def _finish_moves(trees: Trees, params: Params, slots: _Slots, pace: _Pace) -> int:
    """Play the move of every finished search and start the next; returns how many games ended."""
    ended = 0
    for g in range(len(slots.length)):
        if not is_done(trees, g):
            continue
        counts, q, prior, policy = slots.stats
        action = read_root(trees, params, g, counts, q, prior, policy)
        t = slots.length[g]
        value = root_value(trees, params, g)
        if t < pace.sampled_moves and not params.gumbel and value < 1:  # a proven win is played
            action = _sample(policy, trees.rng[g])
        slots.moves[g, t] = action
        for a in range(len(policy)):  # Numba compiles `[:] =` of arrays for seconds
            slots.policies[g, t, a] = policy[a]
        slots.values[g, t] = value
        slots.surprise[g, t] = surprise(trees, g, policy)
        slots.length[g] = t + 1
        play(trees.states[g], action)
        if trees.states[g].done:
            slots.finished[ended] = g
            ended += 1
        else:
            _begin_search(trees, slots, pace, g)
    return ended


@kernel
def _begin_game(trees: Trees, slots: _Slots, g: int, fresh: Any, pace: _Pace) -> None:
    """Start slot `g` anew after 0 to `opening_plies` random moves, and its first search.

    `fresh` holds a position before the first move for each set of rules; one is drawn. The random moves are recorded as such: the replay window does not learn from them.
    """
    slots.rules[g] = random_below(trees.rng[g], len(fresh)) if len(fresh) > 1 else 0
    wanted = random_below(trees.rng[g], pace.opening_plies + 1)
    while True:
        trees.states[g] = fresh[slots.rules[g]]
        for t in range(wanted):
            action = rollout_action(trees.states[g], trees.rng[g])
            slots.moves[g, t] = action
            slots.policies[g, t, :] = 0.0
            slots.policies[g, t, action] = 1.0
            slots.values[g, t] = 0.0
            slots.surprise[g, t] = np.nan
            slots.full[g, t] = 1
            play(trees.states[g], action)
            if trees.states[g].done:
                break
        if not trees.states[g].done:
            break
        wanted -= 1
    slots.length[g] = wanted
    slots.opening[g] = wanted
    _begin_search(trees, slots, pace, g)


@kernel
def _write_unanchored(
    trees: Trees, slots: _Slots, mask: NDArray[np.uint8], planes: NDArray[np.uint16]
) -> int:
    """Planes of the positions that the anchor has not judged, in order of the slots; their number."""
    n = 0
    for g in range(len(slots.length)):
        if slots.unanchored[g]:
            legal_mask(trees.states[g], mask)
            write_planes(trees.states[g], mask, planes[n])
            n += 1
    return n


class Actor:
    """Plays `games` games at once with one evaluator; call `step` until enough is recorded.

    Its evaluator's batch must hold one row a game. Everything random comes from `seed`.
    """

    def __init__(
        self,
        game: Game,
        evaluator: Evaluator,
        games: int,
        visits: int,
        search: SearchConfig,
        rules: Sequence[Rules] = ({},),
        sampled_moves: int = 0,
        opening_plies: int = 0,
        seed: np.random.SeedSequence | None = None,
        cheap_visits: int = 0,
        full_share: float = 1.0,
        anchor: Evaluator | None = None,
        anchor_share: float = 0.0,
    ) -> None:
        """Each game is played by one of the sets of `rules`, drawn evenly.

        With `cheap_visits` only a `full_share` of the moves is searched with `visits`, and learnt.

        An `anchor`, whose batch holds a row a game, has its `anchor_share` in the roots' logits.

        Raises ValueError for a batch that is too small, or if points count."""
        if len(evaluator.value) < max(search.symmetries, search.leaf_symmetries):
            raise ValueError("the evaluator's batch must hold the rows of one leaf at least")
        if search.score_weight:
            raise ValueError("self-play learns to win: score_weight must be 0")
        self.game = game
        self.evaluator = evaluator
        self.rules = [{**game.rules, **given} for given in rules]
        self.pace = _Pace(visits, cheap_visits, full_share, sampled_moves, opening_plies)
        self.params = make_params(search, game, visits, cheap_visits, anchor_share)
        self.anchor = anchor if anchor_share else None
        self._mask = np.zeros(game.actions, np.uint8)
        sequence = seed or np.random.SeedSequence(0)
        self.trees = make_trees(game, games, visits, len(evaluator.value), sequence)
        self.cache = make_cache(game, search.cache_mb << 20, len(evaluator.value))
        self.shown = make_orientation(game, len(evaluator.value))
        t, a = game.max_moves, game.actions
        self.slots = _Slots(
            length=np.zeros(games, np.int32),
            opening=np.zeros(games, np.int32),
            rules=np.zeros(games, np.int32),
            moves=np.zeros((games, t), np.int16),
            policies=np.zeros((games, t, a), np.float32),
            values=np.zeros((games, t), np.float32),
            surprise=np.zeros((games, t), np.float32),
            full=np.ones((games, t), np.uint8),
            unanchored=np.ones(games, np.uint8),
            finished=np.zeros(games, np.int32),
            stats=(
                np.zeros(a, np.int32), np.zeros(a, np.float32), np.zeros(a, np.float32),
                np.zeros(a, np.float32),
            ),
        )  # fmt: skip
        self._fresh = game.new_states(len(self.rules))
        for i, given in enumerate(self.rules):
            self._fresh[i] = game.new_states(1, given)[0]
        self._done: list[GameTable] = []
        self.positions = 0
        """Positions of games finished since the last `take`, those searched cheaply left out."""
        self.steps = 0
        """Network calls since the start."""
        for g in range(games):
            self._begin(g)

    def restart_searches(self) -> None:
        """Begin the search of every current position anew (the network has changed)."""
        forget(self.cache)
        _reset_searches(self.trees, self.slots, self.pace)

    def step(self) -> None:
        """One network call, then every move that it completes."""
        trees = self.trees
        games = len(self.slots.length)
        if self.anchor is not None:
            self._ask_anchor(self.anchor)
        if simulate(trees, self.params, self.cache, self.shown, games, self.evaluator):
            self.steps += 1
        ended = _finish_moves(trees, self.params, self.slots, self.pace)
        for g in self.slots.finished[:ended]:
            self._harvest(int(g))

    def _ask_anchor(self, anchor: Evaluator) -> None:
        """Let the anchor judge the positions that have come up."""
        places = np.flatnonzero(self.slots.unanchored)
        if len(places):
            anchor.evaluate(_write_unanchored(self.trees, self.slots, self._mask, anchor.planes))
            self.trees.anchor[places] = anchor.policy[: len(places)]
            self.slots.unanchored[:] = 0

    def _harvest(self, g: int) -> None:
        """Record the finished game of slot `g` and start a new one there."""
        slots, trees = self.slots, self.trees
        state, n = trees.states[g], int(slots.length[g])
        score = float(score_of(state))
        full = slots.full[g, :n] == 1
        owners = None
        if self.game.has_ownership:
            owners = np.zeros((1, self.game.points), np.int8)
            ownership_of(state, owners[0])
        self._done.append(
            GameTable(
                game=self.game.name,
                rules_table=(self.rules[slots.rules[g]],),
                rules_index=np.zeros(1, np.uint8),
                offsets=np.array([0, n], np.int64),
                moves=slots.moves[g, :n].copy(),
                results=np.array([np.sign(score)], np.float32),
                scores=np.array([score], np.float32),
                ranks=np.zeros((1, 2), np.int8),
                weights=(full & (np.arange(n) >= slots.opening[g])).astype(np.float32),
                first_to_play=np.zeros(1, np.int8),
                policies=slots.policies[g, :n].astype(np.float16),
                values=slots.values[g, :n].astype(np.float16),
                surprise=slots.surprise[g, :n].astype(np.float16),
                ownership=owners,
            )
        )
        self.positions += int(full.sum())
        self._begin(g)

    def _begin(self, g: int) -> None:
        """A new game in slot `g`."""
        _begin_game(self.trees, self.slots, g, self._fresh, self.pace)

    def take(self) -> GameTable:
        """The games finished since the last call."""
        done, self._done, self.positions = self._done, [], 0
        return concat(done) if done else empty_table(self.game.name)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The games in play and the RNGs; enough to go on exactly after `restart_searches`."""
        longest = int(self.slots.length.max(initial=0))
        return {
            "states": np.frombuffer(self.trees.states.tobytes(), np.uint8).copy(),
            "rng": self.trees.rng.view(np.int64).copy(),
            "length": self.slots.length.copy(),
            "opening": self.slots.opening.copy(),
            "rules": self.slots.rules.copy(),
            "moves": self.slots.moves[:, :longest].copy(),
            "policies": self.slots.policies[:, :longest].copy(),
            "values": self.slots.values[:, :longest].copy(),
            "surprise": self.slots.surprise[:, :longest].copy(),
            "full": self.slots.full[:, : longest + 1].copy(),
            "anchor": self.trees.anchor.copy(),
            "unanchored": self.slots.unanchored.copy(),
        }

    def load_state_dict(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from `state_dict`, searches begun anew.

        Raises ValueError if it comes from another number of games or another game.
        """
        wanted = self.trees.states.nbytes
        if state["states"].nbytes != wanted or len(state["length"]) != len(self.slots.length):
            raise ValueError("the actor's state was saved with another number of games")
        raw = np.frombuffer(state["states"].tobytes(), self.game.dtype)
        self.trees.states[:] = raw
        self.trees.rng[:] = state["rng"].view(np.uint64)
        self.slots.length[:] = state["length"]
        self.slots.opening[:] = state["opening"]
        longest = state["moves"].shape[1]
        self.slots.moves[:, :longest] = state["moves"]
        self.slots.policies[:, :longest] = state["policies"]
        self.slots.values[:, :longest] = state["values"]
        # Older states lack what follows: one set of rules, no playout caps, no anchor.
        self.slots.rules[:] = state.get("rules", 0)
        self.slots.surprise[:, :longest] = state.get("surprise", np.nan)
        self.slots.full[:] = 1
        self.slots.unanchored[:] = 1
        if "anchor" in state:
            self.trees.anchor[:] = state["anchor"]
            self.slots.unanchored[:] = state["unanchored"]
        if "full" in state:
            self.slots.full[:, : longest + 1] = state["full"]
        self.restart_searches()
