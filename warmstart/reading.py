"""What one record says, checked as far as that goes without playing it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ghostgo.data import sgf, sgf_values
from ghostgo.data.players import player_key
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

MAX_TRAILING_PASSES = 2
MAX_VALUE = 1000
"""Bytes or letters of a property's value that are looked at: what they mean is remembered by value, and
the names of rules are kept with each game."""

NOT_GO = "not Go"
WRONG_SIZE = "wrong board size"
NO_MOVES = "no moves"
TOO_SHORT = "too few moves"
BAD_KOMI = "komi makes no sense"
LATE_SETUP = "stones set up during the game"
WHITE_SETUP = "white stones set up"
MISSING_HANDICAP = "handicap without its stones"
WHITE_FIRST = "White first without handicap"
NOT_ALTERNATING = "same colour twice"
OFF_BOARD = "move off the board"
DUPLICATE = "duplicate"
BAD_SETUP = "set-up stones without liberties"
ILLEGAL = "illegal move"
AFTER_END = "play after two passes"
TOO_LONG = "too many moves"
TOO_FREQUENT = "player too frequent"


class Refused(Exception):
    """A game that cannot be used; the message is the counted reason."""

    def __init__(self, reason: str, ply: int | None = None, size: str = "") -> None:
        """`ply`: the number of the move at fault, from 0; None if it is no move. `size`: of the board,
        such as `19x19` or `9x7` (columns first, as in SGF), where that is the reason."""
        super().__init__(reason)
        self.ply, self.size = ply, size


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record, read but not yet replayed."""

    source: str
    """The file it stands in."""
    of: str
    """The name of the path that was asked for."""
    moves: list[int]
    first_to_play: int
    setup: dict[int, int]
    komi: float
    result: sgf_values.Result
    ranks: tuple[int, int]
    players: tuple[int, int]
    year: int
    rules: str


def understand(written: sgf.SgfGame, game: Game, min_moves: int, source: str, of: str) -> Recorded:
    """What the record says. Raises Refused if that is no game of `game` with `min_moves` stones."""
    rows, cols = game.rows, game.cols
    if written.raw(b"GM") not in (b"", b"1"):
        raise Refused(NOT_GO)
    size = sgf_values.parse_size(_raw(written, b"SZ"))
    if size != (rows, cols):
        raise Refused(WRONG_SIZE, size=f"{size[1]}x{size[0]}" if size else "unreadable")
    if not written.points:
        raise Refused(NO_MOVES)
    if written.late_setup:
        raise Refused(LATE_SETUP)
    komi = _komi(written, game.points)
    moves = _actions(written, rows, cols)
    try:
        setup = written.stones(rows, cols)
    except UserError:
        raise Refused(OFF_BOARD) from None
    first_to_play = _first_to_play(written, setup)
    if len(moves) - moves.count(game.points) < min_moves:
        raise Refused(TOO_SHORT)
    return Recorded(
        source=source,
        of=of,
        # One move more than there can be makes the replay refuse the record; many records wait for it.
        moves=_trim_passes(moves, game.points)[: game.max_moves + 1],
        first_to_play=first_to_play,
        setup=setup,
        komi=komi,
        result=sgf_values.parse_result(_raw(written, b"RE")),
        ranks=(
            sgf_values.parse_rank(_raw(written, b"BR")),
            sgf_values.parse_rank(_raw(written, b"WR")),
        ),
        players=(player_key(_text(written, b"PB")), player_key(_text(written, b"PW"))),
        year=sgf_values.parse_year(_text(written, b"DT")),
        rules=_text(written, b"RU"),
    )


def _raw(written: sgf.SgfGame, name: bytes) -> bytes:
    return written.raw(name)[:MAX_VALUE]


def _text(written: sgf.SgfGame, name: bytes) -> str:
    return written.text(name)[:MAX_VALUE]


def _actions(written: sgf.SgfGame, rows: int, cols: int) -> list[int]:
    try:
        return written.actions(rows, cols)
    except UserError:
        pass
    # Once more, move by move, to say which one is at fault.
    for ply, point in enumerate(written.points):
        try:
            sgf.SgfGame(points=[point]).actions(rows, cols)
        except UserError:
            raise Refused(OFF_BOARD, ply) from None
    raise AssertionError("no move of these is off the board")


def _komi(written: sgf.SgfGame, points: int) -> float:
    """Komi in points, nan if unknown."""
    komi = written.komi()
    if komi is None or abs(komi) > min(points, sgf_values.MAX_KOMI):
        raise Refused(BAD_KOMI)
    if not math.isnan(komi) and not (2 * komi).is_integer():
        raise Refused(BAD_KOMI)  # in a file of ours, whose komi is read literally
    # The Fox server writes KM[0] in even games for "not recorded": Black wins 51% of them.
    fox = b"TC" in written.properties and b"TT" in written.properties
    return (
        math.nan
        if fox and komi == 0 and sgf_values.parse_handicap(written.raw(b"HA")) < 2
        else komi
    )


def _first_to_play(written: sgf.SgfGame, setup: dict[int, int]) -> int:
    """0 if Black moves first, 1 if White; Refused if stones or colours do not add up."""
    if -1 in setup.values():
        raise Refused(WHITE_SETUP)
    if sgf_values.parse_handicap(written.raw(b"HA")) >= 2 and not setup:
        raise Refused(MISSING_HANDICAP)
    colours = b"".join(written.colours)
    white = colours.startswith(b"W")
    turns = b"WB" if white else b"BW"
    expected = (turns * (len(colours) // 2 + 1))[: len(colours)]
    if colours != expected:
        wrong = (
            i for i, pair in enumerate(zip(colours, expected, strict=True)) if pair[0] != pair[1]
        )
        raise Refused(NOT_ALTERNATING, next(wrong))
    if white and not setup and written.raw(b"PL")[:1].upper() != b"W":
        raise Refused(WHITE_FIRST, 0)
    return int(white)


def _trim_passes(moves: list[int], pass_action: int) -> list[int]:
    """Without what passes follow two passes at the end: the game is over by then."""
    end = len(moves)
    while end > 0 and moves[end - 1] == pass_action:
        end -= 1
    keep = end + MAX_TRAILING_PASSES
    return moves[:keep] if keep < len(moves) else moves


def told(game: Recorded) -> tuple[int, ...]:
    """How much a record tells beside its moves, to compare with a copy: the more, the larger.

    A winner counts before a margin, that before komi, these before ranks and the rest.
    """
    return (
        not math.isnan(game.result.winner),
        not math.isnan(game.result.margin),
        not math.isnan(game.komi),
        sum(rank > 0 for rank in game.ranks),
        sum(player > 0 for player in game.players) + (game.year > 0) + bool(game.rules),
    )


def true_margin(game: Recorded) -> float:
    """Black's margin; nan if it does not fit the komi (a placeholder, or a komi wrongly given)."""
    margin = game.result.margin
    if math.isnan(game.komi) or (margin + game.komi).is_integer():
        return margin
    return math.nan
