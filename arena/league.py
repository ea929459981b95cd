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
    """All players ever met, the present pool first, and all finished pairs."""

    game: Game
    rules: Mapping[str, Any]
    infos: list[PlayerInfo]
    pool_size: int
    pairs: dict[str, PairResult] = field(default_factory=dict)
    rows: list[GameRow] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _distinct: Counter[tuple[int, ...]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._numbers = {info.identity: i for i, info in enumerate(self.infos)}
        self.costs = [Cost() for _ in self.infos]
        self._points = np.zeros((self.pool_size, self.pool_size))

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
        numbers = [self._number(result.a), self._number(result.b)]
        self.pairs[result.pair] = result
        for game in result.games:
            first, second = numbers if game.first == 0 else numbers[::-1]
            self.rows.append(GameRow(first, second, game.first_result, len(self.pairs)))
            if max(numbers) < self.pool_size:
                self._points[first, second] += game.first_result
                self._points[second, first] += 1 - game.first_result
            self._distinct[canonical_moves(self.game, game.moves)] += 1
            for side, number in enumerate(numbers):
                cost = self.costs[number]
                plies = range(len(result.opening), len(game.moves))
                cost.moves += sum(ply % 2 == (side != game.first) for ply in plies)
                cost.seconds += game.seconds[side]
                cost.evaluations += game.evaluations[side]
                cost.flops += game.flops[side]

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

    def played(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(K, K) finished pairs within the present pool, and which pairings are settled.

        A pairing is settled when one side has not scored at all in `ONE_SIDED` games.
        """
        points = self._points
        games = points + points.T
        settled = (games >= ONE_SIDED) & ((points == 0) | (points.T == 0))
        return games.astype(np.int64) // 2, settled

    def fit(self, anchor: int) -> Ratings:
        """Rate everyone."""
        return rate(labels(self.infos), self.ordered_rows(), anchor)

    def ordered_rows(self) -> list[GameRow]:
        """The games by the ids of their pairs: sums over them do not tell who finished first."""
        order = sorted(enumerate(self.pairs), key=lambda numbered: numbered[1])
        return [
            replace(self.rows[2 * i + game], pair=rank)
            for rank, (i, _) in enumerate(order)
            for game in (0, 1)
        ]


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
