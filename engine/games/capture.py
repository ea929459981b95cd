"""A capture bot for Go: a fixed opponent a little above random, one kernel a move.

It takes the largest capture there is; else it extends its largest chain in atari whose extension
gets out of atari; else it plays at random, leaving its own eyes alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import State, States, is_legal, play, rollout_action
from ghostgo.engine.games.go_board import (
    EMPTY,
    NO_POINT,
    around,
    fills_last_liberty,
    in_atari,
    to_action,
    to_point,
)
from ghostgo.engine.jit import Rng, kernel, random_below


@kernel
def _chain_size(state: State, head: int) -> int:
    size = 1
    point = int(state.follow[head])
    while point != head:
        size += 1
        point = int(state.follow[point])
    return size


@kernel
def _captured_by(state: State, point: int, colour: int) -> int:
    """Number of enemy stones that `colour` would take by playing the empty `point`."""
    seen = np.empty(4, np.int64)
    count, stones = 0, 0
    for other in around(state, point):
        if state.board[other] != 3 - colour:
            continue
        head = int(state.head[other])
        known = False
        for i in range(count):
            known |= seen[i] == head
        if not known and fills_last_liberty(state, head, point):
            stones += _chain_size(state, head)
        seen[count] = head
        count += 1
    return stones


@kernel
def _largest_capture(state: State, rng: Rng) -> int:
    """The legal action that takes the most stones, ties at random; -1 if none takes any."""
    colour = state.to_play + 1
    best, most, ties = -1, 0, 0
    for action in range(state.captured.size):
        point = to_point(state, action)
        if state.board[point] != EMPTY:
            continue
        stones = _captured_by(state, point, colour)
        if stones == 0 or stones < most or not is_legal(state, action):
            continue
        ties = ties + 1 if stones == most else 1
        if stones > most or random_below(rng, ties) == 0:
            best, most = action, stones
    return best


@kernel
def _rescue(states: States) -> int:
    """The legal extension that gets the largest own chain out of atari; -1 if there is none.

    `states[0]` is the position, `states[1]` scratch.
    """
    state = states[0]
    colour = state.to_play + 1
    best, most = -1, 0
    for action in range(state.captured.size):
        point = to_point(state, action)
        if state.board[point] != colour or state.head[point] != point:
            continue
        if not in_atari(state, point) or _chain_size(state, point) <= most:
            continue
        liberty = int(state.liberty_sum[point]) // int(state.liberties[point])
        escape = to_action(state, liberty)
        if not is_legal(state, escape):
            continue
        states[1] = states[0]
        play(states[1], escape)
        if not in_atari(states[1], states[1].head[liberty]):
            best, most = escape, _chain_size(state, point)
    return best


@kernel
def capture_action(states: States, rng: Rng) -> int:
    """The capture bot's action in the unfinished `states[0]`; `states[1]` is scratch."""
    action = _largest_capture(states[0], rng)
    if action == NO_POINT:
        action = _rescue(states)
    if action == NO_POINT:
        action = rollout_action(states[0], rng)
    return action


@kernel
def capture_actions(
    states: States, scratch: States, seeds: NDArray[np.uint64], out: NDArray[np.int32]
) -> None:
    """The bot's action for each state (n,) into `out` (n,); row i depends on `seeds[i]`.

    `scratch` holds two states.
    """
    rng = np.empty(1, np.uint64)
    for i in range(len(states)):
        rng[0] = seeds[i]
        scratch[0] = states[i]
        out[i] = capture_action(scratch, rng)
