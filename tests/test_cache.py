"""The cache of the network's answers: it saves calls and changes nothing that a search finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_search import HashEvaluator
from test_search import positions

from ghostgo.engine.cache import find, forget, make_cache, position_key, remember
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import Game, legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.engine.search import Evaluator, Searcher, SearchResult
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.loop import open_run
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.selfplay.trainer import Trainer

FIELDS = ("visits", "q", "prior", "policy", "value", "raw_value", "action")


def same(one: SearchResult, two: SearchResult) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(two, name), equal_nan=name == "q")
        for name in FIELDS
    )


def trained(game: Game) -> Network:
    """A network whose heads no longer answer alike everywhere."""
    torch.manual_seed(5)
    network = Network(game, NetworkConfig.preset("b2c16"))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("root", ["puct", "gumbel"])
@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("name", ["connect_four", "go5"])
def test_a_search_is_the_same_with_and_without(name: str, explore: bool, root: str) -> None:
    game = get_game(name)
    without = SearchConfig(root=root, explore=explore, cache_mb=0)  # type: ignore[arg-type]
    evaluators = [HashEvaluator(game, 4) for _ in range(2)]
    plain = Searcher(game, evaluators[0], 4, 60, without, seed=1)
    caching = Searcher(game, evaluators[1], 4, 60, replace(without, cache_mb=1), seed=1)
    states = positions(game, 4, 1, 4)
    for _ in range(4):  # a few moves on: what was judged for the last is known
        wanted, found = plain.run(states), caching.run(states)
        assert same(wanted, found)
        for i in range(len(states)):
            play_one(states[i], int(wanted.action[i]))
        states = states[~states.done.astype(bool)]
        if not len(states):
            break
    hits = int(caching.cache.counts[1])
    assert evaluators[1].evaluations + hits == evaluators[0].evaluations
    assert hits > 0


@pytest.mark.parametrize("megabytes", [1, 32])
def test_self_play_is_the_same_with_and_without(megabytes: int) -> None:
    game = get_game("connect_four")
    evaluations, tables = [], []
    for size in (0, megabytes):
        evaluator = make_evaluator(trained(game), 8, "cpu")
        config = SearchConfig(explore=True, cache_mb=size)
        seed = np.random.SeedSequence(3)
        actor = Actor(game, evaluator, 8, 16, config, opening_plies=4, seed=seed)
        while actor.positions < 600:
            actor.step()
        table = actor.take()
        evaluations.append(evaluator.evaluations)
        assert table.values is not None
        ends = table.offsets
        tables.append(
            {
                table.moves_of(i).tobytes(): table.values[ends[i] : ends[i + 1]]
                for i in range(len(table))
            }
        )
    plain, cached = tables
    both = plain.keys() & cached.keys()
    assert len(both) > 0.6 * len(plain)  # but for the games that were still in play
    for moves in both:
        assert np.array_equal(plain[moves], cached[moves])
    assert evaluations[1] < 0.75 * evaluations[0]


def test_training_empties_it(tmp_path: Path) -> None:
    run, config, _ = open_run(
        "r", tmp_path, game="tic_tac_toe", preset="tiny", start=None, seed=1, config_file=None,
        workers=2,
    )  # fmt: skip
    trainer = Trainer(run, config, LiveLine())
    stop = Stop(None, None, 100_000)
    trainer.play(stop)
    assert all(actor.cache.keys.any() for actor in trainer.actors)
    assert trainer.ledger.totals.cached == sum(actor.cache.counts[1] for actor in trainer.actors)
    trainer.train(0, stop)
    assert not any(actor.cache.keys.any() for actor in trainer.actors)


def test_keys_tell_planes_apart() -> None:
    game = get_game("go9")
    states = positions(game, 300, 2, 60)
    planes = [np.zeros((game.points, game.planes), np.uint16) for _ in states]
    mask = np.zeros(game.actions, np.uint8)
    for i, each in enumerate(planes):
        legal_mask_of(states[i], mask)
        write_planes_of(states[i], mask, each)
    keys = {int(position_key(each)) for each in planes}
    assert len(keys) == len({each.tobytes() for each in planes})
    base = np.zeros((game.points, game.planes), np.uint16)
    single = {int(position_key(base))}
    for p in range(game.points):
        for c in range(game.planes):
            other = base.copy()
            other[p, c] = 0x3F80
            single.add(int(position_key(other)))
    assert len(single) == game.points * game.planes + 1


def test_an_entry_is_found_until_another_takes_its_place() -> None:
    game = get_game("tic_tac_toe")
    cache = make_cache(game, 5 * (12 + 4 * game.actions), batch=2)
    assert len(cache.keys) == 4
    logits = np.arange(game.actions, dtype=np.float32)
    cache.leaf_keys[:] = 7, 11  # both end at entry 3
    remember(cache, 0, logits, 0.5)
    entry = find(cache, np.uint64(7))
    assert cache.value[entry] == 0.5 and (cache.policy[entry] == logits).all()
    remember(cache, 1, -logits, -0.5)
    assert find(cache, np.uint64(7)) < 0 <= find(cache, np.uint64(11))
    forget(cache)
    assert find(cache, np.uint64(11)) < 0
    assert cache.counts.tolist() == [4, 2]


def test_a_search_of_many_leaves_keeps_its_counts() -> None:
    game = get_game("go5")
    config = SearchConfig(root="puct", leaves_per_step=8)
    evaluator: Evaluator = HashEvaluator(game, 8)
    searcher = Searcher(game, evaluator, 1, 200, config)
    first = searcher.run(game.new_states(1))
    before = evaluator.evaluations
    again = searcher.run(game.new_states(1))
    assert first.visits.sum() == again.visits.sum() == 200
    assert evaluator.evaluations - before < 0.5 * before
    assert not searcher.trees.edges[0, : searcher.trees.edge_count[0]].virtual.any()
