"""Muon: its step, which parameters it trains, and going on from a stored state."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import LETTERS, Network, NetworkConfig
from ghostgo.selfplay.config import make_config
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.selfplay.muon import Muon, orthogonalised
from ghostgo.selfplay.precision import blank_batch

GAME = get_game("tic_tac_toe")
OPTIONS: dict[str, Any] = {"lr": 0.004, "momentum": 0.9, "weight_decay": 0.1}
SHAPES = [(16, 72), (48, 16), (24, 24), (16, 8, 3, 3), (16, 4, 1, 1)]


def normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Normal numbers, channels-last if they are a kernel."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(memory_format=torch.channels_last) if len(shape) == 4 else drawn


def walk(weight: nn.Parameter, made: torch.optim.Optimizer, seeds: range) -> None:
    """A step by each seed's gradient."""
    for seed in seeds:
        weight.grad = normal(tuple(weight.shape), seed)
        made.step()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_orthogonal_and_as_long_as_its_rate(shape: tuple[int, ...]) -> None:
    weight = nn.Parameter(torch.zeros(shape))
    walk(weight, Muon([weight], lr=0.004, momentum=0.95, weight_decay=0.1), range(1))
    step = weight.detach().flatten(1)
    assert float(step.square().mean().sqrt()) == pytest.approx(0.004, rel=0.2)
    values = torch.linalg.svdvals(step / (0.004 * max(step.shape) ** 0.5))
    assert 0.65 < values.min() <= values.max() < 1.2


def test_the_step_goes_down_the_gradient() -> None:
    u, _, v = torch.linalg.svd(normal((12, 20), 1), full_matrices=False)
    values = torch.linspace(0.2, 1, 12)
    matrix = u * values @ v
    made = orthogonalised(matrix)
    torch.testing.assert_close(made, orthogonalised(matrix.T).T, rtol=0, atol=1e-4)
    assert ((u.T @ made @ v.T).diagonal() > 0.65).all(), "the same singular vectors, none turned"
    assert not orthogonalised(torch.zeros(4, 3)).any()


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_it_steps_as_the_muon_of_torch(shape: tuple[int, ...]) -> None:
    """That one iterates in bfloat16; its `match_rms_adamw` is a fifth of our length."""
    ours, theirs = (nn.Parameter(normal(shape, 9)) for _ in range(2))
    walk(ours, Muon([ours], **OPTIONS), range(4))
    other = {**OPTIONS, "lr": OPTIONS["lr"] / 0.2, "weight_decay": OPTIONS["weight_decay"] * 0.2}
    walk(theirs, torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **other), range(4))
    moved, wanted = (each.detach() - normal(shape, 9) for each in (ours, theirs))
    assert (moved - wanted).norm() < 0.02 * wanted.norm()


def test_decay_alone_shrinks_the_weights() -> None:
    weight = nn.Parameter(normal((4, 6), 1))
    weight.grad = torch.zeros(4, 6)
    Muon([weight], **OPTIONS).step()
    torch.testing.assert_close(weight.detach(), normal((4, 6), 1) * (1 - 0.004 * 0.1))


def test_a_kernel_goes_on_from_its_state_bit_for_bit() -> None:
    whole = nn.Parameter(normal((16, 8, 3, 3), 9))
    made = Muon([whole], **OPTIONS)
    walk(whole, made, range(3))
    parts = copy.deepcopy(whole)
    again = Muon([parts], **OPTIONS)
    again.load_state_dict(copy.deepcopy(made.state_dict()))
    walk(whole, made, range(3, 6))
    walk(parts, again, range(3, 6))
    assert torch.equal(whole, parts)
    for each in (whole, made.state[whole]["momentum"], again.state[parts]["momentum"]):
        assert each.is_contiguous(memory_format=torch.channels_last)


def test_side_by_side_it_moves_to_the_same_bits() -> None:
    shapes = [(16, 8, 3, 3), (8, 8, 3, 3), (6, 4), (4, 6), (32, 8)]
    with ThreadPoolExecutor(2) as pool:
        moved = []
        for threads in (None, pool):
            weights = [nn.Parameter(normal(shape, 9)) for shape in shapes]
            made = Muon(weights, **OPTIONS, threads=threads)
            for step in range(5):
                for number, weight in enumerate(weights):
                    weight.grad = normal(tuple(weight.shape), 100 * step + number)
                made.step()
            moved.append([*weights, *(made.state[weight]["momentum"] for weight in weights)])
    for one, two in zip(*moved, strict=True):
        assert torch.equal(one, two) and one.requires_grad == two.requires_grad


def test_a_fault_in_a_thread_is_not_lost() -> None:
    with ThreadPoolExecutor(2) as pool:
        weight = nn.Parameter(normal((4, 6), 1))
        made = Muon([weight], **OPTIONS, threads=pool)
        weight.grad = torch.zeros(4, 6)
        made.step()
        made.state[weight]["momentum"] = torch.zeros(3)
        with pytest.raises(RuntimeError, match="size"):
            made.step()


@pytest.mark.parametrize(
    ("game", "name"),
    [("connect_four", "b2c8"), *(("go5", f"b2c8{letter}") for letter in ("", *LETTERS))],
)
def test_each_parameter_has_one_optimiser(game: str, name: str) -> None:
    network = Network(get_game(game), NetworkConfig.preset(name))
    learner = Learner(network, LearnerConfig(optimizer="muon"))
    assert learner.muon is not None
    trained: dict[str, list[int]] = {}
    for kind, made in (("adamw", learner.optimizer), ("muon", learner.muon)):
        trained[kind] = [id(each) for group in made.param_groups for each in group["params"]]
    ids = [id(each) for each in network.parameters()]
    assert sorted(trained["adamw"] + trained["muon"]) == sorted(ids)
    for key, each in network.named_parameters():
        of_end = "_out." in key or key in ("rank.weight", "counting.weight")
        assert (id(each) in trained["muon"]) == (each.ndim > 1 and not of_end), key


def learner_by(optimizer: Any) -> Learner:
    """A learner of a small network, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Network(GAME, NetworkConfig(2, 8))
    config = LearnerConfig(batch_size=16, warmup_steps=4, optimizer=optimizer)
    return Learner(network, config)


def test_each_optimiser_keeps_its_peak() -> None:
    learner = learner_by("muon")
    assert learner.muon is not None
    batch = blank_batch(GAME, 16)
    batch.planes[:] = np.random.default_rng(0).integers(0, 2, batch.planes.shape) * 0x3F80
    batch.policy[:] = np.eye(9, dtype=np.float32)[np.arange(16) % 9]
    first = learner.step(batch, rate=0.5)
    for made, peak in ((learner.optimizer, 8e-3), (learner.muon, 4e-3)):
        assert {group["lr"] for group in made.param_groups} == {peak * 0.5 / 4}
    for _ in range(20):
        last = learner.step(batch)
    assert last["policy"] < 0.9 * first["policy"]


def test_the_state_of_the_other_optimiser_is_refused() -> None:
    states = {name: learner_by(name).state_dict() for name in ("adamw", "muon")}
    assert states["adamw"].keys() == {"optimizer", "steps", "bfloat16", "device", "network"}
    for mine, theirs in (("adamw", "muon"), ("muon", "adamw")):
        wanted = f'optimizer = "{mine}": the run was trained by "{theirs}" so far: write "{theirs}"'
        with pytest.raises(UserError, match=wanted) as raised:
            learner_by(mine).load_state_dict(states[theirs])
        assert "\n" not in str(raised.value)


def test_another_optimiser_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="optimizer") as raised:
        make_config({"learner": {"optimizer": "sgd"}}, game="tic_tac_toe")
    assert "adamw, muon" in str(raised.value)
