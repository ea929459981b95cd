"""Tic-tac-toe: two bitboards of nine bits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ghostgo.engine import coords, symmetry
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

TAG = "tic_tac_toe"
VERSION = 1
SIDE, POINTS = 3, 9
FULL = (1 << POINTS) - 1
PLANE_NAMES = ("on_board", "own_stones", "opponent_stones")
DTYPE = record_dtype(
    TAG,
    [
        ("winner", np.int8),  # 1 first player, -1 second, 0 nobody (yet)
        ("stones", np.int64, (2,)),  # bit p: that player holds point p
    ],
)

_LINES = np.array([0o007, 0o070, 0o700, 0o111, 0o222, 0o444, 0o421, 0o124], np.int64)
# Zobrist words: stones by player, [2, 0] the second player to move.
_ZOBRIST = np.random.default_rng(20251002).integers(
    -(2**63), 2**63 - 1, size=(3, POINTS), dtype=np.int64
)


@kernel
def _play(state: State, action: Int) -> None:
    player = state.to_play
    own = state.stones[player] | (np.int64(1) << np.int64(action))
    state.stones[player] = own
    state.hash ^= _ZOBRIST[player, action] ^ _ZOBRIST[2, 0]
    state.move_number += 1
    state.to_play = 1 - player
    for line in _LINES:
        if own & line == line:
            state.winner = 1 - 2 * player
            state.done = 1
    if state.stones[0] | state.stones[1] == FULL:
        state.done = 1


@kernel
def _is_legal(state: State, action: Int) -> bool:
    taken = state.stones[0] | state.stones[1]
    return not state.done and not (taken >> np.int64(action)) & 1


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
    own, opponent = state.stones[state.to_play], state.stones[1 - state.to_play]
    zero = np.uint16(0)
    for point in range(POINTS):
        out[point, 0] = BF16_ONE
        out[point, 1] = BF16_ONE if (own >> point) & 1 else zero
        out[point, 2] = BF16_ONE if (opponent >> point) & 1 else zero


@kernel
def _rollout_action(state: State, rng: Rng) -> Int:
    taken = state.stones[0] | state.stones[1]
    while True:
        action = random_below(rng, POINTS)
        if not (taken >> np.int64(action)) & 1:
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


def _initial(rules: Mapping[str, Any]) -> States:
    return np.zeros(1, dtype=DTYPE).view(np.recarray)


def make_game() -> Game:
    """Tic-tac-toe: nine points, three in a row wins, a full board draws."""
    points = symmetry.board_symmetries(SIDE, SIDE)
    return Game(
        name=TAG,
        version=VERSION,
        rows=SIDE,
        cols=SIDE,
        actions=POINTS,
        plane_names=PLANE_NAMES,
        policy_head="points",
        max_moves=POINTS,
        dtype=DTYPE,
        initial=_initial,
        point_symmetries=points,
        action_symmetries=points,
        action_name=partial(coords.to_gtp, rows=SIDE, cols=SIDE),
        parse_action=partial(coords.from_name, rows=SIDE, cols=SIDE),
        player_names=("X", "O"),
    )
