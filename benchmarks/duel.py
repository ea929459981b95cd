"""Paired games between two players: a score with its interval.

    python benchmarks/duel.py scratch mcts:1000 --game connect_four --pairs 50 --visits 100
    python benchmarks/duel.py prior,rank=1d,drawn=1 prior,rank=15k,drawn=1 --game go9 --pairs 400

Players as in the arena: RUN, RUN@STEP, RUN@STEP:VISITS, RUN@STEP:2e9flops, mcts:N,
openspiel:mcts:N, capture, random, 'gtp:COMMAND'. The second line asks whether a prior that is told
ranks plays better when asked as a stronger player, each move drawn as people play. Each pair starts from one of 2 to 6 random plies
and is played twice with colours swapped; where a player is a network, openings that the first such
judges even are taken, as in the arena. Rules that are not the game's usual ones are given as
`--rule komi=24.5`, several times. With `--empty` every game starts from the empty board: for
opponents who play by dice, such as mcts:N. Pairs that repeat another count once. The split of pairs
says how much of a middling score is openings that both players win. With `--out FILE` each finished pair is a line there, and the same call
goes on where it stopped; `--json FILE` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kept import Kept, pair_interval

from ghostgo.arena.effort import parse_effort
from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings, Reference
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.arena.rules import settle_rules
from ghostgo.data.shards import replace_file
from ghostgo.engine.games.registry import get_game


def rule(text: str) -> tuple[str, float | str]:
    """Name and value of `komi=24.5` or `ko=simple`."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def main(arguments: Sequence[str] | None = None) -> None:
    """Play, and print a's points with a 95 % interval by the spread of pairs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--game", required=True)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--visits", default="100", help="visits a move, or FLOPs: 2e9flops")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--rule", type=rule, action="append", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    game = get_game(given.game)
    effort = parse_effort(given.visits)
    options = PlayerOptions(root=given.root, effort=effort)
    entries = [make_entry(spec, spec, game, options) for spec in (given.a, given.b)]
    players = [entry.player for entry in entries]
    rules = settle_rules(game, dict(given.rule), players)
    judges = [player for player in players if isinstance(player, NetPlayer)]
    reference = Reference(judges[0].name, judges[0].judge) if judges else None
    openings = Openings(game, given.seed, rules=rules, reference=reference)
    match = Match(game, players, capacity=2 * given.pairs, rules=rules)
    # The same names may be other weights by now: players are who they are in the arena's ledger.
    of = {"duel": [entry.info.identity for entry in entries], "game": game.name}
    of |= {"rules": dict(rules), "seed": given.seed, "empty": given.empty}
    kept = Kept(given.out, of)
    done = {row["pair"] for row in kept.rows}
    for i in sorted(set(range(given.pairs)) - done):
        match.add(PairTask(f"{given.seed}-{i}", 0, 1, () if given.empty else openings[i]))
    while match.in_flight:
        for task, results in match.sweep():
            number = int(task.pair.rpartition("-")[2])
            games = [{"moves": each.moves, "points": each.points} for each in results]
            kept.add({"pair": number, "opening": task.opening, "games": games})
    played = [row["games"] for row in kept.rows if row["pair"] < given.pairs]
    distinct = {tuple(each["moves"]) for games in played for each in games}
    # Players without dice play an opening as before: that pair has told nothing new.
    pairs = {tuple(tuple(each["moves"]) for each in games): games for games in played}
    points = [sum(each["points"] for each in games) / 2 for games in pairs.values()]
    match.close()
    for player in players:
        player.close()
    said = "".join(f", {name} {value}" for name, value in given.rule)
    split = ", ".join(f"{points.count(share)} of {share:g}" for share in sorted(set(points)))
    mean, (low, high) = float(np.mean(points)), pair_interval(points)
    print(
        f"{given.a} against {given.b}, {game.name}{said}, {effort.words}: {mean:.1%} of the points "
        f"in {2 * given.pairs} games ({len(distinct)} distinct), 95 % interval "
        f"{low:.1%} to {high:.1%}; distinct pairs by a's share: {split}"
    )
    if given.json:
        found = {"a": given.a, "b": given.b, "points": mean, "low": low, "high": high}
        found |= {"games": 2 * given.pairs, "distinct": len(distinct), "pairs": points}
        replace_file(given.json, json.dumps(found, indent=1).encode())


if __name__ == "__main__":
    main()
