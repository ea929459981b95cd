"""The networks in the box: they load, play, and are found wherever a run's name is."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import benchmark_module

from ghostgo import cli, screen, terminal
from ghostgo.data.run import BOTS, Run, find_checkpoint, list_bots, load_network
from ghostgo.duel import Duel
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.gtp import Engine
from ghostgo.gtp_server import converse
from ghostgo.opponents import default_opponent, make_bot, strange_board

NAMES = [bot.path.name for bot in list_bots()]


def test_the_box_has_what_the_readme_names() -> None:
    assert set(NAMES) >= {"go9", "human9", "go5", "connect_four"}
    assert sum(file.stat().st_size for file in BOTS.rglob("*.*")) < 8e6


@pytest.mark.parametrize("name", NAMES)
def test_each_has_learnt_something_and_plays_legal_moves(name: str, tmp_path: Path) -> None:
    info = find_checkpoint(name, tmp_path)
    assert info.run == name and info.totals.flops > 1e12
    network = load_network(info.path)
    bot = make_bot(name, None, 16, 1, tmp_path)
    assert bot.name == name and bot.game is network.game
    states = bot.game.new_states(1)
    for _ in range(12):
        action = bot.choose(states)
        assert action in bot.game.legal_actions(states[0])
        play_one(states[0], action)
        if states[0].done:
            break


def test_with_nobody_named_the_box_comes_first(
    untrained_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_bot(None, None, 8, 1, tmp_path).name == "go9"
    said = capsys.readouterr().err
    assert said == "go9 plays (came with ghostgo); --run NAME takes a run of yours\n"
    assert make_bot(None, "connect_four", 8, 1, tmp_path).name == "connect_four"
    assert make_bot(None, "go5", 8, 1, tmp_path).name == "go5"
    assert default_opponent("go7", tmp_path) == "go9", "a network of Go serves every board"
    assert make_bot(None, "go9", 8, 1, untrained_runs).name == "go9"
    assert make_bot(None, "connect_four", 8, 1, untrained_runs).name == "connect_four"
    assert make_bot("fresh", "go9", 8, 1, untrained_runs).name == "fresh@3"


def test_without_one_in_the_box_the_newest_run_plays_and_else_plain_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("othello", "hex9", "gomoku9", "tic_tac_toe"):
        assert make_bot(None, name, None, 1, tmp_path).name == "mcts:2000"
        assert f"plain search: nothing here is trained for {name}" in capsys.readouterr().err
    assert make_bot(None, "tic_tac_toe", 30, 1, tmp_path).name == "mcts:30"
    assert "mcts:30 plays (plain search" in capsys.readouterr().err
    game = get_game("tic_tac_toe")
    for name in ("older", "newer"):
        with Run.creating(tmp_path / name, game.name, 1, "") as run:
            network = Network(game, NetworkConfig.preset("b1c8"))
            run.save_checkpoint(1, network, {"totals": {}})
    os.utime(find_checkpoint("older", tmp_path).path, (1, 1))
    assert default_opponent("tic_tac_toe", tmp_path) == "newer"
    assert "your newest run for tic_tac_toe" in capsys.readouterr().err


def test_visits_that_plain_search_would_not_make_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="makes 20 rollouts a move: leave --visits 30 out"):
        make_bot("mcts:20", "tic_tac_toe", 30, 1, tmp_path)
    assert make_bot("mcts:20", "tic_tac_toe", 20, 1, tmp_path).name == "mcts:20"


def test_a_run_with_the_name_of_a_bot_in_the_box_is_said_to_play(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    game = get_game("connect_four")
    with Run.creating(tmp_path / game.name, game.name, 1, "") as run:
        run.save_checkpoint(1, Network(game, NetworkConfig.preset("b1c8")), {"totals": {}})
    assert make_bot(None, game.name, 8, 1, tmp_path).name == "connect_four@1"
    said = capsys.readouterr().err
    assert said.startswith("connect_four plays (a run of yours, before the bot of that name that ")
    assert make_bot(None, game.name, 8, 1, tmp_path / "else").name == "connect_four"
    assert "connect_four plays (came with ghostgo)" in capsys.readouterr().err


STRANGE = "go9 was trained on 9x9 alone: on 5x5 it plays by the same weights, untested there"


def test_a_bot_on_a_board_that_it_was_not_trained_on_says_so(
    untrained_runs: Path, tmp_path: Path
) -> None:
    go5, go9 = get_game("go5"), get_game("go9")
    assert strange_board("go9", go5).startswith(STRANGE)
    assert strange_board("go9, 32 visits (level 5k)", go5).startswith(STRANGE)
    assert "trained on 5x5 alone: on 9x9" in strange_board("go5", go9)
    strange = [strange_board(name, go5) for name in ("go5", "go9@12", "mcts:10", "random")]
    assert not any(strange) and not strange_board("go9", go9)
    run = make_bot("fresh", "go5", 1, 1, untrained_runs)
    assert not strange_board(run.name, run.game), "what a run was trained on its owner knows"


@pytest.mark.parametrize("game", ["go5", "go9"])
@pytest.mark.parametrize("plain", [True, False])
def test_play_says_so_once(
    game: str,
    plain: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    shown: list[Duel] = []
    if not plain:
        monkeypatch.setattr(terminal, "has_screen", lambda: True)
        monkeypatch.setattr(screen, "show", lambda duel: not shown.append(duel))  # type: ignore[func-returns-value]
    words = ["play", "--run", "go9", "--game", game, "--visits", "1", "--save", str(tmp_path)]
    assert cli.run([*words, "--plain"] if plain else words) == 0
    told = capsys.readouterr()
    said = told.err if plain else shown[0].warning
    assert said.count(STRANGE) == (game == "go5") and STRANGE not in told.out


def test_a_gtp_bot_says_so_on_standard_error_once_a_board(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Engine, "_warm", lambda self: None)  # it compiles
    engine, out = Engine(make_bot("go9", None, 1, 1, tmp_path)), io.BytesIO()
    sizes = [9, 5, 9, 5]
    converse(engine, [f"boardsize {size}\n".encode() for size in sizes], out)
    assert out.getvalue() == b"=\n\n" * len(sizes), "standard output carries answers alone"
    assert capsys.readouterr().err.count(STRANGE) == 1


@pytest.mark.parametrize("verb", ["play", "gtp"])
def test_a_run_is_named_by_an_option_as_well(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([verb, "--run", "nobody"]) == 2
    assert "'nobody' is neither a run nor a checkpoint" in capsys.readouterr().err
    assert cli.run([verb, "random", "--run", "nobody"]) == 2
    assert "RUN and --run both say who plays" in capsys.readouterr().err


def test_bots_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bots"]) == 0
    whole = capsys.readouterr().out.splitlines()
    lines = [line for line in whole if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == NAMES
    below = {name: whole[whole.index(line) + 1] for name, line in zip(NAMES, lines, strict=True)}
    assert all("Online Go Server" in below[name] for name in ("human9", "go9"))
    assert all("self-play alone" in below[name] for name in ("go5", "connect_four"))
    assert "; on 9x9 alone" in below["go9"] and "; on 5x5 alone" in below["go5"]
    assert "alone, and" not in below["connect_four"], "its network fits no other board"
    assert all("FLOP" in line for line in lines)
    human = next(line for line in lines if line.startswith("human9"))
    assert "human games" in human and "with itself" not in human


def test_a_checkpoint_is_packed_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, box = benchmark_module("pack"), tmp_path / "box"
    network = Network(get_game("connect_four"), NetworkConfig.preset("b1c8"))
    with Run.creating(tmp_path / "r", "connect_four", 1, "") as run:
        run.save_checkpoint(1, network, {"totals": {}, "shards": 3}, {"steps": 1})
    words = ["r", "new", "--root", str(tmp_path), "--box", str(box), "--source"]
    module.main([*words, "games of  nobody"])
    assert sorted(file.name for file in (box / "new").iterdir()) == [
        "meta.json", "weights.safetensors",
    ]  # fmt: skip
    monkeypatch.setattr("ghostgo.data.run.BOTS", box)
    (packed,) = list_bots()
    made = find_checkpoint("r", tmp_path)
    assert packed.meta == {
        **{k: v for k, v in made.meta.items() if k not in ("state_sha256", "shards")},
        "source": "games of nobody",
    }
    assert {"state_sha256", "shards"} <= set(made.meta)
    capsys.readouterr()
    assert cli.run(["bots"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "  games of nobody"
    module.main(["new", *words[1:], "another"])
    assert list_bots()[0].meta["source"] == "another"
    meta = packed.path / "meta.json"
    untold = {key: value for key, value in packed.meta.items() if key != "source"}
    meta.write_text(json.dumps(untold))
    assert cli.run(["bots"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2, "its path, and a line without a source"
    with pytest.raises(SystemExit):
        module.main([*words, " "])


def test_a_name_with_a_step_is_no_bot(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="bots: .*go9"):
        find_checkpoint("go9@3", tmp_path)


def test_connect_four_takes_a_win(tmp_path: Path) -> None:
    bot = make_bot("connect_four", None, 50, 1, tmp_path)
    states = bot.game.new_states(1)
    for action in (3, 0, 3, 0, 3, 1):
        play_one(states[0], action)
    assert bot.choose(states) == 3
    found = bot.analyse(states)
    assert found is not None and found.win_rate == 1 and found.candidates[0].action == 3


@pytest.mark.parametrize("name", ["go9", "human9"])
@pytest.mark.parametrize("ko", ["positional", "situational", "simple"])
def test_the_bots_for_go_open_on_the_board_under_every_ko_rule(name: str, ko: str) -> None:
    """A rule's plane that a network never saw must not make it pass."""
    network = load_network(find_checkpoint(name).path)
    game = network.game
    evaluator = make_evaluator(network, 1, "cpu", "fp32")
    state, mask = game.new_states(1, {"ko": ko}), np.zeros(game.actions, np.uint8)
    legal_mask_of(state[0], mask)
    write_planes_of(state[0], mask, evaluator.planes[0])
    evaluator.evaluate(1)
    policy = np.exp(evaluator.policy[0] - evaluator.policy[0].max())
    assert policy[game.points] < 0.05 * policy.sum()
