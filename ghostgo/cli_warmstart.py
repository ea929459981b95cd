"""The verbs of `ghostgo warmstart`; what they need is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ghostgo.options import (
    Number,
    anchor_option,
    config_option,
    flops_option,
    game_option,
    is_for_another,
    preset_option,
    root_option,
    seed_option,
)


@click.group(invoke_without_command=True)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    multiple=True,
    help="SGF file, folder, .zip, .tar or .sgfs, several times if need be, or one imported .h5, or the "
    "folder of a run, whose own games are imitated then, RUN@FROM-TO those of some of its steps; not "
    "when resuming.",
)
@click.option("--run", default="warm", show_default=True, help="Name of the run that is started.")
@game_option
@preset_option
@click.option(
    "--minutes",
    type=Number(min=0, min_open=True),
    help="Stop after so many minutes of imitation, those before an interruption included.",
)
@flops_option
@click.option("--epochs", type=Number(min=0, min_open=True), help="Stop after so many passes.")
@click.option(
    "--held-out",
    type=Number(0, 0.5, min_open=True),
    help="Share of games kept back to judge the prior.  [default: 0.1]",
)
@click.option(
    "--subset",
    type=click.IntRange(min=1),
    help="Learn only so many games, smaller subsets within larger ones.",
)
@click.option(
    "--most-of-player",
    type=Number(0, 1, min_open=True),
    default=None,
    help="No player in more than this share of the games; others of theirs are left out.",
)
@click.option(
    "--permute",
    is_flag=True,
    help="Learn a legal move at random in place of each one played: a control. Only the moves are: value "
    "and score still learn the games' true results.",
)
@anchor_option
@seed_option
@config_option
@root_option
@click.pass_context
def warmstart(context: click.Context, /, **options: Any) -> None:
    """Imitate game records and start a run from the result.

    The players' ranks are learnt only by a network with r in its name, such as b4c64r, which the
    config file names (network = "b4c64r").

    Or the command below, with options of its own.
    """
    if is_for_another(context):
        return
    from ghostgo.warmstart.imitate import run_warmstart

    run_warmstart(**options)


@warmstart.command()
@click.argument("prior")
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="SGF file, folder, .zip, .tar or .sgfs, several times if need be, or one imported .h5, or the "
    "folder of a run, whose own games are judged then, RUN@FROM-TO those of some of its steps.",
)
@click.option(
    "--held-out",
    type=Number(0, 1, min_open=True),
    help="Only the games that a warm start with this share holds back; 1: all.  [default: PRIOR's own "
    "share; all, if it has imitated no records]",
)
@click.option(
    "--positions",
    type=click.IntRange(min=0),
    default=20_000,
    show_default=True,
    help="Most positions, drawn by a fixed seed; 0: all.",
)
@click.option(
    "--baselines",
    type=click.Path(path_type=Path),
    metavar="TRAIN.h5",
    help="Records as above to fit baselines on, which are judged beside the network; of the games "
    "judged, none is learnt.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all figures to this file.",
)
@root_option
def evaluate(**options: Any) -> None:
    """Judge a network on recorded games: move match, log loss, value, by rank and move number.

    PRIOR is a run, RUN@STEP, or a bot in the box.
    """
    from ghostgo.warmstart.evaluate import run_evaluate

    run_evaluate(**options)
