"""What answers with a move, and with its reasons, in `ghostgo play` and `ghostgo gtp`.

A bot is named as everywhere: a run (`scratch`), one of its checkpoints (`scratch@1000`), a folder,
a bot in the box (`go9`), `mcts:1000` (plain search with random playouts, no network), `capture` (Go:
takes what it can) or `random`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
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
from ghostgo.engine.search_config import SearchConfig, batch_rows, check_search

if TYPE_CHECKING:
    from ghostgo.engine.network import Network
    from ghostgo.engine.quantise import Calibration

MOST_LEAVES = 8
"""Leaves in one network call of a single game: some strength for much speed on a CPU."""
VISITS_PER_LEAF = 32
"""Short searches take fewer leaves a call, since those are chosen without each other's values."""
PLAY = SearchConfig(root="puct")
"""How networks search if nothing is said."""
DEFAULT_GAME = "go9"
DEFAULT_VISITS = 400
ENDLESS_VISITS = 1 << 14
"""Where a search that nobody stops ends: its trees take up to 130 MB on 19x19."""


@dataclass(frozen=True)
class Candidate:
    """A move that the bot considered."""

    action: int
    visits: int
    win_rate: float
    """Chance that the side to move wins after it, draws counted as half, in [0, 1]."""
    prior: float = 0.0
    """The network's policy before any search."""
    line: tuple[int, ...] = ()
    """The continuation expected after it, itself first; empty if unknown."""


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


Opinions = Iterator[Callable[[], Analysis]]
"""A search at work: each item is the next moment at which it can be asked for its opinion so far."""


class Bot(Protocol):
    """An opponent for one game. Every question gets a search of its own; a network's answers to
    positions are remembered, which can change the order in which a search looks at things."""

    name: str
    game: Game

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The move to play in the unfinished position `states`, (1,).

        A search that can be stopped stops after `seconds`, if they are given.
        """

    def analyse(self, states: States, seconds: float | None = None) -> Analysis | None:
        """The bot's opinion of the unfinished position `states`, (1,); None if it has none."""

    def ponder(self, states: States, endless: bool = False) -> Opinions:
        """Analyse `states` (1,) step by step, to the bot's usual effort, or as far as it can.

        No steps at all if it has no opinion.
        """

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

    def choose(self, states: States, seconds: float | None = None) -> int:
        """A random move."""
        out = np.empty(1, np.int32)
        random_actions(states, self._random.integers(0, 2**64, 1, np.uint64), out)
        return int(out[0])

    def analyse(self, states: States, seconds: float | None = None) -> Analysis | None:
        """None: chance has no opinion."""
        return None

    def ponder(self, states: States, endless: bool = False) -> Opinions:
        """Nothing."""
        return iter(())

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

    def choose(self, states: States, seconds: float | None = None) -> int:
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

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The most visited move."""
        return int(self._searcher.choose(states)[0])

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
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

    def ponder(self, states: States, endless: bool = False) -> Opinions:
        """One step: the whole search, never more."""
        found = self.analyse(states)
        yield lambda: found

    def bind(self, game: Game) -> RolloutBot:
        """The same for another game."""
        return RolloutBot(game, self._rollouts, self._seed)


def _take_one_torch_thread() -> None:
    """Let torch compute with the calling thread alone; other threads have to ask for themselves."""
    import torch

    # For a few leaves a call a second thread gains little, and beside another busy process it makes
    # each call some fifty times slower.
    torch.set_num_threads(1)


class SearchBot:
    """A network and PUCT search, without noise, for so many visits or seconds a move.

    Where points count (`search.score_weight` = w) its win rates are utilities, off by w / 2 at most.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        visits: int,
        seed: int | None,
        seconds: float | None = None,
        search: SearchConfig = PLAY,
        backend: tuple[str, Calibration | None] = ("auto", None),
    ) -> None:
        """Raises UserError for a search that the game does not know."""
        from ghostgo.engine.evaluator import make_evaluator

        check_search(search, network.game)

        _take_one_torch_thread()
        self.name = name
        self.game = network.game
        self._network, self._visits, self._seed, self._seconds = network, visits, seed, seconds
        self._leaves = min(max(visits // VISITS_PER_LEAF, 1), MOST_LEAVES)
        self._search_config = replace(search, leaves_per_step=self._leaves)
        scores = search.score_weight > 0
        rows = batch_rows(self._search_config, games=1)
        self._evaluator = make_evaluator(network, rows, "auto", *backend, score=scores)
        self._searcher = self._make_searcher(visits)

    def _make_searcher(self, visits: int) -> Searcher:
        return Searcher(
            self.game, self._evaluator, games=1, visits=visits, config=self._search_config,
            seed=np.random.SeedSequence(self._seed),
        )  # fmt: skip

    @cached_property
    def _deep(self) -> Searcher:
        return self._make_searcher(max(self._visits, ENDLESS_VISITS))

    def _search(self, states: States, seconds: float | None) -> None:
        """Search to the end of the visits or of the time, whichever is first."""
        start = time.monotonic()
        limits = [limit for limit in (seconds, self._seconds) if limit is not None]
        _take_one_torch_thread()
        self._searcher.begin(states)
        while self._searcher.step():
            if limits and time.monotonic() - start >= min(limits):
                break

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The most visited move."""
        self._search(states, seconds)
        return int(self._searcher.result().action[0])

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        """Visits, win rates and the main lines of a fresh search."""
        self._search(states, seconds)
        return _read(self._searcher)

    def ponder(self, states: States, endless: bool = False) -> Opinions:
        """A step for every network call."""
        searcher = self._deep if endless else self._searcher
        limit = None if endless else self._seconds
        start = time.monotonic()
        _take_one_torch_thread()
        searcher.begin(states)
        while searcher.step():
            yield lambda: _read(searcher)
            if limit is not None and time.monotonic() - start >= limit:
                return
        yield lambda: _read(searcher)

    def bind(self, game: Game) -> SearchBot:
        """The same network on another board of the same game.

        Raises UserError if the weights do not fit there.
        """
        if game is self.game:
            return self
        network = _refit(self._network, game)
        return SearchBot(
            self.name, network, self._visits, self._seed, self._seconds, self._search_config
        )


def _read(searcher: Searcher) -> Analysis:
    """What a searcher of one game has found so far."""
    result = searcher.result()
    visits: NDArray[np.int32] = result.visits[0]
    action = int(result.action[0])
    # The move played comes first: a proof can overrule the visits.
    order = sorted(range(len(visits)), key=lambda a: (a != action, -visits[a]))
    moves = tuple(
        Candidate(
            a, int(visits[a]), _rate(float(result.q[0, a])), float(result.prior[0, a]),
            tuple(searcher.principal_variation(0, a)),
        )
        for a in order
        if visits[a]
    )  # fmt: skip
    line = tuple(searcher.principal_variation(0, action))
    return Analysis(action, _rate(float(result.value[0])), moves, line)


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


def default_opponent(game: str | None, root: Path) -> str:
    """Who plays `game` (None: any) if nobody is named.

    That is the run below `root` with the newest checkpoint for it, else the bot that came with the
    program. Raises UserError, saying what to do, if there is neither.
    """
    from ghostgo.data.run import find_checkpoint, list_bots, list_runs

    wanted = get_game(game or DEFAULT_GAME)
    found = []
    for name in list_runs(root):
        with contextlib.suppress(UserError):  # no checkpoint yet, or damaged
            run = find_checkpoint(name, root)
            plays = get_game(run.meta["game"])
            if game is None or plays is wanted or _any_board(plays, wanted):
                found.append((run.path.stat().st_mtime, name))
    if found:
        return max(found)[1]
    bots = {bot.path.name for bot in list_bots()}
    # A game's own bot has its name; the weights of one for Go serve every board.
    for name in (wanted.name, *([DEFAULT_GAME] if is_go(wanted) else [])):
        if name in bots:
            return name
    raise UserError(
        f"nothing here plays {wanted.name} yet: train a run with `ghostgo selfplay --game "
        f"{wanted.name} --minutes 10`, or name an opponent that needs none, such as mcts:1000"
    )


def _any_board(plays: Game, wanted: Game) -> bool:
    """Whether both are Go on square boards, where one network serves all sizes."""
    return all(is_go(game) and game.rows == game.cols for game in (plays, wanted))


def make_bot(
    name: str | None,
    game: str | None,
    visits: int | None,
    seed: int | None,
    root: Path,
    seconds: float | None = None,
    search: SearchConfig = PLAY,
) -> Bot:
    """The bot called `name` (see `default_opponent` if None) for the game called `game`.

    Without `game`: the one it was trained on, or 9x9 Go. A network searches `visits` or `seconds` a
    move, whichever is first; without either, DEFAULT_VISITS; and chooses by `search`. Raises
    UserError for an unknown name, a game that it cannot play or a `search` that does not fit.
    """
    plain = name is not None and (name in ("random", "capture") or name.startswith("mcts:"))
    if plain and search != PLAY:
        raise UserError(f"{name} has no network: it takes no --score-weight and no --symmetries")
    if name in ("random", "capture"):
        kind = RandomBot if name == "random" else CaptureBot
        return kind(get_game(game or DEFAULT_GAME), seed)
    if name is not None and name.startswith("mcts:"):
        count = name.removeprefix("mcts:")
        if not (count.isascii() and count.isdigit() and int(count) > 0):
            raise UserError(f"{name!r} is no opponent: mcts:N takes a number, such as mcts:1000")
        return RolloutBot(get_game(game or DEFAULT_GAME), int(count), seed)
    from ghostgo.data.choice import chosen_backend
    from ghostgo.data.run import find_checkpoint, load_network

    found = find_checkpoint(name or default_opponent(game, root), root)
    shown = found.run if found.in_the_box else f"{found.run}@{found.step}"
    visits = visits or (DEFAULT_VISITS if seconds is None else ENDLESS_VISITS)
    network = load_network(found.path)
    if game and get_game(game) is not network.game:
        # Backends are chosen, and int8 admitted, on the board that the run is trained on.
        return SearchBot(shown, _refit(network, get_game(game)), visits, seed, seconds, search)
    return SearchBot(shown, network, visits, seed, seconds, search, chosen_backend(found))
