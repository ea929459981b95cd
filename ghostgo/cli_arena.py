"""The verbs of `ghostgo arena`; what they need is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ghostgo.options import (
    Number,
    checkpoints_option,
    game_option,
    gtp_timeout_option,
    is_for_another,
    ladder_option,
    minutes_option,
    out_option,
    pairs,
    rating_visits_option,
    root_option,
    rules_option,
)


@click.group(invoke_without_command=True)
@click.option(
    "--a",
    multiple=True,
    default=["scratch"],
    show_default=True,
    help="First run, all its checkpoints; given again for each further seed.",
)
@click.option(
    "--b", multiple=True, default=["warm"], show_default=True, help="Second run, or ''; the same."
)
@rating_visits_option
@ladder_option
@checkpoints_option
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Take in what runs in training write meanwhile; without a limit, until they end. Not with "
    "--checkpoints.",
)
@click.option(
    "--games",
    type=click.IntRange(min=1),
    help="Stop at so many games between these players, earlier starts included.",
)
@minutes_option
@click.option(
    "--width",
    type=Number(min=0, min_open=True),
    help="Stop at a mean interval of so many Elo, or once that is out of reach.",
)
@click.option(
    "--player",
    "players",
    multiple=True,
    callback=pairs,
    metavar="NAME=SPEC",
    help="One more player: RUN@STEP (:400, :2e9flops or :0.05s behind it: its own budget a move; "
    "then ,symmetries=8 or ,score_weight=0.1), mcts:1000, openspiel:mcts:1000, or gtp: and an engine's "
    "command line.",
)
@click.option("--anchor", default="random", show_default=True, help="The player whose rating is 0.")
@click.option(
    "--level",
    "levels",
    type=float,
    multiple=True,
    help="Elo at which what a and b spent is compared; may be given several times.",
)
@game_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the openings."
)
@click.option(
    "--parallel",
    type=click.IntRange(min=1),
    help="Games in flight: many fill the networks' batches, few let results choose the next ones "
    "sooner.  [default: as many as end within two minutes, 256 at most]",
)
@rules_option
@gtp_timeout_option
@out_option("ledger, table and plots", "arena")
@root_option
@click.pass_context
def arena(context: click.Context, /, **options: Any) -> None:
    """Rate two runs' checkpoints, by games, against fixed anchors.

    Or one of the commands below, each with options of its own.
    """
    if is_for_another(context):
        return
    from ghostgo.arena.arena import run_arena

    run_arena(**options)


@arena.command()
@click.argument("a")
@click.argument("b")
@click.option("--elo0", type=float, default=0.0, show_default=True, help="H0: A leads by so much.")
@click.option("--elo1", type=float, default=35.0, show_default=True, help="H1: A leads by so much.")
@click.option(
    "--alpha",
    type=Number(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Chance of accepting H1 where H0 is true.",
)
@click.option(
    "--beta",
    type=Number(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Chance of accepting H0 where H1 is true.",
)
@rating_visits_option
@click.option(
    "--games", type=click.IntRange(min=2), help="Stop at so many games without a verdict."
)
@game_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the openings."
)
@rules_option
@gtp_timeout_option
@out_option("the game ledger", "sprt")
@root_option
def sprt(**options: Any) -> None:
    """Test whether A is stronger than B, with as few games as that takes.

    A and B are players: RUN, RUN@STEP (:400, :2e9flops or :0.05s behind it: its own budget a move;
    then ,symmetries=8 or ,score_weight=0.1), mcts:1000, openspiel:mcts:1000, or gtp: and an engine's
    command line. The sequential test on pairs of games that fishtest uses. Read no rating off it: it stops when
    luck and strength together have gone far enough.
    """
    from ghostgo.arena.sprt import run_sprt

    run_sprt(**options)


@arena.command()
@click.argument("game_id", metavar="[ID]", required=False)
@click.option("--move", type=click.IntRange(min=0), help="Show the board after so many moves.")
@click.option("--every", is_flag=True, help="Show the board after every move.")
@click.option(
    "--sgf", type=click.Path(dir_okay=False, path_type=Path), help="Write the game there (Go)."
)
@out_option("the game ledger", "arena")
@root_option
def replay(**options: Any) -> None:
    """Show a rated game again.

    ID is a pair's id or its beginning, with /2 behind it for the second of its two games; without
    it, the newest pairs are listed.
    """
    from ghostgo.replay import replay

    replay(**options)
