"""A network's trunk in one kernel, and batches that threads share, against torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sizes import INTERPRETED
from test_network import floats, lively, random_bits

from ghostgo.engine import blas, fused, tower
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

pytestmark = pytest.mark.skipif(
    INTERPRETED or not blas.available(), reason="this torch exports no sgemm, or plain Python runs"
)
NETWORK = "b2c32"
"""Its second block pools."""


def test_products_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 7, 5)).astype(np.float32)
    b = rng.normal(size=(3, 5, 4)).astype(np.float32)
    out = np.full((3, 7, 4), np.nan, np.float32)
    blas.multiply(a, b, out)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_trunk_is_that_of_torch(threads: int) -> None:
    network = lively("go9", NETWORK)
    assert tower.fits(network)
    made = tower.Tower(network, 4, threads)
    x = floats("go9", random_bits("go9", 4 * threads)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        wanted = network.trunk(x)
        for n in (4 * threads, 1, 3):  # all memory, and fewer boards than threads
            torch.testing.assert_close(made(x[:n]), wanted[:n], rtol=1e-4, atol=1e-4)


def test_what_is_not_a_number_stays_on_its_board() -> None:
    made = tower.Tower(lively("go9", NETWORK), 3)
    x = floats("go9", random_bits("go9", 3)).contiguous(memory_format=torch.channels_last)
    x[1, 0, 4, 4] = float("nan")
    assert made(x).isnan().flatten(1).any(dim=1).tolist() == [False, True, False]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """With more, a product of few rows is shared out otherwise, and its last bits may differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_boards_that_only_fill_up_cost_nothing_and_change_nothing() -> None:
    network = lively("go9", NETWORK)
    x = floats("go9", random_bits("go9", 80)).contiguous(memory_format=torch.channels_last)
    made = fused.FusedNetwork(network, 80, True, torch.float32)
    at_once = made.boards_at_once
    assert made.tower is not None and 16 < at_once < 80, "the last batches here have several parts"
    policy, value, score = made(x)
    assert score is not None
    for wanted, rows in ((1, 8), (3, 8), (9, 16), (at_once, at_once + 8), (at_once + 3, 72)):
        made.tower.x.fill_(float("nan"))
        p, v, s = made(x[:rows], wanted)
        assert s is not None and len(p) == rows
        assert torch.equal(p[:wanted], policy[:wanted]), "the bits of a larger batch"
        assert torch.equal(v[:wanted], value[:wanted])
        assert torch.equal(s[:wanted], score[:wanted])
        if rows <= at_once:
            assert made.tower.x[wanted:].isnan().all(), "the others were not computed"


def test_which_networks_have_one() -> None:
    assert not tower.fits(lively("go9", "b2c32p")), "a norm stands between blocks"
    assert not tower.fits(lively("go9", "b2c16")), "too few channels"
    assert not tower.fits(Network(get_game("go7"), NetworkConfig.preset(NETWORK)))
    assert tower.fits(Network(get_game("go19"), NetworkConfig.preset(NETWORK)))


@pytest.mark.parametrize("boards", [3, 70, 130])
def test_a_shared_batch_is_judged_alike(boards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one thread, by two, and layer by layer where the kernel has no products to call."""
    monkeypatch.setattr(fused, "has_bfloat16", lambda: False)
    fused._tried.cache_clear()
    network, bits = lively("go9", NETWORK), random_bits("go9", boards)
    found = []
    for threads, has_blas in ((1, True), (2, True), (2, False)):
        monkeypatch.setattr(blas, "available", lambda has=has_blas: has)
        evaluator = make_evaluator(network, boards, "cpu", "fused", score=True, threads=threads)
        assert (evaluator._compiled.tower is not None) == has_blas  # type: ignore[union-attr]
        evaluator.planes[:] = bits
        for _ in range(2):
            evaluator.evaluate(boards)
        found.append((evaluator.policy[:boards], evaluator.value, evaluator.score))
    fused._tried.cache_clear()
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
