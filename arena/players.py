"""Players: one protocol for random, capture bot, plain MCTS, networks and GTP engines.

A player chooses for many games at once. What it plays depends on the position and the game's
number only, never on which other games are in the batch, so a tournament that was stopped plays the
same games as one that was not. (A network's numbers can differ in the last bit with the batch.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States, legal_mask_of, write_planes_of
from ghostgo.engine.games.go import is_go
from ghostgo.engine.rollout import RolloutSearcher, random_actions
from ghostgo.engine.search import Searcher, SearchResult
from ghostgo.engine.search_config import SearchConfig, batch_rows
from ghostgo.engine.tree import FROZEN, Trees

if TYPE_CHECKING:  # torch, which takes seconds to import
    from ghostgo.engine.network import Network
    from ghostgo.engine.quantise import Calibration

RESIGN = -1
"""What `choose` gives for a player that resigns."""
UNLIMITED = 1 << 30
MOST_NODES = 8192
"""Nodes that a network's trees hold in all, where its batch of games allows: a pool of two dozen
networks then stays within a few hundred megabytes."""
RATING = SearchConfig(root="puct", cache_mb=0)
"""How networks search. No cache: what a move costs must not depend on the games before."""
FIRST_SEARCH: Mapping[str, Any] = {
    "root": "puct",
    "c_puct": 1.1,
    "fpu_reduction": 0.2,
    "max_considered": 16,
    "c_visit": 50.0,
    "c_scale": 1.0,
    "explore": False,
    "dirichlet_total": 10.83,
    "dirichlet_weight": 0.25,
    "dirichlet_shaped": False,
    "root_temperature_early": 1.0,
    "root_temperature_late": 1.0,
    "root_fpu_reduction": None,
    "forced_k": 0.0,
    "solve": True,
    "leaves_per_step": 1,
    "cache_mb": 0,
    "canonical_plies": 0,
    "symmetries": 1,
    "leaf_symmetries": 1,
    "score_weight": 0.0,
}
"""`RATING` as the first ledgers had it, and never to be changed: a network's identity names whatever
differs from it, so that a new default makes new players. A new field of `SearchConfig` joins with
the value under which networks play as they did before."""
PLAYS: Mapping[str, int] = {
    "random": 1, "capture": 1, "mcts": 1, "openspiel": 1, "net": 1, "policy": 1,
}  # fmt: skip
"""Version of how our own code plays, by kind of player: to be raised with every change of the moves
that it plays, so that games before and after it are not taken for one player's."""
Actions = NDArray[np.int32]


class PlayerFailed(Exception):
    """A player could not move: it hung, died or broke the rules. The message says what it did."""


class Player(Protocol):
    """Whoever can be asked for moves in many games at once."""

    name: str
    concurrent: int
    """Most games that it can play at a time."""
    evaluations: int
    """Network evaluations (playouts for plain MCTS) so far."""
    flops: float
    """FLOPs of its network so far."""
    row_cost: tuple[NDArray[np.int64], float] | None
    """Evaluations (n,) of the rows of the last `choose`, and the FLOPs of one; None if all rows
    cost the same."""

    def check_rules(self, rules: Mapping[str, Any]) -> None:
        """Raises UserError, naming the player, if it does not play by `rules`."""

    def reset(self, games: Sequence[int]) -> None:
        """New games begin: nothing of earlier ones may matter in them."""

    def observe(self, game: int, action: int) -> None:
        """`action` was played in `game`, by either side."""

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """One action a row (n,) for the side to move, or RESIGN.

        Raises PlayerFailed, only where `concurrent` is 1.
        """

    def close(self) -> None:
        """Let go of processes and memory."""


class BatchPlayer:
    """What players without memory of a game have in common."""

    concurrent = UNLIMITED

    def __init__(self, name: str) -> None:
        self.name = name
        self.evaluations = 0
        self.flops = 0.0
        self.row_cost: tuple[NDArray[np.int64], float] | None = None

    def check_rules(self, rules: Mapping[str, Any]) -> None:
        """All rules of ours."""

    def reset(self, games: Sequence[int]) -> None:
        """Nothing is kept from game to game."""

    def observe(self, game: int, action: int) -> None:
        """Positions say everything."""

    def close(self) -> None:
        """Nothing to let go of."""


def position_seeds(states: States, games: Sequence[int]) -> NDArray[np.uint64]:
    """A seed for each row (n,), from the game's number and the ply."""
    plies = np.asarray(states["move_number"], np.uint64)
    with np.errstate(over="ignore"):
        mixed = np.asarray(games, np.uint64) + plies * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray((mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9))


class RandomPlayer(BatchPlayer):
    """Uniformly random legal moves; in Go it leaves its own eyes alone."""

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """One random action a row."""
        out = np.empty(len(states), np.int32)
        random_actions(states, position_seeds(states, games), out)
        return out


class CapturePlayer(BatchPlayer):
    """The capture bot; Go only."""

    def __init__(self, name: str, game: Game) -> None:
        super().__init__(name)
        if not is_go(game):
            raise UserError(f"player {name!r}: the capture bot plays Go, not {game.name}")
        self._scratch = game.new_states(2)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """The largest capture, a rescue, or a random move."""
        from ghostgo.engine.games.capture import capture_actions

        out = np.empty(len(states), np.int32)
        capture_actions(states, self._scratch, position_seeds(states, games), out)
        return out


class RolloutPlayer(BatchPlayer):
    """Plain MCTS with random playouts."""

    def __init__(self, name: str, game: Game, rollouts: int) -> None:
        super().__init__(name)
        self._searcher = RolloutSearcher(game, rollouts)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """The most visited action of one search a row."""
        self.evaluations += len(states) * self._searcher.rollouts
        return self._searcher.choose(states, position_seeds(states, games))


def judged_nodes(trees: Trees, n: int) -> NDArray[np.int64]:
    """(n,) nodes of trees 0 .. n-1 that a network has judged: all but ends of the game."""
    nodes = trees.nodes[:n]
    there = np.arange(nodes.shape[1]) < trees.node_count[:n, None]
    judged = (nodes["edges"] > 0) | (nodes["kind"] == FROZEN)
    return np.asarray((there & judged).sum(axis=1))


def search_rows(visits: int) -> int:
    """Games that a network searches at once, so that their trees of so many `visits` fit."""
    return min(max(MOST_NODES // visits, 8), 64)


class NetPlayer(BatchPlayer):
    """A network with search, without noise. It is loaded when it is first asked for a move."""

    def __init__(
        self,
        name: str,
        load: Callable[[], Network],
        visits: int,
        device: str = "auto",
        search: SearchConfig = RATING,
        backend: tuple[str, Calibration | None] = ("auto", None),
        rows: int | None = None,
    ) -> None:
        """At most `rows` games are searched at once; None: `search_rows`."""
        super().__init__(name)
        self._load, self._backend = load, backend
        self._visits = visits
        self._batch = rows or search_rows(visits)
        self._device = device
        self._search_config = search
        self._searcher: Searcher | None = None

    def _ready(self) -> Searcher:
        if self._searcher is None:
            from ghostgo.engine.evaluator import make_evaluator

            network, config = self._load(), self._search_config
            rows, scores = batch_rows(config, self._batch), config.score_weight > 0
            evaluator = make_evaluator(network, rows, self._device, *self._backend, score=scores)
            self._searcher = Searcher(network.game, evaluator, self._batch, self._visits, config)
        return self._searcher

    def _search(
        self, states: States, visits: int
    ) -> Iterator[tuple[SearchResult, NDArray[np.int64]]]:
        """Fresh searches of `states` (n,), as many at a time as there is room for.

        With each batch the evaluations of its rows.
        """
        searcher, step = self._ready(), self._batch
        try:
            for start in range(0, len(states), step):
                result = searcher.run(states[start : start + step], visits)
                yield result, judged_nodes(searcher.trees, len(result.action))
        except FloatingPointError as error:
            raise UserError(f"player {self.name!r}: {error}") from None

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """The action that the search plays, one fresh tree a row.

        Raises UserError if the network gives something that is not a number.
        """
        price = self._ready().evaluator.flops_per_evaluation
        results, counts = zip(*self._search(states, self._visits), strict=True)
        config, nodes = self._search_config, np.concatenate(counts)
        judged = config.symmetries + (nodes - 1) * config.leaf_symmetries
        self.evaluations += int(judged.sum())
        self.flops += int(judged.sum()) * price
        self.row_cost = judged, price
        return np.concatenate([result.action for result in results])

    def judge(self, states: States) -> NDArray[np.float32]:
        """The network's own values (n,) of unfinished positions (n,), for the side to move.

        They are not counted as the player's. Raises UserError as `choose` does.
        """
        return np.concatenate([result.raw_value for result, _ in self._search(states, 1)])

    def close(self) -> None:
        """Drop the network and the trees; the next move loads them again."""
        self._searcher = None


class PolicyPlayer(NetPlayer):
    """A network without search: moves drawn from its policy, as often as it expects them.

    One that imitated people thus plays as they do, and not always their most frequent move.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Network],
        device: str = "auto",
        backend: tuple[str, Calibration | None] = ("auto", None),
    ) -> None:
        super().__init__(name, load, 1, device, RATING, backend)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """One action a row, drawn by the game's number and the ply."""
        searcher = self._ready()
        evaluator, actions = searcher.evaluator, searcher.game.actions
        legal = np.zeros((len(states), actions), np.uint8)
        out, seeds = np.empty(len(states), np.int32), position_seeds(states, games)
        for start in range(0, len(states), self._batch):
            rows = range(start, min(start + self._batch, len(states)))
            for k, i in enumerate(rows):
                legal_mask_of(states[i], legal[i])
                write_planes_of(states[i], legal[i], evaluator.planes[k])
            evaluator.evaluate(len(rows))
            for k, i in enumerate(rows):
                logits = np.where(legal[i], evaluator.policy[k].astype(np.float64), -np.inf)
                if not np.isfinite(logits.max()):
                    raise UserError(f"player {self.name!r}: its policy is no number")
                chances = np.exp(logits - logits.max())
                draw = np.random.default_rng(seeds[i])
                out[i] = draw.choice(actions, p=chances / chances.sum())
        self.evaluations += len(states)
        self.flops += len(states) * evaluator.flops_per_evaluation
        return out
