"""Whether a 5x5 Go network has found the solved result: Black wins the whole board from the centre.

    python benchmarks/five.py NAME [--root runs] [--visits 400] [--komi 24.5] [--json FILE]

Van der Werf, van den Herik and Uiterwijk (2003) solved 5x5: the first move in the centre takes all
25 points. The network plays both sides from the empty board, and from the centre against each of
White's replies, those alike up to symmetry once and passing among them. With komi 24.5 Black wins
by 25 points or not at all. A table gives each game's score and moves.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ghostgo.arena.effort import parse_effort
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import Player
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.data.shards import replace_file
from ghostgo.engine.games.game import play_one, score_of
from ghostgo.engine.games.registry import get_game

GAME = get_game("go5")
CENTRE = GAME.points // 2


def replies(rules: dict[str, Any]) -> list[int]:
    """White's answers to the centre, one of each set alike up to symmetry; the last is a pass."""
    openings = Openings(GAME, 0, rules)
    kinds = {openings.canonical((CENTRE, i)): i for i in range(GAME.actions) if i != CENTRE}
    return sorted(kinds.values())


def play_out(player: Player, opening: tuple[int, ...], rules: dict[str, Any]) -> dict[str, Any]:
    """The game of `player` against itself after `opening`: its moves and Black's score on the board."""
    states = GAME.new_states(1, rules)
    moves: list[int] = []
    while not states[0].done:
        forced = len(moves) < len(opening)
        moves.append(opening[len(moves)] if forced else int(player.choose(states, [0])[0]))
        play_one(states[0], moves[-1])
    return {
        "opening": [GAME.action_name(move) for move in opening],
        "score": round(score_of(states[0]) + rules["komi"], 1),
        "moves": [GAME.action_name(move) for move in moves],
    }


def main() -> None:
    """Play the games and print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--visits", default="400")
    parser.add_argument("--komi", type=float, default=24.5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    options = PlayerOptions(root=given.root, effort=parse_effort(given.visits))
    player = make_entry(given.name, given.name, GAME, options).player
    rules = {**GAME.rules, "komi": given.komi}
    games = []
    print("| opening | Black's points above White's | moves |\n|---|---|---|")
    for opening in [(), *((CENTRE, reply) for reply in replies(rules))]:
        games.append(play_out(player, opening, rules))
        shown = " ".join(games[-1]["opening"]) or "none"
        print(f"| {shown} | {games[-1]['score']:+g} | {' '.join(games[-1]['moves'])} |", flush=True)
    player.close()
    if given.json:
        replace_file(given.json, json.dumps(games, indent=1).encode())


if __name__ == "__main__":
    main()
