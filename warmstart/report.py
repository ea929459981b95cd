"""What an import of human records found, kept and refused."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ghostgo.data.players import frequencies
from ghostgo.data.records import AREA, TERRITORY, UNKNOWN, GameTable
from ghostgo.data.sgf_values import Result

KEPT = "kept"
MAX_RULE_NAMES = 100
"""Different texts of the RU property that are counted apart; further ones are `other`."""
MAX_FILES_SHOWN = 20
MAX_SAVED = 100
"""Files, and paths, that a stored report tells apart; the smaller ones are summed up beyond that."""
OTHERS = "all others"
MOVES = (0, 5, 10, 20, 30, 40, 60, 80, 120, 200)
"""Where the bands of move numbers begin; moves are counted from 0."""
LAST_PLIES = 3
"""Of a resigned game, in which whose move it is nearly tells who wins."""
_COUNTING = {UNKNOWN: "unknown", AREA: "area", TERRITORY: "territory"}


def rank_name(code: int) -> str:
    """A rank as people write it, from its code: `?`, `30k` ... `1k`, `1d` ... `9d`."""
    if code == 0:
        return "?"
    return f"{31 - code}k" if code <= 30 else f"{code - 30}d"


def move_band(ply: int) -> str:
    """The band of `MOVES` that ply 0, 1, ... is in, by where it begins."""
    return str(MOVES[bisect_right(MOVES, ply) - 1])


@dataclass
class ImportReport:
    """Counts of one import. `lines` puts it in words, `as_dict` into JSON-like values."""

    game: str
    read: int = 0
    """Games met; a file or line that holds none counts as one."""
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Games refused, by reason."""
    dropped_at: dict[str, Counter[str]] = field(default_factory=dict)
    """Of those refused for a certain move, by reason: the bands of `MOVES` that it was in."""
    wrong_sizes: Counter[str] = field(default_factory=Counter)
    """Games refused for their board's size, by it, such as `19x19`."""
    files: dict[str, Counter[str]] = field(default_factory=dict)
    """For each file on disk: games `kept`, and refused by reason."""
    sets: dict[str, Counter[str]] = field(default_factory=dict)
    """The same for each path that was asked for, by its name."""
    useless: dict[str, str] = field(default_factory=dict)
    """Paths without a single game of use, by name, and why."""
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
    years: Counter[int] = field(default_factory=Counter)
    """Kept games by the year they were played in, 0 unknown."""
    counting: Counter[str] = field(default_factory=Counter)
    """Kept games by how points are counted: `area`, `territory`, `unknown`."""
    players: int = 0
    """Different players of kept games whose names are known."""
    player_shares: list[float] = field(default_factory=list)
    """The share of kept games that each of the most frequent players is in, falling."""
    shares_before: list[float] = field(default_factory=list)
    """The same before games of too frequent players were left out; empty if that was not asked for."""
    setups: int = 0
    """Kept games that start from stones on the board."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Moves a kept game, passes included: `min`, `median`, `max`, `total`."""
    seconds: float = 0.0
    """Wall-clock time of the import."""

    def drop(
        self, source: str, reason: str, ply: int | None = None, of: str = "", size: str = ""
    ) -> None:
        """Count a game of the file `source`, met in the path `of`, as refused for its move `ply` or
        its board's `size`."""
        self.read += 1
        if size:
            few = size in self.wrong_sizes or len(self.wrong_sizes) < MAX_SAVED
            self.wrong_sizes[size if few else OTHERS] += 1
        self.dropped[reason] += 1
        if ply is not None:
            self.dropped_at.setdefault(reason, Counter())[move_band(ply)] += 1
        self._place(source, of, reason)

    def _place(self, source: str, of: str, outcome: str) -> None:
        self.files.setdefault(source, Counter())[outcome] += 1
        if of:
            self.sets.setdefault(of, Counter())[outcome] += 1

    def keep(
        self,
        source: str,
        result: Result,
        ranks: tuple[int, int],
        komi: float,
        rules: str,
        setup: bool,
        of: str = "",
    ) -> None:
        """Count a game of the file `source`, met in the path `of`, as kept; komi in points, nan unknown."""
        self.read += 1
        self.kept += 1
        self._place(source, of, KEPT)
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

    def summarise(self, table: GameTable) -> None:
        """What the table of all kept games tells of their lengths, years, counting and players."""
        lengths = table.lengths
        if table.years is not None:
            self.years = Counter(table.years.tolist())
        if table.counting is not None:
            self.counting = Counter(_COUNTING[code] for code in table.counting.tolist())
        if table.players is not None:
            self.players, self.player_shares = frequencies(table.players)
        if len(lengths):
            self.lengths = {
                "min": int(lengths.min()),
                "median": int(np.median(lengths)),
                "max": int(lengths.max()),
                "total": int(lengths.sum()),
            }

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-like values; of files and paths the largest `MAX_SAVED`."""
        return {
            "game": self.game,
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "dropped_at": {reason: dict(bands) for reason, bands in self.dropped_at.items()},
            "wrong_sizes": dict(self.wrong_sizes),
            "files": _largest(self.files),
            "sets": _largest(self.sets),
            "useless": dict(list(self.useless.items())[:MAX_SAVED]),
            "winners": dict(self.winners),
            "endings": dict(self.endings),
            "ranks": {rank_name(code): n for code, n in sorted(self.ranks.items())},
            "komi": dict(self.komi),
            "rules": dict(self.rules),
            "years": {str(year): n for year, n in sorted(self.years.items())},
            "counting": dict(self.counting),
            "players": self.players,
            "player_shares": list(self.player_shares),
            "shares_before": list(self.shares_before),
            "setups": self.setups,
            "lengths": dict(self.lengths),
        }

    def lines(self) -> list[str]:
        """The report as text, a fact a line."""
        rate = f", {self.read / self.seconds:,.0f} a second" if self.seconds > 0 else ""
        lines = [f"{self.game}: {self.kept:,} games kept of {self.read:,} read{rate}"]
        if self.dropped:
            lines.append(f"dropped   {_counts(self.dropped)}")
        if self.wrong_sizes:
            lines.append(f"sizes     of the wrong ones: {_counts(self.wrong_sizes)}")
        for reason, bands in sorted(self.dropped_at.items()):
            at = ", ".join(f"{band}+ {bands[band]:,}" for band in map(str, MOVES) if bands[band])
            lines.append(f"at move   {reason}: {at}")
        useless = list(self.useless.items())
        lines += [f"no use    {name}: {why}" for name, why in useless[:MAX_FILES_SHOWN]]
        if len(useless) > MAX_FILES_SHOWN:
            lines.append(f"no use    {len(useless) - MAX_FILES_SHOWN} others")
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
            *self._people(),
        ]
        if self.setups:
            lines.append(f"handicap  {self.setups:,} games start from stones on the board")
        parts = self.sets if len(self.sets) > 1 else self.files
        if 1 < len(parts) <= MAX_FILES_SHOWN:
            lines += [f"{name}: {_counts(counts)}" for name, counts in sorted(parts.items())]
        return lines

    def _people(self) -> list[str]:
        """Years, counting and players in words; nothing of what an older report does not tell."""
        lines = []
        if known := sorted(self.years.keys() - {0}):
            years = Counter({str(year) if year else "unknown": n for year, n in self.years.items()})
            lines.append(f"years     {known[0]} to {known[-1]}: {_counts(years)}")
        if self.counting:
            lines.append(f"counting  {_counts(self.counting)}")
        if self.players:
            lines.append(
                f"players   {self.players:,}, the most frequent in {_percent(self.player_shares)}"
            )
        if self.shares_before:
            lines.append(f"before    the most frequent were in {_percent(self.shares_before)}")
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


def _percent(shares: list[float]) -> str:
    return f"{', '.join(f'{100 * share:.1f}' for share in shares)} % of the games"


def _largest(counts: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """The counts of at most `MAX_SAVED` names: the largest, and the sum of all others."""
    order = sorted(counts, key=lambda name: -counts[name].total())
    if len(order) <= MAX_SAVED:
        return {name: dict(counts[name]) for name in order}
    rest = sum((counts[name] for name in order[MAX_SAVED - 1 :]), Counter[str]())
    return {name: dict(counts[name]) for name in order[: MAX_SAVED - 1]} | {OTHERS: dict(rest)}


def _counts(counts: Counter[str], most: int = 8) -> str:
    """`resign 12, score 8, ...`: the commonest first, the rest in one sum."""
    common = counts.most_common()
    shown = [f"{name} {count:,}" for name, count in common[:most]]
    rest = sum(count for _, count in common[most:])
    return ", ".join(shown + ([f"{len(common) - most} others {rest:,}"] if rest else []))
