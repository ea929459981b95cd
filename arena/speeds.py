"""How long an evaluation takes on this machine, measured once for each kind of network.

It turns a budget of seconds into visits, so that players at equal seconds are players of so many
visits each: their games depend on the seed as all others do, and a checkpoint is not stronger for
having been measured while the machine was quiet. What was measured is kept beside the ledger, and a
tournament that goes on uses it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ghostgo.arena.match import one_torch_thread
from ghostgo.arena.players import NetPlayer
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

SPEEDS = "speeds.json"
ROWS = 64
"""Games searched at once."""
VISITS = 32
TIMES = 3
"""Searches, of which the fastest counts: whatever else the machine did only slows one down."""


class Speeds:
    """Seconds an evaluation by kind of network, on one core among many games."""

    def __init__(self, path: Path | None = None) -> None:
        """What is in the file `path`, if there is one. Raises UserError if it is damaged."""
        self._path = path
        self._kept = self._read()
        self._found = dict(self._kept)

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

    def seconds(self, kind: str, game: Game, make: Callable[[int], NetPlayer]) -> float:
        """Seconds that an evaluation takes a network of such a `kind`.

        Unless that is known, the player that `make` gives for so many visits is timed.
        """
        if kind not in self._found:
            player = make(VISITS)
            with ThreadPoolExecutor(1, initializer=one_torch_thread) as thread:
                self._found[kind] = thread.submit(_measure, player, game).result()
            player.close()
        return self._found[kind]

    def save(self) -> None:
        """Write what has been measured; what the file has by now stays as it is."""
        if self._path is not None and self._found != self._kept:
            self._found |= self._read()
            replace_file(self._path, (json.dumps(self._found, indent=1) + "\n").encode())
            self._kept = dict(self._found)


def _measure(player: NetPlayer, game: Game) -> float:
    states, numbers = game.new_states(ROWS), list(range(ROWS))
    player.choose(states, numbers)  # compiles
    each = []
    for _ in range(TIMES):
        before, start = player.evaluations, time.perf_counter()
        player.choose(states, numbers)
        each.append((time.perf_counter() - start) / (player.evaluations - before))
    return min(each)
