"""What the commands of GTP have in common: the table of them, and how words are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostgo.gtp import Engine

Handler = Callable[["Engine", list[str]], str]
COMMANDS: dict[str, Handler] = {}
COLORS = {"b": 0, "black": 0, "w": 1, "white": 1}
MOST_SECONDS = 1e10
"""On a clock; KataGo asks for 2^31 - 1 at least."""


class GtpError(Exception):
    """A command that fails; the message is what stands after the question mark."""


def command(name: str) -> Callable[[Handler], Handler]:
    """Register a function of an `Engine` and the arguments as the GTP command `name`."""

    def register(handler: Handler) -> Handler:
        COMMANDS[name] = handler
        return handler

    return register


def clean(line: str) -> str:
    """A line without comment, control characters and outer blanks; tabs become blanks (2.3)."""
    line = line.replace("\t", " ").partition("#")[0]
    return "".join(c for c in line if c >= " " and c != "\x7f").strip()


def parse_color(text: str) -> int:
    """The player that `text` means. Raises GtpError if it is none."""
    if text.lower() not in COLORS:
        raise GtpError("invalid color or coordinate")
    return COLORS[text.lower()]


def parse_number(text: str) -> int:
    """A whole number from 0 to 999,999,999. Raises GtpError for anything else."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise GtpError("syntax error")
    return int(text)


def parse_seconds(text: str) -> float:
    """A time, fractions allowed. Raises GtpError if it is negative, endless or no number."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_SECONDS:
        raise GtpError("syntax error")
    return seconds
