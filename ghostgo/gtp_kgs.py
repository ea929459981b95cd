"""`kgs-genmove_cleanup`: play after the end on KGS, where players disagree on what is dead.

Described in the documentation of KGS's GTP client: as `genmove`, but the engine must not pass while
stones of the opponent's that it takes for dead are on the board.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ghostgo.bot import Analysis
from ghostgo.duel import dead_chains
from ghostgo.engine.games.game import is_legal_one
from ghostgo.gtp_protocol import command, parse_color
from ghostgo.session import Session

if TYPE_CHECKING:
    from ghostgo.gtp import Engine


def liberties(session: Session, chain: frozenset[int]) -> frozenset[int]:
    """The empty points beside a chain."""
    stones, rows, cols = session.stones(), session.game.rows, session.game.cols
    found = set()
    for point in chain:
        row, col = divmod(point, cols)
        for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
            if 0 <= r < rows and 0 <= c < cols and not stones[r * cols + c]:
                found.add(r * cols + c)
    return frozenset(found)


def capturing(engine: Engine, player: int, opinion: Analysis | None) -> int | None:
    """A move of `player` towards the capture of stones that the bot takes for dead; None without any.

    The one that the bot's search visited most, else any that is legal.
    """
    session = engine.session
    states = session.ready(player)
    expected = engine.bot.ownership(states)
    if expected is None:
        return None
    theirs = -1 if player == 0 else 1
    stones = session.stones()
    dead = {point for point in dead_chains(session, expected) if stones[point] == theirs}
    wanted = [a for a in liberties(session, frozenset(dead)) if is_legal_one(states[0], a)]
    visits = {move.action: move.visits for move in opinion.candidates} if opinion else {}
    return max(sorted(wanted), key=lambda a: visits.get(a, 0), default=None)


@command("kgs-genmove_cleanup")
def _genmove_cleanup(engine: Engine, arguments: list[str]) -> str:
    player = parse_color(arguments[0] if arguments else "")
    start, seconds = time.monotonic(), engine.seconds(player)
    states = engine.session.ready(player)
    opinion = engine.bot.analyse(states, seconds)
    action = engine.bot.choose(states, seconds) if opinion is None else opinion.action
    if action == engine.session.game.points:
        better = capturing(engine, player, opinion)
        action = action if better is None else better
    return engine.settle(player, action, start)
