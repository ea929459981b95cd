"""Forecasts without a network: against slow twins, under symmetries, and by the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_replay import random_table

from ghostgo.data.records import GameTable
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import is_legal_one, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.warmstart.baselines import Baselines, fitted_apart, look

GAME = get_game("go5")
SIZE = GAME.rows


@pytest.fixture(scope="module")
def table() -> GameTable:
    return random_table("go5", 6, searched=False)


def every(table: GameTable) -> np.ndarray:
    return np.arange(table.positions)


def stones(state: Any) -> np.ndarray:
    """(rows, cols) 0 empty, 1 black, 2 white."""
    return (
        np.asarray(state.board)
        .reshape(-1)[: (SIZE + 2) * (SIZE + 1)]
        .reshape(SIZE + 2, SIZE + 1)[1:-1, 1:]
    )


def liberties(board: np.ndarray, row: int, col: int) -> int:
    """Of the chain at a point, by flood fill."""
    chain, found, todo = set(), set(), [(row, col)]
    while todo:
        at = todo.pop()
        if at in chain:
            continue
        chain.add(at)
        for step in ((-1, 0), (0, 1), (1, 0), (0, -1)):
            r, c = at[0] + step[0], at[1] + step[1]
            if 0 <= r < SIZE and 0 <= c < SIZE:
                if board[r, c] == 0:
                    found.add((r, c))
                elif board[r, c] == board[row, col]:
                    todo.append((r, c))
    return len(found)


def slow_pattern(board: np.ndarray, to_play: int, row: int, col: int) -> int:
    ring = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    code = 0
    for k, (down, right) in enumerate(ring):
        r, c = row + down, col + right
        if not (0 <= r < SIZE and 0 <= c < SIZE):
            code += 3 * 4**k
        elif board[r, c]:
            code += (1 if board[r, c] == to_play + 1 else 2) * 4**k
            if k % 2 == 0 and liberties(board, r, c) == 1:
                code += 2 ** (16 + k // 2)
    return code


def test_positions_are_those_of_a_slow_replay(table: GameTable) -> None:
    (seen,) = look(GAME, table, every(table))
    place = ataris = 0
    for g in range(len(table)):
        state = GAME.new_states(1, table.rules_of(g))[0]
        before = -1
        for number, move in enumerate(table.moves_of(g).tolist()):
            assert (seen.number[place], seen.last[place]) == (number, before)
            assert seen.played[place] == move
            board = stones(state)
            for action in range(GAME.points):
                legal = is_legal_one(state, action)
                assert seen.legal[place, action] == legal
                if legal:
                    wanted = slow_pattern(board, int(state.to_play), *divmod(action, SIZE))
                    assert seen.pattern[place, action] == wanted
                    ataris += wanted >= 1 << 16
            play_one(state, move)
            before, place = move, place + 1
    assert ataris > 20, "hardly an atari: the test tests little"


def test_places_may_be_any(table: GameTable) -> None:
    (whole,) = look(GAME, table, every(table))
    some = every(table)[5::7]
    (part,) = look(GAME, table, some)
    mine: Any
    all_of: Any
    for mine, all_of in zip(part, whole, strict=True):
        np.testing.assert_array_equal(mine, all_of[some])


def test_chances_add_up_and_the_simple_ones_are_counts(table: GameTable) -> None:
    fitted = Baselines(table)
    (seen,) = look(GAME, table, every(table))
    legal = np.concatenate([seen.legal, np.ones((len(seen.legal), 1), bool)], axis=1)
    found = fitted.forecasts(seen)
    for log in found.values():
        np.testing.assert_allclose(np.exp(log).sum(axis=1), 1)
        assert ((log > -np.inf) == legal).all()
    uniform = 1 / legal.sum(axis=1)
    np.testing.assert_allclose(np.exp(found["uniform"][:, -1]), uniform)
    judged = fitted.judge(table, every(table))["uniform"]
    board = seen.played < GAME.points
    np.testing.assert_allclose(judged.loss, -np.log(uniform))
    hit = 1 / seen.legal.sum(axis=1)[board]
    np.testing.assert_allclose(judged.top1[board], hit)
    np.testing.assert_allclose(judged.top5[board], np.minimum(5 * hit, 1))
    assert not judged.top1[~board].any()
    firsts = seen.number == 0
    counts = 1 + np.bincount(seen.played[firsts], minlength=GAME.actions)
    np.testing.assert_allclose(np.exp(found["point"][firsts][0]), counts / counts.sum())


def test_the_table_knows_no_side_of_the_board(table: GameTable) -> None:
    """Fitted on a game's images it says the same; the point by move number does not."""
    image = GAME.action_symmetries[3]
    turned = replace(table, moves=image[table.moves].astype(np.int16))
    (seen,) = look(GAME, table, every(table))
    mine, other = (Baselines(each).forecasts(seen) for each in (table, turned))
    np.testing.assert_allclose(mine["table"], other["table"])
    assert not np.allclose(mine["point"], other["point"])


def test_each_feature_is_learnt() -> None:
    """Moves next to the last one are told apart by distance alone, and the share is by hand."""
    table = random_table("go5", 8, searched=False)
    fitted = Baselines(table)
    (seen,) = look(GAME, table, every(table))
    board = np.flatnonzero(seen.played < GAME.points)
    rows, cols = np.divmod(np.arange(GAME.points), SIZE)
    for distance in (2, 3, 6):
        played = offered = 0
        for i in board:
            if not 0 <= seen.last[i] < GAME.points:
                continue
            down, right = abs(rows - rows[seen.last[i]]), abs(cols - cols[seen.last[i]])
            at = down + right + np.maximum(down, right) == distance
            offered += int((at & seen.legal[i]).sum())
            played += bool(at[seen.played[i]])
        mean = len(board) / seen.legal[board].sum()
        wanted = np.log((played + 1) / (offered * mean + 1))
        assert fitted._weights[1][distance] == pytest.approx(wanted)


def test_games_that_are_judged_are_not_learnt(table: GameTable) -> None:
    judged = table.select([1, 4])
    turned = replace(judged, moves=GAME.action_symmetries[5][judged.moves].astype(np.int16))
    assert fitted_apart(table, turned, "t").games == 4
    with pytest.raises(UserError, match="every game in it is among those judged"):
        fitted_apart(judged, table, "t")
    with pytest.raises(UserError, match="they are for Go"):
        Baselines(random_table("tic_tac_toe", 2, searched=False))
