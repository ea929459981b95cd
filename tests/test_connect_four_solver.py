"""The exact solver that judges bots' moves in Connect Four, against a search that tries everything."""

from __future__ import annotations

from functools import cache

import numpy as np
from connect_four_solver import LOSS, make_table, move_values
from sizes import sized

from ghostgo.engine.games.game import States, is_legal_one, play_one
from ghostgo.engine.games.registry import get_game

GAME = get_game("connect_four")


def value_by_trying(states: States, kept: dict[int, int]) -> int:
    """What the position is worth to the side to move, by every line to its end."""
    state = states[0]
    if state.done:
        return LOSS if state.winner else 0  # whoever has just moved has won
    if int(state.hash) not in kept:
        kept[int(state.hash)] = max(values_by_trying(states, kept).values())
    return kept[int(state.hash)]


def values_by_trying(states: States, kept: dict[int, int]) -> dict[int, int]:
    """The same for each legal move."""
    found = {}
    for col in range(GAME.cols):
        if is_legal_one(states[0], col):
            after = states.copy()
            play_one(after[0], col)
            found[col] = -value_by_trying(after, kept)
    return found


@cache
def late_positions() -> tuple[States, ...]:
    """Unfinished positions of random games with at most nine cells left."""
    random = np.random.default_rng(3)
    found: list[States] = []
    while len(found) < sized(60, 10):
        states = GAME.new_states(1)
        for _ in range(int(random.integers(33, 41))):
            play_one(states[0], int(random.choice(GAME.legal_actions(states[0]))))
            if states[0].done:
                break
        if not states[0].done:
            found.append(states)
    return tuple(found)


def test_every_move_is_worth_what_trying_everything_says() -> None:
    table, seen = make_table(), set()
    for states in late_positions():
        expected = values_by_trying(states, {})
        values = move_values(states, table)
        assert {col: v for col, v in enumerate(values) if v != -2} == expected
        seen |= set(expected.values())
    assert seen == {-1, 0, 1}, "wins, draws and losses all occur"


def test_a_small_table_finds_the_same_as_a_large_one() -> None:
    for states in late_positions()[: sized(20, 5)]:
        small, large = move_values(states, make_table(4)), move_values(states, make_table())
        assert np.array_equal(small, large)


def test_known_values_of_an_opening() -> None:
    """Won, drawn and lost moves at ply 16; an independent solver gives the same."""
    states = GAME.new_states(1)
    for move in (0, 2, 2, 2, 4, 4, 0, 3, 2, 0, 6, 0, 6, 2, 0, 4):
        play_one(states[0], move)
    assert move_values(states, make_table()).tolist() == [-1, -1, -1, 0, 1, -1, -1]
