"""The adapter: OpenSpiel's games behind the common contract."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from game_suite import bf16_to_float, check_game

from ghostgo import terminal
from ghostgo.engine.errors import UserError
from ghostgo.engine.games import game as kernels
from ghostgo.engine.games import openspiel
from ghostgo.engine.games.game import Game, State
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import make_rng

pyspiel = pytest.importorskip("pyspiel")
pytestmark = pytest.mark.filterwarnings("ignore:Code running in object mode")


def printed(game: Game, state: State) -> Hashable:
    """OpenSpiel's own drawing of the state, which may hold more than the planes (turn counts)."""
    history = state.history[: state.length].tobytes()
    drawing = str(openspiel._CACHE.get(int(state.game_id), history).state)
    return drawing, int(state.to_play), bool(state.done), bool(state.waiting)


@pytest.mark.parametrize(
    "name",
    [
        "breakthrough(rows=5,columns=4)",
        "clobber",
        "amazons",  # three half-moves a turn
        "dots_and_boxes",  # whoever closes a box moves again
        "mancala",  # a flat observation
        "nine_mens_morris",
    ],
)
def test_contract(name: str) -> None:
    check_game(get_game(f"openspiel:{name}"), games=1, key=printed)


@pytest.mark.parametrize("name", ["dots_and_boxes", "breakthrough", "ultimate_tic_tac_toe"])
def test_games_equal_openspiel(name: str) -> None:
    game, oracle = get_game(f"openspiel:{name}"), pyspiel.load_game(name)
    wait, rng = game.actions - 1, np.random.default_rng(1)
    waits = 0
    for _ in range(5):
        state, other = game.new_states(1)[0], oracle.new_initial_state()
        while not state.done:
            legal = game.legal_actions(state).tolist()
            if other.current_player() != state.to_play:
                assert legal == [wait]
                waits += 1
            else:
                assert legal == other.legal_actions()
            action = legal[rng.integers(len(legal))]
            kernels.play_one(state, action)
            if action != wait:
                other.apply_action(action)
        assert other.is_terminal()
        assert kernels.score_of(state) == other.returns()[0]
    assert (waits > 0) == (name != "breakthrough")


def test_planes_are_the_observation_of_the_side_to_move() -> None:
    game, oracle = get_game("openspiel:breakthrough"), pyspiel.load_game("breakthrough")
    state, other = game.new_states(1)[0], oracle.new_initial_state()
    planes, mask = np.zeros((64, 5), np.uint16), np.zeros(game.actions, np.uint8)
    for player in (0, 1, 0):
        kernels.write_planes_of(state, mask, planes)
        values = bf16_to_float(planes)
        tensor = np.array(other.observation_tensor(player)).reshape(3, 64)
        assert (values[:, :3].T == tensor).all()
        assert (values[:, 3] == player).all() and not values[:, 4].any()
        action = other.legal_actions()[5]
        kernels.play_one(state, action)
        other.apply_action(action)


def test_states_that_fell_out_of_the_cache_are_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openspiel, "_CACHE", openspiel._Cache(2))
    check_game(get_game("openspiel:tic_tac_toe"), games=2)
    assert len(openspiel._CACHE.nodes) == 2


def test_named_games_exist() -> None:
    assert openspiel.NAMES_ANY_ACTION <= set(pyspiel.registered_names())


def test_a_game_without_end_is_a_draw() -> None:
    game = get_game("openspiel:chess")
    assert game.max_moves == openspiel.MOVE_CAP
    state = game.new_states(1)[0]
    state.move_number = openspiel.MOVE_CAP - 1
    kernels.play_one(state, int(game.legal_actions(state)[0]))
    assert state.done and kernels.outcome_of(state) == 0


def test_action_names() -> None:
    game = get_game("openspiel:breakthrough")
    start = pyspiel.load_game("breakthrough").new_initial_state()
    for action in start.legal_actions():
        assert game.action_name(action) == start.action_to_string(0, action)
    assert get_game("openspiel:connect_four").action_name(3) == "3"
    assert get_game("openspiel:go(board_size=5)").action_name(0) == "a1"
    assert get_game("openspiel:chess").action_name(77) == "77"
    with pytest.raises(UserError, match="e9e5"):
        game.parse_action("e9e5")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no game ''"),
        ("no_such_game", "no game 'no_such_game'"),
        ("breakthrough(colour=green)", "colour"),
        ("backgammon", "has no chance"),
        ("kuhn_poker", "has no chance"),
        ("matrix_mp", "takes turns"),
        ("phantom_ttt", "hides nothing"),
        ("tiny_hanabi", "has no chance"),
        ("chinese_checkers(players=3)", "has two players"),
    ],
)
def test_games_of_the_wrong_kind_are_refused(name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refused:
        get_game(f"openspiel:{name}")
    assert "\n" not in str(refused.value) and repr(name) in str(refused.value)


def test_without_openspiel(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_pyspiel(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pyspiel":
            raise ImportError(name)
        return real_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", no_pyspiel)
    with pytest.raises(UserError, match="pip install open_spiel"):
        get_game("openspiel:othello")


def test_play_says_that_there_is_no_board_to_draw() -> None:
    with pytest.raises(UserError, match="openspiel:breakthrough has no board that can be drawn"):
        terminal.play("random", "openspiel:breakthrough")


PROGRAM = """
from ghostgo.engine import jit
from ghostgo.engine.games import game
from ghostgo.engine.games.registry import get_game
state = get_game("openspiel:dots_and_boxes").new_states(1)[0]
game.random_playout(state, jit.make_rng(1))
print(state.move_number, state.hash, game.score_of(state))
"""


@pytest.mark.parametrize("disabled", ["0", "1"])
def test_playouts_are_reproducible_with_and_without_numba(disabled: str) -> None:
    state = get_game("openspiel:dots_and_boxes").new_states(1)[0]
    kernels.random_playout(state, make_rng(1))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [
        str(state.move_number),
        str(state.hash),
        str(kernels.score_of(state)),
    ]
