"""Many games in lockstep: whoever has most positions waiting is asked for all of them at once.

With several workers, as many players are asked at the same time, each in a thread of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ghostgo.arena.players import RESIGN, Player, PlayerFailed
from ghostgo.arena.results import GameResult
from ghostgo.arena.stop import Stop
from ghostgo.engine.games.game import Game, is_legal_one, outcome_of, play_one, score_of

P = ParamSpec("P")
R = TypeVar("R")
LISTEN_EVERY = 0.2
"""Seconds between two questions whether to stop, while players think."""


@dataclass(frozen=True)
class PairTask:
    """A pair to be played: player numbers a and b, from `opening`, colours swapped."""

    pair: str
    a: int
    b: int
    opening: tuple[int, ...]


FinishedPair = tuple[PairTask, tuple[GameResult, GameResult]]


@dataclass
class _Seat:
    """One game in progress; two-element lists are for players a and b of the task."""

    task: PairTask
    first: int
    number: int
    slot: int = -1
    moves: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    evaluations: list[float] = field(default_factory=lambda: [0.0, 0.0])
    flops: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def player(self, side: int) -> int:
        """Number of the player on `side` of the task."""
        return self.task.b if side else self.task.a


@dataclass(frozen=True)
class _Answer:
    """A player's moves (n), and what each of them cost."""

    actions: list[int]
    failure: str
    """Why it forfeits; empty if it moved."""
    seconds: float
    evaluations: list[float]
    flops: list[float]


class Match:
    """Plays pairs of games between `players`, up to `capacity` games at a time.

    Add tasks, then call `sweep` until nothing is in flight.
    """

    def __init__(
        self,
        game: Game,
        players: Sequence[Player],
        capacity: int = 128,
        rules: Mapping[str, Any] | None = None,
        workers: int = 1,
        stop: Stop | None = None,
    ) -> None:
        """`stop` ends waiting for players by a KeyboardInterrupt; the match is over then."""
        self.game = game
        self._stop = stop or Stop()
        self.players = list(players)
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, initializer=one_torch_thread)
        self._states = game.new_states(capacity, rules)
        self._fresh = game.new_states(1, rules)
        self._free = list(range(capacity))
        self._waiting: deque[_Seat] = deque()
        self._playing: list[_Seat] = []
        self._busy = [0] * len(players)
        self._half: dict[str, GameResult] = {}
        self.plies = 0
        """Moves that players were asked for so far."""

    @property
    def in_flight(self) -> int:
        """Games begun or waiting for a place."""
        return len(self._playing) + len(self._waiting)

    def admit(self, player: Player) -> None:
        """One more player, whose number is the next."""
        self.players.append(player)
        self._busy.append(0)

    def add(self, task: PairTask) -> None:
        """Queue both games of a pair."""
        for first in (0, 1):
            self._waiting.append(_Seat(task, first, game_number(task.pair, first)))

    def sweep(self) -> list[FinishedPair]:
        """Ask each player with waiting positions once; returns the pairs that this finished."""
        self._seat_waiting()
        finished: list[FinishedPair] = []
        asked: set[int] = set()
        while True:
            turns: dict[int, list[_Seat]] = {}
            for seat in self._playing:
                turns.setdefault(seat.player(self._side(seat)), []).append(seat)
            left = sorted(set(turns) - asked, key=lambda number: (-len(turns[number]), number))
            if not left:
                return finished
            now = {number: turns[number] for number in left[: self._workers]}
            asked.update(now)
            now |= self._hurried(turns, now)
            answers = self._wait([self._pool.submit(self._ask, *turn) for turn in now.items()])
            for seats, answer in zip(now.values(), answers, strict=True):
                for row, seat in enumerate(seats):
                    if result := self._advance(seat, row, answer):
                        finished += self._finish(seat, result)

    def _hurried(
        self, turns: Mapping[int, list[_Seat]], now: Mapping[int, list[_Seat]]
    ) -> dict[int, list[_Seat]]:
        """Positions of games with a player who plays one at a time, by the number to be asked.

        They do not wait for the others' batches: such a player would hardly finish a game.
        """
        found: dict[int, list[_Seat]] = {}
        for number, seats in turns.items():
            for seat in seats:
                pair = (seat.task.a, seat.task.b)
                if number not in now and any(self.players[i].concurrent == 1 for i in pair):
                    found.setdefault(number, []).append(seat)
        return found

    def in_thread(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What `call` gives, in a worker's thread."""
        return self._wait([self._pool.submit(call, *args, **kwargs)])[0]

    def _wait(self, futures: Sequence[Future[R]]) -> list[R]:
        while wait(futures, LISTEN_EVERY).not_done:
            self._stop.check()
        return [future.result() for future in futures]

    def close(self) -> None:
        """End the threads; those of a match that was stopped end when their players have moved."""
        self._pool.shutdown(wait=not self._stop.asked, cancel_futures=True)

    def _side(self, seat: _Seat) -> int:
        """Whose turn it is: 0 for player a, 1 for b."""
        return int(self._states[seat.slot].to_play) ^ seat.first

    def _seat_waiting(self) -> None:
        """Begin waiting games, in order, while there is room and their players are free."""
        for _ in range(len(self._waiting)):
            seat = self._waiting.popleft()
            pair = (seat.task.a, seat.task.b)
            free = all(self._busy[i] < self.players[i].concurrent for i in pair)
            if not self._free or not free:
                self._waiting.append(seat)
                continue
            seat.slot = self._free.pop()
            self._states[seat.slot] = self._fresh[0]
            self._playing.append(seat)
            for i in pair:
                self._busy[i] += 1
                self.players[i].reset([seat.number])
            for action in seat.task.opening:
                self._play(seat, action)

    def _play(self, seat: _Seat, action: int) -> None:
        play_one(self._states[seat.slot], action)
        seat.moves.append(action)
        for i in (seat.task.a, seat.task.b):
            self.players[i].observe(seat.number, action)

    def _ask(self, number: int, seats: list[_Seat]) -> _Answer:
        """One move of a player in each of `seats`, which are not changed."""
        player, n = self.players[number], len(seats)
        rows = np.array([seat.slot for seat in seats])
        before = (time.perf_counter(), player.evaluations, player.flops)
        failure = ""
        try:
            actions = player.choose(self._states[rows], [seat.number for seat in seats]).tolist()
        except PlayerFailed as error:
            if n > 1:
                raise
            actions, failure = [RESIGN], str(error)
        after = (time.perf_counter(), player.evaluations, player.flops)
        seconds, evaluations, flops = ((y - x) / n for x, y in zip(before, after, strict=True))
        if player.row_cost is None:
            return _Answer(actions, failure, seconds, [evaluations] * n, [flops] * n)
        counts, price = player.row_cost
        return _Answer(actions, failure, seconds, counts.tolist(), (counts * price).tolist())

    def _advance(self, seat: _Seat, row: int, answer: _Answer) -> GameResult | None:
        """Charge the side to move and play row `row`; the result if the game is over now."""
        action = answer.actions[row]
        self.plies += 1
        side = self._side(seat)
        seat.seconds[side] += answer.seconds
        seat.evaluations[side] += answer.evaluations[row]
        seat.flops[side] += answer.flops[row]
        if action == RESIGN:
            end = "forfeit" if answer.failure else "resign"
            return _result(seat, float(side), None, end, answer.failure)
        state = self._states[seat.slot]
        if not is_legal_one(state, action):
            name = self.players[seat.player(side)].name
            raise RuntimeError(f"{name} played the illegal {self.game.action_name(action)}")
        self._play(seat, action)
        if not state.done:
            return None
        points = (1 + outcome_of(state)) / 2
        if self._side(seat) == 1:
            points = 1 - points
        return _result(seat, points, float(score_of(state)), "score", "")

    def _finish(self, seat: _Seat, result: GameResult) -> list[FinishedPair]:
        """Free the seat; the pair, if its other game has ended too."""
        self._playing.remove(seat)
        self._free.append(seat.slot)
        for i in (seat.task.a, seat.task.b):
            self._busy[i] -= 1
        other = self._half.pop(seat.task.pair, None)
        if other is None:
            self._half[seat.task.pair] = result
            return []
        games = (result, other) if result.first == 0 else (other, result)
        return [(seat.task, games)]


def one_torch_thread() -> None:
    """Let torch compute in the calling thread alone: workers share the cores among themselves."""
    import torch

    torch.set_num_threads(1)


def game_number(pair: str, first: int) -> int:
    """The number by which players know a game: 62 bits of its pair's id and who moves first."""
    digest = hashlib.sha256(f"{pair}/{first}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def _result(seat: _Seat, points: float, score: float | None, end: str, note: str) -> GameResult:
    return GameResult(
        first=seat.first,
        moves=tuple(seat.moves),
        points=points,
        score=score,
        end=end,
        note=note,
        seconds=(round(seat.seconds[0], 4), round(seat.seconds[1], 4)),
        evaluations=(round(seat.evaluations[0]), round(seat.evaluations[1])),
        flops=(seat.flops[0], seat.flops[1]),
    )
