"""Self-play on boards of several sizes: one network, each board's games, books and window."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sizes import sized

from ghostgo import cli
from ghostgo.data.ledger import read_ledger
from ghostgo.data.replay import window_rows
from ghostgo.data.run import Run, load_network
from ghostgo.data.shards import attributes, read_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, count_flops
from ghostgo.engine.score_head import score_bins
from ghostgo.selfplay.boards import draw_board
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.selfplay.loop import open_run
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.selfplay.sizes import deal, shares_of
from ghostgo.selfplay.trainer import Trainer
from ghostgo.warmstart.control import games_of_run

CONFIG = """
network = "b1c8"
workers = 2
[selfplay]
games = {games}
visits = 4
positions_per_iteration = {positions}
window_start = 60
samples_per_position = 2.0
{sizes}
[learner]
batch_size = 16
"""
OWN, SMALL = sized(("go5", "go2"), ("go3", "go2"))
MIXED = f"sizes = {{{SMALL} = 1, {OWN} = 3}}"
POSITIONS = 80
ITERATIONS = sized(4, 2)


def trainer(
    folder: Path, name: str, sizes: str = MIXED, games: int = 8, positions: int = POSITIONS
) -> Trainer:
    exists = (folder / name).exists()
    file = folder / f"{name}.toml"
    file.write_text(CONFIG.format(sizes=sizes, games=games, positions=positions))
    run, made, _ = open_run(
        name, folder, game=OWN, preset=None, start=None, seed=None if exists else 5,
        config_file=None if exists else file, workers=None,
    )  # fmt: skip
    return Trainer(run, made, LiveLine(io.StringIO()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A mixed run of a few iterations; tests leave it as it is."""
    made = trainer(tmp_path_factory.mktemp("whole"), "whole")
    for _ in range(ITERATIONS):
        made.iterate(Stop())
    return made


def shards(run: Run) -> list[Path]:
    return sorted(run.shards.glob("*.h5"))


def test_resumed_equals_uninterrupted_bit_for_bit(whole: Trainer, tmp_path: Path) -> None:
    parts = trainer(tmp_path, "parts")
    for i in range(ITERATIONS):
        if i in (1, ITERATIONS - 1):
            parts = trainer(tmp_path, "parts")
        parts.iterate(Stop())
    assert len(shards(whole.run)) == len(shards(parts.run)) == 2 * ITERATIONS
    for one, other in zip(shards(whole.run), shards(parts.run), strict=True):
        first, second = read_shard(one), read_shard(other)
        assert first.game == second.game
        assert np.array_equal(first.moves, second.moves)
        assert first.policies is not None and second.policies is not None
        assert np.array_equal(first.policies, second.policies)
    assert [b.window.rows for b in whole.boards] == [b.window.rows for b in parts.boards]
    mine, theirs = (load_network(t.run.latest().path).state_dict() for t in (whole, parts))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_each_boards_games_lie_in_its_shards_and_by_its_share(whole: Trainer) -> None:
    assert [(b.game.name, b.share, b.games) for b in whole.boards] == [
        (OWN, 0.75, 6), (SMALL, 0.25, 2),
    ]  # fmt: skip
    for number, path in enumerate(shards(whole.run)):
        board, table = whole.boards[number % 2], read_shard(path)
        assert table.game == board.game.name
        assert attributes(path)["step"] == number // 2
        assert table.positions >= POSITIONS * board.share
        for i in range(len(table)):
            state = board.game.new_states(1, table.rules_of(i))
            for action in table.moves_of(i):
                assert action in board.game.legal_actions(state[0])
                play_one(state[0], int(action))
            assert state[0].done and score_of(state[0]) == table.scores[i]
    records = games_of_run(whole.run.folder, OWN)
    assert len(records) == sum(len(read_shard(path)) for path in shards(whole.run)[::2])


def test_the_ledger_charges_each_board_its_own_flops(whole: Trainer) -> None:
    rows = read_ledger(whole.ledger.path)
    flops = {board.game.name: board.flops for board in whole.boards}
    assert 0 < flops[SMALL] < flops[OWN] == whole.flops
    for path in shards(whole.run):
        row = next(row for row in rows if row["of"] == path.stem)
        assert row["selfplay_flops"] == row["evaluations"] * flops[read_shard(path).game] > 0
        assert attributes(path)["amounts"] == {
            key: n for key, n in row.items() if key not in ("format", "time", "phase", "of")
        }
    totals = whole.ledger.totals
    played = [read_shard(path) for path in shards(whole.run)]
    assert totals.games == sum(map(len, played))
    assert totals.positions == sum(int((table.weights > 0).sum()) for table in played)
    assert 3 * flops[SMALL] * totals.samples < totals.training_flops
    assert totals.training_flops < 3 * flops[OWN] * totals.samples, (
        "no batch was of the small board"
    )


def test_windows_share_the_rows_and_batches_follow_them(whole: Trainer) -> None:
    wanted = window_rows(whole.ledger.totals.positions, 60)
    newest = [read_shard(path) for path in shards(whole.run)]
    for board in whole.boards:
        assert board.rows(wanted) == int(wanted * board.share)
        rows = [int((t.weights > 0).sum()) for t in newest if t.game == board.game.name]
        count = next(n for n in range(1, 9) if sum(rows[-n:]) >= board.rows(wanted))
        assert board.window.rows == sum(rows[-count:])
    own, small = (board.window.rows for board in whole.boards)
    rng = np.random.default_rng(0)
    drawn = [draw_board(whole.boards, rng) is whole.boards[1] for _ in range(2000)]
    share = small / (own + small)
    assert abs(np.mean(drawn) - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def test_the_own_board_plays_as_if_it_were_alone(whole: Trainer, tmp_path: Path) -> None:
    alone = trainer(tmp_path, "alone", sizes="", games=6, positions=60)
    alone.play(Stop())
    mine, theirs = (read_shard(shards(t.run)[0]) for t in (whole, alone))
    assert mine.game == theirs.game == OWN
    assert (mine.moves == theirs.moves).all()


def test_a_kill_between_two_boards_shards_loses_no_book(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r")
    run.iterate(Stop())
    booked = run.ledger.path.read_text()
    run.play(Stop())
    # As a kill leaves it: the first board's shard is there, the second's and both rows are not.
    shards(run.run)[-1].unlink()
    run.ledger.path.write_text(booked)
    again = trainer(tmp_path, "r")
    stored = [read_shard(path) for path in shards(again.run)]
    assert [table.game for table in stored] == [OWN, SMALL, OWN]
    assert again.ledger.totals.games == sum(map(len, stored))
    assert again.owed_samples >= 2.0 * int((stored[-1].weights > 0).sum())
    again.iterate(Stop())
    assert len(shards(again.run)) == 5


@pytest.mark.parametrize(("own", "other"), [("go5", "go3x5"), ("hex5", "hex3")])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_on_another_board_trains_the_same_weights(
    whole: Trainer, own: str, other: str, threads: int
) -> None:
    game, small = get_game(own), get_game(other)
    network = Network(game, NetworkConfig.preset("b2c8d"))
    view = network.on(small)
    assert network.on(game) is network and view.on(game).game is game
    for mine, theirs in zip(network.state_dict().values(), view.state_dict().values(), strict=True):
        assert mine.data_ptr() == theirs.data_ptr()
    assert count_flops(view) < count_flops(network)
    out = view(torch.zeros(2, small.planes, small.rows, small.cols))
    assert out["policy"].shape == (2, small.actions)
    if game.has_score:
        assert out["distribution"].shape == (2, score_bins(small.points))
    alone = Network(small, network.config)
    alone.load_state_dict(network.state_dict())
    batch = whole.boards[0].window.rows_batch(np.arange(64) % whole.boards[0].window.rows)
    batch.planes = np.zeros((64, small.points, small.planes), np.uint16)
    batch.policy = np.full((64, small.actions), 1 / small.actions, np.float32)
    batch.reply = batch.policy
    batch.ownership = np.zeros((64, small.points), np.float32)
    config = LearnerConfig(batch_size=64, warmup_steps=1)
    mixed, single = (Learner(each, config, threads=threads) for each in (network, alone))
    for _ in range(2):
        assert mixed.step(batch, game=small) == single.step(batch)
    for mine, theirs in zip(
        mixed.average.state_dict().values(), single.average.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_loads_on_another_board_of_its_kind(whole: Trainer) -> None:
    path = whole.run.latest().path
    small = load_network(path, get_game(SMALL))
    assert small.game.name == SMALL and load_network(path).game.name == OWN
    with pytest.raises(UserError, match=f"hex5 is another kind of game than {OWN}"):
        load_network(path, get_game("hex5"))


def test_shares_add_up_and_games_are_dealt_in_whole() -> None:
    assert shares_of({}, "go5") == {"go5": 1.0}
    assert list(shares_of({"go3": 1, "go5": 3}, "go5").items()) == [("go5", 0.75), ("go3", 0.25)]
    assert deal(7, [1.0]) == [7]
    assert deal(10, [0.5, 0.25, 0.25]) == [5, 3, 2]
    assert deal(8, [0.9, 0.1]) == [7, 1]


@pytest.mark.parametrize(
    ("game", "sizes", "message"),
    [
        ("go5", "{go5 = 1, goo3 = 1}", "sizes: game 'goo3' is unknown"),
        ("go5", "{go5 = 1, hex5 = 1}", "sizes: hex5: hex5 is another kind of game than go5"),
        ("connect_four", "{connect_four = 1, connect_four_5x5 = 1}", "has a flat policy head"),
        ("go5", "{go5 = 1, go3 = 0}", "sizes: go3 = 0 is not a number above 0"),
        ("go5", "{go5 = 1, go3 = nan}", "sizes: go3 = nan is not a number above 0"),
        ("go5", '{go5 = 1, go3 = "half"}', "sizes: go3 = 'half' is not a number"),
        ("go5", "{go5 = true}", "sizes: go5 = True is not a number"),
        ("go5", "{go3 = 1}", "sizes: the run's own game, go5, has no share"),
        ("go5", "{go5 = 1, go3x3 = 1}", "sizes: go3x3 is called go3"),
        ("go5", "{go5 = 999, go3 = 1}", "sizes: go3 = 1 comes to none of the games = 256 in play"),
        ("go5", '{go5 = 1, go3 = 1}\n[anchor]\nkind = "kl"', 'kind = "kl" goes with one board'),
        ("go5", "3", "sizes = 3 is not a table"),
    ],
)
def test_bad_input_is_one_line(
    game: str, sizes: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(f"[selfplay]\nsizes = {sizes}\n")
    options = ["--root", str(tmp_path), "--config", str(tmp_path / "c.toml")]
    assert cli.run(["selfplay", "--game", game, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "scratch").exists()


def test_the_command_line_tells_the_boards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(sizes=MIXED, games=8, positions=40))
    words = ["selfplay", "--run", "r", "--game", OWN, "--root", str(tmp_path), "--games", "1"]
    for _ in range(2):  # the same command goes on
        assert cli.run([*words, "--config", str(tmp_path / "c.toml")]) == 0
        assert f"{OWN} 75% + {SMALL} 25%, b1c8, 8 games" in capsys.readouterr().err
    (tmp_path / "c.toml").write_text(CONFIG.format(sizes="", games=8, positions=40))
    assert cli.run([*words, "--config", str(tmp_path / "c.toml")]) == 0, "the file leaves it open"
    other = CONFIG.format(sizes=f"sizes = {{{OWN} = 1, {SMALL} = 1}}", games=8, positions=40)
    (tmp_path / "c.toml").write_text(other)
    assert cli.run([*words, "--config", str(tmp_path / "c.toml")]) == 2
    assert "made with another selfplay" in capsys.readouterr().err
