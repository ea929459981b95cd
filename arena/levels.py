"""Levels of play in Go, 20k to 9d: of the players that the arena has rated, the nearest.

Ranks are nominal. Whoever has the rating of the reference, GNU Go at its level 10, is called
`REFERENCE_RANK`, and a rank is `ELO_A_RANK` (docs/decisions/0007-levels.md has the reasons). The
table, `levels.json`, is written by `benchmarks/levels.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ghostgo.engine.errors import UserError
from ghostgo.engine.network import rank_code

FORMAT = 1
TABLE = Path(__file__).with_name("levels.json")
REFERENCE_RANK = "8k"
"""What the reference's rating is called: a convention, not a measurement."""
ELO_A_RANK = 100.0
"""Elo between two neighbouring ranks: a convention as well."""
WEAKEST, STRONGEST = "20k", "9d"
KYU = 31
"""A kyu rank's code and its number add up to this; a dan rank's are that far apart, less one."""
ENGINE = "gtp:"


@dataclass(frozen=True)
class Rated:
    """A player and its rating."""

    spec: str
    """As the arena writes players, networks of those in the box."""
    elo: float
    low: float
    high: float
    """Its 95 % interval, in Elo above the random player."""
    games: int
    sha256: str | None = None
    """Of a network's weights."""


@dataclass(frozen=True)
class Levels:
    """What was rated, and how."""

    date: str
    command: str
    game: str
    rules: Mapping[str, Any]
    reference: Rated
    players: tuple[Rated, ...]
    """Those that a level can be, weakest first."""

    def elo_of(self, rank: str) -> float:
        """The Elo that `rank` means here. Raises UserError for what is no rank."""
        return self.reference.elo + ELO_A_RANK * (rank_code(rank) - rank_code(REFERENCE_RANK))

    def rank_of(self, elo: float) -> str:
        """The nearest rank to `elo`; `below 30k` or `above 9d` where there is none."""
        code = rank_code(REFERENCE_RANK) + round((elo - self.reference.elo) / ELO_A_RANK)
        if code < 1:
            return "below 30k"
        if code < KYU:
            return f"{KYU - code}k"
        return f"{code - KYU + 1}d" if code < KYU + 9 else "above 9d"


@dataclass(frozen=True)
class Level:
    """The player of a level."""

    spec: str
    elo: float
    low: float
    high: float
    rank: str
    """The one asked for."""
    words: str
    """Who plays, and its rank by its rating; that it is the strongest (weakest), if more (less) was
    asked for."""


def read_levels(path: Path = TABLE) -> Levels:
    """The table in file `path`, a player's rating a line, weakest first.

    Raises UserError if it is missing or damaged, or has a newer format.
    """
    try:
        row = json.loads(path.read_text())
        version = row.pop("format")
        if version == FORMAT:
            players = sorted((Rated(**each) for each in row.pop("players")), key=lambda r: r.elo)
            reference = Rated(**row.pop("reference"))
            found = Levels(**row, reference=reference, players=tuple(players))
            numbers = [x for r in (reference, *players) for x in (r.elo, r.low, r.high)]
            if not players or not all(map(math.isfinite, numbers)):
                raise ValueError("no players, or a rating that is no number")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is no table of levels; benchmarks/levels.py writes one"
        ) from error
    if version != FORMAT:
        raise UserError(f"{path}: has format {version}, this version reads {FORMAT}")
    return found


def to_json(levels: Levels) -> bytes:
    """The text of the file that `read_levels` reads."""
    rows = {"format": FORMAT, **asdict(levels)}
    return (json.dumps(rows, indent=1) + "\n").encode()


@cache
def _shipped() -> Levels:
    return read_levels()


def level(rank: str, levels: Levels | None = None) -> Level:
    """The player whose rating is nearest to what `rank` means, of the shipped table if None.

    Raises UserError for what is no rank from 20k to 9d.
    """
    levels = levels or _shipped()
    code = rank_code(rank)
    if not rank_code(WEAKEST) <= code <= rank_code(STRONGEST):
        raise UserError(f"level {rank!r} is none of {WEAKEST} to 1k and 1d to {STRONGEST}")
    wanted = levels.elo_of(rank)
    chosen = min(levels.players, key=lambda player: abs(player.elo - wanted))
    own, low, high = (levels.rank_of(x) for x in (chosen.elo, chosen.low, chosen.high))
    rated = f"about {own}, 95 % {low} to {high}: {chosen.spec}"
    short = (wanted - chosen.elo) / ELO_A_RANK  # in ranks; below 0: it is too strong
    if short > 0.5 and chosen is levels.players[-1]:
        words = f"{rank} is beyond it; the strongest here is {rated}"
    elif short < -0.5 and chosen is levels.players[0]:
        words = f"{rank} is below it; the weakest here is {rated}"
    else:
        words = f"{rank}: the nearest here is {rated}"
    return Level(chosen.spec, chosen.elo, chosen.low, chosen.high, rank, words)
