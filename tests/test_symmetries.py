"""The mean over a position's images: what it is, what it costs, and who may ask for it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_search import HashEvaluator
from test_cache import same
from test_network import lively
from test_orientation import ALWAYS, images, planes_of, random_moves
from test_players import price, root  # noqa: F401  (a fixture)
from test_search import positions

from ghostgo import cli
from ghostgo.arena.effort import Effort, split_settings
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.bot import SearchBot
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, State, legal_mask_of, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor

PUCT = SearchConfig(root="puct")


def naive_mean(
    game: Game, state: State, count: int, evaluator: HashEvaluator
) -> tuple[NDArray[np.float64], float]:
    """Policy (A,) and value of a position: the mean over its first `count` images."""
    mask = np.zeros(game.actions, np.uint8)
    legal_mask_of(state, mask)
    plain, policy, values = planes_of(game, state), np.zeros(game.actions), []
    for points, actions in zip(game.point_symmetries[:count], game.action_symmetries, strict=False):
        turned = np.empty_like(plain)
        turned[points] = plain
        logits, value, _ = evaluator.judge(turned)
        weights = np.exp(logits[actions].astype(float)) * mask
        policy += weights / weights.sum() / count
        values.append(value)
    return policy, float(np.mean(values))


@pytest.mark.parametrize(("name", "counts"), [("go5", (2, 8)), ("connect_four", (2,))])
def test_the_root_is_judged_by_the_mean_of_its_images(name: str, counts: tuple[int, ...]) -> None:
    game = get_game(name)
    states = positions(game, 4, 3, 8)
    evaluator = HashEvaluator(game, 8)
    for count in counts:
        config = replace(PUCT, symmetries=count)
        result = Searcher(game, evaluator, 4, 1, config).run(states)
        for i in range(4):
            policy, value = naive_mean(game, states[i], count, evaluator)
            assert result.prior[i] == pytest.approx(policy, abs=1e-5)
            assert result.raw_value[i] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("kind", ["puct", "gumbel"])
@pytest.mark.parametrize("plies", [0, ALWAYS])
def test_under_all_symmetries_images_are_searched_alike(kind: str, plies: int) -> None:
    game, rng = get_game("go5"), np.random.default_rng(5)
    config = SearchConfig(
        root=kind, symmetries=8, leaf_symmetries=8, canonical_plies=plies  # type: ignore[arg-type]
    )  # fmt: skip
    states = images(game, random_moves(game, rng, 6))
    result = Searcher(game, HashEvaluator(game, 64), 8, 30, config).run(states)
    for s, table in enumerate(game.action_symmetries):
        assert result.raw_value[s] == pytest.approx(result.raw_value[0], abs=1e-6)
        # Sums in another order: a near tie may fall otherwise.
        assert np.abs(result.visits[s, table] - result.visits[0]).sum() <= 2


@pytest.mark.parametrize("symmetries", [1, 3, 8])
@pytest.mark.parametrize("leaf", [1, 2])
def test_every_image_is_an_evaluation(symmetries: int, leaf: int) -> None:
    game = get_game("go5")
    evaluator = HashEvaluator(game, 9)
    config = replace(PUCT, symmetries=symmetries, leaf_symmetries=leaf, cache_mb=0)
    result = Searcher(game, evaluator, 3, 20, config).run(game.new_states(3))
    assert (result.visits.sum(axis=1) == 20).all()
    assert evaluator.evaluations == 3 * (symmetries + 20 * leaf)


@pytest.mark.parametrize("kind", ["puct", "gumbel"])
@pytest.mark.parametrize("plies", [0, ALWAYS])
def test_cache_and_batch_change_nothing(kind: str, plies: int) -> None:
    game = get_game("go5")
    config = SearchConfig(
        root=kind, explore=True, symmetries=4, leaf_symmetries=2, canonical_plies=plies,  # type: ignore[arg-type]
        cache_mb=0,
    )  # fmt: skip
    settings = [(4, 0), (64, 0), (64, 1)]
    searchers = [
        Searcher(game, HashEvaluator(game, rows), 5, 40, replace(config, cache_mb=size), seed=2)
        for rows, size in settings
    ]
    states = game.new_states(5)
    for _ in range(3):
        narrow, wide, cached = (searcher.run(states) for searcher in searchers)
        assert same(narrow, wide) and same(wide, cached)
        for i in range(len(states)):
            play_one(states[i], int(wide.action[i]))
    assert searchers[2].cache.counts[1] > 20


def test_several_leaves_a_step_keep_their_counts() -> None:
    game = get_game("go5")
    config = replace(PUCT, leaves_per_step=4, symmetries=8, leaf_symmetries=3)
    searcher = Searcher(game, HashEvaluator(game, 13), 2, 50, config)
    result = searcher.run(game.new_states(2))
    assert (result.visits.sum(axis=1) == 50).all()
    assert not searcher.trees.edges[0, : searcher.trees.edge_count[0]].virtual.any()


def test_a_batch_too_small_for_one_leaf_is_refused() -> None:
    game = get_game("go5")
    with pytest.raises(ValueError, match="rows of one leaf"):
        Searcher(game, HashEvaluator(game, 4), 1, 10, replace(PUCT, symmetries=5))
    with pytest.raises(UserError, match="leaf_symmetries = 9: go5 has 1 to 8"):
        Searcher(game, HashEvaluator(game, 16), 1, 10, replace(PUCT, leaf_symmetries=9))


def test_settings_stand_behind_a_player() -> None:
    assert split_settings("run@3:400") == ("run@3:400", {})
    assert split_settings("run@3:2e9flops,symmetries=8,score_weight=0.1") == (
        "run@3:2e9flops", {"symmetries": 8, "score_weight": 0.1},
    )  # fmt: skip
    assert split_settings("a,b=c") == ("a,b=c", {}), "a folder may be called that"
    with pytest.raises(UserError, match="symmetries = 'all' is no number"):
        split_settings("run,symmetries=all")


def test_a_player_pays_for_its_images(root: Path) -> None:  # noqa: F811
    game, options = get_game("tic_tac_toe"), PlayerOptions(root, Effort(visits=5))
    plain, turned, one = (
        make_entry("x", f"scratch@3{rest}", game, options)
        for rest in ("", ",symmetries=8", ",symmetries=1")
    )
    assert plain.info.identity == one.info.identity != turned.info.identity
    for entry, wanted in ((plain, 6), (turned, 13)):
        entry.player.choose(game.new_states(1), [0])
        assert entry.player.evaluations == wanted
        assert entry.player.flops == wanted * price()
    budget = f"scratch@3:{20.5 * price():g}flops"
    spent = {}
    for rest in ("", ",symmetries=8", ",leaf_symmetries=2"):
        entry = make_entry("x", budget + rest, game, options)
        entry.player.choose(game.new_states(1), [0])
        spent[rest] = entry.info.settings["visits"], entry.player.evaluations
    assert spent == {"": (19, 20), ",symmetries=8": (12, 20), ",leaf_symmetries=2": (9, 19)}
    with pytest.raises(UserError, match="player 'x': symmetries = 9: tic_tac_toe has 1 to 8"):
        make_entry("x", "scratch,symmetries=9", game, options)


def test_a_test_of_strength_takes_such_players(root: Path) -> None:  # noqa: F811
    words = ["arena", "sprt", "scratch@3:4", "scratch@3:4,symmetries=8", "--root", str(root)]
    assert cli.run([*words, "--games", "4", "--seed", "1"]) == 0
    lines = (root / "sprt" / "results.jsonl").read_text().splitlines()
    games = [game for line in lines for game in json.loads(line)["games"]]
    assert len(games) == 4
    assert sum(game["evaluations"][1] for game in games) > 1.3 * sum(
        game["evaluations"][0] for game in games
    )


def test_the_option_reaches_the_search(tmp_path: Path, ghostgo_command: list[str]) -> None:
    network = lively("go9", "b1c16")
    with Run.creating(tmp_path / "lively", "go9", 0, "") as run:
        run.save_checkpoint(1, network, {"totals": {}})
    arguments = ["gtp", "lively", "--root", str(tmp_path), "--visits", "60", "--no-variety"]
    done = subprocess.run(
        [*ghostgo_command, *arguments, "--symmetries", "8"],
        input="lz-genmove_analyze b 10000\nquit\n",
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    bot = SearchBot("lively", network, 60, 1, None, replace(PUCT, symmetries=8))
    found = bot.analyse(bot.game.new_states(1))
    plain = SearchBot("lively", network, 60, 1).analyse(bot.game.new_states(1))
    assert f"play {bot.game.action_name(found.action)}" in done.stdout
    assert [m.prior for m in found.candidates] != [m.prior for m in plain.candidates]
    assert f"prior {round(10000 * found.candidates[0].prior)} " in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gtp", "go9", "--symmetries", "9"], "symmetries = 9: go9 has 1 to 8"),
        (["play", "random", "--symmetries", "2"], "random has no network"),
        (["selfplay", "--game", "go5", "--config", "c.toml"], "leaf_symmetries = 9: go5 has 1 to"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text("[search]\nleaf_symmetries = 9\n")
    assert cli.run(words) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_an_actor_refuses_what_it_cannot_play() -> None:
    game = get_game("go5")
    for config, why in (
        (SearchConfig(symmetries=8), "rows of one leaf"),
        (SearchConfig(score_weight=0.1), "learns to win"),
    ):
        with pytest.raises(ValueError, match=why):
            Actor(game, HashEvaluator(game, 4), 4, 8, config)
