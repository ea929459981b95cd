"""What answers with a move, and with its reasons, in `ghostgo play` and `ghostgo gtp`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostgo.clock import Pace
from ghostgo.engine.confidence import lower_bound, sum_squares
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import (
    Game,
    States,
    legal_mask_of,
    play_one,
    score_of,
    write_planes_of,
)
from ghostgo.engine.reuse import may_reuse
from ghostgo.engine.search import Searcher, SearchResult
from ghostgo.engine.search_config import SearchConfig, batch_rows, check_search
from ghostgo.variety import Lot

if TYPE_CHECKING:
    from torch import Tensor

    from ghostgo.engine.network import Network
    from ghostgo.engine.quantise import Calibration
    from ghostgo.learning import Entry, Student
    from ghostgo.session import Session

MOST_LEAVES = 8
"""Leaves in one network call of a single game: some strength for much speed on a CPU."""
BOARDS_PER_THREAD = 4
"""A network call is shared out among threads of so many boards each, up to the cores there are."""
VISITS_PER_LEAF = 32
"""Short searches take fewer leaves a call, since those are chosen without each other's values."""
PLAY = SearchConfig(root="puct")
"""How networks search if nothing is said."""
ENDLESS_VISITS = 1 << 14
"""Where a search that nobody stops ends: its trees take up to 130 MB on 19x19."""
WARMING_VISITS = 3
"""Of one move, after which warming ends: there is a tree below it then."""


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
    line_visits: tuple[int, ...] = ()
    """Visits of each move of the line."""
    lcb: float = 0.0
    """Lower confidence bound of the win rate (`ghostgo.engine.confidence`), in [0, 1]."""


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


@dataclass(frozen=True)
class Margins:
    """What so many games are expected to be won by."""

    means: NDArray[np.float32]
    """(n,) points for the first player, komi included."""
    deviations: NDArray[np.float32] | None
    """(n,) standard deviations in points; None if they are not known."""


Opinions = Iterator[Callable[[], Analysis]]
"""A search at work: each item is the next moment at which it can be asked for its opinion so far."""


class Bot(Protocol):
    """An opponent for one game. A network's search goes on from what the last one found below the
    position, and its answers to positions are remembered: what was asked before can change what a
    search looks at, but the same questions in the same order, none of them broken off or ended by the
    clock, get the same answers."""

    name: str
    game: Game

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The move to play in the unfinished position `states`, (1,).

        A search that can be stopped stops after `seconds`, if they are given.
        """

    def analyse(self, states: States, seconds: float | None = None) -> Analysis | None:
        """The bot's opinion of the unfinished position `states`, (1,); None if it has none."""

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        """Analyse `states` (1,) step by step, to the bot's usual effort, or as far as it can.

        A search that can be stopped stops after `seconds`, if they are given.
        No steps at all if it has no opinion.
        """

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """Whose each point will be, as the bot expects in `states` (1,); None if it has no idea.

        (P,) from 1, surely the first player's, to -1, surely the second's.
        """

    def margins(self, states: States) -> Margins | None:
        """What each of the positions `states` (n,), finished or not, is expected to be won by.

        None if it has no idea.
        """

    def bind(self, game: Game) -> Bot:
        """The same bot for another board. Raises UserError if it cannot play there."""


def win_rate(value: float) -> float:
    """A value in [-1, 1] as a win rate, draws counted as half."""
    return float((1.0 + value) / 2.0)


def time_limit(*seconds: float | None) -> float:
    """The least of those limits that are given; infinity without one."""
    return min((limit for limit in seconds if limit is not None), default=math.inf)


def _take_one_torch_thread() -> None:
    """Let torch compute with the calling thread alone; other threads have to ask for themselves."""
    import torch

    # A second thread of torch's own gains little for a few leaves a call, and beside another busy
    # process it makes each call some fifty times slower. Threads that share a batch (`Tower`) meet
    # once a call.
    torch.set_num_threads(1)


class SearchBot:
    """A network and PUCT search, without noise, for so many visits or seconds a move.

    With `reuse` the visits of a position include those that the last search made below it.
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
        reuse: bool = True,
        leaves: int | None = None,
        lot: Lot | None = None,
    ) -> None:
        """With a `student` it learns from its games; `leaves` are taken in a network call (None: by
        the visits, up to MOST_LEAVES); a `lot` draws its opening moves. Raises UserError for a search
        that the game does not know."""
        from ghostgo.engine.evaluator import make_evaluator, usable_cores

        check_search(search, network.game)

        _take_one_torch_thread()
        self.name = name
        self.game = network.game
        self.student = student
        self.lot = lot
        self._lessons = student.lessons if student else 0
        self._network, self._visits, self._seed, self._seconds = network, visits, seed, seconds
        self._reuse = reuse and may_reuse(search)
        self._leaves = leaves or min(max(visits // VISITS_PER_LEAF, 1), MOST_LEAVES)
        self._given_leaves = leaves
        self._search_config = replace(search, leaves_per_step=self._leaves)
        scores = search.score_weight > 0
        rows = batch_rows(self._search_config, games=1)
        threads = max(1, min(usable_cores(), self._leaves // BOARDS_PER_THREAD))
        self._evaluator = make_evaluator(
            network, rows, "auto", *backend, score=scores, threads=threads
        )
        self._searcher = self._make_searcher(visits)
        self._pace, self._warmed = Pace(), False

    def _make_searcher(self, visits: int) -> Searcher:
        return Searcher(
            self.game, self._evaluator, games=1, visits=visits, config=self._search_config,
            seed=np.random.SeedSequence(self._seed),
        )  # fmt: skip

    @cached_property
    def _deep(self) -> Searcher:
        return self._make_searcher(max(self._visits, ENDLESS_VISITS))

    def warm(self) -> None:
        """Search a little, and forget it, so that no kernel is compiled while a clock is running.

        It changes nothing that the bot will answer, and shows how long a network call takes.
        """
        self._warmed = True
        self._keep_up()
        _take_one_torch_thread()
        # With more visits than actions one of them has two, and a tree below it to keep.
        states, searcher = self.game.new_states(1), self._make_searcher(self.game.actions + 2)
        for step in (searcher.step, lambda: self._pace.step(searcher.step)):
            searcher.begin(states, keep=self._reuse)
            while step() and searcher.result().visits.max() < WARMING_VISITS:
                pass
            play_one(states[0], int(searcher.result().visits[0].argmax()))
        _read(searcher)

    def _steps(self, searcher: Searcher, states: States, limit: float) -> Iterator[None]:
        """Search to the end of the visits or of the time, whichever is first.

        One step is made in any case, unless the last search has left something to go on from: the
        network's policy then chooses the move.
        """
        if limit < math.inf and not self._warmed:
            self.warm()
        self._pace.begin(limit)
        _take_one_torch_thread()
        due = not searcher.begin(states, keep=self._reuse)[0]
        while (due or self._pace.fits) and self._pace.step(searcher.step):
            due = False
            yield

    def _search(self, states: States, seconds: float | None) -> None:
        """Search as for a move."""
        self._keep_up()
        for _ in self._steps(self._searcher, states, time_limit(seconds, self._seconds)):
            pass

    def choose(self, states: States, seconds: float | None = None) -> int:
        """The most visited move, or the one that the lot draws."""
        self._search(states, seconds)
        return self._move(states)

    def _move(self, states: States) -> int:
        """The move to play after a search of `states`, (1,)."""
        found = self._searcher.result()
        if self.lot is None:
            return int(found.action[0])
        return self.lot.draw(self.game, states[0], found)

    @contextmanager
    def without_lot(self) -> Iterator[None]:
        """No move is drawn in here."""
        lot, self.lot = self.lot, None
        try:
            yield
        finally:
            self.lot = lot

    def result(self) -> SearchResult:
        """All that the last `choose` or `analyse` has found."""
        return self._searcher.result()

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        """Visits, win rates and the main lines of a search; the move is that of `choose`."""
        self._search(states, seconds)
        return self._opinion(states)

    def _opinion(self, states: States) -> Analysis:
        return replace(_read(self._searcher), action=self._move(states))

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        """A step for every network call; the move is that of `choose`, or, if endless, the best."""
        self._keep_up()
        searcher = self._deep if endless else self._searcher
        read = partial(_read, searcher) if endless else partial(self._opinion, states)
        limit = time_limit(seconds, None if endless else self._seconds)
        for _ in self._steps(searcher, states, limit):
            yield read
        yield read

    def _forecast(self, states: States) -> dict[str, Tensor]:
        """All that the network says of `states` (n,), without search."""
        import torch

        self._keep_up()
        n, game = len(states), self.game
        mask = np.zeros(game.actions, np.uint8)
        planes = np.zeros((n, game.points, game.planes), np.uint16)
        for i in range(n):
            legal_mask_of(states[i], mask)
            write_planes_of(states[i], mask, planes[i])
        bits = torch.from_numpy(planes.view(np.int16)).view(torch.bfloat16).float()
        shape = (n, game.rows, game.cols, game.planes)
        _take_one_torch_thread()
        with torch.inference_mode():
            said: dict[str, Tensor] = self._network(bits.view(shape).permute(0, 3, 1, 2))
        return said

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        """The network's forecast, without search; None if it has none."""
        if self._network.ownership_out is None:
            return None
        logits = self._forecast(states)["ownership"][0]
        mine: NDArray[np.float32] = (2 * logits.sigmoid() - 1).numpy()
        return mine if states[0].to_play == 0 else -mine

    def margins(self, states: States) -> Margins | None:
        """The network's forecast, without search; exact where the game is over.

        Deviations are those of its score distribution, if it has one. None if it forecasts no score.
        """
        from ghostgo.engine.score_head import score_deviation

        if self._network.score_out is None:
            return None
        said = self._forecast(states)
        means = np.where(states["to_play"] == 0, 1, -1) * said["score"].numpy()
        logits = said.get("distribution")
        deviations = None if logits is None else score_deviation(logits).numpy()
        for i in np.flatnonzero(states["done"]):
            means[i] = score_of(states[i])
            if deviations is not None:
                deviations[i] = 0.0
        return Margins(means.astype(np.float32), deviations)

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
            student=self.student, reuse=self._reuse, leaves=self._given_leaves, lot=self.lot,
        )  # fmt: skip


def _candidate(
    searcher: Searcher, action: int, result: SearchResult, squares: NDArray[np.float64]
) -> Candidate:
    visits, value = int(result.visits[0, action]), float(result.q[0, action])
    line = searcher.main_line(0, action)
    return Candidate(
        action, visits, win_rate(value), float(result.prior[0, action]),
        tuple(move for move, _ in line), tuple(seen for _, seen in line),
        win_rate(lower_bound(value, squares[action] / visits, visits)),
    )  # fmt: skip


def _read(searcher: Searcher) -> Analysis:
    """What a searcher of one game has found so far."""
    result = searcher.result()
    visits: NDArray[np.int32] = result.visits[0]
    action = int(result.action[0])
    squares = sum_squares(searcher.trees, 0, len(visits))
    # The move played comes first: a proof can overrule the visits.
    order = sorted(range(len(visits)), key=lambda a: (a != action, -visits[a]))
    moves = tuple(_candidate(searcher, a, result, squares) for a in order if visits[a])
    line = tuple(searcher.principal_variation(0, action))
    return Analysis(action, win_rate(float(result.value[0])), moves, line)


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
