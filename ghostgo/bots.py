"""`ghostgo bots`: the networks that come with the program."""

from __future__ import annotations

import click

from ghostgo.data.run import CheckpointInfo, list_bots
from ghostgo.engine.network import NetworkConfig
from ghostgo.selfplay.monitor import si


def _describe(bot: CheckpointInfo) -> str:
    """Name, game, network, how it was trained and what that cost, in one line."""
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
    return f"{bot.path.name:14} {bot.meta['game']:14} {network:8} learnt from {trained}"


def bots() -> None:
    """Print one line a bot; each name stands wherever one network is asked for.

    Raises UserError if one of them is damaged.
    """
    for bot in list_bots():
        click.echo(_describe(bot))
