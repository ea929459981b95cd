"""Boards of several sizes in one run: what `[selfplay] sizes` may say, and each board's share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import misfit


def check_sizes(sizes: Mapping[str, Any], own: str, games: int) -> None:
    """Raises UserError unless `sizes` is empty, or shares of games that the weights for `own` fit.

    Of `games` in play each board must come to one at least.
    """
    if not sizes:
        return
    where = "config: selfplay: sizes"
    if own not in sizes:
        raise UserError(f"{where}: the run's own game, {own}, has no share")
    for name, share in sizes.items():
        if not isinstance(share, int | float) or isinstance(share, bool):
            raise UserError(f"{where}: {name} = {share!r} is not a number")
        if not 0 < share < math.inf:
            raise UserError(f"{where}: {name} = {share:g} is not a number above 0")
        try:
            game = get_game(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if name != game.name:  # go9x9 would be go9 twice
            raise UserError(f"{where}: {name} is called {game.name}")
        if why := misfit(get_game(own), game):
            raise UserError(f"{where}: {name}: {why}")
    shares = shares_of(sizes, own)
    for name, dealt in zip(shares, deal(games, list(shares.values())), strict=True):
        if not dealt:
            raise UserError(
                f"{where}: {name} = {sizes[name]:g} comes to none of the games = {games} in play"
            )


def shares_of(sizes: Mapping[str, float], own: str) -> dict[str, float]:
    """Each game's share, the game `own` first; they add up to 1. Of no `sizes` all is its."""
    given = {own: 1.0, **sizes}
    total = sum(given.values()) if sizes else 1.0
    return {name: share / total for name, share in given.items()}


def deal(count: int, shares: Sequence[float]) -> list[int]:
    """`count` in whole parts by `shares`, which add up to 1; the largest remainders are rounded up."""
    exact = [count * share for share in shares]
    parts = [math.floor(each) for each in exact]
    order = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in order[: count - sum(parts)]:
        parts[i] += 1
    return parts
