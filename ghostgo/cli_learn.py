"""The verbs of `ghostgo learn`; what they need is imported when they run."""

from __future__ import annotations

from pathlib import Path

import click

from ghostgo.options import root_option


@click.group()
def learn() -> None:
    """What bots have learnt from their games (`ghostgo play --learn on`, `ghostgo gtp --learn on`)."""


@learn.command("log")
@click.argument("name", metavar="[BOT|RUN]", required=False)
@root_option
def log(name: str | None, root: Path) -> None:
    """List the lessons of a bot, or of all, oldest first."""
    from ghostgo.learning import log_lines

    for text in log_lines(name, root):
        click.echo(text)


@learn.command("undo")
@click.argument("name", metavar="BOT|RUN")
@click.option(
    "--to", type=click.IntRange(min=0), help="Back to what it was after this lesson; 0: before any."
)
@root_option
def undo(name: str, to: int | None, root: Path) -> None:
    """Undo a bot's last lesson, or all after a given one. They stay in the journal."""
    from ghostgo.learning import student_of

    number = student_of(name, root).undo(to)
    click.echo(f"{name} plays as after lesson {number}" if number else f"{name} plays as it began")
