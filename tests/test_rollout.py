"""Plain MCTS, random players and the capture bot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sizes import sized

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import go
from ghostgo.engine.games.capture import capture_actions
from ghostgo.engine.games.game import Game, States, outcome_of, play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import make_rng
from ghostgo.engine.rollout import RolloutSearcher, plain_mcts, random_actions


def played(game: Game, moves: list[int]) -> States:
    """The position after `moves`, (1,)."""
    states = game.new_states(1)
    for move in moves:
        play_one(states[0], move)
    return states


def test_it_wins_at_once_and_prevents_a_loss() -> None:
    game = get_game("tic_tac_toe")
    search = RolloutSearcher(game, 300)
    assert search.choose(played(game, [0, 3, 1, 4]), [1]).tolist() == [2]
    assert search.choose(played(game, [0, 3, 1]), [1]).tolist() == [2]


def test_the_roots_statistics_are_from_the_side_to_move() -> None:
    game = get_game("tic_tac_toe")
    search = RolloutSearcher(game, 500)
    for moves in ([0, 3, 1, 4], [8, 0, 6, 1, 5]):  # X wins at 2; O wins at 2
        search.choose(played(game, moves), [5])
        found = search.root_statistics()
        assert sum(visits for visits, _ in found.values()) == 500
        assert set(found) == set(range(9)) - set(moves)
        assert found[2][1] == 1.0
        assert max(found, key=lambda action: found[action][0]) == 2


def test_enough_rollouts_never_lose_tic_tac_toe_to_random() -> None:
    game = get_game("tic_tac_toe")
    search = RolloutSearcher(game, 500)
    rng = np.random.default_rng(3)
    for index in range(40):
        states = game.new_states(1)
        while not states[0].done:
            if states[0].to_play == index % 2:
                action = int(search.choose(states, [index])[0])
            else:
                action = int(rng.choice(game.legal_actions(states[0])))
            play_one(states[0], action)
        lost = outcome_of(states[0]) * (1 if states[0].to_play == index % 2 else -1) < 0
        assert not lost


@pytest.mark.parametrize("name", ["tic_tac_toe", "go5"])
def test_a_row_depends_on_its_position_and_seed_only(name: str) -> None:
    game = get_game(name)
    search = RolloutSearcher(game, 60)
    states = game.new_states(3)
    play_one(states[1], 2)
    play_one(states[2], 4)
    together = search.choose(states, [11, 12, 13])
    for i in range(3):
        assert search.choose(states[i : i + 1], [11 + i])[0] == together[i]
    assert len({int(search.choose(states[:1], [seed])[0]) for seed in range(12)}) > 1


def test_a_searchers_own_stream_is_reproducible() -> None:
    game = get_game("go5")
    states = game.new_states(6)
    one, two = RolloutSearcher(game, 40, 7), RolloutSearcher(game, 40, 7)
    assert one.choose(states).tolist() == two.choose(states).tolist()


def test_plain_mcts_advances_its_stream() -> None:
    game = get_game("go5")
    rng = make_rng(0)
    state = game.new_states(1)[0]
    assert len({plain_mcts(game, state, 20, rng) for _ in range(10)}) > 1


def test_a_search_in_steps_is_the_same_search() -> None:
    states = played(get_game("go5"), [12, 6])
    whole, parts = (RolloutSearcher(get_game("go5"), 50, 4) for _ in range(2))
    for _ in range(2):  # the second search draws another seed
        action = int(whole.choose(states)[0])
        parts.begin(states)
        sizes = iter((1, 2, 30, 100))
        while parts.step(next(sizes)):
            assert 0 < sum(n for n, _ in parts.root_statistics().values()) < 50
        assert parts.best() == action
        assert parts.root_statistics() == whole.root_statistics()


def test_no_rollouts_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        RolloutSearcher(get_game("go5"), 0)


def test_more_rollouts_are_stronger() -> None:
    game = get_game("go5")
    few, many, n = sized((10, 200, 20), (2, 60, 8))
    searchers = {0: RolloutSearcher(game, few), 1: RolloutSearcher(game, many)}
    states = game.new_states(n)
    weak_side = np.arange(n) % 2
    while not states["done"].all():
        for which, search in searchers.items():
            turn = (states["to_play"] == weak_side) == (which == 0)
            rows = np.flatnonzero(turn & (states["done"] == 0))
            if len(rows):
                for row, action in zip(rows, search.choose(states[rows]), strict=True):
                    play_one(states[row], int(action))
    wins = sum((score_of(states[i]) > 0) == bool(weak_side[i]) for i in range(n))
    assert wins >= 0.75 * n


DIAGRAMS: dict[str, tuple[str, str]] = {
    "the larger of two captures": (
        """
        . O O X .
        X X X . .
        . . . . .
        O X . . .
        . . . . .
        """,
        "A5",
    ),
    "an extension that saves": (
        """
        . . . . .
        . . O . .
        . O X O .
        . . . . .
        . . . . .
        """,
        "C2",
    ),
}


def board(text: str, to_play: int = 0) -> tuple[Game, States]:
    """A 5x5 position drawn with X for Black and O for White."""
    game = get_game("go5")
    stones = np.array([" XO".index(c) if c in "XO" else 0 for c in text.split()])
    states = game.new_states(1)
    drawn = np.where(stones == 2, -1, stones).astype(np.int8)
    assert go.set_up(states[0], drawn, to_play)
    return game, states


def captures(game: Game, states: States, seed: int = 0) -> int:
    out = np.zeros(1, np.int32)
    capture_actions(states, game.new_states(2), np.array([seed], np.uint64), out)
    return int(out[0])


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_capture_bot(name: str) -> None:
    text, move = DIAGRAMS[name]
    game, states = board(text)
    assert {game.action_name(captures(game, states, seed)) for seed in range(5)} == {move}


def test_the_capture_bot_gives_a_lost_chain_up() -> None:
    # Black's stone in the corner has one liberty, and no more after extending.
    game, states = board(
        """
        X . O . .
        O O . . .
        . . . . .
        . . . . .
        . . . . .
        """
    )
    chosen = {game.action_name(captures(game, states, seed)) for seed in range(30)}
    assert len(chosen) > 3


def test_the_capture_bot_beats_random() -> None:
    game = get_game("go5")
    n = 60
    states: Any = game.new_states(n)
    scratch = game.new_states(2)
    rng = np.random.default_rng(1)
    bot_side = np.arange(n) % 2
    while not states["done"].all():
        for bot in (True, False):
            rows = np.flatnonzero(((states["to_play"] == bot_side) == bot) & (states["done"] == 0))
            out = np.zeros(len(rows), np.int32)
            seeds = rng.integers(0, 2**63, len(rows)).astype(np.uint64)
            if bot:
                capture_actions(states[rows], scratch, seeds, out)
            else:
                random_actions(states[rows], seeds, out)
            for row, action in zip(rows, out, strict=True):
                play_one(states[row], int(action))
    wins = sum((score_of(states[i]) > 0) == (bot_side[i] == 0) for i in range(n))
    assert wins >= 36
