"""The analysis commands of Leela Zero and KataGo: what they are asked, and what they report.

A GUI sends `lz-analyze` or `kata-analyze` and gets a line of moves every so often until it sends
something else; `lz-genmove_analyze` and `kata-genmove_analyze` do the same until the move is chosen.
Both dialects are described in the GTP documentation of KataGo ("GTP Extensions").
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ghostgo.bot import Analysis, Opinions
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

Dialect = Literal["lz", "kata"]
Stop = Callable[[], bool]
COLORS = {"b": 0, "black": 0, "w": 1, "white": 1}
EXTRAS = {
    "ownership",
    "ownershipstdev",
    "movesownership",
    "rootinfo",
    "pvvisits",
    "pvedgevisits",
    "movesownershipstdev",
}
"""Keys of KataGo for parts of the report that are left out here; GUIs do without them."""
DEFAULT_INTERVAL = 1.0


@dataclass(frozen=True)
class Request:
    """What an analysis command asks for."""

    player: int | None = None
    """Side to move, None: whoever's turn it is."""
    interval: float = DEFAULT_INTERVAL
    """Seconds between two reports."""
    most: int = 1 << 30
    """Moves reported at most."""


def parse_request(arguments: list[str]) -> Request:
    """The request in `[color] [centiseconds] [KEY VALUE]...`.

    Raises UserError for anything else, and for restrictions to some moves, which are not supported.
    """
    words = [word.lower() for word in arguments]
    values: dict[str, int] = {}
    player = COLORS[words.pop(0)] if words and words[0] in COLORS else None
    if words and words[0].isdigit():
        words.insert(0, "interval")
    while words:
        key = words.pop(0)
        if key in COLORS:  # KataGo takes the colour anywhere
            player = COLORS[key]
            continue
        if key in ("avoid", "allow"):
            raise UserError(f"{key} is not supported: all legal moves are searched")
        if not words:
            raise UserError(f"{key} needs a value")
        value = words.pop(0)
        if key in EXTRAS and value in ("true", "false"):
            continue
        if key not in ("interval", "minmoves", "maxmoves") or not re.fullmatch(r"\d{1,6}", value):
            raise UserError(f"{key} {value} is not understood")
        values[key] = int(value)
    return Request(
        player,
        values.get("interval", round(100 * DEFAULT_INTERVAL)) / 100,
        max(1, values.get("maxmoves", 1 << 30)),
    )


def report(found: Analysis, game: Game, dialect: Dialect, request: Request) -> str:
    """One line of `info move ...`, best move first; win rates are of the side to move.

    Leela Zero writes rates and priors in ten-thousandths, KataGo as fractions.
    """
    parts = []
    for order, move in enumerate(found.candidates[: request.most]):
        line = " ".join(game.action_name(action) for action in move.line or (move.action,))
        if dialect == "lz":
            rates = f"winrate {round(10_000 * move.win_rate)} prior {round(10_000 * move.prior)}"
        else:
            rates = f"winrate {move.win_rate:.4f} prior {move.prior:.4f}"
        parts.append(
            f"info move {game.action_name(move.action)} visits {move.visits} {rates} "
            f"order {order} pv {line}"
        )
    return " ".join(parts)


def reports(
    opinions: Opinions, game: Game, dialect: Dialect, request: Request, stop: Stop
) -> Iterator[str]:
    """A line every interval while the search goes on, and a last one when it ends or must stop."""
    last = time.monotonic()
    read: Callable[[], Analysis] | None = None
    for read in opinions:
        stopping = stop()
        if stopping or time.monotonic() - last >= request.interval:
            last = time.monotonic()
            yield from _lines(report(read(), game, dialect, request))
        if stopping:
            return
    if read is not None:  # else the bot has no opinion
        yield from _lines(report(read(), game, dialect, request))


def _lines(text: str) -> Iterator[str]:
    """`text`, unless it is empty: an empty line would end the response."""
    if text:
        yield text
