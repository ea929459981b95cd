"""What forecasts without a network get right of recorded Go moves, fitted on other games.

uniform   every legal move alike
point     how often each point was played at this move number
table     naive Bayes: how much more often than the legal moves beside them the moves played had this
          3x3 pattern with atari flags, this distance to the last move, and this class of point
          (symmetric ones alike) in this phase of the game; a pass by whether one went before, and phase

Where candidates tie, a hit is the chance of one drawn among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.data.short import start_states
from ghostgo.data.split import game_hashes
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, Int, State, legal_mask, play
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.go_board import BLACK, BORDER, EMPTY, in_atari, to_point
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel
from ghostgo.warmstart.clustered import clustered_error, mean

PHASES = 8
"""Of a game, each an eighth of the board's points long, the last one until the end."""
PATTERNS = 1 << 20
"""Eight neighbours of four kinds, and whether each of four is in atari."""
CHUNK = 1 << 15
Floats = NDArray[np.float64]


class Seen(NamedTuple):
    """N positions of games, each with the move played in it."""

    legal: NDArray[np.bool_]
    """(N, P) board moves; the one played always is."""
    pattern: NDArray[np.int32]
    """(N, P) codes below `PATTERNS` of the legal ones; see `_pattern`."""
    number: NDArray[np.int64]
    """(N,) moves before it."""
    last: NDArray[np.int64]
    """(N,) the action before, -1 at a game's start."""
    played: NDArray[np.int64]
    """(N,) actions."""


class Guessed(NamedTuple):
    """How well one baseline forecast n moves; arrays (n,)."""

    on_board: NDArray[np.bool_]
    """Whether the move is no pass."""
    top1: Floats
    """Chance that the first choice among board moves is the one played; 0 for passes."""
    top5: Floats
    loss: Floats
    """-log probability of the move, in nats, passes included."""


@kernel
def _pattern(state: State, point: Int) -> Int:
    """A code of what surrounds a point, for the side to move.

    From above and clockwise two bits a neighbour: 0 empty, 1 own, 2 the opponent's, 3 no point;
    then a bit for each chain above, right, below and left that is in atari.
    """
    width = state.captured.shape[1] + 1
    code = np.int64(0)
    steps = (-width, 1 - width, 1, 1 + width, width, width - 1, -1, -1 - width)
    for k in range(8):
        near = np.int64(point) + steps[k]
        stone = np.int64(state.board[near])
        if stone == BORDER:
            code |= 3 << (2 * k)
        elif stone != EMPTY:
            own = (stone == BLACK) == (state.to_play == 0)
            code |= (1 if own else 2) << (2 * k)
            if k % 2 == 0 and in_atari(state, np.int64(state.head[near])):
                code |= 1 << (16 + k // 2)
    return code


@kernel
def _look(
    starts: Any,
    start_index: NDArray[np.int32],
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    places: NDArray[np.int64],
    owners: NDArray[np.int64],
    scratch: Any,
    legal: NDArray[np.uint8],
    pattern: NDArray[np.int32],
) -> None:
    """Legal moves (n, A) and patterns (n, P) before the moves `places`, ascending, of games `owners`."""
    game, done = np.int64(-1), np.int64(0)
    for i in range(len(places)):
        if owners[i] != game:
            game = owners[i]
            done = offsets[game]
            scratch[0] = starts[start_index[game]]
        for k in range(done, places[i]):
            play(scratch[0], moves[k])
        done = places[i]
        legal_mask(scratch[0], legal[i])
        for a in range(pattern.shape[1]):
            if legal[i, a]:
                pattern[i, a] = _pattern(scratch[0], to_point(scratch[0], a))


def look(game: Game, table: GameTable, places: NDArray[np.int64]) -> Iterator[Seen]:
    """The positions before the moves `places` (ascending) of a Go table, some thousands at a time."""
    owner_of, (starts, index) = table.game_of(), start_states(game, table)
    scratch = game.new_states(1)
    for at in np.array_split(places, -(-len(places) // CHUNK) or 1):
        legal = np.zeros((len(at), game.actions), np.uint8)
        pattern = np.zeros((len(at), game.points), np.int32)
        owners = owner_of[at]
        _look(starts, index, table.offsets, table.moves, at, owners, scratch, legal, pattern)
        number = at - table.offsets[owners]
        played = table.moves[at].astype(np.int64)
        board = played < game.points
        # Of what superko forbids, which records under simple ko may hold, the move played stands.
        legal[board, played[board]] = 1
        last = np.where(number > 0, table.moves[np.maximum(at - 1, 0)], -1).astype(np.int64)
        yield Seen(legal[:, : game.points] != 0, pattern, number, last, played)


def _images(codes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Pattern codes under each of the eight symmetries."""
    for turn in range(0, 8, 2):
        for side in (1, -1):
            image = np.zeros_like(codes)
            for k in range(8):
                to = (side * k + turn) % 8
                image |= (codes >> (2 * k) & 3) << (2 * to)
                if k % 2 == 0:
                    image |= (codes >> (16 + k // 2) & 1) << (16 + to // 2)
            yield image


def _distances(game: Game) -> NDArray[np.int64]:
    """(P + 2, P) |dx| + |dy| + max of both, from the last action (row) to a point (column).

    Coulom 2007, "Computing Elo ratings of move patterns". 0 after a pass and at the start (row -1).
    """
    row, col = np.divmod(np.arange(game.points), game.cols)
    down, right = abs(row[:, None] - row), abs(col[:, None] - col)
    near = down + right + np.maximum(down, right)
    return np.concatenate([near, np.zeros((2, game.points), np.int64)])


class Baselines:
    """The three forecasts, fitted on the games of a table."""

    def __init__(self, table: GameTable) -> None:
        """Learns the moves as played, where they count. Raises UserError for another game than Go."""
        self.game = game = get_game(table.game)
        if not is_go(game):
            raise UserError(f"{table.game} has no baselines: they are for Go")
        self._distance = _distances(game)
        self._classes = game.action_symmetries[:, : game.points].min(axis=0).astype(np.int64)
        self.games, self.positions = len(table), 0
        """What it was fitted on."""
        self._points = np.ones((2 * game.points, game.actions))
        self._pass = np.ones((2, PHASES, 2))
        sizes = [PATTERNS, int(self._distance.max()) + 1, PHASES * game.points]
        played, offered = ([np.zeros(size) for size in sizes] for _ in range(2))
        for seen in look(game, table, np.flatnonzero(table.weights > 0)):
            self._count(seen, played, offered)
        codes = np.arange(PATTERNS)
        for counts in (played, offered):
            counts[0] = sum((counts[0][image] for image in _images(codes)), np.zeros(PATTERNS))
        self._weights = [_log_ratio(*pair) for pair in zip(played, offered, strict=True)]

    def _phase(self, seen: Seen) -> NDArray[np.int64]:
        return np.minimum(seen.number * PHASES // self.game.points, PHASES - 1)

    def _late(self, seen: Seen) -> NDArray[np.int64]:
        return np.minimum(seen.number, len(self._points) - 1)

    def _features(self, seen: Seen) -> list[NDArray[Any]]:
        """(N, P) pattern, distance to the last move, and class of point by phase."""
        place = self._phase(seen)[:, None] * self.game.points + self._classes
        return [seen.pattern, self._distance[seen.last], place]

    def _count(self, seen: Seen, played: list[Floats], offered: list[Floats]) -> None:
        points = self.game.points
        board = seen.played < points
        self.positions += len(board)
        np.add.at(self._points, (self._late(seen), seen.played), 1)
        passed = (seen.last == points).astype(int)
        np.add.at(self._pass, (passed, self._phase(seen), (~board).astype(int)), 1)
        rows = np.flatnonzero(board)
        for feature, mine, every in zip(self._features(seen), played, offered, strict=True):
            mine += np.bincount(feature[rows, seen.played[rows]], minlength=len(mine))
            every += np.bincount(feature[rows][seen.legal[rows]], minlength=len(every))

    def forecasts(self, seen: Seen) -> dict[str, Floats]:
        """Log probabilities (N, A) of each baseline, -inf where illegal."""
        legal = np.concatenate([seen.legal, np.ones((len(seen.legal), 1), bool)], axis=1)
        none = np.where(legal, 0.0, -np.inf)
        weights = sum(
            (
                log[feature]
                for log, feature in zip(self._weights, self._features(seen), strict=True)
            ),
            none[:, :-1],
        )
        passed = self._pass[(seen.last == self.game.points).astype(int), self._phase(seen)]
        stay, leave = np.log(passed / passed.sum(axis=1, keepdims=True)).T
        table = np.concatenate([_normal(weights) + stay[:, None], leave[:, None]], axis=1)
        # Where no board move is legal, what is left is a sure pass.
        table[~seen.legal.any(axis=1), -1] = 0.0
        point = np.log(self._points)[self._late(seen)] + none
        return {"uniform": _normal(none), "point": _normal(point), "table": table}

    def judge(self, table: GameTable, places: NDArray[np.int64]) -> dict[str, Guessed]:
        """How well each baseline forecasts the moves `places` (ascending) of a table."""
        parts: dict[str, list[Guessed]] = {}
        for seen in look(self.game, table, places):
            for name, log in self.forecasts(seen).items():
                parts.setdefault(name, []).append(_guessed(log, seen.played))
        return {
            name: Guessed(*(np.concatenate(part) for part in zip(*each, strict=True)))
            for name, each in parts.items()
        }


def _log_ratio(played: Floats, offered: Floats) -> Floats:
    """Log of the share played of what was offered, over its mean; one move more at the mean."""
    mean = max(played.sum(), 1.0) / max(offered.sum(), 1.0)
    ratio: Floats = np.log((played + 1) / (offered * mean + 1))
    return ratio


def _normal(log: Floats) -> Floats:
    """Log weights (N, A) as log probabilities; rows of -inf stay."""
    most = np.maximum(log.max(axis=1, keepdims=True), -1e300)
    total = np.exp(log - most).sum(axis=1, keepdims=True)
    normal: Floats = log - most - np.log(np.maximum(total, 1e-300))
    return normal


def _guessed(log: Floats, played: NDArray[np.int64]) -> Guessed:
    rows, points = np.arange(len(log)), log.shape[1] - 1
    board = played < points
    own = log[rows, played]
    before = (log[:, :points] > own[:, None]).sum(axis=1)
    tied = np.maximum((log[:, :points] == own[:, None]).sum(axis=1), 1)
    top1, top5 = (np.where(board, np.clip((k - before) / tied, 0, 1), 0.0) for k in (1, 5))
    return Guessed(board, top1, top5, -own)


def fitted_apart(table: GameTable, judged: GameTable, name: str) -> Baselines:
    """Baselines of the games of `table` that are none of `judged`, nor images of them.

    Raises UserError, calling the table `name`, if none are left.
    """
    apart = table.select(np.flatnonzero(~np.isin(game_hashes(table), game_hashes(judged))))
    if not (apart.weights > 0).any():
        raise UserError(
            f"--baselines {name}: every game in it is among those judged; judge fewer, with --held-out"
        )
    return Baselines(apart)


def judge_baselines(
    records: GameTable, name: str, table: GameTable, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """What the forecasts, fitted on `records`, get of the rows `rows` of those a table teaches.

    Of each by name `top1`, `top5`, `log_loss`, `positions`, and of the first three `half_width` of
    the 95 % interval, errors clustered by game; `value_mse` is nan, as they say none. `fitted`: the
    `name` of the records, and the games and positions of theirs, none of them judged.
    """
    fitted = fitted_apart(records, table, name)
    places = np.sort(np.flatnonzero(table.weights > 0)[rows])
    games = table.game_of()[places]
    found: dict[str, Any] = {
        "fitted": {"name": name, "games": fitted.games, "positions": fitted.positions}
    }
    for kind, each in fitted.judge(table, places).items():
        board = each.on_board
        parts = {
            "top1": (each.top1[board], games[board]),
            "top5": (each.top5[board], games[board]),
            "log_loss": (each.loss, games),
            "value_mse": (np.zeros(0), games[:0]),
        }
        found[kind] = {
            **{key: mean(values) for key, (values, _) in parts.items()},
            "positions": len(places),
            "half_width": {key: 1.96 * clustered_error(*part) for key, part in parts.items()},
        }
    return found
