"""What a run has spent: an append-only file of amounts, and their totals (the x-axis).

One JSON object a line: `format`, `time` (seconds since 1970), `phase`, `of` (a shard's number,
or empty) and amounts of the fields of `Totals`. FLOPs are charged by work done: one forward pass
times the network calls, three forward passes a training sample, and what a prior is asked while a
run holds on to it; cache hits are free. What only measures is never charged: rating games, forecasts
of held-out games and of new ones (`ghostgo.selfplay.bits`).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ghostgo.engine.errors import UserError

FORMAT = 1
TRAIN_FORWARDS = 3.0
"""A training step costs this many forward passes a sample (forward, and twice that backward)."""

Phase = Literal["imitation", "selfplay", "training"]


@dataclass(frozen=True)
class Totals:
    """Amounts spent."""

    imitation_flops: float = 0.0
    """Supervised training on records."""
    selfplay_flops: float = 0.0
    """Network calls in self-play searches."""
    training_flops: float = 0.0
    """Training on self-play."""
    evaluations: int = 0
    """Positions that the network judged in self-play."""
    cached: int = 0
    """Positions in self-play whose judgement was remembered: network calls saved."""
    positions: int = 0
    """Self-play positions stored."""
    samples: int = 0
    """Positions trained on, repeats counted."""
    games: int = 0
    """Self-play games stored."""
    seconds: float = 0.0
    """Wall-clock seconds at work."""
    core_seconds: float | None = 0.0
    """CPU seconds of the process at work, all threads; None where some work was not measured."""

    @property
    def flops(self) -> float:
        """All FLOPs charged: imitation, self-play and training."""
        return self.imitation_flops + self.selfplay_flops + self.training_flops

    def plus(self, amounts: Mapping[str, float | None]) -> Totals:
        """These totals with `amounts` added; `seconds` without `core_seconds` make those unknown."""
        sums = {
            name: getattr(self, name) + n for name, n in amounts.items() if name != "core_seconds"
        }
        cores = amounts.get("core_seconds")
        if cores is None:  # before they were measured
            known = None if amounts.get("seconds") else self.core_seconds
        else:
            known = None if self.core_seconds is None else self.core_seconds + cores
        return replace(self, **sums, core_seconds=known)

    def to_dict(self) -> dict[str, float | None]:
        """Plain values, with the sum `flops`."""
        return {**asdict(self), "flops": self.flops}

    @classmethod
    def from_dict(cls, values: Mapping[str, float | None]) -> Totals:
        """The inverse of `to_dict`; amounts that this version does not know are left out."""
        return cls().plus({name: n for name, n in values.items() if name in _AMOUNTS})


_AMOUNTS = {field.name for field in fields(Totals)}


class Timer:
    """What work has taken since the timer was made."""

    def __init__(self) -> None:
        self._wall, self._cores = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds."""
        return time.perf_counter() - self._wall

    def amounts(self) -> dict[str, float]:
        """`seconds` and `core_seconds` (of all the process's threads), as a ledger row takes them."""
        cores = time.process_time() - self._cores
        return {"seconds": round(self.seconds, 3), "core_seconds": round(cores, 3)}


class Ledger:
    """The ledger file of one run, opened for appending; `totals` is always the sum of its rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.totals = Totals()
        if path.exists():
            self._repair()
            for row in read_ledger(path):
                self.totals = self.totals.plus({k: v for k, v in row.items() if k in _AMOUNTS})

    def _repair(self) -> None:
        """Cut a last line that a kill left unfinished; it was never reported."""
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)

    def append(self, phase: Phase, of: str = "", **amounts: float | None) -> None:
        """Add one row and force it to disk before the totals show it; `of` names what was made.

        Raises ValueError for an amount that `Totals` does not have, and UserError, with the file
        as it was, if it cannot be written.
        """
        unknown = set(amounts) - _AMOUNTS
        if unknown:
            raise ValueError(f"the ledger has no amount {min(unknown)!r}")
        row = {"format": FORMAT, "time": round(time.time(), 3), "phase": phase, "of": of, **amounts}
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.truncate(self.path, size)
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from None
        self.totals = self.totals.plus(amounts)


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """All complete rows of a ledger file, oldest first, none if it is not there yet.

    A torn last line is left out. Raises UserError naming the line if one in the middle is damaged
    or from a newer format.
    """
    rows = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line or number == len(lines):
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {number} is not a ledger row")
        if row.get("format", 0) > FORMAT:
            raise UserError(
                f"{path}: line {number} has format {row['format']}, this ghostgo reads up to "
                f"{FORMAT}; use a newer ghostgo"
            )
        rows.append(row)
    return rows
