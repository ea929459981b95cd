"""What answers with a move, and with its reasons, in `ghostgo play` and `ghostgo gtp`.

A bot is named as everywhere: a run (`scratch`), one of its checkpoints (`scratch@1000`), a folder,
`mcts:1000` (plain search with random playouts, no network), `capture` (Go: takes what it can) or
`random`.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.capture import capture_actions
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernels_are_cached
from ghostgo.engine.rollout import RolloutSearcher, random_actions
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig

if TYPE_CHECKING:
    from ghostgo.engine.network import Network

MOST_LEAVES = 8
"""Leaves in one network call of a single game: some strength for much speed on a CPU."""
VISITS_PER_LEAF = 32
"""Short searches take fewer leaves a call, since those are chosen without each other's values."""
DEFAULT_GAME = "go9"


@dataclass(frozen=True)
class Candidate:
    """A move that the bot considered."""

    action: int
    visits: int
    win_rate: float
    """Chance that the side to move wins after it, draws counted as half, in [0, 1]."""


@dataclass(frozen=True)
class Analysis:
    """What the bot thinks of a position, for the side to move."""

    action: int
    """The move it would play."""
    win_rate: float
    candidates: tuple[Candidate, ...]
    """The moves it visited, most visited first."""
    line: tuple[int, ...] = ()
    """The continuation it expects, beginning with `candidates[0]`; empty if unknown."""


class Bot(Protocol):
    """An opponent for one game; every question stands alone, nothing is kept between them."""

    name: str
    game: Game

    def choose(self, states: States) -> int:
        """The move to play in the unfinished position `states`, (1,)."""

    def analyse(self, states: States) -> Analysis | None:
        """The bot's opinion of the unfinished position `states`, (1,); None if it has none."""

    def bind(self, game: Game) -> Bot:
        """The same bot for another board. Raises UserError if it cannot play there."""


def _rate(value: float) -> float:
    """A value in [-1, 1] as a win rate, draws counted as half."""
    return float((1.0 + value) / 2.0)


class RandomBot:
    """Plays at random, but does not fill its own eyes in Go."""

    def __init__(self, game: Game, seed: int | None) -> None:
        self.name = "random"
        self.game = game
        self._seed = seed
        self._random = np.random.default_rng(seed)

    def choose(self, states: States) -> int:
        """A random move."""
        out = np.empty(1, np.int32)
        random_actions(states, self._random.integers(0, 2**64, 1, np.uint64), out)
        return int(out[0])

    def analyse(self, states: States) -> Analysis | None:
        """None: chance has no opinion."""
        return None

    def bind(self, game: Game) -> RandomBot:
        """The same for another game."""
        return RandomBot(game, self._seed)


class CaptureBot(RandomBot):
    """Takes the largest chain it can, saves its own, else plays at random (Go only)."""

    def __init__(self, game: Game, seed: int | None) -> None:
        """Raises UserError if the game is not Go."""
        super().__init__(game, seed)
        if not is_go(game):
            raise UserError(f"the capture bot plays Go, not {game.name}")
        self.name = "capture"
        self._scratch = game.new_states(2)

    def choose(self, states: States) -> int:
        """The largest capture, a rescue, or a random move."""
        out = np.empty(1, np.int32)
        seeds = self._random.integers(0, 2**64, 1, np.uint64)
        capture_actions(states, self._scratch, seeds, out)
        return int(out[0])

    def bind(self, game: Game) -> CaptureBot:
        """The same for another board."""
        return CaptureBot(game, self._seed)


class RolloutBot:
    """Plain MCTS with random playouts."""

    def __init__(self, game: Game, rollouts: int, seed: int | None) -> None:
        self.name = f"mcts:{rollouts}"
        self.game = game
        self._rollouts, self._seed = rollouts, seed
        self._searcher = RolloutSearcher(game, rollouts, np.random.SeedSequence(seed))

    def choose(self, states: States) -> int:
        """The most visited move."""
        return int(self._searcher.choose(states)[0])

    def analyse(self, states: States) -> Analysis:
        """Visits and mean results of a fresh search."""
        action = self.choose(states)
        moves = [
            Candidate(a, visits, _rate(value))
            for a, (visits, value) in self._searcher.root_statistics().items()
            if visits
        ]
        # The move played comes first: it wins ties by its mean result.
        moves.sort(key=lambda move: (-move.visits, move.action != action))
        total = sum(move.visits for move in moves)
        rate = sum(move.visits * move.win_rate for move in moves) / max(total, 1)
        return Analysis(action, rate, tuple(moves), (action,))

    def bind(self, game: Game) -> RolloutBot:
        """The same for another game."""
        return RolloutBot(game, self._rollouts, self._seed)


class SearchBot:
    """A network and PUCT search, without noise."""

    def __init__(self, name: str, network: Network, visits: int, seed: int | None) -> None:
        from ghostgo.engine.evaluator import make_evaluator

        self.name = name
        self.game = network.game
        self._network, self._visits, self._seed = network, visits, seed
        leaves = min(max(visits // VISITS_PER_LEAF, 1), MOST_LEAVES)
        self._searcher = Searcher(
            network.game,
            make_evaluator(network, batch=leaves),
            games=1,
            visits=visits,
            config=SearchConfig(root="puct", leaves_per_step=leaves),
            seed=np.random.SeedSequence(seed),
        )

    def choose(self, states: States) -> int:
        """The most visited move."""
        return int(self._searcher.run(states).action[0])

    def analyse(self, states: States) -> Analysis:
        """Visits, win rates and the main line of a fresh search."""
        result = self._searcher.run(states)
        visits: NDArray[np.int32] = result.visits[0]
        action = int(result.action[0])
        # The move played comes first: a proof can overrule the visits.
        order = sorted(range(len(visits)), key=lambda a: (a != action, -visits[a]))
        moves = tuple(
            Candidate(a, int(visits[a]), _rate(float(result.q[0, a]))) for a in order if visits[a]
        )
        line = tuple(self._searcher.principal_variation(0, action))
        return Analysis(action, _rate(float(result.value[0])), moves, line)

    def bind(self, game: Game) -> SearchBot:
        """The same network on another board of the same game.

        Raises UserError if the weights do not fit there.
        """
        if game is self.game:
            return self
        return SearchBot(self.name, _refit(self._network, game), self._visits, self._seed)


def _refit(network: Network, game: Game) -> Network:
    from ghostgo.engine.network import Network

    other = Network(game, network.config)
    weights, expected = network.state_dict(), other.state_dict()
    fits = game.plane_names == network.game.plane_names and weights.keys() == expected.keys()
    if not fits or any(weights[name].shape != expected[name].shape for name in weights):
        raise UserError(f"this network was trained for {network.game.name}, not {game.name}")
    other.load_state_dict(weights)
    return other


def warn_of_compiling() -> None:
    """Say on standard error why the first start takes so long."""
    if not kernels_are_cached():
        print("compiling kernels (once, about a minute) ...", file=sys.stderr, flush=True)


def newest_run(root: Path) -> str:
    """Name of the run below `root` with the newest checkpoint.

    Raises UserError, saying how to get one, if there is none.
    """
    from ghostgo.data.run import find_checkpoint, list_runs

    found = []
    for name in list_runs(root):
        with contextlib.suppress(UserError):  # no checkpoint yet, or damaged
            found.append((find_checkpoint(name, root).path.stat().st_mtime, name))
    if not found:
        raise UserError(
            f"no trained run in {root}: make one with `ghostgo selfplay --minutes 10`, "
            "or name an opponent that needs none, such as mcts:1000"
        )
    return max(found)[1]


def make_bot(name: str | None, game: str | None, visits: int, seed: int | None, root: Path) -> Bot:
    """The bot called `name` (the newest run in `root` if None) for the game called `game`.

    Without `game`: the one it was trained on, or 9x9 Go. Raises UserError for an unknown name or a
    game that it cannot play.
    """
    if name in ("random", "capture"):
        kind = RandomBot if name == "random" else CaptureBot
        return kind(get_game(game or DEFAULT_GAME), seed)
    if name is not None and name.startswith("mcts:"):
        count = name.removeprefix("mcts:")
        if not (count.isascii() and count.isdigit() and int(count) > 0):
            raise UserError(f"{name!r} is no opponent: mcts:N takes a number, such as mcts:1000")
        return RolloutBot(get_game(game or DEFAULT_GAME), int(count), seed)
    return _trained_bot(name or newest_run(root), game, visits, seed, root)


def _trained_bot(name: str, game: str | None, visits: int, seed: int | None, root: Path) -> Bot:
    from ghostgo.data.run import find_checkpoint, load_network

    found = find_checkpoint(name, root)
    bot = SearchBot(f"{found.run}@{found.step}", load_network(found.path), visits, seed)
    return bot.bind(get_game(game)) if game else bot
