"""What settings of the learner are worth, on data that lies still.

    python benchmarks/learning.py runs/NAME --samples 300000 \
        --try learning_rate=0.002 --try learning_rate=0.008 --try net=b4c48,batch_size=128 --try optimizer=muon,muon_rate=0.004
    python benchmarks/learning.py runs/warm/records/train.h5 --held-out runs/warm/records/held_out.h5

Each try trains a fresh network on the shards of a run, the newest tenth of them held out (or on one
file of games), on the same number of samples drawn by the same seed, and prints the losses of the
averaged weights on held-out positions along the way. A learning rate that wins here learns faster
from given games; whether the games it then plays are better only a run can tell.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostgo.data.replay import ReplayWindow
from ghostgo.data.shards import read_shard
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.learner import Learner, LearnerConfig, head_losses

HELD_OUT_ROWS, REPORTS = 4096, 3


def read(data: Path, held_out: Path | None, few: int | None) -> tuple[ReplayWindow, ReplayWindow]:
    """Windows to train on and to judge by."""
    paths = sorted((data / "shards").glob("*.h5")) if data.is_dir() else [data]
    if held_out is None and len(paths) < 2:
        raise SystemExit(f"{data}: has fewer than two shards: give --held-out FILE")
    last = [held_out] if held_out else paths[-max(1, len(paths) // 10) :]
    first = paths if held_out else paths[: -len(last)]
    windows = []
    game = read_shard(paths[0]).game  # a run may have other boards besides its own, which is first
    for group in (first, last):
        tables = [table for table in map(read_shard, filter(None, group)) if table.game == game]
        window = ReplayWindow(get_game(game), few, seed=0)
        for table in tables:
            window.add(table)
        windows.append(window)
    return windows[0], windows[1]


def parse_try(text: str) -> tuple[str, LearnerConfig]:
    """Network and learner of `net=b4c32,learning_rate=0.01`."""
    net, config = "b4c32", LearnerConfig()
    kinds = {field.name: type(getattr(config, field.name)) for field in fields(config)}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name == "net":
            net = value
        elif name in kinds:
            config = replace(config, **{name: kinds[name](value)})
        else:
            raise SystemExit(f"--try {part}: net and {', '.join(kinds)} can be set")
    return net, config


def attempt(
    text: str, train: ReplayWindow, judged: ReplayWindow, samples: int, cosine: bool
) -> None:
    """Train one try and print its held-out losses at each third."""
    net, config = parse_try(text)
    torch.manual_seed(0)
    network = Network(train.game, NetworkConfig.preset(net))
    learner = Learner(network, config, "cpu", os.cpu_count() or 1)
    rows = np.random.default_rng(9).choice(
        judged.rows, min(HELD_OUT_ROWS, judged.rows), replace=False
    )
    batch, steps = judged.rows_batch(rows), samples // config.batch_size
    start, told = time.perf_counter(), []
    for step in range(steps):
        rate = 0.5 * (1 + math.cos(math.pi * step / steps)) if cosine else 1.0
        learner.step(train.sample(config.batch_size, np.random.default_rng([3, step])), rate)
        if (step + 1) % max(1, steps // REPORTS) == 0:
            out: dict[str, Any] = learner.judge(batch)
            with torch.no_grad():
                losses = head_losses(out, batch, train.game)
            told.append(f"{float(losses['policy']):.3f} / {float(losses['value']):.3f}")
    seconds = time.perf_counter() - start
    print(
        f"{text or 'defaults':44} {'   '.join(told)}   {samples / seconds:,.0f} samples/s",
        flush=True,
    )


def main() -> None:
    """Train and judge each try."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--samples", type=int, default=300_000)
    parser.add_argument("--value-positions", type=int, help="a game; all if not given")
    parser.add_argument("--cosine", action="store_true", help="anneal, as imitation does")
    parser.add_argument("--try", dest="tries", action="append")
    given = parser.parse_args()
    train, judged = read(given.data, given.held_out, given.value_positions)
    print(f"{train.rows:,} positions; held-out losses, policy / value, at each third")
    for text in given.tries or [""]:
        attempt(text, train, judged, given.samples, given.cosine)


if __name__ == "__main__":
    main()
