"""The command line: each verb maps its options to one function's arguments and calls it.

Only click is imported here, so that `ghostgo --help` answers at once; everything else is imported
inside the verb that needs it. Whatever is wrong with the input is one line on stderr and exit
code 2.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ghostgo import __version__
from ghostgo.engine.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
PRESETS = click.Choice(["tiny", "cpu", "gpu"])
# The machine's fault or the user's, not the program's: worth a sentence instead of a traceback.
ENVIRONMENT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM}


def _check_game(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Refuse an unknown game before anything slow is imported."""
    if value is not None:
        from ghostgo.engine.games.registry import get_game

        get_game(value)
    return value


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Any:
    """NAME=SPEC options as a dict."""
    pairs = {}
    for value in values:
        name, sign, spec = value.partition("=")
        if not (name and sign and spec):
            raise click.BadParameter(
                f"{value!r} is not NAME=SPEC, such as "
                "'gnugo=gtp:gnugo --mode gtp --level 1 --chinese-rules'"
            )
        pairs[name] = spec
    return pairs


game_option = click.option(
    "--game", callback=_check_game, help="go9, go7, go5, goN, goRxC, connect_four, tic_tac_toe, ..."
)
preset_option = click.option(
    "--preset", type=PRESETS, help="Size of network and batch in one word."
)
root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs.",
)
minutes_option = click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so many minutes."
)
flops_option = click.option(
    "--flops",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop when the run has cost so many FLOPs in all, such as 1e15.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of a new run.  [default: 0]"
)
config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of settings; options given here win.",
)
visits_option = click.option(
    "--visits",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="Search visits a move.",
)
color_option = click.option(
    "--color",
    type=click.Choice(["black", "white"]),
    default="black",
    show_default=True,
    help="Your side: black moves first, in every game.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="ghostgo")
def cli() -> None:
    """Train a bot by self-play, with or without human games first, and rate what each way buys.

    Runs live in ./runs/NAME. A verb that was stopped goes on when it is given again.
    """


@cli.command()
@click.option("--run", default="scratch", show_default=True, help="Name of the run.")
@game_option
@preset_option
@click.option("--from", "start", metavar="PRIOR|RUN", help="Start from this run's newest network.")
@minutes_option
@flops_option
@click.option("--games", type=click.IntRange(min=1), help="Stop at so many finished games.")
@seed_option
@config_option
@click.option("--workers", type=click.IntRange(min=1), help="Threads that play.")
@root_option
def selfplay(**options: Any) -> None:
    """Train a run by self-play; the same command again resumes it."""
    from ghostgo.selfplay.loop import run_selfplay

    run_selfplay(**options)


@cli.command()
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    multiple=True,
    help="SGF file, folder, .zip or .sgfs; may be given several times, and not when resuming.",
)
@click.option("--run", default="warm", show_default=True, help="Name of the run that is started.")
@game_option
@preset_option
@minutes_option
@flops_option
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="Stop after so many passes."
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.1,
    show_default=True,
    help="Share of games kept back to judge the prior.",
)
@seed_option
@config_option
@root_option
def warmstart(**options: Any) -> None:
    """Imitate game records and start a run from the result."""
    from ghostgo.warmstart.imitate import run_warmstart

    run_warmstart(**options)


@cli.command()
@click.option("--a", default="scratch", show_default=True, help="First run: all its checkpoints.")
@click.option("--b", default="warm", show_default=True, help="Second run; '' for none.")
@click.option(
    "--visits",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Search visits a move, for every network.",
)
@click.option("--games", type=click.IntRange(min=1), help="Stop at so many games in all.")
@minutes_option
@click.option(
    "--width",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop at a mean interval of so many Elo.",
)
@click.option(
    "--player",
    "players",
    multiple=True,
    callback=_pairs,
    metavar="NAME=SPEC",
    help="One more player: RUN@STEP, mcts:1000, or gtp: and an engine's command line.",
)
@click.option("--anchor", default="random", show_default=True, help="The player whose rating is 0.")
@game_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the openings."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the game ledger, the table and the plots.  [default: arena, below --root]",
)
@root_option
def arena(**options: Any) -> None:
    """Rate two runs' checkpoints, by games, against fixed anchors."""
    from ghostgo.arena.tournament import run_arena

    run_arena(**options)


@cli.command()
@click.argument("opponent", metavar="[RUN]", required=False)
@game_option
@color_option
@visits_option
@click.option("--komi", type=float, help="Points for White, in halves (Go only).")
@click.option("--seed", type=click.IntRange(min=0), help="Same seed, same moves, same game.")
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("games"),
    show_default=True,
    help="Folder where the game is saved.",
)
@root_option
def play(**options: Any) -> None:
    """Play a game in the terminal.

    RUN is a run's name, RUN@STEP, mcts:1000 (plain search, no training needed), capture or random;
    the newest run if not given.
    """
    from ghostgo.terminal import play

    play(**options)


@cli.command()
@click.argument("opponent", metavar="[RUN]", required=False)
@game_option
@visits_option
@click.option("--seed", type=click.IntRange(min=0), help="Same seed, same moves, same game.")
@click.option(
    "--resign",
    type=click.FloatRange(0, 1),
    help="Resign below this win rate; never if not given.",
)
@click.option(
    "--ko",
    type=click.Choice(["positional", "situational", "simple"]),
    default="positional",
    show_default=True,
    help="Ko rule.",
)
@root_option
def gtp(**options: Any) -> None:
    """Serve a bot by the Go Text Protocol, version 2.

    RUN is a run's name, RUN@STEP, mcts:1000 (plain search, no training needed), capture or random;
    the newest run if not given.
    """
    from ghostgo.gtp import serve

    serve(**options)


@cli.command()
@click.option("--clear-cache", is_flag=True, help="Delete the compiled kernels of all versions.")
@root_option
def doctor(**options: Any) -> None:
    """Say what is installed, what will be used, and why."""
    from ghostgo.doctor import report

    report(**options)


@cli.group()
def records() -> None:
    """Game records."""


@records.command("make")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write: one game of SGF a line (.sgfs).",
)
@click.option(
    "--game", callback=_check_game, default="go7", show_default=True, help="A Go board, goN."
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


def _complain(message: str) -> None:
    click.echo(f"ghostgo: {' '.join(message.split())}", err=True)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, printing at most one line about a bad input."""
    try:
        cli.main(arguments, prog_name="ghostgo", standalone_mode=False)
    except UserError as error:
        _complain(str(error))
        return EXIT_USER_ERROR
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        return 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = f" (see {context.command_path} --help)" if context else ""
        _complain(f"{error.format_message().rstrip('.')}{where}")
        return EXIT_USER_ERROR
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in ENVIRONMENT_ERRORS:
            raise
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EXIT_USER_ERROR
    return 0


def main() -> None:
    """Entry point of `ghostgo` and `python -m ghostgo`."""
    sys.exit(run())
