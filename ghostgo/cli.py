"""The command line: each verb maps its options to one function's arguments and calls it.

Only click is imported here, so that `ghostgo --help` answers at once; everything else is imported
inside the verb that needs it. Whatever is wrong with the input is one line on stderr and exit
code 2.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ghostgo import __version__
from ghostgo.cli_arena import arena
from ghostgo.cli_learn import learn
from ghostgo.cli_records import records
from ghostgo.cli_warmstart import warmstart
from ghostgo.engine.errors import UserError
from ghostgo.options import (
    Number,
    anchor_option,
    color_option,
    config_option,
    flops_option,
    game_option,
    human_option,
    human_prior_option,
    learn_option,
    level_alone,
    level_option,
    load_option,
    minutes_option,
    preset_option,
    rank_option,
    resume_option,
    reuse_option,
    root_option,
    run_option,
    score_weight_option,
    seconds_option,
    seed_option,
    symmetries_option,
    take_opponent,
    variety_option,
    visits_option,
)

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
# The machine's fault or the user's, not the program's: worth a sentence instead of a traceback.
ENVIRONMENT_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENAMETOOLONG,
    errno.EISDIR, errno.ENOTDIR,
}  # fmt: skip


def _nobody_reads() -> bool:
    """Whether stdout is a pipe whose reader has gone."""
    if not hasattr(select, "poll"):  # Windows: nobody tells
        return True
    stdout = select.poll()
    stdout.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in stdout.poll(0))


class _ReaderGone(Exception):
    """Whoever read our output has gone."""


class _Verbs(click.Group):
    """Tells a stdout that nobody reads from other broken pipes, which click would all keep quiet."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if _nobody_reads():
                raise _ReaderGone from None
            raise RuntimeError("a pipe other than stdout is broken") from error


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
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
@anchor_option
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
@click.argument("opponent", metavar="[RUN]", required=False)
@run_option
@game_option
@color_option
@level_option
@visits_option
@seconds_option
@symmetries_option
@score_weight_option
@human_option
@human_prior_option
@rank_option
@learn_option
@reuse_option
@variety_option
@click.option("--komi", type=float, help="Points for White, in halves (Go only).")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Same seed, same moves, same game, as long as no clock or dropped hint cuts a search short.",
)
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("games"),
    show_default=True,
    help="Folder where the game is saved.",
)
@load_option
@resume_option
@click.option("--plain", is_flag=True, help="Line by line, not on the full screen.")
@root_option
def play(**options: Any) -> None:
    """Play a game in the terminal.

    RUN is a run's name, RUN@STEP, a bot that came with the program (`ghostgo bots`), mcts:1000
    (plain search), capture or random. If not given: the bot for the game that came with the program,
    else your newest run for it, else mcts:2000.
    """
    level_alone()
    take_opponent(options)
    if options["load"] and options["resume"]:
        raise click.UsageError("--load and --resume do not go together")
    from ghostgo.terminal import play

    play(**options)


@cli.command()
@click.argument("opponent", metavar="[RUN]", required=False)
@run_option
@game_option
@level_option
@visits_option
@seconds_option
@symmetries_option
@score_weight_option
@human_option
@human_prior_option
@rank_option
@learn_option
@reuse_option
@variety_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Same seed, same commands, same games, as long as no clock cuts a search short.",
)
@click.option(
    "--resign",
    type=Number(0, 1),
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

    RUN is a run's name, RUN@STEP, a bot that came with the program (`ghostgo bots`), mcts:1000
    (plain search), capture or random. If not given: go9, which came with the program.
    """
    level_alone()
    take_opponent(options)
    from ghostgo.gtp_server import serve

    serve(**options)


@cli.command()
@click.option("--clear-cache", is_flag=True, help="Delete the compiled kernels of all versions.")
@root_option
def doctor(**options: Any) -> None:
    """Say what is installed, what will be used, and why."""
    from ghostgo.doctor import report

    report(**options)


@cli.command()
@click.option("--run", help="Choose the backend for this run, by exactness and speed, and keep it.")
@click.option(
    "--int8", is_flag=True, help="With --run: test an 8-bit trunk too (needs ghostgo[openvino])."
)
@game_option
@click.option("--net", default="b4c32", show_default=True, help="Network, bNcM: N blocks of M.")
@click.option(
    "--visits",
    type=click.IntRange(2, 1 << 16),
    default=32,
    show_default=True,
    help="Simulations a move in self-play.",
)
@click.option(
    "--seconds",
    type=Number(min=0.1),
    default=5.0,
    show_default=True,
    help="Time for each measurement.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the figures there too.",
)
@root_option
@click.pass_context
def bench(
    context: click.Context, /, run: str | None, int8: bool, root: Path, **options: Any
) -> None:
    """Measure what this machine can do, from matrix products to self-play.

    Machines differ and are noisy: compare the ratios of one report, not figures of two.

    With --run, compare the ways to compute that run's newest network on 10,000 positions of its own
    games, and write the fastest that is exact enough into the run's folder: selfplay, arena, play
    and gtp then use it. With --int8 an 8-bit trunk takes part, which is used for just the checkpoint
    that it was admitted for, and so never in training.
    """
    if run is None:
        if int8:
            raise click.UsageError("--int8 needs --run: it is admitted for a trained network")
        from ghostgo.bench import bench

        bench(**options)
        return
    for name in ("game", "net", "visits", "json_file"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            shown = name.removesuffix("_file")
            raise click.UsageError(f"--{shown} is not for --run: what is measured is the run's own")
    from ghostgo.bench_run import bench_run

    bench_run(run, int8, options["seconds"], root)


@cli.command()
@click.option("--levels", is_flag=True, help="The rated players behind --level instead.")
def bots(levels: bool) -> None:
    """List the networks that come with the program.

    Their names stand wherever one network is asked for: play, gtp, arena --player, arena sprt,
    selfplay --from.
    """
    if levels:
        from ghostgo.level import list_levels

        list_levels()
        return
    from ghostgo.bots import bots

    bots()


cli.add_command(arena)
cli.add_command(learn)
cli.add_command(records)
cli.add_command(warmstart)


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
    except _ReaderGone:
        # Keep the interpreter from complaining at exit.
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
    code = run()
    main_thread = threading.main_thread()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not main_thread):
        # A thread computes for somebody who was interrupted: nobody waits for it.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
