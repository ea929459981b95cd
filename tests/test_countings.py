"""Networks that are told how the points are counted, by area or by territory."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sizes import teacher_records
from test_ranks import GAME, STRONG, some_planes, told_network
from test_replay import random_table

from ghostgo import cli
from ghostgo.data import records
from ghostgo.data.config import read_toml
from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import Run, find_checkpoint, load_network
from ghostgo.data.shards import read_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import AREA, COUNTINGS, Network, NetworkConfig, own_counting
from ghostgo.selfplay.boards import make_boards
from ghostgo.selfplay.config import make_config
from ghostgo.selfplay.learner import Learner, LearnerConfig, planes_tensor
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.imitate import COUNTING_DROPOUT, Imitation, run_warmstart

TERRITORY = 2


def counted_table(games: int = 12) -> GameTable:
    """Random games, whose first point is wanted under area, and the second under territory."""
    table = random_table("go5", games)
    table.counting = np.array([AREA, TERRITORY] * (games // 2), np.int8)
    territory = (table.counting == TERRITORY)[table.game_of()]
    table.policies = np.zeros((table.positions, GAME.actions), np.float16)
    table.policies[np.arange(table.positions), territory.astype(int)] = 1
    return table


def test_codes_are_those_of_the_records() -> None:
    assert (records.UNKNOWN, records.AREA, records.TERRITORY) == (0, AREA, TERRITORY)
    assert COUNTINGS == 3
    assert own_counting(GAME) == AREA and own_counting(get_game("connect_four")) == 0


@pytest.mark.parametrize("code", [0, AREA, TERRITORY])
@pytest.mark.parametrize("preset", ["b2c16j", "b2c16rjp"])
def test_a_counting_folds_into_the_weights(preset: str, code: int) -> None:
    network = told_network(preset=preset)
    x, rank = planes_tensor(some_planes(), GAME), STRONG if network.config.ranks else 0
    ranks, codes = torch.full((len(x),), rank), torch.full((len(x),), code)
    with torch.no_grad():
        told = network(x, ranks, codes)
        plain = network.at_rank(rank, code)
        folded = plain(x)
        other = network(x, ranks, (codes + 1) % COUNTINGS)
    assert plain.config.name == ("b2c16p" if network.config.ranks else "b2c16")
    for head, value in told.items():
        torch.testing.assert_close(folded[head], value, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(other["policy"], told["policy"], atol=1e-3)


def test_untold_it_judges_by_our_own_rules() -> None:
    """Whatever plays, in self-play, a rated game or by GTP, asks so."""
    network, planes = told_network(preset="b2c16j"), some_planes(8)
    x = planes_tensor(planes, GAME)
    with torch.no_grad():
        wanted = network(x, None, torch.full((8,), AREA))["policy"]
        torch.testing.assert_close(network(x)["policy"], wanted)
    evaluator = make_evaluator(network, 8, "cpu", "fp32")
    evaluator.planes[:] = planes
    evaluator.evaluate(8)
    np.testing.assert_allclose(evaluator.policy[:8], wanted.numpy(), atol=1e-3, rtol=1e-3)


def test_who_is_told_nothing_refuses_a_counting() -> None:
    plain = told_network(preset="b2c16r")
    assert plain.counting is None
    with pytest.raises(ValueError, match="not told how points are counted"):
        plain.at_rank(0, AREA)


def test_rows_have_the_counting_of_their_game() -> None:
    table = counted_table()
    table.ranks = np.full((len(table), 2), STRONG, np.int8)
    assert table.counting is not None
    table.counting[0] = 0
    window = ReplayWindow(GAME, rank_dropout=0.25, counting_dropout=0.4)
    window.add(table)
    window.add(random_table("go5", 2))
    whole = window.rows_batch(np.arange(window.rows)).counting
    assert (whole[: table.positions] == table.counting[table.game_of()]).all()
    assert (whole[table.positions :] == 0).all(), "an untold table"
    own = ReplayWindow(GAME, counting=AREA)
    own.add(random_table("go5", 2))
    assert (own.rows_batch(np.arange(own.rows)).counting == AREA).all()


def test_ranks_and_countings_are_kept_back_apart() -> None:
    table = counted_table()
    table.ranks = np.full((len(table), 2), STRONG, np.int8)
    both, ranks = (ReplayWindow(GAME, rank_dropout=0.25, counting_dropout=p) for p in (0.4, 0.0))
    for window in (both, ranks):
        window.add(table)
    drawn, plain = (window.sample(4000, np.random.default_rng(1)) for window in (both, ranks))
    assert (drawn.rank == plain.rank).all() and (drawn.planes == plain.planes).all()
    assert (plain.counting > 0).all()
    no_rank, no_counting = drawn.rank == 0, drawn.counting == 0
    assert 0.35 < no_counting.mean() < 0.45 and 0.2 < no_rank.mean() < 0.3
    assert 0.07 < (no_rank & no_counting).mean() < 0.13


def test_it_learns_what_is_played_under_each() -> None:
    window = ReplayWindow(GAME, counting_dropout=0.2, symmetries=False)
    window.add(counted_table())
    torch.manual_seed(2)
    config = LearnerConfig(batch_size=64, warmup_steps=5, learning_rate=0.02, average=0.9)
    learner = Learner(Network(GAME, NetworkConfig.preset("b1c16j")), config)
    for step in range(100):
        learner.step(window.sample(64, np.random.default_rng(step)))
    batch = window.rows_batch(np.arange(window.rows))
    told = learner.judge(batch)["policy"].softmax(dim=1)
    territory = torch.from_numpy(batch.counting == TERRITORY)
    # Untold, each of the two moves is played by about half.
    assert told[territory, 1].mean() > 0.65 and told[~territory, 0].mean() > 0.65


def test_one_that_was_never_learnt_is_as_one_not_told() -> None:
    table = counted_table()
    assert table.counting is not None
    table.counting[:] = [0, TERRITORY] * (len(table) // 2)
    window = ReplayWindow(GAME)
    window.add(table)
    learner = Learner(Network(GAME, NetworkConfig.preset("b1c16j")), LearnerConfig(batch_size=64))
    for step in range(5):
        learner.step(window.sample(64, np.random.default_rng(step)))
    for network in (learner.network, learner.average):
        assert network.counting is not None
        assert network.counting.weight[TERRITORY].any()
        assert not network.counting.weight[[0, AREA]].any()


def test_self_play_learns_by_its_own_rules() -> None:
    config = make_config(None, game="go5", preset="tiny", network="b1c8j", workers=1)
    board = make_boards(Network(GAME, NetworkConfig.preset(config.network)), config)[0]
    board.window.add(random_table("go5", 2))
    assert (board.window.sample(64, np.random.default_rng(1)).counting == AREA).all()
    with pytest.raises(UserError, match=r"network = b1c8j: connect_four is not counted by area"):
        make_config(None, game="connect_four", network="b1c8j")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records of both kinds and a run that imitated them, told of it."""
    folder = tmp_path_factory.mktemp("countings")
    teacher_records(folder / "counted.sgfs", games=60, rollouts=5, seed=1)
    games = (folder / "counted.sgfs").read_text().split("(;")[1:]
    names = ["RU[Chinese]", "RU[Japanese]", ""]
    told = [game.replace("RU[Chinese]", names[i % 3]) for i, game in enumerate(games)]
    (folder / "counted.sgfs").write_text("".join(f"(;{game}" for game in told))
    config = folder / "config.toml"
    config.write_text('network = "b1c8rj"\nworkers = 1\n[learner]\nbatch_size = 32\n')
    run_warmstart(
        [folder / "counted.sgfs"], "told", game="go5", epochs=1, config_file=config, root=folder,
        line=LiveLine(io.StringIO()),
    )  # fmt: skip
    return folder


def test_a_prior_that_is_told_from_end_to_end(here: Path, tmp_path: Path) -> None:
    run = Run.open(here / "told")
    network = load_network(find_checkpoint("told", here).path)
    assert network.config.name == "b1c8rj" and network.counting is not None
    assert (network.counting.weight[1:] != 0).any(dim=1).all() and not network.counting.weight[
        0
    ].any()
    found = read_shard(run.folder / "records" / "train.h5").counting
    assert found is not None and set(found.tolist()) == {0, AREA, TERRITORY}
    imitation = Imitation(
        run, make_config(read_toml(run.folder / "config.toml")), LiveLine(io.StringIO())
    )
    assert imitation.window.counting_dropout == COUNTING_DROPOUT
    # Self-play goes on from it, and what it plays is known to be counted by area.
    root = ["--root", str(here)]
    assert cli.run(["selfplay", "--run", "told", *root, "--games", "5"]) == 0
    from ghostgo.warmstart.control import games_of_run

    counting = games_of_run(run.folder, "go5").counting
    assert counting is not None and (counting == AREA).all()


def test_records_are_judged_by_their_own_counting(here: Path, tmp_path: Path) -> None:
    """Told of territory, a network that has learnt it says otherwise than told of area."""
    losses = {}
    text = (here / "counted.sgfs").read_text()
    text = text.replace("RU[Chinese]", "RU[Japanese]")
    for name in ("Chinese", "Japanese"):
        path = tmp_path / f"{name}.sgfs"
        path.write_text(text.replace("RU[Japanese]", f"RU[{name}]"))
        out = tmp_path / f"{name}.json"
        given = ["told", "--records", str(path), "--root", str(here), "--json", str(out)]
        assert cli.run(["warmstart", "evaluate", *given]) == 0
        losses[name] = json.loads(out.read_text())["log_loss"]
    assert losses["Chinese"] != losses["Japanese"]
