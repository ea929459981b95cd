"""Whether `--learn` works: a student against a bot with one fixed weakness, and what it costs elsewhere.

    python benchmarks/lessons.py --student go9 --visits 32 --games 100 --seeds 3 --out runs/lessons \
        [--openings 5] [--side 3] [--opponent-visits 32] [--pairs 20] [--outsider mcts:1000 --outsider human9 --outsider 'gtp:gnugo --mode gtp'] \
        [--records PATH --held-out 0.1]

The opponent is the same network with its own visits, but never plays in one corner of `--side` points
squared, so it neither takes nor defends it; and it never varies, so a way to win once found works
again. The student meets it from random openings, each played twice with colours swapped, and after
each game takes a lesson from it (`ghostgo.learning.Student.teach`); in the control arm it takes none.
With `--openings 5` the same five openings come again and again, else none comes twice. Every game is a line in OUT/games.jsonl, each arm's and seed's lessons are
in a folder of their own, so the same call goes on. Then: points in bins of games with a 95 % interval
over seeds, the lead over the control, and how fast points rise with the number of the game.

With `--pairs`, each taught network and the one before then play so many pairs from the same openings
against that one and every `--outsider` (players as in the arena; unless others are given, mcts:1000
and, on 9x9, human9), and with `--records` both are asked for people's moves: the difference has an
interval over games, or moves by game, and one over seeds. Cost: 2 x games x seeds in the series (600
as above) and 2 x pairs x seeds x (1 + 2 x outsiders) after it (600 with two, some ten minutes on one
core at 32 visits; no lessons).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from judging import HeldOutMoves
from kept import Kept
from numpy.typing import NDArray
from outsiders import BEFORE, HEAD, compare_games, compare_moves, mean_interval

from ghostgo.arena.effort import Effort
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import Actions, NetPlayer, Player
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.data.checkpoints import split_version
from ghostgo.data.run import CheckpointInfo, Run, find_checkpoint, load_network
from ghostgo.engine.games.game import Game, States, legal_mask_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network
from ghostgo.learning import Student
from ghostgo.lesson import LessonConfig, fewest_moves
from ghostgo.selfplay.anchor import held_out_share
from ghostgo.session import Session
from ghostgo.warmstart.evaluate import HELD_OUT_ROWS

BIN = 10
ARMS = ("taught", "control")


def corner(game: Game, side: int) -> NDArray[np.int64]:
    """The points of the corner that the opponent leaves alone: so many of the first rows and columns.

    Raises SystemExit for a game whose moves are no points.
    """
    if side and game.actions < game.points:
        raise SystemExit(f"{game.name}: its moves are no points: give --side 0")
    rows, cols = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return (rows * game.cols + cols).ravel()


class Cornered(NetPlayer):
    """A network's player, but for points `closed`: what it would play there, it plays elsewhere."""

    closed: NDArray[np.int64]

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
                mask[self.closed] = 0
                worth = visits + np.nan_to_num(prior)  # a prior is below one visit
                elsewhere = int(np.where(mask == 1, worth, -np.inf).argmax())
                chosen.append(int(action) if mask[action] else elsewhere)
                row += 1
        return np.array(chosen, np.int32)


def player(name: str, network: Network, visits: int) -> NetPlayer:
    """A player with that network."""
    return NetPlayer(name, lambda: network, visits, rows=1)


def weak(network: Network, visits: int, closed: NDArray[np.int64]) -> Cornered:
    """The opponent, which leaves the points `closed` alone."""
    found = Cornered("weak", lambda: network, visits, rows=1)
    found.closed = closed
    return found


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
        self._visits, self._openings_met = given.visits, given.openings
        origin = find_checkpoint(given.student, given.root)
        self.student = Student(origin, given.out / f"{arm}-{seed}", given.lesson)
        self._game = get_game(origin.meta["game"])
        self._openings = Openings(self._game, seed)
        visits = given.opponent_visits or given.visits
        self._weak = weak(load_network(origin.path), visits, corner(self._game, given.side))
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
        pair = number // 2
        opening = self._openings[pair % self._openings_met if self._openings_met else pair]
        sides = (self._own, self._weak) if black else (self._weak, self._own)
        session = play_out(self._game, sides, opening)
        winner = session.winner()
        lesson = None
        if self.arm == ARMS[0] and len(session.moves) >= fewest_moves(self._game):
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


def slope(rows: Sequence[dict[str, Any]], openings: int = 0) -> tuple[float, float]:
    """How much points rise a game, by least squares, and half its 95 % interval; nan of one game.

    Errors are clustered by seed and opening (Liang and Zeger 1986), which two games share, or more
    where so many `openings` come again; of fewer than three openings the interval is infinite.
    """
    games = np.array([row["game"] for row in rows], float)
    points = np.array([row["points"] for row in rows], float)
    x = games - games.mean()
    if not x.any():
        return float("nan"), float("nan")
    found = float(x @ points / (x @ x))
    scores = x * (points - points.mean() - found * x)
    pairs = [row["game"] // 2 for row in rows]
    opening = [pair % openings if openings else pair for pair in pairs]
    cluster = [(row["seed"], which) for row, which in zip(rows, opening, strict=True)]
    _, index = np.unique(np.array(cluster), axis=0, return_inverse=True)
    sums = np.bincount(index.ravel(), scores)
    if len(sums) < 3:
        return found, float("inf")
    few = len(sums) / (len(sums) - 1)
    return found, 1.96 * float(np.sqrt(few * (sums**2).sum()) / (x @ x))


def tell_rise(
    rows: Sequence[dict[str, Any]], say: Callable[[str], None] = print, openings: int = 0
) -> None:
    """How points rise with the number of the game, all seeds pooled, for each arm and the lead.

    The second interval is over the seeds' own slopes.
    """
    arms = [{(row["seed"], row["game"]): row for row in rows if row["arm"] == arm} for arm in ARMS]
    lead = [
        {**row, "points": row["points"] - arms[1][key]["points"]}
        for key, row in arms[0].items()
        if key in arms[1]
    ]
    named = zip((*ARMS, "lead"), (*(list(arm.values()) for arm in arms), lead), strict=True)
    for name, series in named:
        if not series:
            continue
        rise, half = slope(series, openings)
        seeds = sorted({row["seed"] for row in series})
        of_seed = [[row for row in series if row["seed"] == seed] for seed in seeds]
        each = [slope(part, openings)[0] for part in of_seed]
        say(
            f"{name}: points rise by {100 * rise:+.1%} +- {100 * half:.1%} in 100 games, "
            f"{len(series)} games pooled; +- {100 * mean_interval(each)[1]:.1%} over "
            f"{len(seeds)} seeds"
        )


def taught_networks(origin: CheckpointInfo, given: argparse.Namespace) -> list[CheckpointInfo]:
    """The network of each seed after its lessons; that before, if none was taken."""
    found = []
    for seed in range(given.seeds):
        student = Student(origin, given.out / f"{ARMS[0]}-{seed}", given.lesson)
        live = student.journal.live
        last = Run.open(student.folder).checkpoint(f"{live[-1].number:08d}") if live else origin
        if last is None:
            raise SystemExit(f"{student.folder}: the network after its lessons is missing")
        found.append(last)
    return found


def before_and_after(given: argparse.Namespace) -> None:
    """What the lessons cost against other opponents and in people's moves, as a table."""
    origin = find_checkpoint(given.student, given.root)
    taught, game = taught_networks(origin, given), get_game(origin.meta["game"])
    options, found = PlayerOptions(root=given.root, effort=Effort(visits=given.visits)), []
    if given.pairs:
        usual = ["mcts:1000", *(["human9"] if game.name == "go9" else [])]
        of = {"outsiders": origin.meta["sha256"], "visits": given.visits}
        kept = Kept(given.out / "outsiders.jsonl", of)
        players = {BEFORE: given.student}
        players |= {spec: spec for spec in given.outsider or usual}
        for name, spec in players.items():
            entry = make_entry(name, spec, game, options)
            try:
                found.append(compare_games(taught, origin, given.visits, entry, given.pairs, kept))
            finally:
                entry.player.close()
    if given.records:
        share = held_out_share(origin) if given.held_out is None else given.held_out
        if share is None:
            raise SystemExit(f"{given.student}: give --held-out, which it does not tell")
        moves = HeldOutMoves(
            given.records, game.name, share, HELD_OUT_ROWS, given.out / "judged",
            split_version(origin),
        )  # fmt: skip
        found.append(compare_moves(taught, origin, moves))
    print("\n".join([HEAD, *(each.row() for each in found)]))


def main(arguments: Sequence[str] | None = None, lesson: LessonConfig | None = None) -> None:
    """Play what is left of every series, then tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--student", default="go9")
    parser.add_argument("--visits", type=int, default=32)
    parser.add_argument("--opponent-visits", type=int, help="of the opponent; default: as many")
    parser.add_argument("--side", type=int, default=3, help="of the corner it leaves alone")
    parser.add_argument("--openings", type=int, default=0, help="that come again; 0: none does")
    parser.add_argument("--games", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--outsider", action="append")
    parser.add_argument("--records", type=Path, action="append")
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("runs/lessons"))
    given = parser.parse_args(arguments)
    given.lesson = lesson or LessonConfig()
    sha = find_checkpoint(given.student, given.root).meta["sha256"]
    of = {"lessons": sha, "config": asdict(given.lesson)}
    of |= {name: getattr(given, name) for name in ("visits", "opponent_visits", "side", "openings")}
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
    rows = [row for row in kept.rows if row["game"] < given.games]
    tell_rise(rows, openings=given.openings)
    if given.pairs or given.records:
        before_and_after(given)


if __name__ == "__main__":
    main()
