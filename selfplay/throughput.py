"""How fast a run plays beside bare inference, over the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

RAW_SECONDS, RAW_SHARE = 0.25, 0.05
"""How long raw inference is measured after a phase of play, and at most, as a share of that phase."""


@dataclass
class Throughput:
    """Sums over a run's iterations; an iteration whose raw rate is not known adds no play."""

    evaluations: float = 0.0
    """Positions that the network judged in play; what was remembered does not count."""
    raw: float = 0.0
    """What raw inference would have judged in the seconds of play."""
    play_seconds: float = 0.0
    learning_seconds: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Throughput:
        """The inverse of `to_dict`; what an older checkpoint lacks is counted from here."""
        return cls(**{field.name: values.get(field.name, 0.0) for field in fields(cls)})

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)

    def add_play(self, evaluations: float, raw_rate: float, seconds: float) -> None:
        """A phase of play, and the raw evaluations a second measured after it (0: not known)."""
        if raw_rate:
            self.evaluations += evaluations
            self.raw += raw_rate * seconds
            self.play_seconds += seconds

    @property
    def share(self) -> float:
        """Evaluations in play over what raw inference would have made; 0 if nothing is known."""
        return self.evaluations / self.raw if self.raw else 0.0

    def text(self) -> str:
        """One clause for people; empty if nothing is known."""
        if not self.raw:
            return ""
        return (
            f"self-play at {self.share:.2f} of raw inference over {self.play_seconds / 60:.1f} "
            f"minutes of play (learning {self.learning_seconds / 60:.1f})"
        )
