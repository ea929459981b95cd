"""Forced playouts, playout caps and policy surprise: how self-play spends its simulations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference_search import HashEvaluator, naive_puct
from test_replay import random_table
from test_search import positions

from ghostgo import cli
from ghostgo.data.replay import ReplayWindow, by_surprise
from ghostgo.data.shards import read_shard
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher, SearchResult
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor

# Noise of no weight: roots are explored, but a twin can follow.
FORCED = SearchConfig(root="puct", explore=True, dirichlet_weight=0.0, forced_k=2.0)
VISITS = 60


def search(name: str, config: SearchConfig, count: int = 6) -> SearchResult:
    game = get_game(name)
    states = positions(game, count, 1, 4)
    return Searcher(game, HashEvaluator(game, count), count, VISITS, config).run(states)


@pytest.mark.parametrize("name", ["tic_tac_toe", "connect_four", "go5"])
@pytest.mark.parametrize("forced_k", [0.5, 2.0, 8.0])
def test_forced_visits_equal_the_naive_twin(name: str, forced_k: float) -> None:
    game, config = get_game(name), replace(FORCED, forced_k=forced_k)
    states = positions(game, 6, 1, 4)
    found = search(name, config)
    for i in range(6):
        expected = naive_puct(game, states[i : i + 1], VISITS, config, HashEvaluator(game, 1))
        # float32 here and float64 there may part at a near tie; it must stay a rare thing.
        assert np.abs(found.visits[i] - expected).sum() <= 2, (i, found.visits[i], expected)


def test_what_was_tried_has_its_forced_visits() -> None:
    found, plain = search("go5", FORCED), search("go5", replace(FORCED, forced_k=0.0))
    owed = np.sqrt(FORCED.forced_k * found.prior * (VISITS - 1))
    tried = found.visits > 0
    lacking = tried & (found.visits < np.floor(owed))
    assert (lacking.sum(axis=1) <= 1).all(), "but for one that was tried last"
    short = (plain.visits > 0) & (plain.visits < np.floor(owed))
    assert short.any(), "nothing was forced in this sample"


def naive_target(result: SearchResult, i: int, config: SearchConfig) -> list[float]:
    """Visit shares without forced visits, one at a time taken off as long as PUCT allows."""
    visits, prior, q = result.visits[i].astype(float), result.prior[i], result.q[i]
    best = max(map(int, np.flatnonzero(visits)), key=lambda a: (visits[a], q[a]))
    explore = config.c_puct * math.sqrt(VISITS)

    def score(a: int, n: float) -> float:
        return float(q[a] + explore * prior[a] / (1 + n))

    target = visits.copy()
    for a in map(int, np.flatnonzero(visits)):
        if a == best or q[a] >= score(best, visits[best]):
            continue
        # The real number of visits at which both scores are equal, or all that were forced.
        equal = explore * prior[a] / (score(best, visits[best]) - q[a]) - 1
        least = max(equal, visits[a] - math.sqrt(config.forced_k * prior[a] * VISITS))
        target[a] = min(visits[a], least) if min(visits[a], least) > 1 else 0.0
    return list(target / target.sum())


@pytest.mark.parametrize("name", ["connect_four", "go5"])
def test_the_target_gives_forced_visits_back(name: str) -> None:
    found = search(name, replace(FORCED, solve=False))
    shares = found.visits / found.visits.sum(axis=1, keepdims=True)
    for i in range(len(found.visits)):
        np.testing.assert_allclose(found.policy[i], naive_target(found, i, FORCED), atol=1e-5)
        best = int(np.argmax(found.policy[i]))
        assert found.policy[i][best] >= shares[i][best]
    np.testing.assert_allclose(found.policy.sum(axis=1), 1, rtol=1e-5)
    assert ((found.policy == 0) & (found.visits > 0)).any(), "nothing was pruned in this sample"


def test_without_noise_nothing_is_forced() -> None:
    quiet = replace(FORCED, explore=False)
    for field in ("visits", "policy"):
        both = (search("go5", config) for config in (quiet, replace(quiet, forced_k=0.0)))
        np.testing.assert_array_equal(*(getattr(found, field) for found in both))


def play(root: str = "gumbel", seed: int = 1, **options: Any) -> Actor:
    game = get_game("go5")
    config = SearchConfig(root=root, explore=True, cache_mb=0)  # type: ignore[arg-type]
    actor = Actor(
        game, HashEvaluator(game, 8), 8, 16, config, opening_plies=3,
        seed=np.random.SeedSequence(seed), **options,
    )  # fmt: skip
    while actor.positions < 300:
        actor.step()
    return actor


@pytest.mark.parametrize("root", ["gumbel", "puct"])
def test_cheap_moves_are_played_and_not_learnt(root: str) -> None:
    actor = play(root, cheap_visits=4, full_share=0.25)
    counted, table = actor.positions, actor.take()
    learnable = int((table.weights > 0).sum())
    assert table.surprise is not None
    searched = int(np.isfinite(table.surprise).sum())
    assert counted == learnable < searched < table.positions, "openings do not count"
    assert 0.2 < learnable / searched < 0.3
    window = ReplayWindow(actor.game)
    window.add(table)
    assert window.rows == learnable


def test_cheap_moves_cost_less() -> None:
    spent = []
    given: tuple[dict[str, Any], ...] = ({}, {"cheap_visits": 4, "full_share": 0.25})
    for options in given:
        actor = play(**options)
        spent.append(actor.evaluator.evaluations / actor.take().positions)
    # Each search judges its root, too, and some leaves need no judging.
    assert spent[1] < 0.55 * spent[0]


def test_cheap_searches_have_no_noise() -> None:
    """Where nothing is random but the root's noise, cheap games are all the same."""

    game = get_game("go5")
    config = SearchConfig(explore=True, cache_mb=0)
    found: dict[float, set[bytes]] = {0.0: set(), 1.0: set()}
    for full_share, games in found.items():
        for seed in range(4):
            actor = Actor(
                game, HashEvaluator(game, 1), 1, 16, config,
                seed=np.random.SeedSequence(seed), cheap_visits=4, full_share=full_share,
            )  # fmt: skip
            while actor.slots.length[0] < 5:
                actor.step()
            games.add(actor.slots.moves[0, :5].tobytes())
    assert len(found[0.0]) == 1
    assert len(found[1.0]) > 1


def test_a_saved_actor_goes_on_with_the_same_searches() -> None:
    options: dict[str, Any] = {"cheap_visits": 4, "full_share": 0.5}
    one = play(**options)
    one.restart_searches()
    saved = {key: value.copy() for key, value in one.state_dict().items()}
    other = play(seed=9, **options)
    other.load_state_dict(saved)
    one.take()
    other.take()
    tables = []
    for actor in (one, other):
        while actor.positions < 200:
            actor.step()
        tables.append(actor.take())
    np.testing.assert_array_equal(tables[0].moves, tables[1].moves)
    np.testing.assert_array_equal(tables[0].weights, tables[1].weights)
    np.testing.assert_array_equal(tables[0].surprise, tables[1].surprise)


def test_an_actor_saved_before_there_were_caps_goes_on() -> None:
    actor = play()
    saved = actor.state_dict()
    del saved["full"], saved["surprise"]
    actor.load_state_dict(saved)
    assert (actor.slots.full == 1).all()
    lengths = actor.slots.length
    assert all(np.isnan(actor.slots.surprise[g, :n]).all() for g, n in enumerate(lengths))


@pytest.mark.parametrize("root", ["gumbel", "puct"])
def test_surprise_is_the_divergence_from_the_prior(root: str) -> None:
    """Of the noiseless prior, whatever noise the root had."""
    game, evaluator = get_game("go5"), HashEvaluator(get_game("go5"), 1)
    config = SearchConfig(root=root, explore=True)  # type: ignore[arg-type]
    actor = Actor(game, evaluator, 1, 16, config, seed=np.random.SeedSequence(3))
    while actor.positions == 0:
        actor.step()
    table = actor.take()
    assert table.policies is not None and table.surprise is not None
    quiet = Searcher(game, evaluator, 1, 16, replace(config, explore=False))
    state = game.new_states(1)
    for m, action in enumerate(table.moves[: len(table.moves_of(0)) - 1]):
        prior = quiet.run(state).prior[0].astype(np.float64)
        target = table.policies[m].astype(np.float64)
        has = target > 0
        expected = float((target[has] * np.log(target[has] / prior[has])).sum())
        assert table.surprise[m] == pytest.approx(expected, rel=0.02, abs=0.01)
        play_one(state[0], int(action))


def test_rows_stand_by_their_surprise() -> None:
    table = random_table("go5", 3)
    rng = np.random.default_rng(1)
    table.surprise = rng.exponential(size=table.positions).astype(np.float16)
    table.weights[::3] = 0
    rows = np.flatnonzero(table.weights > 0)
    np.testing.assert_array_equal(by_surprise(table, rows, 0.0), rows)
    drawn = by_surprise(table, rows, 0.5)
    assert set(drawn) <= set(rows) and abs(len(drawn) - len(rows)) <= 1
    times = np.bincount(drawn, minlength=table.positions)[rows]
    owners = table.game_of()[rows]
    surprise = table.surprise[rows].astype(float)
    for g in range(3):
        mine = owners == g
        wanted = 0.5 + 0.5 * surprise[mine] * mine.sum() / surprise[mine].sum()
        assert np.abs(times[mine] - wanted).max() < 1, "rounded by less than one"
        assert abs(times[mine].sum() - mine.sum()) <= 1, "a game keeps its weight"


@pytest.mark.parametrize("known", [None, 0.0, np.nan])
def test_without_surprise_every_row_stands_once(known: float | None) -> None:
    table = random_table("go5", 2)
    if known is not None:
        table.surprise = np.full(table.positions, known, np.float16)
    window = ReplayWindow(get_game("go5"), surprise_share=0.5)
    window.add(table)
    assert window.rows == table.positions


ALL = """
network = "b1c8"
[search]
root = "puct"
forced_k = 2.0
[selfplay]
games = 16
visits = 12
cheap_visits = 3
full_share = 0.3
surprise_share = 0.5
decay_flops = 1e9
positions_per_iteration = 200
"""


def test_a_run_with_all_of_it(tmp_path: Path) -> None:
    config = tmp_path / "all.toml"
    config.write_text(ALL)
    where = ["--root", str(tmp_path), "--run", "r", "--config", str(config)]
    options = ["--game", "go5", "--seed", "1", "--games", "60", "--workers", "1"]
    assert cli.run(["selfplay", *where, *options]) == 0
    table = read_shard(min((tmp_path / "r" / "shards").glob("*.h5")))
    assert table.surprise is not None
    learnable = table.weights > 0
    assert 0.15 < learnable.mean() < 0.4
    assert np.isfinite(table.surprise[learnable]).all()
    assert (table.surprise[learnable] >= 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[selfplay]\ncheap_visits = 32", "cheap_visits = 32: from 0 to fewer than visits, 32"),
        ("[selfplay]\nfull_share = 1.5", "full_share = 1.5 is not between 0 and 1"),
        ("[selfplay]\ncheap_visits = 4\nfull_share = 0.0", "no position would be learnt"),
        ("[selfplay]\nsurprise_share = -0.1", "surprise_share = -0.1 is not between 0 and 1"),
        ("[selfplay]\ndecay_flops = nan", "decay_flops must be a number, 0 or above"),
        ("[search]\nforced_k = -1.0", "forced_k must be a number, 0 or above"),
        ("[search]\nforced_k = 2.0", 'forced_k goes with root = "puct"'),
    ],
)
def test_what_makes_no_sense_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(text + "\n")
    assert cli.run(["selfplay", "--root", str(tmp_path), "--config", str(config)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "scratch").exists()
