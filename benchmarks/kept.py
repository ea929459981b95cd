"""What a benchmark has found so far, on the disk: a stop loses nothing, the same call goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostgo.arena.results import LineFile

FORMAT = 1


class Kept:
    """Rows of one benchmark with one set of arguments, a line of JSON each."""

    def __init__(self, path: Path | None, of: Mapping[str, Any]) -> None:
        """The rows that stand in the file `path` (None: nothing is kept). A torn last line is cut off.

        Raises SystemExit if a line is damaged, or is not `of` what is asked for.
        """
        self.rows: list[dict[str, Any]] = []
        self._of = json.loads(json.dumps(of))
        self._file = None
        if path is None:
            return
        self._file = LineFile(path)
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            try:
                row = json.loads(line)
                known = row.pop("format") == FORMAT
                given = row.pop("of")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise SystemExit(f"{path}: line {number} is damaged: take it out") from None
            if not known or given != self._of:
                raise SystemExit(f"{path}: line {number} is of another {given}; give another file")
            self.rows.append(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row; it is on the disk when this returns."""
        self.rows.append(json.loads(json.dumps(row)))
        if self._file:
            self._file.append({"format": FORMAT, "of": self._of, **row})


def pair_interval(points: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of pairs' shares, each 0 to 1: Wilson's, by the pairs' spread.

    It has as many trials as would spread like that, but at least one a pair and at most its two
    games; so pairs that all agree leave it a width.
    """
    n = len(points)
    if n < 2:
        return wilson(sum(points), n)
    share, spread = float(np.mean(points)), float(np.var(points, ddof=1))
    most = n if share in (0.0, 1.0) else 2 * n
    trials = min(max(share * (1 - share) * n / spread, n), most) if spread else most
    return wilson(share * trials, trials)


def wilson(points: float, games: float) -> tuple[float, float]:
    """The 95 % interval of a share, `points` of `games` (Wilson 1927); 0 to 1 without games."""
    if not games:
        return 0.0, 1.0
    z, share = 1.96, points / games
    middle = (share + z * z / (2 * games)) / (1 + z * z / games)
    half = z / (1 + z * z / games) * (share * (1 - share) / games + (z / games / 2) ** 2) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
