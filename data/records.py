"""Many games of one kind as a few flat arrays: what self-play writes and the learner reads.

Letters: G games, M moves of all games together, A actions, P points. Game g's moves are
`moves[offsets[g]:offsets[g + 1]]`; a position's index is that of the move played in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.registry import get_game

Rules = dict[str, Any]

UNKNOWN_RANK = 0
KYU_30, KYU_1, DAN_1, DAN_9 = 1, 30, 31, 39
"""Codes of `GameTable.ranks`: 30k ... 1k are 1 ... 30, 1d ... 9d are 31 ... 39."""
UNKNOWN, AREA, TERRITORY = range(3)
"""Codes of `GameTable.counting`."""
MAX_RULES = 256
"""How many different sets of rules one table can hold (`rules_index` is uint8)."""


@dataclass
class GameTable:
    """Games of one `game`, columnar. `empty_table` and `concat` make one; `validate` checks it."""

    game: str
    """Registry name, such as `go9`."""
    rules_table: tuple[Rules, ...]
    """The different rule options met, each as `Game.new_states` takes them."""
    rules_index: NDArray[np.uint8]
    """(G,) each game's row in `rules_table`."""
    offsets: NDArray[np.int64]
    """(G + 1,) where each game's moves begin; the last entry is M."""
    moves: NDArray[np.int16]
    """(M,) actions."""
    results: NDArray[np.float32]
    """(G,) +1 the first player won, 0 a draw, -1 lost; nan unknown."""
    scores: NDArray[np.float32]
    """(G,) the first player's margin in points, komi included; nan unknown."""
    ranks: NDArray[np.int8]
    """(G, 2) first and second player: 0 unknown, 1 = 30k ... 30 = 1k, 31 = 1d ... 39 = 9d."""
    weights: NDArray[np.float32]
    """(M,) how much each position counts as a policy target; 0: not at all."""
    first_to_play: NDArray[np.int8]
    """(G,) who moves first: 0 the first player (Black in Go), 1 the second (handicap games)."""
    policies: NDArray[np.float16] | None = None
    """(M, A) search targets; None: the move itself is the target."""
    values: NDArray[np.float16] | None = None
    """(M,) root value for the side to move in [-1, 1], nan unknown; None: none is known."""
    surprise: NDArray[np.float16] | None = None
    """(M,) nats, the KL divergence of the search's policy from the network's prior, nan unknown;
    None: none is known."""
    ownership: NDArray[np.int8] | None = None
    """(G, P) the points' final owners, 1 first player, -1 second, 0 neither; None: unknown."""
    setups: NDArray[np.int8] | None = None
    """(G, P) stones on the board before the first move, 1 first player, -1 second; None: none."""
    players: NDArray[np.uint64] | None = None
    """(G, 2) hashes of the first and second player's folded names (`player_key`), 0 unknown; None:
    unknown of all."""
    years: NDArray[np.int16] | None = None
    """(G,) when it was played, 0 unknown; None: unknown of all."""
    counting: NDArray[np.int8] | None = None
    """(G,) how the points are counted: 0 unknown, 1 area, 2 territory; None: unknown of all."""
    sources: list[str] = field(default_factory=list)
    """Where the games come from, for people to read."""

    def __len__(self) -> int:
        """G: number of games."""
        return len(self.rules_index)

    @property
    def positions(self) -> int:
        """M: number of moves of all games, that is of positions with a move to learn."""
        return len(self.moves)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(G,) int64 number of moves of each game."""
        return np.diff(self.offsets)

    def moves_of(self, i: int) -> NDArray[np.int16]:
        """Actions of game `i` (0 <= i < G), a view of shape (length,)."""
        return self.moves[self.offsets[i] : self.offsets[i + 1]]

    def rules_of(self, i: int) -> Rules:
        """Rule options of game `i`, as `Game.new_states` takes them."""
        return self.rules_table[int(self.rules_index[i])]

    def game_of(self) -> NDArray[np.int64]:
        """(M,) int64: the game that each position belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def select(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> GameTable:
        """The games `indices` (int, any order, repeats allowed), in that order, as a new table."""
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        lengths = self.lengths[chosen]
        offsets = _offsets(lengths)
        # Position m of the new table lies (m - its game's new start) after the game's old start.
        rows = np.repeat(self.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return GameTable(
            game=self.game,
            rules_table=self.rules_table,
            rules_index=self.rules_index[chosen],
            offsets=offsets,
            moves=self.moves[rows],
            results=self.results[chosen],
            scores=self.scores[chosen],
            ranks=self.ranks[chosen],
            weights=self.weights[rows],
            first_to_play=self.first_to_play[chosen],
            policies=None if self.policies is None else self.policies[rows],
            values=None if self.values is None else self.values[rows],
            surprise=None if self.surprise is None else self.surprise[rows],
            ownership=None if self.ownership is None else self.ownership[chosen],
            setups=None if self.setups is None else self.setups[chosen],
            players=None if self.players is None else self.players[chosen],
            years=None if self.years is None else self.years[chosen],
            counting=None if self.counting is None else self.counting[chosen],
            sources=list(self.sources),
        )

    def validate(self) -> None:
        """Check every array's dtype, shape and range, and that the offsets rise from 0 to M.

        Raises ValueError naming the game, the field and the fault.
        """
        game = get_game(self.game)
        g, m = len(self), self.positions
        self._check("rules_index", np.uint8, (g,))
        self._check("offsets", np.int64, (g + 1,))
        self._check("moves", np.int16, (m,))
        self._check("results", np.float32, (g,))
        self._check("scores", np.float32, (g,))
        self._check("ranks", np.int8, (g, 2))
        self._check("weights", np.float32, (m,))
        self._check("first_to_play", np.int8, (g,))
        self._check("policies", np.float16, (m, game.actions), optional=True)
        self._check("values", np.float16, (m,), optional=True)
        self._check("surprise", np.float16, (m,), optional=True)
        self._check("ownership", np.int8, (g, game.points), optional=True)
        self._check("setups", np.int8, (g, game.points), optional=True)
        self._check("players", np.uint64, (g, 2), optional=True)
        self._check("years", np.int16, (g,), optional=True)
        self._check("counting", np.int8, (g,), optional=True)
        if self.offsets[0] != 0 or self.offsets[-1] != m or (np.diff(self.offsets) < 0).any():
            self._fault("offsets", f"do not rise from 0 to {m}")
        if len(self.rules_table) > MAX_RULES:
            self._fault("rules_table", f"has {len(self.rules_table)} rows, at most {MAX_RULES}")
        known = np.isnan(self.results) | np.isin(self.results, (-1, 0, 1))
        within_range = [
            ("rules_index", self.rules_index < len(self.rules_table)),
            ("moves", (self.moves >= 0) & (self.moves < game.actions)),
            ("results", known),
            ("ranks", (self.ranks >= UNKNOWN_RANK) & (self.ranks <= DAN_9)),
            ("weights", np.isfinite(self.weights) & (self.weights >= 0)),
            ("first_to_play", (self.first_to_play == 0) | (self.first_to_play == 1)),
        ]
        if self.counting is not None:
            within_range.append(("counting", np.isin(self.counting, (UNKNOWN, AREA, TERRITORY))))
        for name, within in within_range:
            if not within.all():
                self._fault(name, f"has value {getattr(self, name)[~within][0]}, out of range")

    def _check(
        self, name: str, dtype: type[Any], shape: tuple[int, ...], *, optional: bool = False
    ) -> None:
        array = getattr(self, name)
        if array is None and optional:
            return
        if not isinstance(array, np.ndarray):
            self._fault(name, f"is {type(array).__name__}, not an array")
        if array.dtype != np.dtype(dtype) or array.shape != shape:
            wanted = f"{np.dtype(dtype)} {shape}"
            self._fault(name, f"is {array.dtype} {array.shape}, not {wanted}")

    def _fault(self, name: str, what: str) -> None:
        raise ValueError(f"table of {self.game} games: {name} {what}")


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def empty_table(game: str) -> GameTable:
    """A table of no games."""
    return GameTable(
        game=game,
        rules_table=(),
        rules_index=np.zeros(0, np.uint8),
        offsets=np.zeros(1, np.int64),
        moves=np.zeros(0, np.int16),
        results=np.zeros(0, np.float32),
        scores=np.zeros(0, np.float32),
        ranks=np.zeros((0, 2), np.int8),
        weights=np.zeros(0, np.float32),
        first_to_play=np.zeros(0, np.int8),
    )


def concat(tables: Sequence[GameTable]) -> GameTable:
    """All games of the tables, in order. Tables without games are left out.

    Missing set-ups become empty boards, missing players, years and counting unknown, missing values and surprise nan. Raises ValueError if there is no
    table, if the games differ, if some but not all have policies or ownership (neither has a
    neutral filling), or if there are more than 256 different rules.
    """
    if not tables:
        raise ValueError("concat of no tables")
    game = tables[0].game
    if any(table.game != game for table in tables):
        raise ValueError(f"concat of different games: {sorted({t.game for t in tables})}")
    sources = list(dict.fromkeys(source for table in tables for source in table.sources))
    parts = [table for table in tables if len(table)] or [tables[0]]
    rules_table, rules_index = _merge_rules(parts)
    return GameTable(
        game=game,
        rules_table=rules_table,
        rules_index=rules_index,
        offsets=_offsets(np.concatenate([table.lengths for table in parts])),
        moves=np.concatenate([table.moves for table in parts]),
        results=np.concatenate([table.results for table in parts]),
        scores=np.concatenate([table.scores for table in parts]),
        ranks=np.concatenate([table.ranks for table in parts]),
        weights=np.concatenate([table.weights for table in parts]),
        first_to_play=np.concatenate([table.first_to_play for table in parts]),
        policies=_all_or_none("policies", [table.policies for table in parts]),
        values=_or_nan(parts, "values"),
        surprise=_or_nan(parts, "surprise"),
        ownership=_all_or_none("ownership", [table.ownership for table in parts]),
        setups=_or_zeros(parts, "setups"),
        players=_or_zeros(parts, "players"),
        years=_or_zeros(parts, "years"),
        counting=_or_zeros(parts, "counting"),
        sources=sources,
    )


def under_kos_of(table: GameTable, rules: Sequence[Rules]) -> list[GameTable]:
    """The same games, dealt out to the ko rules that occur in `rules`; see `under_ko_of`."""
    kos = list(dict.fromkeys(each.get("ko") for each in rules))
    if len(kos) < 2:
        return [under_ko_of(table, rules[0])]
    return [
        under_ko_of(table.select(np.arange(first, len(table), len(kos))), {"ko": ko})
        for first, ko in enumerate(kos)
    ]


def under_ko_of(table: GameTable, rules: Rules) -> GameTable:
    """The same games, shown to a network under the ko rule of `rules`, that of its self-play.

    Records are imported under simple ko, by which they were played. A plane tells the network the
    rule, and one that has seen a single value of it plays nonsense under the other. The few moves
    that superko would forbid are shown all the same. A game without ko is left as it is.
    """
    if "ko" not in rules:
        return table
    return replace(
        table, rules_table=tuple({**given, "ko": rules["ko"]} for given in table.rules_table)
    )


def _merge_rules(parts: Sequence[GameTable]) -> tuple[tuple[Rules, ...], NDArray[np.uint8]]:
    merged: list[Rules] = []
    columns = []
    for table in parts:
        new_row = []
        for rules in table.rules_table:
            if rules not in merged:
                merged.append(rules)
            new_row.append(merged.index(rules))
        columns.append(np.array(new_row, np.int64)[table.rules_index])
    if len(merged) > MAX_RULES:
        raise ValueError(f"concat: {len(merged)} different rules, at most {MAX_RULES}")
    return tuple(merged), np.concatenate(columns).astype(np.uint8)


def _all_or_none(name: str, arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [array for array in arrays if array is not None]
    if not present:
        return None
    if len(present) < len(arrays):
        raise ValueError(f"concat: some tables have {name}, others not")
    return np.concatenate(present)


def _or_nan(parts: Sequence[GameTable], name: str) -> NDArray[np.float16] | None:
    """The (M,) columns `name` in one, nan where a table has none; None if none has."""
    columns = [getattr(table, name) for table in parts]
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [
            np.full(table.positions, np.nan, np.float16) if column is None else column
            for table, column in zip(parts, columns, strict=True)
        ]
    )


def _or_zeros(parts: Sequence[GameTable], name: str) -> NDArray[Any] | None:
    """The (G, ...) columns `name` in one, zeros where a table has none; None if none has."""
    columns = [getattr(table, name) for table in parts]
    like = next((column for column in columns if column is not None), None)
    if like is None:
        return None
    return np.concatenate(
        [
            np.zeros((len(table), *like.shape[1:]), like.dtype) if column is None else column
            for table, column in zip(parts, columns, strict=True)
        ]
    )
