"""Heads that a network may have or lack, and those that only help to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_replay import random_table

from ghostgo import cli
from ghostgo.bot import SearchBot, refit
from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import Run, find_checkpoint, load_network
from ghostgo.data.short import SHORT_HORIZON, short_values
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, count_flops
from ghostgo.engine.score_head import SCORE_ROOM, score_bin, score_bins
from ghostgo.selfplay.learner import Learner, LearnerConfig, head_losses

GAME = get_game("go5")


def searched_table(name: str = "go5", games: int = 4) -> GameTable:
    table = random_table(name, games)
    table.values = np.random.default_rng(5).uniform(-1, 1, table.positions).astype(np.float16)
    return table


def naive_short(table: GameTable, g: int) -> list[float]:
    """For each ply, the weighted sum written out."""
    game = get_game(table.game)
    state, sides = game.new_states(1), []
    for action in table.moves_of(g):
        sides.append(1 if state[0].to_play == 0 else -1)
        play_one(state[0], int(action))
    h = SHORT_HORIZON * game.points
    decay, n = h / (1 + h), len(sides)
    assert table.values is not None
    values = table.values[table.offsets[g] :].astype(np.float32)
    out = []
    for ply in range(n):
        later = range(ply + 1, n)
        mean = sum((1 - decay) * decay ** (k - ply - 1) * sides[k] * values[k] for k in later)
        out.append(mean + decay ** (n - ply - 1) * table.results[g])
    return out


@pytest.mark.parametrize("name", ["go5", "othello", "connect_four"])
def test_the_short_value_is_the_mean_of_later_searches(name: str) -> None:
    table = searched_table(name)
    found = short_values(get_game(name), table)
    wanted = np.concatenate([naive_short(table, g) for g in range(len(table))])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found).max() <= 1


def test_rows_have_it_from_their_own_side_if_it_is_wanted() -> None:
    table = searched_table()
    plain, window = ReplayWindow(GAME), ReplayWindow(GAME, short=True)
    for each in (plain, window):
        each.add(table)
    rows = np.arange(window.rows)
    assert np.isnan(plain.rows_batch(rows).short).all()
    batch = window.rows_batch(rows)
    first = np.concatenate([np.arange(n) % 2 == 0 for n in table.lengths])
    np.testing.assert_allclose(
        batch.short, np.where(first, 1, -1) * short_values(GAME, table), atol=1e-6
    )
    assert window.bytes > plain.bytes


@pytest.mark.parametrize("what", ["values", "results"])
def test_what_is_unknown_is_not_taught(what: str) -> None:
    table = searched_table()
    if what == "values":
        table.values = None
    else:
        table.results[:] = np.nan
    assert np.isnan(short_values(GAME, table)).all()


def test_margins_fall_into_their_bins() -> None:
    score = torch.tensor([0.5, -0.5, 0.0, 3.0, -24.5, 1000.0, -1000.0])
    most = 25 + SCORE_ROOM
    wanted = [most, most - 1, most, most + 3, most - 25, 2 * most, 0]
    assert score_bin(score, 25).tolist() == wanted
    assert score_bins(25) == 2 * most + 1


def test_the_heads_are_where_they_are_asked_for() -> None:
    planes = torch.zeros(3, GAME.planes, 5, 5)
    assert (
        set(Network(GAME, NetworkConfig.preset("b1c8"))(planes)) & {"distribution", "short"}
        == set()
    )
    out = Network(GAME, NetworkConfig.preset("b1c8dv"))(planes)
    assert out["distribution"].shape == (3, score_bins(25)) and out["short"].shape == (3,)
    assert (out["distribution"] == 0).all() and (out["short"] == 0).all(), "they start even"
    game = get_game("connect_four")
    out = Network(game, NetworkConfig.preset("b1c8dv"))(torch.zeros(1, game.planes, 6, 7))
    assert "distribution" not in out and "short" in out


@pytest.mark.parametrize(
    "name",
    [
        "b1c8",
        "b2c16r",
        "b2c16d",
        "b2c16v",
        "b2c16p",
        "b4c64rj",
        "b4c64rdv",
        "b4c64rjdvpn",
        "b2c16n",
        "b2c16y",
        "b2c16so",
        "b4c64rjdvpnyso",
    ],
)
def test_names_go_round(name: str) -> None:
    config = NetworkConfig.preset(name)
    assert config.name == name and NetworkConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    "name", ["b2c16vd", "b2c16pv", "b2c16np", "b2c16x", "b2c16rr", "b2c16jr", "b2c16jj", "b2c16os"]
)
def test_other_letters_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="j for one that is told area or territory"):
        NetworkConfig.preset(name)


def test_they_learn() -> None:
    table = searched_table(games=3)
    side = np.concatenate([1 - 2 * (np.arange(n) % 2) for n in table.lengths])
    table.values = (0.8 * side * table.results[table.game_of()]).astype(np.float16)
    window = ReplayWindow(GAME, short=True)
    window.add(table)
    torch.manual_seed(1)
    network = Network(GAME, NetworkConfig.preset("b1c16dv"))
    config = LearnerConfig(
        batch_size=64, warmup_steps=5, learning_rate=0.02, average=0.9, distribution_weight=1.0
    )
    learner = Learner(network, config, threads=2)
    first = learner.step(window.sample(64, np.random.default_rng(0)))
    assert first["distribution"] == pytest.approx(np.log(score_bins(25)), abs=0.01)
    for step in range(1, 300):
        last = learner.step(window.sample(64, np.random.default_rng(step)))
    assert last["distribution"] < 1.5 and last["short"] < 0.3 * first["short"]
    batch = window.rows_batch(np.arange(window.rows))
    out = learner.judge(batch)
    likeliest = out["distribution"].argmax(dim=1)
    assert (likeliest == score_bin(torch.from_numpy(batch.score), 25)).float().mean() > 0.7


def test_a_weight_of_nothing_leaves_the_others_alone() -> None:
    window = ReplayWindow(GAME, short=True)
    window.add(searched_table())
    batch = window.sample(32, np.random.default_rng(0))
    torch.manual_seed(1)
    network = Network(GAME, NetworkConfig.preset("b1c8dv"))
    off = LearnerConfig(distribution_weight=0.0, score_cdf=0.0, short_weight=0.0)
    losses = Learner(network, off).step(batch)
    kept = {head: losses[head] for head in ("policy", "value", "score", "ownership", "reply")}
    weights = {"reply": 0.15, "score": 0.02, "ownership": 1.5}
    total = sum(weights.get(head, 1.0) * loss for head, loss in kept.items())
    assert losses["total"] == pytest.approx(total, rel=1e-4)
    assert set(head_losses(network(torch.zeros(32, GAME.planes, 5, 5)), batch, GAME)) > set(kept)


def test_cumulative_loss_equals_the_naive_twin() -> None:
    window = ReplayWindow(GAME)
    window.add(searched_table())
    batch = window.sample(8, np.random.default_rng(0))
    batch.score[:4] = -40.0, 40.0, 2.5, np.nan
    torch.manual_seed(1)
    out = Network(GAME, NetworkConfig.preset("b1c8d"))(torch.zeros(8, GAME.planes, 5, 5))
    out["distribution"] = torch.randn(8, score_bins(25))
    wanted = []
    for row, score in enumerate(batch.score):
        if np.isnan(score):
            continue
        chances = np.exp(out["distribution"][row].numpy().astype(np.float64))
        chances /= chances.sum()
        at = int(score_bin(torch.tensor([score]), 25))
        below = [chances[: k + 1].sum() for k in range(len(chances))]
        wanted.append(sum((each - (k >= at)) ** 2 for k, each in enumerate(below)))
    found = head_losses(out, batch, GAME)["score_cdf"]
    assert len(wanted) == 7 and float(found) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_they_fit_every_board() -> None:
    small = Network(GAME, NetworkConfig.preset("b1c8dv"))
    large = refit(small, get_game("go9"))
    out = large(torch.zeros(2, GAME.planes, 9, 9))
    assert out["distribution"].shape == (2, score_bins(81))
    assert count_flops(small) > count_flops(Network(GAME, NetworkConfig.preset("b1c8")))


@pytest.mark.parametrize(
    "name", [pytest.param("b1c8dv", marks=pytest.mark.slow), "b1c8dvp", "b1c8yso"]
)
def test_a_run_with_them_from_end_to_end(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        f'network = "{name}"\nworkers = 1\n[selfplay]\ngames = 8\nvisits = 4\n'
        "positions_per_iteration = 100\n[learner]\nbatch_size = 32\n"
    )
    arguments = ["selfplay", "--run", "r", "--game", "go5", "--root", str(tmp_path)]
    assert cli.run([*arguments, "--config", str(tmp_path / "c.toml"), "--games", "30"]) == 0
    assert cli.run([*arguments, "--games", "60"]) == 0
    network = load_network(find_checkpoint("r", tmp_path).path)
    assert network.config.name == name
    learnt = network.short_out or network.value_out
    assert float(learnt.weight.detach().abs().sum()) > 0
    make_evaluator(network, 8).evaluate(8)


BARE = "b1c8yso"


def test_heads_that_are_left_out_cost_nothing_and_leave_the_others_as_they_were() -> None:
    made = []
    for name in ("b1c8", "b1c8so", BARE):
        torch.manual_seed(1)
        made.append(Network(GAME, NetworkConfig.preset(name)).eval())
    whole, unscored, bare = made
    x = torch.randn(3, GAME.planes, 5, 5)
    assert set(whole(x)) == {"policy", "reply", "value", "score", "ownership"}
    assert set(unscored(x)) == {"policy", "reply", "value"}
    assert set(bare(x)) == {"policy", "value"}
    kept = whole.state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in unscored.state_dict().items())
    assert count_flops(bare) < count_flops(unscored) < count_flops(whole)


@pytest.mark.parametrize("game", ["go5", "connect_four"])
def test_a_policy_without_reply_is_the_same_in_every_backend(game: str) -> None:
    torch.manual_seed(1)
    network = Network(get_game(game), NetworkConfig.preset(BARE))
    with torch.no_grad():
        for each in network.parameters():
            each.normal_(std=0.3)
    found = []
    for backend in ("fp32", "openvino"):
        if backend == "openvino":
            pytest.importorskip("openvino")
        evaluator = make_evaluator(network, 8, "cpu", backend)
        bits = np.random.default_rng(1).integers(0, 2, evaluator.planes.shape)
        evaluator.planes[:] = 0x3F80 * bits  # 1 in bfloat16
        evaluator.evaluate(8)
        found.append((evaluator.policy[:8].copy(), evaluator.value[:8].copy()))
    assert np.ptp(found[0][0]) > 0.1
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=0.1)


def test_scores_of_a_network_without_them_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run.creating(tmp_path / "bare", "go5", seed=1, config="") as run:
        run.save_checkpoint(0, Network(GAME, NetworkConfig.preset(BARE)), {"totals": {}})
    arguments = ["gtp", "--run", "bare", "--root", str(tmp_path), "--score-weight", "0.1"]
    assert cli.run(arguments) == 2
    said = capsys.readouterr().err
    assert "b1c8yso forecasts no score" in said and "Traceback" not in said


def test_a_bot_without_these_heads_plays_and_has_no_idea_of_the_score() -> None:
    bot = SearchBot("bare", Network(GAME, NetworkConfig.preset(BARE)), visits=4, seed=1)
    states = GAME.new_states(1)
    assert bot.choose(states) >= 0
    assert bot.ownership(states) is None and bot.margins(states) is None


def test_what_an_older_version_left_is_read_or_refused_in_one_line() -> None:
    """A score distribution once had no constants: its weights are read, its optimiser is not."""
    torch.manual_seed(1)
    network = Network(GAME, NetworkConfig.preset("b1c8d"))
    learner = Learner(network, LearnerConfig(batch_size=32))
    state, weights = learner.state_dict(), network.state_dict()
    del weights["distribution_out.usual"]
    with torch.no_grad():
        network.distribution_out.usual.fill_(1.0)  # type: ignore[union-attr]
    network.load_state_dict(weights)
    assert not network.distribution_out.usual.any()  # type: ignore[union-attr]
    state["optimizer"]["param_groups"][1]["params"] = [1]
    with pytest.raises(UserError, match="b1c8d had other parameters"):
        learner.load_state_dict(state)
