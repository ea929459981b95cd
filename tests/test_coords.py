"""Coordinates and symmetry tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostgo.engine import coords, symmetry
from ghostgo.engine.errors import UserError

SIDES = st.integers(2, 19)


@pytest.mark.parametrize(
    ("action", "gtp", "sgf"),
    [
        (0, "A9", "aa"),
        (8, "J9", "ia"),
        (7, "H9", "ha"),
        (72, "A1", "ai"),
        (80, "J1", "ii"),
        (40, "E5", "ee"),
        (81, "pass", ""),
    ],
)
def test_names_of_points_on_9x9(action: int, gtp: str, sgf: str) -> None:
    assert coords.to_gtp(action, 9, 9) == gtp
    assert coords.to_sgf(action, 9, 9) == sgf
    assert coords.from_gtp(gtp, 9, 9) == coords.from_sgf(sgf, 9, 9) == action
    if action < 81:
        assert coords.to_row_col(action, 9) == (action // 9, action % 9)


def test_tt_is_a_pass_up_to_19() -> None:
    assert coords.from_sgf("tt", 19, 19) == 361
    assert coords.from_sgf("tt", 9, 9) == 81
    assert coords.from_sgf("tt", 20, 20) == 19 * 20 + 19


@given(SIDES, SIDES, st.data())
def test_names_round_trip(rows: int, cols: int, data: st.DataObject) -> None:
    action = data.draw(st.integers(0, rows * cols))
    name = coords.to_gtp(action, rows, cols)
    assert "I" not in name
    assert coords.from_gtp(f" {name.lower()} ", rows, cols) == action
    assert coords.from_sgf(coords.to_sgf(action, rows, cols), rows, cols) == action


@given(st.text(max_size=4), SIDES, SIDES)
def test_any_text_is_a_point_or_refused(text: str, rows: int, cols: int) -> None:
    for read in (coords.from_gtp, coords.from_sgf, coords.from_name):
        try:
            assert 0 <= read(text, rows, cols) <= rows * cols
        except UserError as refused:
            assert repr(text) in str(refused)


@pytest.mark.parametrize(
    "text", ["", "I5", "A0", "A10", "K1", "5A", "A", "A-1", "A1x", "A¹", "AA1", "a٣"]
)
def test_wrong_vertices_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="A1 to J9"):
        coords.from_gtp(text, 9, 9)


def test_a_game_without_passes_refuses_one() -> None:
    assert coords.from_name("a3", 3, 3) == 0
    with pytest.raises(UserError, match="no pass"):
        coords.from_name("pass", 3, 3)
    with pytest.raises(UserError, match="'d1' is not a point of this board: A1 to C3$"):
        coords.from_name("d1", 3, 3)
    with pytest.raises(UserError, match="A1 to C3, or pass$"):
        coords.from_gtp("d1", 3, 3)


@given(SIDES, SIDES)
def test_board_symmetries_keep_neighbours(rows: int, cols: int) -> None:
    table = symmetry.board_symmetries(rows, cols)
    assert len(table) == (8 if rows == cols else 4)
    assert len({row.tobytes() for row in table}) == len(table)
    assert (table[0] == np.arange(rows * cols)).all()
    row, col = np.divmod(table, cols)
    steps = np.abs(np.diff(row.reshape(-1, rows, cols), axis=2))
    steps += np.abs(np.diff(col.reshape(-1, rows, cols), axis=2))
    assert (steps == 1).all(), "points side by side stay side by side"
    undone = np.take_along_axis(symmetry.inverse(table), table, axis=1)
    assert (undone == np.arange(rows * cols)).all()


def test_symmetries_form_a_group() -> None:
    table = symmetry.board_symmetries(5, 5)
    members = {row.tobytes() for row in table}
    assert all(a[b].tobytes() in members for a in table for b in table)


@given(SIDES, SIDES)
def test_mirror_keeps_rows(rows: int, cols: int) -> None:
    table = symmetry.mirror_columns(rows, cols)
    assert table.shape == (2, rows * cols)
    assert (table[1] // cols == table[0] // cols).all()
    assert (table[1][table[1]] == table[0]).all()
