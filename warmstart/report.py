"""What an import of human records found, kept and refused."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.sgf import Result

KEPT = "kept"
MAX_RULE_NAMES = 100
"""Different texts of the RU property that are counted apart; further ones are `other`."""
MAX_FILES_SHOWN = 20


def rank_name(code: int) -> str:
    """A rank as people write it, from its code: `?`, `30k` ... `1k`, `1d` ... `9d`."""
    if code == 0:
        return "?"
    return f"{31 - code}k" if code <= 30 else f"{code - 30}d"


@dataclass
class ImportReport:
    """Counts of one import. `lines` puts it in words, `as_dict` into JSON-like values."""

    game: str
    read: int = 0
    """Games met; a file or line that holds none counts as one."""
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Games refused, by reason."""
    files: dict[str, Counter[str]] = field(default_factory=dict)
    """For each file on disk: games `kept`, and refused by reason."""
    winners: Counter[str] = field(default_factory=Counter)
    """Kept games by winner: `Black`, `White`, `draw`, `unknown`."""
    endings: Counter[str] = field(default_factory=Counter)
    """Kept games by how they were decided: `score`, `resign`, `time`, ..."""
    ranks: Counter[int] = field(default_factory=Counter)
    """Players of kept games (two a game) by rank code."""
    komi: Counter[str] = field(default_factory=Counter)
    """Kept games by komi, such as `6.5`, or `unknown`."""
    rules: Counter[str] = field(default_factory=Counter)
    """Kept games by what the RU property says, or `not stated`."""
    setups: int = 0
    """Kept games that start from stones on the board."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Moves a kept game, passes included: `min`, `median`, `max`, `total`."""
    seconds: float = 0.0
    """Wall-clock time of the import."""

    def drop(self, source: str, reason: str) -> None:
        """Count a game of the file `source` as refused."""
        self.read += 1
        self.dropped[reason] += 1
        self.files.setdefault(source, Counter())[reason] += 1

    def keep(
        self,
        source: str,
        result: Result,
        ranks: tuple[int, int],
        komi: float,
        rules: str,
        setup: bool,
    ) -> None:
        """Count a game of the file `source` as kept; komi in points, nan unknown."""
        self.read += 1
        self.kept += 1
        self.files.setdefault(source, Counter())[KEPT] += 1
        winner = {1.0: "Black", -1.0: "White", 0.0: "draw"}
        self.winners[winner.get(result.winner, "unknown")] += 1
        self.endings[result.how] += 1
        self.ranks.update(ranks)
        self.komi["unknown" if math.isnan(komi) else f"{komi:g}"] += 1
        name = "".join(c if c.isprintable() else "?" for c in rules.strip()[:40]) or "not stated"
        if name not in self.rules and len(self.rules) >= MAX_RULE_NAMES:
            name = "other"
        self.rules[name] += 1
        self.setups += setup

    def set_lengths(self, lengths: NDArray[np.int64]) -> None:
        """Summarise the kept games' lengths (G,)."""
        if len(lengths):
            self.lengths = {
                "min": int(lengths.min()),
                "median": int(np.median(lengths)),
                "max": int(lengths.max()),
                "total": int(lengths.sum()),
            }

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-like values, without the account by file (its size has no bound)."""
        return {
            "game": self.game,
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "winners": dict(self.winners),
            "endings": dict(self.endings),
            "ranks": {rank_name(code): n for code, n in sorted(self.ranks.items())},
            "komi": dict(self.komi),
            "rules": dict(self.rules),
            "setups": self.setups,
            "lengths": dict(self.lengths),
        }

    def lines(self) -> list[str]:
        """The report as text, a fact a line."""
        rate = f", {self.read / self.seconds:,.0f} a second" if self.seconds > 0 else ""
        lines = [f"{self.game}: {self.kept:,} games kept of {self.read:,} read{rate}"]
        if self.dropped:
            lines.append(f"dropped   {_counts(self.dropped)}")
        if not self.kept:
            return lines
        moves = self.lengths
        lines += [
            f"positions {moves['total']:,}",
            f"moves     {moves['min']} to {moves['max']} a game, median {moves['median']}",
            f"winners   {_counts(self.winners)}",
            f"decided   {_counts(self.endings)}",
            f"komi      {_counts(self.komi)}",
            f"rules     {_counts(self.rules)}",
            f"ranks     {self._rank_bands()}",
        ]
        if self.setups:
            lines.append(f"handicap  {self.setups:,} games start from stones on the board")
        if 1 < len(self.files) <= MAX_FILES_SHOWN:
            lines += [f"{name}: {_counts(counts)}" for name, counts in sorted(self.files.items())]
        return lines

    def _rank_bands(self) -> str:
        bands: Counter[str] = Counter()
        for code, count in sorted(self.ranks.items(), reverse=True):
            band = "unknown"
            if code:
                first = 31 if code > 30 else (code - 1) // 10 * 10 + 1
                last = min(first + 9, 39)
                band = f"{rank_name(first)} to {rank_name(last)}"
            bands[band] += count
        return ", ".join(f"{band} {count:,}" for band, count in bands.items())


def _counts(counts: Counter[str], most: int = 8) -> str:
    """`resign 12, score 8, ...`: the commonest first, the rest in one sum."""
    common = counts.most_common()
    shown = [f"{name} {count:,}" for name, count in common[:most]]
    rest = sum(count for _, count in common[most:])
    return ", ".join(shown + ([f"{len(common) - most} others {rest:,}"] if rest else []))
