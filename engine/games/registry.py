"""Games by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import connect_four, go, hex, openspiel, othello, tic_tac_toe
from ghostgo.engine.games.game import Game

_MAKERS: dict[str, Callable[[], Game]] = {
    "connect_four": connect_four.make_game,
    "othello": othello.make_game,
    "tic_tac_toe": tic_tac_toe.make_game,
}
EXAMPLES = ("go9", "go7", "go5", "connect_four", "tic_tac_toe", "othello", "hex9")


@cache
def get_game(name: str) -> Game:
    """The game called `name`: `go9`, `go7x5`, `connect_four`, `tic_tac_toe`, ...

    Raises UserError naming the known games.
    """
    if name in _MAKERS:
        return _MAKERS[name]()
    match = re.fullmatch(r"go(\d+)(?:x(\d+))?", name)
    if match:
        rows = int(match[1])
        return go.make_game(rows, int(match[2] or rows))
    match = re.fullmatch(r"hex(\d+)", name)
    if match:
        return hex.make_game(int(match[1]))
    match = re.fullmatch(r"connect_four_(\d+)x(\d+)", name)
    if match:
        return connect_four.make_game(int(match[1]), int(match[2]))
    if name.startswith(openspiel.PREFIX):
        return openspiel.make_game(name.removeprefix(openspiel.PREFIX))
    known = ", ".join((*EXAMPLES, "goN or goRxC for 2 to 19", "openspiel:NAME"))
    raise UserError(f"game {name!r} is unknown; known: {known}")
