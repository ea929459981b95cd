"""Gomoku (freestyle) on a square board: five or more in a row win, a full board is a draw.

Cells lie in an array padded by one all round with a stone of neither player, so that counting along
a line needs no test for the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from ghostgo.engine import coords, symmetry
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.common import (
    mask_by_is_legal,
    no_ownership,
    outcome_of_winner,
    score_of_winner,
)
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

TAG = "gomoku"
VERSION = 1
MIN_SIDE, MAX_SIDE = 5, 19
IN_A_ROW = 5
EMPTY, EDGE = 0, 3  # 1 and 2 are the players' stones
PLANE_NAMES = ("on_board", "own_stones", "opponent_stones")

# Zobrist words by padded cell: stones by player, [2, 0] the second player to move.
_ZOBRIST = np.random.default_rng(20251121).integers(
    -(2**63), 2**63 - 1, size=(3, (MAX_SIDE + 2) ** 2), dtype=np.int64
)


@cache
def state_dtype(side: int) -> np.dtype[Any]:
    """The state record of a side x side board."""
    return record_dtype(
        TAG,
        [
            ("winner", np.int8),  # 1 first player, -1 second, 0 nobody (yet)
            ("cells", np.uint8, (side + 2, side + 2)),
        ],
    )


@kernel
def _run_length(state: State, row: Int, col: Int, down: Int, right: Int) -> Int:
    """Stones like the one at (row, col) in an unbroken line through it, itself included."""
    stone = state.cells[row, col]
    length = 1
    for sign in (-1, 1):
        r, c = row + sign * down, col + sign * right
        while state.cells[r, c] == stone:
            length += 1
            r, c = r + sign * down, c + sign * right
    return length


@kernel
def _play(state: State, action: Int) -> None:
    player = np.int64(state.to_play)
    width = state.cells.shape[1]
    side = width - 2
    row, col = action // side + 1, action % side + 1
    state.cells[row, col] = player + 1
    state.hash ^= _ZOBRIST[player, row * width + col] ^ _ZOBRIST[2, 0]
    state.move_number += 1
    state.to_play = 1 - player
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        if _run_length(state, row, col, down, right) >= IN_A_ROW:
            state.winner = 1 - 2 * player
            state.done = 1
    if state.move_number == side * side:
        state.done = 1


@kernel
def _is_legal(state: State, action: Int) -> bool:
    side = state.cells.shape[1] - 2
    return not state.done and state.cells[action // side + 1, action % side + 1] == EMPTY


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
    side = state.cells.shape[1] - 2
    own = state.to_play + 1
    zero = np.uint16(0)
    for action in range(side * side):
        stone = state.cells[action // side + 1, action % side + 1]
        out[action, 0] = BF16_ONE
        out[action, 1] = BF16_ONE if stone == own else zero
        out[action, 2] = BF16_ONE if stone == 3 - own else zero


@kernel
def _rollout_action(state: State, rng: Rng) -> Int:
    side = state.cells.shape[1] - 2
    while True:
        action = random_below(rng, side * side)
        if state.cells[action // side + 1, action % side + 1] == EMPTY:
            return action


register_kernels(
    TAG,
    play=_play,
    is_legal=_is_legal,
    legal_mask=mask_by_is_legal,
    write_planes=_write_planes,
    outcome=outcome_of_winner,
    score=score_of_winner,
    ownership=no_ownership,
    rollout_action=_rollout_action,
)


def _initial(side: int, rules: Mapping[str, Any]) -> States:
    states = np.zeros(1, dtype=state_dtype(side)).view(np.recarray)
    cells = states[0].cells
    cells[[0, -1], :] = EDGE
    cells[:, [0, -1]] = EDGE
    return states


def make_game(side: int) -> Game:
    """Freestyle Gomoku on a side x side board.

    Raises UserError outside 5 .. 19.
    """
    if not MIN_SIDE <= side <= MAX_SIDE:
        raise UserError(f"a Gomoku board of side {side} is not between {MIN_SIDE} and {MAX_SIDE}")
    points = symmetry.board_symmetries(side, side)
    return Game(
        name=f"gomoku{side}",
        version=VERSION,
        rows=side,
        cols=side,
        actions=side * side,
        plane_names=PLANE_NAMES,
        policy_head="points",
        max_moves=side * side,
        dtype=state_dtype(side),
        initial=partial(_initial, side),
        point_symmetries=points,
        action_symmetries=points,
        action_name=partial(coords.to_gtp, rows=side, cols=side),
        parse_action=partial(coords.from_name, rows=side, cols=side),
    )
