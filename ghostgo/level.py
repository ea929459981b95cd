"""The bot of a level, in `ghostgo play` and `ghostgo gtp`: the player that the arena rated."""

from __future__ import annotations

import sys

import click

from ghostgo.arena.effort import split_effort
from ghostgo.arena.levels import ELO_A_RANK, REFERENCE_RANK, level, read_levels
from ghostgo.arena.players import RATING
from ghostgo.bot import Bot, SearchBot, refit
from ghostgo.data.choice import chosen_backend
from ghostgo.data.run import BOTS, find_checkpoint, load_network
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.opponents import DEFAULT_GAME, make_bot


def level_bot(rank: str, game: str | None, seed: int | None) -> Bot:
    """The player of level `rank` (see `ghostgo.arena.levels`) on the board of `game`.

    It searches as the rated player does: a leaf a step, each move from an empty tree, nothing
    remembered. A clock can still cut it short. Standard error is told who it is.
    Raises UserError for what is no level, and for other games than Go.
    """
    found, wanted = level(rank), get_game(game or DEFAULT_GAME)
    rated = get_game(read_levels().game)
    if not is_go(wanted):
        raise UserError(f"--level is for Go, not for {wanted.name}")
    # Always, since a GTP controller may choose another board later.
    board = f"calibrated on {rated.rows}x{rated.cols}"
    print(f"{found.words}; {board}", file=sys.stderr, flush=True)
    name, effort = split_effort(found.spec)
    if effort is None or effort.visits is None or name == "mcts":
        return make_bot(found.spec, wanted.name, None, seed, BOTS)
    info = find_checkpoint(name, BOTS)  # a run of the same name is another network
    network = load_network(info.path)
    shown = f"{name}, {effort.words} (level {rank})"
    if wanted is network.game:
        backend = chosen_backend(info)
        return SearchBot(
            shown, network, effort.visits, seed, None, RATING, backend, reuse=False, leaves=1
        )
    network = refit(network, wanted)
    return SearchBot(shown, network, effort.visits, seed, None, RATING, reuse=False, leaves=1)


def list_levels() -> None:
    """Print the rated players, strongest first, and what plays each level."""
    levels = read_levels()
    anchor = levels.reference
    off = max(anchor.high - anchor.elo, anchor.elo - anchor.low)
    click.echo(f"{levels.game}, {levels.date}, Elo above random; ranks are nominal:")
    click.echo(
        f"{REFERENCE_RANK} is {anchor.elo:.0f}, the rating of {anchor.spec.removeprefix('gtp:')}, "
        f"95 % {anchor.low:.0f} to {anchor.high:.0f}, {anchor.games} games; "
        f"all ranks may be off together by up to {off / ELO_A_RANK:.0f}"
    )
    for player in reversed(levels.players):
        low, own, high = (levels.rank_of(x) for x in (player.low, player.elo, player.high))
        interval = f"{player.low:.0f} to {player.high:.0f}"
        click.echo(
            f"{player.spec:14} {player.elo:5.0f}  95 % {interval:14} {player.games:4} games  "
            f"about {own}, {low} to {high}"
        )
