"""What lessons cost elsewhere: the taught networks and the one before, against the same opponents.

Both play the same openings against each outsider, and are shown the same moves of people; what counts
is the difference, pair by pair and move by move. Every pair is a line in a file, and what was judged is
kept by the weights' digest, so the same call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from judging import TOLD, UNTOLD, HeldOutMoves
from kept import Kept
from numpy.typing import NDArray
from scipy.stats import t as student_t

from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import Entry
from ghostgo.data.run import CheckpointInfo, load_network
from ghostgo.warmstart.clustered import clustered_error

BEFORE = "before"
FIRST_SEED = 10_000
"""Of openings that no lesson began with."""


@dataclass(frozen=True)
class Compared:
    """One measure of the networks after their lessons, a seed each, and of the one before."""

    name: str
    taught: list[float]
    """Mean of each seed."""
    before: list[float]
    """The same of the network before, on the same openings or moves."""
    half: float
    """Half the 95 % interval of the mean difference, by games."""

    @property
    def differences(self) -> list[float]:
        """Taught less before, of each seed."""
        return [a - b for a, b in zip(self.taught, self.before, strict=True)]

    def row(self) -> str:
        """A line of the table that `HEAD` begins."""
        mean, over_seeds = mean_interval(self.differences)
        return (
            f"| {self.name} | {np.mean(self.taught):.1%} | {np.mean(self.before):.1%} "
            f"| {mean:+.1%} | {self.half:.1%} | {over_seeds:.1%} |"
        )


HEAD = (
    "| against | taught | before | difference | +- over games | +- over seeds |\n"
    "|---|---|---|---|---|---|"
)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and the half width of its 95 % t interval; nan without any, infinite for one."""
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else float("nan")), float("inf")
    half = student_t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    return float(np.mean(values)), float(half)


def half_width(differences: Sequence[float]) -> float:
    """Half the 95 % interval of the mean of paired differences (n,), each in [-1, 1]; infinite for one.

    By their spread. Where all are alike, 3 / n: so large may the share of others be that none is
    among them (the rule of three, Hanley and Lippman-Hand 1983).
    """
    n = len(differences)
    if n < 2:
        return float("inf")
    spread = float(np.std(differences, ddof=1))
    return 1.96 * spread / n**0.5 if spread else min(3 / n, 1.0)


def play_pairs(
    info: CheckpointInfo, visits: int, against: Entry, seed: int, pairs: int, kept: Kept
) -> list[float]:
    """Points a pair, in [0, 1], of a checkpoint with so many visits from the openings of `seed`.

    Only pairs that are not `kept` are played.
    """
    of = {"weights": info.meta["sha256"], "outsider": against.info.identity, "seed": seed}
    rows = [row for row in kept.rows if {name: row[name] for name in of} == of]
    left = sorted(set(range(pairs)) - {row["pair"] for row in rows})
    if left:
        network = load_network(info.path)
        openings = Openings(network.game, FIRST_SEED + seed)
        own = NetPlayer("own", lambda: network, visits)
        match = Match(network.game, [own, against.player], capacity=min(2 * len(left), 64))
        for number in left:
            match.add(PairTask(f"{seed}-{number}", 0, 1, openings[number]))
        while match.in_flight:
            for task, results in match.sweep():
                for each in results:
                    if each.end == "forfeit":
                        print(f"forfeit in pair {task.pair}: {each.note}", flush=True)
                games = [
                    {"moves": each.moves, "points": each.points, "end": each.end, "note": each.note}
                    for each in results
                ]
                kept.add({**of, "pair": int(task.pair.rpartition("-")[2]), "games": games})
        match.close()
        own.close()
        rows = [row for row in kept.rows if {name: row[name] for name in of} == of]
    found = {row["pair"]: sum(each["points"] for each in row["games"]) / 2 for row in rows}
    return [found[number] for number in range(pairs)]


def compare_games(
    taught: Sequence[CheckpointInfo],
    before: CheckpointInfo,
    visits: int,
    against: Entry,
    pairs: int,
    kept: Kept,
    say: Callable[[str], None] = print,
) -> Compared:
    """Points of each of `taught`, a seed each, and of the network before, against one opponent.

    The one called `BEFORE` is that network itself: it has half of them, colours swapped.
    """
    ours, theirs = [], []
    for seed, info in enumerate(taught):
        ours.append(play_pairs(info, visits, against, seed, pairs, kept))
        if against.info.name == BEFORE:
            theirs.append([0.5] * pairs)
        else:
            theirs.append(play_pairs(before, visits, against, seed, pairs, kept))
        say(
            f"seed {seed}: taught against {against.info.name} {np.mean(ours[-1]):.1%}, "
            f"before {np.mean(theirs[-1]):.1%}"
        )
    differences = (np.array(ours) - np.array(theirs)).ravel()
    means = [[float(np.mean(each)) for each in side] for side in (ours, theirs)]
    return Compared(against.info.name, *means, half_width(differences.tolist()))


def compare_moves(
    taught: Sequence[CheckpointInfo], before: CheckpointInfo, moves: HeldOutMoves
) -> Compared:
    """How often each of `taught`, a seed each, and the network before would play people's move.

    Told no ranks, as they play and learn.
    """
    first, *others = (
        found.get(UNTOLD, found[TOLD]) for found in map(moves.judge, [before, *taught])
    )
    board = first.on_board
    hits: list[NDArray[np.float64]] = [each.top1[board].astype(np.float64) for each in others]
    own = first.top1[board].astype(np.float64)
    error = clustered_error(np.mean(hits, axis=0) - own, moves.games[board])
    means = [float(each.mean()) for each in hits]
    return Compared("people's moves", means, [float(own.mean())] * len(hits), 1.96 * error)
