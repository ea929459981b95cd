"""The feature planes of Go: what the network sees. `docs/rules.md` lists them."""

from __future__ import annotations

import numpy as np

from ghostgo.engine.games.game import BF16_ONE, Int, Mask, Planes, State
from ghostgo.engine.games.go_board import (
    EMPTY,
    RECENT,
    SIMPLE,
    SITUATIONAL,
    around,
    in_atari,
    to_action,
    to_point,
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
def write_planes(state: State, mask: Mask, out: Planes) -> None:
    """Every cell of `out` (P, C), as bfloat16 bits; `mask` is the state's legal mask."""
    n = state.captured.size
    own = state.to_play + 1
    zero = np.uint16(0)
    passed = BF16_ONE if state.recent[0] == n else zero
    komi = state.komi_plane[state.to_play]
    simple = BF16_ONE if state.ko_rule == SIMPLE else zero
    situational = BF16_ONE if state.ko_rule == SITUATIONAL else zero
    suicide = BF16_ONE if state.suicide else zero
    for action in range(n):
        row = out[action]
        stone = state.board[to_point(state, action)]
        row[0] = BF16_ONE
        row[1] = BF16_ONE if stone == own else zero
        row[2] = BF16_ONE if stone == 3 - own else zero
        row[3:6] = zero
        row[6] = BF16_ONE if stone == EMPTY and not mask[action] else zero
        row[7:12] = zero
        row[12] = passed
        row[13] = komi
        row[14] = simple
        row[15] = situational
        row[16] = suicide
    for action in range(n):
        point = to_point(state, action)
        if state.board[point] != EMPTY and state.head[point] == point:
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
