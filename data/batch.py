"""Positions of games as a training batch: replayed, turned and written into arrays by a kernel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import legal_mask, play, write_planes
from ghostgo.engine.jit import kernel

UNKNOWN = np.float32(np.nan)
ORIGIN = np.dtype([("source", "U24"), ("game", np.int32), ("ply", np.int32)])
"""Where a row comes from: the file's name as `ReplayWindow.add` was told it, game and ply from 0."""
HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""Numba has no float16: kernels see half floats as bits and look their value up here."""


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


class Games(NamedTuple):
    """Games as columns, as the kernel wants them: no optional arrays (absent ones are empty).

    K kinds of start, G games, M moves, A actions, P points.
    """

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
    games: Games,
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
def fill_rows(
    games: Games,
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
