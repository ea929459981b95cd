"""Go on any board from 2x2 to 19x19: area scoring, three ko rules, suicide by option.

The board is a padded one-dimensional array: point (row, col) with row 0 at the top lies at
`(row + 1) * (cols + 1) + col + 1`, neighbours are at -1, +1, -(cols + 1), +(cols + 1), and whatever
is off the board holds BORDER. Chains are circular linked lists with pseudo-liberties (each liberty
counted once per adjacent stone) and their sum and sum of squares, which tell an atari at once: all
of a chain's pseudo-liberties are one point when n * sum_of_squares == sum ** 2.

Positional superko costs little: a position can only come back by filling a point from which a
stone of the same colour was once captured, so the history is searched for such moves alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine import coords, symmetry
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import (
    BF16_ONE,
    Game,
    Mask,
    Planes,
    State,
    States,
    record_dtype,
    register_kernels,
)
from ghostgo.engine.jit import Rng, kernel, random_below

TAG = "go"
VERSION = 1
EMPTY, BLACK, WHITE, BORDER = 0, 1, 2, 3
POSITIONAL, SITUATIONAL, SIMPLE = 0, 1, 2
KO_RULES = {"positional": POSITIONAL, "situational": SITUATIONAL, "simple": SIMPLE}
NO_POINT = -1
RECENT = 5
"""How many last moves the planes show."""
MIN_SIZE, MAX_SIZE = 2, 19
MAX_PADDED = (MAX_SIZE + 2) * (MAX_SIZE + 1) + 1
MOVES_PER_POINT = 3
"""A game ends, and is scored as it stands, after this many moves a point."""

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

DEFAULT_KOMI = {4: 2.0, 5: 0.5, 6: 4.0, 7: 9.0, 9: 7.0}
"""Komi by board side. 6x6, 7x7 and 9x9: the value under area scoring, so that perfect play draws
(van der Werf 2009, Davies 1995). On 5x5 Black owns the board whatever a sensible komi says."""

# Zobrist words: [0] and [1] stones by colour, [2] the side to move (index 0) and the ko point.
_ZOBRIST = np.random.default_rng(20251001).integers(
    -(2**63), 2**63 - 1, size=(3, MAX_PADDED), dtype=np.int64
)


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
            ("komi", np.float32),
            ("position_hash", np.int64),  # stones only
            ("captures", np.int16, (2,)),  # stones taken by each player
            ("recent", np.int16, (RECENT,)),  # last actions, newest first, -1 before the start
            ("komi_plane", np.uint16, (2,)),  # bf16 bits of komi / KOMI_SCALE for each side
            ("board", np.uint8, (padded,)),
            ("captured", np.uint8, (rows, cols)),  # bit c-1: a stone of colour c was taken here
            ("head", np.int16, (padded,)),  # a chain's representative point
            ("follow", np.int16, (padded,)),  # next stone of the chain, circular
            ("liberties", np.int16, (padded,)),  # at the head: pseudo-liberties
            ("liberty_sum", np.int32, (padded,)),
            ("liberty_squares", np.int32, (padded,)),
            ("history", np.int64, (MOVES_PER_POINT * rows * cols + 1,)),  # superko keys so far
        ],
    )


@kernel
def _neighbour(state: State, point: int, direction: int) -> int:
    width = state.captured.shape[1] + 1
    if direction == 0:
        return point - width
    if direction == 1:
        return point - 1
    if direction == 2:
        return point + 1
    return point + width


@kernel
def _to_point(state: State, action: int) -> int:
    cols = state.captured.shape[1]
    return (action // cols + 1) * (cols + 1) + action % cols + 1


@kernel
def _to_action(state: State, point: int) -> int:
    cols = state.captured.shape[1]
    return ((point - 1) // (cols + 1) - 1) * cols + (point - 1) % (cols + 1)


@kernel
def _add_liberty(state: State, head: int, point: int) -> None:
    state.liberties[head] += 1
    state.liberty_sum[head] += point
    state.liberty_squares[head] += point * point


@kernel
def _remove_liberty(state: State, head: int, point: int) -> None:
    state.liberties[head] -= 1
    state.liberty_sum[head] -= point
    state.liberty_squares[head] -= point * point


@kernel
def _in_atari(state: State, head: int) -> bool:
    n = np.int64(state.liberties[head])
    total = np.int64(state.liberty_sum[head])
    return n > 0 and n * np.int64(state.liberty_squares[head]) == total * total


@kernel
def _merge(state: State, a: int, b: int) -> None:
    """Join the chains with heads a and b; a stays the head."""
    state.liberties[a] += state.liberties[b]
    state.liberty_sum[a] += state.liberty_sum[b]
    state.liberty_squares[a] += state.liberty_squares[b]
    point = b
    while True:
        state.head[point] = a
        point = state.follow[point]
        if point == b:
            break
    state.follow[a], state.follow[b] = state.follow[b], state.follow[a]


@kernel
def _remove_chain(state: State, head: int) -> int:
    """Take the chain off the board; returns its number of stones."""
    colour = state.board[head]
    rows, cols = state.captured.shape
    stones = 0
    point = np.int64(head)
    while True:
        state.board[point] = EMPTY
        state.position_hash ^= _ZOBRIST[colour - 1, point]
        action = _to_action(state, point)
        state.captured[action // cols, action % cols] |= colour
        stones += 1
        for direction in range(4):
            other = _neighbour(state, point, direction)
            if state.board[other] == BLACK or state.board[other] == WHITE:
                _add_liberty(state, state.head[other], point)
        point = np.int64(state.follow[point])
        if point == head:
            break
    return stones


@kernel
def _place(state: State, point: int, colour: int) -> int:
    """Put a stone, capture what it captures; returns the number of stones captured.

    A chain of `colour` left without liberties stays (the caller removes it: suicide).
    """
    state.board[point] = colour
    state.position_hash ^= _ZOBRIST[colour - 1, point]
    state.head[point] = point
    state.follow[point] = point
    state.liberties[point] = 0
    state.liberty_sum[point] = 0
    state.liberty_squares[point] = 0
    for direction in range(4):
        other = _neighbour(state, point, direction)
        if state.board[other] == EMPTY:
            _add_liberty(state, point, other)
        elif state.board[other] != BORDER:
            _remove_liberty(state, state.head[other], point)
    taken = 0
    for direction in range(4):
        other = _neighbour(state, point, direction)
        if state.board[other] == colour:
            if state.head[other] != state.head[point]:
                _merge(state, state.head[other], state.head[point])
        elif state.board[other] == 3 - colour and state.liberties[state.head[other]] == 0:
            taken += _remove_chain(state, state.head[other])
    return taken


@kernel
def _history_key(state: State, position_hash: int, to_play: int) -> int:
    if state.ko_rule == SITUATIONAL and to_play == 1:
        return position_hash ^ _ZOBRIST[2, 0]
    return position_hash


@kernel
def _remember(state: State) -> None:
    """Add the position, as the ko rule sees it, to the history, and refresh the state's hash."""
    if state.history_length < len(state.history):
        key = _history_key(state, state.position_hash, state.to_play)
        state.history[state.history_length] = key
        state.history_length += 1
    value = state.position_hash
    if state.to_play == 1:
        value ^= _ZOBRIST[2, 0]
    if state.ko_point != NO_POINT:
        value ^= _ZOBRIST[2, state.ko_point]
    if state.passes:
        value = ~value
    state.hash = value


@kernel
def _chain_hash(state: State, head: int) -> int:
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
def _repeats(state: State, point: int, colour: int, suicide: bool) -> bool:
    """Whether playing `point` would bring back a position of the history."""
    after = state.position_hash ^ _ZOBRIST[colour - 1, point]
    seen = np.empty(4, np.int64)
    count = 0
    for direction in range(4):
        other = _neighbour(state, point, direction)
        stone = state.board[other]
        if stone == EMPTY or stone == BORDER:
            continue
        head = np.int64(state.head[other])
        known = False
        for i in range(count):
            known |= seen[i] == head
        if known:
            continue
        seen[count] = head
        count += 1
        captured = stone == 3 - colour and _fills_last_liberty(state, head, point)
        if captured or (suicide and stone == colour):
            after ^= _chain_hash(state, head)
    if suicide:
        after ^= _ZOBRIST[colour - 1, point]
    key = _history_key(state, after, 1 - state.to_play)
    for i in range(state.history_length):
        if state.history[i] == key:
            return True
    return False


@kernel
def _fills_last_liberty(state: State, head: int, point: int) -> bool:
    """Whether `point`, next to the chain, is its only liberty."""
    n = state.liberties[head]
    return _in_atari(state, head) and state.liberty_sum[head] == n * point


@kernel
def _is_legal(state: State, action: int) -> bool:
    if state.done:
        return False
    rows, cols = state.captured.shape
    if action == rows * cols:
        return True
    point = _to_point(state, action)
    if state.board[point] != EMPTY:
        return False
    colour = state.to_play + 1
    alive = False
    captures = False
    joins = False
    for direction in range(4):
        other = _neighbour(state, point, direction)
        stone = state.board[other]
        if stone == EMPTY:
            alive = True
        elif stone == colour:
            joins = True
            alive |= not _fills_last_liberty(state, state.head[other], point)
        elif stone == 3 - colour:
            captures |= _fills_last_liberty(state, state.head[other], point)
    suicide = not alive and not captures
    if suicide and not (state.suicide and joins):
        return False
    if state.ko_rule == SIMPLE:
        return point != state.ko_point
    # A former stone of this colour here, or a suicide, is the only way back to an old position.
    if suicide or state.captured[action // cols, action % cols] & colour:
        return not _repeats(state, point, colour, suicide)
    return True


@kernel
def _play(state: State, action: int) -> None:
    rows, cols = state.captured.shape
    for i in range(RECENT - 1, 0, -1):
        state.recent[i] = state.recent[i - 1]
    state.recent[0] = action
    state.ko_point = NO_POINT
    if action == rows * cols:
        state.passes += 1
    else:
        state.passes = 0
        point = _to_point(state, action)
        colour = state.to_play + 1
        taken = _place(state, point, colour)
        state.captures[state.to_play] += taken
        head = state.head[point]
        if state.liberties[head] == 0:
            state.captures[1 - state.to_play] += _remove_chain(state, head)
        elif taken == 1 and state.follow[point] == point and state.liberties[point] == 1:
            state.ko_point = state.liberty_sum[point]
    state.to_play = 1 - state.to_play
    state.move_number += 1
    if state.passes >= 2 or state.move_number >= state.move_limit:
        state.done = 1
    _remember(state)


@kernel
def _legal_mask(state: State, out: Mask) -> int:
    count = 0
    for action in range(len(out)):
        legal = _is_legal(state, action)
        out[action] = legal
        count += legal
    return count


@kernel
def _liberties_up_to_4(state: State, head: int) -> int:
    """The chain's true liberties, 4 standing for "4 or more"."""
    if _in_atari(state, head):
        return 1
    found = np.empty(4, np.int64)
    count = 0
    point = np.int64(head)
    while True:
        for direction in range(4):
            other = _neighbour(state, point, direction)
            if state.board[other] == EMPTY:
                known = False
                for i in range(count):
                    known |= found[i] == other
                if not known:
                    found[count] = other
                    count += 1
                    if count == 4:
                        return 4
        point = np.int64(state.follow[point])
        if point == head:
            break
    return count


@kernel
def _mark_chain(state: State, head: int, plane: int, out: Planes) -> None:
    point = np.int64(head)
    while True:
        out[_to_action(state, point), plane] = BF16_ONE
        point = np.int64(state.follow[point])
        if point == head:
            break


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
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
        stone = state.board[_to_point(state, action)]
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
        point = _to_point(state, action)
        if state.board[point] != EMPTY and state.head[point] == point:
            liberties = _liberties_up_to_4(state, point)
            if liberties < 4:
                _mark_chain(state, point, 2 + liberties, out)
    for i in range(RECENT):
        if 0 <= state.recent[i] < n:
            out[state.recent[i], 7 + i] = BF16_ONE


@kernel
def _outcome(state: State) -> float:
    margin = _score(state)
    if state.to_play == 1:
        margin = -margin
    return float(np.sign(margin))


@kernel
def _ownership(state: State, out: NDArray[np.int8]) -> None:
    n = state.captured.size
    marked = np.zeros(len(state.board), np.uint8)
    region = np.empty(n, np.int64)
    for action in range(n):
        start = _to_point(state, action)
        stone = state.board[start]
        if stone != EMPTY:
            out[action] = 1 if stone == BLACK else -1
            continue
        if marked[start]:
            continue
        # Flood the empty region; `region` is both the queue and the list of its points.
        marked[start] = 1
        region[0] = start
        size = 1
        done = 0
        touched = 0
        while done < size:
            point = region[done]
            done += 1
            for direction in range(4):
                other = _neighbour(state, point, direction)
                stone = state.board[other]
                if stone != EMPTY:
                    if stone != BORDER:
                        touched |= stone
                elif not marked[other]:
                    marked[other] = 1
                    region[size] = other
                    size += 1
        owner = 1 if touched == BLACK else (-1 if touched == WHITE else 0)
        for i in range(size):
            out[_to_action(state, region[i])] = owner


@kernel
def _score(state: State) -> float:
    owners = np.empty(state.captured.size, np.int8)
    _ownership(state, owners)
    margin = 0
    for i in range(len(owners)):
        margin += owners[i]
    return margin - float(state.komi)


@kernel
def _is_own_eye(state: State, point: int, colour: int) -> bool:
    """A point surrounded by `colour`, and at most one diagonal enemy (none at the edge)."""
    for direction in range(4):
        stone = state.board[_neighbour(state, point, direction)]
        if stone != colour and stone != BORDER:
            return False
    width = state.captured.shape[1] + 1
    enemies = 0
    edge = 0
    for step in (-width - 1, -width + 1, width - 1, width + 1):
        stone = state.board[point + step]
        enemies += stone == 3 - colour
        edge |= stone == BORDER
    return enemies + edge < 2


@kernel
def _rollout_action(state: State, rng: Rng) -> int:
    """Uniform over legal points that are not own eyes; passes when none is left."""
    n = state.captured.size
    colour = state.to_play + 1
    start = random_below(rng, n)
    for i in range(n):
        # A random start and a stride prime to most sizes: near uniform, and one draw a move.
        action = random_below(rng, n) if i < 6 else (start + i) % n
        if state.board[_to_point(state, action)] != EMPTY:
            continue
        if _is_own_eye(state, _to_point(state, action), colour):
            continue
        if _is_legal(state, action):
            return action
    return n


register_kernels(
    TAG,
    play=_play,
    is_legal=_is_legal,
    legal_mask=_legal_mask,
    write_planes=_write_planes,
    outcome=_outcome,
    score=_score,
    ownership=_ownership,
    rollout_action=_rollout_action,
)


@kernel
def _start(state: State) -> None:
    state.ko_point = NO_POINT
    state.recent[:] = -1
    state.board[:] = BORDER
    for action in range(state.captured.size):
        state.board[_to_point(state, action)] = EMPTY
    _remember(state)


@kernel
def set_up(state: State, stones: NDArray[np.int8], to_play: int) -> bool:
    """Replace the board of a fresh state by `stones` (P,): 1 black, -1 white, 0 empty.

    For handicap and set-up positions. Returns False, leaving the state unusable, if a chain has no
    liberty. The position becomes the first of the superko history.
    """
    state.history_length = 0
    for action in range(state.captured.size):
        if stones[action]:
            _place(state, _to_point(state, action), 1 if stones[action] > 0 else 2)
    state.to_play = to_play
    state.captured[:] = 0
    for action in range(state.captured.size):
        point = _to_point(state, action)
        if stones[action] and (state.board[point] == EMPTY or not state.liberties[state.head[point]]):
            return False
    _remember(state)
    return True


@kernel
def board_of(state: State, out: NDArray[np.int8]) -> None:
    """Write the stones into `out` (P,): 1 black, -1 white, 0 empty."""
    for action in range(state.captured.size):
        stone = state.board[_to_point(state, action)]
        out[action] = 1 if stone == BLACK else (-1 if stone == WHITE else 0)


def _bf16_bits(value: float) -> np.uint16:
    """`value` rounded to bfloat16, as its bit pattern (round half up in magnitude)."""
    bits = int(np.float32(value).view(np.uint32))
    return np.uint16((bits + 0x8000) >> 16)


def _initial(rows: int, cols: int, rules: Mapping[str, Any]) -> States:
    states = np.zeros(1, dtype=state_dtype(rows, cols)).view(np.recarray)
    ko, komi = rules["ko"], float(rules["komi"])
    if ko not in KO_RULES:
        raise UserError(f"ko rule {ko!r} is unknown; one of: {', '.join(KO_RULES)}")
    if not (abs(komi) <= 4 * rows * cols and (2 * komi).is_integer()):
        raise UserError(f"komi {komi} is not a multiple of 0.5 within the board's size")
    state = states[0]
    state.ko_rule = KO_RULES[ko]
    state.suicide = bool(rules["suicide"])
    state.komi = komi
    state.komi_plane[:] = _bf16_bits(-komi / KOMI_SCALE), _bf16_bits(komi / KOMI_SCALE)
    limit = int(rules["move_limit"])
    if not 1 <= limit <= MOVES_PER_POINT * rows * cols:
        most = MOVES_PER_POINT * rows * cols
        raise UserError(f"move_limit {limit} is not between 1 and {most} on {rows}x{cols}")
    state.move_limit = limit
    _start(state)
    return states


def make_game(rows: int, cols: int) -> Game:
    """Go on a rows x cols board.

    Raises UserError outside 2 .. 19.
    """
    if not (MIN_SIZE <= rows <= MAX_SIZE and MIN_SIZE <= cols <= MAX_SIZE):
        raise UserError(f"a Go board of {rows}x{cols} is not between 2x2 and 19x19")
    n = rows * cols
    points = symmetry.board_symmetries(rows, cols)
    passes = np.full((len(points), 1), n, np.int32)
    return Game(
        name=f"go{rows}" if rows == cols else f"go{rows}x{cols}",
        version=VERSION,
        rows=rows,
        cols=cols,
        actions=n + 1,
        plane_names=PLANE_NAMES,
        policy_head="points_and_pass",
        max_moves=MOVES_PER_POINT * n,
        dtype=state_dtype(rows, cols),
        initial=partial(_initial, rows, cols),
        rules={
            "komi": DEFAULT_KOMI.get(rows if rows == cols else 0, 7.5),
            "ko": "positional",
            "suicide": False,
            "move_limit": MOVES_PER_POINT * n,
        },
        point_symmetries=points,
        action_symmetries=np.concatenate([points, passes], axis=1),
        action_name=partial(coords.to_gtp, rows=rows, cols=cols),
        parse_action=partial(coords.from_gtp, rows=rows, cols=cols),
        has_ownership=True,
        has_score=True,
    )
