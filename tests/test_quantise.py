"""8-bit trunks: ranges, the correction of biases, and the integer network by OpenVINO."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from test_network import TRUNKS, lively, random_bits

from ghostgo.data.run import BOTS, load_network
from ghostgo.engine import openvino_backend
from ghostgo.engine.evaluator import NetworkEvaluator, make_evaluator
from ghostgo.engine.exactness import Exactness, compare, judge
from ghostgo.engine.games.game import Game, legal_mask_of, play_one, write_planes_of
from ghostgo.engine.quantise import (
    LEVELS,
    Rounding,
    _best_range,
    _rounded,
    _rounded_weight,
    calibrate,
)

needs_openvino = pytest.mark.skipif(
    not openvino_backend.available()[0], reason=openvino_backend.available()[1]
)


def played(game: Game, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Planes (N, P, C) and legal moves (N, A) of positions of random games, one at a time."""
    rng = np.random.default_rng(seed)
    planes = np.zeros((rows, game.points, game.planes), np.uint16)
    legal = np.zeros((rows, game.actions), np.uint8)
    state = game.new_states(1)
    for i in range(rows):
        legal_mask_of(state[0], legal[i])
        write_planes_of(state[0], legal[i], planes[i])
        play_one(state[0], int(rng.choice(np.flatnonzero(legal[i]))))
        if state[0].done:
            state = game.new_states(1)
    return planes, legal


def test_the_range_is_the_best_of_those_tried() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.cat([torch.rand(500_000, generator=generator), torch.tensor([4.0])])
    low, high = _best_range(x)
    assert low == 0 and 0 < high < float(x.max())

    def error(top: float) -> float:
        return float(((x - _rounded(x, 0.0, top)) ** 2).mean())

    tried = [error(float(x.max()) * cut) for cut in np.linspace(0.25, 1, 16)]
    assert error(high) < 1.02 * min(tried)


def test_zero_is_a_level_of_every_range() -> None:
    x = torch.linspace(-3.3, 7.1, 1000)
    low, high = _best_range(x)
    assert low < 0 < high
    zero = -low / ((high - low) / (LEVELS - 1))
    assert zero == pytest.approx(round(zero), abs=1e-6)
    assert float(_rounded(torch.zeros(1), low, high)) == pytest.approx(0, abs=1e-6)


def test_each_channel_has_its_own_scale() -> None:
    weight = torch.stack([torch.linspace(-1, 1, 27), 1e-3 * torch.linspace(-1, 1, 27)])
    weight = weight.view(2, 3, 3, 3)
    off = (_rounded_weight(weight) - weight).abs().amax(dim=(1, 2, 3))
    assert (off <= torch.tensor([1.0, 1e-3]) / 127 / 2 + 1e-9).all()


@pytest.mark.parametrize("preset", ["b1c16", "b1c16p"])
def test_biases_take_back_the_mean_shift_of_rounding(preset: str) -> None:
    network = lively("go5", preset)
    planes, _ = played(network.game, 64, 0)
    rounding = calibrate(network, planes)[0]
    block: Any = network.blocks[0]
    bits = torch.from_numpy(planes.view(np.int16)).view(torch.bfloat16).float()
    with torch.no_grad():
        x = network.stem(bits.view(64, 5, 5, -1).permute(0, 3, 1, 2))
        x = torch.relu(x if block.norm is None else block.norm(x))
        wanted = block.first(x)
        conv, norm = block.first[0], block.first[1]
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None, None]
        weight = _rounded_weight(conv.weight * scale)
        bias = norm.bias - norm.running_mean * scale.flatten() + torch.tensor(rounding.shift)
        given = torch.conv2d(_rounded(x, rounding.low, rounding.high), weight, bias, padding=1)
    assert torch.tensor(rounding.shift).abs().max() > 1e-3
    assert (given - wanted).mean(dim=(0, 2, 3)).abs().max() < 1e-4


def test_exactness_by_hand() -> None:
    logits = np.log(np.array([[0.5, 0.5, 0.3]], np.float32))
    other = np.log(np.array([[0.25, 0.75, 0.9]], np.float32))
    value = np.array([0.5, -0.5], np.float32)
    legal = np.array([[1, 1, 0]], np.uint8)
    found = compare(
        (np.repeat(logits, 2, 0), value),
        (np.concatenate([logits, other]), np.array([0.5, -0.3], np.float32)),
        np.repeat(legal, 2, 0),
    )
    divergence = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)  # the illegal move is left out
    assert found.policy_kl == pytest.approx(divergence / 2, abs=1e-6)
    assert found.value_error == pytest.approx(0.1) and found.value_error_max == pytest.approx(0.2)
    assert found.positions == 2 and not found.admits
    assert Exactness(1, 0.0049, 0.0099, 1.0).admits
    assert not Exactness(1, 0.0051, 0.0, 0.0).admits and not Exactness(1, 0.0, 0.011, 0.0).admits


@needs_openvino
@pytest.mark.parametrize("name", ["go5", "go7x5", "connect_four"])
@pytest.mark.parametrize("preset", TRUNKS)
def test_openvino_agrees_with_float32(name: str, preset: str) -> None:
    network = lively(name, preset)
    bits = random_bits(name, 13)
    wanted = judge(make_evaluator(network, 16, "cpu", "fp32"), bits)
    given = judge(make_evaluator(network, 16, "cpu", "openvino"), bits)
    assert np.abs(given[0] - wanted[0]).max() < 0.25 * wanted[0].std()
    assert np.abs(given[1] - wanted[1]).max() < 0.05


def exactness(bot: str) -> tuple[Exactness, NetworkEvaluator]:
    network = load_network(BOTS / bot)
    planes, legal = played(network.game, 300, 1)
    calibration = calibrate(network, played(network.game, 256, 2)[0])
    evaluator = make_evaluator(network, 64, "cpu", "int8", calibration)
    wanted = judge(make_evaluator(network, 64, "cpu", "fp32"), planes)
    return compare(wanted, judge(evaluator, planes), legal), evaluator


@needs_openvino
@pytest.mark.parametrize("bot", ["go9", "connect_four"])
def test_trained_networks_are_close_in_8_bits_and_not_equal(bot: str) -> None:
    found, evaluator = exactness(bot)
    assert 1e-6 < found.policy_kl < 0.005 and found.value_error < 0.02
    planes = played(evaluator.game, 50, 3)[0]
    first, again = judge(evaluator, planes), judge(evaluator, planes)
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()


@needs_openvino
@pytest.mark.parametrize("preset", TRUNKS)
def test_blocks_of_each_kind_compute_in_8_bits(preset: str) -> None:
    network = lively("go5", preset)
    planes, legal = played(network.game, 300, 1)
    calibration = calibrate(network, played(network.game, 256, 2)[0])
    wanted = judge(make_evaluator(network, 64, "cpu", "fp32"), planes)
    given = judge(make_evaluator(network, 64, "cpu", "int8", calibration), planes)
    found = compare(wanted, given, legal)
    assert found.admits and found.policy_kl > 1e-6, "close, and not equal"


@needs_openvino
def test_a_wrong_calibration_shows() -> None:
    """Guards the tests above: the calibration is what makes 8 bits exact."""
    network = load_network(BOTS / "go9")
    planes, legal = played(network.game, 300, 1)
    calibration = calibrate(network, planes)
    wrong = tuple(Rounding(r.low / 8, r.high / 8, r.shift) for r in calibration)
    wanted = judge(make_evaluator(network, 64, "cpu", "fp32"), planes)
    given = judge(make_evaluator(network, 64, "cpu", "int8", wrong), planes)
    assert not compare(wanted, given, legal).admits


@needs_openvino
def test_int8_is_loaded_with_a_calibration_of_its_own() -> None:
    network, other = lively("go5"), lively("go5", seed=1)
    planes, _ = played(network.game, 64, 0)
    one, two = (calibrate(net, planes) for net in (network, other))
    evaluator = make_evaluator(network, 64, "cpu", "int8", one)
    before = judge(evaluator, planes)
    with pytest.raises(ValueError, match="needs a calibration"):
        evaluator.load(other)
    evaluator.load(other, two)
    after = judge(evaluator, planes)
    fresh = judge(make_evaluator(other, 64, "cpu", "int8", two), planes)
    assert (after[0] == fresh[0]).all() and (after[1] == fresh[1]).all()
    assert (after[0] != before[0]).any()
    with pytest.raises(ValueError, match="another network"):
        make_evaluator(network, 64, "cpu", "int8", one[:2])


@needs_openvino
def test_threads_have_an_evaluator_each_and_the_same_answers() -> None:
    network = lively("go5")
    planes, _ = played(network.game, 200, 0)
    evaluators = [make_evaluator(network, 32, "cpu", "openvino") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda evaluator: judge(evaluator, planes), evaluators))
    for policy, value in answers[1:]:
        assert (policy == answers[0][0]).all() and (value == answers[0][1]).all()
