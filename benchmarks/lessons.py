"""Whether `--learn` works: a student against a bot with one fixed weakness.

    python benchmarks/lessons.py --student go9 --visits 32 --games 100 --seeds 3 --out runs/lessons \
        [--records PATH --held-out 0.1] [--pairs 50]

The opponent is the same network with the same visits, but never plays in one corner of 3x3 points,
so it neither takes nor defends it. The student meets it from random openings, each played twice with
colours swapped, and after each game takes a lesson from it (`ghostgo.learning.Student.teach`); in the
control arm it takes none. Every game is a line in OUT/games.jsonl, each arm's and seed's lessons are
in a folder of their own, so the same call goes on. Then: points in bins of games with a 95 % interval
over seeds, the lead over the control; with `--pairs` a match of each taught network with the one
before, and with `--records` how often each plays people's move (`ghostgo warmstart evaluate`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from kept import Kept
from numpy.typing import NDArray
from scipy.stats import t as student_t

from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import Actions, NetPlayer, Player
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.engine.games.game import Game, States, legal_mask_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network
from ghostgo.learning import Student
from ghostgo.lesson import LessonConfig
from ghostgo.session import Session
from ghostgo.warmstart.evaluate import run_evaluate

SIDE = 3
"""Of the corner where the opponent never plays."""
BIN = 10
ARMS = ("taught", "control")


def corner(game: Game) -> NDArray[np.int64]:
    """The points of the corner that the opponent leaves alone: the first rows and columns."""
    rows, cols = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    return (rows * game.cols + cols).ravel()


class Cornered(NetPlayer):
    """A network's player, but for the `corner`: what it would play there, it plays elsewhere."""

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """Its own action a row; for one in the corner the most visited outside, or by the prior."""
        game = self._ready().game
        mask = np.zeros(game.actions, np.uint8)
        chosen = []
        row = 0
        for result, _ in self._search(states, self._visits):
            found = zip(result.action, result.visits, result.prior, strict=True)
            for action, visits, prior in found:
                legal_mask_of(states[row], mask)
                mask[corner(game)] = 0
                worth = visits + np.nan_to_num(prior)  # a prior is below one visit
                elsewhere = int(np.where(mask == 1, worth, -np.inf).argmax())
                chosen.append(int(action) if mask[action] else elsewhere)
                row += 1
        return np.array(chosen, np.int32)


def player(
    name: str, network: Network, visits: int, kind: type[NetPlayer] = NetPlayer
) -> NetPlayer:
    """A player with that network."""
    return kind(name, lambda: network, visits, rows=1)


def play_out(game: Game, players: Sequence[Player], opening: Sequence[int]) -> Session:
    """A game between Black and White of `players` after `opening`."""
    session = Session(game)
    for action in opening:
        session.play(action)
    while not session.over:
        session.play(int(players[session.to_play].choose(session.states, [0])[0]))
    return session


class Series:
    """One arm's games with one seed, as far as they have been played."""

    def __init__(
        self, arm: str, seed: int, given: argparse.Namespace, rows: Sequence[dict[str, Any]]
    ) -> None:
        """`rows` are its games so far."""
        self.arm, self.seed = arm, seed
        self._visits = given.visits
        origin = find_checkpoint(given.student, given.root)
        self.student = Student(origin, given.out / f"{arm}-{seed}", given.lesson)
        self._game = get_game(origin.meta["game"])
        self._openings = Openings(self._game, seed)
        self._weak = player("weak", load_network(origin.path), self._visits, Cornered)
        lessons = [row["lesson"]["number"] for row in rows if row["lesson"]]
        last = lessons[-1] if lessons else 0
        live = self.student.journal.live
        if live and live[-1].number > last:  # a stop between a lesson and its line
            self.student.undo(last)
        self.played = len(rows)
        self._own = player("student", self.student.network(), self._visits)

    def play(self) -> dict[str, Any]:
        """The next game and its lesson: what is kept of them."""
        number, black = self.played, self.played % 2 == 0
        opening = self._openings[number // 2]
        sides = (self._own, self._weak) if black else (self._weak, self._own)
        session = play_out(self._game, sides, opening)
        winner = session.winner()
        lesson = None
        if self.arm == ARMS[0]:
            entry = self.student.teach(session)
            lesson = {name: getattr(entry, name) for name in ("number", "drift", "total", "share")}
            self._own.close()
            self._own = player("student", self.student.network(), self._visits)
        self.played += 1
        return {
            "arm": self.arm, "seed": self.seed, "game": number, "black": black,
            "opening": opening, "moves": [action for _, action in session.moves],
            "points": 0.5 if winner is None else float((winner == 0) == black), "lesson": lesson,
        }  # fmt: skip


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and the half width of its 95 % t interval; nan without any, infinite for one."""
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else float("nan")), float("inf")
    half = student_t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    return float(np.mean(values)), float(half)


def binned(rows: Sequence[dict[str, Any]], arm: str, games: int) -> list[list[float]]:
    """Points a game by bin of games and seed; seeds whose bin is not full are left out."""
    found = []
    for start in range(0, games, BIN):
        seeds: dict[int, list[float]] = {}
        for row in rows:
            if row["arm"] == arm and start <= row["game"] < start + BIN:
                seeds.setdefault(row["seed"], []).append(row["points"])
        size = min(BIN, games - start)
        found.append([float(np.mean(p)) for _, p in sorted(seeds.items()) if len(p) == size])
    return found


def tell(rows: Sequence[dict[str, Any]], games: int, say: Callable[[str], None] = print) -> None:
    """A table of the points by bins, and the difference of the arms, seed by seed."""
    say("| games | taught | control | lead |\n|---|---|---|---|")
    taught, control = (binned(rows, arm, games) for arm in ARMS)
    for number, (a, b) in enumerate(zip(taught, control, strict=True)):
        lead = [x - y for x, y in zip(a, b, strict=True)] if len(a) == len(b) else []
        words = []
        for values in (a, b, lead):
            mean, half = mean_interval(values)
            words.append(f"{mean:.1%} +- {half:.1%}" if values else "")
        start = number * BIN
        say(f"| {start + 1} to {min(start + BIN, games)} | {' | '.join(words)} |")


def rated_match(new: Network, old: Network, visits: int, pairs: int, seed: int) -> list[float]:
    """Points a pair, in [0, 1], of `new` against `old` from openings that no lesson began with."""
    openings = Openings(new.game, 10_000 + seed)
    players = [NetPlayer(name, lambda n=n: n, visits) for name, n in (("new", new), ("old", old))]  # type: ignore[misc]
    match = Match(new.game, players, capacity=min(2 * pairs, 64))
    for i in range(pairs):
        match.add(PairTask(f"{seed}-{i}", 0, 1, openings[i]))
    points = []
    while match.in_flight:
        for _, results in match.sweep():
            points.append(sum(each.points for each in results) / 2)
    match.close()
    return points


def before_and_after(given: argparse.Namespace, kept: Kept) -> None:
    """A match of every taught network with the one before, and people's moves, of both."""
    origin = find_checkpoint(given.student, given.root)
    if given.records:
        run_evaluate(str(origin.path), given.records, held_out=given.held_out)
    for seed in range(given.seeds):
        rows = [row for row in kept.rows if (row["arm"], row["seed"]) == (ARMS[0], seed)]
        student = Series(ARMS[0], seed, given, rows).student
        if given.pairs:
            points = rated_match(
                student.network(), load_network(origin.path), given.visits, given.pairs, seed
            )
            error = np.std(points, ddof=1) / len(points) ** 0.5 if len(points) > 1 else np.inf
            print(f"seed {seed}: taught against before {np.mean(points):.1%} +- {1.96 * error:.1%}")
        if given.records:
            number = student.journal.live[-1].number
            path = student.folder / "checkpoints" / f"{number:08d}"
            run_evaluate(str(path), given.records, held_out=given.held_out)


def main(arguments: Sequence[str] | None = None, lesson: LessonConfig | None = None) -> None:
    """Play what is left of every series, then tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--student", default="go9")
    parser.add_argument("--visits", type=int, default=32)
    parser.add_argument("--games", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--records", type=Path, action="append")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("runs/lessons"))
    given = parser.parse_args(arguments)
    given.lesson = lesson or LessonConfig()
    sha = find_checkpoint(given.student, given.root).meta["sha256"]
    of = {"lessons": sha, "visits": given.visits, "config": asdict(given.lesson)}
    kept = Kept(given.out / "games.jsonl", of)
    for seed in range(given.seeds):
        for arm in ARMS:
            rows = [row for row in kept.rows if (row["arm"], row["seed"]) == (arm, seed)]
            series = Series(arm, seed, given, rows)
            while series.played < given.games:
                kept.add(series.play())
                row = kept.rows[-1]
                print(f"{arm}, seed {seed}, game {row['game'] + 1}: {row['points']}", flush=True)
    tell(kept.rows, given.games)
    if given.pairs or given.records:
        before_and_after(given, kept)


if __name__ == "__main__":
    main()
