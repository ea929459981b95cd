"""Games between two GTP engines under an independent referee (tests/referee.py).

    python benchmarks/refereed.py --games 100 --openings 4 --out FILE.jsonl \
        'ghostgo gtp go9 --no-variety' 'gnugo --mode gtp --level 10 --chinese-rules --positional-superko'

Each pair of games begins with the same `--openings` random legal plies and has its colours swapped;
with 0 all begin from the empty board, where engines that play by no dice play one game over and
over. Every game is a line of FILE, so that the same call goes on. A foul ends a game, counts against
who made it and stands apart from the score; both engines are started anew. At the end of a game by
two passes both are asked for `final_score`, which is held against the referee's count (all that
stands is alive: an engine that takes dead stones off may differ by right).
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kept import Kept, wilson

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from referee import BLACK, Foul, GtpProcess, Verdict, play_game, random_opening

FIRST, SECOND = 0, 1


class Table:
    """Two engines, started when they are needed and again after a foul."""

    def __init__(self, commands: Sequence[str], size: int, komi: float, timeout: float) -> None:
        self._commands = [shlex.split(text) for text in commands]
        self._size, self._komi, self._timeout = size, komi, timeout
        self._engines: list[GtpProcess] = []

    def play(self, black: int, opening: Sequence[str]) -> dict[str, Any]:
        """A game with engine number `black` as Black: what is kept of it."""
        start = time.monotonic()
        if not self._engines:
            self._engines = [GtpProcess(words, self._timeout) for words in self._commands]
        sides = self._engines[black], self._engines[1 - black]
        row: dict[str, Any] = {"black": black, "opening": list(opening)}
        try:
            verdict = play_game(*sides, self._size, self._komi, opening=opening)
            row |= _told(verdict, black)
            if verdict.finished and not verdict.resigned:
                said = [engine.ask("final_score") for engine in self._engines]
                row["final_scores"] = said
        except Foul as foul:
            row |= {"foul": str(foul), "by": self._engines.index(foul.engine)}
            self.stop()
        return {**row, "seconds": round(time.monotonic() - start, 2)}

    def stop(self) -> None:
        """End both engines, whatever they are at."""
        for engine in self._engines:
            engine.kill()
        self._engines = []


def _told(verdict: Verdict, black: int) -> dict[str, Any]:
    first = 0.5 if verdict.winner is None else float((verdict.winner == BLACK) == (black == FIRST))
    return {
        "moves": [vertex for _, vertex in verdict.moves],
        "points": first,
        "margin": verdict.margin,
        "resigned": verdict.resigned,
        "finished": verdict.finished,
    }


def written(margin: float) -> str:
    """Black's margin as GTP's `final_score` writes it."""
    return "0" if margin == 0 else f"{'B' if margin > 0 else 'W'}+{abs(margin):g}"


def same_score(said: str, margin: float) -> bool:
    """Whether an answer to `final_score` is Black's `margin`; `B+3.0` and `B+3` are alike."""
    side, sign, number = said.strip().partition("+")
    try:
        return written(float(number) * (1 if side == "B" else -1) if sign else 0.0) == written(
            margin
        )
    except ValueError:
        return False


def summary(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """What the games so far say, a line each."""
    fouls = Counter(row["by"] for row in rows if "foul" in row)
    played = [row for row in rows if "foul" not in row]
    # An engine without dice that plays a game again has told nothing new.
    distinct = list({(row["black"], *row["moves"]): row for row in played}.values())
    points = sum(row["points"] for row in distinct)
    low, high = wilson(points, len(distinct))
    cut_off = sum(not row["finished"] for row in played)
    lines = [
        f"{len(rows)} games: {len(played)} without a foul, {len(distinct)} of them distinct, {cut_off} cut off",
        *(f"fouls of {names[i]}: {fouls[i]}" for i in (FIRST, SECOND)),
    ]
    lines.append(
        f"{names[FIRST]}: {points:g} points of {len(distinct)} distinct games, "
        f"95 % interval {low:.1%} to {high:.1%}"
    )
    counted = [row for row in played if "final_scores" in row]
    for i in (FIRST, SECOND):
        agree = sum(same_score(row["final_scores"][i], row["margin"]) for row in counted)
        lines.append(f"final_score of {names[i]}: the referee's count in {agree} of {len(counted)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what is left, a line a game, and print the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--games", type=int, default=100)
    parser.add_argument("--openings", type=int, default=4, metavar="PLIES")
    parser.add_argument("--size", type=int, default=9)
    parser.add_argument("--komi", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    if not 0 <= given.openings <= given.size**2 // 2:
        parser.error(f"--openings {given.openings}: 0 to {given.size**2 // 2} plies")
    commands = [given.first, given.second]
    of = {"refereed": commands}
    of |= {name: getattr(given, name) for name in ("openings", "size", "komi", "seed")}
    kept = Kept(given.out, of)
    table = Table(commands, given.size, given.komi, given.timeout)
    try:
        for number in range(len(kept.rows), given.games):
            rng = random.Random(f"{given.seed}/{number // 2}")
            opening = random_opening(given.openings, rng, given.size)
            row = {"game": number, **table.play(number % 2, opening)}
            kept.add(row)
            how = row.get("foul") or row["resigned"] and "resignation" or written(row["margin"])
            print(
                f"game {number + 1}, black {commands[row['black']].split()[0]}: {how}", flush=True
            )
    finally:
        table.stop()
    print("\n".join(summary(kept.rows, [f"{['first', 'second'][i]}" for i in (FIRST, SECOND)])))


if __name__ == "__main__":
    main()
