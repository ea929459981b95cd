"""The tournament: choose pairs, play them, fit, and report; stopped and started again, it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.effort import Effort, as_effort
from ghostgo.arena.gain import compare_arms
from ghostgo.arena.league import ONE_SIDED, League
from ghostgo.arena.limits import Limits, make_limits
from ghostgo.arena.match import FinishedPair, Match, PairTask
from ghostgo.arena.openings import Openings, Reference
from ghostgo.arena.pace import Pace
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import PlayerOptions, Pool, build_pool
from ghostgo.arena.progress import Progress, duration
from ghostgo.arena.ratings import Ratings
from ghostgo.arena.report import Report, write_report
from ghostgo.arena.results import PairResult, ResultsFile, pair_id, read_results
from ghostgo.arena.schedule import Member, next_pairs
from ghostgo.engine.errors import UserError

FORFEITS_IN_A_ROW = 3
"""After so many a player is not paired any more in this tournament."""
OPENING_OFFSETS = 256
MOST_PARALLEL = 256
"""Games in flight, at most, unless told otherwise."""
LEDGER, OPENINGS = "results.jsonl", "openings.jsonl"


def run_arena(
    a: str | Sequence[str] | None = "scratch",
    b: str | Sequence[str] | None = "warm",
    *,
    root: Path = Path("runs"),
    out: Path | None = None,
    visits: Effort | int | str = 64,
    games: int | None = None,
    minutes: float | None = None,
    width: float | None = None,
    visits_ladder: Sequence[Effort] = (),
    checkpoints: int | None = None,
    players: Mapping[str, str] | None = None,
    anchors: Sequence[str] | None = None,
    anchor: str = "random",
    levels: Sequence[float] | None = None,
    game: str | None = None,
    rules: Mapping[str, Any] | None = None,
    seed: int = 0,
    parallel: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    gtp_timeout: float = 60.0,
) -> Report:
    """Rate every checkpoint of runs `a` and `b`, fixed rating anchors and `players` in one pool.

    `a` and `b` are a run each, or several that differ by their seed, which are compared as arms at
    the Elo `levels` (default: three within what both cover).

    Games are kept in `out` (default `root/arena`), and so are the table and the plots. The same
    call again goes on where it stopped and takes in new checkpoints. It ends at `games` in all, at
    `minutes` of this call, or at a mean interval of `width` Elo, whichever is first; without any of
    these, at 40 games a player. Every network searches `visits` a move, or as many as a budget such
    as `2e9flops` pays for; with a `visits_ladder` each checkpoint plays at all of its budgets, and
    the report says what search buys beside training. At most so many `checkpoints` of a run play,
    spread over what they cost. `players` maps names to specs, `anchors` are specs, both as in
    `ghostgo.arena.pool`; `anchor` is the player whose rating is frozen at 0. At most `parallel`
    games run at a time (as many as end within two minutes, 256 at most), in `workers` threads (one a core). Raises UserError for bad input.
    """
    started = time.monotonic()
    out = out or root / "arena"
    options = PlayerOptions(
        root, as_effort(visits), device, gtp_timeout, tuple(visits_ladder), checkpoints
    )
    arms = [[arm] if isinstance(arm, str) else list(arm or ()) for arm in (a, b)]
    arms = [[run for run in arm if run] for arm in arms]
    runs = list(dict.fromkeys(run for arm in arms for run in arm))
    pool = build_pool(runs, players or {}, game, anchors, options)
    try:
        limits = make_limits(len(pool.entries), games, minutes, width)
        # Whatever is wrong with the input comes to light before anything is written.
        tournament = Tournament(pool, out, anchor, rules or {}, seed, parallel, started)
        with locked(out):
            tournament.read()
            tournament.play(limits, workers or os.cpu_count() or 1)
            comparisons = compare_arms(pool, tournament.ratings, arms, levels)
            return write_report(out, pool, tournament.league, tournament.ratings, comparisons)
    finally:
        pool.close()


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the arena's folder, made if need be. Raises UserError if another process does."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}") from None
    lock = filelock.FileLock(out / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(f"{out}: another arena is at work there; wait for it or stop it") from None
    try:
        yield
    finally:
        lock.release()


@dataclass
class _Flight:
    """A pair in progress."""

    opening: tuple[int, ...]
    a: int
    b: int
    begun: float = field(default_factory=time.monotonic)


class Tournament:
    """A pool at play over its ledger of results."""

    def __init__(
        self,
        pool: Pool,
        out: Path,
        anchor: str,
        rules: Mapping[str, Any],
        seed: int,
        parallel: int | None,
        started: float,
    ) -> None:
        """Reads the ledger. Raises UserError if it does not fit, for an unknown anchor or rule."""
        self.pool = pool
        self.rules = {**pool.game.rules, **rules}
        pool.game.new_states(1, self.rules)  # raises UserError for an unknown rule
        self.seed = seed
        self.path = out / LEDGER
        names = [entry.info.name for entry in pool.entries]
        if anchor not in names:
            raise UserError(f"rating anchor {anchor!r} is no player; players: {', '.join(names)}")
        self._anchor = names.index(anchor)
        self.league: League
        self.ratings: Ratings
        self._size_read = -1
        self._openings: Openings
        self.read()
        self._parallel = parallel
        self._pace: Pace
        self._begun = 0.0
        self._before = 0
        self._match: Match
        self._members = [Member(entry.run, entry.player.concurrent == 1) for entry in pool.entries]
        self._flying: dict[str, _Flight] = {}
        self._unfitted = 0
        self._failures = [0] * len(names)
        self._pair_seconds = 0.0
        self._started = started
        self._progress = Progress()

    def read(self) -> None:
        """What was played before, and from which openings; raises UserError if it does not fit."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size == self._size_read:
            return
        self._size_read = size
        infos = [entry.info for entry in self.pool.entries]
        self.league = League(self.pool.game, self.rules, infos, len(infos))
        self.league.extend(read_results(self.path))
        self.ratings = self.league.fit(self._anchor)
        self._openings = Openings(
            self.pool.game,
            self.seed,
            self.rules,
            self._reference(),
            self.path.with_name(OPENINGS),
        )

    def _reference(self) -> Reference | None:
        """The checkpoint that has cost most, as the judge of openings."""
        points = sorted(self.pool.points, key=lambda point: (point.totals.flops, point.entry))
        if not points or not points[-1].totals.flops:
            return None  # nobody has learnt anything yet
        entry = self.pool.entries[points[-1].entry]
        player = entry.player
        assert isinstance(player, NetPlayer)
        return Reference(
            entry.info.settings["sha256"],
            lambda states: self._match.in_thread(player.judge, states),
        )

    def play(self, limits: Limits, workers: int) -> None:
        """Play until a limit is reached; an interrupt from the keyboard stops it cleanly."""
        if len(self.pool.entries) < 2:
            return
        players = [entry.player for entry in self.pool.entries]
        game, capacity = self.pool.game, self._parallel or MOST_PARALLEL
        self._match = Match(game, players, capacity, self.rules, workers)
        self._pace = Pace(capacity, game.points, limits.minutes)
        before = self._before = len(self.league.rows)
        with ResultsFile(self.path) as ledger:
            try:
                if not self._over(limits):
                    self._warm_up()
                begun = self._begun = time.monotonic()
                while not self._over(limits):
                    self._top_up(limits)
                    if not self._match.in_flight:
                        break
                    for finished in self._match.sweep():
                        self._record(ledger, finished)
                    self._refit()
                    self._show(limits, before, begun)
            except KeyboardInterrupt:
                self._progress.say("stopped; the same command goes on from here")
            finally:
                self._match.close()
        self._refit(force=True)

    def _warm_up(self) -> None:
        """One move by each player who keeps no game, so that compiling is not charged to any."""
        state = self.pool.game.new_states(1, self.rules)
        for entry in self.pool.entries:
            if entry.player.concurrent > 1:
                self._match.in_thread(entry.player.choose, state, [0])

    def _over(self, limits: Limits) -> bool:
        # A start that ended nothing would leave the next one just as far.
        progress = len(self.league.rows) > self._before
        late = limits.minutes and time.monotonic() - self._started >= limits.minutes * 60
        if late and progress:
            return True
        narrow = limits.width is not None and self._mean_width() <= limits.width
        return (narrow or len(self.league.rows) >= limits.games) and not self._match.in_flight

    def _mean_width(self) -> float:
        """Mean width of the pool's intervals, infinite before all have met.

        The anchor is left out, and so is who has won or lost every game of a fair number: more of
        them would not narrow such an interval.
        """
        widths = [
            rating.width if rating.games else float("inf")
            for i, rating in enumerate(self.ratings.ratings[: self.league.pool_size])
            if i != self._anchor and not (rating.one_sided and rating.games >= ONE_SIDED)
        ]
        return float(np.mean(widths)) if widths else float("inf")

    def _top_up(self, limits: Limits) -> None:
        """Add pairs while there is room, time and budget."""
        parallel = self._parallel or self._pace.games(
            self._match.plies, time.monotonic() - self._begun
        )
        room = (parallel - self._match.in_flight) // 2
        budget = (limits.games - len(self.league.rows) + 1) // 2 - len(self._flying)
        late = (
            limits.minutes is not None
            and time.monotonic() - self._started + self._pair_seconds > limits.minutes * 60
        )
        narrow = limits.width is not None and self._mean_width() <= limits.width
        hungry = self._match.in_flight == 0 or room >= parallel // 16
        late = late and (self._match.in_flight > 0 or len(self.league.rows) > self._before)
        if min(room, budget) < 1 or late or narrow or not hungry:
            return
        members, numbers = self._active()
        pick = np.array(numbers)
        flying = self._flying_counts()
        played, settled = self.league.played()
        grid = np.ix_(pick, pick)
        pairs = next_pairs(
            members,
            self.ratings.elo[pick],
            self.ratings.covariance[grid],
            played[grid],
            flying[grid],
            min(room, budget),
            settled[grid],
        )
        for x, y in pairs:
            self._begin(numbers[x], numbers[y])

    def _active(self) -> tuple[list[Member], list[int]]:
        """The players still paired, and their numbers in the pool."""
        numbers = [i for i, n in enumerate(self._failures) if n < FORFEITS_IN_A_ROW]
        return [self._members[i] for i in numbers], numbers

    def _flying_counts(self) -> NDArray[np.int64]:
        k = self.league.pool_size
        counts = np.zeros((k, k), np.int64)
        for flight in self._flying.values():
            counts[flight.a, flight.b] += 1
            counts[flight.b, flight.a] += 1
        return counts

    def _begin(self, a: int, b: int) -> None:
        """Start the first pair between a and b that is neither played nor in flight."""
        game = self.pool.game
        who = (self.pool.entries[a].info.identity, self.pool.entries[b].info.identity)
        if who[0] > who[1]:  # the same pair whatever the order of the pool
            who, a, b = (who[1], who[0]), b, a
        k = 0
        while True:
            pair = pair_id(game.name, game.version, self.rules, self.seed, who, k)
            if pair not in self.league.pairs and pair not in self._flying:
                break
            k += 1
        offset = hashlib.sha256("".join(who).encode()).digest()[0] % OPENING_OFFSETS
        opening = self._openings[offset + k]
        self._flying[pair] = _Flight(opening, a, b)
        self._match.add(PairTask(pair, a, b, opening))

    def _record(self, ledger: ResultsFile, finished: FinishedPair) -> None:
        """Put a finished pair on the disk, then into the league."""
        task, games = finished
        flight = self._flying.pop(task.pair)
        took = time.monotonic() - flight.begun
        self._pair_seconds += 0.1 * (took - self._pair_seconds) if self._pair_seconds else took
        result = PairResult(
            pair=task.pair,
            game=self.pool.game.name,
            game_version=self.pool.game.version,
            rules=self.rules,
            seed=self.seed,
            opening=task.opening,
            a=self.pool.entries[task.a].info,
            b=self.pool.entries[task.b].info,
            games=games,
        )
        ledger.add(result)
        self.league.add(result)
        self._unfitted += 1
        for game in games:
            self._pace.finished(len(game.moves) - len(task.opening))
            for side, number in enumerate((task.a, task.b)):
                lost = game.points == (0.0 if side == 0 else 1.0)
                failed = game.end == "forfeit" and lost
                self._failures[number] = self._failures[number] + 1 if failed else 0
                if failed:
                    self._progress.say(f"forfeit: {game.note}")
                if self._failures[number] == FORFEITS_IN_A_ROW:
                    name = self.pool.entries[number].info.name
                    self._progress.say(f"{name} forfeits every game: it is paired no more today")

    def _refit(self, force: bool = False) -> None:
        """Fit again once enough new pairs are in."""
        enough = max(4, len(self.league.pairs) // 50)
        if self._unfitted >= enough or (self._unfitted and (force or not self._match.in_flight)):
            self.ratings = self.league.fit(self._anchor)
            self._unfitted = 0

    def _show(self, limits: Limits, before: int, begun: float) -> None:
        games = len(self.league.rows)
        elapsed = time.monotonic() - begun
        rate = (games - before) / max(elapsed, 1e-9)
        width = self._mean_width()
        parts = [f"{games} games, {rate:.1f}/s", f"{len(self.pool.entries)} players"]
        parts.append(f"mean interval {width:.0f} Elo" if np.isfinite(width) else "first meetings")
        left = limits.seconds_left(games, rate, width, time.monotonic() - self._started)
        if left is not None:
            parts.append(f"about {duration(left)} left")
        self._progress.show("arena: " + ", ".join(parts))
