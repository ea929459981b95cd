"""GTP's handicap commands (GTP 2, sections 4.1 and 6.3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghostgo.gtp_protocol import GtpError, command, parse_number
from ghostgo.session import fixed_handicap, free_handicap

if TYPE_CHECKING:
    from ghostgo.gtp import Engine


def _place(engine: Engine, actions: list[int]) -> str:
    engine.session.place_handicap(actions)
    return " ".join(engine.vertex(action) for action in actions)


@command("fixed_handicap")
def _fixed_handicap(engine: Engine, arguments: list[str]) -> str:
    game, count = engine.session.game, parse_number(arguments[0] if arguments else "")
    return _place(engine, fixed_handicap(game.rows, game.cols, count))


@command("place_free_handicap")
def _place_free_handicap(engine: Engine, arguments: list[str]) -> str:
    count = parse_number(arguments[0] if arguments else "")
    return _place(engine, free_handicap(engine.session.game.rows, count))


@command("set_free_handicap")
def _set_free_handicap(engine: Engine, arguments: list[str]) -> str:
    if len(arguments) < 2:
        raise GtpError("bad vertex list")
    engine.session.place_handicap([engine.action(text) for text in arguments])
    return ""
