"""Many self-play games in lockstep on one thread: one network call judges a leaf of every game.

A game that ends is replaced at once, so the batch stays full. Each game is searched afresh at every
move (no tree is carried over: the root's noise would be spent on an old tree), but what the network
said for the move before is remembered.

With playout caps (KataGo, Wu 2019, section 3.1) most moves are searched cheaply and without noise, to
get the game over with, and only the others, searched fully, are learnt from. No game is resigned:
what its end says of score and owners would be lost. A decided one is searched cheaply instead, most of
the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable, Rules, concat, empty_table
from ghostgo.engine.cache import forget, make_cache
from ghostgo.engine.games.game import Game, ownership_of, score_of
from ghostgo.engine.orientation import make_orientation
from ghostgo.engine.search import Evaluator, simulate
from ghostgo.engine.search_config import SearchConfig, make_params
from ghostgo.engine.tree import make_trees
from ghostgo.selfplay.slots import (
    FULL,
    Pace,
    begin_game,
    finish_moves,
    make_slots,
    reset_searches,
    write_unanchored,
)


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
        temperatures: tuple[float, float] = (0.0, 0.0),
        decided: tuple[float, int, int] = (0.0, 0, 0),
        decided_share: float = 0.0,
    ) -> None:
        """Each game is played by one of the sets of `rules`, drawn evenly.

        With `cheap_visits` only a `full_share` of the moves is searched with `visits`, and learnt.

        After `sampled_moves` moves, at a `puct` root, moves are drawn by `temperatures`, an early and
        a late one. `decided` is a value, visits and moves: a game whose last so many searches all had the
        same winner by that value is searched with these visits, which are not learnt, as long as
        the searches remain that sure; but a `decided_share` of its moves in full, and learnt.

        An `anchor`, whose batch holds a row a game, has its `anchor_share` in the roots' logits.

        Raises ValueError for a batch that is too small, or if points count."""
        if len(evaluator.value) < max(search.symmetries, search.leaf_symmetries):
            raise ValueError("the evaluator's batch must hold the rows of one leaf at least")
        if search.score_weight:
            raise ValueError("self-play learns to win: score_weight must be 0")
        self.game = game
        self.evaluator = evaluator
        self.rules = [{**game.rules, **given} for given in rules]
        self.pace = Pace(
            visits, cheap_visits, full_share, sampled_moves, opening_plies,
            *decided, *temperatures, decided_share,
        )  # fmt: skip
        self.params = make_params(search, game, visits, cheap_visits, anchor_share, decided[1])
        self.anchor = anchor if anchor_share else None
        self._mask = np.zeros(game.actions, np.uint8)
        sequence = seed or np.random.SeedSequence(0)
        self.trees = make_trees(game, games, visits, len(evaluator.value), sequence)
        self.cache = make_cache(game, search.cache_mb << 20, len(evaluator.value))
        self.shown = make_orientation(game, len(evaluator.value))
        self.slots = make_slots(game, games)
        self._fresh = game.new_states(len(self.rules))
        for i, given in enumerate(self.rules):
            self._fresh[i] = game.new_states(1, given)[0]
        self._done: list[GameTable] = []
        self.positions = 0
        """Positions to learn from in the games finished since the last `take`: neither those searched
        cheaply nor the random moves of openings."""
        self.steps = 0
        """Network calls since the start."""
        for g in range(games):
            self._begin(g)

    def restart_searches(self) -> None:
        """Begin the search of every current position anew (the network has changed)."""
        forget(self.cache)
        reset_searches(self.trees, self.slots, self.pace)

    def step(self) -> None:
        """One network call, then every move that it completes."""
        trees = self.trees
        games = len(self.slots.length)
        if self.anchor is not None:
            self._ask_anchor(self.anchor)
        if simulate(trees, self.params, self.cache, self.shown, games, self.evaluator):
            self.steps += 1
        ended = finish_moves(trees, self.params, self.slots, self.pace)
        for g in self.slots.finished[:ended]:
            self._harvest(int(g))

    def _ask_anchor(self, anchor: Evaluator) -> None:
        """Let the anchor judge the positions that have come up."""
        places = np.flatnonzero(self.slots.unanchored)
        if len(places):
            anchor.evaluate(write_unanchored(self.trees, self.slots, self._mask, anchor.planes))
            self.trees.anchor[places] = anchor.policy[: len(places)]
            self.slots.unanchored[:] = 0

    def _harvest(self, g: int) -> None:
        """Record the finished game of slot `g` and start a new one there."""
        slots, trees = self.slots, self.trees
        state, n = trees.states[g], int(slots.length[g])
        score = float(score_of(state))
        learnt = (slots.full[g, :n] == FULL) & (np.arange(n) >= slots.opening[g])
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
                weights=learnt.astype(np.float32),
                first_to_play=np.zeros(1, np.int8),
                policies=slots.policies[g, :n].astype(np.float16),
                values=slots.values[g, :n].astype(np.float16),
                surprise=slots.surprise[g, :n].astype(np.float16),
                ownership=owners,
            )
        )
        self.positions += int(learnt.sum())
        self._begin(g)

    def _begin(self, g: int) -> None:
        """A new game in slot `g`."""
        begin_game(self.trees, self.slots, g, self._fresh, self.pace)

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
            "sure": self.slots.sure.copy(),
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
        # Older states lack what follows: one set of rules, no playout caps, no anchor, none decided.
        self.slots.rules[:] = state.get("rules", 0)
        self.slots.surprise[:, :longest] = state.get("surprise", np.nan)
        self.slots.full[:] = FULL
        self.slots.sure[:] = state.get("sure", 0)
        self.slots.unanchored[:] = 1
        if "anchor" in state:
            self.trees.anchor[:] = state["anchor"]
            self.slots.unanchored[:] = state["unanchored"]
        if "full" in state:
            self.slots.full[:, : longest + 1] = state["full"]
        self.restart_searches()
