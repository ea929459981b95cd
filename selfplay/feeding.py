"""Batches for the learner: the next one is made while the present one is trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from ghostgo.data.batch import Batch
from ghostgo.engine.games.game import Game

AHEAD = True
"""Whether batches are made ahead; they are the same without."""


class Drawn(NamedTuple):
    """What a step trains on."""

    batch: Batch
    game: Game
    """The board that it is of."""


class Feeder:
    """Draws batches by step in a thread of its own, one ahead. A context manager.

    What is drawn depends on the step alone, so that it is the same with and without the thread. The
    data must lie still as long as the feeder is open.
    """

    def __init__(self, draw: Callable[[int], Drawn]) -> None:
        """`draw` makes the batch of a step; it is never called twice at once."""
        self._draw = draw
        self._pool = ThreadPoolExecutor(1, "feeder") if AHEAD else None
        self._next: tuple[int, Future[Drawn]] | None = None

    def take(self, step: int, last: bool = False) -> Drawn:
        """The batch of `step`; unless it is the `last`, that of the step after it is begun.

        Raises whatever drawing it raised.
        """
        if self._pool is None:
            return self._draw(step)
        if self._next is None or self._next[0] != step:
            self._next = step, self._pool.submit(self._draw, step)
        drawn = self._next[1].result()
        self._next = None if last else (step + 1, self._pool.submit(self._draw, step + 1))
        return drawn

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
