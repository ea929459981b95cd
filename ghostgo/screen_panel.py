"""What stands beside the board on the full screen: players, win rate, count, best moves, moves so far.

Text in styled pieces; a piece is (text, style), and a style names colours as Textual does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ghostgo.bot import Analysis
from ghostgo.duel import Duel, margin_words
from ghostgo.engine.games.go import is_go
from ghostgo.screen_board import Palette, stone_colors

Piece = tuple[str, str]
Line = list[Piece]
BARS = " ▁▂▃▄▅▆▇█"
GRAPH_ROWS = 3
SWING_ROWS = 2
LEAST_SWING = 5.0
"""Points, at least, that each half of the graph of points stands for."""
FEWEST_MOVE_ROWS = 2
"""Rows of moves that the graph of points leaves, where there are no hints."""
HINTS = 5
HEADING, NARROW = "   move  visits  you win", "   move  win"


@dataclass
class Notes:
    """What the screen knows besides the game."""

    rates: dict[int, float] = field(default_factory=dict)
    """The person's win rate as the bot saw it, by the number of moves played then."""
    leads: dict[int, float] = field(default_factory=dict)
    """The points that the bot expected the person to win by, by the number of moves played then."""
    estimate: str = ""
    """How the bot expects the game to end, while the score is shown."""
    thinking: str = ""
    """What the bot is at."""
    hints: Analysis | None = None
    """The bot's opinion of the person's position, while it is shown."""
    counted: bool = False
    """Whether the score is shown."""
    forecast: bool = False
    """Whether it is shown whose the points will be."""


def panel(
    duel: Duel, notes: Notes, palette: Palette, width: int, height: int
) -> tuple[list[Line], int]:
    """At most `height` lines of `width` characters, and how many of the best moves are among them.

    Where not all fits, the graphs go first, then the lines expected after the best moves, from the
    last, then these moves themselves.
    """
    lines = [*_players(duel, palette, width), [], *_turn(duel, notes, width)]
    graph_at = swing_at = 0
    if notes.rates:
        lines += [[], _win_rate(duel, notes.rates, width)]
        graph_at = len(lines)
    if notes.leads:
        lines.append(_lead(duel, notes.leads))
        swing_at = len(lines)
    if notes.counted and not duel.session.over and duel.session.has_score:
        lines += [[], *_wrapped(f"If it ended now: {duel.count()}.", width)]
        lines += _wrapped(notes.estimate, width)
    lines.append([])
    room = height - len(lines)
    hints = _hints(duel, notes.hints, width) if notes.hints else []
    below, shown = _fitted(hints, width, room)
    spare = room - max(1 + sum(map(len, hints)) if hints else 0, FEWEST_MOVE_ROWS)
    with_swing = notes.leads and spare >= SWING_ROWS + (GRAPH_ROWS if notes.rates else 0)
    if with_swing:  # the lower one first: it moves nothing above it
        lines[swing_at:swing_at] = _swing(notes.leads, width)
    if notes.rates and spare >= GRAPH_ROWS:
        lines[graph_at:graph_at] = _graph(notes.rates, width)
    lines += below if notes.hints else _moves(duel, max(height - len(lines), 1))
    return lines[:height], shown


def _wrapped(text: str, width: int, style: str = "") -> list[Line]:
    return [[(line, style)] for line in textwrap.wrap(text, max(width, 8))]


def _players(duel: Duel, palette: Palette, width: int) -> list[Line]:
    """Each side's stone, who plays it and what it has captured; then the game and its rules."""
    session, colors = duel.session, stone_colors(duel.session)
    lines: list[Line] = []
    for player in (0, 1):
        who = "you" if player == duel.human else duel.bot.name
        # First and second have marks of their own, since not every terminal shows colours.
        stone = f" {'●○'[player]} "
        style = f"{colors[player]} on {palette.board if is_go(session.game) else palette.cells[0]}"
        turn = "bold" if player == session.to_play and not session.over else ""
        room = width - len(stone) - 1
        text = _wrapped(f"{duel.side(player)}: {who}", room, turn)
        lines += [[(stone, style), (" ", ""), *text[0]]]
        lines += [[(" " * (len(stone) + 1), ""), *more] for more in text[1:]]
        if is_go(session.game):
            captured = f"{session.state.captures[player]} captured"
            used = sum(len(piece) for piece, _ in lines[-1])
            if used + 1 + len(captured) > width:  # a line of its own
                used = 0
                lines.append([])
            lines[-1] = [*lines[-1], (captured.rjust(width - used), "")]
    rules = f"{session.game.name}. {duel.rules()}".strip()
    return lines + _wrapped(rules, width, "dim")


def _cut(text: str, room: int) -> str:
    """`text` if it fits into `room` characters, else its beginning and an ellipsis."""
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…" * (room > 0)


def _turn(duel: Duel, notes: Notes, width: int) -> list[Line]:
    """Whose move it is, or how the game ended and was counted."""
    if duel.session.over:
        lines = _wrapped(duel.verdict(), width, "bold")
        return lines + _wrapped(duel.reckoning(), width)
    number, side = len(duel.session.moves) + 1, duel.side(duel.session.to_play)
    if duel.bot_to_move:
        return _wrapped(f"Move {number}: {side}. {notes.thinking}", width)
    return _wrapped(f"Move {number}: {side}, your turn. {notes.thinking}", width, "bold")


def _win_rate(duel: Duel, rates: Mapping[int, float], width: int) -> Line:
    """The latest win rate."""
    share = f"{rates[max(rates)]:.0%}"
    says = f", says {duel.bot.name}"
    room = max(width - len(f"You win {share}"), 0)
    return [("You win ", ""), (share, "bold"), (_cut(says, room), "")]


def _graph(rates: Mapping[int, float], width: int) -> list[Line]:
    """A graph of all win rates, oldest first."""
    ordered = [rates[ply] for ply in sorted(rates)]
    rows = graph(ordered[-width:], GRAPH_ROWS)
    return [[(row.ljust(width), "$accent on $panel")] for row in rows]


def _lead(duel: Duel, leads: Mapping[int, float]) -> Line:
    """What the latest opinion expects the game to be won by."""
    lead = leads[max(leads)]
    return [(margin_words(lead if duel.human == 0 else -lead), "bold"), (" expected", "")]


def _swing(leads: Mapping[int, float], width: int) -> list[Line]:
    """A graph of points, oldest first: above the middle the person's, below it the bot's."""
    above, below = swing([leads[ply] for ply in sorted(leads)][-width:])
    full = BARS[-1]
    # A bar that hangs is what a bar from below leaves free, with the two colours exchanged.
    return [
        [(above.ljust(width), "$accent on $panel")],
        [(below.ljust(width, full), "$panel on $accent")],
    ]


def swing(leads: Sequence[float]) -> tuple[str, str]:
    """Bars from a middle line for numbers of either sign, to a common scale of LEAST_SWING or more.

    The first row's stand on the line; the second row's show what is free below the hanging bar.
    """
    steps = len(BARS) - 1
    scale = max(LEAST_SWING, *(abs(lead) for lead in leads))
    levels = [round(lead / scale * steps) for lead in leads]
    above = "".join(BARS[max(level, 0)] for level in levels)
    return above, "".join(BARS[steps - max(-level, 0)] for level in levels)


def graph(rates: Sequence[float], rows: int) -> list[str]:
    """A bar for each rate in [0, 1], `rows` lines high; the whole height is 1."""
    steps = len(BARS) - 1
    levels = [max(1, round(rate * steps * rows)) for rate in rates]
    return [
        "".join(BARS[min(max(level - steps * row, 0), steps)] for level in levels)
        for row in reversed(range(rows))
    ]


def _hints(duel: Duel, found: Analysis, width: int) -> list[list[Line]]:
    """The best moves: visits, the person's chance to win, and in a second line the moves expected.

    A narrow panel leaves the visits out.
    """
    hints: list[list[Line]] = []
    for number, move in enumerate(found.candidates[:HINTS], 1):
        visits = f"{move.visits:>7}" if width >= len(HEADING) else ""
        numbers = f"{duel.name(move.action):<5}{visits}{move.win_rate:>{9 if visits else 5}.0%}"
        lines: list[Line] = [[(f"{number}  ", "$success"), (numbers, "")]]
        line = move.line or (found.line if move.action == found.action else ())
        if len(line) > 1:
            expected = " ".join(map(duel.name, line))
            lines.append(
                [("   " + textwrap.shorten(expected, max(width - 3, 4), placeholder=""), "dim")]
            )
        hints.append(lines)
    return hints


def _fitted(hints: Sequence[list[Line]], width: int, room: int) -> tuple[list[Line], int]:
    """What fits of the best moves into `room` lines under a heading, and how many moves that are."""
    if not hints or room < 2:
        return [], 0
    shown = list(hints[: room - 1])
    left = room - 1 - len(shown)
    lines: list[Line] = [[(HEADING if width >= len(HEADING) else NARROW, "dim")]]
    for first, *more in shown:
        more = more[:left]
        left -= len(more)
        lines += [first, *more]
    return lines, len(shown)


def _moves(duel: Duel, height: int) -> list[Line]:
    """The last moves, two a line, that fit into `height` lines."""
    moves = duel.session.moves
    lines: list[Line] = []
    for start in range(0, len(moves), 2):
        names = "".join(f"{duel.name(action):<6}" for _, action in moves[start : start + 2])
        lines.append([(f"{start + 1:>3}  ", "dim"), (names, "")])
    return lines[-height:]
