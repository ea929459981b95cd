"""SGF: a forgiving reader of game records, and a strict writer.

The reader takes what people and servers write: the main line of each tree in a file, FF[1] to
FF[4], long property names of old (`AddBlack`), soft line breaks, escapes, passes as `[]` or `[tt]`,
a missing first bracket, damaged text. What a property means (komi in odd units, ranks, results) is
read by the `parse_*` functions. It was measured at about four times the speed of sgfmill, against
which it is tested; its time is linear in the file's size whatever the bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from ghostgo.data.records import AREA, TERRITORY, UNKNOWN
from ghostgo.engine import coords
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

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
            return _number(raw)
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


# What the properties mean -------------------------------------------------------------------------

_NUMBER = re.compile(rb"[+-]?(?:\d{1,6}(?:[.,]\d{0,6})?|[.,]\d{1,6})")
MAX_KOMI = 60.0
"""Larger komi than this is taken for an error."""


def _number(raw: bytes) -> float | None:
    match = _NUMBER.fullmatch(raw)
    return float(match[0].replace(b",", b".")) if match else None


@lru_cache(maxsize=1024)
def parse_size(raw: bytes) -> tuple[int, int] | None:
    """(rows, cols) of an SZ value such as `9` or `7:5` (columns first); None if it is neither.

    Empty means 19, as the standard has it.
    """
    match = re.fullmatch(rb"(\d{1,2})(?:\s*:\s*(\d{1,2}))?", raw or b"19")
    if not match:
        return None
    cols = int(match[1])
    return int(match[2] or cols), cols


@lru_cache(maxsize=1024)
def parse_komi(raw: bytes) -> float | None:
    """Komi in points from a KM value; nan if it is empty, None if it makes no sense.

    Chinese servers write hundredths (`650` is 6.5) or count in pairs of points (`3.75` and `375`
    are 7.5); both show by their size and fraction.
    """
    if not raw:
        return math.nan
    komi = _number(raw)
    if komi is None:
        return None
    if abs(komi) >= 100:
        komi /= 100
    if not (2 * komi).is_integer() and abs(komi) < 5:
        komi *= 2
    return komi if (2 * komi).is_integer() and abs(komi) <= MAX_KOMI else None


def parse_handicap(raw: bytes) -> int:
    """Handicap stones of an HA value; 0 if it is none or makes no sense."""
    return int(raw) if raw.isdigit() and len(raw) < 3 else 0


_RANK = re.compile(r"(p?)(\d{1,2})\s*(k|d|p|段|级|級)[a-z]*\s*[?*]?", re.IGNORECASE)


@lru_cache(maxsize=4096)
def parse_rank(raw: bytes) -> int:
    """Rank code of a BR or WR value: 0 unknown, 1 = 30k ... 30 = 1k, 31 = 1d ... 39 = 9d.

    Professionals (`9p`, `P9段`) and ranks above 9d are put at 9d, the top of the scale, and ranks
    below 30k at 30k. A bare number, such as an app's rating, is unknown: nobody has shown how it
    maps to ranks.
    """
    match = _RANK.fullmatch(raw.decode("utf-8", "replace").strip())
    if not match:
        return 0
    number, kind = int(match[2]), match[3].lower()
    if match[1] or kind == "p":
        return 39 if 1 <= number <= 9 else 0
    if number == 0:
        return 0
    return 30 + min(number, 9) if kind in "d段" else 31 - min(number, 30)


# AGA, New Zealand, Ing (GOE) and Tromp-Taylor rules count area, whatever is filled in or handed over.
_AREA = re.compile(
    r"(chinese|china|cn|aga|bga|french|nz|new zealand|goe|ing|tromp|area)\b|中|应氏|應氏",
    re.IGNORECASE,
)
_TERRITORY = re.compile(r"(japanese|japan|jp|korean|korea|kr|territory)\b|日|韩|韓", re.IGNORECASE)


@lru_cache(maxsize=1024)
def parse_counting(rules: str) -> int:
    """Code of `GameTable.counting` from the text of an RU value: 0 unknown, 1 area, 2 territory."""
    text = rules.strip()
    if _AREA.match(text):
        return AREA
    return TERRITORY if _TERRITORY.match(text) else UNKNOWN


_YEAR = re.compile(r"(?<!\d)(?:1\d|20)\d\d(?!\d)")


@lru_cache(maxsize=4096)
def parse_year(date: str) -> int:
    """The first year, 1000 to 2099, that the text of a DT value tells; 0 if it tells none."""
    match = _YEAR.search(date)
    return int(match[0]) if match else 0


@dataclass(frozen=True)
class Result:
    """A game's outcome as recorded."""

    winner: float
    """+1 Black, -1 White, 0 a draw, nan unknown."""
    margin: float
    """Black's margin in points; nan unless counted."""
    how: str
    """`resign`, `time`, `score`, `forfeit`, `draw`, `unstated` (a winner alone) or `unknown`."""


_UNKNOWN_RESULT = Result(math.nan, math.nan, "unknown")
_RESULT = re.compile(rb"(b|w|black|white)\s*\+\s*(.*)", re.IGNORECASE | re.DOTALL)
_HOW = {b"r": "resign", b"t": "time", b"f": "forfeit"}
_HOW_WORDS = (b"r", b"t", b"f", b"resign", b"time", b"forfeit", b"timeout", b"resignation")


@lru_cache(maxsize=4096)
def parse_result(raw: bytes) -> Result:
    """The outcome written in an RE value; unknown for `Void`, `?` and whatever makes no sense."""
    lowered = raw.lower()
    if lowered in (b"0", b"draw", b"jigo", b"b+0", b"w+0"):
        return Result(0.0, 0.0, "draw")
    match = _RESULT.fullmatch(lowered)
    if not match:
        return _UNKNOWN_RESULT
    winner = 1.0 if match[1].startswith(b"b") else -1.0
    rest = match[2].strip()
    if rest in _HOW_WORDS:
        return Result(winner, math.nan, _HOW[rest[:1]])
    margin = _number(rest.removesuffix(b"points").strip())
    if margin is None:
        return Result(winner, math.nan, "unstated")
    # No count gives a margin that is no multiple of a half: 0.02 and the like are placeholders.
    true = margin > 0 and (2 * margin).is_integer()
    return Result(winner, winner * margin if true else math.nan, "score")


# Writing ------------------------------------------------------------------------------------------

_RESULT_WRITTEN = re.compile(r"0|Void|\?|[BW]\+(R|T|F|\d+(\.5)?)?")
_LINE = 72


def write_game(
    game: Game,
    moves: Sequence[int],
    *,
    komi: float,
    rules: str = "Chinese",
    black: str = "",
    white: str = "",
    result: str = "",
    date: str = "",
    comments: Mapping[int, str] | None = None,
    setup: Mapping[int, int] | None = None,
    first_to_play: int = 0,
    more: Mapping[str, str] | None = None,
) -> str:
    """One game as SGF FF[4] text, UTF-8, lines of at most about 72 characters.

    `moves` are flat actions, colours in turn from `first_to_play` (0 Black); `comments` go by
    number of moves played (0: the root); `setup` maps flat actions to 1 black, -1 white.
    `result` is as SGF has it (`B+3.5`, `W+R`, `0`) or empty; `more` are further properties of the
    root. Raises ValueError for an action off
    the board or a result of another form.
    """
    if result and not _RESULT_WRITTEN.fullmatch(result):
        raise ValueError(f"result {result!r} is not B+3.5, W+R, B+T, 0, Void or ?")
    rows, cols, remarks = game.rows, game.cols, comments or {}
    size = str(rows) if rows == cols else f"{cols}:{rows}"
    root = [f"GM[1]FF[4]CA[UTF-8]AP[{OURS.decode()}]", f"SZ[{size}]", f"KM[{komi:g}]"]
    for name, value in (
        ("RU", rules),
        ("PB", black),
        ("PW", white),
        ("DT", date),
        ("RE", result),
        *(more or {}).items(),
    ):
        if value:
            root.append(f"{name}[{_escape(' '.join(value.split()))}]")
    for name, stone in (("AB", 1), ("AW", -1)):
        points = [a for a, s in sorted((setup or {}).items()) if s == stone]
        if points:
            root.append(name + "".join(f"[{_point(game, a, game.points)}]" for a in points))
    if setup or first_to_play:  # black stones alone would leave the move to White
        root.append(f"PL[{'BW'[first_to_play]}]")
    nodes = ["".join(root) + _comment(remarks.get(0, ""))]
    for i, action in enumerate(moves):
        colour = "BW"[(i + first_to_play) % 2]
        point = _point(game, action, game.actions)
        nodes.append(f"{colour}[{point}]" + _comment(remarks.get(i + 1, "")))
    return _lines(nodes)


def _point(game: Game, action: int, limit: int) -> str:
    if not 0 <= action < limit:
        raise ValueError(f"action {action} is not one of 0 .. {limit - 1}")
    return coords.to_sgf(int(action), game.rows, game.cols)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("]", "\\]")


def _comment(text: str) -> str:
    return f"C[{_escape(text)}]" if text else ""


def _lines(nodes: Sequence[str]) -> str:
    lines = ["(;" + nodes[0]]
    for number, node in enumerate(nodes[1:]):
        if number == 0 or len(lines[-1]) + len(node) >= _LINE:
            lines.append("")
        lines[-1] += ";" + node
    return "\n".join(lines) + ")\n"
