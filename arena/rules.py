"""The rules of an arena: the game's usual ones, with those that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ghostgo.arena.players import Player
from ghostgo.data.config import read_toml
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game


def settle_rules(
    game: Game, given: Mapping[str, Any] | None, players: Iterable[Player]
) -> dict[str, Any]:
    """All rules of `game`, those `given` in the place of the usual ones.

    A number is of the usual one's type, since games are known by digests of their rules. Raises
    UserError for an unknown rule or value, and for rules that one of `players` does not play by.
    """
    rules = dict(game.rules)
    for name, value in (given or {}).items():
        usual = rules.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(usual, bool) != isinstance(value, bool) and name in rules:
            raise UserError(f"rule {name}: {value!r} will not do; {usual!r} is usual")
        if number and isinstance(usual, int) and float(value).is_integer():
            value = int(value)
        elif number and isinstance(usual, float):
            value = float(value)
        rules[name] = value
    game.new_states(1, rules)  # raises UserError for an unknown rule
    for player in players:
        player.check_rules(rules)
    return rules


def rules_not_learnt(run: Run, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `rules` by which `run` has not played, and the values that it has learnt instead."""
    learnt = run.latest().meta.get("rules") or {}
    config = run.folder / "config.toml"
    play = read_toml(config).get("selfplay", {}) if config.is_file() else {}
    varied = play.get("vary", {})
    return {
        name: learnt[name]
        for name in rules
        if name in learnt and rules[name] not in (learnt[name], *varied.get(name, ()))
    }
