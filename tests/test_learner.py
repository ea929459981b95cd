"""The learner's average of weights and its number format."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import trainer

from ghostgo.engine import fused
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import make_config
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.selfplay.precision import blank_batch, choose_format, measured

GAME = get_game("tic_tac_toe")


def test_the_average_by_hand() -> None:
    """After step n it keeps min(average, n / (n + 9)) of what it was; counters are copied."""
    torch.manual_seed(0)
    config = LearnerConfig(batch_size=16, warmup_steps=1, average=0.3)
    learner = Learner(Network(GAME, NetworkConfig(1, 8)), config)
    wanted = {name: value.double() for name, value in learner.network.state_dict().items()}
    batch = blank_batch(GAME, 16)
    batch.planes[:] = np.random.default_rng(0).integers(0, 2, batch.planes.shape) * 0x3F80
    for step in range(1, 7):
        learner.step(batch)
        keep = min(0.3, step / (step + 9))
        assert (keep == 0.3) == (step >= 4)
        for name, now in learner.network.state_dict().items():
            counter = not now.is_floating_point()
            wanted[name] = now if counter else keep * wanted[name] + (1 - keep) * now.double()
    for name, mean in learner.average.state_dict().items():
        torch.testing.assert_close(mean.double(), wanted[name].double(), rtol=1e-5, atol=1e-7)
    moved = learner.network.value_out.bias - learner.average.value_out.bias
    assert moved.abs().max() > 1e-4, "they are not the same"


def test_without_an_average_the_weights_themselves_play() -> None:
    learner = Learner(Network(GAME, NetworkConfig(1, 8)), LearnerConfig(batch_size=16, average=0.0))
    learner.step(blank_batch(GAME, 16))
    assert learner.average is learner.network


def test_what_is_configured_counts_where_a_run_goes_on() -> None:
    def learner(**given: float) -> Learner:
        config = LearnerConfig(batch_size=16, optimizer="muon", **given)  # type: ignore[arg-type]
        return Learner(Network(GAME, NetworkConfig(1, 8)), config)

    stopped = learner()
    stopped.step(blank_batch(GAME, 16))
    edited = learner(weight_decay=0.5, muon_momentum=0.5)
    edited.load_state_dict(stopped.state_dict())
    assert edited.muon is not None
    assert [group["weight_decay"] for group in edited.optimizer.param_groups] == [0.5, 0]
    (group,) = edited.muon.param_groups
    assert (group["weight_decay"], group["momentum"]) == (0.5, 0.5)
    assert edited.muon.state_dict()["state"], "its momentum is kept"


def test_the_format_is_measured_where_there_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(Network(GAME, NetworkConfig(1, 8)), LearnerConfig(batch_size=16))
    monkeypatch.setattr(fused, "has_bfloat16", lambda: False)
    choose_format(learner)
    assert not learner.bfloat16 and learner.format == "float32"
    monkeypatch.setattr(fused, "has_bfloat16", lambda: True)
    before = copy.deepcopy(learner.network.state_dict())
    seconds = measured(GAME.name, learner.network.config, learner.config, 1)
    choose_format(learner)
    assert learner.bfloat16 == (seconds[True] < seconds[False])
    assert all(torch.equal(before[n], v) for n, v in learner.network.state_dict().items())
    assert learner.steps == 0


@pytest.mark.parametrize("kept", [True, False])
def test_a_resumed_run_keeps_its_format(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "has_bfloat16", lambda: True)
    monkeypatch.setattr(
        "ghostgo.selfplay.precision.measured", lambda *_: {kept: 1.0, not kept: 2.0}
    )
    run = trainer(tmp_path, "r")
    assert run.learner.bfloat16 == kept
    monkeypatch.setattr(
        "ghostgo.selfplay.trainer.choose_format", lambda *_: pytest.fail("measured again")
    )
    run.iterate(Stop())
    assert trainer(tmp_path, "r").learner.bfloat16 == kept
    monkeypatch.setattr(fused, "has_bfloat16", lambda: False)
    assert not trainer(tmp_path, "r").learner.bfloat16, "this machine has none"


def test_the_format_can_be_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostgo.selfplay.precision.measured", lambda *_: pytest.fail("measured"))
    for asked, able, got in (("float32", True, False), ("bfloat16", True, True)):
        monkeypatch.setattr(fused, "has_bfloat16", lambda able=able: able)
        config = LearnerConfig(batch_size=16, number_format=asked)  # type: ignore[arg-type]
        learner = Learner(Network(GAME, NetworkConfig(1, 8)), config)
        choose_format(learner)
        assert learner.bfloat16 == got
    monkeypatch.setattr(fused, "has_bfloat16", lambda: False)
    with pytest.raises(UserError, match='number_format = "bfloat16"'):
        choose_format(learner)
    monkeypatch.setattr(fused, "has_bfloat16", lambda: True)
    learner = Learner(Network(GAME, NetworkConfig(1, 8)), LearnerConfig(batch_size=16))
    for before in ("float32", "bfloat16"):
        choose_format(learner, before)
        assert learner.format == before, "the run's imitation has measured it"


def test_a_window_too_small_for_a_game_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="window_mb = 8 is too small: at least 16"):
        make_config({"learner": {"window_mb": 8}}, game="go9")
