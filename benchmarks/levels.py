"""Rate the players behind `--level` and write arena/levels.json.

    python benchmarks/levels.py [--out runs/levels] [--minutes 600] [--games N] [--seed 1]
        [--most-visits 64]

One tournament on 9x9 Go: random, the capture bot, plain search of 10 to 3,000 rollouts, the networks
in the box at 1 to 1,600 visits and, where GNU Go is installed, its levels 1 and 10, the latter the
reference of the ranks (elsewhere the reference stays what the present table says). A call goes on
where the one before stopped; each ends by writing the table from all games in the folder, once
everybody has played. With `--most-visits` no network plays at more: 1,600 visits take most of the
time. Such a call needs a folder of its own.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ghostgo.arena.arena import run_arena
from ghostgo.arena.gtp_client import find_program
from ghostgo.arena.levels import ENGINE, TABLE, Levels, Rated, read_levels, to_json
from ghostgo.arena.report import Row
from ghostgo.data.run import BOTS, list_bots
from ghostgo.data.shards import replace_file
from ghostgo.engine.games.registry import get_game

GAME = "go9"
ANCHORS = ("random", "capture")
PLAYERS = (
    *(f"mcts:{rollouts}" for rollouts in (10, 30, 100, 300, 1000, 3000)),
    *(f"human9:{visits}" for visits in (1, 16)),
    *(f"go9:{visits}" for visits in (1, 4, 16, 64, 400, 1600)),
)
GNU_GO = ENGINE + "gnugo --level {} --mode gtp --chinese-rules --positional-superko"
GNU_GO_LEVELS = (1, 10)
REFERENCE = GNU_GO.format(10)


def players(most_visits: int | None = None) -> dict[str, str]:
    """Specs by name, anchors left out, networks up to so many visits; with GNU Go if it is installed."""
    chosen = [
        spec
        for spec in PLAYERS
        if spec.startswith("mcts:") or most_visits is None or int(spec.split(":")[1]) <= most_visits
    ]
    found = {spec.replace(":", "-"): spec for spec in chosen}
    if find_program("gnugo"):
        found |= {f"gnugo-{level}": GNU_GO.format(level) for level in GNU_GO_LEVELS}
    return found


def make_table(rows: Sequence[Row], specs: Mapping[str, str], command: str, date: str) -> Levels:
    """The table of `rows` whose names are in `specs`, and who have played."""
    shipped = {bot.path.name: str(bot.meta["sha256"]) for bot in list_bots()}
    rated = [
        Rated(
            spec, round(row.elo, 1), round(row.low, 1), round(row.high, 1), row.games,
            shipped.get(spec.partition(":")[0]),
        )
        for row in rows
        if (spec := specs.get(row.name)) and row.games
    ]  # fmt: skip
    reference = next((each for each in rated if each.spec == REFERENCE), None)
    ours = sorted((r for r in rated if not r.spec.startswith(ENGINE)), key=lambda r: r.elo)
    rules = dict(get_game(GAME).rules)
    return Levels(date, command, GAME, rules, reference or read_levels().reference, tuple(ours))


def unplayed(rows: Sequence[Row], specs: Mapping[str, str]) -> list[str]:
    """Names in `specs` that have no game yet: their ratings would mean nothing."""
    return [row.name for row in rows if row.name in specs and not row.games]


def main() -> None:
    """Play, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/levels"))
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--games", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-visits", type=int)
    given = parser.parse_args()
    specs = players(given.most_visits)
    report = run_arena(
        a=(), b=(), root=BOTS, out=given.out, game=GAME, players=specs, anchors=ANCHORS,
        seed=given.seed, minutes=given.minutes, games=given.games,
    )  # fmt: skip
    specs |= {name: name for name in ANCHORS}
    if idle := unplayed(report.rows, specs):
        raise SystemExit(f"no game yet: {', '.join(idle)}; the table stays as it is, go on")
    command = "python " + shlex.join(sys.argv)
    table = make_table(report.rows, specs, command, time.strftime("%Y-%m-%d"))
    replace_file(given.table, to_json(table))
    if REFERENCE not in specs.values():
        print("GNU Go is not installed: the reference is that of the table before")
    print(f"{given.table}: {len(table.players)} players")


if __name__ == "__main__":
    main()
