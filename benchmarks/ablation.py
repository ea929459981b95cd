"""What each ingredient of learning is worth at equal FLOPs, over seeds.

    python benchmarks/ablation.py [--game go7] [--flops 3e12] [--seeds 3] [--games 4000]
                                  [--visits 64] [--only puct,caps] [--positions 1500]
                                  [--in-play 64] [--jobs CORES] [--parallel N] [--out runs-ablation]

Trains a run for every variant and seed, each to the same FLOPs and with one thread, as many side by
side as there are jobs, then rates the last checkpoints of all of them in one pool. A table gives
each variant's mean Elo over seeds above that of `base`, with Welch's 95 % interval, which knows of
seeds and games alike. The same command goes on where it was stopped. Few games are in play at once:
with 256 a short run has spent a third of its FLOPs before the first of them end and it learns.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from judging import side_by_side

from ghostgo.arena.arena import run_arena
from ghostgo.arena.curves import welch
from ghostgo.data.config import overlay
from ghostgo.data.shards import replace_file
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.config import make_config
from ghostgo.selfplay.loop import run_selfplay

BASE = "base"
PUCT: dict[str, Any] = {"search": {"root": "puct"}, "selfplay": {"sampled_moves": 8}}


def variants(game: Game, network: str, flops: float) -> dict[str, dict[str, Any]]:
    """What each variant's config has in place of the preset's; `base` is the preset itself.

    Those that would change nothing in `game` are left out.
    """
    found = {
        BASE: {},
        "puct": PUCT,
        "puct_forced": overlay(PUCT, {"search": {"forced_k": 2.0}}),
        # As KataGo has it; the noise and the temperatures need a root with noise.
        "shaped": overlay(PUCT, {"search": {"dirichlet_shaped": True}}),
        "temperature": {
            "search": {
                "root": "puct",
                "root_temperature_early": 1.25,
                "root_temperature_late": 1.1,
            },
            "selfplay": {"temperature_early": 0.8, "temperature_late": 0.2},
        },
        "root_fpu": overlay(PUCT, {"search": {"root_fpu_reduction": 0.0}}),
        "no_score": {"learner": {"score_weight": 0.0}},
        "no_ownership": {"learner": {"ownership_weight": 0.0}},
        "no_reply": {"learner": {"reply_weight": 0.0}},
        "zero_start": {"learner": {"start_at_marginals": False}},
        "no_symmetries": {"learner": {"symmetries": False}},
        "no_pooling": {"network": f"{network}n"},
        # Twice the visits where it is learnt, a third elsewhere: a fifth less on average.
        "caps": {"selfplay": {"visits": 64, "cheap_visits": 12, "full_share": 0.25}},
        "decided": {"selfplay": {"decided_value": 0.95}},
        "surprise": {"selfplay": {"surprise_share": 0.5}},
        "decay": {"selfplay": {"decay_flops": flops}},
        "short_value": {"network": f"{network}v"},
        "distribution": {"network": f"{network}d"},
        "preact": {"network": f"{network}p"},
        "samples_1": {"selfplay": {"samples_per_position": 1.0}},
        "samples_2": {"selfplay": {"samples_per_position": 2.0}},
        "samples_8": {"selfplay": {"samples_per_position": 8.0}},
    }
    if not game.has_score:
        del found["no_score"], found["distribution"]
    if not game.has_ownership:
        del found["no_ownership"]
    return found


def train(out: Path, name: str, seed: int, game: str, preset: str, flops: float) -> float:
    """Train the run of one variant and seed as far as it is not yet; what it has spent."""
    reached = run_selfplay(
        f"{name}-{seed}", game=game, preset=preset, seed=seed, flops=flops, workers=1,
        config_file=out / f"{name}.toml", root=out,
    )  # fmt: skip
    return reached.totals.flops


def train_all(names: list[str], given: argparse.Namespace) -> dict[str, list[float]]:
    """What the runs of each variant have spent, one a seed, once all are trained."""
    tasks = [
        (given.out, name, seed, given.game, given.preset, given.flops)
        for seed in range(1, given.seeds + 1)
        for name in names
    ]
    spent: dict[str, list[float]] = {name: [] for name in names}

    def check(task: tuple[Any, ...], flops: float) -> None:
        spent[task[1]].append(flops)
        if flops < given.flops:
            raise SystemExit(f"{task[1]}-{task[2]} was stopped; the same command goes on")

    side_by_side(train, tasks, given.jobs, check)
    return spent


def main() -> None:
    """Train, rate, and print the table; all of it stays in the folder `--out`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--game", default="go7")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--flops", type=float, default=3e12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--games", type=int, default=4000)
    parser.add_argument("--visits", type=int, default=64)
    parser.add_argument("--only", help="names of variants, with commas; base is always among them")
    parser.add_argument("--positions", type=int, default=1500, help="between two trainings")
    parser.add_argument("--in-play", type=int, default=64, help="games at once")
    parser.add_argument("--parallel", type=int, help="rated games at once: many fill the batches")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs-ablation"))
    given = parser.parse_args()
    network = make_config(None, preset=given.preset, game=given.game).network
    every = variants(get_game(given.game), network, given.flops)
    chosen = given.only.split(",") if given.only else every
    names = list(dict.fromkeys([BASE, *chosen]))
    if unknown := set(names) - set(every):
        parser.error(f"{min(unknown)!r} is no variant; there are {', '.join(every)}")
    given.out.mkdir(exist_ok=True)
    often = {"selfplay": {"positions_per_iteration": given.positions, "games": given.in_play}}
    for name in names:
        file = given.out / f"{name}.toml"
        replace_file(file, tomlkit.dumps(overlay(every[name], often)).encode())
    spent = train_all(names, given)
    runs = {name: [f"{name}-{seed}" for seed in range(1, given.seeds + 1)] for name in names}
    report = run_arena(
        None, None, root=given.out, visits=given.visits, games=given.games, game=given.game,
        players={run: run for seeds in runs.values() for run in seeds}, anchors=("random",),
        workers=os.cpu_count(), parallel=given.parallel,
    )  # fmt: skip
    elo = {row.name: row.elo for row in report.rows}
    found = {name: np.array([elo[run] for run in seeds]) for name, seeds in runs.items()}
    lines = ["| variant | TFLOP | Elo of each seed | above base | 95 % interval |"]
    lines.append("|---" * 5 + "|")
    table = {}
    for name, values in found.items():
        difference, low, high = welch(values, found[BASE])
        each = ", ".join(f"{value:.0f}" for value in values)
        cost = float(np.mean(spent[name]))
        table[name] = {"elo": list(values), "above": difference, "low": low, "high": high}
        table[name]["flops"] = cost
        shown = "" if name == BASE else f"{difference:+.0f} | {low:+.0f} to {high:+.0f}"
        lines.append(f"| {name} | {cost / 1e12:.1f} | {each} | {shown or ' | '} |")
    print("\n".join(lines))
    replace_file(given.out / "ablation.json", json.dumps(table, indent=1).encode())


if __name__ == "__main__":
    main()
