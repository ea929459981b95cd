"""Connect Four: stones fall to the foot of a column, four in a row win.

Bitboards, a column after another from the left, each with one spare bit on top that is always
clear, so that shifted boards do not run from one column into the next: the cell `height` stones up
in column `col` is bit `col * (rows + 1) + height`. The standard board is 6 rows by 7 columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ghostgo.engine import symmetry
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

TAG = "connect_four"
VERSION = 1
ROWS, COLS = 6, 7
MIN_SIDE, MAX_COLS, MAX_BITS = 4, 12, 63
PLANE_NAMES = ("on_board", "own_stones", "opponent_stones", "where_a_stone_would_land")
DTYPE = record_dtype(
    TAG,
    [
        ("rows", np.uint8),
        ("cols", np.uint8),
        ("winner", np.int8),  # 1 first player, -1 second, 0 nobody (yet)
        ("heights", np.int8, (MAX_COLS,)),  # stones in each column
        ("stones", np.int64, (2,)),  # each player's cells
    ],
)

_ONE = np.int64(BF16_ONE)

# Zobrist words: stones by player, [2, 0] the second player to move.
_ZOBRIST = np.random.default_rng(20251003).integers(
    -(2**63), 2**63 - 1, size=(3, MAX_BITS), dtype=np.int64
)


@kernel
def _has_four(stones: Int, stride: Int) -> bool:
    """Whether four of the cells stand in a row; `stride` is the number of bits a column."""
    for step in (1, stride - 1, stride, stride + 1):
        pairs = stones & (stones >> np.int64(step))
        if pairs & (pairs >> np.int64(2 * step)):
            return True
    return False


@kernel
def _play(state: State, action: Int) -> None:
    player = state.to_play
    stride = np.int64(state.rows) + 1
    cell = action * stride + state.heights[action]
    own = state.stones[player] | (np.int64(1) << np.int64(cell))
    state.stones[player] = own
    state.heights[action] += 1
    state.hash ^= _ZOBRIST[player, cell] ^ _ZOBRIST[2, 0]
    state.move_number += 1
    state.to_play = 1 - player
    if _has_four(own, stride):
        state.winner = 1 - 2 * player
        state.done = 1
    elif state.move_number == np.int64(state.rows) * np.int64(state.cols):
        state.done = 1


@kernel
def _is_legal(state: State, action: Int) -> bool:
    return not state.done and state.heights[action] < state.rows


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
    own, opponent = state.stones[state.to_play], state.stones[1 - state.to_play]
    rows, cols = np.int64(state.rows), np.int64(state.cols)
    words = out.view(np.int64)  # a point's four planes at once, the first one lowest
    for col in range(cols):
        lands = np.int64(state.heights[col]) if mask[col] else rows
        own_column = own >> np.int64(col * (rows + 1))
        opponent_column = opponent >> np.int64(col * (rows + 1))
        point = (rows - 1) * cols + col
        for height in range(rows):
            stones = (own_column & 1) << 16 | (opponent_column & 1) << 32
            words[point, 0] = _ONE * (1 | stones | np.int64(height == lands) << 48)
            own_column >>= np.int64(1)
            opponent_column >>= np.int64(1)
            point -= cols


@kernel
def _rollout_action(state: State, rng: Rng) -> Int:
    while True:
        action = random_below(rng, state.cols)
        if state.heights[action] < state.rows:
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


def _initial(rows: int, cols: int, rules: Mapping[str, Any]) -> States:
    states = np.zeros(1, dtype=DTYPE).view(np.recarray)
    states[0].rows, states[0].cols = rows, cols
    return states


def _column_name(action: int) -> str:
    return str(action + 1)


def _parse_column(text: str, cols: int) -> int:
    number = int(text) if text.strip().isascii() and text.strip().isdigit() else 0
    if not 1 <= number <= cols:
        raise UserError(f"{text!r} is not a column: 1 to {cols}")
    return number - 1


def make_game(rows: int = ROWS, cols: int = COLS) -> Game:
    """Connect Four; action = column from the left.

    Raises UserError for a board under 4x4 or beyond 63 bits.
    """
    if min(rows, cols) < MIN_SIDE or cols > MAX_COLS or (rows + 1) * cols > MAX_BITS:
        raise UserError(f"a Connect Four board of {rows}x{cols} is too small or too large")
    columns = np.arange(cols, dtype=np.int32)
    return Game(
        name=TAG if (rows, cols) == (ROWS, COLS) else f"{TAG}_{rows}x{cols}",
        version=VERSION,
        rows=rows,
        cols=cols,
        actions=cols,
        plane_names=PLANE_NAMES,
        policy_head="flat",
        max_moves=rows * cols,
        dtype=DTYPE,
        initial=partial(_initial, rows, cols),
        point_symmetries=symmetry.mirror_columns(rows, cols),
        action_symmetries=np.stack([columns, columns[::-1]]),
        action_name=_column_name,
        parse_action=partial(_parse_column, cols=cols),
        player_names=("Red", "Yellow"),
    )
