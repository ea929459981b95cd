"""Whole tournaments: over runs, resumed, killed, with bad input, and what they write."""

from __future__ import annotations

import csv
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evidence import copies
from sizes import sized

from ghostgo import cli
from ghostgo.arena.arena import run_arena
from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.report import Report, table
from ghostgo.arena.results import read_results
from ghostgo.arena.rules import rules_not_learnt, settle_rules
from ghostgo.data.ledger import Totals
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

GAME = "tic_tac_toe"
KILLER = """
import sys
from pathlib import Path
from ghostgo.arena.arena import run_arena
run_arena(None, None, game="go5", out=Path(sys.argv[1]), games=60, parallel=16,
          anchors=("random", "capture", sys.argv[2]))
"""


def add_checkpoint(folder: Path, step: int, flops: float, seed: int, game: str = GAME) -> None:
    """A checkpoint with random weights, in a run made if need be."""
    if not (folder / "run.json").exists():
        with Run.creating(folder, game, 0, ""):
            pass
    run = Run.open(folder)
    torch.manual_seed(seed)
    network = Network(get_game(game), NetworkConfig(1, 8))
    totals = Totals(selfplay_flops=flops / 2, training_flops=flops / 2)
    run.save_checkpoint(step, network, {"totals": totals.to_dict()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Runs `scratch` with three and `warm` with two checkpoints."""
    for i in range(3):
        add_checkpoint(tmp_path / "scratch", 10 * i, 1e9 * i, i)
    for i in range(2):
        add_checkpoint(tmp_path / "warm", 5 * i, 4e8 + 1e9 * i, 10 + i)
    return tmp_path


def arena(root: Path, games: int = 60, **options: Any) -> Report:
    given = {"visits": 4, "anchors": ("random", "mcts:20"), "parallel": 32, **options}
    return run_arena("scratch", "warm", root=root, games=games, **given)


def ids(root: Path) -> list[str]:
    lines = (root / "arena" / "results.jsonl").read_text().splitlines()
    return [re.findall(r'"pair":"(\w+)"', line)[0] for line in lines]


def test_every_checkpoint_and_anchor_is_rated(root: Path) -> None:
    report = arena(root, games=80)
    assert {row.name for row in report.rows} == {
        "random", "mcts20", "scratch@0", "scratch@10", "scratch@20", "warm@0", "warm@5",
    }  # fmt: skip
    assert all(row.games >= 4 for row in report.rows)
    assert next(row.elo for row in report.rows if row.name == "random") == 0
    elos = [row.elo for row in report.rows]
    assert elos == sorted(elos, reverse=True)
    assert [row.flops for row in report.curves()["scratch"]] == [0.0, 1e9, 2e9]
    results = read_results(root / "arena" / "results.jsonl")
    assert len(results) == 40
    nets = [info for pair in results for info in (pair.a, pair.b) if info.kind == "net"]
    assert all(len(info.settings["sha256"]) == 64 for info in nets)
    assert all(info.settings["visits"] == 4 for info in nets)
    spent = [
        (game.evaluations[side], game.flops[side])
        for pair in results
        for game in pair.games
        for side, info in enumerate((pair.a, pair.b))
        if info.kind == "net"
    ]
    assert all((evaluations > 0) == (flops > 0) for evaluations, flops in spent)
    assert sum(evaluations for evaluations, _ in spent) > 300


def test_the_report_is_whole_and_needs_no_network(root: Path) -> None:
    report = arena(root, games=40)
    assert report.png.read_bytes().startswith(b"\x89PNG")
    page = report.html.read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    body = page.rsplit("<body>", 1)[1]
    assert "<h1>ghostgo arena, tic_tac_toe: scratch and warm</h1>" in body
    for row in report.rows:
        assert f"<td>{row.name}</td>" in body
        assert f'"player": "{row.name}"' in body
    with report.csv.open() as file:
        table = list(csv.DictReader(file))
    assert [line["player"] for line in table] == [row.name for row in report.rows]
    warm = next(line for line in table if line["player"] == "warm@5")
    assert float(warm["flops"]) == pytest.approx(1.4e9)


def test_the_same_command_goes_on_and_counts_nothing_twice(root: Path) -> None:
    first = arena(root, games=40)
    before = ids(root)
    again = arena(root, games=40)
    assert ids(root) == before and len(before) == 20
    assert [(row.name, row.elo) for row in again.rows] == [
        (row.name, row.elo) for row in first.rows
    ]
    arena(root, games=70)
    assert ids(root)[:20] == before
    assert len(ids(root)) == len(set(ids(root))) == 35


def test_a_tournament_follows_a_run_that_trains_on(root: Path) -> None:
    arena(root)
    add_checkpoint(root / "scratch", 30, 3e9, 30)
    report = arena(root, games=90)
    assert "scratch@30" in {row.name for row in report.rows if row.games}


def test_a_run_trained_anew_is_a_new_player(root: Path) -> None:
    arena(root)
    add_checkpoint(root / "scratch", 0, 0.0, 77)
    report = arena(root, games=90)
    labels = [row.name for row in report.rows if row.name.startswith("scratch@0")]
    assert len(labels) == 2


def test_other_visits_are_other_players(root: Path) -> None:
    arena(root)
    report = arena(root, games=60, visits=2)
    assert len(report.rows) == 7 + 5
    results = read_results(root / "arena" / "results.jsonl")
    seen = [{info.settings.get("visits") for info in (pair.a, pair.b)} for pair in results]
    assert sum(4 not in visits for visits in seen) == 30, "games of others count towards no limit"
    rated = 4 * len(results) - 2 * copies(root / "arena")
    assert sum(row.games for row in report.rows) == rated > 160


def test_a_checkpoint_that_two_runs_share_is_one_player(root: Path) -> None:
    add_checkpoint(root / "warm", 9, 9e9, 2)  # the weights of scratch@20
    report = arena(root)
    shared = {row.name: row for row in report.rows if row.name in ("scratch@20", "warm@9")}
    assert len(shared) == 2
    assert shared["scratch@20"].elo == shared["warm@9"].elo
    assert shared["warm@9"].flops == 9e9


def test_it_stops_at_a_width_and_at_a_time(root: Path) -> None:
    report = run_arena(
        "scratch", None, root=root, visits=2, anchors=("random", "mcts:10"), width=500, parallel=16
    )
    widths = [row.high - row.low for row in report.rows if row.mark != "anchor"]
    assert 300 < sum(widths) / len(widths) <= 500
    begun = time.monotonic()
    run_arena("scratch", "warm", root=root, out=root / "timed", visits=2, minutes=0.05)
    assert time.monotonic() - begun < 20


def test_a_start_that_is_too_short_still_ends_some_games(root: Path) -> None:
    report = run_arena("scratch", "warm", root=root, visits=2, minutes=1e-6)
    assert sum(row.games for row in report.rows) > 0


def test_more_players_may_be_given(root: Path) -> None:
    players = {"fast": "scratch@10:1", "twenty": "mcts:30", "same": "mcts:30"}
    report = arena(root, players=players)
    names = {row.name for row in report.rows}
    assert {"fast", "twenty"} <= names and "same" not in names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"players": {"x": "nobody"}}, "players are random, capture, mcts:1000"),
        ({"players": {"random": "mcts:5"}}, "two players are called 'random'"),
        ({"players": {"x": "capture"}}, "the capture bot plays Go"),
        ({"players": {"x": "gtp:nothing-like-it"}}, "plays? square Go boards"),
        ({"game": "go5"}, "one arena rates one game"),
        ({"anchor": "gnugo"}, "rating anchor 'gnugo' is no player"),
        ({"rules": {"komi": 3}}, "unknown rule 'komi'"),
    ],
)
def test_bad_input_is_one_sentence(root: Path, options: dict[str, Any], says: str) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match=says) as caught:
        arena(root, **options)
    assert "\n" not in str(caught.value)
    assert sorted(root.rglob("*")) == before, "a refused command leaves nothing behind"


def test_runs_of_different_games_are_refused_by_name(root: Path) -> None:
    add_checkpoint(root / "four", 0, 0.0, 3, "connect_four")
    with pytest.raises(UserError, match="scratch: tic_tac_toe, four: connect_four"):
        run_arena("scratch", "four", root=root)
    assert not (root / "arena").exists()


def test_openings_are_judged_by_the_dearest_checkpoint_and_kept(root: Path) -> None:
    arena(root, games=20)
    path = root / "arena" / "openings.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    dearest = Run.open(root / "scratch").latest().meta["sha256"]
    assert {row["reference"] for row in rows} == {dearest}
    assert sum(abs(row["value"]) < 0.3 for row in rows) > len(rows) / 2
    known = {tuple(row["actions"]) for row in rows}
    assert all(pair.opening in known for pair in read_results(root / "arena" / "results.jsonl"))
    add_checkpoint(root / "scratch", 30, 9e9, 31)
    arena(root, games=40)
    again = path.read_text().splitlines()
    assert [json.loads(line) for line in again[: len(rows)]] == rows


def test_the_table_tells_visits_cost_and_who_never_lost(root: Path) -> None:
    rows = {row.name: row for row in arena(root).rows}
    assert rows["scratch@10"].visits == 4 and rows["mcts20"].visits == 20
    assert rows["random"].visits is None and rows["random"].interval == ""
    assert rows["scratch@0"].spent == "0" and rows["scratch@10"].spent == "1.00e+09"
    told = replace(rows["mcts20"], mark="unbeaten")
    (_, line) = table((told,)).splitlines()
    unplayed = replace(rows["mcts20"], mark="unplayed", games=0, elo=-0.2)
    assert (unplayed.rating, unplayed.interval) == ("", "")
    assert replace(unplayed, mark="").rating == "0"
    assert line.endswith("unbeaten") and f"{told.low:.0f} .. {told.high:.0f}" in line


def test_an_interval_that_cannot_close_does_not_keep_a_tournament_going(tmp_path: Path) -> None:
    report = run_arena(
        None, None, game="go5", out=tmp_path, anchors=("random", f"mcts:{sized(300, 20)}", "capture"),
        width=450, games=2000, parallel=16,
    )  # fmt: skip
    assert sum(row.games for row in report.rows) < 2 * 400


def test_a_checkpoint_with_broken_weights_is_named(root: Path) -> None:
    run = Run.open(root / "scratch")
    network = Network(get_game(GAME), NetworkConfig(1, 8))
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(float("nan"))
    run.save_checkpoint(40, network, {"totals": Totals(selfplay_flops=1.0).to_dict()})
    with pytest.raises(UserError, match="player 'scratch@40': the network's value is not a number"):
        arena(root)


def test_unknown_and_empty_runs_are_named(root: Path) -> None:
    with pytest.raises(UserError, match="'nobody' is not a run"):
        run_arena("scratch", "nobody", root=root)
    with Run.creating(root / "empty", GAME, 0, ""):
        pass
    with pytest.raises(UserError, match="'empty' has no checkpoint yet"):
        run_arena("empty", None, root=root)
    with pytest.raises(UserError, match="--game"):
        run_arena(None, None, root=root)


def test_one_folder_holds_one_game_and_one_set_of_rules(tmp_path: Path) -> None:
    options: dict[str, Any] = {"out": tmp_path, "anchors": ("random", "mcts:5"), "games": 4}
    run_arena(None, None, game="go5", **options)
    with pytest.raises(UserError, match="choose another --out"):
        run_arena(None, None, game=GAME, **options)
    with pytest.raises(UserError, match="komi"):
        run_arena(None, None, game="go5", rules={"komi": 5.5}, **options)


ENGINE = """
for line in open(0):
    print("= false" if "known" in line else "=", end="\\n\\n", flush=True)
"""


def test_rules_are_chosen_and_other_ones_of_a_run_are_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run.creating(root / "small", "go2", 0, "") as run:
        network = Network(get_game("go2"), NetworkConfig(1, 8))
        learnt = {"totals": {"selfplay_flops": 1e9}, "rules": {"komi": 0.5, "ko": "simple"}}
        run.save_checkpoint(0, network, learnt)
    words = ["arena", "--a", "small", "--b", "", "--root", str(root), "--visits", "2", "--games"]
    assert cli.run([*words, "4", "--out", str(tmp_path / "usual")]) == 0
    told = capsys.readouterr().err
    assert "small learnt by other rules than this arena's komi" in told
    assert "--rule komi=0.5 --rule ko=simple" in told
    chosen = ["--out", str(tmp_path / "its own"), "--rule", "komi=0.5", "--rule", "ko=simple"]
    assert cli.run([*words, "4", *chosen]) == 0
    assert "learnt by other rules" not in capsys.readouterr().err
    pair = read_results(tmp_path / "its own" / "results.jsonl")[0]
    assert (pair.rules["komi"], pair.rules["ko"]) == (0.5, "simple")
    test = [
        "arena",
        "sprt",
        "small",
        "random",
        "--root",
        str(root),
        "--visits",
        "2",
        "--games",
        "2",
    ]
    assert cli.run([*test, "--rule", "komi=0.5"]) == 0
    assert read_results(root / "sprt" / "results.jsonl")[0].rules["komi"] == 0.5
    engine = f"e={sys.executable} {tmp_path / 'engine.py'}"
    (tmp_path / "engine.py").write_text(ENGINE)
    for rule, says in (
        ("komi", "NAME=VALUE"), ("komi=many", "komi"), ("colour=red", "colour"), ("komi=true", "komi"),
        ("suicide=1", "suicide"), ("move_limit=nan", "move_limit"), ("move_limit=inf", "move_limit"),
        ("komi=nan", "komi"), ("suicide=true", "cannot be told"),
    ):  # fmt: skip
        for verb in ([*words[:-1], "--player", engine], test):
            if rule == "suicide=true" and verb is test:
                continue
            capsys.readouterr()
            assert cli.run([*verb, "--out", str(tmp_path / "none"), "--rule", rule]) == 2
            assert says in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_rules_of_a_run_that_varied_them_and_numbers_as_the_game_has_them(tmp_path: Path) -> None:
    config = "[selfplay.vary]\nkomi = [0.5, 6.5]\n"
    with Run.creating(tmp_path / "small", "go2", 0, config) as run:
        network = Network(get_game("go2"), NetworkConfig(1, 8))
        run.save_checkpoint(0, network, {"totals": {}, "rules": {"komi": 0.5, "ko": "simple"}})
    game, run = get_game("go2"), Run.open(tmp_path / "small")
    for komi, other in ((0.5, False), (6.5, False), (7.5, True)):
        rules = settle_rules(game, {"komi": komi, "ko": "simple"}, [])
        assert rules_not_learnt(run, rules) == ({"komi": 0.5} if other else {})
    assert rules_not_learnt(run, settle_rules(game, None, []))["ko"] == "simple"
    usual = settle_rules(game, {}, [])
    again = settle_rules(game, {"move_limit": float(usual["move_limit"])}, [])
    assert json.dumps(again) == json.dumps(usual) == json.dumps(game.rules)


def test_a_network_that_is_no_runs_checkpoint_judges_openings_too(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, begun, real = root / "judged", list[int](), Match.add

    def add(self: Match, task: PairTask) -> None:
        begun.append(self.in_flight)
        real(self, task)

    words = ["arena", "--a", "", "--b", "", "--game", GAME, "--root", str(root), "--visits", "2"]
    words += ["--player", "net=scratch", "--games", "4", "--out", str(out), "--parallel", "2"]
    with monkeypatch.context() as patched:
        patched.setattr(Match, "add", add)
        assert cli.run(words) == 0
    assert begun == [0, 0], "with two games in flight a pair begins when the one before has ended"
    openings = [json.loads(line) for line in (out / "openings.jsonl").read_text().splitlines()]
    assert openings and all(opening["value"] is not None for opening in openings)


def pairs_on_disk(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(command: Sequence[str], path: Path, lines: int) -> None:
    """Run `command` and kill it once `path` has more than `lines` lines."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(sized(1200, 12_000)):
            if pairs_on_disk(path) > lines or process.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


def test_killed_three_times_it_loses_nothing_and_ends_with_the_same_games(tmp_path: Path) -> None:
    path = tmp_path / "killed" / "results.jsonl"
    tree = f"mcts:{sized(20, 4)}"
    command = [sys.executable, "-c", KILLER, str(path.parent), tree]
    reported: list[str] = []
    for more in (1, 5, 3):
        kill_at(command, path, len(reported) + more)
        found = [result.pair for result in read_results(path)]
        assert found[: len(reported)] == reported and len(found) > len(reported)
        reported = found
    anchors = ("random", "capture", tree)
    options: dict[str, Any] = {"game": "go5", "games": 60, "parallel": 16, "anchors": anchors}
    report = run_arena(None, None, out=path.parent, **options)
    results = read_results(path)
    assert [result.pair for result in results][: len(reported)] == reported
    assert len(results) == len({result.pair for result in results}) == 30
    assert sum(row.games for row in report.rows) == 120
    # A pair that an uninterrupted tournament plays too is the same pair of games there.
    run_arena(None, None, out=tmp_path / "whole", **options)
    whole = {result.pair: result for result in read_results(tmp_path / "whole" / "results.jsonl")}
    both = [result for result in results if result.pair in whole]
    assert len(both) > 10
    for result, game in itertools.product(both, (0, 1)):
        assert result.games[game].moves == whole[result.pair].games[game].moves
