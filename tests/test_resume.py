"""A run that was stopped between iterations goes on as if it had not been: by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sizes import sized
from test_kill import finish, ghostgo

from ghostgo.data.ledger import read_ledger
from ghostgo.data.run import Run, load_network, load_state
from ghostgo.data.shards import read_shard

CONFIG = """
network = "b1c8dv"
[selfplay]
games = 8
visits = 4
cheap_visits = 2
full_share = 0.5
surprise_share = 0.5
decay_flops = 1e9
positions_per_iteration = {positions}
window_start = 150
[selfplay.vary]
komi = [0.5, 3.5]
ko = ["positional", "simple"]
[learner]
batch_size = 64
"""
CLOCK = {"time", "seconds", "core_seconds"}
"""What two runs never share."""


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dicts and lists by name."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        return {name: value}
    return {key: leaf for k, each in pairs for key, leaf in flat(each, f"{name}/{k}").items()}


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and same(one.numpy(), other.numpy())
    if isinstance(one, np.ndarray):
        return bool(
            one.dtype == other.dtype
            and one.shape == other.shape
            and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
        )
    return bool(one == other)


def assert_same(one: Any, other: Any) -> None:
    """Nested values are equal bit for bit; the leaves that are not are named."""
    a, b = flat(one), flat(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not same(a[name], b[name])] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_two_processes_play_and_learn_what_one_does(tmp_path: Path, workers: int) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(positions=sized(150, 40)))
    words = ["selfplay", "--game", "go5", "--config", "c.toml", "--workers", str(workers)]
    most = sized(60, 12)
    finish(ghostgo(tmp_path, *words, "--run", "parts", "--games", "1"))
    first = Run.open(tmp_path / "runs" / "parts").latest()
    finish(ghostgo(tmp_path, *words, "--run", "parts", "--games", str(most)))
    finish(ghostgo(tmp_path, *words, "--run", "whole", "--games", str(most)))
    whole, parts = (Run.open(tmp_path / "runs" / name) for name in ("whole", "parts"))
    one, other = whole.latest(), parts.latest()
    assert one.step == other.step > first.step > 0
    assert_same(
        dict(load_network(one.path).state_dict()), dict(load_network(other.path).state_dict())
    )
    state = load_state(one)
    assert state is not None and state["learner"]["steps"] > 0
    assert_same(state, load_state(other))
    assert one.meta["bits"] == other.meta["bits"] != {}
    names = [path.name for path in sorted(whole.shards.glob("*.h5"))]
    assert names == [path.name for path in sorted(parts.shards.glob("*.h5"))] != []
    for name in names:
        a, b = (read_shard(run.shards / name) for run in (whole, parts))
        assert (a.weights == 0).any() and len(a.rules_table) > 1, "the switches are on"
        assert_same(vars(a), vars(b))
    rows = [
        [
            {k: v for k, v in row.items() if k not in CLOCK}
            for row in read_ledger(run.folder / "ledger.jsonl")
        ]
        for run in (whole, parts)
    ]
    assert rows[0] == rows[1]
