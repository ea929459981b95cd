"""How the full screen draws boards and what stands beside them."""

from __future__ import annotations

import numpy as np
import pytest
from screen_suite import GAMES, FirstLegal

from ghostgo.duel import Duel
from ghostgo.engine.games.registry import get_game
from ghostgo.screen_board import PALETTES, STONES, View, draw
from ghostgo.screen_layout import LARGEST_SCALE, layout_of
from ghostgo.screen_panel import Notes, graph, panel
from ghostgo.session import Session


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("scale", range(1, LARGEST_SCALE + 1))
def test_stones_stand_where_a_click_finds_them(name: str, scale: int) -> None:
    session = Session(get_game(name))
    rng = np.random.default_rng(scale)
    for _ in range(6):
        session.play(int(rng.choice(session.game.legal_actions(session.state))))
    layout = layout_of(session.game, scale)
    rows = draw(session, layout, PALETTES["dark"], View())
    assert len(rows) == layout.height and {len(row) for row in rows} == {layout.width}
    stones = session.stones()
    colors = [STONES[player] for player in session.game.player_names]
    for point in range(session.game.points):
        assert layout.point_at(*layout.character(point)) == point
        x0, y0, x1, y1 = layout.frame(point)
        assert 0 <= x0 < x1 < layout.width and 0 < y0 <= y1 < layout.height - 1
        for x, y in ((x0 + 1, y0),) if layout.lines else ((x0, y0), (x1, y1)):
            assert layout.point_at(x, y) == point or layout.lines and scale == 1
        if point == session.last_point:
            continue  # it bears a mark
        x, y = layout.character(point)
        seen = {color for cell in rows[y][x : x + 2] for color in (cell.ink, cell.ground)}
        if session.game.player_names == ("X", "O"):  # a ring is empty in its middle
            seen = {
                c for row in rows[y0 : y1 + 1] for cell in row[x0 : x1 + 1] for c in (cell.ink,)
            }
        assert (colors[0] in seen) == (stones[point] > 0)
        assert (colors[1] in seen) == (stones[point] < 0)


def test_lines_handicap_points_and_the_last_move_are_drawn() -> None:
    session = Session(get_game("go5"))
    for move in ("D4", "C3"):
        session.play(session.game.parse_action(move))
    layout = layout_of(session.game, 1)
    view = View(cursor=0, hints={1: 24}, owners=np.full(25, -1, np.int8))
    text = [
        "".join(cell.text for cell in row) for row in draw(session, layout, PALETTES["wood"], view)
    ]
    assert text[0].split() == text[-1].split() == list("ABCDE")
    assert text[1] == " 5 [■]■─■─■─■  5 "
    plain = [
        "".join(c.text for c in row) for row in draw(session, layout, PALETTES["wood"], View())
    ]
    assert plain[1:6] == [
        " 5  ┌─┬─┬─┬─┐  5 ",
        " 4  ├─•─┼─●─┤  4 ",
        " 3  ├─┼─●─┼─┤  3 ",
        " 2  ├─•─┼─•─┤  2 ",
        " 1  └─┴─┴─┴─┘  1 ",
    ]
    assert text[5].count("■") == 4 and "1" in text[5][4:13]


def test_hex_leans_and_its_sides_have_their_players_colours() -> None:
    layout = layout_of(get_game("hex5"), 2)
    lefts = [layout.corner(row * 5)[0] for row in range(5)]
    assert np.diff(lefts).tolist() == [2] * 4
    rows = draw(Session(get_game("hex5")), layout, PALETTES["wood"], View())
    assert {cell.ground for cell in rows[0] if cell.text != " "} == {STONES["Red"]}
    assert {row[-1].ground for row in rows} | {STONES["Blue"]} >= {STONES["Blue"]}


def test_the_graph_spans_nought_to_one() -> None:
    assert graph([0, 0.5, 1], 2) == ["  █", "▁██"]
    assert graph([], 2) == ["", ""]


@pytest.mark.parametrize("width", [26, 40])
def test_the_panel_keeps_to_its_size(width: int) -> None:
    game = get_game("go9")
    duel = Duel(Session(game), FirstLegal(game), 0)
    duel.bot.name = "a-run-with-a-long-name@100000"
    for point in range(40):
        duel.session.play(point)
    notes = Notes({ply: ply / 60 for ply in range(40)}, {ply: 20.0 - ply for ply in range(40)})
    notes.thinking, notes.estimate = "first is thinking: 100 visits", "first: B+3.4 expected."
    for counted in (False, True):
        notes.counted = counted
        notes.hints = duel.bot.analyse(duel.session.states) if counted else None
        lines, _ = panel(duel, notes, PALETTES["wood"], width, 20)
        assert len(lines) <= 20
        text = ["".join(piece for piece, _ in line) for line in lines]
        assert all(len(line) <= width for line in text)
        assert text[0].startswith(" ● ") and text[0].endswith(" 0 captured")
