"""What imitation buys: accuracy on held-out games against FLOPs, and against games of records.

    python benchmarks/imitation_curve.py --records all.h5 [--game go9] [--flops 3e13]
        [--subset 100,1000,10000,all] [--permute] [--elf runs/scratch] [--match-elf] [--config FILE]
        [--seed 1] [--held-out 0.1] [--positions 20000] [--json FILE] [--out runs-imitation]

Each run is one `ghostgo warmstart` of so many FLOPs, whose command is printed: `games-N` learns N
games, `all` all of them, `permuted` any legal move in place of each one played (`--permute`), `elf`
the games of a run of self-play (`--elf`). With `--match-elf` one more learns so many games of people
as hold as many positions to learn as those. All are judged on the same games, those of `--records`
that a warm start with this `--held-out` keeps back; intervals are of 95 %, clustered by game. Beside
that stands each run's own top-1, on what it held back of what it imitates: of `elf`, games of its
kind. Networks that are told ranks are judged twice: told the true ones, and untold. The first table is of the kept checkpoints of `all`, or of the largest subset: those before the last were saved in the middle of its
schedule, where the learning rate had not come down yet, and a run of so few FLOPs does better.
The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from judging import HeldOutMoves, print_table, shown, shown_head, write_json

from ghostgo import cli
from ghostgo.data.checkpoints import split_version
from ghostgo.data.run import CheckpointInfo, Run
from ghostgo.data.shards import attributes, read_shard
from ghostgo.data.split import game_hashes
from ghostgo.warmstart.evaluate import HeldOut

UNANNEALED = "saved in mid-schedule: its learning rate was not annealed"


def of_people(given: argparse.Namespace, games: int | None = None) -> list[str]:
    """The options by which so many of the games of `--records` are learnt, all for None."""
    records = [word for path in given.records for word in ("--records", str(path))]
    return records if games is None else [*records, "--subset", str(games)]


def runs(given: argparse.Namespace) -> dict[str, list[str]]:
    """What each run's command has of its own, by name; the curve's run first."""
    found = {}
    records = of_people(given)
    for size in given.subset.split(","):
        if size == "all":
            found["all"] = records
        else:
            found[f"games-{int(size)}"] = of_people(given, int(size))
    last = max(found, key=lambda name: int(name[6:]) if name != "all" else 1 << 60)
    found = {last: found.pop(last), **found}
    if given.permute:
        found["permuted"] = [*records, "--permute"]
    if given.elf:
        found["elf"] = ["--records", str(given.elf)]
    return found


def train_file(run: Run) -> Path:
    """The games that a run of imitation learns."""
    return run.folder / "records" / "train.h5"


def matching(elf: Run, people: Run) -> int:
    """How many of the games that `people` learns, as `--subset` takes them, hold at least as many
    positions to learn as all that `elf` learns. Raises SystemExit if all hold fewer."""
    wanted = int((read_shard(train_file(elf)).weights > 0).sum())
    table = read_shard(train_file(people))
    games = table.game_of()[table.weights > 0]
    order = np.argsort(game_hashes(table), kind="stable")
    held = np.bincount(games, minlength=len(table))[order].cumsum()
    if held[-1] < wanted:
        raise SystemExit(
            f"--match-elf: {elf.name} learns {wanted:,} positions, and {people.name} only "
            f"{held[-1]:,}: name a run of fewer games, as --elf RUN@FROM-TO"
        )
    return int(np.searchsorted(held, wanted)) + 1


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
    figures = held.figures(held.judge(info), held.judge(base) if base else None)
    return {"step": info.step, "flops": info.totals.imitation_flops, **figures}


def by_flops(held: HeldOutMoves, run: Run, name: str) -> list[dict[str, Any]]:
    """A row for each kept checkpoint of a run; they are printed."""
    curve = [point(held, info, None) for info in run.checkpoints()]
    print(f"\n{name}: top-1 and log loss on {len(held.table)} held-out games, against FLOPs\n")
    lines = []
    for row in curve:
        row["annealed"] = row is curve[-1]
        note = "" if row["annealed"] else UNANNEALED if row["flops"] else "untrained"
        lines += [line[:-2] + [note] for line in shown(row, [f"{row['flops'] / 1e12:.3g}"])]
    print_table([*shown_head(["TFLOP"], "")[:-2], ""], lines)
    return curve


def by_games(held: HeldOutMoves, made: dict[str, Run], flops: float) -> dict[str, dict[str, Any]]:
    """A row for each run by name, compared with the first; they are printed."""
    (first, whole), *_ = made.items()
    table = {}
    for name, run in made.items():
        learnt = read_shard(train_file(run))
        info = run.latest()
        table[name] = {
            "games": len(learnt),
            "learnt": int((learnt.weights > 0).sum()),
            "records": attributes(train_file(run))["records"],
            "own_held_out": info.meta["held_out"],
            **point(held, info, None if run is whole else whole.latest()),
        }
    print(f"\nruns of {flops / 1e12:.3g} TFLOP each, annealed, against games learnt\n")
    lines = []
    for name, row in sorted(table.items(), key=lambda item: item[1]["games"]):
        own = HeldOut.from_dict(row["own_held_out"]).top1
        lines += shown(row, [name, f"{row['games']:,}", f"{row['learnt']:,}", f"{own:.1%}"])
    print_table(shown_head(["run", "games", "positions", "its own top-1"], first), lines)
    return table


def main(words: list[str] | None = None) -> None:
    """Imitate, judge, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=Path, action="append", required=True)
    parser.add_argument("--game", default="go9")
    parser.add_argument("--flops", type=float, default=3e13)
    parser.add_argument("--subset", default="100,1000,10000,all")
    parser.add_argument("--permute", action="store_true")
    parser.add_argument("--elf", type=Path, help="folder of a run of self-play, or RUN@FROM-TO")
    parser.add_argument("--match-elf", action="store_true")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--positions", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs-imitation"))
    given = parser.parse_args(words)
    if given.match_elf and not given.elf:
        parser.error("--match-elf: has no --elf to match")
    given.out.mkdir(exist_ok=True)
    made = {name: imitate(name, own, given) for name, own in runs(given).items()}
    if given.match_elf:
        games = matching(made["elf"], next(iter(made.values())))
        name = f"games-{games}"
        made[name] = made.get(name) or imitate(name, of_people(given, games), given)
    splits = {split_version(run.latest()) for run in made.values()}
    if len(splits) > 1:
        raise SystemExit(
            f"{given.out}: its runs split their records differently; give another --out"
        )
    held = HeldOutMoves(
        given.records, given.game, given.held_out, given.positions, given.out / "judged", *splits
    )
    first, whole = next(iter(made.items()))
    curve = by_flops(held, whole, first)
    table = by_games(held, made, given.flops)
    found = {"note": UNANNEALED, "by_flops": {first: curve}, "by_games": table}
    write_json(given.json or given.out / "imitation.json", found)


if __name__ == "__main__":
    main()
