"""How a search chooses, for people (`SearchConfig`) and for kernels (`Params`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.utility import MOST_SCORE_WEIGHT, SCORE_SCALE


@dataclass(frozen=True)
class SearchConfig:
    """How a search chooses; the defaults are for self-play with few simulations."""

    root: Literal["gumbel", "puct"] = "gumbel"
    """`gumbel` learns from few simulations; `puct` is the usual choice for play and analysis."""
    c_puct: float = 1.1
    """Weight of prior against value in PUCT (KataGo: 1.1)."""
    fpu_reduction: float = 0.2
    """An untried action is valued at its parent's value minus this times the square root of the
    prior mass tried so far (KataGo: 0.2)."""
    max_considered: int = 16
    """Actions that sequential halving starts from (Gumbel paper: min(simulations, 16))."""
    c_visit: float = 50.0
    """Gumbel: sigma(q) = (c_visit + most visits) * c_scale * q, with q mapped to [0, 1]."""
    c_scale: float = 1.0
    """See `c_visit` (paper: 1.0 for board games)."""
    explore: bool = False
    """Noise at the root: Gumbel draws, or Dirichlet noise with `puct`. Off for play and rating."""
    dirichlet_total: float = 10.83
    """PUCT: total concentration, spread evenly over the legal actions (KataGo: 10.83)."""
    dirichlet_weight: float = 0.25
    """PUCT: share of noise in the root prior (AlphaZero: 0.25)."""
    dirichlet_shaped: bool = False
    """PUCT: only half of the concentration is spread evenly, and half by how far the logarithm of
    an action's prior lies above their mean, so that noise falls where there is some hope (KataGo)."""
    root_temperature_early: float = 1.0
    """PUCT with noise: the prior at the root is raised to the power 1 / T, before noise. At a game's
    first move T is this, and in as many moves as the board's side is long it comes half as near to
    `root_temperature_late` (KataGo: 1.25 and 1.1). 1 and 1: the prior stays as it is."""
    root_temperature_late: float = 1.0
    """See `root_temperature_early`."""
    root_fpu_reduction: float | None = None
    """PUCT: `fpu_reduction` at a root with noise (KataGo: 0). Left out: the same as elsewhere."""
    forced_k: float = 0.0
    """PUCT with noise: a root action that was tried gets at least sqrt(forced_k * prior * visits)
    simulations, and the training target gives back those that PUCT would not have spent (KataGo's
    forced playouts and policy target pruning: 2). 0: neither."""
    solve: bool = True
    """Whether won, drawn and lost sub-trees are proven from the game's ends, and then closed."""
    leaves_per_step: int = 1
    """Leaves a tree may have in one batch. 1 is sequential search; more fill a batch from one game
    at some loss of strength."""
    cache_mb: int = 32
    """Megabytes in which each worker remembers what the network said of positions; 0: none. With
    one leaf a step a search finds the same with and without, as far as the network says the same
    of a position in every batch."""
    canonical_plies: int = 0
    """Up to this ply the network sees a position in one orientation only, whichever symmetric image
    of it the search has met, so that all of them cost one evaluation as long as they are in the
    cache. 0: as it lies. It pays where many games share their openings: early plies of self-play."""
    symmetries: int = 1
    """Images under the game's symmetries of which the root's policy and value are the mean, each
    an evaluation. For play and rating; self-play averages by training on turned positions."""
    leaf_symmetries: int = 1
    """The same for every other leaf."""
    score_weight: float = 0.0
    """Weight of points beside winning, up to 0.5, in games that have points; see
    `ghostgo.engine.utility`. Values are utilities then. For play and rating only."""


class Params(NamedTuple):
    """`SearchConfig` as numbers for kernels."""

    gumbel: bool
    explore: bool
    c_puct: np.float32
    fpu_reduction: np.float32
    c_visit: np.float32
    c_scale: np.float32
    dirichlet_total: float
    dirichlet_weight: np.float32
    dirichlet_shaped: bool
    root_early: float  # temperatures of the prior at a noisy root
    root_late: float
    side: float  # of the board, in points: moves in which temperatures halve
    root_fpu_reduction: np.float32
    forced_k: np.float32
    solve: bool
    leaves: int
    canonical_plies: int
    symmetries: int
    leaf_symmetries: int
    score_weight: float
    score_scale: float  # points
    considered: NDArray[np.int32]  # (max_considered + 1, simulations)
    cheap_visits: int  # a tree of this budget has a root without noise; -1: there are none
    considered_cheaply: NDArray[np.int32]  # as `considered`, for those
    decided_visits: int  # the same of another budget
    considered_decided: NDArray[np.int32]
    anchor_share: np.float32  # of `Trees.anchor` in the logits of a root


@cache
def considered_visits(max_considered: int, simulations: int) -> NDArray[np.int32]:
    """Sequential halving as a table, (max_considered + 1, simulations) int32.

    Row m is for m considered actions; entry i is the visit count that an action must have to be
    searched at simulation i (Danihelka et al. 2022, appendix; the same table as in mctx).
    """
    table = np.zeros((max_considered + 1, simulations), np.int32)
    for m in range(max_considered + 1):
        if m <= 1:
            table[m] = np.arange(simulations)
            continue
        phases = int(np.ceil(np.log2(m)))
        counts = [0] * m
        sequence: list[int] = []
        left = m
        while len(sequence) < simulations:
            for _ in range(max(1, simulations // (phases * left))):
                sequence += counts[:left]
                for i in range(left):
                    counts[i] += 1
            left = max(2, left // 2)
        table[m] = sequence[:simulations]
    table.setflags(write=False)
    return table


def check_search(config: SearchConfig, game: Game) -> None:
    """Raises UserError if `config` is out of range or asks for what `game` does not have."""
    if not 0 <= config.score_weight <= MOST_SCORE_WEIGHT:
        raise UserError(
            f"score_weight = {config.score_weight:g} is not between 0 and {MOST_SCORE_WEIGHT:g}"
        )
    if config.score_weight and not game.has_score:
        raise UserError(f"{game.name} is not played for points: score_weight must be 0")
    most = len(game.point_symmetries)
    for name in ("symmetries", "leaf_symmetries"):
        if not 1 <= getattr(config, name) <= most:
            raise UserError(f"{name} = {getattr(config, name)}: {game.name} has 1 to {most}")


def batch_rows(config: SearchConfig, games: int) -> int:
    """Rows that an evaluator needs to serve `games` searches by `config` at once."""
    return max(games * config.leaves_per_step * config.leaf_symmetries, config.symmetries)


def make_params(
    config: SearchConfig,
    game: Game,
    visits: int,
    cheap_visits: int = 0,
    anchor_share: float = 0.0,
    decided_visits: int = 0,
) -> Params:
    """`config` for kernels of `game`; `visits` is the longest search that the table must serve.

    Trees with a budget of `cheap_visits` or `decided_visits` (0: there are none) are searched without
    noise. With an `anchor_share` of w, a root's logits are 1 - w of the network's and w of those in
    `Trees.anchor`, which is to be filled before the root is judged.
    """
    most = config.max_considered
    root_fpu = config.root_fpu_reduction
    return Params(
        gumbel=config.root == "gumbel",
        explore=config.explore,
        c_puct=np.float32(config.c_puct),
        fpu_reduction=np.float32(config.fpu_reduction),
        c_visit=np.float32(config.c_visit),
        c_scale=np.float32(config.c_scale),
        dirichlet_total=config.dirichlet_total,
        dirichlet_weight=np.float32(config.dirichlet_weight),
        dirichlet_shaped=config.dirichlet_shaped,
        root_early=config.root_temperature_early,
        root_late=config.root_temperature_late,
        side=game.points**0.5,
        root_fpu_reduction=np.float32(config.fpu_reduction if root_fpu is None else root_fpu),
        forced_k=np.float32(config.forced_k),
        solve=config.solve,
        leaves=config.leaves_per_step,
        canonical_plies=config.canonical_plies,
        symmetries=config.symmetries,
        leaf_symmetries=config.leaf_symmetries,
        score_weight=config.score_weight,
        score_scale=SCORE_SCALE * game.points**0.5,
        considered=considered_visits(min(most, visits), visits),
        cheap_visits=cheap_visits or -1,
        considered_cheaply=considered_visits(min(most, cheap_visits), cheap_visits),
        decided_visits=decided_visits or -1,
        considered_decided=considered_visits(min(most, decided_visits), decided_visits),
        anchor_share=np.float32(anchor_share),
    )
