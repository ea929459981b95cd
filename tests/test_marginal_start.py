"""Heads that begin at the marginals of what they will be taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import trainer, weights
from test_replay import random_table

from ghostgo.data.batch import Batch
from ghostgo.data.replay import ReplayWindow
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.learner import Learner, LearnerConfig, head_losses, planes_tensor
from ghostgo.selfplay.marginal_start import start_at_marginals


def entropies(batch: Batch, passes: bool) -> dict[str, float]:
    """Log losses of the best constants, written out; where `passes`, all points share one."""
    found = {}
    for head, target in (("policy", batch.policy), ("reply", batch.reply)):
        known = target[target.sum(axis=1) > 0].astype(np.float64)
        share = known.sum(axis=0) / known.sum()
        if passes:
            share[:-1] = share[:-1].mean()
        found[head] = float(-(known * np.log(share)).sum(axis=1).mean())
    results = batch.value[np.isfinite(batch.value)]
    share = np.array([(results == r).mean() for r in (1, 0, -1)])
    found["value"] = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    owned = float(batch.ownership.mean())
    found["ownership"] = -owned * np.log(owned) - (1 - owned) * np.log(1 - owned)
    margins = np.unique(np.floor(batch.score), return_counts=True)[1] / len(batch.score)
    found["distribution"] = float(-(margins * np.log(margins)).sum())
    return found


def filled(name: str, games: int = 12) -> ReplayWindow:
    """A window of games whose targets are far from even."""
    table = random_table(name, games)
    assert table.policies is not None
    table.policies[:, -1] *= 9
    total = table.policies.astype(np.float32).sum(axis=1, keepdims=True)
    table.policies = (table.policies / total).astype(np.float16)
    if table.ownership is not None:
        table.ownership[:] = np.where(
            np.random.default_rng(3).random(table.ownership.shape) < 0.8, 1, -1
        )
    table.values = np.full(table.positions, 0.5, np.float16)
    window = ReplayWindow(get_game(name), short=True)
    window.add(table)
    return window


@pytest.mark.parametrize("name", ["go5", "connect_four"])
def test_the_first_losses_are_the_entropies_of_the_marginals(name: str) -> None:
    window = filled(name)
    game, batch = window.game, window.rows_batch(np.arange(window.rows))
    network = Network(game, NetworkConfig.preset("b1c8dv"))
    with torch.no_grad():
        before = head_losses(network(planes_tensor(batch.planes, game)), batch, game)
        start_at_marginals(network, batch)
        out = network(planes_tensor(batch.planes, game))
        losses = head_losses(out, batch, game)
    wanted = entropies(batch, passes=name == "go5")
    if name == "connect_four":
        del wanted["ownership"], wanted["distribution"]
    for head, entropy in wanted.items():
        assert float(losses[head]) == pytest.approx(entropy, abs=0.01), head
    for head in ("policy", "reply"):
        assert float(losses[head]) < float(before[head]) - 0.1, head
    assert float(out["short"].mean()) == pytest.approx(float(np.nanmean(batch.short)), abs=1e-4)
    if "score" in out:
        assert float(out["score"].mean()) == pytest.approx(float(batch.score.mean()), abs=1e-3)


def test_heads_that_have_learnt_or_are_not_taught_stay() -> None:
    window = filled("go5")
    batch = window.rows_batch(np.arange(window.rows))
    batch.score[:] = batch.value[:] = batch.ownership[:] = batch.short[:] = np.nan
    batch.reply[:] = 0
    network = Network(window.game, NetworkConfig.preset("b1c8v"))
    torch.nn.init.ones_(network.policy_out.weight)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start_at_marginals(network, batch)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("wanted", [True, False])
def test_a_learner_begins_once_and_in_its_average_too(wanted: bool) -> None:
    window = filled("go5")
    network = Network(window.game, NetworkConfig(1, 8))
    learner = Learner(network, LearnerConfig(batch_size=64, start_at_marginals=wanted), threads=2)
    learner.begin(window, 0)
    for each in (learner.network, learner.average):
        assert bool(each.value_out.bias.any()) == wanted
        assert each.pass_out is not None and bool(each.pass_out.bias.any()) == wanted
    learner.step(window.sample(64, np.random.default_rng(0)))
    before = learner.network.value_out.bias.clone()
    learner.begin(window, 0)
    assert torch.equal(before, learner.network.value_out.bias)


def test_a_stop_before_the_first_step_changes_nothing(tmp_path: Path) -> None:
    """The marginals are those of the window at the first step, whether or not it was loaded anew."""
    made = []
    for name in ("whole", "parts"):
        run = trainer(tmp_path, name, "go5")
        tables = run.play(Stop())
        cut = Stop()
        cut.event.set()
        run.window.add(tables[0])
        assert not run.train(tables[0].positions, cut) and run.learner.steps == 0
        assert not run.learner.network.value_out.bias.any(), "not before the first step"
        run.step += 1
        run.save()
        if name == "parts":
            run = trainer(tmp_path, name, "go5")
        assert run.train(0, Stop()) and run.learner.steps > 0
        run.step += 1
        run.save()
        made.append(weights(run.run))
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
