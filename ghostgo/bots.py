"""`ghostgo bots`: the networks that come with the program."""

from __future__ import annotations

import click

from ghostgo.data.run import CheckpointInfo, list_bots
from ghostgo.engine.network import NetworkConfig
from ghostgo.selfplay.monitor import si


def _describe(bot: CheckpointInfo) -> str:
    """Name, game, network, how it was trained and what that cost; in a line below it, whose games
    it learnt from, if its meta data tells."""
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
    source = bot.meta.get("source")
    line = f"{bot.path.name:14} {bot.meta['game']:14} {network:8} learnt from {trained}"
    return f"{line}\n  {source}" if source else line


def bots() -> None:
    """Print a line or two a bot; each name stands wherever one network is asked for.

    Raises UserError if one of them is damaged.
    """
    for bot in list_bots():
        click.echo(_describe(bot))
