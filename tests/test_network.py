"""Network, fused inference and evaluator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ghostgo.engine import fused
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_backend, choose_device, make_evaluator
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import (
    PRESETS,
    Block,
    Network,
    NetworkConfig,
    count_flops,
    expected_value,
    pool,
)

TRUNKS = ("b3c32", "b3c32p", "b2c32n")
"""Networks with blocks of each kind, with and without pooling, and one with none in its blocks."""


def lively(name: str, preset: str = "b3c32", seed: int = 0) -> Network:
    """A network whose weights and statistics are far from their start, so that errors show."""
    torch.manual_seed(seed)
    network = Network(get_game(name), NetworkConfig.preset(preset)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.2)
                module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan = module.weight[0].numel()
                module.weight.normal_(0, (1.5 / fan) ** 0.5)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1)
    return network


def random_bits(game_name: str, rows: int, seed: int = 0) -> np.ndarray:
    game = get_game(game_name)
    rng = np.random.default_rng(seed)
    ones = rng.random((rows, game.points, game.planes)) < 0.3
    return (ones * 0x3F80).astype(np.uint16)


def floats(name: str, bits: np.ndarray) -> torch.Tensor:
    """Planes (N, P, C) of bfloat16 bits as (N, C, H, W) float32."""
    game = get_game(name)
    x = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float()
    return x.view(len(bits), game.rows, game.cols, game.planes).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["go5", "go7x5", "connect_four"])
def test_heads_have_their_shapes_and_start_neutral(name: str) -> None:
    game = get_game(name)
    network = Network(game, NetworkConfig.preset("b2c16")).eval()
    out = network(torch.rand(3, game.planes, game.rows, game.cols))
    assert out["policy"].shape == out["reply"].shape == (3, game.actions)
    assert out["value"].shape == (3, 3)
    assert not out["policy"].any() and not out["value"].any()
    assert ("ownership" in out) == game.has_ownership
    if game.has_ownership:
        assert out["ownership"].shape == (3, game.points)


def test_one_set_of_weights_serves_every_board_size() -> None:
    small = lively("go5")
    large = Network(get_game("go9"), small.config)
    large.load_state_dict(small.state_dict())
    out = large.eval()(torch.rand(2, small.game.planes, 9, 9))
    assert out["policy"].shape == (2, 82)


@pytest.mark.parametrize("name", ["go5", "go7x5", "go9", "connect_four"])
@pytest.mark.parametrize("preset", TRUNKS)
def test_backends_agree_with_float32(name: str, preset: str) -> None:
    network = lively(name, preset)
    bits = random_bits(name, 13)
    with torch.no_grad():
        out = network(floats(name, bits))
    policy, value = out["policy"].numpy(), expected_value(out["value"]).numpy()
    backends = {"fp32": 1e-4, "bf16": 0.05}
    if fused.available()[0]:
        backends["fused"] = 0.05
    for backend, tolerance in backends.items():
        evaluator = make_evaluator(network, 16, "cpu", backend)
        evaluator.planes[:13] = bits
        evaluator.evaluate(13)
        scale = policy.std()
        assert np.abs(evaluator.policy[:13] - policy).max() < tolerance * 5 * scale, backend
        assert np.abs(evaluator.value[:13] - value).max() < tolerance, backend
        assert evaluator.evaluations == 13


@pytest.mark.skipif(fused._POINTWISE is None, reason="this torch has no fused convolution")
@pytest.mark.parametrize(
    ("name", "preset", "rows"),
    [
        *((name, preset, 8) for name in ("go5", "go7x5", "connect_four") for preset in TRUNKS),
        # Minimal filters, and more boards than are computed at a time.
        *(("go9", preset, 72) for preset in ("b2c32", "b2c32p")),
        ("connect_four", "b1c48", 8),
    ],
)
def test_what_is_fused_is_exact(name: str, preset: str, rows: int) -> None:
    """In float32, where only what is folded and fused wrongly could make a difference."""
    network = lively(name, preset)
    game = network.game
    x = floats(name, random_bits(name, rows)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        wanted = network(x)
        made = fused.FusedNetwork(network, rows + 8, game.has_score, torch.float32)
        policy, value, score = given = made(x)
        kept = [None if each is None else each.clone() for each in given]
        made(x.flip(0))
        assert all(a is b or torch.equal(a, b) for a, b in zip(given, kept, strict=True))  # type: ignore[arg-type]
        torch.testing.assert_close(policy, wanted["policy"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(value, wanted["value"], rtol=1e-4, atol=1e-4)
        if score is not None:
            torch.testing.assert_close(score, wanted["score"], rtol=1e-4, atol=1e-4)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.add_(1)
        assert torch.equal(made(x)[0], policy), "it is a snapshot"


def test_a_fused_norm_rounds_its_output_alone() -> None:
    norm = lively("go5", "b1c16p").norm
    assert norm is not None
    x = torch.randn(5, 16, 5, 5).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    room = torch.empty_like(torch.cat([x, x]))
    with torch.no_grad():
        given = fused.FusedNorm(norm, room)(x)
        wanted = F.relu(norm(x.float())).to(torch.bfloat16)
    assert given.dtype == torch.bfloat16 and given.data_ptr() == room.data_ptr()
    assert given.is_contiguous(memory_format=torch.channels_last) and torch.equal(x, before)
    torch.testing.assert_close(given, wanted, rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("preset", TRUNKS)
def test_fused_rows_do_not_depend_on_their_batch(preset: str) -> None:
    network = lively("go9", preset)
    bits = random_bits("go9", 16)
    one, many = (make_evaluator(network, n, "cpu") for n in (1, 16))
    many.planes[:] = bits
    many.evaluate(16)
    exact = fused.number_format() == torch.float32
    for i in (0, 7, 15):
        one.planes[0] = bits[i]
        one.evaluate(1)
        assert np.abs(one.policy[0] - many.policy[i]).max() < (1e-5 if exact else 0.1)
        assert abs(one.value[0] - many.value[i]) < (1e-5 if exact else 0.05)


def test_evaluator_is_a_snapshot_until_loaded_again() -> None:
    network = lively("go5")
    evaluator = make_evaluator(network, 8, "cpu")
    evaluator.planes[:] = random_bits("go5", 8)
    evaluator.evaluate(8)
    before = evaluator.policy.copy()
    with torch.no_grad():
        network.policy_out.weight.mul_(-1)  # type: ignore[operator]
    evaluator.evaluate(8)
    assert (evaluator.policy == before).all()
    evaluator.load(network)
    evaluator.evaluate(8)
    assert (evaluator.policy != before).any()


@pytest.mark.parametrize("head", ["value", "policy"])
def test_broken_weights_are_noticed(head: str) -> None:
    network = lively("go5")
    with torch.no_grad():
        getattr(network, f"{head}_out").bias[0] = float("nan")
    evaluator = make_evaluator(network, 8, "cpu")
    with pytest.raises(FloatingPointError, match=f"{head} is not a number"):
        evaluator.evaluate(8)


@pytest.mark.parametrize("preset", TRUNKS)
def test_blocks_start_as_identity_and_all_of_them_learn(preset: str) -> None:
    torch.manual_seed(0)
    network = Network(get_game("go5"), NetworkConfig.preset(preset)).train()
    x = torch.rand(4, network.game.planes, 5, 5)
    trunk = torch.rand(4, 32, 5, 5)
    with torch.no_grad():
        assert all(torch.equal(block(trunk), trunk) for block in network.blocks)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network.trunk(x).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for name, parameter in network.blocks.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_preactivation_by_hand() -> None:
    network = lively("go5", "b2c16p")
    x = torch.randn(3, network.game.planes, 5, 5)
    with torch.no_grad():
        wanted = network.stem(x)
        for block in network.blocks:
            assert isinstance(block, Block) and block.norm is not None
            conv, norm = block.first
            y = F.relu(norm(conv(F.relu(block.norm(wanted)))))
            if block.pooled is not None:
                y = y + block.pooled(pool(y))[:, :, None, None]
            wanted = wanted + block.second(y)
        assert network.norm is not None and (wanted < 0).any()
        assert torch.equal(network.trunk(x), F.relu(network.norm(wanted)))


def test_preactivation_costs_no_flops_and_is_off_by_default() -> None:
    game, config = get_game("go5"), NetworkConfig.preset("b2c16")
    after, before = (Network(game, NetworkConfig.preset(name)) for name in ("b2c16", "b2c16p"))
    assert count_flops(before) == count_flops(after)
    assert not config.preactivation and config.to_dict() == {"blocks": 2, "channels": 16}
    assert not any("norm" in key for key in after.state_dict()), "as networks on disk have them"


def parameters_by_hand(planes: int, blocks: int, c: int) -> int:
    """Of a network of Go: trunk, policy, value, score and ownership heads, layer by layer."""
    h = max(16, c // 2)
    stem = 9 * planes * c + 2 * c
    trunk = blocks * 2 * (9 * c * c + 2 * c) + blocks // 2 * (3 * c * c + c)
    policy = c * h + 2 * h + (3 * h * h + h) + (2 * h + 2) + (6 * h + 2)
    value = c * h + 2 * h + (3 * h * c + c) + (3 * c + 3) + (c + 1) + (h + 1)
    return stem + trunk + policy + value


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_parameters_their_names_say(name: str) -> None:
    game, config = get_game("go5"), NetworkConfig.preset(name)
    network = Network(game, config).eval()
    assert config.name == name
    assert sum(each.numel() for each in network.parameters()) == parameters_by_hand(
        game.planes, config.blocks, config.channels
    )
    with torch.no_grad():
        out = network(torch.zeros(1, game.planes, 5, 5))
    assert out["policy"].shape == (1, game.actions) and out["ownership"].shape == (1, 25)


def test_without_pooling_a_trunk_sees_no_further_than_its_convolutions() -> None:
    """Two blocks behind the stem reach five points; a pooled one the whole board."""
    planes = torch.zeros(2, get_game("go13").planes, 13, 13)
    planes[1, :, 12, 12] = 1
    for name, far in (("b2c16n", False), ("b2c16", True)):
        network = lively("go13", name)
        with torch.no_grad():
            seen = network.trunk(planes)[:, :, 6, 6]
        assert torch.equal(seen[0], seen[1]) != far


def test_flops_are_counted_by_hand_for_one_layer() -> None:
    network = Network(get_game("go9"), NetworkConfig.preset("b4c64"))
    stem = 2 * 81 * 9 * network.game.planes * 64
    blocks = 4 * 2 * 2 * 81 * 9 * 64 * 64
    assert stem + blocks < count_flops(network) < 1.1 * (stem + blocks)


def test_names_and_devices_are_refused_in_a_sentence() -> None:
    for name in ("big", "b0c32", "b2c4", "b2c"):
        with pytest.raises(UserError, match=r"b4c64"):
            NetworkConfig.preset(name)
    assert NetworkConfig.preset("b12c48").name == "b12c48"
    for device in ("tpu", "cuda:x", "cudas"):
        with pytest.raises(UserError, match="unknown"):
            choose_device(device)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="not available"):
            choose_device("cuda")
    assert choose_backend("cpu")[0] in ("fused", "bf16", "fp32")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1")[0] == "cuda:1"
    with pytest.raises(UserError, match="the last GPU is cuda:1"):
        choose_device("cuda:2")


def test_a_torch_without_onednn_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_POINTWISE", None)
    monkeypatch.setattr(fused, "has_bfloat16", lambda: False)
    assert choose_backend("cpu")[0] == "fp32"


@pytest.mark.skipif(fused._POINTWISE is None, reason="this torch has no fused convolution")
def test_a_processor_without_bfloat16_fuses_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "has_bfloat16", lambda: False)
    backend, why = choose_backend("cpu")
    assert backend == "fused" and "float32" in why
    assert fused.FusedNetwork(lively("go5"), 8).dtype == torch.float32
