"""Games by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import connect_four, go, gomoku, hex, openspiel, othello, tic_tac_toe
from ghostgo.engine.games.game import Game

_MAKERS: dict[str, Callable[[], Game]] = {
    "connect_four": connect_four.make_game,
    "othello": othello.make_game,
    "tic_tac_toe": tic_tac_toe.make_game,
}
_SIZED: dict[str, Callable[..., Game]] = {
    r"go(\d+)(?:x(\d+))?": go.make_game,
    r"gomoku(\d+)": gomoku.make_game,
    r"hex(\d+)": hex.make_game,
    r"connect_four_(\d+)x(\d+)": connect_four.make_game,
}
"""By a pattern of the name, whose groups are the sizes."""
EXAMPLES = ("go9", "go7", "go5", "connect_four", "tic_tac_toe", "othello", "hex9", "gomoku9")
SIZES = ("goN or goRxC for 2 to 19", "hexN for 2 to 19", "gomokuN for 5 to 19")


@cache
def get_game(name: str) -> Game:
    """The game called `name`: `go9`, `go7x5`, `hex11`, `othello`, `openspiel:breakthrough`, ...

    Raises UserError naming the known games.
    """
    if name in _MAKERS:
        return _MAKERS[name]()
    for pattern, make in _SIZED.items():
        match = re.fullmatch(pattern, name, re.ASCII)
        if match:
            return make(*(int(size) for size in match.groups() if size))
    if name.startswith(openspiel.PREFIX):
        return openspiel.make_game(name.removeprefix(openspiel.PREFIX))
    known = ", ".join((*EXAMPLES, *SIZES, "openspiel:NAME"))
    raise UserError(f"game {name!r} is unknown; known: {known}")
