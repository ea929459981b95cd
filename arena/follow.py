"""Checkpoints that a run in training writes while the tournament goes on join it.

Of such a run those join that are kept for good, its milestones; what it will drop again does not.
When the training has ended, the last checkpoint joins as well. Weights are read once and whole, so
that nothing the trainer writes or prunes later touches a player.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache

from ghostgo.arena.pool import Entry, PlayerOptions, Pool, add_checkpoint
from ghostgo.data.run import Run, load_network
from ghostgo.engine.errors import UserError

LOOK_EVERY = 2.0
"""Seconds between two looks at the runs' folders."""
REDRAW_EVERY = 60.0
"""Seconds between two drawings of the report, at least."""


class Follower:
    """Watches the folders of a pool's runs, and puts new checkpoints into the pool."""

    def __init__(
        self,
        pool: Pool,
        runs: Mapping[str, Run],
        options: PlayerOptions,
        redraw: Callable[[], object],
        say: Callable[[str], None],
    ) -> None:
        """`runs` are those that the pool's curves are called by; none: nobody ever joins.

        `redraw` writes the tournament's report. A checkpoint that cannot be read is told by `say`
        and left out.
        """
        self._pool = pool
        self._runs = runs
        self._options = options
        self._redraw = redraw
        self._say = say
        self._next = 0.0
        self._seen = {(point.run, f"{point.step:08d}") for point in pool.points}
        self.training: list[str] = []
        """The runs that another process was writing at the last look."""
        self.joined = 0
        """Players that have joined so far."""
        self._drawn = time.monotonic()
        self._drawn_games = 0

    def look(self) -> list[Entry]:
        """The players that have joined since the last look, if it is time for one."""
        if time.monotonic() < self._next:
            return []
        before = len(self._pool.entries)
        # In this order: what a run writes before it ends is there when it is seen to have ended.
        self.training = [name for name, run in self._runs.items() if run.is_being_written()]
        for name, run in self._runs.items():
            for folder in sorted(run.checkpoint_names()):
                if (name, folder) not in self._seen:
                    self._take(name, run, folder)
        self._next = time.monotonic() + LOOK_EVERY
        joined = self._pool.entries[before:]
        self.joined += len(joined)
        return joined

    def wants_report(self, games: int, patience: float) -> bool:
        """Whether to draw it after so many `games`: runs are followed, and it is `patience` s old."""
        followed = self.joined or self.training
        old = time.monotonic() - self._drawn >= patience
        return bool(followed) and old and games > self._drawn_games

    def report(self, games: int) -> None:
        """Draw it, after so many `games`."""
        self._redraw()
        self._drawn, self._drawn_games = time.monotonic(), games

    def _take(self, name: str, run: Run, folder: str) -> None:
        """Put a checkpoint into the pool, at each rung of a ladder, if the run will keep it."""
        try:
            info = run.checkpoint(folder)
            if info is None:
                return
            # Of the others the newest alone counts: the one before it is there in case that is damaged.
            passing = name in self.training or folder != max(run.checkpoint_names())
            if passing and not info.meta.get("milestone", True):
                return
            load = cache(load_network)  # a checkpoint's rungs share its weights
            for rung in self._options.ladder or (None,):
                add_checkpoint(self._pool, name, info, rung, self._options, load)
        except UserError as error:
            self._say(f"{error}; left out")
        self._seen.add((name, folder))
