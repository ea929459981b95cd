"""Holding on to a prior during self-play, and letting it go.

    init   the prior's weights start the run, and nothing holds them (AlphaGo; Silver et al. 2016)
    kl     the loss has `weight` times KL(prior || policy) besides (AlphaStar; Vinyals et al. 2019)
    fade   the same, the weight falling to zero (kickstarting; Schmitt et al. 2018)
    mix    a share of each training batch are the prior's records, the share falling to zero
    root   random weights; the prior's logits are a share of those at each root of self-play, and so
           of its targets (after piKL; Jacob et al. 2022)

The prior lies in the run's folder: its own checkpoint where imitation ended, or a copy in `prior/`
of what `--from` named, with the records beside it where `mix` needs them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ghostgo.data.batch import Batch, join
from ghostgo.data.records import Rules, under_kos_of
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import CheckpointInfo, Run, load_network, read_checkpoint
from ghostgo.data.shards import attributes, read_shard
from ghostgo.engine.errors import UserError

Kind = Literal["init", "kl", "fade", "mix", "root"]
FOLDER = "prior"
RECORDS = Path("records") / "train.h5"
HELD_OUT_SHARE = "held_out_share"
"""In a prior's meta data: which share of the records it was made of it has not seen."""
MOST_WEIGHT = 1000.0
VALUE_POSITIONS = 10
"""Positions of a recorded game that teach value, score and ownership; whole games repeat a label."""


@dataclass(frozen=True)
class AnchorConfig:
    """How a run holds on to the prior it started from; the other kinds take no notice of a key."""

    kind: Kind = "init"
    """init, kl, fade, mix or root; see `ghostgo.selfplay.anchor`."""
    weight: float = 0.3
    """`kl`, `fade`: weight of the divergence, beside 1 of the policy's loss. `root`: share of the
    prior's logits, up to 1."""
    share: float = 0.25
    """`mix`: share of each batch."""
    fade_flops: float = 1e14
    """`fade`, `mix`: FLOPs after imitation over which the weight or share falls to zero, linearly."""
    fade_share: float = 0.0
    """`fade`, `mix`: `fade_flops` as a share of the budget, which is what the `--flops` with which the
    run is made leave beyond the prior's; 0: as `fade_flops` says."""


def resolved(config: AnchorConfig, flops: float | None, spent: float = 0.0) -> AnchorConfig:
    """The config with `fade_flops` from `fade_share` of a budget, where it fades by that.

    The budget is `flops` less those `spent` by the prior, from where the fade counts (`Anchor.left`).
    Raises UserError if there is none.
    """
    if not config.fade_share or config.kind not in ("fade", "mix"):
        return config
    if flops is None:
        raise UserError(
            f"config: anchor: fade_share = {config.fade_share:g} is a share of the run's budget: "
            "give ghostgo selfplay --flops, or fade_flops in its place"
        )
    if flops <= spent:
        raise UserError(
            f"--flops {flops:g}: --from has spent {spent:g} already, which count; fade_share is a share "
            "of what is beyond them: give more"
        )
    return replace(config, fade_flops=config.fade_share * (flops - spent))


def check_anchor(config: AnchorConfig) -> None:
    """Raises UserError for values that make no sense."""
    if not 0 <= config.weight <= (1 if config.kind == "root" else MOST_WEIGHT):
        raise UserError(
            f"config: anchor: weight = {config.weight:g}: from 0 to {MOST_WEIGHT:g}, for root to 1"
        )
    if not 0 <= config.share < 1:
        raise UserError(f"config: anchor: share = {config.share:g} is not from 0 to below 1")
    if not 0 <= config.fade_share <= 1:
        raise UserError(f"config: anchor: fade_share = {config.fade_share:g} is not from 0 to 1")
    if not 0 < config.fade_flops < math.inf:
        raise UserError(f"config: anchor: fade_flops = {config.fade_flops:g} is no number above 0")


def keep_prior(fresh: Run, source: CheckpointInfo, config: AnchorConfig, start: str) -> None:
    """Copy what the anchor needs of `source`, as the user named it `start`, into a new run.

    Raises UserError if the records are wanted and there are none beside it.
    """
    if config.kind == "init":
        return
    folder = fresh.folder / FOLDER
    folder.mkdir()
    for file in source.path.iterdir():
        if file.suffix in (".json", ".safetensors"):
            shutil.copyfile(file, folder / file.name)
    if config.kind == "mix":
        records = source.path.parent.parent / RECORDS
        if not records.is_file():
            raise UserError(
                f"--from {start}: has no records beside it to mix in; "
                "name a run that ghostgo warmstart made"
            )
        shutil.copyfile(records, folder / RECORDS.name)


def held_out_share(info: CheckpointInfo) -> float | None:
    """The share of records that a network's imitation held back, 1 if it has imitated none.

    None if it is not known, as in runs made before it was stored. Raises UserError if the run's
    records are damaged.
    """
    if not info.totals.imitation_flops:
        return 1.0
    folder = info.path.parent.parent
    share = info.meta.get(HELD_OUT_SHARE)
    if share is None and (folder / RECORDS).is_file():
        share = attributes(folder / RECORDS).get("held_out")
    if share is None and info.step and not info.in_the_box and (folder / "run.json").is_file():
        start = Run.open(folder).checkpoint(f"{0:08d}")
        share = None if start is None else start.meta.get(HELD_OUT_SHARE)
    return None if share is None else float(share)


def find_prior(run: Run) -> CheckpointInfo:
    """The prior that `run` started from; raises UserError if it has none."""
    if (run.folder / FOLDER).is_dir():
        return read_checkpoint(run.folder / FOLDER)
    for info in run.checkpoints([]):  # of a damaged one the trainer tells
        if info.meta.get("stage") == "imitation" and info.meta.get("done"):
            return info
    raise UserError(
        f"run {run.name} has no prior to hold on to; start it with ghostgo warmstart or --from"
    )


class Anchor:
    """The prior of a run at work, and how firmly it is held."""

    def __init__(
        self, run: Run, config: AnchorConfig, rules: Sequence[Rules], seed: int,
        symmetries: bool = True,
    ) -> None:  # fmt: skip
        """`rules` are the sets of the self-play, under whose ko rules records are shown.

        They are turned by `symmetries` as the games are.

        Raises UserError if the run has no prior, or its records are damaged.
        """
        self.config = config
        prior = find_prior(run)
        self.before = prior.totals.flops
        """What had been spent when the prior was there."""
        self.network = load_network(prior.path)
        self.records: ReplayWindow | None = None
        if config.kind == "mix":
            copied = run.folder / FOLDER / RECORDS.name
            table = read_shard(copied if copied.is_file() else run.folder / RECORDS)
            # Self-play tells no ranks, so what is rehearsed must not be told them either. It does
            # tell how points are counted: records keep their own.
            self.records = ReplayWindow(
                self.network.game, VALUE_POSITIONS, seed, rank_dropout=1.0, symmetries=symmetries
            )
            self.records.add_parts(under_kos_of(table, rules), RECORDS.name)

    def left(self, flops: float) -> float:
        """Share of the hold that is left when the run has spent `flops` in all."""
        if self.config.kind in ("fade", "mix"):
            return max(0.0, 1.0 - (flops - self.before) / self.config.fade_flops)
        return 1.0

    def loss_weight(self, flops: float) -> float:
        """Weight of the divergence from the prior in the loss."""
        return self.config.weight * self.left(flops) if self.config.kind in ("kl", "fade") else 0.0

    def mixed(
        self, window: ReplayWindow, size: int, flops: float, rng: np.random.Generator
    ) -> Batch:
        """`size` rows of the window, or some of them of the records in its place."""
        share = self.config.share * self.left(flops) if self.records else 0.0
        recorded = round(size * share)
        if self.records is None or not recorded:
            return window.sample(size, rng)
        both = join(window.sample(size - recorded, rng), self.records.sample(recorded, rng))
        return both.taken(rng.permutation(size))  # each slice of the batch has both
