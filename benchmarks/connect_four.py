"""How often a network plays a value-optimal move in Connect Four, by an exact solver.

    python benchmarks/connect_four.py [NAME ...] [--root runs] [--visits 200] [--positions 500]
                                      [--checkpoints 10] [--solved FILE] [--json FILE]

Positions are drawn from games of random moves: a ply from 0 to 34 by lot, both drawn again if the
game ends before it or the position was there already. A move is value-optimal if the result with perfect play after it,
won, drawn or lost, is the best there is. Many positions forgive every move, so the share is also given
for those in which some move is wrong, and by the ply. NAME is a player as in
`benchmarks/duel.py`; of a run as many checkpoints are judged as asked, spread over what they cost.
Solving takes a quarter of an hour once: what was solved stays in FILE, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.effort import parse_effort
from ghostgo.arena.pool import PlayerOptions, make_entry, open_run, spread_out
from ghostgo.arena.results import LineFile
from ghostgo.data.shards import replace_file
from ghostgo.engine.games.game import States, play_one
from ghostgo.engine.games.registry import get_game

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from connect_four_solver import make_table, move_values

GAME = get_game("connect_four")
LATEST = 34
BANDS = (0, 6, 12, 18, 24, LATEST + 1)


def draw(count: int, seed: int) -> list[tuple[int, ...]]:
    """`count` move lists that lead to different unfinished positions; the same for the same seed."""
    random, found = np.random.default_rng(seed), {}
    while len(found) < count:
        state, moves = GAME.new_states(1)[0], []
        for _ in range(int(random.integers(LATEST + 1))):
            moves.append(int(random.choice(GAME.legal_actions(state))))
            play_one(state, moves[-1])
            if state.done:
                break
        if not state.done:
            found.setdefault(int(state.hash), tuple(moves))
    return list(found.values())


def positions(games: Sequence[Sequence[int]]) -> States:
    """The positions (n,) after the moves of each game."""
    states = GAME.new_states(len(games))
    for state, moves in zip(states, games, strict=True):
        for move in moves:
            play_one(state, move)
    return states


def solved(games: list[tuple[int, ...]], path: Path) -> NDArray[np.int8]:
    """What every move is worth in every position, (n, 7) int8; found once and kept in `path`."""
    known = {}
    if path.exists():
        rows = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        known = {tuple(row["moves"]): row["values"] for row in rows}
    table = make_table(bits=26)
    left, told = [moves for moves in games if moves not in known], time.monotonic()
    with LineFile(path) as file:
        for i, moves in enumerate(sorted(left, key=len, reverse=True)):  # the long ones help
            known[moves] = move_values(positions([moves]), table).tolist()
            file.append({"moves": moves, "values": known[moves]})
            if time.monotonic() > told + 10:
                told = time.monotonic()
                print(f"solved {i + 1} of {len(left)}, at ply {len(moves)}", file=sys.stderr)
    return np.array([known[moves] for moves in games], np.int8)


def share(good: NDArray[np.bool_]) -> dict[str, float]:
    """A share with Wilson's 95 % interval."""
    n, p, z = len(good), float(good.mean()) if len(good) else float("nan"), 1.96
    if not n:
        return {"share": p, "low": p, "high": p, "of": 0}
    middle, wide = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return {"share": p, "low": (middle - wide) / scale, "high": (middle + wide) / scale, "of": n}


def judge(spec: str, games: list[tuple[int, ...]], values: NDArray[np.int8], given: Any) -> Any:
    """What a player's moves are worth, as a row of the table."""
    options = PlayerOptions(root=given.root, effort=parse_effort(given.visits))
    player = make_entry(spec, spec, GAME, options).player
    chosen = player.choose(positions(games), range(len(games)))
    player.close()
    good = values[np.arange(len(values)), chosen] == values.max(1)
    legal = np.ma.masked_less(values, -1)
    matters = np.asarray(legal.min(1) < values.max(1))
    plies = np.array([len(moves) for moves in games])
    bands = {
        f"{low}-{high - 1}": share(good[(plies >= low) & (plies < high)])
        for low, high in pairwise(BANDS)
    }
    return {"all": share(good), "matters": share(good[matters]), "by_ply": bands}


def points(name: str, given: Any) -> list[tuple[str, float]]:
    """Players that stand for `name`, with what they cost: checkpoints of a run, else itself."""
    if not (given.root / name / "run.json").is_file():
        return [(name, float("nan"))]
    infos = spread_out(open_run(name, given.root).checkpoints(), given.checkpoints)
    return [(f"{name}@{info.step}", info.totals.flops) for info in infos]


def shown(found: dict[str, float]) -> str:
    """A share in words."""
    return f"{found['share']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def main() -> None:
    """Solve, judge, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=["scratch"])
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--visits", default="200")
    parser.add_argument("--positions", type=int, default=500)
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--solved", type=Path, default=Path("runs/connect_four_solved.jsonl"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    games = draw(given.positions, given.seed)
    values = solved(games, given.solved)
    found, bands = {}, [f"{a}-{b - 1}" for a, b in pairwise(BANDS)]
    print("| player | TFLOP | value-optimal | where a move can be wrong |", *bands, "", sep=" | ")
    print("|" + "---|" * (4 + len(bands)))
    for spec, flops in [point for name in given.names for point in points(name, given)]:
        row = found[spec] = judge(spec, games, values, given)
        each = [f"{row['by_ply'][band]['share']:.1%}" for band in bands]
        cells = [spec, f"{flops / 1e12:.1f}", shown(row["all"]), shown(row["matters"]), *each]
        print("| " + " | ".join(cells) + " |", flush=True)
    if given.json:
        replace_file(given.json, json.dumps(found, indent=1).encode())


if __name__ == "__main__":
    main()
