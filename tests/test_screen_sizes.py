"""What fits on the full screen: the panel with all that it can show, and boards larger than the window."""

from __future__ import annotations

import re

import numpy as np
import pytest
from screen_suite import FirstLegal, click, on_screen, played, press, status
from textual.pilot import Pilot

from ghostgo.bot import Analysis, Candidate
from ghostgo.duel import Duel
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.registry import get_game
from ghostgo.screen import PlayApp
from ghostgo.screen_panel import BARS
from ghostgo.screen_widgets import PanelView
from ghostgo.session import Session

BOARDS = ["go5", "go9", "go13", "go19"]


class Talkative(FirstLegal):
    """Has as much to say of a position as a bot can: five moves, long lines, points and owners."""

    name = "go9"

    def __init__(self, game: Game, name: str) -> None:
        super().__init__(game)
        self.name = name
        self.lead, self.expected = -12.3, np.full(game.points, 0.9, np.float32)

    def analyse(self, states: States, seconds: float | None = None) -> Analysis:
        legal = self.game.legal_actions(states[0]).tolist()
        moves = tuple(
            Candidate(action, 12345, 0.5, 0.5, tuple(legal[i : i + 12]))
            for i, action in enumerate(legal[:5])
        )
        return Analysis(moves[0].action, 0.5, moves, ())


def talkative(name: str, bot: str = "go9") -> PlayApp:
    game = get_game(name)
    return PlayApp(Duel(Session(game), Talkative(game, bot), 0))


def clipped(app: PlayApp) -> list[tuple[str, str]]:
    """Lines of the panel that are not on the screen as the panel means them."""
    view = app.query_one(PanelView)
    wanted = ["".join(text for text, _ in line).rstrip() for line in view.arranged()[0]]
    region = view.content_region.translate(-view.region.offset)
    shown = [
        strip.crop(region.x, region.right).text.rstrip()
        for strip in view.render_lines(view.outer_size.region)[region.y : region.bottom]
    ]
    assert len(wanted) <= len(shown)
    wanted += [""] * (len(shown) - len(wanted))
    return [pair for pair in zip(wanted, shown, strict=True) if pair[0] != pair[1]]


def beside(app: PlayApp) -> list[str]:
    return ["".join(text for text, _ in line) for line in app.query_one(PanelView).arranged()[0]]


def numbered(app: PlayApp) -> dict[int, str]:
    """The moves that the panel numbers."""
    rows = [line.split() for line in beside(app)]
    heading = next(i for i, row in enumerate(rows) if row[:2] == ["move", "visits"])
    return {int(row[0]): row[1] for row in rows[heading + 1 :] if row and row[0].isdigit()}


@pytest.mark.parametrize("bot", ["go9", "go9, 32 visits (level 12k)"])
@pytest.mark.parametrize("name", [*BOARDS, "hex11"])
def test_nothing_of_the_panel_is_clipped(name: str, bot: str) -> None:
    """Hints, forecast and count at once, at the beginning, in the middle and at the end."""
    app = talkative(name, bot)
    session = app.duel.session

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        for key in ["h", "o", "s", "o", "s", "enter", "h", "s", "o", "h"]:
            await press(app, pilot, key)
            assert clipped(app) == [], key
            if app.notes.hints is None:
                assert app.board.view.hints == {}
                continue
            hints = {n: app.duel.name(point) for n, point in app.board.view.hints.items()}
            assert hints == numbered(app)
            least = 5 if bot == "go9" else 4  # with a longer name there is a line less
            assert least <= len(hints) == sum("12345" in line for line in beside(app))
        while not session.over:
            session.play(int(session.game.legal_actions(session.state)[-1]))
        app._go_on()
        await pilot.pause()
        assert clipped(app) == []
        assert any(f"{app.duel.side(session.winner() or 0)} wins" in row for row in beside(app))
        if session.has_score:
            assert "captured." in " ".join(beside(app)), "how it was counted, to the end"

    on_screen(app, steps)


def test_hints_make_the_graphs_go_first_and_then_their_own_lines() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        def bars() -> bool:
            return any(set(line) & set(BARS[1:]) for line in beside(app)[4:])

        def lines() -> int:
            return sum(re.match("   [A-J][1-9] ", line) is not None for line in beside(app))

        await press(app, pilot, "h")
        assert not bars() and lines() == 5, "the graphs would leave too little room"
        await press(app, pilot, "s")
        assert len(numbered(app)) == 5 and 0 < lines() < 5
        await pilot.resize_terminal(80, 17)
        await pilot.pause()
        shown = numbered(app)
        assert 0 < len(shown) < 5 and len(app.board.view.hints) == len(shown)
        await pilot.resize_terminal(80, 50)
        await pilot.pause()
        assert bars() and lines() == 5 and len(app.board.view.hints) == 5
        await press(app, pilot, "h")
        assert bars()

    on_screen(talkative("go9"), steps)


# ---- a window smaller than the board


def cursor_is_in_sight(app: PlayApp) -> bool:
    """Whether all characters that mark the cursor lie within what is shown of the board."""
    cursor = app.board.view.cursor
    assert cursor is not None
    x0, y0, x1, y1 = app.board.layout_now.frame(cursor)
    window = app.query_one("#frame").region
    across, down = app.board.region.offset  # where the board begins, left of the window if scrolled
    corners = [(x0 + across, y0 + down), (x1 + across, y1 + down)]
    return all(window.contains(*corner) for corner in corners)


@pytest.mark.parametrize("size", [(60, 20), (24, 8)])
def test_a_board_larger_than_the_window_follows_the_cursor(size: tuple[int, int]) -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        assert "needs a window" in status(app) and cursor_is_in_sight(app)
        for key, times in (("right", 9), ("up", 9), ("left", 18), ("down", 18)):
            for _ in range(times):
                await press(app, pilot, key)
                assert cursor_is_in_sight(app), (key, app.board.view.cursor)
        assert app.board.view.cursor == 18 * 19
        await press(app, pilot, "enter")
        assert played(app)[0] == "A1"
        window = app.query_one("#frame").region
        x, y = app.board.layout_now.character(17 * 19 + 1)
        shown = app.board.region.offset + (x, y)
        assert window.contains_point(shown)
        await pilot.click(offset=shown)
        await press(app, pilot, "up")
        assert played(app)[2] == "B2", "a click finds its point on a board that was scrolled"
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert app.board.region.offset == (0, 0) and cursor_is_in_sight(app)

    on_screen(talkative("go19"), steps, size)


def test_the_numbers_beside_the_outer_points_come_along() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        window = app.query_one("#frame").region
        for _ in range(10):
            await press(app, pilot, "down")
        assert app.board.region.bottom == window.bottom, "down to the columns' names"
        await click(app, pilot, "A1")

    on_screen(talkative("go19"), steps, (60, 20))
