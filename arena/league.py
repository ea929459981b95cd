"""Everything played so far, as one league: who took part, the fit, and what moves cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.openings import canonical_moves
from ghostgo.arena.ratings import GameRow, Ratings, rate
from ghostgo.arena.results import PairResult, PlayerInfo
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

ONE_SIDED = 16
"""Games without a point after which a pairing has nothing more to say."""
REPEATED = 16
"""Games in a row, each a copy of an earlier one, after which a pairing has nothing more to say."""


_Key = tuple[int, int, tuple[int, ...]]
"""Who moves first, who second, and the moves: what copies of a game have in common."""


@dataclass
class Cost:
    """What a player spent on its own moves."""

    moves: int = 0
    seconds: float = 0.0
    evaluations: int = 0
    flops: float = 0.0

    def per_move(self) -> tuple[float, float, float]:
        """Seconds, evaluations and FLOPs a move."""
        n = max(self.moves, 1)
        return self.seconds / n, self.evaluations / n, self.flops / n


@dataclass
class League:
    """All players ever met, the present pool first, and all finished pairs.

    Two networks, which draw no lots, play one game again from an opening that comes again, or
    that was met on the way. Such a copy, images under symmetry being alike, is no new evidence:
    of games of the same two players, colours and moves one counts.
    """

    game: Game
    rules: Mapping[str, Any]
    infos: list[PlayerInfo]
    pool_size: int
    pairs: dict[str, PairResult] = field(default_factory=dict)
    rows: list[GameRow] = field(default_factory=list)
    """All games as they came, two a pair, copies included."""
    costs: list[Cost] = field(default_factory=list)
    own: int = 0
    """Games between players of the present pool, copies included."""
    _numbers: dict[str, int] = field(default_factory=dict)
    _distinct: Counter[tuple[int, ...]] = field(default_factory=Counter)
    _keys: list[_Key | None] = field(default_factory=list)
    """For each row what its copies have in common; None where there can be no copies."""
    _met: set[_Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._numbers = {info.identity: i for i, info in enumerate(self.infos)}
        self.costs = [Cost() for _ in self.infos]
        self._points = np.zeros((self.pool_size, self.pool_size))
        self._in_a_row = np.zeros((self.pool_size, self.pool_size), np.int64)

    def add(self, result: PairResult) -> None:
        """Count a finished pair.

        Raises UserError if it is from another game or other rules than this league.
        """
        here = (self.game.name, self.game.version, dict(self.rules))
        there = (result.game, result.game_version, dict(result.rules))
        if here != there:
            raise UserError(
                f"the arena folder holds games of {describe(*there)}, this is {describe(*here)}: "
                "choose another --out folder"
            )
        if not all(0 <= move < self.game.actions for game in result.games for move in game.moves):
            raise UserError(
                f"the arena folder's pair {result.pair} has a move that {self.game.name} has not: "
                "take its line out of the ledger"
            )
        numbers = [self._number(result.a), self._number(result.b)]
        self.pairs[result.pair] = result
        for game in result.games:
            first, second = numbers if game.first == 0 else numbers[::-1]
            row = GameRow(first, second, game.first_result, len(self.pairs))
            self._count(row, canonical_moves(self.game, game.moves))
            for side, number in enumerate(numbers):
                cost = self.costs[number]
                plies = range(len(result.opening), len(game.moves))
                cost.moves += sum(ply % 2 == (side != game.first) for ply in plies)
                cost.seconds += game.seconds[side]
                cost.evaluations += game.evaluations[side]
                cost.flops += game.flops[side]

    def _count(self, row: GameRow, moves: tuple[int, ...]) -> None:
        first, second = row.first, row.second
        drawn = not (self.infos[first].deterministic and self.infos[second].deterministic)
        key = None if drawn else (first, second, moves)
        copy = key in self._met
        if key is not None:
            self._met.add(key)
        self.rows.append(row)
        self._keys.append(key)
        self._distinct[moves] += 1
        if max(first, second) >= self.pool_size:
            return
        self.own += 1
        streak = self._in_a_row[first, second] + 1 if copy else 0
        self._in_a_row[first, second] = self._in_a_row[second, first] = streak
        if not copy:
            self._points[first, second] += row.result
            self._points[second, first] += 1 - row.result

    def extend(self, results: Iterable[PairResult]) -> None:
        """Count many pairs."""
        for result in results:
            self.add(result)

    def _number(self, info: PlayerInfo) -> int:
        number = self._numbers.setdefault(info.identity, len(self.infos))
        if number == len(self.infos):
            self.infos.append(info)
            self.costs.append(Cost())
        return number

    @property
    def distinct_share(self) -> float:
        """Share of the games that differ from all others, images under symmetry being alike."""
        return len(self._distinct) / len(self.rows) if self.rows else 1.0

    @property
    def repeated(self) -> int:
        """Games that are copies of others and do not count."""
        return len(self.rows) - len(self._met) - self._keys.count(None)

    def played(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(K, K) finished pairs within the present pool, and which pairings are settled.

        Copies are left out. A pairing is settled when one side has not scored at all in `ONE_SIDED`
        games, or when its last `REPEATED` games were copies.
        """
        points = self._points
        games = points + points.T
        settled = (games >= ONE_SIDED) & ((points == 0) | (points.T == 0))
        return games.astype(np.int64) // 2, settled | (self._in_a_row >= REPEATED)

    def fit(self, anchor: int) -> Ratings:
        """Rate everyone."""
        return rate(labels(self.infos), self.ordered_rows(), anchor)

    def ordered_rows(self) -> list[GameRow]:
        """The games that count, by the ids of their pairs: nothing tells who finished first.

        Of games that are copies that of the least id counts; a pair then has one row, or none.
        """
        order = sorted(enumerate(self.pairs), key=lambda numbered: numbered[1])
        counted, met = [], set[_Key]()
        for rank, (i, _) in enumerate(order):
            for game in (2 * i, 2 * i + 1):
                key = self._keys[game]
                if key is None or key not in met:
                    counted.append(replace(self.rows[game], pair=rank))
                if key is not None:
                    met.add(key)
        return counted


def describe(game: str, version: int, rules: Mapping[str, Any]) -> str:
    """A game and its rules in words."""
    shown = ", ".join(f"{name} {value}" for name, value in rules.items())
    return f"{game} (version {version}{', ' if shown else ''}{shown})"


def labels(infos: Sequence[PlayerInfo]) -> list[str]:
    """Names for tables, no two alike; players of the same name are told apart by what differs."""
    count = Counter(info.name for info in infos)
    named = [info.name if count[info.name] == 1 else _told_apart(info, 6) for info in infos]
    alike = {label for label, n in Counter(named).items() if n > 1}
    for i, info in enumerate(infos):
        if named[i] in alike:
            named[i] = _told_apart(info, None)
    unique: list[str] = []
    for label in named:
        own, twins = label, 1
        while own in unique:
            twins += 1
            own = f"{label} #{twins}"
        unique.append(own)
    return unique


def _told_apart(info: PlayerInfo, length: int | None) -> str:
    parts = [value[:length] if isinstance(value, str) else f"{key} {value}"
             for key, value in sorted(info.settings.items())]  # fmt: skip
    return f"{info.name} ({', '.join(parts or [info.kind])})"
