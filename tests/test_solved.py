"""A minute of self-play learns tic-tac-toe to perfection, by OpenSpiel's exact rules and solver."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pyspiel
import pytest
from sizes import sized

from ghostgo import cli
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import play_one
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig

GAMES_A_SIDE = sized(100, 15)
VISITS = sized(32, 100)
History = tuple[int, ...]


def state_after(history: History) -> pyspiel.State:
    state = pyspiel.load_game("tic_tac_toe").new_initial_state()
    for action in history:
        state.apply_action(action)
    return state


@cache
def value(history: History) -> float:
    """The first player's result under perfect play, by full search over OpenSpiel's states."""
    state = state_after(history)
    if state.is_terminal():
        return float(state.returns()[0])
    values = [value((*history, a)) for a in state.legal_actions()]
    return max(values) if state.current_player() == 0 else min(values)


def best_moves(history: History) -> list[int]:
    wanted = value(history)
    moves = state_after(history).legal_actions()
    return [a for a in moves if value((*history, a)) == wanted]


def test_the_solver_knows_that_tic_tac_toe_is_a_draw() -> None:
    assert value(()) == 0
    assert value((0, 1, 4)) == 1, "two lines are threatened"


def test_a_minute_of_selfplay_never_loses_to_the_solver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    length = sized(["--minutes", "1"], ["--games", "400"])
    assert cli.run(["selfplay", "--game", "tic_tac_toe", *length, "--seed", "1"]) == 0
    network = load_network(find_checkpoint("scratch").path)
    game = network.game
    evaluator = make_evaluator(network, GAMES_A_SIDE, "cpu")
    searcher = Searcher(game, evaluator, GAMES_A_SIDE, VISITS, SearchConfig(root="puct"))
    rng = np.random.default_rng(0)
    for side in (0, 1):
        states = game.new_states(GAMES_A_SIDE)
        histories: list[History] = [()] * GAMES_A_SIDE
        while not states.done.all():
            live = np.flatnonzero(states.done == 0)
            if states[live[0]].to_play == side:
                actions = searcher.run(states[live]).action
            else:
                actions = np.array([rng.choice(best_moves(histories[i])) for i in live])
            for i, action in zip(live, actions, strict=True):
                play_one(states[i], int(action))
                histories[i] += (int(action),)
        results = [value(history) * (1 if side == 0 else -1) for history in histories]
        lost = [h for h, result in zip(histories, results, strict=True) if result < 0]
        assert not lost, f"playing {'first' if side == 0 else 'second'}"
        assert len(set(histories)) > 3, "the solver's choices do not vary"
