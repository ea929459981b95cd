"""Dead stones after the end of a game of Go: marked, counted, taken back."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from screen_suite import bot_of, click, make_app, on_screen, press, status
from textual.pilot import Pilot

from ghostgo.duel import Duel
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.saved import record
from ghostgo.screen import PlayApp
from ghostgo.screen_board import PALETTES, View, draw
from ghostgo.screen_layout import fit
from ghostgo.session import Session

WALL = "C1 pass C2 pass C3 pass C4 pass C5 E1 pass E2 pass"
"""Black has all of a 5x5 board but two white stones on E1 and E2, which cannot live."""
ENDED = f"{WALL} pass"
E1, E2 = 24, 19


def ended(moves: str = ENDED) -> Session:
    session = Session(get_game("go5"), {"komi": 9})
    for move in moves.split():
        session.play(session.game.parse_action(move))
    assert session.over
    return session


def test_by_the_rules_no_stone_is_dead() -> None:
    session = ended()
    assert session.area() == (15, 2) and session.margin() == 4 and session.result() == "B+4"


def test_what_is_marked_is_taken_off_and_given_back() -> None:
    session = ended()
    before = session.states.copy()
    session.mark_dead(E1)
    assert session.dead == {E1, E2}, "the whole chain"
    assert session.area() == (25, 0) and session.result() == "B+16"
    assert (session.owners() == 1).all()
    session.mark_dead(E2)
    assert not session.dead and session.result() == "B+4"
    session.mark_dead(0 + 2)  # Black's wall, of all things
    assert session.result() == "W+34" and session.winner() == 1
    assert (session.states == before).all(), "the position itself is as it was"
    assert session.undo() and not session.dead


def test_an_agreed_draw() -> None:
    session = Session(get_game("go5"), {"komi": 0})
    for move in ["A1", "pass", "pass"]:
        session.play(session.game.parse_action(move))
    assert session.result() == "B+25"
    session.mark_dead(20)
    assert session.winner() is None and session.result() == "0"


@pytest.mark.parametrize(
    ("name", "moves", "point", "message"),
    [
        ("go5", "C3", 12, "when a game of Go is over"),
        ("go5", ENDED, 0, "A5 is empty"),
        ("tic_tac_toe", "A1 B1 A2 B2 A3", 0, "when a game of Go is over"),
    ],
)
def test_what_cannot_be_marked_is_refused(name: str, moves: str, point: int, message: str) -> None:
    session = Session(get_game(name))
    for move in moves.split():
        session.play(session.game.parse_action(move))
    with pytest.raises(UserError, match=message):
        session.mark_dead(point)
    assert not session.dead


def test_the_count_and_the_record_say_so() -> None:
    session = ended()
    duel = Duel(session, bot_of(make_app("go5")), 0)
    assert "Tromp-Taylor" in duel.reckoning()
    session.mark_dead(E1)
    assert duel.reckoning().endswith("Area scoring; 2 stones marked dead and taken off first.")
    assert duel.verdict() == "Black wins: well played (B+16)."
    assert "RE[B+16]" in record(duel, datetime(2026, 5, 4))[1]


def test_the_network_says_what_is_dead() -> None:
    session, app = ended(), make_app("go5")
    bot = bot_of(app)
    duel = Duel(session, bot, 0)
    assert duel.suggest_dead() == frozenset(), "this bot has no idea"
    bot.expected = np.full(25, 0.9, np.float32)
    assert duel.suggest_dead() == {E1, E2}
    bot.expected[[E1, E2]] = 0.2
    assert duel.suggest_dead() == frozenset(), "it is not sure"
    bot.expected = np.full(25, 0.9, np.float32)
    session.undo()
    assert duel.suggest_dead() == frozenset(), "the game goes on"


@pytest.mark.parametrize("theme", sorted(PALETTES))
@pytest.mark.parametrize("size", [(0, 0), (200, 60)])
def test_dead_stones_bear_a_cross(theme: str, size: tuple[int, int]) -> None:
    session = ended()
    layout = fit(session.game, *size)
    cells = draw(session, layout, PALETTES[theme], View(dead=[E1]))
    x, y = layout.character(E1)
    assert cells[y][x].text == "×"
    assert sum(cell.text == "×" for row in cells for cell in row) == 1


def test_on_the_screen() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        for move in ("C1", "C2", "C3", "C4", "C5"):
            await click(app, pilot, move)
        await press(app, pilot, "d")
        assert status(app) == "dead stones are marked when a game of Go is over"
        await press(app, pilot, "p p")
        session = app.duel.session
        assert session.over and session.result() == "B+13"
        assert "d or a click marks dead stones" in status(app)
        await press(app, pilot, "d")
        assert status(app) == "first takes no stone for dead"
        bot_of(app).expected = np.full(25, 0.9, np.float32)
        await press(app, pilot, "d")
        assert session.dead == {E1, E2} and status(app).startswith("Black wins: well played (B+25)")
        assert set(app.board.view.dead) == {E1, E2}
        await click(app, pilot, "E1")
        assert not session.dead and session.result() == "B+13"
        await click(app, pilot, "A1")
        assert status(app) == "A1 is empty; u takes moves back."
        await click(app, pilot, "E2")
        await press(app, pilot, "d")
        assert not session.dead
        await click(app, pilot, "E2")
        await press(app, pilot, "u")
        assert not session.over and not session.dead

    app = make_app("go5", "pass pass pass pass E1 E2 pass")
    app.duel.session.set_komi(0)
    on_screen(app, steps)
