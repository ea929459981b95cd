"""Options that several verbs share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Number(click.FloatRange):
    """A number within a range; neither nan, which every range takes, nor infinity."""

    name = "number"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """The number; click's BadParameter, naming the option, for any other text."""
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", parameter, context)
        return number


def check_game(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Refuse an unknown game before anything slow is imported."""
    if value is not None:
        from ghostgo.engine.games.registry import get_game

        get_game(value)
    return value


def level(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Refuse what is no level of play."""
    if value is not None:
        from ghostgo.arena.levels import level

        level(value)
    return value


def level_alone() -> None:
    """Refuse, beside --level, whatever else says who plays and how hard: it would not be the rated one."""
    context = click.get_current_context()
    if context.params["level"] is None:
        return
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in SAID_BY_LEVEL and source is click.core.ParameterSource.COMMANDLINE:
            shown = "RUN" if name == "opponent" else parameter.opts[0]
            raise click.UsageError(f"--level says who plays and how; leave {shown} out")


SAID_BY_LEVEL = (
    "opponent", "named", "visits", "seconds", "symmetries", "score_weight", "human", "human_prior", "rank",
    "learn", "reuse", "variety",
)  # fmt: skip
GNU_GO = "NAME=SPEC, such as 'gnugo=gtp:gnugo --mode gtp --level 1 --chinese-rules'"


def pairs(
    context: click.Context,
    parameter: click.Parameter,
    values: tuple[str, ...],
    form: str = GNU_GO,
    twice: str = "give one another name",
) -> dict[str, str]:
    """NAME=SPEC options as a dict; `form` and `twice` are for whoever writes them wrongly."""
    pairs = {}
    for value in values:
        name, sign, spec = value.partition("=")
        if not (name and sign and spec):
            raise click.BadParameter(f"{value!r} is not {form}")
        if name in pairs:
            raise click.BadParameter(f"{name!r} is given twice; {twice}")
        pairs[name] = spec
    return pairs


def is_for_another(context: click.Context) -> bool:
    """Whether a verb was called for one of its own commands; its options are refused then."""
    if context.invoked_subcommand is None:
        return False
    for name in context.params:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"options of `{context.info_name} {context.invoked_subcommand}` stand behind it, "
                "not before"
            )
    return True


def effort(context: click.Context, parameter: click.Parameter, value: str) -> Any:
    """Visits, FLOPs or seconds a move."""
    from ghostgo.arena.effort import parse_effort

    return parse_effort(value)


def rules(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Any:
    """Rules from repeated NAME=VALUE: numbers, true, false, or words."""
    words, form = {"true": True, "false": False}, "NAME=VALUE, such as komi=5.5 or ko=simple"
    found: dict[str, Any] = {}
    for name, text in pairs(context, parameter, values, form, "once is enough").items():
        try:
            found[name] = words[text] if text in words else float(text)
        except ValueError:
            found[name] = text
    return found


def ladder(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Budgets a move, with commas between."""
    from ghostgo.arena.effort import parse_ladder

    return parse_ladder(value) if value is not None else ()


game_option = click.option(
    "--game", callback=check_game, help="go9, go7, go5, goN, goRxC, connect_four, tic_tac_toe, ..."
)
preset_option = click.option(
    "--preset",
    type=click.Choice(["tiny", "cpu", "gpu"]),
    help="Size of network and batch in one word. Connect Four has two settings of its own besides; "
    "what a run uses is in its config.toml.",
)
root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of the runs.",
)
minutes_option = click.option(
    "--minutes", type=Number(min=0, min_open=True), help="Stop after so many minutes."
)
flops_option = click.option(
    "--flops",
    type=Number(min=0, min_open=True),
    help="Stop when the run has cost so many FLOPs in all, such as 1e15.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of a new run.  [default: 0]"
)
anchor_option = click.option(
    "--anchor",
    type=click.Choice(["init", "kl", "fade", "mix", "root"]),
    help="How self-play holds on to its prior: its weights alone (init), a constant or fading pull "
    "towards its policy (kl, fade), its records in each batch, fading (mix), or random weights and "
    "the prior at the search's root (root). Default: init.",
)
config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of settings; options given here win.",
)
visits_option = click.option(
    "--visits",
    type=click.IntRange(1, 1 << 22),
    help="Search visits a move.  [default: 400, with --seconds up to 16,384]  mcts:N has its own.",
)
seconds_option = click.option(
    "--seconds",
    type=Number(min=0, min_open=True),
    help="Most seconds of search a move, for networks and plain search.",
)
score_weight_option = click.option(
    "--score-weight",
    type=Number(0, 0.5),
    show_default="0",
    help="Weight of points beside winning, such as 0.1: a bot that wins or loses anyway plays for "
    "points.",
)
symmetries_option = click.option(
    "--symmetries",
    type=click.IntRange(min=1),
    show_default="1",
    help="The network's opinion of the position to move in is the mean over so many of its images.",
)
run_option = click.option("--run", "named", metavar="RUN", help="Who plays, as RUN does.")


def take_opponent(options: dict[str, Any]) -> None:
    """Put what --run says in the place of RUN. Raises click's UsageError if both are given."""
    named = options.pop("named")
    if named is None:
        return
    if options["opponent"] is not None:
        raise click.UsageError("RUN and --run both say who plays; give one of them")
    options["opponent"] = named


human_option = click.option(
    "--human",
    type=Number(0, 1),
    show_default="0",
    help="How far to play as people do: from 0, the bot's best move, to 1, a person's.",
)
human_prior_option = click.option(
    "--human-prior",
    metavar="RUN",
    help="The network that imitated people, for --human. Default in Go: human9, in the box.",
)
rank_option = click.option(
    "--rank",
    help="How strong the people are, 30k to 9d, for --human with a --human-prior that is told ranks: "
    "human9 is not.",
)
learn_option = click.option(
    "--learn",
    type=click.Choice(["on", "off"]),
    show_default="off",
    callback=lambda context, parameter, value: None if value is None else value == "on",
    help="Whether the bot takes a lesson from each finished game; `ghostgo learn` lists and undoes.",
)
reuse_option = click.option(
    "--reuse/--no-reuse",
    default=None,
    show_default="reuse",
    help="Whether a network's search goes on from what the last one found below the position.",
)
variety_option = click.option(
    "--variety/--no-variety",
    default=None,
    show_default="variety",
    help="Whether a network draws its first moves among those that its search likes about as well, "
    "anew in each game; not with --level.",
)
level_option = click.option(
    "--level",
    metavar="RANK",
    callback=level,
    help="Go: play at about this level, 20k to 1k or 1d to 9d; `ghostgo bots --levels` lists who does.",
)
color_option = click.option(
    "--color",
    type=click.Choice(["black", "white"]),
    help="Your side: black moves first, in every game.  [default: black, or yours in a saved game]",
)
load_option = click.option(
    "--load",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Begin where this game stands: an SGF file, or one that was saved here.",
)
resume_option = click.option(
    "--resume",
    is_flag=True,
    help="Go on with your newest unfinished game, of --game if given, against the same bot as far as "
    "nothing else is said.",
)
rules_option = click.option(
    "--rule",
    "rules",
    multiple=True,
    callback=rules,
    metavar="NAME=VALUE",
    help="A rule that is not the game's usual one: komi=5.5, ko=simple, suicide=true; several times.",
)
gtp_timeout_option = click.option(
    "--gtp-timeout",
    type=Number(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds in which a GTP engine must answer, or it forfeits the game.",
)
rating_visits_option = click.option(
    "--visits",
    callback=effort,
    metavar="N|NUMBERflops|NUMBERs",
    default="64",
    show_default=True,
    help="Search visits a move, for every network; 2e9flops, 0.05s: as many as so many FLOPs, or "
    "seconds of one core, pay for.",
)


ladder_option = click.option(
    "--visits-ladder",
    callback=ladder,
    metavar="N,N,...",
    help="Rate the checkpoints at each of these visits (or FLOPs, or seconds) a move: training against search.",
)
checkpoints_option = click.option(
    "--checkpoints",
    type=click.IntRange(min=1),
    help="Rate at most so many checkpoints of a run, spread over what they cost.  [default: all]",
)


def out_option(what: str, name: str) -> Callable[[Any], Any]:
    """`--out`: the folder of `what`, called `name` below --root if not given."""
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Folder of {what}.  [default: {name}, below --root]",
    )
