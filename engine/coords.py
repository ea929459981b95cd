"""The only converter between the ways to name a point.

| name         | upper left of 9x9 | lower right | pass              |
|--------------|-------------------|-------------|-------------------|
| flat action  | 0                 | 80          | 81 (rows * cols)  |
| (row, col)   | (0, 0)            | (8, 8)      | None              |
| GTP          | A9                | J1          | pass              |
| SGF          | aa                | ii          | '' (or tt to 19)  |

Row 0 is the top of the board; GTP letters leave out I; GTP rows count from the bottom.
"""

from __future__ import annotations

from ghostgo.engine.errors import UserError

GTP_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
SGF_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def to_row_col(action: int, cols: int) -> tuple[int, int]:
    """(row, col) of a flat board action."""
    return divmod(action, cols)


def to_gtp(action: int, rows: int, cols: int) -> str:
    """GTP name of a flat action, such as `D5` or `pass`."""
    if action == rows * cols:
        return "pass"
    row, col = divmod(action, cols)
    return f"{GTP_LETTERS[col]}{rows - row}"


def from_gtp(text: str, rows: int, cols: int) -> int:
    """Flat action of a GTP vertex, case-insensitive.

    Raises UserError, naming the text and the board's corners, if it is no point of the board.
    """
    if text.strip().upper() == "PASS":
        return rows * cols
    return _point(text, rows, cols, ", or pass")


def from_name(text: str, rows: int, cols: int) -> int:
    """Flat action of a GTP vertex in a game without passes.

    Raises UserError as `from_gtp` does, and for a pass.
    """
    if text.strip().upper() == "PASS":
        raise UserError(f"{text!r} is not a move: there is no pass in this game")
    return _point(text, rows, cols)


def _point(text: str, rows: int, cols: int, also: str = "") -> int:
    """Flat index of a named point; the UserError for others ends with what is allowed `also`."""
    name = text.strip().upper()
    col = GTP_LETTERS.find(name[:1]) if name else -1
    number = int(name[1:]) if name[1:].isascii() and name[1:].isdigit() else 0
    if not 0 <= col < cols or not 1 <= number <= rows:
        last = to_gtp(cols - 1, rows, cols)
        raise UserError(f"{text!r} is not a point of this board: A1 to {last}{also}")
    return (rows - number) * cols + col


def to_sgf(action: int, rows: int, cols: int) -> str:
    """SGF point of a flat action; the empty string for a pass."""
    if action == rows * cols:
        return ""
    row, col = divmod(action, cols)
    return SGF_LETTERS[col] + SGF_LETTERS[row]


def from_sgf(text: str, rows: int, cols: int) -> int:
    """Flat action of an SGF point; '' and, up to 19x19, 'tt' are a pass.

    Raises UserError if it is no point of the board.
    """
    if text == "" or (text == "tt" and max(rows, cols) <= 19):
        return rows * cols
    if len(text) == 2:
        col, row = SGF_LETTERS.find(text[0]), SGF_LETTERS.find(text[1])
        if 0 <= col < cols and 0 <= row < rows:
            return row * cols + col
    raise UserError(f"{text!r} is not an SGF point of a {rows}x{cols} board")
