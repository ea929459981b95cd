"""Random games in step with OpenSpiel, and scores against sgfmill's board.

Where OpenSpiel's rules differ, the difference itself is checked:

* Superko. OpenSpiel's Go forbids only the simple ko. A move that brings back an earlier board is
  legal there, ends the game at once, and counts as a draw. Under our `simple` rule the two sets of
  legal moves are equal until that happens; under `positional` every move that we forbid beyond
  OpenSpiel's must be one that ends its game as such a draw.
* Length. OpenSpiel stops after `max_game_length` moves, 2 * size**2 by default; here it is set to
  our `move_limit`. Both then score the board as it stands.
* Passes, suicide and area scoring are the same; OpenSpiel has no option for suicide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sgfmill.boards import Board

from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game, State
from ghostgo.engine.games.go import board_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import Rng, kernel, make_rng

pyspiel = pytest.importorskip("pyspiel")


def oracle_action(game: Game, action: int) -> int:
    """OpenSpiel's number of our action in Go, where it counts from the lower left."""
    if action == game.points:
        return action
    row, col = divmod(action, game.cols)
    return int((game.rows - 1 - row) * game.cols + col)


def check_end(state: State, oracle: Any) -> None:
    returns = oracle.returns()
    assert np.sign(kernels.score_of(state)) == returns[0]
    assert kernels.outcome_of(state) == returns[state.to_play]


def compare(game: Game, oracle: Any, seed: int, plies: int) -> int:
    """Random games in step until `plies` are played; returns the number of games."""
    rng, played, games = np.random.default_rng(seed), 0, 0
    mask = np.zeros(game.actions, np.uint8)
    while played < plies:
        state, other = game.new_states(1)[0], oracle.new_initial_state()
        while not state.done:
            assert not other.is_terminal()
            assert other.current_player() == state.to_play
            kernels.legal_mask_of(state, mask)
            legal = np.flatnonzero(mask).tolist()
            assert legal == other.legal_actions()
            action = legal[rng.integers(len(legal))]
            kernels.play_one(state, action)
            other.apply_action(action)
            played += 1
        assert other.is_terminal()
        check_end(state, other)
        games += 1
    return games


ORACLES = {
    "tic_tac_toe": "tic_tac_toe",
    "connect_four": "connect_four",
    "connect_four_4x5": "connect_four(rows=4,columns=5)",
    "othello": "othello",
    "hex5": "hex(board_size=5)",
    "hex9": "hex(board_size=9)",
    "gomoku9": "mnk(m=9,n=9,k=5)",
    "gomoku15": "mnk(m=15,n=15,k=5)",
}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_random_games_equal_openspiel(name: str) -> None:
    compare(get_game(name), pyspiel.load_game(ORACLES[name]), 1, 4_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ORACLES))
def test_a_million_plies_equal_openspiel(name: str) -> None:
    compare(get_game(name), pyspiel.load_game(ORACLES[name]), 2, 1_000_000)


class GoComparison:
    """Random games of Go in step with OpenSpiel, and counts of what was met on the way."""

    def __init__(self, size: int, ko: str, komi: float) -> None:
        self.game = get_game(f"go{size}")
        self.rules = {"ko": ko, "komi": komi}
        limit = int(self.game.rules["move_limit"])
        self.oracle = pyspiel.load_game(
            f"go(board_size={size},komi={komi},max_game_length={limit})"
        )
        self.to_oracle = [oracle_action(self.game, a) for a in range(self.game.actions)]
        self.strict = ko != "simple"
        self.plies = self.games = self.forbidden = self.superko_draws = 0

    def play(self, rng: np.random.Generator) -> None:
        """One game, passing rarely so that boards fill up."""
        game = self.game
        mask = np.zeros(game.actions, np.uint8)
        state, other = game.new_states(1, self.rules)[0], self.oracle.new_initial_state()
        seen = {bytes(game.points)}
        self.games += 1
        while not state.done:
            assert not other.is_terminal() and other.current_player() == state.to_play
            kernels.legal_mask_of(state, mask)
            legal = np.flatnonzero(mask).tolist()
            ours, theirs = {self.to_oracle[a] for a in legal}, set(other.legal_actions())
            self.check_sets(ours, theirs, other)
            moves = legal[:-1] if len(legal) > 1 and rng.random() > 0.005 else legal[-1:]
            action = moves[rng.integers(len(moves))]
            kernels.play_one(state, action)
            other.apply_action(self.to_oracle[action])
            self.plies += 1
            board = self.board(state)
            if action != game.points and board in seen:
                assert not self.strict, "a move that we allow repeats a board"
                assert other.is_terminal() and other.returns() == [0.0, 0.0]
                self.superko_draws += 1
                return
            seen.add(board)
        assert other.is_terminal()
        check_end(state, other)

    def board(self, state: State) -> bytes:
        board = np.zeros(self.game.points, np.int8)
        board_of(state, board)
        return board.tobytes()

    def check_sets(self, ours: set[int], theirs: set[int], other: Any) -> None:
        if not self.strict:
            assert ours == theirs
            return
        assert ours <= theirs
        for action in theirs - ours:
            child = other.child(action)
            assert child.is_terminal() and child.returns() == [0.0, 0.0]
            self.forbidden += 1


@pytest.mark.parametrize(
    ("size", "ko", "plies"),
    [
        (5, "positional", 6_000),
        (5, "simple", 6_000),
        (9, "positional", 2_500),
        (9, "simple", 2_500),
        (19, "positional", 900),
    ],
)
def test_go_equals_openspiel(size: int, ko: str, plies: int) -> None:
    comparison, rng = GoComparison(size, ko, 0.5), np.random.default_rng(size)
    while comparison.plies < plies:
        comparison.play(rng)
    if size == 5:
        met = comparison.forbidden if ko == "positional" else comparison.superko_draws
        assert met > 0, "the sample holds no superko"


@pytest.mark.slow
@pytest.mark.parametrize("ko", ["positional", "simple"])
@pytest.mark.parametrize("size", [5, 9, 19])
def test_a_million_plies_of_go_equal_openspiel(size: int, ko: str) -> None:
    comparison, rng = GoComparison(size, ko, 0.5), np.random.default_rng(100 + size)
    while comparison.plies < 500_000:
        comparison.play(rng)


@kernel
def play_steps(state: State, actions: int, steps: int, rng: Rng) -> None:
    """Up to `steps` uniformly random board moves (a pass only when there is no other)."""
    for _ in range(steps):
        if state.done:
            return
        action = kernels.uniform_legal_action(state, actions - 1, rng)
        kernels.play(state, actions - 1 if action < 0 else action)


def sgfmill_score(game: Game, board: np.ndarray[Any, Any]) -> float:
    """Area score without komi by sgfmill, which names rows from the bottom."""
    other = Board(game.rows)
    stones: dict[str, list[tuple[int, int]]] = {"b": [], "w": []}
    for point in np.flatnonzero(board):
        row, col = divmod(int(point), game.cols)
        stones["b" if board[point] > 0 else "w"].append((game.rows - 1 - row, col))
    other.apply_setup(stones["b"], stones["w"], [])
    return float(other.area_score())


def check_scores(size: int, boards: int, seed: int) -> None:
    """Boards after a random number of random moves, and after whole playouts."""
    game, rng = get_game(f"go{size}"), make_rng(seed)
    numbers, board = np.random.default_rng(seed), np.zeros(size * size, np.int8)
    for i in range(boards):
        state = game.new_states(1, {"komi": 0.0})[0]
        if i % 2:
            kernels.random_playout(state, rng)
        else:
            play_steps(state, game.actions, int(numbers.integers(3 * size * size)), rng)
        board_of(state, board)
        assert kernels.score_of(state) == sgfmill_score(game, board)


@pytest.mark.parametrize(("size", "boards"), [(5, 400), (9, 200), (19, 20)])
def test_scores_equal_sgfmill(size: int, boards: int) -> None:
    check_scores(size, boards, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "boards"), [(5, 60_000), (9, 35_000), (19, 5_000)])
def test_100_000_scores_equal_sgfmill(size: int, boards: int) -> None:
    check_scores(size, boards, 5)
