"""The convolutions of training and inference against the sum that defines them, and where they are used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import reference
import torch
from sizes import INTERPRETED
from torch import Tensor
from torch.nn import functional as F

from ghostgo.engine import convolution
from ghostgo.engine.convolution import Conv3x3, is_served
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.minimal import MinimalConv, Rooms, pool
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.engine.network import pool as pool_by_torch

winograd: Callable[[Tensor, Tensor], Tensor] = convolution._Convolution.apply


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(
    made: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, given: Tensor
) -> list[Tensor]:
    """The convolution's result, and the gradients of both inputs for that of the result."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = made(x, weight)
    out.backward(given)  # type: ignore[no-untyped-call]
    assert x.grad is not None and weight.grad is not None
    return [out.detach(), x.grad, weight.grad]


def direct(x: Tensor, weight: Tensor) -> Tensor:
    """The same by torch."""
    return F.conv2d(x, weight, padding=1)


def close(mine: Tensor, true: Tensor) -> bool:
    """Whether they differ by less than 1e-5 of the largest."""
    return bool((mine.double() - true).abs().max() < 1e-5 * true.abs().max())


@pytest.mark.parametrize(("rows", "cols"), [(9, 9), (4, 5), (5, 4), (1, 2), (6, 3)])
def test_it_is_the_sum_over_neighbours(rows: int, cols: int) -> None:
    x, weight = drawn(2, 3, rows, cols), drawn(4, 3, 3, 3, seed=1)
    out = winograd(x, weight)
    for board, made in zip(x, out, strict=True):
        true = reference.convolution(board.tolist(), weight.tolist(), rows, cols)
        assert close(made, torch.tensor(true, dtype=torch.float64))


@pytest.mark.parametrize(("rows", "cols"), [(9, 9), (4, 5), (5, 4), (8, 7), (7, 3)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_the_sums(rows: int, cols: int, layout: torch.memory_format) -> None:
    x, weight, given = drawn(5, 3, rows, cols), drawn(4, 3, 3, 3, seed=1), drawn(5, 4, rows, cols)
    x, given = x.to(memory_format=layout), given.to(memory_format=layout)
    true = gradients(direct, x.double(), weight.double(), given.double())
    assert all(map(close, gradients(winograd, x, weight, given), true))


def test_batches_longer_than_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, given = drawn(7, 2, 6, 6), drawn(3, 2, 3, 3, seed=1), drawn(7, 3, 6, 6)
    whole = gradients(winograd, x, weight, given)
    monkeypatch.setattr(convolution, "TILES_AT_ONCE", 12)  # rounds of 3, 3 and 1 boards of 4 tiles
    assert all(map(close, gradients(winograd, x, weight, given), [t.double() for t in whole]))


def test_threads_have_scratch_of_their_own() -> None:
    inputs = [
        (drawn(3, 4, 5 + i % 3, 6, seed=i), drawn(4, 4, 3, 3, seed=i), drawn(3, 4, 5 + i % 3, 6))
        for i in range(12)
    ]
    alone = [gradients(winograd, *each) for each in inputs]
    barrier = Barrier(4)

    def computed(each: tuple[Tensor, Tensor, Tensor]) -> tuple[int, list[Tensor]]:
        barrier.wait(60)  # so that each thread has one of every four
        address = convolution._scratch.take("inputs", 100_000).data_ptr()  # more than any needs
        found = gradients(winograd, *each)
        return address, found

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(computed, inputs))
    assert len({address for address, _ in together}) == 4
    for one, (_, other) in zip(alone, together, strict=True):
        assert all(map(torch.equal, one, other))


@pytest.mark.skipif(INTERPRETED, reason="plain Python leaves convolutions to torch")
def test_what_is_served() -> None:
    weight = drawn(32, 32, 3, 3).requires_grad_()
    x = drawn(2, 32, 9, 9)
    assert is_served(x, weight)
    with torch.no_grad():
        assert not is_served(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not is_served(x, weight)
    assert not is_served(x.double(), weight)
    assert not is_served(x, weight.detach())
    assert not is_served(drawn(2, 16, 9, 9), drawn(32, 16, 3, 3).requires_grad_())
    # Boards of which tiles of 3x3 waste much: 100 products for 8 x 8 at 4x4.
    assert not is_served(drawn(2, 32, 4, 4), weight)
    assert is_served(drawn(2, 32, 19, 19), weight)


@pytest.mark.skipif(INTERPRETED, reason="plain Python leaves convolutions to torch")
def test_a_network_learns_by_it_and_plays_without(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    game = get_game("go9")
    network = Network(game, NetworkConfig.preset("b2c32"))
    for parameter in network.parameters():
        if parameter.ndim == 1 and not parameter.any():
            torch.nn.init.normal_(parameter)  # blocks begin as identity, heads at zero
    x = drawn(4, game.planes, 9, 9)
    served: list[bool] = []
    kept = convolution.is_served

    def noted(x: Tensor, weight: Tensor) -> bool:
        served.append(kept(x, weight))
        return served[-1]

    monkeypatch.setattr(convolution, "is_served", noted)
    found = []
    for least in (32, 1000):
        monkeypatch.setattr(convolution, "LEAST_CHANNELS", least)
        network.zero_grad()
        out = network.trunk(x)
        out.square().mean().backward()  # type: ignore[no-untyped-call]
        found.append([out.detach(), *(p.grad for p in network.blocks.parameters())])
    assert served == [False, True, True, True, True] + [False] * 5  # the stem's planes are few
    for mine, true in zip(*found, strict=True):
        assert np.allclose(mine, true, atol=1e-4 * float(true.abs().max()))
    served.clear()
    with torch.no_grad():
        network.eval().trunk(x)
    assert served and not any(served)


def test_weights_are_those_of_torchs() -> None:
    torch.manual_seed(0)
    mine = Conv3x3(4, 8)
    torch.manual_seed(0)
    theirs = torch.nn.Conv2d(4, 8, 3, padding=1, bias=False)
    assert list(mine.state_dict()) == ["weight"]
    assert torch.equal(mine.weight, theirs.weight)


@pytest.mark.skipif(INTERPRETED, reason="plain Python leaves convolutions to torch")
def test_a_bias_is_not_lost_and_gradients_lie_as_weights_do() -> None:
    conv = Conv3x3(32, 32).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = drawn(2, 32, 9, 9)
    assert is_served(x, conv.weight)
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.stride() == conv.weight.stride()
    with torch.no_grad():
        without = conv(x)
        conv.bias = torch.nn.Parameter(torch.arange(32.0))
    torch.testing.assert_close(conv(x), without + conv.bias[:, None, None])


@pytest.mark.parametrize(("rows", "cols"), [(9, 9), (4, 5), (5, 4), (1, 2)])
@pytest.mark.parametrize("relu", [True, False])
def test_inference_adds_bias_skip_and_relu(rows: int, cols: int, relu: bool) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 3, padding=1)
    out = torch.full((5, rows * cols * 4), float("nan"))
    made = MinimalConv(conv, relu, rows, cols, Rooms(5, rows, cols, 4, 3), out)
    x = drawn(3, 3, rows, cols).contiguous(memory_format=torch.channels_last)
    skip = drawn(3, 4, rows, cols, seed=1).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        true = conv(x).double(), (conv(x) + skip).double()
        for mine, wanted in zip((made(x), made.add(x, skip)), true, strict=True):
            assert close(mine, F.relu(wanted) if relu else wanted)
    assert close(skip, F.relu(true[1]) if relu else true[1]), "in place of the skip"
    x[1, 0, 0, 0] = float("nan")
    with torch.no_grad():
        assert made(x).isnan().flatten(1).any(dim=1).tolist() == [False, True, False]


def test_inference_pools_as_training_does() -> None:
    x = drawn(3, 5, 6, 7).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pool(x), pool_by_torch(x))
