"""Rules that differ from game to game: drawn, recorded as played, resumed, shown to imitation."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from reference_search import HashEvaluator
from sizes import teacher_records

from ghostgo import cli
from ghostgo.data.run import Run
from ghostgo.data.shards import read_shard
from ghostgo.engine.games.game import play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.config import RunConfig, make_config, rule_sets
from ghostgo.selfplay.loop import reopen
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.imitate import Imitation, run_warmstart

GAME = get_game("go5")
CONFIG = """
network = "b1c8"
workers = 1
[selfplay]
games = 8
visits = 4
positions_per_iteration = 100
[selfplay.vary]
komi = [-3.5, 0.5, 24.0]
ko = ["positional", "simple"]
[learner]
batch_size = 32
"""


def config() -> RunConfig:
    return make_config({"selfplay": {"vary": {"komi": [0.5, 24.0], "ko": ["simple"]}}}, game="go5")


def actor(rules: list[dict[str, object]], seed: int = 1) -> Actor:
    return Actor(
        GAME, HashEvaluator(GAME, 4), 4, 4, SearchConfig(explore=True), rules, opening_plies=3,
        seed=np.random.SeedSequence(seed),
    )  # fmt: skip


def test_every_combination_is_a_set_over_the_fixed_rules() -> None:
    sets = rule_sets(config().selfplay, GAME)
    assert sets == [{**GAME.rules, "komi": komi, "ko": "simple"} for komi in (0.5, 24.0)]
    assert rule_sets(RunConfig().selfplay, GAME) == [dict(GAME.rules)]


def test_games_are_recorded_under_the_rules_they_were_played_by(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    arguments = ["selfplay", "--run", "r", "--game", "go5", "--root", str(tmp_path)]
    assert cli.run([*arguments, "--config", str(tmp_path / "c.toml"), "--games", "60"]) == 0
    assert cli.run([*arguments, "--games", "120"]) == 0
    seen = set()
    for shard in sorted((tmp_path / "r" / "shards").glob("*.h5")):
        table = read_shard(shard)
        for i in range(len(table)):
            rules = table.rules_of(i)
            seen.add((rules["komi"], rules["ko"]))
            state = GAME.new_states(1, rules)
            for action in table.moves_of(i):
                play_one(state[0], int(action))
            assert state.done[0]
            assert float(score_of(state[0])) == table.scores[i]
    assert seen == {(komi, ko) for komi in (-3.5, 0.5, 24.0) for ko in ("positional", "simple")}


def test_an_actor_goes_on_with_the_rules_of_its_games() -> None:
    sets = rule_sets(config().selfplay, GAME)
    whole, parts = actor(sets), actor(sets)
    for _ in range(30):
        whole.step()
        parts.step()
    state = parts.state_dict()
    other = actor(sets, seed=9)
    other.load_state_dict(state)
    whole.restart_searches()
    whole.take()
    for each in (whole, other):
        while each.positions < 200:
            each.step()
    first, second = whole.take(), other.take()
    assert (first.moves == second.moves).all()
    assert [first.rules_of(i) for i in range(len(first))] == [
        second.rules_of(i) for i in range(len(second))
    ]


def test_records_are_shown_under_each_ko_rule(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    teacher_records(tmp_path / "teacher.sgfs", games=40, rollouts=5, seed=1)
    line = LiveLine(io.StringIO())
    run_warmstart(
        [tmp_path / "teacher.sgfs"], "warm", game="go5", flops=1e7, root=tmp_path, line=line,
        config_file=tmp_path / "c.toml",
    )  # fmt: skip
    run = Run.open(tmp_path / "warm")
    imitation = Imitation(run, reopen(run.folder, None, None, None)[1], line)
    plane = GAME.plane_names.index("simple_ko_rule")
    shown = imitation.window.rows_batch(np.arange(imitation.window.rows)).planes[:, 0, plane] != 0
    assert 0.3 < shown.mean() < 0.7
    held_out = imitation.held_out.rows_batch(np.arange(imitation.held_out.rows)).planes
    assert not held_out[:, :, plane].any(), "judged under the run's own rule"


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("komi = 3", "vary: komi = 3 is not a list"),
        ("komi = []", "vary: komi = [] is not a list of values"),
        ("kommi = [1]", "unknown rule 'kommi'"),
        ('ko = ["positional", "super"]', "'super' is unknown"),
        (f"komi = {list(range(300))}", "vary makes 300 sets of rules, at most 256"),
    ],
)
def test_bad_input_is_one_line(
    vary: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(f"[selfplay.vary]\n{vary}\n")
    options = ["--root", str(tmp_path), "--config", str(tmp_path / "c.toml")]
    assert cli.run(["selfplay", "--game", "go5", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "scratch").exists()
