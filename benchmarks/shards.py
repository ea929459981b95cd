"""Games as moves and search targets beside games as planes: size, writing, reading, sampling.

    python benchmarks/shards.py [--positions 8192] [--visits 16] [--json FILE]

The bot `go9` plays itself as self-play does. The games are written as a shard, and as the rows that
training sees, planes and all, to HDF5 files under gzip and lzf in chunks of 64 rows. A batch is 256
rows drawn with replacement: from our replay window, which replays games; from the compressed file, as
a window too large for memory would be read; and from planes held in memory. Only our window turns
each row by a symmetry of the board. One thread; best of several rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from ghostgo.data.batch import Batch
from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import BOTS, load_network
from ghostgo.data.shards import read_shard, write_shard
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.search_config import SearchConfig, batch_rows
from ghostgo.selfplay.actor import Actor

GAMES, BATCH, CHUNK, ROUNDS = 64, 256, 64, 5
HALVES = ("policy", "reply", "short")
"""Stored as float16, as shards store policies and values."""


def self_play(positions: int, visits: int) -> GameTable:
    """Games of the bot with itself, so many positions at least."""
    network = load_network(BOTS / "go9")
    config = SearchConfig(explore=True)
    evaluator = make_evaluator(network, batch_rows(config, GAMES), "cpu")
    actor = Actor(network.game, evaluator, GAMES, visits, config, opening_plies=4)
    while actor.positions < positions:
        actor.step()
    return actor.take()


def best(work: Callable[[], object], rows: int) -> float:
    """Rows a second of `work`, which does `rows` of them."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return rows / min(seconds)


def stored(batch: Batch) -> dict[str, Any]:
    """A batch's columns as small as they go without loss beyond that of shards."""
    columns = {
        field.name: getattr(batch, field.name) for field in fields(Batch) if field.name != "origin"
    }
    columns |= {name: columns[name].astype(np.float16) for name in HALVES}
    columns["ownership"] = (2 * columns["ownership"]).astype(np.int8)
    columns["rank"] = columns["rank"].astype(np.int8)
    return columns


def write_rows(path: Path, columns: dict[str, Any], compression: str) -> None:
    """All rows to a file of chunks."""
    level = 1 if compression == "gzip" else None
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, column in columns.items():
            file.create_dataset(
                name, data=column, chunks=(CHUNK, *column.shape[1:]), compression=compression,
                compression_opts=level, shuffle=True,
            )  # fmt: skip


def read_rows(path: Path) -> dict[str, Any]:
    """All rows of a file."""
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def ours(table: GameTable, folder: Path) -> dict[str, float]:
    """The shard and the replay window."""
    path = folder / "games.h5"
    writing = best(lambda: write_shard(path, table, {}), table.positions)
    window = ReplayWindow(load_network(BOTS / "go9").game, short=True)
    window.add(read_shard(path))
    rng = np.random.default_rng(0)
    window.sample(BATCH, rng)
    return {
        "bytes": path.stat().st_size / table.positions,
        "write": writing,
        "read": best(lambda: read_shard(path), table.positions),
        "sample": best(lambda: [window.sample(BATCH, rng) for _ in range(20)], 20 * BATCH),
        "memory": window.bytes / window.rows,
    }


def planes(columns: dict[str, Any], folder: Path, compression: str) -> dict[str, float]:
    """A file of rows, sampled where it lies and from memory."""
    path, rows = folder / f"{compression}.h5", len(columns["value"])
    writing = best(lambda: write_rows(path, columns, compression), rows)
    rng = np.random.default_rng(0)

    def from_file() -> None:
        drawn, back = np.unique(rng.integers(rows, size=BATCH), return_inverse=True)
        with h5py.File(path) as file:
            for name in columns:
                file[name][drawn][back]

    def from_memory() -> None:
        for _ in range(20):
            drawn = rng.integers(rows, size=BATCH)
            for column in columns.values():
                column[drawn]

    return {
        "bytes": path.stat().st_size / rows,
        "write": writing,
        "read": best(lambda: read_rows(path), rows),
        "sample": best(from_file, BATCH),
        "sample_from_memory": best(from_memory, 20 * BATCH),
        "memory": sum(column.nbytes for column in columns.values()) / rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, default=8192)
    parser.add_argument("--visits", type=int, default=16)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    table = self_play(given.positions, given.visits)
    window = ReplayWindow(load_network(BOTS / "go9").game, short=True)
    window.add(table)
    columns = stored(window.rows_batch(np.arange(window.rows)))
    print(f"{len(table)} games, {table.positions} positions, {window.rows} rows")
    with tempfile.TemporaryDirectory() as name:
        found = {"moves and policies": ours(table, Path(name))}
        for compression in ("gzip", "lzf"):
            found[f"planes, {compression}"] = planes(columns, Path(name), compression)
    print(
        f"{'':20}{'bytes':>8}{'write/s':>10}{'read/s':>10}{'sample/s':>10}{'in memory':>11}{'held':>7}"
    )
    for form, each in found.items():
        kept = each.get("sample_from_memory", each["sample"])
        print(
            f"{form:20}{each['bytes']:8.1f}{each['write']:10.0f}{each['read']:10.0f}"
            f"{each['sample']:10.0f}{kept:11.0f}{each['memory']:7.0f}"
        )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
