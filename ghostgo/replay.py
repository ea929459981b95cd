"""Looking at a rated game again: `ghostgo arena replay`."""

from __future__ import annotations

from pathlib import Path

import click

from ghostgo.arena.results import (
    LEDGER,
    GameResult,
    PairResult,
    outcome_words,
    read_results,
)
from ghostgo.board import render
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.session import Session

LISTED = 20
"""Pairs named where none is asked for."""


def replay(
    game_id: str | None,
    move: int | None,
    every: bool,
    sgf: Path | None,
    out: Path | None,
    root: Path,
) -> None:
    """Print a rated game, or the newest pairs' ids where `game_id` is None.

    `game_id` is a pair's id or its beginning; `/1` behind it is the game in which player a moved
    first (the default), `/2` the other. Raises UserError if there is no such game.
    """
    path = (out or root / "arena") / LEDGER
    pairs = read_results(path)
    if not pairs:
        raise UserError(f"{path}: no rated game yet; ghostgo arena plays some")
    if game_id is None:
        for option, given in (("--move", move), ("--every", every or None), ("--sgf", sgf)):
            if given is not None:
                raise UserError(
                    f"{option} needs the ID of a game; without options the newest are listed"
                )
        for pair in pairs[-LISTED:]:
            click.echo(_line(pair))
        return
    pair, result = _find(pairs, game_id, path)
    game = get_game(pair.game)
    moves = result.moves
    last = len(moves) if move is None else move
    if last > len(moves):
        raise UserError(f"--move {last}: the game has {len(moves)} moves")
    if sgf is not None:
        replace_file(sgf, _sgf(pair, result, game).encode())
    click.echo(_header(pair, result))
    click.echo(" ".join(game.action_name(action) for action in moves))
    session = Session(game, pair.rules)
    for number in range(last + 1):
        if number:
            session.play(moves[number - 1])
        if every or number == last:
            name = f": {game.action_name(moves[number - 1])}" if number else ""
            opening = ", opening" if 0 < number <= len(pair.opening) else ""
            click.echo(f"\nmove {number}{name}{opening}\n{render(session)}")


def _find(pairs: list[PairResult], game_id: str, path: Path) -> tuple[PairResult, GameResult]:
    start, _, which = game_id.partition("/")
    found = [pair for pair in pairs if pair.pair.startswith(start)]
    if which not in ("", "1", "2"):
        raise UserError(f"game {game_id!r}: a pair has games /1 and /2")
    if not start or len(found) != 1:
        told = "no pair" if not found else f"{len(found)} pairs"
        raise UserError(
            f"game {game_id!r}: {told} of {path} begin so; `ghostgo arena replay` lists some"
        )
    return found[0], found[0].games[int(which or 1) - 1]


def _names(pair: PairResult, result: GameResult) -> tuple[str, str]:
    """First and second player."""
    names = (pair.a.name, pair.b.name)
    return names if result.first == 0 else (names[1], names[0])


def _line(pair: PairResult) -> str:
    each = " and ".join(_outcome(pair, result) for result in pair.games)
    return f"{pair.pair}  {pair.a.name} - {pair.b.name}: {each}"


def _outcome(pair: PairResult, result: GameResult) -> str:
    return outcome_words(get_game(pair.game), result)


def _header(pair: PairResult, result: GameResult) -> str:
    one, two = get_game(pair.game).player_names
    first, second = _names(pair, result)
    rules = ", ".join(f"{name} {value}" for name, value in pair.rules.items())
    note = f"\n{result.note}" if result.note else ""
    return (
        f"{pair.pair}/{1 if result is pair.games[0] else 2}, {pair.game}"
        f"{f' ({rules})' if rules else ''}\n"
        f"{one}: {first}, {two}: {second}; {len(result.moves)} moves, the first "
        f"{len(pair.opening)} given; result: {_outcome(pair, result)}{note}"
    )


def _sgf(pair: PairResult, result: GameResult, game: Game) -> str:
    from ghostgo.data.sgf_writer import write_game

    if not is_go(game):
        raise UserError(f"--sgf: {game.name} has no SGF records, only Go has")
    black, white = _names(pair, result)
    sign = result.first_result
    margin = "F" if result.end == "forfeit" else "R"
    if result.score is not None:
        margin = f"{abs(result.score):g}"
    text = "0" if sign == 0.5 else f"{'B' if sign == 1 else 'W'}+{margin}"
    return write_game(
        game,
        list(result.moves),
        komi=float(pair.rules["komi"]),
        black=black,
        white=white,
        result=text,
        comments={
            0: f"rated pair {pair.pair}, opening of {len(pair.opening)} moves\n{result.note}".strip()
        },
    )
