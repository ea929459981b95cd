"""What must hold after any moves whatever, over games found by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
from game_suite import check_symmetry, check_view
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import board_of, is_go, set_up
from ghostgo.engine.games.registry import get_game

GAMES = (
    "tic_tac_toe", "connect_four", "connect_four_4x5", "othello", "hex3", "gomoku5", "go2", "go3",
    "go5", "go4x7",
)  # fmt: skip
CHOICES = st.lists(st.integers(0, 1000), max_size=60)


def play_choices(game: Game, choices: list[int], passes: bool) -> list[int]:
    """Actions of the game in which choice c takes the c-th legal action, round and round."""
    state, actions = game.new_states(1)[0], []
    for choice in choices:
        legal = game.legal_actions(state)
        if not passes and len(legal) > 1 and is_go(game):
            legal = legal[:-1]
        if not len(legal):
            break
        actions.append(int(legal[choice % len(legal)]))
        kernels.play_one(state, actions[-1])
    return actions


@pytest.mark.parametrize("name", GAMES)
@settings(max_examples=25, deadline=None)
@given(choices=CHOICES, which=st.integers(0, 7), passes=st.booleans())
def test_symmetry_commutes_with_play(
    name: str, choices: list[int], which: int, passes: bool
) -> None:
    game = get_game(name)
    actions = play_choices(game, choices, passes)
    check_symmetry(game, actions, which % len(game.point_symmetries))


@pytest.mark.parametrize("name", GAMES)
@settings(max_examples=25, deadline=None)
@given(choices=CHOICES, passes=st.booleans())
def test_views_agree_and_the_score_sums_to_the_board(
    name: str, choices: list[int], passes: bool
) -> None:
    game = get_game(name)
    state = game.new_states(1)[0]
    for action in play_choices(game, choices, passes):
        kernels.play_one(state, action)
    view = check_view(game, state)
    if game.has_ownership:
        komi = float(state.komi) if is_go(game) else 0.0
        assert view.score == int(view.owners.sum(dtype=np.int64)) - komi


@pytest.mark.parametrize("name", ["go2", "go3", "go5", "go4x7", "go9"])
@settings(max_examples=40, deadline=None)
@given(choices=CHOICES, passes=st.booleans())
def test_hash_equals_the_hash_from_scratch(name: str, choices: list[int], passes: bool) -> None:
    game = get_game(name)
    states = game.new_states(2)
    for action in play_choices(game, choices, passes):
        kernels.play_one(states[0], action)
    board = np.zeros(game.points, np.int8)
    board_of(states[0], board)
    assert set_up(states[1], board, int(states[0].to_play))
    assert states[1].position_hash == states[0].position_hash
    plain = states[0].ko_point < 0 and not states[0].passes
    assert (states[1].hash == states[0].hash) == plain
