"""What the properties of an SGF game mean: sizes, komi, ranks, results and the like, from raw bytes.

People and servers write these in many ways; what makes no sense is told apart from what is unknown.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from ghostgo.data.records import AREA, TERRITORY, UNKNOWN

_NUMBER = re.compile(rb"[+-]?(?:\d{1,6}(?:[.,]\d{0,6})?|[.,]\d{1,6})")
MAX_KOMI = 60.0
"""Larger komi than this is taken for an error."""


def parse_number(raw: bytes) -> float | None:
    """A decimal number, with a point or a comma; None if it is none, or longer than any that counts."""
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
    komi = parse_number(raw)
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
    margin = parse_number(rest.removesuffix(b"points").strip())
    if margin is None:
        return Result(winner, math.nan, "unstated")
    # No count gives a margin that is no multiple of a half: 0.02 and the like are placeholders.
    true = margin > 0 and (2 * margin).is_integer()
    return Result(winner, winner * margin if true else math.nan, "score")
