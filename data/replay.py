"""A window over the newest games, and training batches drawn from it.

Games are kept as moves and search targets, never as planes: a row's planes are made by replaying
its game up to that ply, a few microseconds in a kernel, so that a shard stays small and a change of
the planes does not spoil old shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.batch import HALVES, ORIGIN, Batch, Games, fill_rows
from ghostgo.data.distinct import Keys, keys_of
from ghostgo.data.records import GameTable
from ghostgo.data.short import short_values, start_states
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go


def window_rows(total: int, start: int, growth: float = 0.4, power: float = 0.75) -> int:
    """Rows that the window should hold after `total` rows (KataGo 2019, appendix C).

    c * (1 + growth * ((total / c) ** power - 1) / power) with c = `start`; all rows up to `start`.
    """
    if total <= start:
        return total
    return int(start * (1 + growth * ((total / start) ** power - 1) / power))


def _few_positions(table: GameTable, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(M,) 1 at `count` positions of each game, drawn among those that are learnt at all."""
    known = np.zeros(table.positions, np.uint8)
    for first, last in pairwise(table.offsets):
        learnt = first + np.flatnonzero(table.weights[first:last] > 0)
        chosen = rng.choice(len(learnt), size=min(count, len(learnt)), replace=False)
        known[learnt[chosen]] = 1
    return known


def _komi_known(game: Game, table: GameTable) -> NDArray[np.bool_]:
    """(G,) whether the komi is known, in Go; else True. Unknown, it is shown as the default, under
    which another side may have won."""
    known = [not is_go(game) or "komi" in rules for rules in table.rules_table]
    return np.array(known, bool)[table.rules_index]


def by_surprise(table: GameTable, rows: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Positions `rows` (n,) of a table, each as often as its share in the surprise of its game.

    Of a game's weight, as many as its rows, `share` is dealt out by the surprise of the search and
    the rest evenly (KataGo's policy surprise weighting). What that makes of a row is rounded so that
    the sum never strays by more than a half; rows without a known surprise get the even weight.
    """
    owners = table.game_of()[rows]
    found = np.full(len(rows), np.nan) if table.surprise is None else table.surprise[rows]
    known = np.isfinite(found)
    surprise = np.where(known, found, 0.0).astype(np.float64)
    total = np.bincount(owners, surprise, minlength=len(table))[owners]
    count = np.bincount(owners, known, minlength=len(table))[owners]
    dealt = np.divide(surprise * count, total, out=np.ones(len(rows)), where=known & (total > 0))
    ends = np.floor(np.cumsum(1 - share + share * dealt) + 0.5).astype(np.int64)
    return np.repeat(rows, np.diff(ends, prepend=0))


class ReplayWindow:
    """Tables of one game, newest last, and batches drawn uniformly from their learnable positions.

    Positions of policy weight 0 are not drawn. `add` evicts whole tables from the old end.
    """

    def __init__(
        self,
        game: Game,
        value_positions: int | None = None,
        seed: int = 0,
        surprise_share: float = 0.0,
        rank_dropout: float = 0.0,
        counting: int = 0,
        counting_dropout: float = 0.0,
        short: bool = False,
        symmetries: bool = True,
        most_bytes: int | None = None,
    ) -> None:
        """With `value_positions`, only that many positions a game, drawn once, teach the value,
        score and ownership heads: whole games repeat one label (AlphaGo 2016 over-fitted so). A game
        of Go whose rules do not tell the komi teaches them nothing.

        With a `surprise_share`, positions stand in the window as `by_surprise` says. `sample` keeps
        back the ranks of a share `rank_dropout` of its rows, the counting of a share
        `counting_dropout` (drawn apart), and turns none of them without `symmetries`. Tables that do
        not tell how they were counted were by the code `counting`. With `short`, rows have that
        target. The window's arrays never hold more than `most_bytes` after `add`.
        """
        self.game = game
        self.short = short
        self.value_positions = value_positions
        self.surprise_share = surprise_share
        self.rank_dropout = rank_dropout
        self.counting = counting
        self.counting_dropout = counting_dropout
        self.symmetries = symmetries
        self.most_bytes = most_bytes
        self.rng = np.random.default_rng([seed, 7])
        self._tables: list[Games] = []
        self._rows: list[NDArray[np.int64]] = []  # learnable positions of each table
        self._owners: list[NDArray[np.int32]] = []  # the game of each of those
        self._countings: list[NDArray[np.int8]] = []  # each game's; empty where none are told
        self._sources: list[
            tuple[str, NDArray[np.integer[Any]]]
        ] = []  # file, the games' numbers in it
        self._keys: list[Keys | None] = []  # of each table once `keys` was asked for them
        self._scratch = game.new_states(1)

    @property
    def rows(self) -> int:
        """Positions that can be drawn, each as often as it stands in the window."""
        return sum(len(rows) for rows in self._rows)

    @property
    def tables(self) -> int:
        """Tables in the window."""
        return len(self._tables)

    @property
    def oldest(self) -> str:
        """Name of the oldest file of which games are held; empty if none are."""
        return self._sources[0][0] if self._sources else ""

    @property
    def bytes(self) -> int:
        """Memory held by the window's arrays."""
        arrays: Sequence[Any] = [a for table in self._tables for a in table]
        arrays = [*arrays, *self._rows, *self._owners, *self._countings]
        arrays += [numbers for _, numbers in self._sources]
        return sum(a.nbytes for a in arrays)

    def keys(self) -> list[Keys]:
        """Of each table's games and positions, to tell how many differ.

        They are kept beside the table, which is another 8 bytes a move, not among `bytes`.
        """
        for t, table in enumerate(self._tables):
            if self._keys[t] is None:
                self._keys[t] = keys_of(self.game, *table[:4])
        return [keys for keys in self._keys if keys is not None]

    def add(
        self,
        table: GameTable,
        at_most: int | None = None,
        source: str = "",
        numbers: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Append a table, then evict the oldest while what is left still has `at_most` rows.

        They are also evicted while the window holds more than `most_bytes`, and of a table that
        does by itself the older games are left out. Its games are those with `numbers` (all, in
        order, if not given) of the file `source`. Raises UserError if one game takes more.
        """
        self._append(table, source, np.arange(len(table)) if numbers is None else numbers)
        while at_most is not None and self.rows - len(self._rows[0]) >= at_most:
            self._drop_oldest()
        while self.most_bytes is not None and self.bytes > self.most_bytes:
            last, (_, given) = self.tables == 1, self._sources[-1]
            self._drop_oldest()
            if not last:
                continue
            if len(table) < 2:
                raise UserError(
                    f"a game of {table.positions} moves does not fit into a replay window of "
                    f"{self.most_bytes} bytes: raise window_mb"
                )
            newer = np.arange(len(table) // 2, len(table))
            table = table.select(newer)
            self._append(table, source, given[newer])

    def add_parts(self, parts: Sequence[GameTable], source: str) -> None:
        """Append the tables of `under_kos_of`, into which the games of a file were dealt in turn."""
        total = sum(len(part) for part in parts)
        for first, part in enumerate(parts):
            self.add(part, source=source, numbers=np.arange(first, total, len(parts)))

    def _drop_oldest(self) -> None:
        columns: tuple[list[Any], ...] = (
            self._tables, self._rows, self._owners, self._countings, self._sources, self._keys,
        )  # fmt: skip
        for column in columns:
            column.pop(0)

    def _append(self, table: GameTable, source: str, numbers: NDArray[np.integer[Any]]) -> None:
        starts, start_index = start_states(self.game, table)
        a, p, m = self.game.actions, self.game.points, table.positions
        halves = table.policies
        known = (
            np.ones(m, np.uint8)
            if self.value_positions is None
            else _few_positions(table, self.value_positions, self.rng)
        )
        known[~_komi_known(self.game, table)[table.game_of()]] = 0
        self._tables.append(
            Games(
                starts,
                start_index,
                table.offsets,
                table.moves,
                np.zeros((0, a), np.uint16) if halves is None else halves.view(np.uint16),
                table.weights,
                known,
                table.results,
                table.scores,
                table.ranks,
                short_values(self.game, table) if self.short else np.zeros(0, np.float32),
                np.zeros((0, p), np.int8) if table.ownership is None else table.ownership,
            )
        )
        learnable = np.flatnonzero(table.weights > 0)
        if self.surprise_share:
            learnable = by_surprise(table, learnable, self.surprise_share)
        self._rows.append(learnable)
        self._owners.append(table.game_of()[learnable].astype(np.int32))
        untold = np.zeros(0, np.int8)
        self._countings.append(untold if table.counting is None else table.counting)
        self._sources.append((source, numbers))
        self._keys.append(None)

    def sample(self, size: int, rng: np.random.Generator) -> Batch:
        """`size` rows drawn with replacement, each under a random symmetry of the board if wanted.

        Raises ValueError if the window is empty.
        """
        sizes = np.array([len(rows) for rows in self._rows])
        if not sizes.sum():
            raise ValueError("the replay window is empty")
        drawn = rng.integers(sizes.sum(), size=size)
        turns = rng.integers(len(self.game.point_symmetries), size=size)
        batch = self.rows_batch(drawn, turns if self.symmetries else None)
        if self.rank_dropout:
            batch.rank[rng.random(size) < self.rank_dropout] = 0
        if self.counting_dropout:
            batch.counting[rng.random(size) < self.counting_dropout] = 0
        return batch

    def rows_batch(
        self, drawn: NDArray[np.integer[Any]], turns: NDArray[np.integer[Any]] | None = None
    ) -> Batch:
        """The batch of the window's rows `drawn` (0 .. rows - 1), under symmetries `turns`."""
        game, size = self.game, len(drawn)
        turned = np.zeros(size, np.int64) if turns is None else turns.astype(np.int64)
        batch = Batch(
            planes=np.zeros((size, game.points, game.planes), np.uint16),
            policy=np.zeros((size, game.actions), np.float32),
            policy_weight=np.zeros(size, np.float32),
            reply=np.zeros((size, game.actions), np.float32),
            value=np.zeros(size, np.float32),
            score=np.zeros(size, np.float32),
            ownership=np.zeros((size, game.points), np.float32),
            rank=np.zeros(size, np.int64),
            counting=np.full(size, self.counting, np.int64),
            short=np.zeros(size, np.float32),
            origin=np.zeros(size, ORIGIN),
        )
        out = (
            batch.planes, batch.policy, batch.policy_weight, batch.reply, batch.value,
            batch.score, batch.ownership, batch.rank, batch.short,
        )  # fmt: skip
        buffers = (
            np.zeros(game.actions, np.uint8),
            np.zeros((game.points, game.planes), np.uint16),
            HALVES,
        )
        symmetries = (game.point_symmetries, game.action_symmetries)
        ends = np.cumsum([len(rows) for rows in self._rows])
        which = np.searchsorted(ends, drawn, side="right")
        for t in np.unique(which):
            places = np.flatnonzero(which == t)
            local = drawn[places] - (ends[t] - len(self._rows[t]))
            rows = self._rows[t][local]
            owners = self._owners[t][local].astype(np.int64)
            fill_rows(
                self._tables[t], rows, owners, turned[places], places, symmetries, self._scratch,
                buffers, out,
            )  # fmt: skip
            if len(self._countings[t]):
                batch.counting[places] = self._countings[t][owners]
            source, numbers = self._sources[t]
            batch.origin["source"][places] = source
            batch.origin["game"][places] = numbers[owners]
            batch.origin["ply"][places] = rows - self._tables[t].offsets[owners]
        return batch
