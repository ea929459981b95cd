"""The parts of the full screen: the board, the panel beside it, and a question in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from textual import events
from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.content import Content
from textual.geometry import Region, Spacing
from textual.message import Message
from textual.screen import ModalScreen
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import Static

from ghostgo.duel import Duel
from ghostgo.screen_board import PALETTES, Cell, View, draw
from ghostgo.screen_layout import fit
from ghostgo.screen_panel import Line, Notes, panel

NAMES = Spacing(1, 4, 1, 4)
"""Rows and columns about a point in which its column's name and its row's number may stand."""
THEMES = [
    Theme(
        "wood", primary="#8a5f35", accent="#a8601a", success="#2f6f3a", error="#a3231a",
        foreground="#33230f", background="#efe3cb", surface="#e6d6b6", panel="#d9c49c", dark=False,
    ),
    Theme(
        "dark", primary="#7f92a8", accent="#e0a458", success="#8ff0a4", error="#ff7b72",
        foreground="#d7dde5", background="#15191f", surface="#1d232b", panel="#262e38", dark=True,
    ),
]  # fmt: skip


class BoardView(Widget):
    """The board, as large as fits."""

    DEFAULT_CSS = "BoardView { width: auto; height: auto; }"

    class Clicked(Message):
        """A point was clicked."""

        def __init__(self, point: int) -> None:
            super().__init__()
            self.point = point

    def __init__(self, duel: Duel) -> None:
        super().__init__()
        self._duel = duel
        self.layout_now = fit(duel.session.game, 0, 0)
        self.view = View()
        self.palette = PALETTES["wood"]

    def fit_into(self, width: int, height: int) -> None:
        """Take the largest size that fits into `width` x `height` characters."""
        self.layout_now = fit(self._duel.session.game, width, height)
        self.styles.width, self.styles.height = self.layout_now.width, self.layout_now.height
        self.refresh(layout=True)

    def render(self) -> Content:
        """The board's characters."""
        rows = draw(self._duel.session, self.layout_now, self.palette, self.view)
        return Content("\n").join(Content.assemble(*_runs(row)) for row in rows)

    def on_click(self, event: events.Click) -> None:
        """Say which point it was."""
        point = self.layout_now.point_at(event.x, event.y)
        if point is not None:
            self.post_message(self.Clicked(point))


def _runs(row: list[Cell]) -> Iterator[tuple[str, str]]:
    """(text, style) of neighbours in the same colours."""
    for (ink, ground), cells in groupby(row, lambda cell: (cell.ink, cell.ground)):
        yield "".join(cell.text for cell in cells), f"{ink} on {ground}"


class BoardFrame(ScrollableContainer):
    """Shows the board, or the part of it about the cursor where the window is smaller."""

    DEFAULT_CSS = """
    BoardFrame {
        width: auto; max-width: 100%; height: 100%;
        scrollbar-size: 0 0;
    }
    """

    def __init__(self, board: BoardView) -> None:
        super().__init__(board, id="frame", can_focus=False)
        self._board = board

    def show_point(self, point: int) -> None:
        """Scroll as little as brings the point and its surroundings into view."""
        x0, y0, x1, y1 = self._board.layout_now.frame(point)
        region = Region(x0, y0, x1 - x0 + 1, y1 - y0 + 1)
        # Names and numbers of the outer points come along where there is room.
        room = self.size.width >= region.width + NAMES.width
        room &= self.size.height >= region.height + NAMES.height
        self.scroll_to_region(region, spacing=NAMES if room else None, animate=False, force=True)


class PanelView(Widget):
    """What stands beside the board."""

    DEFAULT_CSS = """
    PanelView {
        width: 1fr; height: 100%; padding: 0 1;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    """

    class Resized(Message):
        """There is another amount of room in it."""

    def __init__(self, duel: Duel, notes: Notes) -> None:
        super().__init__()
        self._duel, self._notes = duel, notes
        self.palette = PALETTES["wood"]

    def arranged(self) -> tuple[list[Line], int]:
        """The lines that fit, and how many of the best moves are among them."""
        return panel(self._duel, self._notes, self.palette, self.size.width, self.size.height)

    def render(self) -> Content:
        """The panel's lines."""
        return Content("\n").join(Content.assemble(*line) for line in self.arranged()[0])

    def on_resize(self) -> None:
        """Say so: other hints may fit."""
        self.post_message(self.Resized())


class Question(ModalScreen[bool]):
    """A text that waits for yes or no; or, without a question, for any key."""

    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Static {
        width: auto; max-width: 90%; height: auto; padding: 1 2;
        background: $panel; border: round $accent;
    }
    """

    def __init__(self, text: str, asks: bool) -> None:
        super().__init__()
        self._text, self._asks = text, asks

    def compose(self) -> ComposeResult:
        """The text, and how to answer."""
        how = "y: yes      any other key: no" if self._asks else "any key: back"
        yield Static(f"{self._text}\n\n{how}", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Any key closes it."""
        event.stop()
        self.dismiss(self._asks and event.key in ("y", "Y"))

    def on_click(self) -> None:
        """So does the mouse, and it is no yes."""
        self.dismiss(False)
