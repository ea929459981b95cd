"""The config of a run and its presets: one dial, everything else derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ghostgo.data.config import from_mapping, overlay, to_mapping
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import NetworkConfig
from ghostgo.engine.search_config import SearchConfig, check_search
from ghostgo.selfplay.learner import LearnerConfig

Preset = Literal["tiny", "cpu", "gpu"]


@dataclass(frozen=True)
class SelfplayConfig:
    """How games are played and how many a step of training sees."""

    games: int = 256
    """Games in play at once, all workers together; the batch of one network call is a worker's
    share."""
    visits: int = 32
    """Simulations a move (pgx: 32; Gumbel search learns from as few as 2)."""
    sampled_moves: int = 0
    """With a `puct` root: the first so many moves are drawn by visits. Gumbel roots need none."""
    opening_plies: int = 4
    """Each game begins with 0 to so many random moves, which are not learnt from, so that games
    differ and the network knows more than its own openings."""
    positions_per_iteration: int = 0
    """New positions between two trainings; 0: 100 for each point of the board, at least 1024."""
    samples_per_position: float = 4.0
    """Training samples a new position (AlphaZero about 1, KataGo up to 4)."""
    window_start: int = 100_000
    """Rows of the replay window before it grows by KataGo's law."""
    rules: dict[str, Any] = field(default_factory=dict)
    """Rule options that differ from the game's defaults, such as komi."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that makes a run; stored in its folder as config.toml."""

    game: str = "go9"
    """Registry name of the game."""
    preset: Preset = "cpu"
    """The dial that chose the defaults below."""
    seed: int = 0
    """All randomness of the run comes from it."""
    network: str = "b4c32"
    """bNcM: N residual blocks of M channels."""
    workers: int = 0
    """Threads that play, each with its share of the games; 0: one a core, on a GPU one."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    search: SearchConfig = field(default_factory=lambda: SearchConfig(explore=True))
    selfplay: SelfplayConfig = field(default_factory=SelfplayConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def validated(self) -> RunConfig:
        """This config, once its values are seen to make sense; raises UserError naming the key."""
        get_game(self.game).new_states(1, self.selfplay.rules)
        NetworkConfig.preset(self.network)
        for name, value, least in (
            ("selfplay: games", self.selfplay.games, 1),
            ("selfplay: visits", self.selfplay.visits, 2),
            ("selfplay: positions_per_iteration", self.selfplay.positions_per_iteration, 1),
            ("selfplay: window_start", self.selfplay.window_start, 1),
            ("learner: batch_size", self.learner.batch_size, 2),
            ("search: leaves_per_step", self.search.leaves_per_step, 1),
            ("search: cache_mb", self.search.cache_mb, 0),
            ("search: canonical_plies", self.search.canonical_plies, 0),
            ("seed", self.seed, 0),
            ("workers", self.workers, 0),
        ):
            if value < least:
                raise UserError(f"config: {name} = {value} is too small: at least {least}")
        check_search(self.search, get_game(self.game))
        if self.search.score_weight:
            raise UserError("config: search: score_weight must be 0: self-play learns to win")
        if self.selfplay.samples_per_position < 0 or self.learner.learning_rate <= 0:
            raise UserError("config: samples_per_position and learning_rate must be positive")
        return self


DEFAULT_PRESET = "cpu"
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "network": "b2c16",
        "selfplay": {
            "games": 128,
            "visits": 16,
            "window_start": 30_000,
        },
        "learner": {"batch_size": 128, "learning_rate": 4e-3, "warmup_steps": 50},
    },
    "cpu": {"network": "b4c32"},
    "gpu": {
        "network": "b6c96",
        "selfplay": {
            "games": 2048,
            "visits": 64,
            "positions_per_iteration": 65_536,
            "window_start": 500_000,
        },
        "learner": {"batch_size": 1024, "learning_rate": 2e-3},
    },
}

FOR_GAME: dict[str, dict[str, Any]] = {
    # Softer targets and fewer samples a position: measured in runs of ten minutes (RESULTS.md,
    # 2026-11-21, fourth round). On 9x9 Go the two together were worse than the defaults.
    "connect_four": {
        "search": {"c_scale": 0.25},
        "selfplay": {"samples_per_position": 2.0},
    },
}
"""What was measured to be better for one game than the defaults; in effect under every preset."""


def make_config(file_values: Mapping[str, Any] | None = None, **given: Any) -> RunConfig:
    """The config of a preset and game, a config file's values over it, `given` ones over both.

    `given` values that are None do not count. Raises UserError for unknown presets and keys.
    """
    file_values = file_values or {}
    name = given.get("preset") or file_values.get("preset") or DEFAULT_PRESET
    if str(name) not in PRESETS:
        raise UserError(f"preset {name!r} is unknown; one of: {', '.join(get_args(Preset))}")
    game = given.get("game") or file_values.get("game") or RunConfig.game
    base = overlay(to_mapping(RunConfig()), {"preset": name, **PRESETS[name]})
    base = overlay(base, FOR_GAME.get(str(game), {}))
    chosen = {key: value for key, value in given.items() if value is not None}
    config = from_mapping(RunConfig, overlay(overlay(base, file_values), chosen))
    if config.selfplay.positions_per_iteration == 0:
        derived = max(1024, 100 * get_game(config.game).points)
        config = replace(config, selfplay=replace(config.selfplay, positions_per_iteration=derived))
    return config.validated()
