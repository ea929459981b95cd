"""What each ingredient of learning is worth at equal FLOPs, over seeds.

    python benchmarks/ablation.py [--game go7] [--flops 3e12] [--seeds 3] [--games 4000]
                                  [--visits 64] [--only puct,caps] [--positions 1500]
                                  [--in-play 64] [--jobs CORES] [--parallel N] [--out runs-ablation]
                                  [--number-format float32]

Trains a run for every variant and seed, each to the same FLOPs and with one thread, as many side by
side as there are jobs, then rates the last checkpoints of all of them in one pool. A table gives
each variant's mean Elo over seeds above that of `base`, with Welch's 95 % interval, which knows of
seeds and games alike. The same command goes on where it was stopped, and with more `--seeds` it adds
runs to those there are; `--games` is for three seeds, and more have more in proportion. Few games are
in play at once: with 256 a short run has spent a third of its FLOPs before the first of them end and
it learns; `default_pace` has as many, and as many positions between two trainings, as the preset.

`caps` mixes two effects: its searches are others, and as a quarter of the moves is learnt, at so many
samples each, it also trains a third as much for the FLOPs of its games. `caps_samples` trains as much
as `base` does, and shows the first alone.

All runs of an experiment train in one number format, which is written into their configs: left to
itself each process would measure which is faster. A folder from before this was written goes on as it
was begun.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from judging import side_by_side

from ghostgo.arena.arena import run_arena
from ghostgo.arena.curves import welch
from ghostgo.data.config import overlay, read_toml
from ghostgo.data.shards import replace_file
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.config import RunConfig, make_config
from ghostgo.selfplay.loop import run_selfplay

BASE = "base"
PUCT: dict[str, Any] = {"search": {"root": "puct"}, "selfplay": {"sampled_moves": 8}}


CAPS = {"visits": 64, "cheap_visits": 12, "full_share": 0.25}
"""Twice the visits where it is learnt, a third elsewhere: a fifth less on average."""


def variants(game: Game, preset: RunConfig, flops: float) -> dict[str, dict[str, Any]]:
    """What each variant's config has in place of the `preset`'s; `base` is the preset itself.

    Those that would change nothing in `game` are left out.
    """
    network, play = preset.network, preset.selfplay
    mean = CAPS["full_share"] * CAPS["visits"] + (1 - CAPS["full_share"]) * CAPS["cheap_visits"]
    # As many samples for each simulation as `base` has.
    samples = play.samples_per_position * mean / (CAPS["full_share"] * play.visits)
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
        "no_score": {"network": f"{network}s"},
        "no_ownership": {"network": f"{network}o"},
        "no_reply": {"network": f"{network}y"},
        "zero_start": {"learner": {"start_at_marginals": False}},
        "muon": {"learner": {"optimizer": "muon"}},
        "no_symmetries": {"learner": {"symmetries": False}},
        "no_pooling": {"network": f"{network}n"},
        "caps": {"selfplay": CAPS},
        "caps_samples": {"selfplay": {**CAPS, "samples_per_position": samples}},
        "decided": {"selfplay": {"decided_value": 0.95}},
        "surprise": {"selfplay": {"surprise_share": 0.5}},
        "decay": {"selfplay": {"decay_flops": flops}},
        "short_value": {"network": f"{network}v"},
        "distribution": {"network": f"{network}d"},
        "preact": {"network": f"{network}p"},
        "samples_1": {"selfplay": {"samples_per_position": 1.0}},
        "samples_2": {"selfplay": {"samples_per_position": 2.0}},
        "samples_8": {"selfplay": {"samples_per_position": 8.0}},
        "default_pace": {
            "selfplay": {
                "positions_per_iteration": play.positions_per_iteration,
                "games": play.games,
            }
        },
    }
    if not game.has_score:
        del found["no_score"], found["distribution"]
    if not game.has_ownership:
        del found["no_ownership"]
    return found


def configs(
    every: dict[str, dict[str, Any]], positions: int, in_play: int, number_format: str
) -> dict[str, dict[str, Any]]:
    """The config file of each variant: what it says, over the pace and number format of all."""
    often = {
        "selfplay": {"positions_per_iteration": positions, "games": in_play},
        "learner": {"number_format": number_format},
    }
    if number_format == "auto":  # a folder from before there were these: none of its runs has them
        without = {"selfplay": {"decided_share": 0.0}, "learner": {"score_cdf": 0.0}}
        often = overlay(often, without)
    return {name: overlay(often, own) for name, own in every.items()}


def format_of(out: Path, wanted: str | None) -> str:
    """The number format of the experiment in folder `out`: as it was begun, else as `wanted`.

    Ends the program if these are not the same.
    """
    begun = out / f"{BASE}.toml"
    if not begun.exists():
        return wanted or "float32"
    found = str(read_toml(begun).get("learner", {}).get("number_format", "auto"))
    if wanted not in (None, found):
        raise SystemExit(f"{out}: was begun with --number-format {found}; use another --out")
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


def rated(games: int, seeds: int) -> int:
    """Games to rate so many seeds by, where `games` are for three: so that new runs get theirs."""
    return math.ceil(games * seeds / 3)


def main() -> None:
    """Train, rate, and print the table; all of it stays in the folder `--out`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--game", default="go7")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--flops", type=float, default=3e12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--games", type=int, default=4000, help="rated in all, for three seeds")
    parser.add_argument("--visits", type=int, default=64)
    parser.add_argument("--only", help="names of variants, with commas; base is always among them")
    parser.add_argument("--positions", type=int, default=1500, help="between two trainings")
    parser.add_argument("--in-play", type=int, default=64, help="games at once")
    parser.add_argument("--parallel", type=int, help="rated games at once: many fill the batches")
    parser.add_argument("--number-format", choices=["float32", "bfloat16"], help="of training")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs-ablation"))
    given = parser.parse_args()
    preset = make_config(None, preset=given.preset, game=given.game)
    every = variants(get_game(given.game), preset, given.flops)
    chosen = given.only.split(",") if given.only else every
    names = list(dict.fromkeys([BASE, *chosen]))
    if unknown := set(names) - set(every):
        parser.error(f"{min(unknown)!r} is no variant; there are {', '.join(every)}")
    given.out.mkdir(exist_ok=True)
    chosen_format = format_of(given.out, given.number_format)
    written = configs(every, given.positions, given.in_play, chosen_format)
    for name in names:
        replace_file(given.out / f"{name}.toml", tomlkit.dumps(written[name]).encode())
    spent = train_all(names, given)
    runs = {name: [f"{name}-{seed}" for seed in range(1, given.seeds + 1)] for name in names}
    report = run_arena(
        None, None, root=given.out, visits=given.visits, games=rated(given.games, given.seeds),
        game=given.game,
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
