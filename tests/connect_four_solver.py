"""Who wins a Connect Four position of the standard board, exactly, by alpha-beta on bitboards.

A tool of tests and benchmarks: the judge of the bots' moves. Cells are numbered as in the engine,
seven bits a column of which the top one stays clear. A search asks one question, "does the side to
move get at least this result?", so windows are empty; moves that let the opponent win at once are
never tried, those that make most threats come first, and a table keeps what was proven.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import State, States, is_legal_one, play_one
from ghostgo.engine.jit import kernel

ROWS, COLS, STRIDE = 6, 7, 7
CELLS = ROWS * COLS
BOTTOM = sum(1 << STRIDE * col for col in range(COLS))
BOARD = BOTTOM * ((1 << ROWS) - 1)
FROM_MIDDLE = np.array([3, 2, 4, 1, 5, 0, 6], np.int64)
LOSS, DRAW, WIN = -1, 0, 1
BOUND_BITS = 4  # lower and upper bound of a table's entry: (lower + 1) * 3 + upper + 1


def make_table(bits: int = 20) -> NDArray[np.int64]:
    """An empty table of what was proven, (2**bits,), 8 bytes each: a position and its bounds."""
    return np.zeros(1 << bits, np.int64)


@kernel
def completes_four(stones: int, taken: int) -> int:
    """The empty cells, reachable or not, in which one more stone makes four of `stones` in a row."""
    cells = (stones << 1) & (stones << 2) & (stones << 3)
    for step in (STRIDE - 1, STRIDE, STRIDE + 1):
        pair = (stones << step) & (stones << 2 * step)
        cells |= pair & ((stones << 3 * step) | (stones >> step))
        pair = (stones >> step) & (stones >> 2 * step)
        cells |= pair & ((stones >> 3 * step) | (stones << step))
    return cells & (BOARD ^ taken)


@kernel
def count_bits(cells: int) -> int:
    """How many cells are set."""
    count = 0
    while cells:
        cells &= cells - 1
        count += 1
    return count


@kernel
def _playable(own: int, taken: int) -> int:
    """Where the side to move may play without losing at once, if it cannot win at once."""
    threats = completes_four(own ^ taken, taken)
    cells = (taken + BOTTOM) & BOARD
    forced = cells & threats
    if forced:
        if forced & (forced - 1):
            return 0
        cells = forced
    return cells & ~(threats >> 1)


@kernel
def _search(own: int, taken: int, wanted: int, table: NDArray[np.int64]) -> bool:
    """Whether the side to move gets at least `wanted`, where it cannot win at once."""
    cells = _playable(own, taken)
    if cells == 0:  # the board is full, or every move loses; a full board has no threats left
        return taken == BOARD and wanted <= DRAW
    if count_bits(taken) >= CELLS - 2:
        return wanted <= DRAW
    key = own + taken + 1
    slot = (key * 0x9E3779B97F4A7C) >> 20 & (len(table) - 1)
    lower, upper = LOSS, WIN
    if table[slot] >> BOUND_BITS == key:
        bounds = table[slot] & ((1 << BOUND_BITS) - 1)
        lower, upper = bounds // 3 - 1, bounds % 3 - 1
        if lower >= wanted:
            return True
        if upper < wanted:
            return False
    order = np.empty(COLS, np.int64)
    threats = np.empty(COLS, np.int64)
    count = 0
    for col in FROM_MIDDLE:
        cell = cells & (((1 << ROWS) - 1) << STRIDE * col)
        if cell == 0:
            continue
        made = count_bits(completes_four(own | cell, taken | cell))
        i = count
        while i > 0 and threats[i - 1] < made:
            threats[i], order[i] = threats[i - 1], order[i - 1]
            i -= 1
        threats[i], order[i] = made, cell
        count += 1
    reached = False
    for i in range(count):
        # Nothing here lets the opponent win at once, so the reply is such a position again.
        if not _search(own ^ taken, taken | order[i], 1 - wanted, table):
            reached = True
            break
    if reached:
        lower = max(lower, wanted)
    else:
        upper = min(upper, wanted - 1)
    table[slot] = key << BOUND_BITS | ((lower + 1) * 3 + upper + 1)
    return reached


@kernel
def _value(own: int, taken: int, table: NDArray[np.int64]) -> int:
    if completes_four(own, taken) & (taken + BOTTOM):
        return WIN
    if _search(own, taken, WIN, table):
        return WIN
    return DRAW if _search(own, taken, DRAW, table) else LOSS


def position_value(state: State, table: NDArray[np.int64]) -> int:
    """Result with perfect play for the side to move of an unfinished game: 1, 0 or -1."""
    first, second = (int(stones) for stones in state.stones)
    own = second if state.to_play else first
    return int(_value(own, first | second, table))


def move_values(states: States, table: NDArray[np.int64]) -> NDArray[np.int8]:
    """What each move of the one unfinished game in `states` (1,) is worth to the side to move.

    (7,) int8: 1 won, 0 drawn, -1 lost with perfect play after it, -2 for a full column.
    """
    values = np.full(COLS, -2, np.int8)
    for col in range(COLS):
        if not is_legal_one(states[0], col):
            continue
        after = states.copy()
        play_one(after[0], col)
        state = after[0]
        if state.done:
            values[col] = WIN if state.winner else DRAW
        else:
            values[col] = -position_value(state, table)
    return values
