"""Where the points of a board lie on the screen: from a point to characters, and back from a click.

A character is about twice as high as wide, so a point takes 2 * scale columns and scale rows. On
lines (Go, Gomoku) a stone stands on a crossing, which is the middle of a character; elsewhere it
stands in a cell, which is a block of whole characters. A Hex row lies half a cell further right than
the one above it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghostgo.board import SLANTED, kind_of
from ghostgo.engine.games.game import Game

LARGEST_SCALE = 4
ON_LINES = ("go", "gomoku")
NUMBER = 3
"""Columns of a row's number and the space beside it."""


@dataclass(frozen=True)
class Layout:
    """A board of `rows` x `cols` points at one size."""

    rows: int
    cols: int
    scale: int
    lines: bool
    """Whether stones stand on crossings."""
    slanted: bool
    numbered: bool
    """Whether rows have numbers."""

    @property
    def left(self) -> int:
        """Column of the first crossing, or of the first cell's left edge, in the top row."""
        return (NUMBER if self.numbered else 1) + (self.scale if self.lines else 0)

    @property
    def top(self) -> int:
        """Row of the first crossing, or of the first cell's upper edge; above it stand the names."""
        return 1 + (self.scale // 2 if self.lines else 0)

    @property
    def width(self) -> int:
        """Columns of the whole drawing, numbers on both sides included."""
        inside = 2 * self.scale * (self.cols - 1) + 1 if self.lines else 2 * self.scale * self.cols
        return 2 * self.left + inside + self._shift(self.rows - 1)

    @property
    def height(self) -> int:
        """Rows of the whole drawing, names above and below included."""
        inside = self.scale * (self.rows - 1) + 1 if self.lines else self.scale * self.rows
        return 2 * self.top + inside

    def _shift(self, row: int) -> int:
        return self.scale * row if self.slanted else 0

    def corner(self, point: int) -> tuple[int, int]:
        """(x, y) of a cell's upper left character, or of a crossing's only one."""
        row, col = divmod(point, self.cols)
        return self.left + 2 * self.scale * col + self._shift(row), self.top + self.scale * row

    def middle(self, point: int) -> tuple[float, float]:
        """(x, y) of a stone's centre, in characters from the upper left corner of the drawing."""
        x, y = self.corner(point)
        return (x + 0.5, y + 0.5) if self.lines else (x + self.scale, y + self.scale / 2)

    def character(self, point: int) -> tuple[int, int]:
        """(x, y) of the character that bears a point's mark."""
        x, y = self.corner(point)
        return (x, y) if self.lines else (x + self.scale - 1, y + (self.scale - 1) // 2)

    def frame(self, point: int) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1), all inclusive: the corners of the point's surroundings."""
        x, y = self.corner(point)
        if self.lines:
            return x - self.scale, y - self.scale // 2, x + self.scale, y + self.scale // 2
        return x, y, x + 2 * self.scale - 1, y + self.scale - 1

    def point_at(self, x: int, y: int) -> int | None:
        """The point at or next to the character (x, y); None outside the board."""
        half = (self.scale, self.scale // 2) if self.lines else (0, 0)
        row = (y - self.top + half[1]) // self.scale
        col = (x - self.left + half[0] - self._shift(row)) // (2 * self.scale)
        inside = 0 <= row < self.rows and 0 <= col < self.cols
        return row * self.cols + col if inside else None


def layout_of(game: Game, scale: int) -> Layout:
    """How `game`'s board is laid out at `scale`."""
    kind = kind_of(game)
    return Layout(
        game.rows, game.cols, scale,
        lines=kind in ON_LINES, slanted=kind in SLANTED, numbered=game.actions != game.cols,
    )  # fmt: skip


def fit(game: Game, width: int, height: int) -> Layout:
    """The largest layout of at most `width` x `height` characters, or the smallest there is."""
    for scale in range(LARGEST_SCALE, 1, -1):
        layout = layout_of(game, scale)
        if layout.width <= width and layout.height <= height:
            return layout
    return layout_of(game, 1)
