"""What answers with a move, and with its reasons, in `ghostgo play` and `ghostgo gtp`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.capture import capture_actions
from ghostgo.engine.games.game import Game, States, legal_mask_of, write_planes_of
from ghostgo.engine.games.go import is_go
from ghostgo.engine.rollout import RolloutSearcher, random_actions
from ghostgo.engine.search import Searcher, SearchResult
from ghostgo.engine.search_config import SearchConfig, batch_rows, check_search

if TYPE_CHECKING:
    from ghostgo.engine.network import Network
    from ghostgo.engine.quantise import Calibration
    from ghostgo.learning import Entry, Student
    from ghostgo.session import Session

MOST_LEAVES = 8
"""Leaves in one network call of a single game: some strength for much speed on a CPU."""
VISITS_PER_LEAF = 32
"""Short searches take fewer leaves a call, since those are chosen without each other's values."""
PLAY = SearchConfig(root="puct")
"""How networks search if nothing is said."""
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

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """Whose each point will be, as the bot expects in `states` (1,); None if it has no idea.

        (P,) from 1, surely the first player's, to -1, surely the second's.
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

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """None."""
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

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """None: playouts are not kept."""
        return None

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
        student: Student | None = None,
    ) -> None:
        """With a `student` it learns from its games. Raises UserError for a search that the game
        does not know."""
        from ghostgo.engine.evaluator import make_evaluator

        check_search(search, network.game)

        _take_one_torch_thread()
        self.name = name
        self.game = network.game
        self.student = student
        self._lessons = student.lessons if student else 0
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
        self._keep_up()
        _take_one_torch_thread()
        self._searcher.begin(states)
        while self._searcher.step():
            if limits and time.monotonic() - start >= min(limits):
                break

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The most visited move."""
        self._search(states, seconds)
        return int(self._searcher.result().action[0])

    def result(self) -> SearchResult:
        """All that the last `choose` or `analyse` has found."""
        return self._searcher.result()

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        """Visits, win rates and the main lines of a fresh search."""
        self._search(states, seconds)
        return _read(self._searcher)

    def ponder(self, states: States, endless: bool = False) -> Opinions:
        """A step for every network call."""
        self._keep_up()
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

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """The network's forecast, without search; None in games where points have no owners."""
        import torch

        if not self.game.has_ownership:
            return None
        self._keep_up()
        mask = np.zeros(self.game.actions, np.uint8)
        planes = np.zeros((1, self.game.points, self.game.planes), np.uint16)
        legal_mask_of(states[0], mask)
        write_planes_of(states[0], mask, planes[0])
        bits = torch.from_numpy(planes.view(np.int16)).view(torch.bfloat16).float()
        shape = (1, self.game.rows, self.game.cols, self.game.planes)
        with torch.inference_mode():
            logits = self._network(bits.view(shape).permute(0, 3, 1, 2))["ownership"][0]
        mine: NDArray[np.float32] = (2 * torch.sigmoid(logits) - 1).numpy()
        return mine if states[0].to_play == 0 else -mine

    def learn(self, session: Session) -> Entry | None:
        """Take a lesson from a finished game; what the journal says of it, None without a student.

        Raises UserError, with nothing learnt, if the game cannot be learnt from.
        """
        return None if self.student is None else self.student.teach(session)

    def _keep_up(self) -> None:
        """Take the student's weights over if it has learnt, on whichever board, since they were."""
        if self.student is None or self.student.lessons == self._lessons:
            return
        self._lessons = self.student.lessons
        self._network = refit(self.student.network(), self.game)
        self._evaluator.load(self._network)
        self._searcher = self._make_searcher(self._visits)
        self.__dict__.pop("_deep", None)

    def bind(self, game: Game) -> SearchBot:
        """The same network on another board of the same game.

        Raises UserError if the weights do not fit there.
        """
        if game is self.game:
            return self
        self._keep_up()
        network = refit(self._network, game)
        return SearchBot(
            self.name, network, self._visits, self._seed, self._seconds, self._search_config,
            student=self.student,
        )  # fmt: skip


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


def refit(network: Network, game: Game) -> Network:
    """The same weights for another board of their game, in the same mode (training or not).

    Raises UserError if they do not fit.
    """
    from ghostgo.engine.network import Network

    other = Network(game, network.config)
    weights, expected = network.state_dict(), other.state_dict()
    fits = game.plane_names == network.game.plane_names and weights.keys() == expected.keys()
    if not fits or any(weights[name].shape != expected[name].shape for name in weights):
        raise UserError(f"this network was trained for {network.game.name}, not {game.name}")
    other.load_state_dict(weights)
    return other.train(network.training)
