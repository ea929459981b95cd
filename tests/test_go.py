"""Go against the naive twin on random games, and hand-drawn positions for every special rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from game_suite import bf16_to_float
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ReferenceGo

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game, State
from ghostgo.engine.games.go import board_of, set_up
from ghostgo.engine.games.registry import get_game

STONES = {"X": 1, "O": -1, ".": 0}


def parse(drawing: str) -> np.ndarray[Any, np.dtype[np.int8]]:
    """A board drawn with X (Black), O (White) and dots, blanks ignored."""
    return np.array([STONES[c] for c in drawing if c in STONES], np.int8)


def draw(game: Game, state: State) -> list[str]:
    board = np.full(game.points, 9, np.int8)
    board_of(state, board)
    text = "".join({1: "X", -1: "O", 0: "."}[int(stone)] for stone in board)
    return [text[i : i + game.cols] for i in range(0, len(text), game.cols)]


def position(game: Game, drawing: str, to_play: str = "X", **rules: Any) -> State:
    state = game.new_states(1, rules)[0]
    assert set_up(state, parse(drawing), "XO".index(to_play))
    return state


def play(game: Game, state: State, *names: str) -> None:
    for name in names:
        action = game.parse_action(name)
        assert kernels.is_legal_one(state, action), f"{name} is illegal"
        kernels.play_one(state, action)


def legal(game: Game, state: State, name: str) -> bool:
    return kernels.is_legal_one(state, game.parse_action(name))


def plane(game: Game, state: State, name: str) -> list[str]:
    """The points where a plane is not zero, by name."""
    mask = np.zeros(game.actions, np.uint8)
    kernels.legal_mask_of(state, mask)
    planes = np.zeros((game.points, game.planes), np.uint16)
    kernels.write_planes_of(state, mask, planes)
    lit = np.flatnonzero(planes[:, game.plane_names.index(name)])
    return [game.action_name(int(point)) for point in lit]


# Against the naive twin


def check_against_reference(
    game: Game, rules: dict[str, Any], rng: np.random.Generator, pass_rate: float = 0.02
) -> int:
    """One random game, everything compared at every ply; returns how often a ko rule forbade."""
    state = game.new_states(1, rules)[0]
    full = {**game.rules, **rules}
    reference = ReferenceGo(game.rows, game.cols, **full)
    mask, owners = np.zeros(game.actions, np.uint8), np.zeros(game.points, np.int8)
    board, repeats = np.zeros(game.points, np.int8), 0
    while not reference.done:
        allowed = reference.legal_actions()
        repeats += sum(
            reference.after(point) is not None and point not in allowed
            for point in range(game.points)
        )
        kernels.legal_mask_of(state, mask)
        assert np.flatnonzero(mask).tolist() == allowed
        board_of(state, board)
        assert tuple(board) == reference.board
        kernels.ownership_of(state, owners)
        assert owners.tolist() == reference.ownership()
        assert kernels.score_of(state) == reference.score()
        assert not state.done
        moves = allowed[:-1]
        action = int(rng.choice(moves)) if moves and rng.random() > pass_rate else game.points
        kernels.play_one(state, action)
        reference.play(action)
    assert state.done and state.move_number == len(reference.moves)
    assert kernels.score_of(state) == reference.score()
    return repeats


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
@pytest.mark.parametrize("suicide", [False, True])
@pytest.mark.parametrize(("name", "games"), [("go2", 40), ("go3", 12), ("go4x7", 1), ("go5", 2)])
def test_random_games_equal_the_naive_twin(name: str, games: int, ko: str, suicide: bool) -> None:
    game, rng = get_game(name), np.random.default_rng(games)
    rules = {"ko": ko, "suicide": suicide}
    repeats = sum(check_against_reference(game, rules, rng) for _ in range(games))
    if name == "go3" and ko != "simple":
        assert repeats > 0, "the sample holds no superko at all"


@pytest.mark.slow
@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
@pytest.mark.parametrize("suicide", [False, True])
@pytest.mark.parametrize(
    ("name", "games"),
    [("go2", 400), ("go3", 200), ("go4x7", 40), ("go5", 40), ("go9", 8), ("go13x7", 4)],
)
def test_many_random_games_equal_the_naive_twin(
    name: str, games: int, ko: str, suicide: bool
) -> None:
    game, rng = get_game(name), np.random.default_rng(1000 + games)
    for _ in range(games):
        check_against_reference(game, {"ko": ko, "suicide": suicide}, rng, 0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 0, 1, -1]), min_size=25, max_size=25),
    st.booleans(),
    st.booleans(),
)
def test_any_position_that_can_be_set_up(stones: list[int], white: bool, suicide: bool) -> None:
    game = get_game("go5")
    reference = ReferenceGo(5, 5, suicide=suicide)
    alive = all(not s or reference.liberties(stones, p) for p, s in enumerate(stones))
    state = game.new_states(1, {"suicide": suicide})[0]
    assert set_up(state, np.array(stones, np.int8), int(white)) == alive
    if not alive:
        return
    reference.boards = [tuple(stones)]
    reference.to_play = -1 if white else 1
    reference.seen = {(tuple(stones), 0)}
    assert game.legal_actions(state).tolist() == reference.legal_actions()
    assert kernels.score_of(state) == reference.score() - state.komi
    for action in reference.legal_actions():
        states = game.new_states(1)
        states[0] = state
        kernels.play_one(states[0], action)
        board = np.zeros(25, np.int8)
        board_of(states[0], board)
        assert tuple(board.tolist()) == reference.after(action)


def test_hash_of_a_set_up_position_is_that_of_playing_to_it() -> None:
    game = get_game("go5")
    played = game.new_states(1)[0]
    play(game, played, "C3", "D3", "C4", "D4")
    assert played.hash == position(game, "..... ..XO. ..XO. ..... .....").hash
    assert played.hash != position(game, "..... ..XO. ..XO. ..... .....", "O").hash
    play(game, played, "pass")
    assert played.hash != position(game, "..... ..XO. ..XO. ..... .....", "O").hash


# Captures, suicide, snapback


def test_captures_on_the_side_and_in_the_middle() -> None:
    game = get_game("go5")
    state = position(game, "OX... ..... ..O.. .OXO. .....")
    play(game, state, "A4")
    assert draw(game, state) == [".X...", "X....", "..O..", ".OXO.", "....."]
    play(game, state, "C1")
    assert draw(game, state) == [".X...", "X....", "..O..", ".O.O.", "..O.."]
    assert state.captures.tolist() == [1, 1]


def test_one_move_captures_several_chains() -> None:
    game = get_game("go5")
    state = position(game, "..X.. .XOX. XO.X. .XOX. ..X..")
    play(game, state, "C3")
    assert draw(game, state) == ["..X..", ".X.X.", "X.XX.", ".X.X.", "..X.."]
    assert state.captures.tolist() == [3, 0]


def test_suicide_is_forbidden_unless_it_captures() -> None:
    game = get_game("go5")
    assert not legal(game, position(game, ".X... X.... ..... ..... .....", "O"), "A5")
    state = position(game, ".XO.. XO... ..... ..... .....", "O")
    play(game, state, "A5")
    assert draw(game, state)[:2] == ["O.O..", "XO..."]


def test_suicide_by_option_takes_two_stones_but_never_one() -> None:
    game = get_game("go5")
    alone = ".X... X.... ..... ..... ....."
    assert not legal(game, position(game, alone, "O", suicide=True), "A5")
    two = ".OX.. XX... ..... ..... ....."
    assert not legal(game, position(game, two, "O"), "A5")
    state = position(game, two, "O", suicide=True)
    play(game, state, "A5")
    assert draw(game, state)[:2] == ["..X..", "XX..."]
    assert state.captures.tolist() == [2, 0], "removed stones are the opponent's prisoners"


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_suicide_may_not_bring_back_an_old_position(ko: str) -> None:
    game = get_game("go5")
    state = position(game, "..X.. XX... ..... ..... .....", "O", ko=ko, suicide=True)
    play(game, state, "A5", "pass")
    # B5 would remove both white stones and leave the first board, now with Black to move.
    assert legal(game, state, "B5") == (ko != "positional")


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_snapback_is_no_ko(ko: str) -> None:
    game = get_game("go5")
    state = position(game, "..X.. OOX.. XX... ..... .....", ko=ko)
    play(game, state, "A5", "B5")
    assert draw(game, state)[:2] == [".OX..", "OOX.."]
    play(game, state, "A5")
    assert draw(game, state)[:2] == ["X.X..", "..X.."]
    assert state.captures.tolist() == [3, 1]


# Ko


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_ko_may_be_retaken_only_after_a_move_elsewhere(ko: str) -> None:
    game = get_game("go5")
    state = position(game, ".XO.. XO.O. .XO.. ..... .....", ko=ko)
    play(game, state, "C4")
    assert draw(game, state)[1] == "X.XO."
    assert not legal(game, state, "B4")
    assert plane(game, state, "empty_but_illegal") == ["A5", "B4"]  # suicide, ko
    play(game, state, "E1", "E2", "B4")
    assert draw(game, state)[1] == "XO.O."
    assert not legal(game, state, "C4")


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
@pytest.mark.parametrize("black_passes_first", [False, True])
def test_sending_two_returning_one(ko: str, black_passes_first: bool) -> None:
    game = get_game("go5")
    start = "X" if black_passes_first else "O"
    state = position(game, ".O.O. XXO.. ..... ..... .....", start, ko=ko)
    if black_passes_first:
        play(game, state, "pass")
    play(game, state, "A5", "C5")
    assert draw(game, state)[0] == "..XO."
    # B5 takes one stone and leaves the first board, with Black to move.
    forbidden = {"positional": True, "situational": black_passes_first, "simple": False}
    assert legal(game, state, "B5") != forbidden[ko]


@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_triple_ko(ko: str) -> None:
    game = get_game("go9")
    white_holds, black_holds = [".XO.", "XO.O", ".XO."], [".XO.", "X.XO", ".XO."]
    rows = [row + "....." for row in white_holds + black_holds + white_holds]
    state = position(game, "".join(rows), ko=ko)
    play(game, state, "C8", "B5", "C2", "B8", "C5")
    assert legal(game, state, "B2") == (ko == "simple")
    play(game, state, "J9", "J1")
    assert not legal(game, state, "C2"), "Black has just taken there, and White cannot"


# The end and the score


@pytest.mark.parametrize(
    ("drawing", "score"),
    [
        ("..... ..... ..... ..... .....", 0),
        ("..... ..... ..X.. ..... .....", 25),
        (".X.O. .X.O. .X.O. .X.O. .X.O.", 0),
        ("O.X.. ..X.. ..X.. ..X.. ..X..", 14),  # the lone white stone is alive until captured
        ("XXXXX X.XOO XXOO. X.XO. XXXOO", 16 - 9),
    ],
)
def test_area_score(drawing: str, score: float) -> None:
    game = get_game("go5")
    assert kernels.score_of(position(game, drawing, komi=0)) == score
    assert kernels.score_of(position(game, drawing, komi=2.5)) == score - 2.5


def test_owners() -> None:
    game = get_game("go5")
    owners = np.full(25, 9, np.int8)
    kernels.ownership_of(position(game, ".X.O. .X.O. .X.O. .XXO. .X.O."), owners)
    assert owners.reshape(5, 5).tolist() == [
        [1, 1, 0, -1, -1],
        [1, 1, 0, -1, -1],
        [1, 1, 0, -1, -1],
        [1, 1, 1, -1, -1],
        [1, 1, 0, -1, -1],
    ]


def test_two_passes_end_the_game() -> None:
    game = get_game("go5")
    state = game.new_states(1)[0]
    play(game, state, "C3", "pass", "B2", "pass", "pass")
    assert state.done and not legal(game, state, "pass")
    assert kernels.outcome_of(state) == -1, "White is to move and has lost"


def test_move_limit_ends_the_game_as_it_stands() -> None:
    game = get_game("go5")
    state = game.new_states(1, {"move_limit": 3, "komi": 24.5})[0]
    play(game, state, "C3", "pass")
    assert not state.done
    play(game, state, "B2")
    assert state.done and kernels.score_of(state) == 0.5
    assert kernels.outcome_of(state) == -1


def test_longest_game_stays_within_its_history() -> None:
    game = get_game("go2")
    state = game.new_states(1, {"suicide": True, "ko": "simple"})[0]
    while not state.done:
        moves = game.legal_actions(state)
        board_moves = moves[moves < game.points]
        kernels.play_one(state, int(board_moves[0]) if len(board_moves) else game.points)
    assert state.move_number <= game.max_moves == state.move_limit
    assert state.history_length == state.move_number + 1 <= len(state.history)


# Planes


def test_planes_show_liberties_recent_moves_and_rules() -> None:
    game = get_game("go5")
    state = game.new_states(1, {"komi": 6.0, "ko": "situational", "suicide": True})[0]
    play(game, state, "A1", "B1", "E5", "C3", "A5", "D5", "pass")
    assert plane(game, state, "chain_1_liberty") == ["E5", "A1"]
    assert plane(game, state, "chain_2_liberties") == ["A5", "D5", "B1"]
    assert plane(game, state, "chain_3_liberties") == []
    assert plane(game, state, "own_stones") == ["D5", "C3", "B1"]
    assert plane(game, state, "opponent_stones") == ["A5", "E5", "A1"]
    assert plane(game, state, "last_move") == []
    assert plane(game, state, "move_before_1") == ["D5"]
    assert plane(game, state, "move_before_4") == ["E5"]
    for name in ("on_board", "last_move_was_pass", "situational_superko_rule", "suicide_allowed"):
        assert len(plane(game, state, name)) == 25
    assert plane(game, state, "simple_ko_rule") == []
    planes = np.zeros((25, game.planes), np.uint16)
    kernels.write_planes_of(state, np.ones(26, np.uint8), planes)
    komi = game.plane_names.index("komi_for_side_to_move")
    assert bf16_to_float(planes[0, komi]) == 6 / 16, "White is to move and receives komi"


# Rule options


@pytest.mark.parametrize(
    "rules",
    [
        {"ko": "super"},
        {"ko": None},
        {"komi": 0.3},
        {"komi": float("nan")},
        {"komi": 1e9},
        {"komi": "much"},
        {"komi": None},
        {"suicide": "maybe"},
        {"move_limit": 0},
        {"move_limit": 10**6},
        {"move_limit": "long"},
        {"move_limit": 2.5},
        {"handicap": 2},
    ],
)
def test_wrong_rules_are_refused_by_name(rules: dict[str, Any]) -> None:
    name = next(iter(rules))
    with pytest.raises(UserError, match=name) as refused:
        get_game("go5").new_states(1, rules)
    assert "\n" not in str(refused.value)


def test_rules_are_kept_in_the_state() -> None:
    state = get_game("go5").new_states(1, {"komi": -0.5, "ko": "simple", "move_limit": 7})[0]
    assert (state.komi, state.ko_rule, state.move_limit, state.suicide) == (-0.5, 2, 7, 0)


def test_one_stone_owns_the_largest_board() -> None:
    """Without the compiler too, where sums of bytes would overflow."""
    state = get_game("go19").new_states(1, {"komi": 0.0})[0]
    kernels.play_one(state, 180)
    assert kernels.score_of(state) == 361
