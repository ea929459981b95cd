"""Known values of tiny boards and games, by exhaustive search on our own rules.

2x2 Go is worth 0 under simple ko, where play may go round for ever (counted as 0 here), and +1 to
Black under superko; 3x3 is worth all nine points (van der Werf, van den Herik and Uiterwijk 2003).
On 4x4 neither side can force more than +2 for Black, the published value, under simple ko; both can
avoid losing that much only by going round for ever, which superko decides. Small boards of Connect
Four are drawn (Tromp), and agree with OpenSpiel's alpha-beta search. Othello's and Connect Four's
counts of games by length are the published perft numbers.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from sizes import sized
from solver import perfect_result, plies_to_force

from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import States
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel

BLACK, WHITE = 0, 1


@kernel
def can_reach(
    states: States,
    ply: int,
    depth: int,
    target: float,
    player: int,
    order: NDArray[np.int64],
    endless: float,
) -> bool:
    """Whether `player` can force a score of `target` or better for itself within `depth` plies.

    Scores are Black's margin, so White wants at most `target`. A line that is not over by then
    counts as `endless`; with nan it is a failure, so that True is a proof.
    """
    state = states[ply]
    if state.done or depth == 0:
        score = kernels.score(state) if state.done else endless
        return score >= target if player == BLACK else score <= target
    mine = bool(state.to_play == player)
    for action in order:
        if kernels.is_legal(state, action):
            states[ply + 1] = states[ply]
            kernels.play(states[ply + 1], action)
            if can_reach(states, ply + 1, depth - 1, target, player, order, endless) == mine:
                return mine
    return not mine


def force(
    name: str, ko: str, player: int, target: int, depth: int, endless: float = np.nan
) -> bool:
    game = get_game(name)
    states = game.new_states(depth + 1, {"ko": ko, "komi": 0})
    middle = (game.rows - 1) / 2
    actions = range(game.points)
    distance = [abs(a // game.cols - middle) + abs(a % game.cols - middle) for a in actions]
    order = np.array([*np.argsort(distance, kind="stable"), game.points])
    if game.points == 4:  # passing first finds the end sooner where all points are alike
        order = np.roll(order, 1)
    return can_reach(states, 0, depth, float(target), player, order, endless)


@pytest.mark.parametrize("ko", ["positional", "situational"])
def test_2x2_is_worth_1_under_superko(ko: str) -> None:
    assert force("go2", ko, BLACK, 1, 12)
    assert force("go2", ko, WHITE, 1, 12)
    assert not force("go2", ko, BLACK, 2, 20)


@pytest.mark.parametrize("depth", [8, 12, 20])
def test_2x2_is_worth_0_under_simple_ko(depth: int) -> None:
    assert force("go2", "simple", BLACK, 0, depth, endless=0)
    assert force("go2", "simple", WHITE, 0, depth, endless=0)
    assert not force("go2", "simple", BLACK, 1, depth, endless=0)
    assert not force("go2", "simple", WHITE, -1, depth, endless=0)


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_3x3_is_worth_9(ko: str) -> None:
    assert force("go3", ko, BLACK, 9, 17)
    assert not force("go3", ko, BLACK, 9, 7), "Black needs longer than that"


def test_3x3_is_worth_less_from_the_corner() -> None:
    game = get_game("go3")
    states = game.new_states(19, {"komi": 0})
    kernels.play_one(states[0], 0)
    order = np.array([4, 1, 3, 5, 7, 0, 2, 6, 8, 9])
    assert can_reach(states, 0, 17, -9.0, WHITE, order, np.nan)


@kernel
def perft(states: States, ply: int, depth: int, actions: int) -> int:
    """Number of lines of exactly `depth` plies."""
    if depth == 0:
        return 1
    total = 0
    for action in range(actions):
        if kernels.is_legal(states[ply], action):
            states[ply + 1] = states[ply]
            kernels.play(states[ply + 1], action)
            total += perft(states, ply + 1, depth - 1, actions)
    return total


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("othello", [4, 12, 56, 244, 1396, 8200, 55092, 390216]),
        ("tic_tac_toe", [9, 72, 504, 3024, 15120, 54720, 148176, 200448, 127872]),
        ("connect_four", [7, 49, 343, 2401, 16807, 117649, 823536]),
    ],
)
def test_perft(name: str, counts: list[int]) -> None:
    game = get_game(name)
    if not hasattr(perft, "signatures"):  # plain Python
        counts = [count for count in counts if count < 20_000]
    states = game.new_states(len(counts) + 1)
    found = [perft(states, 0, depth + 1, game.actions) for depth in range(len(counts))]
    assert found == counts


def test_the_table_agrees_with_the_plain_search() -> None:
    for player, target in ((BLACK, 0), (BLACK, 1), (WHITE, 0)):
        assert plies_to_force("go2", player, target, 14, 12)[0] == 0, "2x2 can go round for ever"
        assert not force("go2", "simple", player, target, 14)
    for player in (BLACK, WHITE):
        plies, _ = plies_to_force("go3", player, 9, 20, 16)
        assert force("go3", "simple", player, 9, plies)
        assert not force("go3", "simple", player, 9, plies - 1)


FORCED_BY_BLACK_4X4 = 1
PLIES_4X4 = 24


@pytest.mark.slow
def test_4x4_cannot_be_forced_beyond_2() -> None:
    assert plies_to_force("go4", BLACK, FORCED_BY_BLACK_4X4, 40, 24)[0] == PLIES_4X4
    assert plies_to_force("go4", BLACK, 3, 60, 24)[0] == 0
    assert plies_to_force("go4", WHITE, 1, 60, 24)[0] == 0


def solve_connect_four(rows: int, cols: int, played: list[int]) -> int:
    """Result for the side to move after `played`."""
    game = get_game(f"connect_four_{rows}x{cols}")
    state = game.new_states(1)
    for action in played:
        kernels.play_one(state[0], action)
    return perfect_result(game, state)


def test_connect_four_is_drawn_on_small_boards() -> None:
    for rows, cols in sized(((4, 4), (4, 5), (5, 4)), ((4, 4),)):
        assert solve_connect_four(rows, cols, []) == 0


def test_connect_four_agrees_with_openspiels_solver() -> None:
    """On positions after random moves, each result among them."""
    pyspiel = pytest.importorskip("pyspiel")
    from open_spiel.python.algorithms.minimax import alpha_beta_search

    numbers, seen = np.random.default_rng(3), Counter[int]()
    for rows, cols, plies in 30 * ((4, 4, 6), (4, 4, 7), (5, 4, 10), (4, 5, 10), (4, 5, 11)):
        oracle = pyspiel.load_game(f"connect_four(rows={rows},columns={cols})")
        state = oracle.new_initial_state()
        while state.move_number() < plies and not state.is_terminal():
            state.apply_action(int(numbers.choice(state.legal_actions())))
        if not state.is_terminal():
            player = state.current_player()
            theirs, _ = alpha_beta_search(oracle, state, maximizing_player_id=player)
            assert solve_connect_four(rows, cols, state.history()) == theirs
            seen[int(theirs)] += 1
    assert min(seen[result] for result in (-1, 0, 1)) >= 3


@pytest.mark.slow
def test_openspiels_solver_draws_4x4_too() -> None:
    pyspiel = pytest.importorskip("pyspiel")
    from open_spiel.python.algorithms.minimax import alpha_beta_search

    oracle = pyspiel.load_game("connect_four(rows=4,columns=4)")
    value, _ = alpha_beta_search(oracle, maximizing_player_id=0)
    assert value == solve_connect_four(4, 4, [])
