"""How long an evaluation takes on this machine, measured once for each kind of network.

It turns a budget of seconds into visits: as many as one core makes in that time for each of a full
batch of games. So players at equal seconds are players of so many visits each: their games depend
on the seed as all others do, and a checkpoint is not stronger for having been measured while the
machine was quiet. What was measured is kept beside the ledger, and a tournament that goes on uses
it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ghostgo.arena.effort import Effort
from ghostgo.arena.match import one_torch_thread
from ghostgo.arena.players import NetPlayer, search_rows
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

SPEEDS = "speeds.json"
VISITS = 32
TIMES = 3
"""Searches, of which the fastest counts: whatever else the machine did only slows one down."""
Make = Callable[[int, int], NetPlayer]
"""The player of so many visits that searches so many games at once."""


class Speeds:
    """Seconds an evaluation by kind of network, on one core among many games."""

    def __init__(self, path: Path | None = None) -> None:
        """`path` is the file that keeps them; it is read when a speed is asked for."""
        self._path = path
        self._found: dict[str, float] | None = None

    def _read(self) -> dict[str, float]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            found = {str(k): float(v) for k, v in json.loads(self._path.read_text()).items()}
        except (ValueError, AttributeError, TypeError):
            found = {"": 0.0}
        if not all(seconds > 0 for seconds in found.values()):
            raise UserError(
                f"{self._path} is damaged: it should say how many seconds an evaluation takes; "
                "without it they are measured again"
            )
        return found

    def seconds(self, kind: str, rows: int, device: str, game: Game, make: Make) -> float:
        """Seconds of one core for an evaluation of such a `kind` of network, `rows` at a time.

        On a GPU seconds by the clock. Unless that is known, the player that `make` gives is timed.
        Raises UserError if the file is damaged.
        """
        if self._found is None:
            self._found = self._read()
        kind = f"{kind} {device} {rows}"
        if kind not in self._found:
            player = make(VISITS, rows)
            clock = time.thread_time if device == "cpu" else time.perf_counter
            with ThreadPoolExecutor(1, initializer=one_torch_thread) as thread:
                self._found[kind] = thread.submit(measure, player, game, rows, clock).result()
            player.close()
        return self._found[kind]

    def visits(
        self,
        effort: Effort,
        player: str,
        images: tuple[int, int],
        priced: Callable[[int], float],
    ) -> int:
        """Visits that `effort`'s seconds pay for, where `priced` says what an evaluation costs.

        Long searches run in small batches, whose evaluations cost more, so the price is asked for
        as many rows as the answer will be searched with. `images` are as `visits_at` takes them.
        Raises UserError as that does.
        """
        visits = effort.visits_at(priced(search_rows(1)), player, *images)
        rows = search_rows(visits)
        if rows < search_rows(1):
            visits = effort.visits_at(priced(rows), player, *images)
        return visits

    def save(self) -> None:
        """Write what has been measured; what the file has by now stays as it is."""
        if self._path is None or not self._found:
            return
        kept = self._read()
        if self._found.keys() - kept.keys():
            self._found |= kept
            replace_file(self._path, (json.dumps(self._found, indent=1) + "\n").encode())


def measure(player: NetPlayer, game: Game, rows: int, clock: Callable[[], float]) -> float:
    """Seconds by `clock` for each of the `player`'s evaluations while it searches `rows` games."""
    states, numbers = game.new_states(rows), list(range(rows))
    player.choose(states, numbers)  # compiles
    each = []
    for _ in range(TIMES):
        before, start = player.evaluations, clock()
        player.choose(states, numbers)
        each.append((clock() - start) / (player.evaluations - before))
    return min(each)
