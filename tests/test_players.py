"""Players by name: budgets of visits and FLOPs a move, and OpenSpiel's MCTS under our rules."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostgo import cli
from ghostgo.arena.effort import MOST_VISITS, Effort, as_effort, parse_effort, split_effort
from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings
from ghostgo.arena.openspiel_player import OpenSpielPlayer, oracle_actions, oracle_name
from ghostgo.arena.players import RandomPlayer
from ghostgo.arena.pool import Entry, PlayerOptions, make_entry
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import is_legal_one, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, count_flops


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One run, `scratch`: tic-tac-toe, untrained checkpoints at steps 3 and 8."""
    with Run.creating(tmp_path / "scratch", "tic_tac_toe", 0, "") as run:
        for step in (3, 8):
            torch.manual_seed(step)
            network = Network(get_game("tic_tac_toe"), NetworkConfig(1, 8))
            run.save_checkpoint(step, network, {"totals": {"selfplay_flops": 1e9 * step}})
    return tmp_path


def price() -> float:
    return count_flops(Network(get_game("tic_tac_toe"), NetworkConfig(1, 8)))


def test_a_budget_is_visits_or_flops() -> None:
    assert parse_effort("64") == as_effort(64) == Effort(visits=64)
    assert parse_effort(" 2.5e9FLOPs ") == Effort(flops=2.5e9)
    assert parse_effort("5E-2S") == Effort(seconds=0.05)
    for effort in (Effort(9), Effort(flops=2e9), Effort(seconds=0.125)):
        assert parse_effort(str(effort)) == effort
    assert Effort(seconds=0.125).words == "0.125 s a move"
    for text in (
        *("0", "-3", "64.5", "flops", "nanflops", "infflops", "-1e9flops", "many", ""),
        *("s", "0s", "-1s", "nans", "infs", "2flopss"),
    ):
        with pytest.raises(UserError, match="is no budget for a move"):
            parse_effort(text)


def test_a_budget_of_flops_buys_whole_visits() -> None:
    assert Effort(flops=1e6).visits_at(2e5, "x") == 4, "the root is judged too"
    assert Effort(visits=7).visits_at(3e5, "x") == 7
    with pytest.raises(
        UserError, match="'x': 1e\\+06 FLOPs a move do not pay .*: one visit takes 1.2e\\+06"
    ):
        Effort(flops=1e6).visits_at(6e5, "x")
    with pytest.raises(UserError, match=f"more than {MOST_VISITS}"):
        Effort(flops=1e18).visits_at(2e6, "x")


def test_a_budget_stands_behind_the_checkpoint() -> None:
    assert split_effort("scratch@12:400") == ("scratch@12", Effort(visits=400))
    assert split_effort("scratch:2e9flops") == ("scratch", Effort(flops=2e9))
    assert split_effort("scratch:1.5e-2s") == ("scratch", Effort(seconds=0.015))
    assert split_effort("scratch@12") == ("scratch@12", None)
    assert split_effort("runs") == ("runs", None)
    with pytest.raises(UserError, match="'0' is no budget"):
        split_effort("scratch:0")


def test_a_checkpoint_has_its_own_budget(root: Path) -> None:
    game, options = get_game("tic_tac_toe"), PlayerOptions(root, Effort(visits=5))

    def entry(spec: str) -> Entry:
        return make_entry("x", spec, game, options)

    visits = {
        spec: entry(f"scratch{spec}").info.settings["visits"]
        for spec in ("", "@3", "@3:20", f":{4.5 * price():g}flops")
    }
    assert visits == {"": 5, "@3": 5, "@3:20": 20, f":{4.5 * price():g}flops": 3}
    bought, counted = entry(f"scratch:{4.5 * price():g}flops"), entry("scratch:3")
    assert bought.info.identity == counted.info.identity, "they play alike, so they are one player"
    bought.player.choose(game.new_states(1), [0])
    assert 3 * price() < bought.player.flops <= 4.5 * price()


NATIVE = ["go5", "go9", "connect_four_4x5", "gomoku9", "hex5", "othello", "tic_tac_toe"]


@pytest.mark.parametrize("name", [*NATIVE, "openspiel:dots_and_boxes(num_rows=2,num_cols=2)"])
def test_openspiels_games_run_in_step_with_ours(name: str) -> None:
    pyspiel = pytest.importorskip("pyspiel")
    game, rng = get_game(name), np.random.default_rng(2)
    theirs = oracle_actions(game)
    assert [theirs[action] for action in theirs] == list(range(game.actions))
    for _ in range(3):
        state = game.new_states(1)[0]
        other = pyspiel.load_game(oracle_name(game, state)).new_initial_state()
        while not state.done:
            action = int(rng.choice(game.legal_actions(state)))
            if other.current_player() == state.to_play:
                assert theirs[action] in other.legal_actions()
                other.apply_action(theirs[action])
            play_one(state, action)
        assert other.is_terminal()


@pytest.mark.parametrize("name", [*NATIVE, "openspiel:dots_and_boxes(num_rows=2,num_cols=2)"])
def test_openspiels_mcts_beats_random_in_every_game(name: str) -> None:
    pytest.importorskip("pyspiel")
    game = get_game(name)
    match = Match(game, [OpenSpielPlayer("mcts", game, 40), RandomPlayer("random")], 16)
    openings = Openings(game, 1)
    for i in range(4):
        match.add(PairTask(f"{i}", 0, 1, openings[i]))
    results = []
    while match.in_flight:
        results += [result for _, pair in match.sweep() for result in pair]
    match.close()
    assert sum(result.points for result in results) >= (6 if name in NATIVE else 5)
    assert all(result.end == "score" and result.evaluations[0] > 0 for result in results)


def go_state(moves: str) -> tuple[Any, list[int]]:
    game = get_game("go5")
    state, actions = game.new_states(1), [game.parse_action(move) for move in moves.split()]
    for action in actions:
        play_one(state[0], action)
    return state, actions


def test_openspiels_mcts_sees_the_board_the_right_way_up() -> None:
    pytest.importorskip("pyspiel")
    game = get_game("go5")
    # White's three stones on the lower edge have one liberty, D1; only that move takes them.
    states, moves = go_state("A2 A1 B2 B1 C2 C1 E5 E4")
    player = OpenSpielPlayer("mcts", game, 800)
    player.reset([7])
    for move in moves:
        player.observe(7, move)
    assert game.action_name(int(player.choose(states, [7])[0])) == "D1"


def test_a_position_has_one_answer_whatever_was_asked_before() -> None:
    pytest.importorskip("pyspiel")
    game = get_game("go5")
    states, moves = go_state("C3 C4 B3 D3")
    answers = []
    for others in ([], [3, 9], [9]):
        player = OpenSpielPlayer("mcts", game, 60)
        for number in (*others, 5):
            player.reset([number])
            for move in moves:
                player.observe(number, move)
        together = np.concatenate([states] * (len(others) + 1)).view(np.recarray)
        answers.append(int(player.choose(together, [*others, 5])[-1]))
    assert len(set(answers)) == 1


def test_a_repeated_board_is_a_draw_there_and_forbidden_here() -> None:
    """On 2x2 the loser's best is a repetition; the bot must do without it, and does not forfeit."""
    pyspiel = pytest.importorskip("pyspiel")
    game, wished = get_game("go2"), 0
    for seed in range(12):
        player = OpenSpielPlayer("mcts", game, 60)
        player.reset([seed])
        states = game.new_states(1)
        oracle = pyspiel.load_game(oracle_name(game, states[0]))
        other = oracle.new_initial_state()
        while not states[0].done:
            evaluator = pyspiel.RandomRolloutEvaluator(1, 5)
            free = pyspiel.MCTSBot(oracle, evaluator, 2.0, 60, 100, True, 5, False)
            wished += not is_legal_one(states[0], oracle_actions(game)[free.step(other)])
            action = int(player.choose(states, [seed])[0])
            assert is_legal_one(states[0], action)
            play_one(states[0], action)
            player.observe(seed, action)
            other.apply_action(oracle_actions(game)[action])
    assert wished > 0, "no position in which its free choice is illegal: the test tests nothing"


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"ko": "simple"}, "not ko = simple"),
        ({"ko": "situational"}, "not ko = situational"),
        ({"suicide": True}, "not suicide allowed"),
    ],
)
def test_other_rules_of_go_are_refused(rules: dict[str, Any], says: str) -> None:
    pytest.importorskip("pyspiel")
    game = get_game("go5")
    with pytest.raises(UserError, match=says):
        OpenSpielPlayer("mcts", game, 5).choose(game.new_states(1, rules), [0])


def test_komi_and_length_are_ours() -> None:
    game = get_game("go5")
    state = game.new_states(1, {"komi": 3, "move_limit": 40})[0]
    assert oracle_name(game, state) == "go(board_size=5,komi=3.0,max_game_length=40)"


def test_without_openspiel_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pyspiel":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match="needs OpenSpiel, .*pip install open_spiel"):
        OpenSpielPlayer("mcts", get_game("go5"), 5)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("openspiel:mcts:many", "'many' is no number of simulations"),
        ("openspiel:mcts:1", "at least 2"),
        ("openspiel:alpha_beta", "players are random, .*openspiel:mcts:1000, .*RUN@STEP:2e9flops"),
        ("scratch:0", "'0' is no budget for a move"),
        ("scratch:1e2flops", "player 'x': 100 FLOPs a move do not pay for a search"),
        ("scratch:1e99flops", "more than 65536"),
        ("scratch:twoflops", "'twoflops' is no budget"),
    ],
)
def test_a_wrong_player_is_one_sentence(
    root: Path, spec: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["arena", "--root", str(root), "--b", "", "--player", f"x={spec}"]
    assert cli.run(command) == cli.EXIT_USER_ERROR
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and re.search(says, err)
    assert not (root / "arena").exists()


def test_openspiel_has_no_rectangular_go() -> None:
    pytest.importorskip("pyspiel")
    with pytest.raises(UserError, match="OpenSpiel has no go4x5: its Go boards are square"):
        OpenSpielPlayer("mcts", get_game("go4x5"), 5)


def test_they_all_meet_in_one_arena(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyspiel")
    budget = f"{7.5 * price():g}flops"
    command = [
        "arena", "--root", str(root), "--b", "", "--games", "40", "--visits", budget,
        "--player", "os=openspiel:mcts:30", "--player", "quick=scratch@8:2",
    ]  # fmt: skip
    assert cli.run(command) == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.split()}
    assert "30" in lines["os"] and "2" in lines["quick"] and "6" in lines["scratch@8"]
    rows = [json.loads(line) for line in (root / "arena" / "results.jsonl").open()]
    infos = {row[side]["name"]: row[side] for row in rows for side in "ab"}
    assert infos["os"]["kind"] == "openspiel" and infos["os"]["settings"]["rollouts"] == 30
    assert infos["scratch@3"]["settings"]["visits"] == 6
    for row in rows:
        for game in row["games"]:
            for side, info in enumerate((row["a"], row["b"])):
                if info["name"].startswith("scratch"):
                    plies = len(game["moves"]) - len(row["opening"])
                    assert game["flops"][side] <= (plies / 2 + 1) * 7.5 * price()
