"""A forgiving reader of SGF game records.

The reader takes what people and servers write: the main line of each tree in a file, FF[1] to
FF[4], long property names of old (`AddBlack`), soft line breaks, escapes, passes as `[]` or `[tt]`,
a missing first bracket, damaged text. What a property means (komi in odd units, ranks, results) is
read by the functions of `sgf_values`. It was measured at about four times the speed of sgfmill, against
which it is tested; its time is linear in the file's size whatever the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

from ghostgo.data.sgf_values import parse_handicap, parse_komi, parse_number
from ghostgo.engine import coords
from ghostgo.engine.errors import UserError

# A value up to its closing bracket (or the end of a file cut short). All repeats are possessive,
# and a bare word is consumed too, so that no input makes the search start over.
_VALUE = rb"\[[^\]\\]*+(?:\\.[^\]\\]*+)*+"
_END = rb"(?:\]|\\?\Z)"
_TOKEN = re.compile(
    rb"([A-Za-z][A-Za-z0-9]*+)\s*+(?:(" + _VALUE + rb")" + _END + rb")?+"  # B[df], or a bare word
    rb"|(" + _VALUE + rb")" + _END +  # a further value of the same property
    rb"|(\((?:\s*+;)?+|\))",
    re.DOTALL,
)  # fmt: skip
_Tokens = Iterable[tuple[bytes, bytes, bytes, bytes]]
_LARGE = 1 << 20
"""From this many bytes on, tokens are made one by one: a list of them takes 100 times as much."""
_LONG_NAME = 64
"""Letters that count of a property's name where some are small, and of a komi: both are remembered."""

_WIDE_CHARSETS = {
    name: codec
    for codec, names in {
        "gb18030": ("gbk", "gb2312", "gb18030", "cp936", "gb"),
        "big5": ("big5", "big5-hkscs", "cp950"),
        "shift_jis": ("shift_jis", "shift-jis", "sjis", "cp932", "ms932", "windows-31j"),
    }.items()
    for name in names
}
"""Charsets in which a byte that looks like `]` or a backslash can be half of a character."""
_CHARSET = re.compile(rb"CA\s*\[\s*([A-Za-z0-9_\-]+)\s*\]")
_ESCAPED = re.compile(r"\\(\r\n|\n\r|.)", re.DOTALL)

SETUP = (b"AB", b"AW", b"AE")
OURS = b"ghostgo"
"""What AP says in the games that `write_game` writes, whose komi may be as large as our rules know."""


@dataclass(slots=True)
class SgfGame:
    """One game as written: its properties before the first move, and its main line."""

    properties: dict[bytes, list[bytes]] = field(default_factory=dict)
    """Values by property, each with its opening bracket (`[9`), escapes left in."""
    colours: list[bytes] = field(default_factory=list)
    """`B` or `W` for each move."""
    points: list[bytes] = field(default_factory=list)
    """The moves' values with their opening bracket: `[df`, or `[` for a pass."""
    late_setup: bool = False
    """Whether stones are set up after the first move."""

    def raw(self, name: bytes) -> bytes:
        """The first value of a property as stripped bytes; empty if there is none."""
        values = self.properties.get(name)
        return values[0][1:].strip() if values else b""

    def text(self, name: bytes) -> str:
        """The first value of a property as text: escapes undone, damaged bytes as U+FFFD."""
        raw = self.raw(name)
        try:
            plain = raw.decode("utf-8")
        except UnicodeDecodeError:
            declared = self.raw(b"CA").lower()
            utf8 = declared in (b"utf-8", b"utf8")
            plain = raw.decode("utf-8", "replace") if utf8 else raw.decode("latin-1")
        return _ESCAPED.sub(lambda m: "" if m[1].strip("\r\n") == "" else m[1], plain)

    def actions(self, rows: int, cols: int) -> list[int]:
        """Flat actions of the main line on a rows x cols board.

        Raises UserError naming the first move that is off the board.
        """
        table = _action_table(rows, cols)
        try:
            return [table[point] for point in self.points]
        except KeyError:
            return [_action(point, rows, cols) for point in self.points]

    def stones(self, rows: int, cols: int) -> dict[int, int]:
        """Stones set up before the first move, by flat action: 1 black, -1 white.

        Raises UserError naming the first point that is off the board.
        """
        stones: dict[int, int] = {}
        for name, stone in zip(SETUP, (1, -1, 0), strict=True):
            # Each once: there may be millions.
            for value in dict.fromkeys(self.properties.get(name, ())):
                for action in _point_list(value, rows, cols):
                    stones[action] = stone
        return {action: stone for action, stone in stones.items() if stone}

    def komi(self) -> float | None:
        """Komi in points: as `parse_komi` reads it, but literally in a file that we wrote."""
        raw = self.raw(b"KM")[:_LONG_NAME]
        if raw and self.raw(b"AP") == OURS:
            return parse_number(raw)
        return parse_komi(raw)

    def first_to_play(self, stones: Mapping[int, int]) -> int:
        """Whose turn it is behind the set-up `stones` (see `stones`): 0 Black's, 1 White's.

        PL and the first move say so. Without either a handicap, or black stones alone, leave the
        move to White, as they do in GTP.
        """
        told = self.raw(b"PL").upper()
        if told.startswith(b"W") or self.colours[:1] == [b"W"]:
            return 1
        if told or self.colours or not stones:
            return 0
        return int(parse_handicap(self.raw(b"HA")) >= 2 or -1 not in stones.values())


def parse_games(content: bytes) -> Iterator[SgfGame]:
    """The games of an SGF file in order, one a tree; nothing if the bytes are no SGF."""
    content = _to_utf8(content)
    # A tree that lost its first bracket still counts, at the start of a file.
    depth = 1 if lost_bracket(content) else 0
    main = depth == 1
    game = SgfGame()
    name = b""
    for ident, value, more, mark in _tokens(content):
        if mark:
            if mark == b")":
                # The first variation ends here; whatever follows in this tree is a side branch.
                main = False
                depth = max(depth - 1, 0)
                if depth == 0 and (game.properties or game.points):
                    yield game
                    game = SgfGame()
            elif depth:
                depth += 1
            elif mark != b"(":
                depth, main = 1, True
        elif not main:
            continue
        elif not ident:
            if name:
                _add(game, name, more)
        else:
            name = ident if ident.isupper() else _short_name(ident[:_LONG_NAME])
            if not value:
                name = b""
            elif name == b"B" or name == b"W":
                game.colours.append(name)
                game.points.append(value)
                name = b""
            elif name:
                _add(game, name, value)
    if game.properties or game.points:
        yield game


def lost_bracket(content: bytes) -> bool:
    """Whether SGF text begins with a node, not with the bracket that opens a tree."""
    return content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b";")


def _tokens(content: bytes) -> _Tokens:
    if len(content) < _LARGE:
        return _TOKEN.findall(content)
    return (match.groups(b"") for match in _TOKEN.finditer(content))  # type: ignore[misc]


def _add(game: SgfGame, name: bytes, value: bytes) -> None:
    if not game.points:
        game.properties.setdefault(name, []).append(value)
    elif name in SETUP:
        game.late_setup = True
    elif name == b"RE":  # some programs append the result to the last node
        game.properties.setdefault(name, [value])


@lru_cache(maxsize=1024)
def _short_name(ident: bytes) -> bytes:
    """FF[1] to FF[3] allow lower-case letters in names, which do not count: `AddBlack` is `AB`."""
    return bytes(letter for letter in ident if not 97 <= letter <= 122)


def _to_utf8(content: bytes) -> bytes:
    declared = _CHARSET.search(content, 0, 2048)
    codec = _WIDE_CHARSETS.get(declared[1].decode("ascii").lower()) if declared else None
    return content.decode(codec, "replace").encode() if codec else content


@cache
def _action_table(rows: int, cols: int) -> dict[bytes, int]:
    """Actions of the values that clean files hold."""
    names = {coords.to_sgf(action, rows, cols): action for action in range(rows * cols + 1)}
    if max(rows, cols) <= 19:
        names["tt"] = rows * cols
    return {b"[" + name.encode(): action for name, action in names.items()}


def _action(value: bytes, rows: int, cols: int) -> int:
    return coords.from_sgf(value[1:].strip().decode("latin-1"), rows, cols)


def _point_list(value: bytes, rows: int, cols: int) -> list[int]:
    """Actions of a point, or of a rectangle `aa:cc` (FF[4])."""
    ends = [_action(b"[" + end, rows, cols) for end in value[1:].split(b":")]
    if rows * cols in ends or len(ends) > 2:
        raise UserError(f"{value[1:].decode('latin-1')!r} is not a point to put a stone on")
    (top, left), (bottom, right) = divmod(ends[0], cols), divmod(ends[-1], cols)
    return [r * cols + c for r in range(top, bottom + 1) for c in range(left, right + 1)]
