"""A loss that is no number, told so that the run can go on: where it comes from and what helps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.batch import Batch
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.selfplay.feeding import Drawn
from ghostgo.selfplay.learner import Learner, NotANumber

NAMED = 3
"""Positions or files named at most."""


def trained(
    learner: Learner, drawn: Drawn, run: Run, rate: float = 1.0, hold: float = 0.0
) -> dict[str, float]:
    """`Learner.step` on what was drawn for `run`; losses by head.

    Raises UserError in place of NotANumber: it says which step and board, by which stored positions
    if a target is at fault, and how the run goes on.
    """
    try:
        return learner.step(drawn.batch, rate, hold, drawn.game)
    except NotANumber as error:
        where = f"run {run.name}: on {drawn.game.name}, {error}"
        bad = faulty_rows(drawn.batch)
        if bad.any():
            remedy = _without(drawn.batch.taken(np.flatnonzero(bad)), run)
        else:
            remedy = _slower(drawn.batch, run, learner)
        raise UserError(f"{where}; {remedy}") from None


def faulty_rows(batch: Batch) -> NDArray[np.bool_]:
    """(B,) the rows whose policies or weights are no finite numbers; other targets may be unknown."""
    sound = np.isfinite(batch.policy_weight)
    for target in (batch.policy, batch.reply):
        sound &= np.isfinite(target).all(axis=1)
    return ~sound


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _files(batch: Batch) -> list[str]:
    return sorted({str(name) for name in batch.origin["source"]})


def _without(bad: Batch, run: Run) -> str:
    """The rows at fault, and what to do without their files."""
    # A row whose own policy is sound has a fault in the one after it, its reply.
    later = np.isfinite(bad.policy).all(axis=1) & np.isfinite(bad.policy_weight)
    places = {
        (str(name), int(game), int(ply) + int(late))
        for (name, game, ply), late in zip(bad.origin, later, strict=True)
    }
    rows = _some([f"{name} game {game} ply {ply}" for name, game, ply in sorted(places)])
    files = _files(bad)
    told = f"the stored targets are at fault ({rows}): "
    if all((run.shards / name).is_file() for name in files):
        to = _some([f"{name} to {name.removesuffix('.h5')}.damaged" for name in files])
        return f"{told}rename in {run.shards} {to}, and the same command goes on without"
    return f"{told}begin another run without them"


def _slower(batch: Batch, run: Run, learner: Learner) -> str:
    """What to do where every target is sound, so that the weights have run away."""
    files = _some(_files(batch))
    config = learner.config
    rates = {"learning_rate": config.learning_rate}
    if config.optimizer == "muon":
        rates = {"muon_rate": config.muon_rate, **rates}
    named = ", ".join(f"{name} = {rate:g}" for name, rate in rates.items())
    kept = [info.step for info in run.checkpoints([])]
    return (
        f"no target of the batch (of {files}) is at fault, so the weights are running away: lower "
        f"{named}, or a head's weight that is set high, under "
        f"[learner] in {run.folder / 'config.toml'}, and the run goes on without --config from "
        f"checkpoint {kept[-1]}; if it stops here again, start another one by --from "
        f"{run.name}@STEP (kept: {', '.join(map(str, kept[-NAMED:]))})"
    )
