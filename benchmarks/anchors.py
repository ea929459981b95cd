"""What is left of people's play under each way to hold on to a prior, by FLOPs of self-play.

    python benchmarks/anchors.py --prior runs/warm --records all.h5 [--flops 1e13 | --minutes 60]
        [--arms init,kl,fade,mix,root,scratch] [--config FILE] [--seeds 1] [--jobs 2] [--held-out SHARE]
        [--positions 20000] [--checkpoints 8] [--json FILE] [--out runs-anchors]

Trains a run for every arm and seed from one prior by one config file, each for so many FLOPs of
self-play (imitation not counted) or minutes of work, with one thread each, as many side by side as
there are jobs. `scratch` has no prior; its network and that of `root` are of the prior's size. Then
checkpoints, spread over what they cost, are judged on games that the prior has not seen: those of
`--records` that its own warm start kept back, or with `--held-out` those that a share no larger
than its own keeps back. Beside each stands how much its top-1 and log loss are above those of
`init`, same seed, where a judged checkpoint of it has spent the same to a quarter; intervals are of
95 %, clustered by game: they know nothing of how another seed would do. Networks that are told
ranks are judged twice: told the true ones, and untold, as self-play asks and trains them.
The same command goes on where it was stopped; runs that are finished are left alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import tomlkit
from judging import HeldOutMoves, print_table, shown, shown_head, side_by_side, write_json

from ghostgo.arena.pool import spread_out
from ghostgo.data.checkpoints import split_version
from ghostgo.data.config import overlay, read_toml
from ghostgo.data.ledger import Ledger, Totals
from ghostgo.data.run import CheckpointInfo, Run, find_checkpoint
from ghostgo.data.shards import replace_file
from ghostgo.engine.network import NetworkConfig
from ghostgo.selfplay.anchor import held_out_share
from ghostgo.selfplay.loop import run_selfplay

BASE, SCRATCH = "init", "scratch"
ARMS = (BASE, "kl", "fade", "mix", "root", SCRATCH)
COMPARABLE = 1.25
"""Checkpoints are compared where neither has spent more than so many times the other's FLOPs."""
ALMOST = 0.98
"""Of the minutes: a run that has worked so long is finished."""


def share_of(totals: Totals, before: Totals, flops: float | None, minutes: float | None) -> float:
    """Share of the budget that a run has spent since `before`."""
    if flops is not None:
        return (totals.flops - before.flops) / flops
    assert minutes is not None
    return (totals.seconds - before.seconds) / (60 * minutes)


def train(
    out: Path, arm: str, seed: int, prior: str, flops: float | None, minutes: float | None
) -> float:
    """Train the run of one arm and seed as far as it is not yet; the share of its budget spent."""
    start = None if arm == SCRATCH else prior
    before = find_checkpoint(prior).totals if start else Totals()
    enough = 1.0 if flops is not None else ALMOST
    ledger = out / f"{arm}-{seed}" / "ledger.jsonl"
    spent = Ledger(ledger).totals if ledger.is_file() else before
    share = share_of(spent, before, flops, minutes)
    if share >= enough:
        return share
    reached = run_selfplay(
        f"{arm}-{seed}", start=start, anchor=None if arm == SCRATCH else arm, seed=seed,
        flops=None if flops is None else before.flops + flops,
        minutes=None if minutes is None else minutes * (1 - share),
        config_file=out / "config.toml", workers=1, root=out,
    )  # fmt: skip
    return share_of(reached.totals, before, flops, minutes)


def spent_on_play(info: CheckpointInfo) -> float:
    """FLOPs of a checkpoint without imitation."""
    return info.totals.flops - info.totals.imitation_flops


def comparable(flops: float, among: dict[float, Any]) -> Any:
    """What stands in `among` by the nearest FLOPs; None if there is nothing comparable."""
    nearest = min(among, key=lambda other: abs(other - flops), default=None)
    if nearest is None or max(flops, nearest) > COMPARABLE * min(flops, nearest):
        return None
    return among[nearest]


def judge(held: HeldOutMoves, given: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """A row for each judged checkpoint of one seed, arm by arm."""
    rows, base = [], {}
    for arm in given.arms:
        run = Run.open(given.out / f"{arm}-{seed}")
        for info in spread_out(run.checkpoints(), given.checkpoints):
            found, flops = held.judge(info), spent_on_play(info)
            row = {"arm": arm, "seed": seed, "step": info.step, "flops": flops}
            if arm == BASE:
                base[flops] = found
            other = None if arm == BASE else comparable(flops, base)
            rows.append(row | held.figures(found, other))
    return rows


def judged_share(
    prior: CheckpointInfo, asked: float | None, parser: argparse.ArgumentParser
) -> float:
    """The share of the records to judge: what was `asked`, else all that the prior has not seen."""
    unseen = held_out_share(prior)
    if asked is None:
        if unseen is None:
            parser.error(
                "--held-out: the prior does not tell which share of records it has not seen"
            )
        return unseen
    if unseen is not None and asked > unseen:
        parser.error(f"--held-out {asked:g}: the prior has seen all but {unseen:g}")
    return asked


def main(words: list[str] | None = None) -> None:
    """Train, judge, print the table; all of it stays in the folder `--out`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prior", required=True, help="folder of a run, as runs/warm, or a bot")
    parser.add_argument("--records", type=Path, action="append", required=True)
    parser.add_argument("--arms", default=",".join(ARMS[:-1]), type=lambda text: text.split(","))
    parser.add_argument("--flops", type=float)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--held-out", type=float)
    parser.add_argument("--positions", type=int, default=20_000)
    parser.add_argument("--checkpoints", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs-anchors"))
    given = parser.parse_args(words)
    if unknown := set(given.arms) - set(ARMS):
        parser.error(f"{min(unknown)!r} is no arm; there are {', '.join(ARMS)}")
    if (given.flops is None) == (given.minutes is None):
        parser.error("one of --flops and --minutes says how long each run is")
    given.arms = list(dict.fromkeys([BASE, *given.arms]))
    prior = find_checkpoint(given.prior)
    share = judged_share(prior, given.held_out, parser)
    given.prior = str(prior.path.resolve())  # whatever its run does meanwhile
    given.out.mkdir(exist_ok=True)
    kind = {"game": prior.meta["game"], "network": NetworkConfig(**prior.meta["network"]).name}
    config = overlay(read_toml(given.config) if given.config else {}, kind)
    replace_file(given.out / "config.toml", tomlkit.dumps(config).encode())
    seeds = range(1, given.seeds + 1)
    tasks = [
        (given.out, arm, seed, given.prior, given.flops, given.minutes)
        for seed in seeds
        for arm in given.arms
    ]

    def check(task: tuple[Any, ...], share: float) -> None:
        if share < (1.0 if given.flops is not None else ALMOST):
            raise SystemExit(f"{task[1]}-{task[2]} was stopped; the same command goes on")

    side_by_side(train, tasks, given.jobs, check)
    held = HeldOutMoves(
        given.records,
        kind["game"],
        share,
        given.positions,
        given.out / "judged",
        split_version(prior),
    )
    found = [row for seed in seeds for row in judge(held, given, seed)]
    print(f"\nheld-out games: {len(held.table)}, moves judged: {len(held.rows)}\n")
    lines = [
        line
        for row in found
        for line in shown(row, [f"{row['arm']}-{row['seed']}", f"{row['flops'] / 1e12:.3g}"])
    ]
    print_table(shown_head(["run", "TFLOP of self-play"], BASE), lines)
    kept = {"prior": prior.meta["sha256"], "rows": found}
    write_json(given.json or given.out / "anchors.json", kept)


if __name__ == "__main__":
    main()
