"""`ghostgo bots`: the networks that come with the program."""

from __future__ import annotations

import click

from ghostgo.data.run import CheckpointInfo, list_bots
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import NetworkConfig
from ghostgo.selfplay.monitor import si


def _describe(bot: CheckpointInfo) -> str:
    """Name, game, network, how it was trained and what that cost; in a line below it, whose games
    it learnt from, if its meta data tells, and on which board, if it fits others."""
    spent = bot.totals
    ways = []
    if spent.imitation_flops:
        ways.append(f"human games ({si(spent.imitation_flops)}FLOP)")
    if spent.games:
        ways.append(
            f"{spent.games} games with itself ({si(spent.flops - spent.imitation_flops)}FLOP)"
        )
    network = NetworkConfig(**bot.meta["network"]).name
    trained = ", then ".join(ways) or "nothing"
    below = [bot.meta["source"]] if "source" in bot.meta else []
    game = get_game(bot.meta["game"])
    if is_go(game):
        below.append(
            f"on {game.rows}x{game.cols} alone, and untested on the other boards that it fits"
        )
    line = f"{bot.path.name:14} {bot.meta['game']:14} {network:8} learnt from {trained}"
    return f"{line}\n  {'; '.join(below)}" if below else line


def bots() -> None:
    """Print a line or two a bot; each name stands wherever one network is asked for.

    Raises UserError if one of them is damaged.
    """
    for bot in list_bots():
        click.echo(_describe(bot))
