"""How hard a network searches for a move: so many visits, or as many as FLOPs or seconds pay for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ghostgo.engine.errors import UserError

FLOPS, SECONDS = "flops", "s"
MOST_VISITS = 1 << 16
"""Visits a move, at most: trees beyond it would not fit into memory."""


@dataclass(frozen=True)
class Effort:
    """A budget a move, in one of three currencies; the others are None."""

    visits: int | None = None
    flops: float | None = None
    seconds: float | None = None
    """Of one core, while it searches many games at once."""

    def __str__(self) -> str:
        """As a user writes it: `64`, `2e+09flops` or `0.05s`."""
        if self.visits is not None:
            return str(self.visits)
        return f"{self.budget:g}{FLOPS if self.seconds is None else SECONDS}"

    @property
    def words(self) -> str:
        """As a plot calls it: `64 visits`, `2e+09 FLOPs a move` or `0.05 s a move`."""
        if self.visits is not None:
            return f"{self.visits} visits"
        return f"{self.budget:g} {'FLOPs' if self.seconds is None else 's'} a move"

    @property
    def budget(self) -> float:
        """The amount, in its own currency."""
        return float(self.visits or self.flops or self.seconds or 0)

    def visits_at(self, price: float, player: str, root: int = 1, leaf: int = 1) -> int:
        """Visits a move for a network whose evaluation costs `price` FLOPs, or seconds.

        The root takes `root` evaluations and every visit `leaf`, but for those that meet the end of
        the game: a search may stay below its budget, never above. Raises UserError, naming the
        `player`, if the budget does not pay for one visit or pays for more than `MOST_VISITS`.
        """
        if self.visits is not None:
            if self.visits > MOST_VISITS:
                raise UserError(
                    f"player {player!r}: {self.visits} visits a move are too many: {MOST_VISITS} "
                    "at most"
                )
            return self.visits
        visits = (int(self.budget / price) - root) // leaf
        if visits < 1:
            raise UserError(
                f"player {player!r}: {self.words} do not pay for a search by its "
                f"network: one visit takes {(root + leaf) * price:.3g}"
            )
        if visits > MOST_VISITS:
            raise UserError(
                f"player {player!r}: {self.words} are {visits} visits of its "
                f"network, more than {MOST_VISITS}: {MOST_VISITS * leaf * price:.3g} is the most it can use"
            )
        return visits


def parse_effort(text: str) -> Effort:
    """`64` as visits, `2e9flops` as a budget of FLOPs, `0.05s` of seconds.

    Raises UserError for anything else, for less than one visit, more than `MOST_VISITS`, no FLOPs
    and no time.
    """
    number = text.strip().lower()
    if re.fullmatch(r"0*[1-9][0-9]*", number):
        return Effort(visits=whole_number(number, MOST_VISITS, "visits a move"))
    if found := re.fullmatch(rf"(.*?)({FLOPS}|{SECONDS})", number):
        try:
            amount = float(found[1])
        except ValueError:
            amount = math.nan
        if 0 < amount < math.inf:
            return Effort(flops=amount) if found[2] == FLOPS else Effort(seconds=amount)
    raise UserError(
        f"{text!r} is no budget for a move: visits from 1, such as 64, FLOPs, such as 2e9{FLOPS}, "
        f"or seconds, such as 0.05{SECONDS}"
    )


def whole_number(digits: str, most: int, what: str) -> int:
    """The number that `digits` are; UserError if it is more than the `most` of `what`."""
    short = digits.lstrip("0")
    if len(short) > len(str(most)) or int(digits) > most:
        shown = short if len(short) < 20 else f"{short[:12]}..."
        raise UserError(f"{shown} {what} are too many: {most} at most")
    return int(digits)


def as_effort(given: Effort | int | str) -> Effort:
    """An `Effort`, from a number of visits or a user's text too. Raises UserError as `parse_effort`."""
    return given if isinstance(given, Effort) else parse_effort(str(given))


def split_effort(spec: str) -> tuple[str, Effort | None]:
    """`RUN@STEP:400`, `RUN@STEP:2e9flops` or `RUN@STEP:0.05s` as what stands before the colon and the budget.

    None if it names none. Raises UserError for a budget of nothing.
    """
    match = re.fullmatch(rf"(.+):([0-9]+|[^:]*{FLOPS}|[0-9.e-]+{SECONDS})", spec, re.IGNORECASE)
    return (match[1], parse_effort(match[2])) if match else (spec, None)


def _rank(text: str) -> int:
    from ghostgo.engine.network import rank_code

    return rank_code(text)


def _drawn(text: str) -> int:
    if text != "1":
        raise UserError(f"drawn = {text[:20]!r}: 1 is all that it can be")
    return 1


RANK, DRAWN = "rank", "drawn"
SETTINGS: dict[str, Callable[[str], float]] = {
    "symmetries": int,
    "leaf_symmetries": int,
    "score_weight": float,
    RANK: _rank,
    DRAWN: _drawn,
}
"""What a network in the arena may be told of its search, how strong a player to judge as, and that
its moves are drawn from its policy; and how that is read."""


def split_settings(spec: str) -> tuple[str, dict[str, Any]]:
    """`RUN@STEP:400,symmetries=8` as what stands before the comma and the settings behind.

    They are `SETTINGS`, several with commas between; see `SearchConfig` and `Network.rank`. Raises
    UserError for a value that is none.
    """
    names = "|".join(SETTINGS)
    match = re.fullmatch(rf"(.+?)((?:,(?:{names})=[^,]*)+)", spec)
    if not match:
        return spec, {}
    settings = {}
    for part in match[2][1:].split(","):
        name, _, value = part.partition("=")
        try:
            settings[name] = SETTINGS[name](value)
        except UserError:
            raise
        except ValueError:
            raise UserError(f"{spec!r}: {name} = {value!r} is no number") from None
    return match[1], settings


def parse_ladder(text: str) -> tuple[Effort, ...]:
    """`16,64,256` as a ladder's rungs, lowest first, each once.

    Raises UserError for fewer than two rungs, for what is no budget, and for different currencies.
    """
    rungs = {parse_effort(part) for part in text.split(",") if part.strip()}
    if len(rungs) < 2:
        raise UserError(
            f"{text!r} is no ladder: two budgets at least, with commas between, such as 16,64,256"
        )
    if len({(rung.visits is None, rung.flops is None) for rung in rungs}) > 1:
        raise UserError(
            f"{text!r} is no ladder: its rungs are all visits, or all FLOPs, or all seconds"
        )
    return tuple(sorted(rungs, key=lambda rung: rung.budget))
