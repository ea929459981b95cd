"""A position drawn in characters and colours, for the full screen.

Stones are drawn in quarters of a character, so that they come out round; on the smallest board of
lines a stone is one character. Nothing here knows what shows the characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ghostgo.board import column_names, hoshi
from ghostgo.engine.games.go import is_go
from ghostgo.screen_layout import NUMBER, Layout
from ghostgo.session import Session

QUARTERS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
"""Block characters by their filled quarters: 1 upper left, 2 upper right, 4 and 8 below."""
CORNERS = "┏┓┗┛"
ROUND, CROSS, RING = "round", "cross", "ring"
ROUNDNESS = 2.5
"""2 would be a circle, but one of so few quarters comes out with points at its poles."""


STONES = {
    "Black": "#101010", "White": "#f7f4ea", "Red": "#d63a2f", "Yellow": "#ffd23f",
    "Blue": "#3f86e0", "X": "#ff9f43", "O": "#54c7ec",
}  # fmt: skip
"""A player's colour by name."""


@dataclass(frozen=True)
class Palette:
    """The colours of one theme's boards; of a pair, the first is for lines, the second for cells."""

    board: str
    """The ground of lines."""
    cells: tuple[str, str, str]
    """Grounds of cells in turn; squares take the first two."""
    hole: str
    """An empty place where stones fall; the last cell that was written in."""
    line: str
    names: tuple[str, str]
    """Column names and row numbers."""
    cursor: tuple[str, str]
    hint: tuple[str, str]
    """Ink and ground of the numbers of the moves hinted at."""


PALETTES = {
    "wood": Palette(
        board="#dcb35c", cells=("#8a5f35", "#7b532c", "#6c4724"), hole="#4a2f16", line="#6e4d1f",
        names=("#50360f", "#e8d3b0"), cursor=("#0b3fd6", "#ffe45c"), hint=("#ffffff", "#0b6b34"),
    ),
    "dark": Palette(
        board="#46505c", cells=("#4d5967", "#424d59", "#38424c"), hole="#171c22", line="#8b96a3",
        names=("#c3ccd6", "#aab5c1"), cursor=("#ffd75f", "#ffd75f"), hint=("#10301b", "#8ff0a4"),
    ),
}  # fmt: skip
LEAST_FORECAST = 0.15
"""Below it a point counts as nobody's."""
MOST_TINT = 0.65
"""Share of the owner's colour where the forecast is sure; lines must stay visible."""
LAST = "#e0301e"
"""The last stone's mark on lines."""


@dataclass(frozen=True)
class View:
    """What is shown besides the position."""

    cursor: int | None = None
    hints: Mapping[int, int] = field(default_factory=dict)
    """Points of the moves hinted at, by the number that they bear."""
    owners: NDArray[np.int8] | None = None
    """(P,) who owns each point, 1 first player, -1 second; None: not shown."""
    forecast: NDArray[np.float32] | None = None
    """(P,) whose each point will be, from 1 first player to -1 second; None: not shown."""
    dead: Collection[int] = ()
    """Points of stones that are taken for dead."""


@dataclass(frozen=True)
class Cell:
    """One character on the screen."""

    text: str
    ink: str
    ground: str


def _quarters_near(
    middle: tuple[float, float], radius: float
) -> Iterator[tuple[int, int, float, float]]:
    """(column, row) of quarters, and how far right of and below `middle` they lie, in rows."""
    x, y = middle
    for j in range(int(2 * (y - radius)), int(2 * (y + radius)) + 1):
        for i in range(int(2 * (x - 2 * radius)), int(2 * (x + 2 * radius)) + 1):
            yield i, j, (i / 2 + 0.25 - x) / 2, j / 2 + 0.25 - y


def _inside(kind: str, across: float, down: float, radius: float) -> bool:
    across, down = abs(across), abs(down)
    if kind == CROSS:
        return abs(across - down) < 0.3 and max(across, down) < 0.85 * radius
    distance: float = (across**ROUNDNESS + down**ROUNDNESS) ** (1 / ROUNDNESS)
    return (0 if kind == ROUND else 0.55 * radius) <= distance <= radius


class Canvas:
    """Characters with colours, and above them coloured quarters of characters."""

    def __init__(self, width: int, height: int, ink: str, ground: str) -> None:
        self.cells = [[Cell(" ", ink, ground)] * width for _ in range(height)]
        self._quarters: dict[tuple[int, int], str] = {}
        self._rims: dict[str, str] = {}
        """The stone's colour by its rim's."""

    def write(self, x: int, y: int, text: str, ink: str, ground: str | None = None) -> None:
        """Put `text` there, on `ground` or on the colour that is there; what does not fit is cut."""
        for i, character in enumerate(text):
            if 0 <= x + i < len(self.cells[y]):
                beneath = ground or self.cells[y][x + i].ground
                self.cells[y][x + i] = Cell(character, ink, beneath)

    def fill(self, frame: tuple[int, int, int, int], ground: str) -> None:
        """Give all characters of `frame` (x0, y0, x1, y1) another ground."""
        x0, y0, x1, y1 = frame
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                self.cells[y][x] = replace(self.cells[y][x], ground=ground)

    def shape(self, kind: str, middle: tuple[float, float], radius: float, color: str) -> None:
        """Fill a disc, a ring or a diagonal cross of `radius` rows about `middle`, in quarters."""
        for i, j, across, down in _quarters_near(middle, radius):
            if _inside(kind, across, down, radius):
                self._quarters[i, j] = color

    def stone(self, middle: tuple[float, float], radius: float, color: str) -> None:
        """A disc with a rim below and to the right, which tells it from its neighbours."""
        rim = _shade(color)
        self._rims[rim] = color
        for i, j, across, down in _quarters_near(middle, radius):
            if not _inside(ROUND, across, down, radius):
                continue
            right = across > radius / 2 and not _inside(ROUND, across + 0.25, down, radius)
            below = down > radius / 2 and not _inside(ROUND, across, down + 0.5, radius)
            self._quarters[i, j] = rim if right or below else color

    def flatten(self) -> None:
        """Turn the quarters into block characters; the two commonest colours of one stay."""
        for x, y in {(i // 2, j // 2) for i, j in self._quarters}:
            beneath = self.cells[y][x].ground
            four = [
                self._quarters.get((2 * x + i, 2 * y + j), beneath) for j in (0, 1) for i in (0, 1)
            ]
            if len(set(four)) > 2:  # a character has but two: the rim gives way
                four = [self._rims.get(color, color) for color in four]
            # The commonest colour is the ground, so that text put on top later stands on it.
            (ground, count), *others = Counter(four).most_common()
            ink = ground if count == 4 else others[0][0]
            filled = sum(1 << n for n, color in enumerate(four) if color != ground)
            self.cells[y][x] = Cell(QUARTERS[filled], ink, ground)
        self._quarters.clear()


def draw(session: Session, layout: Layout, palette: Palette, view: View) -> list[list[Cell]]:
    """The board of `session` as rows of characters, `layout.height` x `layout.width`."""
    canvas = Canvas(layout.width, layout.height, palette.line, _ground(layout, palette))
    _draw_names(canvas, session, layout, palette)
    if layout.lines:
        _draw_lines(canvas, session, layout, palette)
    else:
        _draw_cells(canvas, layout, palette)
    if view.forecast is not None:
        _draw_forecast(canvas, session, layout, view.forecast)
    _draw_stones(canvas, session, layout, palette)
    canvas.flatten()
    _draw_view(canvas, session, layout, palette, view)
    return canvas.cells


def _ground(layout: Layout, palette: Palette) -> str:
    """What is around the points: a board of cells has a dark frame, unless its places are holes."""
    if layout.lines:
        return palette.board
    return palette.hole if layout.numbered else palette.cells[0]


def stone_colors(session: Session) -> tuple[str, str]:
    """The two players' colours."""
    first, second = session.game.player_names
    return STONES.get(first, STONES["Black"]), STONES.get(second, STONES["White"])


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _shade(color: str) -> str:
    """A darker tone of `color`, or a lighter one of black."""
    dark = max(_rgb(color)) < 64
    red, green, blue = (part + 40 if dark else 4 * part // 5 for part in _rgb(color))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _against(color: str) -> str:
    """Black or white, whichever stands out on `color`."""
    red, green, blue = _rgb(color)
    return "#101010" if 0.3 * red + 0.6 * green + 0.1 * blue > 140 else "#ffffff"


def _draw_names(canvas: Canvas, session: Session, layout: Layout, palette: Palette) -> None:
    """Column names above and below, row numbers on both sides; in Hex in the sides' colours."""
    first, second = stone_colors(session)
    ink = palette.names[0 if layout.lines else 1]
    across, beside = None, None
    if layout.slanted:  # each player joins two opposite sides
        ink, across, beside = "#ffffff", first, second
    last = layout.rows - 1
    for y, row in ((0, 0), (layout.height - 1, last)):
        for col, name in enumerate(column_names(session.game)):
            x, _ = layout.character(row * layout.cols + col)
            canvas.write(x, y, name, ink, across)
    if layout.numbered:
        for row in range(layout.rows):
            _, y = layout.character(row * layout.cols)
            x, _, _, _ = layout.frame(row * layout.cols)
            end = layout.frame(row * layout.cols + layout.cols - 1)[2]
            canvas.write(x - NUMBER, y, f"{layout.rows - row:>2}", ink, beside)
            canvas.write(end + 2, y, f"{layout.rows - row:<2}", ink, beside)


def _draw_lines(canvas: Canvas, session: Session, layout: Layout, palette: Palette) -> None:
    """The crossing lines, and Go's handicap points."""
    left, top = layout.corner(0)
    right, bottom = layout.corner(layout.rows * layout.cols - 1)
    step_x, step_y = 2 * layout.scale, layout.scale
    dots = hoshi(layout.rows, layout.cols) if is_go(session.game) else set()
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            on_row, on_col = (y - top) % step_y == 0, (x - left) % step_x == 0
            if on_row and on_col:
                edges = "┌┬┐├┼┤└┴┘"
                column = 0 if x == left else 2 if x == right else 1
                text = edges[(0 if y == top else 6 if y == bottom else 3) + column]
                if ((y - top) // step_y, (x - left) // step_x) in dots:
                    text = "•"
            else:
                text = "─" if on_row else "│" if on_col else " "
            canvas.write(x, y, text, palette.line)


def _draw_cells(canvas: Canvas, layout: Layout, palette: Palette) -> None:
    """The cells' grounds: a chequered board, or three colours where six cells touch each."""
    falling = not layout.numbered
    for point in range(layout.rows * layout.cols):
        row, col = divmod(point, layout.cols)
        tone = 0 if falling else (row - col) % 3 if layout.slanted else (row + col) % 2
        canvas.fill(layout.frame(point), palette.cells[tone])
        if falling and layout.scale == 1:
            canvas.write(*layout.character(point), "●", palette.hole)
        elif falling:
            canvas.shape(ROUND, layout.middle(point), _radius(layout), palette.hole)


def _mixed(one: str, other: str, share: float) -> str:
    """`one` with a `share` of `other` in it."""
    parts = (round(a + share * (b - a)) for a, b in zip(_rgb(one), _rgb(other), strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def _draw_forecast(
    canvas: Canvas, session: Session, layout: Layout, forecast: NDArray[np.float32]
) -> None:
    """Tint each point's ground with the colour of who is expected to own it, the surer the more."""
    colors = stone_colors(session)
    for point, value in enumerate(forecast.tolist()):
        if abs(value) < LEAST_FORECAST:
            continue
        x, y = layout.character(point)
        ground = canvas.cells[y][x].ground
        tint = _mixed(ground, colors[0 if value > 0 else 1], MOST_TINT * abs(value))
        canvas.fill(layout.frame(point), tint)


def _radius(layout: Layout) -> float:
    """A stone's radius in rows."""
    return 0.46 * layout.scale


def _draw_stones(canvas: Canvas, session: Session, layout: Layout, palette: Palette) -> None:
    """The stones, and a mark on the last one."""
    colors, last, stones = stone_colors(session), session.last_point, session.stones()
    written = session.game.player_names == ("X", "O")
    for point in np.flatnonzero(stones).tolist():
        player = 0 if stones[point] > 0 else 1
        color = colors[player]
        mark = LAST if layout.lines else _against(color)
        middle, radius = layout.middle(point), _radius(layout)
        if layout.scale == 1:
            x, y = layout.character(point)
            text = "XO"[player] if written else "●"
            canvas.write(x, y, text, color, mark if point == last else None)
        elif written:
            if point == last:
                canvas.fill(layout.frame(point), palette.hole)
            canvas.shape((CROSS, RING)[player], middle, radius, color)
        else:
            canvas.stone(middle, radius, color)
            if point == last:
                canvas.shape(ROUND, middle, max(0.3, 0.2 * layout.scale), mark)


def _draw_view(
    canvas: Canvas, session: Session, layout: Layout, palette: Palette, view: View
) -> None:
    """Whose the empty points are, numbers on the moves hinted at, and the cursor."""
    colors, stones = stone_colors(session), session.stones()
    if view.owners is not None:
        for point in np.flatnonzero((stones == 0) & (view.owners != 0)).tolist():
            x, y = layout.character(point)
            canvas.write(x, y, "■", colors[0 if view.owners[point] > 0 else 1])
    for point in view.dead:
        x, y = layout.character(point)
        canvas.write(x, y, "×", colors[0 if stones[point] < 0 else 1])
    for number, point in view.hints.items():
        x, y = layout.character(point)
        canvas.write(x, y, str(number), *palette.hint)
    if view.cursor is not None:
        frame = layout.frame(view.cursor)
        color = palette.cursor[0 if layout.lines else 1]
        if layout.scale == 1 and not layout.lines:  # no room for brackets
            canvas.fill(frame, color)
            return
        x0, y0, x1, y1 = frame
        ends = ((x0, y0), (x1, y0), (x0, y1), (x1, y1))
        for (x, y), text in zip(ends, "[][]" if y0 == y1 else CORNERS, strict=True):
            canvas.write(x, y, text, color)
