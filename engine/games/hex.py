"""Hex on a rhombus of any size, without the swap rule.

The first player joins top and bottom, the second left and right. Cell (row, col) touches (row,
col +- 1), (row +- 1, col), (row - 1, col + 1) and (row + 1, col - 1). Cells lie in an array padded
by one all round; the padding of the top and bottom rows belongs to the first player, that of the
left and right columns to the second, each side one chain from the start. Chains are kept by
union-find, so a game is over when a player's two sides have the same root.
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

TAG = "hex"
VERSION = 1
MIN_SIDE, MAX_SIDE = 2, 19
EMPTY, FIRST_STONE, SECOND_STONE = 0, 1, 2
PLANE_NAMES = ("on_board", "own_stones", "opponent_stones", "first_player_to_move")

# Zobrist words by padded cell: stones by player, [2, 0] the second player to move.
_ZOBRIST = np.random.default_rng(20251005).integers(
    -(2**63), 2**63 - 1, size=(3, (MAX_SIDE + 2) ** 2), dtype=np.int64
)


@cache
def state_dtype(side: int) -> np.dtype[Any]:
    """The state record of a side x side board."""
    padded = (side + 2) ** 2
    return record_dtype(
        TAG,
        [
            ("winner", np.int8),  # 1 first player, -1 second, 0 nobody yet
            ("empties", np.int16),  # number of empty cells
            ("cells", np.uint8, (side + 2, side + 2)),
            ("parent", np.int16, (padded,)),  # union-find: a root is its own parent
            ("empty", np.int16, (side * side,)),  # the empty actions, in no particular order
            ("empty_index", np.int16, (side * side,)),  # where each of them stands in `empty`
        ],
    )


@kernel
def _root(state: State, cell: Int) -> Int:
    """The chain's root; halves the path to it on the way."""
    parent = np.int64(state.parent[cell])
    while parent != cell:
        above = state.parent[parent]
        state.parent[cell] = above
        cell = np.int64(above)
        parent = np.int64(state.parent[cell])
    return cell


@kernel
def _play(state: State, action: Int) -> None:
    player = np.int64(state.to_play)
    width = state.cells.shape[1]
    side = width - 2
    row, col = action // side + 1, action % side + 1
    state.cells[row, col] = player + 1
    cell = row * width + col
    root = np.int64(cell)
    for down, right in ((-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0)):
        if state.cells[row + down, col + right] == player + 1:
            other = _root(state, np.int64(cell + down * width + right))
            state.parent[root] = other
            root = other
    _drop_empty(state, action)
    state.hash ^= _ZOBRIST[player, cell] ^ _ZOBRIST[2, 0]
    state.move_number += 1
    state.to_play = 1 - player
    # One cell of either side: top and bottom for the first player, left and right for the second.
    start, end = (1, width * width - 2) if player == 0 else (width, width * width - width - 1)
    if _root(state, np.int64(start)) == _root(state, np.int64(end)):
        state.winner = 1 - 2 * player
        state.done = 1


@kernel
def _drop_empty(state: State, action: Int) -> None:
    """Take an action off the list of empty cells; the last of the list takes its place."""
    state.empties -= 1
    last = state.empty[state.empties]
    index = state.empty_index[action]
    state.empty[index] = last
    state.empty_index[last] = index


@kernel
def _is_legal(state: State, action: Int) -> bool:
    side = state.cells.shape[1] - 2
    return not state.done and state.cells[action // side + 1, action % side + 1] == EMPTY


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
    side = state.cells.shape[1] - 2
    own = state.to_play + 1
    zero = np.uint16(0)
    first = BF16_ONE if state.to_play == 0 else zero
    for action in range(side * side):
        stone = state.cells[action // side + 1, action % side + 1]
        out[action, 0] = BF16_ONE
        out[action, 1] = BF16_ONE if stone == own else zero
        out[action, 2] = BF16_ONE if stone == 3 - own else zero
        out[action, 3] = first


@kernel
def _rollout_action(state: State, rng: Rng) -> Int:
    return np.int64(state.empty[random_below(rng, state.empties)])


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
    state = states[0]
    parent = np.arange((side + 2) ** 2).reshape(side + 2, side + 2)
    # Corners belong to nobody but the two that a side of each player would share: left as they are.
    parent[0, 1:-1], parent[-1, 1:-1] = parent[0, 1], parent[-1, -2]
    parent[1:-1, 0], parent[1:-1, -1] = parent[1, 0], parent[-2, -1]
    state.parent[:] = parent.reshape(-1)
    state.cells[0, 1:-1] = state.cells[-1, 1:-1] = FIRST_STONE
    state.cells[1:-1, 0] = state.cells[1:-1, -1] = SECOND_STONE
    state.empties = side * side
    state.empty[:] = state.empty_index[:] = np.arange(side * side)
    return states


def make_game(side: int) -> Game:
    """Hex on a side x side board; the first player joins top and bottom.

    Raises UserError outside 2 .. 19.
    """
    if not MIN_SIDE <= side <= MAX_SIDE:
        raise UserError(f"a Hex board of side {side} is not between {MIN_SIDE} and {MAX_SIDE}")
    points = symmetry.board_symmetries(side, side)[[0, 3]]  # as it is, and turned by half
    return Game(
        name=f"hex{side}",
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
        player_names=("Red", "Blue"),
    )
