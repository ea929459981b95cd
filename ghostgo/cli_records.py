"""The verbs of `ghostgo records`; what they need is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ghostgo.options import Number, check_game


@click.group()
def records() -> None:
    """Game records."""


@records.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write, .h5.",
)
@click.option(
    "--game", callback=check_game, default="go9", show_default=True, help="A Go board, goN."
)
@click.option(
    "--most-of-player",
    type=Number(0, 1, min_open=True),
    default=1.0,
    help="No player in more than this share of the games; others of theirs are left out.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop at so many games.")
@click.option(
    "--min-moves",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Leave out games of fewer moves, passes not counted.",
)
def import_(**options: Any) -> None:
    """Read SGF records once into a file that `warmstart --records` takes.

    PATHS are SGF files, folders, .zip, .tar or .sgfs. What is refused is counted by reason.
    """
    from ghostgo.selfplay.monitor import LiveLine
    from ghostgo.warmstart.store import import_to_file

    line = LiveLine()
    report = import_to_file(
        **options,
        progress=lambda games, share: line.show(f"importing: {games} games, {share:.0%}"),
    )
    for text in report.lines():
        line.say(text)
    line.close()


@records.command()
@click.argument("path", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Say what an imported file holds and what its import dropped, and why."""
    from ghostgo.warmstart.store import describe

    for text in describe(path):
        click.echo(text)


@records.command("make")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write: one game of SGF a line (.sgfs).",
)
@click.option(
    "--game", callback=check_game, default="go7", show_default=True, help="A Go board, goN."
)
@click.option("--games", type=click.IntRange(min=1), default=500, show_default=True)
@click.option(
    "--rollouts",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Random playouts a move.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def make(**options: Any) -> None:
    """Let plain tree search play itself, as records to imitate where no human ones are at hand."""
    from ghostgo.selfplay.monitor import LiveLine
    from ghostgo.warmstart.teacher import make_records

    line = LiveLine()
    make_records(
        **options, progress=lambda done, games: line.show(f"{done} of {games} games", done == games)
    )
    line.close()
