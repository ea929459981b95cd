"""Go on any board from 2x2 to 19x19: area scoring, three ko rules, suicide by option.

The board itself is in `go_board.py`; here are the kernels of the common contract on top of it, the
feature planes and the Python face. `docs/rules.md` says what the rules are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine import coords, symmetry
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import (
    Game,
    Int,
    Mask,
    State,
    States,
    register_kernels,
)
from ghostgo.engine.games.go_board import (
    BLACK,
    BORDER,
    EMPTY,
    MAX_SIZE,
    MIN_SIZE,
    NO_POINT,
    POSITIONAL,
    RECENT,
    SIMPLE,
    SITUATIONAL,
    TAG,
    WHITE,
    around,
    may_play_point,
    most_moves,
    place,
    remember,
    remove_chain,
    state_dtype,
    to_action,
    to_point,
)
from ghostgo.engine.games.go_planes import PLANE_NAMES, komi_bits, write_planes
from ghostgo.engine.jit import Rng, kernel, random_below

__all__ = [
    "DEFAULT_KOMI",
    "KO_RULES",
    "MAX_SIZE",
    "MIN_SIZE",
    "TAG",
    "VERSION",
    "board_of",
    "is_go",
    "make_game",
    "set_up",
    "uniform_action",
]
VERSION = 1
KO_RULES = {"positional": POSITIONAL, "situational": SITUATIONAL, "simple": SIMPLE}

MAX_KOMI = 361.0
DEFAULT_KOMI = {2: 1.0, 3: 9.0, 4: 2.0, 5: 0.5, 6: 4.0, 7: 9.0, 9: 7.0}
"""Komi by board side: as far as known the board's value under area scoring, so that perfect play
draws (van der Werf 2009, Davies 1995; 2x2 and 3x3 by our own tests). But on 5x5 Black owns the
board whatever a sensible komi says."""


@kernel
def _is_legal(state: State, action: Int) -> bool:
    if state.done:
        return False
    rows, cols = state.captured.shape
    if action == rows * cols:
        return True
    point = to_point(state, action)
    return state.board[point] == EMPTY and may_play_point(state, point, state.to_play + 1)


@kernel
def _play(state: State, action: Int) -> None:
    rows, cols = state.captured.shape
    for i in range(RECENT - 1, 0, -1):
        state.recent[i] = state.recent[i - 1]
    state.recent[0] = action
    state.ko_point = NO_POINT
    if action == rows * cols:
        state.passes += 1
    else:
        state.passes = 0
        point = to_point(state, action)
        colour = state.to_play + 1
        taken = place(state, point, colour)
        state.captures[state.to_play] += taken
        head = state.head[point]
        if state.liberties[head] == 0:
            state.captures[1 - state.to_play] += remove_chain(state, head)
        elif taken == 1 and state.follow[point] == point and state.liberties[point] == 1:
            state.ko_point = state.liberty_sum[point]
    state.to_play = 1 - state.to_play
    state.move_number += 1
    if state.passes >= 2 or state.move_number >= state.move_limit:
        state.done = 1
    remember(state)


@kernel
def _legal_mask(state: State, out: Mask) -> int:
    """Two passes: most points of a board are seen to be legal or not in one sweep of SIMD lanes,
    by an empty neighbour and no stone of this colour ever captured there; the others are asked."""
    rows, cols = state.captured.shape
    out[:] = 0
    if state.done:
        return 0
    colour = state.to_play + 1
    width = cols + 1
    board = state.board
    free = np.empty(len(board), np.uint8)
    for point in range(width, len(board) - width):
        touches = (
            (board[point - width] == EMPTY)
            | (board[point - 1] == EMPTY)
            | (board[point + 1] == EMPTY)
            | (board[point + width] == EMPTY)
        )
        # 0: a stone; 1: empty, to be asked; 2: empty, and the move keeps a liberty.
        free[point] = (board[point] == EMPTY) * (1 + touches)
    count = 1
    for row in range(rows):
        for col in range(cols):
            kind = free[(row + 1) * width + col + 1]
            legal = kind == 2 and not state.captured[row, col] & colour
            if kind and not legal:
                legal = may_play_point(state, (row + 1) * width + col + 1, colour)
            out[row * cols + col] = legal
            count += legal
    out[rows * cols] = 1
    return count


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
        start = to_point(state, action)
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
            for other in around(state, point):
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
            out[to_action(state, region[i])] = owner


@kernel
def _score(state: State) -> float:
    owners = np.empty(state.captured.size, np.int8)
    _ownership(state, owners)
    margin = 0
    for i in range(len(owners)):
        margin += int(owners[i])  # int8 would overflow where kernels are not compiled
    return margin - np.float64(state.komi)


@kernel
def uniform_action(state: State, rng: Rng) -> Int:
    """A uniformly random legal action, a pass being one of them; own eyes are not spared."""
    while True:
        i = random_below(rng, int(state.empties) + 1)
        if i == state.empties:
            return state.captured.size
        point = np.int64(state.empty[i])
        if may_play_point(state, point, state.to_play + 1):
            return to_action(state, point)


@kernel
def _is_own_eye(state: State, point: Int, colour: Int) -> bool:
    """A point surrounded by `colour`, and at most one diagonal enemy (none at the edge)."""
    surrounded = colour
    for other in around(state, point):
        surrounded &= state.board[other]  # BORDER has both bits
    if not surrounded:
        return False
    width = state.captured.shape[1] + 1
    enemies, edge = 0, 0
    for corner in (point - width - 1, point - width + 1, point + width - 1, point + width + 1):
        enemies += state.board[corner] == 3 - colour
        edge |= state.board[corner] == BORDER
    return enemies + edge < 2


@kernel
def _rollout_action(state: State, rng: Rng) -> Int:
    """Uniform over the legal points that are not own eyes; a pass when there is none.

    A few draws from the empty points, each taken if it will do; then one pass over all of them that
    keeps the k-th good one with probability 1/k. Either way every good point is equally likely.
    """
    colour = state.to_play + 1
    count: Int = np.int64(state.empties)
    for _ in range(8 if count else 0):
        point = np.int64(state.empty[random_below(rng, count)])
        if not _is_own_eye(state, point, colour) and may_play_point(state, point, colour):
            return to_action(state, point)
    chosen = np.int64(NO_POINT)
    good = 0
    for i in range(count):
        point = np.int64(state.empty[i])
        if not _is_own_eye(state, point, colour) and may_play_point(state, point, colour):
            good += 1
            if random_below(rng, good) == 0:
                chosen = point
    return state.captured.size if chosen == NO_POINT else to_action(state, chosen)


register_kernels(
    TAG,
    play=_play,
    is_legal=_is_legal,
    legal_mask=_legal_mask,
    write_planes=write_planes,
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
    state.empties = state.captured.size
    for action in range(state.captured.size):
        point = to_point(state, action)
        state.board[point] = EMPTY
        state.empty[action] = point
        state.empty_index[point] = action
    remember(state)


@kernel
def set_up(state: State, stones: NDArray[np.int8], to_play: int) -> bool:
    """Replace the board of a fresh state by `stones` (P,): 1 black, -1 white, 0 empty.

    For handicap and set-up positions. Returns False, leaving the state unusable, if a chain has no
    liberty. The position becomes the first of the superko history.
    """
    state.history_length = 0
    for action in range(state.captured.size):
        if stones[action]:
            place(state, to_point(state, action), 1 if stones[action] > 0 else 2)
    state.to_play = to_play
    state.captured[:] = 0
    for action in range(state.captured.size):
        point = to_point(state, action)
        if stones[action] and (
            state.board[point] == EMPTY or not state.liberties[state.head[point]]
        ):
            return False
    remember(state)
    return True


@kernel
def board_of(state: State, out: NDArray[np.int8]) -> None:
    """Write the stones into `out` (P,): 1 black, -1 white, 0 empty."""
    for action in range(state.captured.size):
        stone = state.board[to_point(state, action)]
        out[action] = 1 if stone == BLACK else (-1 if stone == WHITE else 0)


def is_go(game: Game) -> bool:
    """Whether `game` is Go, on any board."""
    return bool(game.dtype.names and game.dtype.names[0] == TAG)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"rule {name}: {value!r} is not a number") from None


def _checked_rules(rows: int, cols: int, rules: Mapping[str, Any]) -> tuple[int, float, bool, int]:
    """(ko rule, komi, suicide, move limit), or a UserError that names the rule."""
    if rules["ko"] not in KO_RULES:
        raise UserError(f"rule ko: {rules['ko']!r} is unknown; one of: {', '.join(KO_RULES)}")
    komi = _number("komi", rules["komi"])
    if not (abs(komi) <= MAX_KOMI and (2 * komi).is_integer()):
        raise UserError(f"rule komi: {komi} is not a multiple of 0.5 up to {MAX_KOMI:g}")
    if rules["suicide"] not in (True, False):
        raise UserError(f"rule suicide: {rules['suicide']!r} is neither true nor false")
    limit, most = _number("move_limit", rules["move_limit"]), most_moves(rows, cols)
    if not (1 <= limit <= most and limit.is_integer()):
        raise UserError(
            f"rule move_limit: {rules['move_limit']!r} is not a number from 1 to {most}"
        )
    return KO_RULES[rules["ko"]], komi, bool(rules["suicide"]), int(limit)


def _rules_hash(*rules: float) -> int:
    digest = blake2b(repr(rules).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _initial(rows: int, cols: int, rules: Mapping[str, Any]) -> States:
    states = np.zeros(1, dtype=state_dtype(rows, cols)).view(np.recarray)
    state = states[0]
    ko, komi, suicide, limit = _checked_rules(rows, cols, rules)
    state.ko_rule, state.komi, state.suicide, state.move_limit = ko, komi, suicide, limit
    state.komi_plane[:] = komi_bits(-komi), komi_bits(komi)
    state.rules_hash = _rules_hash(ko, komi, suicide)
    _start(state)
    return states


def make_game(rows: int, cols: int | None = None) -> Game:
    """Go on a rows x cols board, square if only one is given.

    Raises UserError outside 2 .. 19.
    """
    cols = rows if cols is None else cols
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
        max_moves=most_moves(rows, cols),
        dtype=state_dtype(rows, cols),
        initial=partial(_initial, rows, cols),
        rules={
            "komi": DEFAULT_KOMI.get(rows if rows == cols else 0, 7.5),
            "ko": "positional",
            "suicide": False,
            "move_limit": most_moves(rows, cols),
        },
        point_symmetries=points,
        action_symmetries=np.concatenate([points, passes], axis=1),
        action_name=partial(coords.to_gtp, rows=rows, cols=cols),
        parse_action=partial(coords.from_gtp, rows=rows, cols=cols),
        has_ownership=True,
        has_score=True,
    )
