"""Perfect play in games small enough, and values of tiny Go boards by depth-limited search with a table of positions.

Simple ko makes a position all that matters: stones, side to move, ko point, a pass before. "Can
this player force this score within d plies?" then has one answer a position, whatever came before,
so answers can be kept: the least d known to be enough, the largest known not to be. A line that is
not over within d plies is a failure for whoever has to force something, so a proof holds however
endless play is counted. Positions equal up to a symmetry share an entry.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game, State, States
from ghostgo.engine.games.go import board_of
from ghostgo.engine.games.go_board import to_action
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel

BLACK, WHITE = 0, 1
NEVER = 255

ENTRY = np.dtype(
    [("key", np.int64), ("enough", np.uint8), ("too_few", np.uint8), ("move", np.int8)]
)


@kernel
def canonical(
    state: State, symmetries: NDArray[np.int32], powers: NDArray[np.int64], board: NDArray[np.int8]
) -> tuple[int, int]:
    """A number that equal positions share, whatever their symmetry, and the symmetry used."""
    points = len(board)
    board_of(state, board)
    least, which = np.int64(2**62), 0
    for s in range(len(symmetries)):
        stones = np.int64(0)
        for point in range(points):
            if board[point]:
                stones += powers[symmetries[s, point]] * (1 if board[point] > 0 else 2)
        if stones < least:
            least, which = stones, s
    ko = 0
    if state.ko_point >= 0:
        ko = 1 + symmetries[which, to_action(state, np.int64(state.ko_point))]
    key = ((least * (points + 1) + ko) * 2 + state.to_play) * 2 + min(1, state.passes)
    return key, which


@kernel
def _nth_action(i: int, first: int, order: NDArray[np.int64], turn: NDArray[np.int32]) -> int:
    """The action to try in place `i`, -1 for none: before `order` the table's move, if it has one.

    `first` is that move in the table's orientation, `turn` the symmetry from here to there.
    """
    if i >= 0:
        return -1 if turn[order[i]] == first else int(order[i])
    if first < 0:
        return -1
    action = 0
    while turn[action] != first:
        action += 1
    return action


@kernel
def _note(entry: Any, key: int, depth: int, move: int, reached: bool) -> None:
    """Write into a table's entry that `depth` plies were enough, or too few."""
    if entry.key != key:
        entry.key = key
        entry.enough = NEVER
        entry.too_few = 0
    entry.move = move
    if reached:
        entry.enough = min(entry.enough, depth)
    else:
        entry.too_few = max(entry.too_few, depth)


@kernel
def can_force(
    states: States,
    ply: int,
    depth: int,
    target: float,
    player: int,
    order: NDArray[np.int64],
    table: NDArray[Any],
    symmetries: NDArray[np.int32],
    powers: NDArray[np.int64],
    board: NDArray[np.int8],
    nodes: NDArray[np.int64],
) -> bool:
    """Whether `player` can force a score of `target` or better for itself within `depth` plies."""
    state = states[ply]
    if state.done:
        score = kernels.score(state)
        return score >= target if player == BLACK else score <= target
    if depth == 0:
        return False
    nodes[0] += 1
    key, s = canonical(state, symmetries, powers, board)
    slot = ((key * np.int64(-7046029254386353131)) >> np.int64(20)) & (len(table) - 1)
    first, turn = -1, symmetries[s]
    if table[slot].key == key:
        if table[slot].enough <= depth:
            return True
        if table[slot].too_few >= depth:
            return False
        first = int(table[slot].move)
    mine = bool(state.to_play == player)
    best = -1
    for i in range(-1, len(order)):
        action = _nth_action(i, first, order, turn)
        if action >= 0 and kernels.is_legal(state, action):
            states[ply + 1] = states[ply]
            kernels.play(states[ply + 1], action)
            if (
                can_force(
                    states, ply + 1, depth - 1, target, player, order, table, symmetries, powers,
                    board, nodes,
                )
                == mine
            ):  # fmt: skip
                best = int(turn[action])
                break
    reached = mine == (best >= 0)
    _note(table[slot], key, depth, best, reached)
    return reached


def plies_to_force(
    name: str, player: int, target: int, deepest: int, bits: int = 22
) -> tuple[int, int]:
    """The fewest plies in which `player` forces `target` under simple ko without komi, and nodes.

    0 plies: not within `deepest`. The table has 2**bits entries.
    """
    game = get_game(name)
    states = game.new_states(deepest + 1, {"ko": "simple", "komi": 0})
    middle = (game.rows - 1) / 2
    distance = [
        abs(a // game.cols - middle) + abs(a % game.cols - middle) for a in range(game.points)
    ]
    # A pass answers a pass at once where that settles it.
    order = np.array([game.points, *np.argsort(distance, kind="stable")])
    table = np.zeros(1 << bits, ENTRY).view(np.recarray)
    table["key"] = -1
    nodes = np.zeros(1, np.int64)
    powers = 3 ** np.arange(game.points, dtype=np.int64)
    board = np.zeros(game.points, np.int8)
    for depth in range(1, deepest + 1):
        if can_force(
            states, 0, depth, float(target), player, order, table, game.action_symmetries, powers,
            board, nodes,
        ):  # fmt: skip
            return depth, int(nodes[0])
    return 0, int(nodes[0])


@kernel
def negamax(states: States, ply: int, actions: int, table: NDArray[np.int64]) -> int:
    """Result for the side to move, 1, 0 or -1; `table` (n, 2) keeps hash and value."""
    state = states[ply]
    if state.done:
        return int(kernels.outcome(state))
    slot = state.hash & (len(table) - 1)
    if table[slot, 0] == state.hash:
        return int(table[slot, 1])
    best = -1
    for action in range(actions):
        if best < 1 and kernels.is_legal(state, action):
            states[ply + 1] = states[ply]
            kernels.play(states[ply + 1], action)
            best = max(best, -negamax(states, ply + 1, actions, table))
    table[slot, 0], table[slot, 1] = state.hash, best
    return best


@cache
def _table(name: str) -> NDArray[np.int64]:
    table = np.zeros((1 << 22, 2), np.int64)
    table[:, 0] = -1  # a start position's hash is 0
    return table


def perfect_result(game: Game, state: States) -> int:
    """Result of perfect play from `state` (1,) for the side to move, by exhaustive search.

    For games whose hash is all of a position: not Go.
    """
    states = game.new_states(game.max_moves + 1)
    states[0] = state[0]
    return int(negamax(states, 0, game.actions, _table(game.name)))
