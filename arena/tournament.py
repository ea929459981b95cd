"""The tournament: choose pairs, play them, fit, and report; stopped and started again, it goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.follow import REDRAW_EVERY, Follower
from ghostgo.arena.forfeits import Forfeits
from ghostgo.arena.league import League
from ghostgo.arena.limits import Limits
from ghostgo.arena.match import FinishedPair, Match, PairTask
from ghostgo.arena.openings import Openings, Reference
from ghostgo.arena.pace import Pace
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import Entry, PlayerOptions, Pool
from ghostgo.arena.progress import Progress, outlook, state_line
from ghostgo.arena.ratings import Ratings
from ghostgo.arena.results import (
    LEDGER,
    PairResult,
    ResultsFile,
    pair_id,
    read_results,
)
from ghostgo.arena.rules import rules_not_learnt, settle_rules
from ghostgo.arena.schedule import Member, next_pairs
from ghostgo.arena.stop import Stop
from ghostgo.arena.width import Reach, mean_width
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError

OPENING_OFFSETS = 256
MOST_PARALLEL = 256
"""Games in flight, at most, unless told otherwise."""
OPENINGS = "openings.jsonl"
IDLE = 0.2
"""Seconds slept at a time while there is nothing to play."""


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
        self.rules = settle_rules(pool.game, rules, [entry.player for entry in pool.entries])
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
        self._before = self._counted = 0
        self._lost = False
        self._match: Match
        self._members = [Member(entry.run, entry.player.concurrent == 1) for entry in pool.entries]
        self._flying: dict[str, _Flight] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._unfitted = 0
        self._forfeits = Forfeits(len(names))
        self._pair_seconds = 0.0
        self._reach = Reach()
        self._started = started
        self._progress = Progress()
        self._follower = Follower(pool, {}, PlayerOptions(), lambda: None, self._progress.say)

    def follow(
        self, runs: Mapping[str, Run], options: PlayerOptions, redraw: Callable[[], object]
    ) -> None:
        """Let new checkpoints of `runs` join; `redraw` then writes the report now and again."""
        self._follower = Follower(self.pool, runs, options, redraw, self._progress.say)

    def read(self) -> None:
        """What was played before, and from which openings; raises UserError if it does not fit."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size == self._size_read:
            return
        self._size_read = size
        self._rate(read_results(self.path))
        self._openings = Openings(
            self.pool.game,
            self.seed,
            self.rules,
            self._reference(),
            self.path.with_name(OPENINGS),
        )

    def warn_of_other_rules(self, run: Run) -> None:
        """Say so if `run` has learnt by rules that are not those of this tournament."""
        other = rules_not_learnt(run, self.rules)
        if other:
            asked = " ".join(f"--rule {name}={str(value).lower()}" for name, value in other.items())
            mine = ", ".join(f"{name} {self.rules[name]}" for name in other)
            self._progress.say(
                f"{run.name} learnt by other rules than this arena's {mine}: {asked}"
            )

    def _rate(self, results: Iterable[PairResult]) -> None:
        """Make the league of the present pool and `results`."""
        infos = [entry.info for entry in self.pool.entries]
        self.league = League(self.pool.game, self.rules, infos, len(infos))
        self.league.extend(results)
        self.ratings = self.league.fit(self._anchor)

    def _reference(self) -> Reference | None:
        """The judge of openings: the checkpoint that has cost most, else the first other network."""
        points = sorted(self.pool.points, key=lambda point: (point.totals.flops, point.entry))
        if points and points[-1].totals.flops:
            entry = self.pool.entries[points[-1].entry]
        else:  # nobody in the runs has learnt anything yet
            others = [entry for entry in self.pool.entries if entry.run is None]
            nets = [entry for entry in others if isinstance(entry.player, NetPlayer)]
            if not nets:
                return None
            entry = nets[0]
        player = entry.player
        assert isinstance(player, NetPlayer)
        return Reference(
            entry.info.settings["sha256"],
            lambda states: self._match.in_thread(player.judge, states),
        )

    def play(self, limits: Limits, workers: int, stop: Stop) -> None:
        """Play until a limit is reached, or `stop` is asked for."""
        if len(self.pool.entries) < 2:
            return
        players = [entry.player for entry in self.pool.entries]
        game, capacity = self.pool.game, self._parallel or MOST_PARALLEL
        self._match = Match(game, players, capacity, self.rules, workers, stop)
        self._pace = Pace(capacity, game.points, limits.minutes)
        self._before, self._counted = len(self.league.rows), self._games()
        try:
            with ResultsFile(self.path) as ledger:
                limits = self._take_in(limits)
                if not self._over(limits):
                    self._warm_up(self.pool.entries)
                self._begun = time.monotonic()
                while not self._over(limits):
                    stop.check()
                    limits = self._take_in(limits)
                    if not self._step(limits, ledger):
                        break
        except KeyboardInterrupt:
            self._progress.say("stopped; the same command goes on from here")
        finally:
            if stop.asked:  # a GTP engine may think for long yet
                self.pool.close()
            self._match.close()
            self._progress.close()
        self._refit(force=True)

    def _step(self, limits: Limits, ledger: ResultsFile) -> bool:
        """Ask everyone for a move, or wait; False if there is nothing left to play."""
        added = self._top_up(limits)
        if self._match.in_flight:
            for finished in self._match.sweep():
                self._record(ledger, finished)
            self._refit()
            self._draw(REDRAW_EVERY)
            self._show(limits)
        elif self._waits(limits):
            self._idle()
        else:
            if not added:
                self._progress.say("this is the end: no pairing is left that could tell more")
            return False
        return True

    def _take_in(self, limits: Limits) -> Limits:
        """Admit what has joined the pool; the limits of the pool as it is then."""
        joined = self._follower.look()
        if not joined:
            return limits
        self._lost = False
        # First of all: whatever interrupts the rest, the report needs a league of this pool.
        self._rate(list(self.league.pairs.values()))
        self._unfitted = 0
        for entry in joined:
            self._match.admit(entry.player)
            self._members.append(Member(entry.run))
            self._forfeits.admit()
            self._progress.say(f"{entry.info.name} joins")
        self._warm_up(joined)
        return limits.for_players(len(self.pool.entries))

    def _waits(self, limits: Limits) -> bool:
        """Whether what the runs in training write next is waited for."""
        return limits.by_players and bool(self._follower.training)

    def _idle(self) -> None:
        """Wait a little, the report drawn, all games of the present pool being played."""
        self._refit(force=True)
        self._draw(0.0)
        runs = " and ".join(self._follower.training)
        state = f"{self._games()} games, {len(self.pool.entries)} players"
        self._progress.show(f"arena: {state}, waiting for the next checkpoint of {runs}")
        time.sleep(IDLE)
        self._begun += IDLE  # what was slept tells nothing of the speed

    def _draw(self, patience: float) -> None:
        """Write the report anew if runs are followed and the last one is so many seconds old."""
        if self._follower.wants_report(len(self.league.rows), patience):
            self._refit(force=True)
            self._follower.report(len(self.league.rows))

    def _warm_up(self, entries: Sequence[Entry]) -> None:
        """One move by each player who keeps no game, so that compiling is not charged to any."""
        state = self.pool.game.new_states(1, self.rules)
        for entry in entries:
            if entry.player.concurrent > 1:
                self._match.in_thread(entry.player.choose, state, [0])

    def _games(self) -> int:
        """Games played so far between players of the present pool."""
        return self.league.own

    def _late(self, limits: Limits) -> bool:
        # A start that ended nothing would leave the next one just as far.
        progress = len(self.league.rows) > self._before
        spent = time.monotonic() - self._started
        return progress and limits.minutes is not None and spent >= limits.minutes * 60

    def _over(self, limits: Limits) -> bool:
        if self._late(limits):
            return True
        self._lost = self._lost or self._out_of_reach(limits)
        done = self._narrow(limits) or self._lost or self._games() >= limits.games
        return done and not self._match.in_flight and not self._waits(limits)

    def _narrow(self, limits: Limits) -> bool:
        return limits.width is not None and self._mean_width() <= limits.width

    def _mean_width(self) -> float:
        return mean_width(self.ratings, self.league.pool_size)

    def _out_of_reach(self, limits: Limits) -> bool:
        """Whether no number of games would narrow the pool to the width asked for; says so."""
        if limits.width is None or self._narrow(limits):
            return False
        names = {i: self.pool.entries[i].info.name for i in self._forfeits.idle()}
        why = self._reach.lost(limits.width, self.ratings, self.league, names)
        if why:
            self._progress.say(why)
        return bool(why)

    def _top_up(self, limits: Limits) -> bool:
        """Add pairs while there is room, time and budget; False if there is none to be added."""
        parallel = self._parallel or self._pace.games(
            self._match.plies, time.monotonic() - self._begun
        )
        parallel = max(parallel, 2)  # both games of a pair; the match knows how many at a time
        room = (parallel - self._match.in_flight) // 2
        budget = (limits.games - self._games() + 1) // 2 - len(self._flying)
        late = (
            limits.minutes is not None
            and time.monotonic() - self._started + self._pair_seconds > limits.minutes * 60
        )
        hungry = self._match.in_flight == 0 or room >= parallel // 16
        late = late and (self._match.in_flight > 0 or len(self.league.rows) > self._before)
        if min(room, budget) < 1 or late or self._narrow(limits) or self._lost or not hungry:
            return True
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
        return bool(pairs)

    def _active(self) -> tuple[list[Member], list[int]]:
        """The players still paired, and their numbers in the pool."""
        idle = self._forfeits.idle()
        numbers = [i for i in range(len(self._members)) if i not in idle]
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
        k = self._next.get(who, 0)
        while True:
            pair = pair_id(game.name, game.version, self.rules, self.seed, who, k)
            if pair not in self.league.pairs and pair not in self._flying:
                break
            k += 1
        self._next[who] = k + 1
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
        names = (result.a.name, result.b.name)
        for game in games:
            self._pace.finished(len(game.moves) - len(task.opening))
            for line in self._forfeits.record((task.a, task.b), names, game):
                self._progress.say(line)

    def _refit(self, force: bool = False) -> None:
        """Fit again once enough new pairs are in."""
        enough = max(4, len(self.league.pairs) // 50)
        if self._unfitted >= enough or (self._unfitted and (force or not self._match.in_flight)):
            self.ratings = self.league.fit(self._anchor)
            self._unfitted = 0

    def _show(self, limits: Limits) -> None:
        games = self._games()
        rate = (games - self._counted) / max(time.monotonic() - self._begun, 1e-9)
        width = self._mean_width()
        left = limits.seconds_left(games, rate, width, time.monotonic() - self._started)
        players, follower = len(self.pool.entries), self._follower
        self._progress.show(
            state_line(games, len(self.league.rows) - games, rate, players, follower.joined)
            + outlook(follower.training, width, left)
        )
