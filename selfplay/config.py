"""The config of a run and its presets: one dial, everything else derived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, get_args

from ghostgo.data.config import from_mapping, overlay, to_mapping
from ghostgo.data.records import MAX_RULES, Rules
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import usable_cores
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import NetworkConfig
from ghostgo.engine.search_config import SearchConfig, check_search
from ghostgo.selfplay.anchor import AnchorConfig, check_anchor
from ghostgo.selfplay.learner import LearnerConfig
from ghostgo.selfplay.ranges import check_ranges
from ghostgo.selfplay.sizes import check_sizes, shares_of

Preset = Literal["tiny", "cpu", "gpu"]


@dataclass(frozen=True)
class SelfplayConfig:
    """How games are played and how many a step of training sees."""

    games: int = 256
    """Games in play at once, all workers together; the batch of one network call is a worker's
    share."""
    visits: int = 32
    """Simulations a move (pgx: 32; Gumbel search learns from as few as 2)."""
    cheap_visits: int = 0
    """Playout caps (KataGo: 100 of 600): moves searched with so few simulations and without noise,
    which are not learnt from, but as the reply to the move before, so that games end sooner. 0:
    every move is searched fully."""
    full_share: float = 0.25
    """With `cheap_visits`: the share of moves searched with `visits` and learnt (KataGo: 0.25)."""
    sampled_moves: int = 0
    """With a `puct` root: the first so many moves are drawn by visits. Gumbel roots need none."""
    temperature_early: float = 0.0
    """With a `puct` root, in place of `sampled_moves`: every move is drawn by visits to the power
    1 / T. At a game's first move T is this, and in as many moves as the board's side is long it comes
    half as near to `temperature_late` (KataGo: 0.8 and 0.2). 0 and 0: no move is."""
    temperature_late: float = 0.0
    """See `temperature_early`."""
    decided_value: float = 0.0
    """A game counts as decided once the last `decided_moves` searches all had the same winner, by a
    value of at least this (KataGo: about 0.9). Its next moves, but for `decided_share` of them, are
    searched with `decided_visits`, without noise, and not learnt, as long as the searches remain that
    sure. It ends by the rules all the same: no game is ever resigned. 0: every game is open to its
    end."""
    decided_visits: int = 8
    """See `decided_value`."""
    decided_moves: int = 4
    """See `decided_value`; both sides' moves count."""
    decided_share: float = 0.1
    """Share of the moves of decided games that are searched with `visits` and learnt all the same, so
    that sure endings stay in the data (KataGo weighs them 0.1: `reducedVisitsWeight`)."""
    opening_plies: int = 4
    """Each game begins with 0 to so many random moves, which are not learnt from, so that games
    differ and the network knows more than its own openings."""
    positions_per_iteration: int = 0
    """New positions between two trainings, those not learnt (random, cheap or decided moves) not
    counted; 0: 100 for each point of the board, at least 1024."""
    samples_per_position: float = 4.0
    """Training samples a new position that is learnt (AlphaZero about 1, KataGo up to 4)."""
    surprise_share: float = 0.0
    """Share of a game's weight in training that goes to its positions by how much the search
    changed the network's mind there (KataGo's policy surprise weighting: 0.5)."""
    decay_flops: float = 0.0
    """FLOPs of the run, imitation included, over which the learning rate falls along a cosine to
    `final_rate`; there it stays. 0: it does not fall."""
    final_rate: float = 0.05
    """Learning rate after `decay_flops`, as a share of the peak."""
    window_start: int = 100_000
    """Rows of the replay window before it grows by KataGo's law."""
    vary: dict[str, list[Any]] = field(default_factory=dict)
    """Rules that differ from game to game: of each list, such as `komi = [5.5, 6.5, 7.5]`, a value is
    drawn for each game, over the value in `rules`. What a plane says of a rule means nothing to a
    network that has seen one value of it. Records are shown under each `ko` in turn."""
    sizes: dict[str, float] = field(default_factory=dict)
    """Shares of the games in play on boards of several sizes, such as `{go7 = 0.3, go9 = 0.7}`, the
    run's own game among them; in proportion, so they need not add up to 1. Empty: its own alone.
    `rules` and `vary` hold on every board; `cache_mb` is for each worker and board."""
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
    anchor: AnchorConfig = field(default_factory=AnchorConfig)

    def validated(self) -> RunConfig:
        """This config, once its values are seen to make sense; raises UserError naming the key."""
        check_ranges(self)
        get_game(self.game)
        check_sizes(self.selfplay.sizes, self.game, self.selfplay.games)
        boards = [get_game(name) for name in shares_of(self.selfplay.sizes, self.game)]
        for game in boards:
            for rules in rule_sets(self.selfplay, game):
                game.new_states(1, rules)
        if NetworkConfig.preset(self.network).counting and not is_go(get_game(self.game)):
            raise UserError(
                f"config: network = {self.network}: {self.game} is not counted by area or territory: "
                "leave out the j"
            )
        if self.selfplay.cheap_visits >= self.selfplay.visits:
            raise UserError(
                f"config: selfplay: cheap_visits = {self.selfplay.cheap_visits}: from 0 to fewer "
                f"than visits, {self.selfplay.visits}"
            )
        if self.selfplay.cheap_visits and not self.selfplay.full_share:
            raise UserError("config: selfplay: full_share = 0: no position would be learnt")
        _check_root(self.search)
        _check_moves(self.selfplay, self.search)
        check_anchor(self.anchor)
        if len(boards) > 1 and self.anchor.kind != "init":
            raise UserError(
                f'config: anchor: kind = "{self.anchor.kind}" goes with one board: leave out '
                "selfplay: sizes"
            )
        for game in boards:
            check_search(self.search, game)
        if self.search.score_weight:
            raise UserError("config: search: score_weight must be 0: self-play learns to win")
        return self


def _check_root(search: SearchConfig) -> None:
    """Raises UserError for what only a noisy PUCT root has, if given and there is no such root."""
    if search.root == "puct" and search.explore:
        return
    for name in (
        "forced_k",
        "dirichlet_total",
        "dirichlet_weight",
        "dirichlet_shaped",
        "root_temperature_early",
        "root_temperature_late",
        "root_fpu_reduction",
    ):
        if getattr(search, name) != getattr(SearchConfig(), name):
            raise UserError(f'config: search: {name} goes with root = "puct" and explore = true')


def _check_moves(play: SelfplayConfig, search: SearchConfig) -> None:
    """Raises UserError for drawn moves and decided games that make no sense."""
    early, late = play.temperature_early, play.temperature_late
    if late > early:
        raise UserError(
            f"config: selfplay: temperature_late = {late:g}, temperature_early = {early:g}: "
            "the late one no higher"
        )
    if play.sampled_moves and search.root != "puct":
        raise UserError(
            'config: selfplay: sampled_moves goes with root = "puct": Gumbel roots draw their moves'
        )
    if early and (search.root != "puct" or play.sampled_moves):
        raise UserError(
            'config: selfplay: temperature_early goes with root = "puct" and sampled_moves = 0'
        )
    if play.decided_value and not 1 <= play.decided_visits < play.visits:
        raise UserError(
            f"config: selfplay: decided_visits = {play.decided_visits}: from 1 to fewer than visits, "
            f"{play.visits}"
        )
    if play.decided_value and play.decided_moves < 2:
        raise UserError(
            f"config: selfplay: decided_moves = {play.decided_moves}: at least 2, one of each side"
        )


def rule_sets(config: SelfplayConfig, game: Game) -> list[Rules]:
    """Every combination of the values in `vary`, over `rules`, in order; one set if none varies.

    The first is what the run's networks are judged by.

    Raises UserError for values that are not lists, or make too many sets.
    """
    for name, values in config.vary.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"config: selfplay: vary: {name} = {values!r} is not a list of values")
    if (count := math.prod(map(len, config.vary.values()))) > MAX_RULES:
        raise UserError(f"config: selfplay: vary makes {count} sets of rules, at most {MAX_RULES}")
    return [
        {**game.rules, **config.rules, **dict(zip(config.vary, drawn, strict=True))}
        for drawn in product(*config.vary.values())
    ]


def default_workers(device: str, wanted: int, games: int) -> int:
    """Worker threads: as asked, else one a core on a CPU and one on a GPU."""
    count = wanted or (usable_cores() if device == "cpu" else 1)
    return max(1, min(count, games))


def rate_share(config: SelfplayConfig, flops: float) -> float:
    """Learning rate once the run has spent `flops`, as a share of the peak: half a cosine."""
    if not config.decay_flops:
        return 1.0
    done = min(1.0, flops / config.decay_flops)
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


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
