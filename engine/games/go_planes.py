"""The feature planes of Go: what the network sees. `docs/rules.md` lists them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import BF16_ONE, Int, Mask, Planes, State
from ghostgo.engine.games.go_board import (
    EMPTY,
    RECENT,
    SIMPLE,
    SITUATIONAL,
    around,
    in_atari,
    to_action,
)
from ghostgo.engine.jit import kernel

PLANE_NAMES = (
    "on_board",
    "own_stones",
    "opponent_stones",
    "chain_1_liberty",
    "chain_2_liberties",
    "chain_3_liberties",
    "empty_but_illegal",
    "last_move",
    "move_before_1",
    "move_before_2",
    "move_before_3",
    "move_before_4",
    "last_move_was_pass",
    "komi_for_side_to_move",
    "simple_ko_rule",
    "situational_superko_rule",
    "suicide_allowed",
)
KOMI_SCALE = 16.0
"""Komi is shown to the network in units of this many points."""


@kernel
def _liberties_up_to_4(state: State, head: Int) -> Int:
    """The chain's true liberties, 4 standing for "4 or more"."""
    pseudo = np.int64(state.liberties[head])
    second_stone = np.int64(state.follow[head])
    if pseudo > 12 or np.int64(state.follow[second_stone]) == head:
        # A point is next to at most four stones; stones of a chain of one or two share no liberty.
        return min(pseudo, 4)
    if in_atari(state, head):
        return 1
    first, second, third = np.int64(-1), np.int64(-1), np.int64(-1)
    point = np.int64(head)
    while True:
        for other in around(state, point):
            if state.board[other] != EMPTY or other == first or other == second:
                continue
            if first < 0:
                first = other
            elif second < 0:
                second = other
            elif third < 0:
                third = other
            elif other != third:
                return 4
        point = np.int64(state.follow[point])
        if point == head:
            break
    return 1 + (second >= 0) + (third >= 0)


@kernel
def _mark_chain(state: State, head: Int, plane: Int, out: Planes) -> None:
    point = np.int64(head)
    while True:
        out[to_action(state, point), plane] = BF16_ONE
        point = np.int64(state.follow[point])
        if point == head:
            break


@kernel
def _fill(row: NDArray[np.uint16], out: Planes) -> None:
    """Every row of `out` (P, C) like `row` (C,), by doubling what is there.

    Loops, since an assignment of slices looks for overlaps and then goes item by item.
    """
    flat = out.reshape(-1)
    done = len(row)
    for i in range(done):
        flat[i] = row[i]
    while done < len(flat):
        step = min(done, len(flat) - done)
        source, target = flat[:step], flat[done : done + step]
        for i in range(step):
            target[i] = source[i]
        done += step


@kernel
def write_planes(state: State, mask: Mask, out: Planes) -> None:
    """Every cell of `out` (P, C), as bfloat16 bits; `mask` is the state's legal mask."""
    rows, cols = state.captured.shape
    n = rows * cols
    own = state.to_play + 1
    zero = np.uint16(0)
    constant = np.zeros(out.shape[1], np.uint16)
    constant[0] = BF16_ONE
    constant[12] = BF16_ONE if state.recent[0] == n else zero
    constant[13] = state.komi_plane[state.to_play]
    constant[14] = BF16_ONE if state.ko_rule == SIMPLE else zero
    constant[15] = BF16_ONE if state.ko_rule == SITUATIONAL else zero
    constant[16] = BF16_ONE if state.suicide else zero
    _fill(constant, out)
    for row in range(rows):
        for col in range(cols):
            point = (row + 1) * (cols + 1) + col + 1
            action = row * cols + col
            stone = state.board[point]
            if stone == EMPTY:
                out[action, 6] = zero if mask[action] else BF16_ONE
                continue
            out[action, 1 if stone == own else 2] = BF16_ONE
            if state.head[point] == point:
                liberties = _liberties_up_to_4(state, point)
                if liberties < 4:
                    _mark_chain(state, point, 2 + liberties, out)
    for i in range(RECENT):
        if 0 <= state.recent[i] < n:
            out[state.recent[i], 7 + i] = BF16_ONE


def komi_bits(komi: float) -> np.uint16:
    """Komi in units of KOMI_SCALE, rounded half up to bfloat16, as its bit pattern."""
    bits = int(np.float32(komi / KOMI_SCALE).view(np.uint32))
    return np.uint16((bits + 0x8000) >> 16)
