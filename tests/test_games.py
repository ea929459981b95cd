"""The common contract, game by game; the native games' own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from game_suite import bf16_to_float, check_game

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game, State, record_dtype, register_kernels
from ghostgo.engine.games.go import board_of, set_up
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import make_rng


def go_key(game: Game, state: State) -> Hashable:
    """Stones, side to move, simple ko and whether the last move was a pass."""
    board = np.zeros(game.points, np.int8)
    board_of(state, board)
    return board.tobytes(), int(state.to_play), int(state.ko_point), bool(state.passes)


@pytest.mark.parametrize(
    "name",
    ["tic_tac_toe", "connect_four", "connect_four_4x5", "othello", "hex2", "hex5", "gomoku6"],
)
def test_contract(name: str) -> None:
    game = get_game(name)
    check_game(game)
    plane = np.full((game.points, game.planes), 9, np.uint16)
    state = game.new_states(1)[0]
    kernels.write_planes_of(state, np.ones(game.actions, np.uint8), plane)
    assert set(np.unique(bf16_to_float(plane))) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("name", "rules", "games"),
    [
        ("go2", {"suicide": True}, 20),
        ("go3", {"ko": "simple"}, 10),
        ("go5", {"ko": "situational", "komi": -3.5}, 8),
        ("go4x7", {"suicide": True, "ko": "simple"}, 4),
        ("go9", {}, 3),
    ],
)
def test_contract_of_go(name: str, rules: dict[str, Any], games: int) -> None:
    check_game(get_game(name), games, rules, go_key)


def play_all(game: Game, actions: str) -> State:
    state = game.new_states(1)[0]
    for name in actions.split():
        action = game.parse_action(name)
        assert kernels.is_legal_one(state, action), name
        kernels.play_one(state, action)
    return state


@pytest.mark.parametrize(
    ("actions", "done", "score"),
    [
        ("A1 A2 B1 B2 C1", True, 1),  # a row
        ("A1 B1 A2 B2 C3 B3", True, -1),  # a column
        ("A1 A2 B2 B3 C3", True, 1),  # a diagonal
        ("B2 A1 C1 A3 A2 C2 B3 B1 C3", True, 0),  # full, nobody
        ("A1 A2 B1 B2", False, 0),
    ],
)
def test_tic_tac_toe(actions: str, done: bool, score: int) -> None:
    game = get_game("tic_tac_toe")
    state = play_all(game, actions)
    assert (bool(state.done), kernels.score_of(state)) == (done, score)
    if score:
        assert kernels.outcome_of(state) == -1, "the side to move has just been beaten"


@pytest.mark.parametrize(
    ("actions", "done", "score"),
    [
        ("1 2 1 2 1 2 1", True, 1),  # upright
        ("1 1 2 2 3 3 4", True, 1),  # flat
        ("7 1 2 2 3 3 4 3 4 4 7 4", True, -1),  # rising diagonal, second player
        ("7 6 6 5 5 4 5 4 4 1 4", True, 1),  # falling diagonal
        ("1 1 1 1 1 1 2 2 2 2 2 2", False, 0),  # two full columns
        ("5 6 7 1 2 3 6 7", False, 0),  # cells that are neighbours only in memory
    ],
)
def test_connect_four(actions: str, done: bool, score: int) -> None:
    game = get_game("connect_four")
    state = play_all(game, actions)
    assert (bool(state.done), kernels.score_of(state)) == (done, score)


def test_connect_four_full_column_is_closed() -> None:
    game = get_game("connect_four")
    state = play_all(game, "1 1 1 1 1 1")
    assert game.legal_actions(state).tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("actions", "score"),
    [
        ("A1 B1 A2 B2 A3", 1),  # straight from bottom to top
        ("A3 B3 A2 B2", 0),
        ("C3 A3 B2 B3 A1", 1),  # so do neighbours to the upper right
        ("A3 C3 B2 B3 C1", 0),  # to the upper left there are none
        ("C1 A1 B3 B1 C2 A2 B2", 1),
        ("A1 A3 A2 B2 C3 B3 B1 C2", -1),
    ],
)
def test_hex(actions: str, score: int) -> None:
    state = play_all(get_game("hex3"), actions)
    assert (bool(state.done), kernels.score_of(state)) == (score != 0, score)


@pytest.mark.parametrize(
    ("actions", "done", "score"),
    [
        ("A1 A2 B1 B2 C1 C2 D1 D2 E1", True, 1),  # a row
        ("J9 A1 J8 A2 J7 A3 J6 A4 H1 A5", True, -1),  # a column, at the edge
        ("A1 A2 B2 B3 C3 C4 D4 D5 E5", True, 1),  # rising
        ("E1 A1 D2 A2 C3 A3 A5 A4 B4", True, 1),  # falling, joined in the middle
        ("A1 A3 B1 B3 C1 C3 E1 E3 F1 F3 D1", True, 1),  # six in a row win too
        ("F1 A3 G1 B3 H1 C3 J1 D3 A2", False, 0),  # neighbours only in memory
        ("A1 A2 B1 B2 C1 C2 D1 D2", False, 0),
    ],
)
def test_gomoku(actions: str, done: bool, score: int) -> None:
    state = play_all(get_game("gomoku9"), actions)
    assert (bool(state.done), kernels.score_of(state)) == (done, score)


def test_a_full_gomoku_board_is_a_draw() -> None:
    # Columns in the pattern 0 0 1 1 0, shifted by two from row to row: no five stand in a line.
    game = get_game("gomoku5")
    owner = np.array([[((col + 2 * row) // 2) % 2 for col in range(5)] for row in range(5)])
    first, second = (np.flatnonzero(owner.reshape(-1) == player).tolist() for player in (0, 1))
    assert len(first) == 13 and len(second) == 12
    state = game.new_states(1)[0]
    for ply in range(25):
        assert not state.done
        kernels.play_one(state, (first, second)[ply % 2][ply // 2])
    assert state.done and kernels.score_of(state) == 0


def test_othello_ends_when_nobody_can_move() -> None:
    game = get_game("othello")
    state = game.new_states(1)[0]
    # The shortest game, in the notation of Othello, which counts ranks from the top.
    for name in ("e6", "f4", "e3", "f6", "g5", "d6", "e7", "f5", "c5"):
        action = 8 * (int(name[1]) - 1) + "abcdefgh".index(name[0])
        assert not state.done and kernels.is_legal_one(state, action)
        kernels.play_one(state, action)
    assert state.done and kernels.score_of(state) == 13
    owners = np.zeros(64, np.int8)
    kernels.ownership_of(state, owners)
    assert owners.sum() == 13 == np.abs(owners).sum()


def test_othello_passes_only_where_there_is_no_move() -> None:
    game, passes = get_game("othello"), 0
    for seed in range(40):
        state, rng = game.new_states(1)[0], make_rng(seed)
        while not state.done:
            legal = game.legal_actions(state).tolist()
            if game.points in legal:
                assert legal == [game.points]
                passes += 1
            kernels.play_one(state, kernels.rollout_action(state, rng))
    assert passes > 0


@pytest.mark.parametrize(
    ("name", "opening"),
    [
        ("tic_tac_toe", "B2"),
        ("connect_four", "4 4 4 4"),
        ("othello", "E3"),
        ("hex3", "B2"),
        ("gomoku5", "C3"),
    ],
)
def test_rollouts_are_uniform(name: str, opening: str) -> None:
    game = get_game(name)
    state = play_all(game, opening)
    legal, rng, draws = game.legal_actions(state), make_rng(7), 14_000
    seen = Counter(kernels.rollout_action(state, rng) for _ in range(draws))
    assert sorted(seen) == legal.tolist()
    expected = draws / len(legal)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in seen.values())


@pytest.mark.parametrize(
    "name",
    ["", "chess", "go1", "go20", "go3x40", "go", "connect_four_3x3", "hex1", "hex20", "gomoku4"],
)
def test_unknown_games_are_refused(name: str) -> None:
    with pytest.raises(UserError) as refused:
        get_game(name)
    assert "\n" not in str(refused.value)


def test_go_rollouts_leave_own_eyes_alone_and_are_uniform() -> None:
    game = get_game("go5")
    # Black's own eyes are A5, A3 and B1, White's are E5 and E1: nothing is left but a pass.
    drawing = ".XXO. XXOOO .XXOO XXXOO X.XO."
    stones = np.array([{"X": 1, "O": -1, ".": 0}[c] for c in drawing if c != " "], np.int8)
    state = game.new_states(1)[0]
    assert set_up(state, stones, 0)
    rng = make_rng(8)
    assert {kernels.rollout_action(state, rng) for _ in range(50)} == {game.points}

    state = play_all(game, "C3 pass")
    drawn = Counter(kernels.rollout_action(state, rng) for _ in range(24_000))
    assert sorted(drawn) == [p for p in range(25) if p != 12]
    assert all(abs(n - 1000) < 5 * 1000**0.5 for n in drawn.values())


def test_go_rollouts_scan_is_uniform_where_good_points_are_rare() -> None:
    game = get_game("go9")
    stones = np.ones((9, 9), np.int8)
    stones[::2, ::2] = 0  # 25 eyes; then two of them lose what makes them eyes
    stones[0, 1] = stones[8, 7] = 0
    state = game.new_states(1)[0]
    assert set_up(state, stones.reshape(-1), 0)
    rng = make_rng(9)
    seen = Counter(kernels.rollout_action(state, rng) for _ in range(6000))
    good = [0, 1, 2, 78, 79, 80]
    assert sorted(seen) == good
    assert all(abs(n - 1000) < 5 * 1000**0.5 for n in seen.values())


def test_registering_checks_its_kernels() -> None:
    with pytest.raises(ValueError, match="score"):
        register_kernels("half_a_game", play=lambda state, action: None)
    assert record_dtype("tiny", []).itemsize == 64
