"""Networks that are told how strong the side to move plays."""

from __future__ import annotations

import importlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sizes import teacher_records
from test_replay import random_table

from ghostgo import cli
from ghostgo.arena.match import game_number
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import Run, find_checkpoint, load_network
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, rank_code
from ghostgo.engine.quantise import calibrate
from ghostgo.selfplay.learner import Learner, LearnerConfig, planes_tensor
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.variety import Lot
from ghostgo.warmstart.evaluate import asked_by_true, codes_of_bands
from ghostgo.warmstart.imitate import run_warmstart
from ghostgo.warmstart.report import rank_name

GAME = get_game("go5")
WEAK, STRONG = rank_code("15k"), rank_code("1d")


def told_network(seed: int = 1, preset: str = "b2c16r") -> Network:
    """A small network with random weights everywhere, its ranks too."""
    torch.manual_seed(seed)
    network = Network(GAME, NetworkConfig.preset(preset))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def ranked_table(games: int = 12) -> GameTable:
    """Random games of weak players, who want the first point, and strong ones, the second."""
    table = random_table("go5", games)
    table.ranks = np.array([[WEAK, STRONG], [STRONG, WEAK]] * (games // 2), np.int8)
    ply = np.arange(table.positions) - table.offsets[table.game_of()]
    strong = table.ranks[table.game_of(), ply % 2] == STRONG
    table.policies = np.zeros((table.positions, GAME.actions), np.float16)
    table.policies[np.arange(table.positions), strong.astype(int)] = 1
    return table


def some_planes(count: int = 32) -> np.ndarray:
    window = ReplayWindow(GAME)
    window.add(random_table("go5", 3))
    return window.rows_batch(np.arange(count)).planes


def test_codes_are_those_of_the_records() -> None:
    for code in range(1, 40):
        assert rank_code(rank_name(code)) == code
    for text in ("0k", "31k", "10d", "5", "k", "5K", "9p", ""):
        with pytest.raises(UserError, match="30k to 1k, or 1d to 9d"):
            rank_code(text)


def test_the_name_says_it_and_old_checkpoints_know_nothing_of_it() -> None:
    config = NetworkConfig.preset("b4c64r")
    assert config.ranks and config.name == "b4c64r"
    assert NetworkConfig(**config.to_dict()) == config
    assert NetworkConfig.preset("b4c64").to_dict() == {"blocks": 4, "channels": 64}
    assert Network(GAME, NetworkConfig.preset("b1c8")).rank is None


@pytest.mark.parametrize("code", [0, WEAK, STRONG])
@pytest.mark.parametrize("preset", ["b2c16r", "b2c16rp"])
def test_a_rank_folds_into_the_weights(preset: str, code: int) -> None:
    network = told_network(preset=preset)
    x = planes_tensor(some_planes(), GAME)
    with torch.no_grad():
        told = network(x, torch.full((len(x),), code))
        folded = network.at_rank(code)(x)
    for head, value in told.items():
        torch.testing.assert_close(folded[head], value, rtol=1e-4, atol=1e-4)
    assert network.at_rank(code).rank is None
    with torch.no_grad():
        other = network(x, torch.full((len(x),), 39))
    assert not torch.allclose(other["policy"], told["policy"], atol=1e-3)


def test_a_rank_that_was_never_learnt_is_as_one_not_told() -> None:
    network = told_network()
    assert network.rank is not None
    with torch.no_grad():
        network.rank.weight[WEAK] = 0
    x = planes_tensor(some_planes(), GAME)
    codes = torch.tensor([WEAK, STRONG, 0, WEAK] * 8)
    row_of_each = network.rank(codes)[:, :, None, None]

    def judged(of: Network, rank: torch.Tensor | None) -> torch.Tensor:
        with torch.no_grad():
            return of.trunk(x, rank)

    weak = codes == WEAK
    assert torch.equal(judged(network, codes)[weak], judged(network, None)[weak])
    strong = codes == STRONG
    assert not torch.allclose(judged(network, codes)[strong], judged(network, None)[strong])
    assert torch.equal(judged(network.at_rank(WEAK), None), judged(network.at_rank(), None))
    assert not torch.allclose(
        judged(network.at_rank(STRONG), None), judged(network.at_rank(), None)
    )
    # In training each code adds its own row and learns by it, the zeros too.
    network.train()
    behind_stem = []
    network.blocks[0].register_forward_pre_hook(lambda _, given: behind_stem.append(given[0]))
    network.trunk(x, codes).square().sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(behind_stem[0], torch.relu(network.stem(x) + row_of_each))
    assert network.rank.weight.grad is not None and network.rank.weight.grad[WEAK].any()


def test_rows_of_ranks_that_were_not_there_stay_zero() -> None:
    """What `Network.learnt_rank` tells them by: neither decay nor the average moves them."""
    window = ReplayWindow(GAME)
    window.add(random_table("go5", 12))
    config = LearnerConfig(batch_size=64, warmup_steps=5, learning_rate=0.02, average=0.9)
    for optimizer in ("adamw", "muon"):
        learner = Learner(
            Network(GAME, NetworkConfig.preset("b1c16r")), replace(config, optimizer=optimizer)
        )
        for step in range(20):
            learner.step(window.sample(64, np.random.default_rng(step)))
        rank = learner.average.rank
        assert rank is not None
        assert rank.weight[0].any() and not rank.weight[1:].any()
        batch = window.rows_batch(np.arange(32))
        untold = learner.judge(batch)["policy"]
        batch.rank[:] = WEAK
        assert torch.equal(learner.judge(batch)["policy"], untold)


def test_who_is_told_nothing_has_no_rank_to_play_at() -> None:
    plain = Network(GAME, NetworkConfig.preset("b1c8"))
    assert plain.at_rank() is plain
    with pytest.raises(ValueError, match="not told ranks"):
        plain.at_rank(WEAK)


@pytest.mark.parametrize("backend", ["fp32", "auto"])
def test_evaluators_judge_at_their_rank(backend: str) -> None:
    network, planes = told_network(), some_planes(8)
    x = planes_tensor(planes, GAME)
    for code in (0, STRONG):
        evaluator = make_evaluator(network, 8, "cpu", backend, rank=code)
        evaluator.planes[:] = planes
        evaluator.evaluate(8)
        with torch.no_grad():
            wanted = network(x, torch.full((8,), code))["policy"].numpy()
        np.testing.assert_allclose(evaluator.policy[:8], wanted, atol=0.05, rtol=0.05)


def test_8_bits_are_calibrated_untold() -> None:
    network, planes = told_network(), some_planes()
    assert calibrate(network, planes) == calibrate(network.at_rank(), planes)


def test_rows_have_the_rank_of_their_side() -> None:
    table = ranked_table()
    window = ReplayWindow(GAME, rank_dropout=0.25)
    window.add(table)
    whole = window.rows_batch(np.arange(window.rows))
    strong = whole.policy[:, 1] == 1
    assert (whole.rank == np.where(strong, STRONG, WEAK)).all()
    drawn = window.sample(4000, np.random.default_rng(1)).rank
    assert 0.2 < (drawn == 0).mean() < 0.3


def test_it_learns_what_each_rank_plays() -> None:
    table = ranked_table()
    window = ReplayWindow(GAME, rank_dropout=0.2)
    window.add(table)
    torch.manual_seed(2)
    config = LearnerConfig(batch_size=64, warmup_steps=5, learning_rate=0.02, average=0.9)
    learner = Learner(Network(GAME, NetworkConfig.preset("b1c16r")), config)
    for step in range(500):
        learner.step(window.sample(64, np.random.default_rng(step)))
    batch = window.rows_batch(np.arange(window.rows))
    told = learner.judge(batch)["policy"].softmax(dim=1)
    strong = torch.from_numpy(batch.rank == STRONG)
    # Untold, each of the two moves is played by about half.
    assert told[strong, 1].mean() > 0.65 and told[~strong, 0].mean() > 0.65
    rows = np.arange(window.rows)
    matrix = asked_by_true(learner.judge, GAME, window, rows, table)
    assert set(matrix) == {"19k-10k", "1d-3d"}
    for band, row in matrix.items():
        assert row[band]["above"] == row[band]["half_width"] == 0
        other = row["19k-10k" if band == "1d-3d" else "1d-3d"]
        assert other["above"] > 1 and 0 < other["half_width"] < other["above"]


def test_the_interval_takes_games_as_one() -> None:
    """Positions of one game that all say the same tell no more than one of them."""
    from ghostgo.warmstart.clustered import clustered_error

    rng = np.random.default_rng(1)
    values, games = rng.normal(size=200), np.arange(200)
    single = clustered_error(values, games)
    assert single == pytest.approx(values.std(ddof=1) / 200**0.5)
    assert clustered_error(np.repeat(values, 7), np.repeat(games, 7)) == pytest.approx(single)
    assert np.isnan(clustered_error(values, np.zeros(200, np.int64))), "one game tells nothing"


def test_a_band_is_told_by_the_rank_that_is_most_frequent_in_it() -> None:
    ranks = np.array([0, 0, 16, 16, 17, 31, 33, 33], np.int64)
    assert codes_of_bands(ranks) == {"19k-10k": 16, "1d-3d": 33, "unknown": 0}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records of ranked players and two runs that imitated them, one told of it."""
    folder = tmp_path_factory.mktemp("ranks")
    records = folder / "ranked.sgfs"
    teacher_records(records, games=60, rollouts=5, seed=1)
    text = records.read_text()
    assert "BR[" not in text
    records.write_text(re.sub(r"\(;", "(;BR[15k]WR[1d]", text))
    for name, net in (("told", "b1c8rp"), ("plain", "b1c8")):
        config = folder / f"{name}.toml"
        config.write_text(f'network = "{net}"\nworkers = 1\n[learner]\nbatch_size = 32\n')
        run_warmstart(
            [records], name, game="go5", epochs=1, config_file=config, root=folder,
            line=LiveLine(io.StringIO()),
        )  # fmt: skip
    return folder


def test_a_prior_that_is_told_ranks_from_end_to_end(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_network(find_checkpoint("told", here).path).rank is not None
    out = tmp_path / "judged.json"
    records, root = ["--records", str(here / "ranked.sgfs")], ["--root", str(here)]
    assert cli.run(["warmstart", "evaluate", "told", *records, *root, "--json", str(out)]) == 0
    assert set(json.loads(out.read_text())["asked"]) == {"19k-10k", "1d-3d"}
    assert "played by 1d-3d, log loss above its own when asked as" in capsys.readouterr().out
    # Self-play goes on from it, and asks it without a rank.
    assert cli.run(["selfplay", "--run", "told", *root, "--games", "5"]) == 0
    assert Run.open(here / "told").latest().meta["stage"] == "selfplay"


def test_arena_players_have_ranks(here: Path) -> None:
    options = PlayerOptions(here)
    weak = make_entry("weak", "told:2,rank=15k", GAME, options).info
    strong = make_entry("strong", "told:2,rank=1d", GAME, options).info
    assert weak.settings["rank"] == WEAK and strong.settings["rank"] == STRONG
    assert weak.identity != strong.identity
    assert "rank" not in make_entry("p", "told:2", GAME, options).info.settings
    with pytest.raises(UserError, match="not told ranks"):
        make_entry("p", "plain:2,rank=1d", GAME, options)
    with pytest.raises(UserError, match="rank '1x' is unknown"):
        make_entry("p", "told:2,rank=1x", GAME, options)


def test_moves_are_drawn_from_the_policy_of_a_rank(here: Path) -> None:
    options = PlayerOptions(here)
    weak = make_entry("weak", "told,rank=15k,drawn=1", GAME, options)
    assert weak.info.kind == "policy" and not weak.info.deterministic
    assert set(weak.info.settings) == {"sha256", "rank"}
    network = load_network(find_checkpoint("told", here).path)
    evaluator = make_evaluator(network, 1, rank=WEAK)
    state = GAME.new_states(1)
    play_one(state[0], 12)
    mask = np.zeros(GAME.actions, np.uint8)
    legal_mask_of(state[0], mask)
    write_planes_of(state[0], mask, evaluator.planes[0])
    evaluator.evaluate(1)
    chances = np.where(mask, np.exp(evaluator.policy[0].astype(np.float64)), 0)
    chances /= chances.sum()
    count = 1000
    games = [game_number(f"p{i}", 0) for i in range(count)]
    drawn = weak.player.choose(np.repeat(state, count).view(np.recarray), games)
    share = np.bincount(drawn, minlength=GAME.actions) / count
    assert drawn.max() != drawn.min() and not share[mask == 0].any()
    assert (abs(share - chances) <= 4.5 * np.sqrt(chances * (1 - chances) / count)).all()
    again = weak.player.choose(state, games[70:71])
    assert again[0] == drawn[70], "it depends on the batch"
    assert weak.player.evaluations == count + 1
    with pytest.raises(UserError, match="nothing is searched: leave :8 out"):
        make_entry("p", "told:8,drawn=1", GAME, options)
    with pytest.raises(UserError, match="nothing is searched: symmetries says nothing"):
        make_entry("p", "told,drawn=1,symmetries=8", GAME, options)
    with pytest.raises(UserError, match="drawn = '2': 1 is all"):
        make_entry("p", "told,drawn=2", GAME, options)


def test_ranks_meet_over_the_board(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    out = tmp_path / "duel.json"
    strong, weak = "told,rank=1d,drawn=1", "told,rank=15k,drawn=1"
    given = ["--game", "go5", "--pairs", "6", "--root", str(here), "--json", str(out)]
    importlib.import_module("duel").main([strong, weak, *given])
    found = json.loads(out.read_text())
    assert (found["a"], found["b"], found["games"]) == (strong, weak, 12)
    assert found["points"] == np.mean(found["pairs"]) and len(found["pairs"]) == 6
    assert found["distinct"] == 12, "drawn by lot, no two games are alike"
    assert f"{found['points']:.1%} of the points in 12 games" in capsys.readouterr().out


def test_the_dial_has_a_rank(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["gtp", "told", "--root", str(here), "--game", "go5", "--human", "1"]
    assert cli.run([*given, "--rank", "5k", "--human-prior", "plain"]) == 2
    assert "--rank needs a prior that is told ranks" in capsys.readouterr().err
    assert cli.run([*given, "--rank", "50k", "--human-prior", "told"]) == 2
    assert "rank '50k' is unknown" in capsys.readouterr().err
    assert cli.run(["play", "told", "--root", str(here), "--rank", "5k", "--plain"]) == 2
    assert "go with --human above 0" in capsys.readouterr().err


@pytest.fixture
def opinionated(tmp_path: Path) -> Network:
    """The network of the run `told` in `tmp_path`: at each rank it has other moves in mind."""
    network = told_network(preset="b2c16rp")
    assert network.rank is not None
    with torch.no_grad():
        network.rank.weight.mul_(100)
    with Run.creating(tmp_path / "told", "go5", 0, "") as run:
        run.save_checkpoint(1, network, {"totals": {}})
    return network


def first_moves(network: Network, rank: str | None, lots: list[Lot]) -> list[str]:
    """The first move that people of `rank`, as `network` knows them, play by each lot."""
    state = GAME.new_states(1)[0]
    mask = np.zeros(GAME.actions, np.uint8)
    planes = np.zeros((1, GAME.points, GAME.planes), np.uint16)
    legal_mask_of(state, mask)
    write_planes_of(state, mask, planes[0])
    code = torch.full((1,), rank_code(rank) if rank else 0)
    with torch.no_grad():
        logits = network(planes_tensor(planes, GAME), code)["policy"][0].double().numpy()
    chances = np.where(mask == 1, np.exp(logits), 0)
    chances /= chances.sum()
    return [
        GAME.action_name(int(lot.random(state).choice(GAME.actions, p=chances))) for lot in lots
    ]


def test_the_dial_plays_as_people_of_the_rank(
    opinionated: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    count, script = 12, tmp_path / "in.gtp"
    script.write_text("clear_board\ngenmove b\n" * count + "quit\n")
    dial = ["told", "--human-prior", "told", "--human", "1", "--visits", "2", "--seed", "4"]
    dial += ["--root", str(tmp_path)]
    ranks = {"5k": ["--rank", "5k"], "9d": ["--rank", "9d"], None: []}
    served = {}
    for rank, words in ranks.items():
        with script.open() as stdin:
            monkeypatch.setattr("sys.stdin", stdin)
            assert cli.run(["gtp", *dial, *words]) == 0
        served[rank] = capfd.readouterr().out.replace("= ", "").split("\n\n")[1 : 2 * count : 2]
        expected = first_moves(opinionated, rank, [Lot(4, number) for number in range(count)])
        assert served[rank] == expected
    assert len({tuple(moves) for moves in served.values()}) == len(ranks), "no rank is heard"
    for rank, words in ranks.items():
        monkeypatch.setattr("sys.stdin", io.StringIO("quit\n"))
        there = ["--plain", "--color", "white", "--save", str(tmp_path / "games")]
        assert cli.run(["play", *dial, *words, *there]) == 0
        assert f"Black plays {served[rank][0]}." in capfd.readouterr().out
