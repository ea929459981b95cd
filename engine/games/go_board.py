"""The Go board: chains, captures, suicide and ko, on a padded one-dimensional array.

Point (row, col) with row 0 at the top lies at `(row + 1) * (cols + 1) + col + 1`, neighbours are at
-1, +1, -(cols + 1), +(cols + 1), and whatever is off the board holds BORDER. Chains are circular
linked lists with pseudo-liberties (each liberty counted once per adjacent stone) and their sum and
sum of squares, which tell an atari at once: all of a chain's pseudo-liberties are one point when
n * sum_of_squares == sum ** 2.

Positional superko costs little: a position can only come back by filling a point from which a
stone of the same colour was once captured, so the history is searched for such moves alone.

Inside kernels a `point` is an index into the padded array, an `action` counts row by row.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ghostgo.engine.games.game import Int, State, record_dtype
from ghostgo.engine.jit import kernel

TAG = "go"
EMPTY, BLACK, WHITE, BORDER = 0, 1, 2, 3
POSITIONAL, SITUATIONAL, SIMPLE = 0, 1, 2
NO_POINT = -1
RECENT = 5
"""How many last moves the planes show."""
MIN_SIZE, MAX_SIZE = 2, 19
MAX_PADDED = (MAX_SIZE + 2) * (MAX_SIZE + 1) + 1
MOVES_PER_POINT, SHORTEST_LIMIT = 3, 60
"""A game ends, and is scored as it stands, after so many moves a point, or this many if more."""

# Zobrist words: [0] and [1] stones by colour, [2] the side to move (index 0) and the ko point.
_ZOBRIST = np.random.default_rng(20251001).integers(
    -(2**63), 2**63 - 1, size=(3, MAX_PADDED), dtype=np.int64
)


def most_moves(rows: int, cols: int) -> int:
    """The highest move limit, and the default one."""
    return max(MOVES_PER_POINT * rows * cols, SHORTEST_LIMIT)


@cache
def state_dtype(rows: int, cols: int) -> np.dtype[Any]:
    """The state record of a rows x cols board."""
    padded = (rows + 2) * (cols + 1) + 1
    return record_dtype(
        TAG,
        [
            ("passes", np.uint8),  # passes in a row
            ("ko_rule", np.uint8),
            ("suicide", np.uint8),  # 1: a move may remove one's own chain of two stones or more
            ("history_length", np.int32),
            ("move_limit", np.int32),
            ("ko_point", np.int16),  # padded point that the last move made a simple ko, or -1
            ("empties", np.uint16),  # number of empty points
            ("komi", np.float32),
            ("position_hash", np.int64),  # stones only
            ("rules_hash", np.int64),
            ("captures", np.int16, (2,)),  # stones taken by each player
            ("recent", np.int16, (RECENT,)),  # last actions, newest first, -1 before the start
            ("komi_plane", np.uint16, (2,)),  # bf16 bits of komi / KOMI_SCALE for each side
            ("board", np.uint8, (padded,)),
            ("captured", np.uint8, (rows, cols)),  # bit c-1: a stone of colour c was taken here
            ("head", np.uint16, (padded,)),  # a chain's representative point
            ("follow", np.uint16, (padded,)),  # next stone of the chain, circular
            ("liberties", np.int16, (padded,)),  # at the head: pseudo-liberties
            ("liberty_sum", np.int32, (padded,)),
            ("liberty_squares", np.int32, (padded,)),
            ("empty", np.uint16, (rows * cols,)),  # the empty points, in no particular order
            ("empty_index", np.uint16, (padded,)),  # where each of them stands in `empty`
            ("history", np.int64, (most_moves(rows, cols) + 1,)),  # superko keys so far
        ],
    )


@kernel
def around(state: State, point: Int) -> tuple[Int, Int, Int, Int]:
    """The next points up, left, right and down."""
    width = state.captured.shape[1] + 1
    return point - width, point - 1, point + 1, point + width


@kernel
def to_point(state: State, action: Int) -> Int:
    """The padded point of a board action."""
    cols = state.captured.shape[1]
    action = np.int64(action)
    return (action // cols + 1) * (cols + 1) + action % cols + 1


@kernel
def to_action(state: State, point: Int) -> Int:
    """The action of a padded point."""
    cols = state.captured.shape[1]
    return ((point - 1) // (cols + 1) - 1) * cols + (point - 1) % (cols + 1)


@kernel
def _is_stone(stone: Int) -> Int:
    """1 for BLACK and WHITE, 0 for EMPTY and BORDER, without a branch to mispredict."""
    return (np.int64(stone) + 1) >> 1 & 1


@kernel
def _add_liberties(state: State, head: Int, point: Int, count: Int) -> None:
    """Count `point` as a liberty of the chain `count` times more (0, 1 or -1)."""
    state.liberties[head] += count
    state.liberty_sum[head] += count * point
    state.liberty_squares[head] += count * point * point


@kernel
def in_atari(state: State, head: Int) -> bool:
    """Whether the chain has exactly one liberty."""
    n = np.int64(state.liberties[head])
    total = np.int64(state.liberty_sum[head])
    return bool(n > 0 and n * np.int64(state.liberty_squares[head]) == total * total)


@kernel
def fills_last_liberty(state: State, head: Int, point: Int) -> bool:
    """Whether `point`, next to the chain, is its only liberty."""
    n = np.int64(state.liberties[head])
    return bool(
        state.liberty_sum[head] == n * point and state.liberty_squares[head] == n * point * point
    )


@kernel
def _merge(state: State, a: Int, b: Int) -> None:
    """Join the chains with heads a and b; a stays the head."""
    state.liberties[a] += state.liberties[b]
    state.liberty_sum[a] += state.liberty_sum[b]
    state.liberty_squares[a] += state.liberty_squares[b]
    point = np.int64(b)
    while True:
        state.head[point] = a
        point = np.int64(state.follow[point])
        if point == b:
            break
    state.follow[a], state.follow[b] = state.follow[b], state.follow[a]


@kernel
def remove_chain(state: State, head: Int) -> Int:
    """Take the chain off the board; returns its number of stones."""
    colour = state.board[head]
    width = state.captured.shape[1] + 1
    stones = 0
    point = np.int64(head)
    while True:
        state.board[point] = EMPTY
        state.position_hash ^= _ZOBRIST[colour - 1, point]
        state.captured[(point - 1) // width - 1, (point - 1) % width] |= colour
        _append_empty(state, point)
        stones += 1
        for other in around(state, point):
            _add_liberties(state, state.head[other], point, _is_stone(state.board[other]))
        point = np.int64(state.follow[point])
        if point == head:
            break
    return stones


@kernel
def _append_empty(state: State, point: Int) -> None:
    state.empty[state.empties] = point
    state.empty_index[point] = state.empties
    state.empties += 1


@kernel
def _drop_empty(state: State, point: Int) -> None:
    """Take a point off the list of empty ones; the last of the list takes its place."""
    state.empties -= 1
    last = state.empty[state.empties]
    index = state.empty_index[point]
    state.empty[index] = last
    state.empty_index[last] = index


@kernel
def place(state: State, point: Int, colour: Int) -> Int:
    """Put a stone, capture what it captures; returns the number of stones captured.

    A chain of `colour` left without liberties stays (the caller removes it: suicide).
    """
    _drop_empty(state, point)
    state.board[point] = colour
    state.position_hash ^= _ZOBRIST[colour - 1, point]
    state.head[point] = point
    state.follow[point] = point
    liberties, total, squares = np.int64(0), np.int64(0), np.int64(0)
    for other in around(state, point):
        stone = state.board[other]
        empty = np.int64(stone == EMPTY)
        liberties += empty
        total += empty * other
        squares += empty * other * other
        # The head of an empty point is an old one: it gets nothing added, and no branch is taken.
        _add_liberties(state, state.head[other], point, -_is_stone(stone))
    state.liberties[point] = liberties
    state.liberty_sum[point] = total
    state.liberty_squares[point] = squares
    taken = 0
    for other in around(state, point):
        if state.board[other] == colour:
            _join(state, np.int64(state.head[point]), np.int64(state.head[other]))
        elif state.board[other] == 3 - colour and state.liberties[state.head[other]] == 0:
            taken += remove_chain(state, np.int64(state.head[other]))
    return taken


@kernel
def _join(state: State, a: Int, b: Int) -> None:
    """Make one chain of the chains with heads a and b."""
    if a != b:
        # Relabel the chain that has fewer liberties: likely the shorter one.
        if state.liberties[a] < state.liberties[b]:
            _merge(state, b, a)
        else:
            _merge(state, a, b)


@kernel
def _history_key(state: State, position_hash: Int, to_play: Int) -> Int:
    if state.ko_rule == SITUATIONAL and to_play == 1:
        return position_hash ^ _ZOBRIST[2, 0]
    return position_hash


@kernel
def remember(state: State) -> None:
    """Add the position, as the ko rule sees it, to the history, and refresh the state's hash."""
    if state.history_length < len(state.history):
        key = _history_key(state, state.position_hash, state.to_play)
        state.history[state.history_length] = key
        state.history_length += 1
    value = state.position_hash ^ state.rules_hash
    if state.to_play == 1:
        value ^= _ZOBRIST[2, 0]
    if state.ko_point != NO_POINT:
        value ^= _ZOBRIST[2, state.ko_point]
    if state.passes:
        value = ~value
    state.hash = value


@kernel
def _chain_hash(state: State, head: Int) -> Int:
    value = np.int64(0)
    colour = state.board[head]
    point = np.int64(head)
    while True:
        value ^= _ZOBRIST[colour - 1, point]
        point = np.int64(state.follow[point])
        if point == head:
            break
    return value


@kernel
def _repeats(state: State, point: Int, colour: Int, suicide: bool) -> bool:
    """Whether playing `point` would bring back a position of the history."""
    after = state.position_hash ^ _ZOBRIST[colour - 1, point]
    heads = (np.int64(-1), np.int64(-1), np.int64(-1))  # of the chains already taken off
    for other in around(state, point):
        stone = state.board[other]
        if stone == EMPTY or stone == BORDER:
            continue
        head = np.int64(state.head[other])
        if head == heads[0] or head == heads[1] or head == heads[2]:
            continue
        heads = (heads[1], heads[2], head)
        if stone == colour:
            if suicide:
                after ^= _chain_hash(state, head)
        elif fills_last_liberty(state, head, point):
            after ^= _chain_hash(state, head)
    if suicide:
        after ^= _ZOBRIST[colour - 1, point]
    key = _history_key(state, after, 1 - state.to_play)
    seen = 0
    for i in range(state.history_length):  # without a way out, so that it runs in SIMD lanes
        seen |= state.history[i] == key
    return seen != 0


@kernel
def _touches_empty(state: State, point: Int) -> bool:
    touches = False
    for other in around(state, point):
        touches |= state.board[other] == EMPTY
    return touches


@kernel
def may_play_point(state: State, point: Int, colour: Int) -> bool:
    """Whether the side to move, which has `colour`, may put a stone on an empty point."""
    suicide = False
    if not _touches_empty(state, point):
        alive = False
        joins = False
        for other in around(state, point):
            stone = state.board[other]
            last = fills_last_liberty(state, state.head[other], point)
            joins |= stone == colour
            # A friend with another liberty, or an enemy that is captured.
            alive |= (stone == colour and not last) or (stone == 3 - colour and last)
        suicide = not alive
        if suicide and not (state.suicide and joins):
            return False
    if state.ko_rule == SIMPLE:
        return bool(point != state.ko_point)
    # A former stone of this colour here, or a suicide, is the only way back to an old position.
    width = state.captured.shape[1] + 1
    if suicide or state.captured[(point - 1) // width - 1, (point - 1) % width] & colour:
        return not _repeats(state, point, colour, suicide)
    return True
