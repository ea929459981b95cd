"""A run that was stopped between iterations goes on as if it had not been: by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sizes import sized
from test_kill import finish, ghostgo

from ghostgo.data.ledger import Totals, read_ledger
from ghostgo.data.run import Run, load_network, load_state
from ghostgo.data.shards import read_shard
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.learner import can_bfloat16
from ghostgo.selfplay.slots import CHEAP, DECIDED, FULL

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
number_format = "{format}"
"""
ROOT = """
network = "b1c8dv"
[search]
root = "puct"
forced_k = 2.0
dirichlet_shaped = true
root_temperature_early = 1.25
root_temperature_late = 1.1
root_fpu_reduction = 0.0
[selfplay]
games = 8
visits = 6
temperature_early = 0.8
temperature_late = 0.2
decided_value = 0.02
decided_visits = 2
decided_moves = 2
decided_share = 0.3
positions_per_iteration = {positions}
window_start = 150
[anchor]
fade_flops = 1e10
[learner]
batch_size = 64
number_format = "{format}"
"""
"""With a noisy PUCT root, decided games, and a prior that is held."""
BFLOAT16 = pytest.mark.skipif(not can_bfloat16("cpu"), reason="this machine has no bfloat16")
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


def make_prior(folder: Path) -> None:
    """A run `prior` below `folder` with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Network(get_game("go5"), NetworkConfig.preset("b1c8dv"))
    with Run.creating(folder / "prior", "go5", 0, "") as fresh:
        fresh.save_checkpoint(0, network, {"totals": Totals().to_dict()})


# The number format is given, since which is faster here each process would measure for itself.
@pytest.mark.parametrize(
    ("config", "workers", "number_format"),
    [
        (CONFIG, 2, "float32"),
        (ROOT, 1, "float32"),
        pytest.param(CONFIG, 1, "bfloat16", marks=BFLOAT16),
    ],
)
def test_two_processes_play_and_learn_what_one_does(
    tmp_path: Path, config: str, workers: int, number_format: str
) -> None:
    text = config.format(positions=sized(150, 40), format=number_format)
    (tmp_path / "c.toml").write_text(text)
    words = ["selfplay", "--game", "go5", "--config", "c.toml", "--workers", str(workers)]
    if config is ROOT:
        make_prior(tmp_path / "runs")
        words += ["--from", "prior", "--anchor", "fade"]
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
    kinds = {int(kind) for actor in state["actors"] for kind in actor["full"].unique()}
    assert kinds == ({FULL, DECIDED} if config is ROOT else {FULL, CHEAP})
    assert state["learner"]["bfloat16"] == (number_format == "bfloat16")
    assert one.meta["bits"] == other.meta["bits"] != {}
    names = [path.name for path in sorted(whole.shards.glob("*.h5"))]
    assert names == [path.name for path in sorted(parts.shards.glob("*.h5"))] != []
    for name in names:
        a, b = (read_shard(run.shards / name) for run in (whole, parts))
        assert (a.weights == 0).any(), "the switches are on"
        assert (len(a.rules_table) > 1) == (config is CONFIG)
        assert_same(vars(a), vars(b))
    rows = [
        [
            {k: v for k, v in row.items() if k not in CLOCK}
            for row in read_ledger(run.folder / "ledger.jsonl")
        ]
        for run in (whole, parts)
    ]
    assert rows[0] == rows[1]
