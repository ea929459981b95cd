"""A strict writer of SGF FF[4]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ghostgo.data.sgf import OURS
from ghostgo.engine import coords
from ghostgo.engine.games.game import Game

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
