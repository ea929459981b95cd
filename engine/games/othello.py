"""Othello on 8x8: two bitboards, bit 8 * row + col with row 0 at the top.

Moves and flips are found by shifting whole boards in the eight directions. A player who has no move
must pass (the last action); the game ends when neither has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine import coords, symmetry
from ghostgo.engine.games.common import mask_by_is_legal
from ghostgo.engine.games.game import (
    BF16_ONE,
    Game,
    Int,
    Mask,
    Planes,
    State,
    States,
    record_dtype,
    register_kernels,
)
from ghostgo.engine.jit import Rng, kernel, random_below

TAG = "othello"
VERSION = 1
SIDE, POINTS = 8, 64
PASS = POINTS
PLANE_NAMES = ("on_board", "own_stones", "opponent_stones", "where_a_stone_may_go")
DTYPE = record_dtype(
    TAG,
    [
        ("stones", np.uint64, (2,)),
        ("moves", np.uint64),  # where the side to move may put a stone
    ],
)

Bits: TypeAlias = Any  # np.uint64, a set of points
ZERO, ONE = np.uint64(0), np.uint64(1)
START = (np.uint64(1 << 28 | 1 << 35), np.uint64(1 << 27 | 1 << 36))
_ALL = (1 << 64) - 1
_NOT_LEFT, _NOT_RIGHT = _ALL ^ 0x0101010101010101, _ALL ^ 0x8080808080808080
# How far each direction shifts a board, and the cells that it may reach so without leaving a row.
# The first four go to higher bits, the others to lower ones.
_SHIFTS = np.array([1, 7, 8, 9, 1, 7, 8, 9], np.uint64)
_REACH = np.array(
    [_NOT_LEFT, _NOT_RIGHT, _ALL, _NOT_LEFT, _NOT_RIGHT, _NOT_LEFT, _ALL, _NOT_RIGHT], np.uint64
)
_BIT_PAIRS = np.uint64(0x5555555555555555)
_BIT_FOURS = np.uint64(0x3333333333333333)
_BIT_EIGHTS = np.uint64(0x0F0F0F0F0F0F0F0F)
# Zobrist words: stones by player, [2, 0] the second player to move.
_ZOBRIST = np.random.default_rng(20251004).integers(
    -(2**63), 2**63 - 1, size=(3, POINTS), dtype=np.int64
)
_FLIPPED = _ZOBRIST[0] ^ _ZOBRIST[1]


@kernel
def _shift(board: Bits, direction: Int) -> Bits:
    if direction < 4:
        return (board << _SHIFTS[direction]) & _REACH[direction]
    return (board >> _SHIFTS[direction]) & _REACH[direction]


@kernel
def _run_of(start: Bits, opponent: Bits, direction: Int) -> Bits:
    """The opponent's stones in an unbroken row from `start`, the start left out."""
    run = _shift(start, direction) & opponent
    for _ in range(SIDE - 3):
        run |= _shift(run, direction) & opponent
    return run


@kernel
def _moves(own: Bits, opponent: Bits) -> Bits:
    """Where the owner of `own` may put a stone."""
    reached = ZERO
    for direction in range(8):
        reached |= _shift(_run_of(own, opponent, direction), direction)
    return reached & ~(own | opponent)


@kernel
def _flips(point: Bits, own: Bits, opponent: Bits) -> Bits:
    """The opponent's stones that a new stone at `point` turns over."""
    flips = ZERO
    for direction in range(8):
        run = _run_of(point, opponent, direction)
        if _shift(run, direction) & own:
            flips |= run
    return flips


@kernel
def _count(board: Bits) -> Int:
    """Number of bits set."""
    pairs = board - ((board >> ONE) & _BIT_PAIRS)
    fours = (pairs & _BIT_FOURS) + ((pairs >> np.uint64(2)) & _BIT_FOURS)
    eights = (fours + (fours >> np.uint64(4))) & _BIT_EIGHTS
    total = np.int64(0)
    for _ in range(8):
        total += np.int64(eights & np.uint64(0xFF))
        eights >>= np.uint64(8)
    return total


@kernel
def _lowest(board: Bits) -> Int:
    """Number of the lowest bit set."""
    return _count((board & (~board + ONE)) - ONE)


@kernel
def _play(state: State, action: Int) -> None:
    player = state.to_play
    own, opponent = state.stones[player], state.stones[1 - player]
    if action != PASS:
        point = ONE << np.uint64(action)
        flips = _flips(point, own, opponent)
        own |= point | flips
        opponent ^= flips
        state.stones[player], state.stones[1 - player] = own, opponent
        state.hash ^= _ZOBRIST[player, action]
        while flips:
            state.hash ^= _FLIPPED[_lowest(flips)]
            flips &= flips - ONE
    state.hash ^= _ZOBRIST[2, 0]
    state.move_number += 1
    state.to_play = 1 - player
    state.moves = _moves(opponent, own)
    if not state.moves and not _moves(own, opponent):
        state.done = 1


@kernel
def _is_legal(state: State, action: Int) -> bool:
    if state.done:
        return False
    if action == PASS:
        return bool(not state.moves)
    return bool((state.moves >> np.uint64(action)) & ONE)


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
    own, opponent = state.stones[state.to_play], state.stones[1 - state.to_play]
    zero = np.uint16(0)
    for point in range(POINTS):
        bit = np.uint64(point)
        out[point, 0] = BF16_ONE
        out[point, 1] = BF16_ONE if (own >> bit) & ONE else zero
        out[point, 2] = BF16_ONE if (opponent >> bit) & ONE else zero
        out[point, 3] = BF16_ONE if mask[point] else zero


@kernel
def _score(state: State) -> float:
    return float(_count(state.stones[0]) - _count(state.stones[1]))


@kernel
def _outcome(state: State) -> float:
    margin = _score(state)
    return float(np.sign(margin if state.to_play == 0 else -margin))


@kernel
def _ownership(state: State, out: NDArray[np.int8]) -> None:
    for point in range(POINTS):
        bit = np.uint64(point)
        first, second = (state.stones[0] >> bit) & ONE, (state.stones[1] >> bit) & ONE
        out[point] = np.int64(first) - np.int64(second)


@kernel
def _rollout_action(state: State, rng: Rng) -> Int:
    moves = state.moves
    if not moves:
        return PASS
    for _ in range(random_below(rng, _count(moves))):
        moves &= moves - ONE
    return _lowest(moves)


register_kernels(
    TAG,
    play=_play,
    is_legal=_is_legal,
    legal_mask=mask_by_is_legal,
    write_planes=_write_planes,
    outcome=_outcome,
    score=_score,
    ownership=_ownership,
    rollout_action=_rollout_action,
)


def _initial(rules: Mapping[str, Any]) -> States:
    states = np.zeros(1, dtype=DTYPE).view(np.recarray)
    state = states[0]
    state.stones[:] = START
    state.moves = _moves(*START)
    return states


def make_game() -> Game:
    """Othello; Black begins, `score` is the difference in stones.

    Its symmetries are the four that keep the starting position.
    """
    points = symmetry.board_symmetries(SIDE, SIDE)
    black = [point for point in range(POINTS) if int(START[0]) >> point & 1]
    points = points[[sorted(row[black]) == black for row in points]]
    passes = np.full((len(points), 1), PASS, np.int32)
    return Game(
        name=TAG,
        version=VERSION,
        rows=SIDE,
        cols=SIDE,
        actions=POINTS + 1,
        plane_names=PLANE_NAMES,
        policy_head="points_and_pass",
        max_moves=2 * (POINTS - 4),  # a pass is always followed by a stone
        dtype=DTYPE,
        initial=_initial,
        point_symmetries=points,
        action_symmetries=np.concatenate([points, passes], axis=1),
        action_name=partial(coords.to_gtp, rows=SIDE, cols=SIDE),
        parse_action=partial(coords.from_gtp, rows=SIDE, cols=SIDE),
        has_ownership=True,
        has_score=True,
    )
