"""What imitation buys: accuracy on held-out games against FLOPs, and against games of records.

    python benchmarks/imitation_curve.py --records all.h5 [--game go9] [--flops 3e13]
        [--subset 100,1000,10000,all] [--permute] [--elf runs/scratch] [--config FILE] [--seed 1]
        [--held-out 0.1] [--positions 20000] [--json FILE] [--out runs-imitation]

Each run is one `ghostgo warmstart` of so many FLOPs, whose command is printed: `games-N` learns N
games, `all` all of them, `permuted` any legal move in place of each one played (`--permute`), `elf`
the games of a run of self-play (`--elf`). All are judged on the same games, those of `--records` that
a warm start with this `--held-out` keeps back; intervals are of 95 %, clustered by game. The
first table is of the kept checkpoints of `all`, or of the largest subset: those before the last were saved in the middle of its
schedule, where the learning rate had not come down yet, and a run of so few FLOPs does better.
The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from judging import HeldOutMoves, print_table, shown, shown_above, write_json

from ghostgo import cli
from ghostgo.data.checkpoints import split_version
from ghostgo.data.run import CheckpointInfo, Run
from ghostgo.data.shards import attributes, read_shard

UNANNEALED = "saved in mid-schedule: its learning rate was not annealed"


def runs(given: argparse.Namespace) -> dict[str, list[str]]:
    """What each run's command has of its own, by name; the curve's run first."""
    found = {}
    records = [word for path in given.records for word in ("--records", str(path))]
    for size in given.subset.split(","):
        if size == "all":
            found["all"] = records
        else:
            found[f"games-{int(size)}"] = [*records, "--subset", str(int(size))]
    last = max(found, key=lambda name: int(name[6:]) if name != "all" else 1 << 60)
    found = {last: found.pop(last), **found}
    if given.permute:
        found["permuted"] = [*records, "--permute"]
    if given.elf:
        found["elf"] = ["--records", str(given.elf)]
    return found


def imitate(name: str, own: list[str], given: argparse.Namespace) -> Run:
    """Give the command of one run, which goes on if it was stopped; SystemExit if it is again."""
    words = ["warmstart", "--run", name, *own, "--game", given.game, "--seed", str(given.seed)]
    words += ["--flops", f"{given.flops:g}", "--held-out", f"{given.held_out:g}"]
    words += ["--config", str(given.config)] if given.config else []
    words += ["--root", str(given.out)]
    print("$ ghostgo " + shlex.join(words), flush=True)
    if code := cli.run(words):
        raise SystemExit(code)
    run = Run.open(given.out / name)
    if not run.latest().meta.get("done"):
        raise SystemExit(f"{name} was stopped; the same command goes on")
    return run


def point(held: HeldOutMoves, info: CheckpointInfo, base: CheckpointInfo | None) -> dict[str, Any]:
    """A checkpoint's row; `above` is its top-1 over that of `base` on the same moves."""
    found = held.judge(info)
    row = {"step": info.step, "flops": info.totals.imitation_flops, **held.figures(found)}
    return row | (held.above(found, held.judge(base)) if base else {})


def main(words: list[str] | None = None) -> None:
    """Imitate, judge, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=Path, action="append", required=True)
    parser.add_argument("--game", default="go9")
    parser.add_argument("--flops", type=float, default=3e13)
    parser.add_argument("--subset", default="100,1000,10000,all")
    parser.add_argument("--permute", action="store_true")
    parser.add_argument("--elf", type=Path, help="folder of a run of self-play")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--positions", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs-imitation"))
    given = parser.parse_args(words)
    given.out.mkdir(exist_ok=True)
    made = {name: imitate(name, own, given) for name, own in runs(given).items()}
    splits = {split_version(run.latest()) for run in made.values()}
    if len(splits) > 1:
        raise SystemExit(
            f"{given.out}: its runs split their records differently; give another --out"
        )
    held = HeldOutMoves(
        given.records, given.game, given.held_out, given.positions, given.out / "judged", *splits
    )
    (first, whole), *_ = made.items()
    curve = [point(held, info, None) for info in whole.checkpoints()]
    print(f"\n{first}: top-1 and log loss on {len(held.table)} held-out games, against FLOPs\n")
    rows = []
    for row in curve:
        row["annealed"] = row is curve[-1]
        note = "" if row["annealed"] else UNANNEALED if row["flops"] else "untrained"
        rows.append([f"{row['flops'] / 1e12:.3g}", *shown(row), note])
    print_table(["TFLOP", "top-1", "log loss", ""], rows)
    table: dict[str, Any] = {}
    for name, run in made.items():
        records = run.folder / "records" / "train.h5"
        learnt = len(read_shard(records))
        table[name] = {"games": learnt, "records": attributes(records)["records"]}
        table[name] |= point(held, run.latest(), None if run is whole else whole.latest())
    print(f"\nruns of {given.flops / 1e12:.3g} TFLOP each, annealed, against games learnt\n")
    rows = [
        [name, f"{row['games']:,}", *shown(row), shown_above(row if "above" in row else None)]
        for name, row in sorted(table.items(), key=lambda item: item[1]["games"])
    ]
    print_table(["run", "games", "top-1", "log loss", f"top-1 above {first}"], rows)
    found = {"note": UNANNEALED, "by_flops": {first: curve}, "by_games": table}
    write_json(given.json or given.out / "imitation.json", found)


if __name__ == "__main__":
    main()
