"""What each number of a run's config may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from ghostgo.engine.errors import UserError

MOST = 2**31 - 1
"""Whole numbers go no further: kernels count in 32 bits."""


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, which belong to it unless it is open there; no number is infinite."""

    low: float
    high: float = inf
    open_low: bool = False
    open_high: bool = False

    def fault(self, value: float) -> str:
        """What is wrong with `value`, as the end of a sentence that begins with its name; or nothing."""
        most = MOST if isinstance(value, int) and self.high == inf else self.high
        above = value > self.low if self.open_low else value >= self.low
        if above and (value < most or value == most < inf and not self.open_high):
            return ""
        shown = f" = {value:g}" if isinstance(value, float) else f" = {value}"
        if self.open_high:
            return f"{shown} is not from {self.low:g} to below {self.high:g}"
        if self.high < inf:
            return f"{shown} is not between {self.low:g} and {self.high:.19g}"
        if self.open_low:
            return f"{shown}: it must be a number above {self.low:g}"
        if isinstance(value, float):
            return f" must be a number, {self.low:g} or above, not {value:g}"
        size = f"small: at least {self.low:g}" if value < self.low else f"large: at most {MOST}"
        return f"{shown} is too {size}"


SHARE = Range(0, 1)
ANY = Range(0)
POSITIVE = Range(0, open_low=True)

RANGES: dict[str, Any] = {
    "seed": Range(0, 2**63),
    "workers": ANY,
    "search": {
        "c_puct": ANY,
        "fpu_reduction": ANY,
        "max_considered": Range(1),
        "c_visit": ANY,
        "c_scale": ANY,
        "dirichlet_total": POSITIVE,
        "dirichlet_weight": SHARE,
        "root_temperature_early": Range(0.1),
        "root_temperature_late": Range(0.1),
        "root_fpu_reduction": ANY,
        "forced_k": ANY,
        "leaves_per_step": Range(1),
        "cache_mb": ANY,
        "canonical_plies": ANY,
        "symmetries": Range(1),
        "leaf_symmetries": Range(1),
        "score_weight": SHARE,
    },
    "selfplay": {
        "games": Range(1),
        "visits": Range(2),
        "cheap_visits": ANY,
        "full_share": SHARE,
        "sampled_moves": ANY,
        "temperature_early": ANY,
        "temperature_late": ANY,
        "decided_value": SHARE,
        "decided_visits": ANY,
        "decided_moves": ANY,
        "decided_share": SHARE,
        "opening_plies": Range(0, 1000),  # games that end before are begun again, one ply shorter
        "positions_per_iteration": Range(1),
        "samples_per_position": ANY,
        "surprise_share": SHARE,
        "decay_flops": ANY,
        "final_rate": SHARE,
        "window_start": Range(1),
    },
    "learner": {
        "batch_size": Range(2),
        "learning_rate": POSITIVE,
        "muon_rate": POSITIVE,
        "muon_momentum": Range(0, 1, open_high=True),
        "warmup_steps": ANY,
        "weight_decay": ANY,
        "average": Range(0, 1, open_high=True),  # by 1 the weights that play would never move
        "gradient_clip": POSITIVE,
        "value_weight": ANY,
        "reply_weight": ANY,
        "score_weight": ANY,
        "ownership_weight": ANY,
        "distribution_weight": ANY,
        "score_cdf": ANY,
        "short_weight": ANY,
        "window_mb": Range(16),
    },
}
"""By table and key of `RunConfig`; `check_anchor` has those of `anchor`, which go by its kind."""


def check_ranges(config: object, ranges: Mapping[str, Any] = RANGES, where: str = "config") -> None:
    """Raises UserError for the first number of `config` that is out of its range; None is in any."""
    for name, wanted in ranges.items():
        value = getattr(config, name)
        if isinstance(wanted, Mapping):
            check_ranges(value, wanted, f"{where}: {name}")
        elif value is not None and (fault := wanted.fault(value)):
            raise UserError(f"{where}: {name}{fault}")
