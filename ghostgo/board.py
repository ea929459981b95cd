"""A position as text, for the terminal and for GTP's `showboard`."""

from __future__ import annotations

import numpy as np

from ghostgo.engine import coords
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.session import Session

STONES = {1: "X", -1: "O", 0: "."}
HOSHI = "+"
SLANTED = ("hex",)
"""Kinds of games whose rows lie half a cell further right than the ones above."""


def kind_of(game: Game) -> str:
    """What `game` is whatever its size: `go`, `hex`, ...; empty for a game of OpenSpiel."""
    return game.dtype.names[0] if game.dtype.names else ""


def hoshi(rows: int, cols: int) -> set[tuple[int, int]]:
    """(row, col) of the handicap points of a square Go board; empty for other boards."""
    if rows != cols or rows < 5:
        return set()
    edge = 1 if rows < 7 else 2 if rows < 13 else 3
    lines = {edge, rows - 1 - edge}
    points = {(row, col) for row in lines for col in lines}
    if rows % 2:
        points.add((rows // 2, rows // 2))
    if rows % 2 and rows >= 13:
        points |= {(rows // 2, line) for line in lines} | {(line, rows // 2) for line in lines}
    return points


def column_names(game: Game) -> list[str]:
    """The names of the columns from left to right, as they stand above the board."""
    if game.actions == game.cols:  # a move is a column
        return [game.action_name(col) for col in range(game.cols)]
    return list(coords.GTP_LETTERS[: game.cols])


def render(session: Session) -> str:
    """The board with coordinates; X is the first player, O the second, the last move in brackets.

    In Hex each row stands half a cell further right, so that cells that touch are neighbours. No
    newline at the end.
    """
    game = session.game
    stones = session.stones().reshape(game.rows, game.cols)
    dots = hoshi(game.rows, game.cols) if is_go(game) else set()
    last = session.last_point
    numbered = game.actions != game.cols
    slant = " " if kind_of(game) in SLANTED else ""
    header = " ".join(column_names(game))
    lines = [f"    {header}"]
    for row in range(game.rows):
        text = [" "] * (2 * game.cols + 1)
        for col in range(game.cols):
            stone = int(stones[row, col])
            text[2 * col + 1] = HOSHI if not stone and (row, col) in dots else STONES[stone]
        if last is not None and last // game.cols == row:
            col = last % game.cols
            text[2 * col], text[2 * col + 2] = "(", ")"
        number = str(game.rows - row) if numbered else ""
        lines.append(f"{slant * row}{number:>2} {''.join(text)} {number}".rstrip())
    lines.append(f"{slant * (game.rows - 1)}    {header}")
    return "\n".join(lines)


def action_at(game: Game, point: int) -> int:
    """The move that a person means who points at `point`; it need not be legal."""
    return point % game.cols if game.actions == game.cols else point


def point_of(session: Session, action: int) -> int | None:
    """Where the stone of a move would stand; None for a pass."""
    game = session.game
    if game.actions != game.cols:
        return action if action < game.points else None
    free = np.flatnonzero(session.stones().reshape(game.rows, game.cols)[:, action] == 0)
    return int(free[-1] if len(free) else 0) * game.cols + action
