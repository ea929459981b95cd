"""A window over the newest games, and training batches drawn from it.

Games are kept as moves and search targets, never as planes: a row's planes are made by replaying
its game up to that ply, a few microseconds in a kernel, so that a shard stays small and a change of
the planes does not spoil old shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.distinct import Keys, keys_of
from ghostgo.data.records import GameTable
from ghostgo.data.short import short_values, start_states
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, legal_mask, play, write_planes
from ghostgo.engine.games.go import is_go
from ghostgo.engine.jit import kernel

UNKNOWN = np.float32(np.nan)
ORIGIN = np.dtype([("source", "U24"), ("game", np.int32), ("ply", np.int32)])
"""Where a row comes from: the file's name as `ReplayWindow.add` was told it, game and ply from 0."""
# Numba has no float16: kernels see half floats as bits and look their value up here.
_HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


@dataclass
class Batch:
    """A training batch of B rows, everything from the row's side to move."""

    planes: NDArray[np.uint16]
    """(B, P, C) bfloat16 bits."""
    policy: NDArray[np.float32]
    """(B, A) target distribution."""
    policy_weight: NDArray[np.float32]
    """(B,)"""
    reply: NDArray[np.float32]
    """(B, A) the opponent's policy at the next ply; zeros where there is none."""
    value: NDArray[np.float32]
    """(B,) result: 1 win, 0 draw, -1 loss; nan where not to be learnt."""
    score: NDArray[np.float32]
    """(B,) final margin in points; nan where not to be learnt."""
    ownership: NDArray[np.float32]
    """(B, P) 1 own, 0 the opponent's, 0.5 neither; nan where not to be learnt."""
    rank: NDArray[np.int64]
    """(B,) rank of the side to move, by the codes of `GameTable.ranks`; 0 unknown or kept back."""
    counting: NDArray[np.int64]
    """(B,) how the points are counted, by the codes of `GameTable.counting`; 0 unknown or kept back."""
    short: NDArray[np.float32]
    """(B,) mean value of the search in the next moves, in [-1, 1] (see `short_values`); nan where it
    is unknown or not wanted."""
    origin: NDArray[np.void]
    """(B,) records of `ORIGIN`, so that a fault can be named."""

    def __len__(self) -> int:
        return len(self.value)

    def rows(self, first: int, last: int) -> Batch:
        """Rows first .. last-1, as views."""
        return Batch(*(getattr(self, field.name)[first:last] for field in fields(self)))

    def taken(self, order: NDArray[np.integer[Any]]) -> Batch:
        """Rows `order`, in that order, as copies."""
        return Batch(*(getattr(self, field.name)[order] for field in fields(self)))


def join(one: Batch, other: Batch) -> Batch:
    """The rows of both, in order."""
    names = [field.name for field in fields(Batch)]
    return Batch(*(np.concatenate([getattr(one, n), getattr(other, n)]) for n in names))


class _Games(NamedTuple):
    """One table as the kernel wants it: no optional arrays (absent ones are empty)."""

    starts: Any  # (K,) game records
    start_index: NDArray[np.int32]  # (G,)
    offsets: NDArray[np.int64]
    moves: NDArray[np.int16]
    policies: NDArray[np.uint16]  # (M, A) float16 bits, or (0, A): the move is the target
    weights: NDArray[np.float32]
    value_known: NDArray[np.uint8]  # (M,) 1 where value, score and ownership may be learnt
    results: NDArray[np.float32]
    scores: NDArray[np.float32]
    ranks: NDArray[np.int8]  # (G, 2)
    short: NDArray[np.float32]  # (M,) or (0,), for the first player
    ownership: NDArray[np.int8]  # (G, P) or (0, P)


@kernel
def _fill_policy(
    games: _Games,
    m: int,
    turn: NDArray[np.int32],
    halves: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    out[:] = 0.0
    if len(games.policies):
        for a in range(len(out)):
            out[turn[a]] = halves[games.policies[m, a]]
    else:
        out[turn[games.moves[m]]] = 1.0


@kernel
def _fill_rows(
    games: _Games,
    rows: NDArray[np.int64],
    owners: NDArray[np.int64],
    turns: NDArray[np.int64],
    places: NDArray[np.int64],
    symmetries: tuple[NDArray[np.int32], NDArray[np.int32]],
    scratch: Any,
    buffers: tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32]],
    out: Any,
) -> None:
    """Fill places[i] of the batch `out` with position rows[i] of game owners[i], turned."""
    planes, policy, policy_weight, reply, value, score, ownership, rank, short = out
    mask, plain, halves = buffers
    point_turns, action_turns = symmetries
    for i in range(len(rows)):
        m, g, b = rows[i], owners[i], places[i]
        point_turn, action_turn = point_turns[turns[i]], action_turns[turns[i]]
        scratch[0] = games.starts[games.start_index[g]]
        state = scratch[0]
        for k in range(games.offsets[g], m):
            play(state, games.moves[k])
        legal_mask(state, mask)
        write_planes(state, mask, plain)
        for p in range(len(point_turn)):
            planes[b, point_turn[p]] = plain[p]
        _fill_policy(games, m, action_turn, halves, policy[b])
        policy_weight[b] = games.weights[m]
        rank[b] = games.ranks[g, state.to_play]
        if m + 1 < games.offsets[g + 1]:
            _fill_policy(games, m + 1, action_turn, halves, reply[b])
        else:
            reply[b, :] = 0.0
        sign = np.float32(1.0) if state.to_play == 0 else np.float32(-1.0)
        short[b] = sign * games.short[m] if len(games.short) else UNKNOWN
        value[b] = UNKNOWN
        score[b] = UNKNOWN
        ownership[b, :] = UNKNOWN
        if games.value_known[m]:
            value[b] = sign * games.results[g]
            score[b] = sign * games.scores[g]
            if len(games.ownership):
                for p in range(len(point_turn)):
                    owner = sign * np.float32(games.ownership[g, p])
                    ownership[b, point_turn[p]] = np.float32(0.5) * (np.float32(1.0) + owner)


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
        self._tables: list[_Games] = []
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
            _Games(
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
            _HALVES,
        )
        symmetries = (game.point_symmetries, game.action_symmetries)
        ends = np.cumsum([len(rows) for rows in self._rows])
        which = np.searchsorted(ends, drawn, side="right")
        for t in np.unique(which):
            places = np.flatnonzero(which == t)
            local = drawn[places] - (ends[t] - len(self._rows[t]))
            rows = self._rows[t][local]
            owners = self._owners[t][local].astype(np.int64)
            _fill_rows(
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
