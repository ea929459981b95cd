"""Is one player stronger than another? A test that stops as soon as the games say so.

The generalised sequential probability ratio test on pairs of games (pentanomial: a pair from one
opening gives 0, 0.5, 1, 1.5 or 2 points), as fishtest does it for Stockfish. Both hypotheses are
about the expected score alone; for each, whatever else is unknown of the five probabilities is set
to what makes the observed pairs most likely (M. Van den Bergh, "The generalized maximum likelihood
ratio for the expectation value of a distribution").
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from ghostgo.arena.effort import Effort, as_effort, split_effort, split_settings
from ghostgo.arena.forfeits import FORFEITS_IN_A_ROW
from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings, Reference, canonical_moves
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import Entry, PlayerOptions, make_entry
from ghostgo.arena.progress import Progress
from ghostgo.arena.results import (
    LEDGER,
    PairResult,
    ResultsFile,
    locked,
    pair_id,
    read_results,
)
from ghostgo.arena.rules import settle_rules
from ghostgo.arena.speeds import SPEEDS, Speeds
from ghostgo.arena.stop import Stop
from ghostgo.data.run import find_checkpoint, list_bots
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game

SCORES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
UNSEEN = 1e-3
"""Count of an outcome that has not occurred, as in fishtest: no probability is ever zero."""
MOST_ELO = 1000.0
"""Hypotheses further out than this say nothing that games could tell apart."""
UNSEEDED = ("net", "gtp")
"""Kinds of players whose moves no seed of the game's varies: two of them meet once an opening."""
PARALLEL_PAIRS = 16
"""Pairs in flight; those beyond the deciding one are played for nothing."""


def expected_score(elo: float) -> float:
    """Expected score of a player `elo` points stronger."""
    return float(1 / (1 + 10 ** (-elo / 400)))


def _most_likely(share: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """The distribution over `SCORES` with that mean under which shares (5,) are most likely."""
    off = SCORES - mean

    def slope(x: float) -> float:
        return float((share * off / (1 + x * off)).sum())

    edge = 1e-9
    x = brentq(slope, -1 / off[-1] + edge, -1 / off[0] - edge, xtol=1e-14)
    return np.asarray(share / (1 + x * off))


def log_likelihood_ratio(pairs: Sequence[float], elo0: float, elo1: float) -> float:
    """log of how much likelier `elo1` makes the pairs than `elo0`, in logistic Elo.

    `pairs` (5,) counts pairs with 0, 0.5, 1, 1.5 and 2 points.
    """
    counts = np.asarray(pairs, np.float64)
    if counts.sum() == 0:
        return 0.0
    counts = np.where(counts == 0, UNSEEN, counts)
    share = counts / counts.sum()
    h0, h1 = (_most_likely(share, expected_score(elo)) for elo in (elo0, elo1))
    return float((counts * np.log(h1 / h0)).sum())


@dataclass(frozen=True)
class Sprt:
    """The test and its bounds: accept H0 below `lower`, H1 above `upper`."""

    elo0: float = 0.0
    elo1: float = 35.0
    alpha: float = 0.05
    """Chance of accepting H1 where `elo0` is true."""
    beta: float = 0.05
    """Chance of accepting H0 where `elo1` is true."""

    @property
    def lower(self) -> float:
        """log(beta / (1 - alpha)) (Wald 1945)."""
        return math.log(self.beta / (1 - self.alpha))

    @property
    def upper(self) -> float:
        """log((1 - beta) / alpha)."""
        return math.log((1 - self.beta) / self.alpha)

    def decide(self, pairs: Sequence[float]) -> str:
        """`H0`, `H1`, or empty while the pairs so far decide nothing."""
        ratio = log_likelihood_ratio(pairs, self.elo0, self.elo1)
        return "H1" if ratio >= self.upper else "H0" if ratio <= self.lower else ""


@dataclass(frozen=True)
class Verdict:
    """How a test ended."""

    accepted: str
    """`H0`, `H1`, or empty if it was stopped before a decision."""
    pairs: tuple[int, ...]
    """(5,) pairs by player a's points, as the decision saw them."""
    ratio: float
    forfeits: int = 0
    """Games among them that a player forfeited."""
    exhausted: bool = False
    """Whether it stopped because the game has no more openings that these players had not met."""

    def text(self, a: str, b: str, test: Sprt) -> str:
        """The verdict in words."""
        stronger = f"{a} is stronger than {b}" if test.elo0 >= 0 else f"{a} against {b}"
        claim = {
            "H1": f"H1 accepted: {stronger}, nearer {test.elo1:g} than {test.elo0:g} Elo",
            "H0": f"H0 accepted: {a} against {b}, nearer {test.elo0:g} than {test.elo1:g} Elo",
            "": "no decision yet; the same command goes on",
        }[self.accepted]
        if self.exhausted:
            claim = (
                f"no decision, no new openings: {sum(self.pairs)} pairs are all there are for "
                "players that may repeat their games"
            )
        forfeits = f", {self.forfeits} of them forfeited" if self.forfeits else ""
        return (
            f"{claim} (log likelihood ratio {self.ratio:.2f}, bounds {test.lower:.2f} and "
            f"{test.upper:.2f}; {2 * sum(self.pairs)} games{forfeits}, pairs by points "
            f"{' '.join(map(str, self.pairs))})"
        )


def run_sprt(
    a: str,
    b: str,
    *,
    elo0: float = 0.0,
    elo1: float = 35.0,
    alpha: float = 0.05,
    beta: float = 0.05,
    visits: Effort | int | str = 64,
    games: int | None = None,
    game: str | None = None,
    seed: int = 0,
    rules: Mapping[str, Any] | None = None,
    root: Path = Path("runs"),
    out: Path | None = None,
    device: str = "auto",
    gtp_timeout: float = 60.0,
) -> Verdict:
    """Play pairs between players `a` and `b` (specs as in `ghostgo.arena.pool`) until H0 or H1.

    Pairs count in the order of their openings, whichever ends first, so a seed has one verdict.
    Where both play the same game whenever they meet from one opening (networks, GTP engines), the
    test ends without a verdict when a small game has no new openings: copies are no evidence.
    Games are kept in `out` (default `root/sprt`) and the same call goes on from them; `games`
    stops without a verdict. Raises UserError for bad input.
    """
    if not -MOST_ELO <= elo0 < elo1 <= MOST_ELO:
        raise UserError(
            f"--elo0 {elo0:g} must lie below --elo1 {elo1:g}, both within {MOST_ELO:g} of zero"
        )
    if not (0 < alpha < 0.5 and 0 < beta < 0.5):
        raise UserError(f"--alpha {alpha:g} and --beta {beta:g} must lie between 0 and 0.5")
    out = out or root / "sprt"
    speeds = Speeds(out / SPEEDS)
    options = PlayerOptions(root, as_effort(visits), device, gtp_timeout, speeds=speeds)
    board = get_game(game or _game_of((a, b), root))
    entries: list[Entry] = []
    try:
        for spec in (a, b):
            entries.append(make_entry(spec, spec, board, options))
        chosen = settle_rules(board, rules, [entry.player for entry in entries])
        if entries[0].info.identity == entries[1].info.identity:
            raise UserError(f"{a} and {b} are one player: nothing to test")
        test = Sprt(elo0, elo1, alpha, beta)
        with locked(out):
            speeds.save()
            verdict = _Test(board, chosen, entries, test, out, seed).play(games)
    finally:
        for entry in entries:
            entry.player.close()
    print(verdict.text(a, b, test))
    return verdict


def _game_of(specs: Sequence[str], root: Path) -> str:
    """The game that the first network among `specs` plays; UserError if there is none."""
    for spec in specs:
        where = split_effort(split_settings(spec)[0])[0]
        if where in {bot.path.name for bot in list_bots()}:
            return str(find_checkpoint(where, root).meta["game"])
        if (root / where.partition("@")[0]).exists() or Path(where).exists():
            return str(find_checkpoint(where, root).meta["game"])
    raise UserError("neither player is a run, so say which game is played: --game go9, for example")


class _Test:
    """Two players at play over a ledger of pairs."""

    def __init__(
        self,
        game: Game,
        rules: Mapping[str, Any],
        entries: Sequence[Entry],
        test: Sprt,
        out: Path,
        seed: int,
    ) -> None:
        self.game, self.entries, self.test, self.seed = game, entries, test, seed
        self.rules = dict(rules)
        self.path = out / LEDGER
        self.found = {result.pair: result for result in read_results(self.path)}
        self.match: Match
        reference = self._reference()
        # A file a game: its openings are action numbers.
        path = out / f"openings-{game.name}.jsonl"
        self.openings = Openings(game, seed, self.rules, reference, path)
        self.repeat_games = all(entry.info.kind in UNSEEDED for entry in entries)
        self.deterministic = all(entry.info.deterministic for entry in entries)
        self.met: set[tuple[int, tuple[int, ...]]] = set()
        self.most: int | None = None
        """Pairs that there are, once that is known to be a limit."""
        self.counts = [0] * 5
        self.counted = self.forfeits = self.in_a_row = 0

    def _reference(self) -> Reference | None:
        """The first network of the two, as the judge of openings."""
        nets = [(e.info, e.player) for e in self.entries if isinstance(e.player, NetPlayer)]
        if not nets:
            return None
        info, player = nets[0]
        return Reference(
            info.settings["sha256"], lambda states: self.match.in_thread(player.judge, states)
        )

    def pair(self, k: int) -> str:
        """Id of the k-th pair; never that of a tournament's, whose number of games is no test's."""
        who = (f"sprt {self.entries[0].info.identity}", f"sprt {self.entries[1].info.identity}")
        return pair_id(self.game.name, self.game.version, self.rules, self.seed, who, k)

    def copies(self, k: int) -> bool:
        """Whether the k-th pair would be a copy of an earlier one; the first such is noted."""
        if self.repeat_games and self.most is None and self.openings.repeats(k):
            self.most = k
        return self.most is not None and k >= self.most

    def decided(self) -> str:
        """Count what has come in, in order; the verdict as soon as there is one."""
        while result := self.found.get(self.pair(self.counted)):
            if self.copies(self.counted):  # the ledger of an earlier version may hold some
                return ""
            met = {(g.first, canonical_moves(self.game, g.moves)) for g in result.games}
            if self.deterministic and met & self.met:  # another opening, but a game as before
                self.counted += 1
                continue
            self.met |= met
            mine = result.a.identity == self.entries[0].info.identity
            points = sum(g.points if mine else 1 - g.points for g in result.games)
            self.counts[round(2 * points)] += 1
            self.forfeits += sum(g.end == "forfeit" for g in result.games)
            self.counted += 1
            if verdict := self.test.decide(self.counts):
                return verdict
        return ""

    def play(self, games: int | None) -> Verdict:
        """Play until the verdict, or to `games` games."""
        players = [entry.player for entry in self.entries]
        stop = Stop()
        self.match = Match(self.game, players, 2 * PARALLEL_PAIRS, self.rules, 2, stop)
        progress, begun, flying = Progress(), time.monotonic(), 0
        verdict = self.decided()
        k = before = self.counted
        last = math.inf if games is None else (games + 1) // 2
        with ResultsFile(self.path) as ledger, stop:
            try:
                while not verdict and (flying or k < last):
                    stop.check()
                    while flying < PARALLEL_PAIRS and k < last:
                        if self.copies(k):
                            last = k
                        elif self.pair(k) not in self.found:
                            self.match.add(PairTask(self.pair(k), 0, 1, self.openings[k]))
                            flying += 1
                        k += 1
                    for task, pair in self.match.sweep():
                        flying -= 1
                        result = PairResult(
                            task.pair, self.game.name, self.game.version, self.rules, self.seed,
                            task.opening, self.entries[0].info, self.entries[1].info, pair,
                        )  # fmt: skip
                        ledger.add(result)
                        self.found[task.pair] = result
                        self._watch(result, progress)
                    verdict = self.decided()
                    speed = 2 * (self.counted - before) / (time.monotonic() - begun)
                    progress.show(f"sprt: {self._state()}, {speed:.1f} games/s")
            except KeyboardInterrupt:
                progress.say("stopped; the same command goes on from here")
            finally:
                if stop.asked:  # a GTP engine may think for long yet
                    for player in players:
                        player.close()
                self.match.close()
                progress.close()
        exhausted = not verdict and self.counted == self.most
        return Verdict(verdict, tuple(self.counts), self._ratio(), self.forfeits, exhausted)

    def _watch(self, result: PairResult, progress: Progress) -> None:
        """Tell of forfeits; UserError after several in a row: that is no test of strength."""
        for game in result.games:
            self.in_a_row = self.in_a_row + 1 if game.end == "forfeit" else 0
            if game.end == "forfeit":
                progress.say(f"forfeit: {game.note}")
            if self.in_a_row == FORFEITS_IN_A_ROW:
                raise UserError(
                    f"{self.in_a_row} games in a row were forfeited, the last so: {game.note}"
                )

    def _ratio(self) -> float:
        return log_likelihood_ratio(self.counts, self.test.elo0, self.test.elo1)

    def _state(self) -> str:
        return (
            f"{2 * sum(self.counts)} games, log likelihood ratio {self._ratio():.2f} "
            f"({self.test.lower:.2f}, {self.test.upper:.2f})"
        )
