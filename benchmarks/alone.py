"""One game alone: how long a search takes by leaves a network call, and what those leaves cost.

    python benchmarks/alone.py --game go9 --net b4c64 --visits 800
    python benchmarks/alone.py --run scratch --root runs --visits 200 --leaves 8,16 --pairs 100

The first form prints the median seconds of a search on positions of random play, with an empty
cache and with the cache of the move before, for every number of leaves, by one thread and by two
that share each call, in turns. Every variant must give all its visits and equal priors at the root
first. The second plays pairs of games of the same network and visits, many leaves against one
(sequential search), from even openings, and prints the points with a 95 % interval.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from kept import pair_interval

from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings, Reference
from ghostgo.arena.players import NetPlayer
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.engine.cache import forget
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import Game, States, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig

POSITIONS, PLIES = 12, 30


def positions(game: Game) -> States:
    """Unfinished positions after random moves."""
    rng = np.random.default_rng(1)
    states = game.new_states(POSITIONS)
    for i in range(POSITIONS):
        for _ in range(int(rng.integers(min(PLIES, game.points // 3)))):
            before = states[i : i + 1].copy()
            play_one(states[i], int(rng.choice(game.legal_actions(states[i]))))
            if states[i].done:
                states[i] = before[0]
                break
    return states


def timed(game: Game, network: Network, visits: int, leaves: list[int]) -> None:
    """Print seconds of one search for every number of leaves and threads."""
    states = positions(game)
    variants = [(k, threads) for k in leaves for threads in (1, 2)]
    seconds: dict[tuple[int, int, bool], list[float]] = {}
    searchers = {}
    for k, threads in variants:
        config = SearchConfig(root="puct", leaves_per_step=k)
        evaluator = make_evaluator(network, k, threads=threads)
        searchers[k, threads] = Searcher(game, evaluator, 1, visits, config)
        result = searchers[k, threads].run(states[:1])
        assert result.visits.sum() == visits
        assert np.allclose(result.prior, searchers[variants[0]].run(states[:1]).prior, atol=0.02)
    for i in range(len(states)):
        for (k, threads), searcher in searchers.items():
            forget(searcher.cache)
            start = time.perf_counter()
            action = int(searcher.run(states[i : i + 1]).action[0])
            seconds.setdefault((k, threads, False), []).append(time.perf_counter() - start)
            after = states[i : i + 1].copy()
            play_one(after[0], action)
            if after[0].done:
                continue
            start = time.perf_counter()
            searcher.run(after)
            seconds.setdefault((k, threads, True), []).append(time.perf_counter() - start)
    print("leaves threads  seconds, empty cache  after the move before")
    for k, threads in variants:
        cold, warm = (statistics.median(seconds[k, threads, known]) for known in (False, True))
        print(f"{k:6} {threads:7} {cold:21.3f} {warm:22.3f}", flush=True)


class WidePlayer(NetPlayer):
    """A network with several leaves of each tree in one call."""

    def __init__(self, name: str, network: Network, visits: int, leaves: int) -> None:
        super().__init__(name, lambda: network, visits)
        config = SearchConfig(root="puct", leaves_per_step=leaves, cache_mb=0)
        evaluator = make_evaluator(network, self._batch * leaves)
        self._searcher = Searcher(network.game, evaluator, self._batch, visits, config)


def duel(network: Network, visits: int, leaves: int, pairs: int, seed: int) -> None:
    """Print the points of `leaves` leaves a step against one."""
    game = network.game
    players = [WidePlayer(f"{k} leaves", network, visits, k) for k in (leaves, 1)]
    openings = Openings(game, seed, reference=Reference("the network", players[1].judge))
    match = Match(game, players, capacity=2 * pairs, workers=2)
    for i in range(pairs):
        match.add(PairTask(f"{seed}-{i}", 0, 1, openings[i]))
    points = []
    while match.in_flight:
        points += [sum(r.points for r in results) / 2 for _, results in match.sweep()]
    match.close()
    low, high = pair_interval(points)
    print(
        f"{leaves} leaves against 1, {visits} visits: {np.mean(points):.1%} of the points in "
        f"{2 * pairs} games, 95 % interval {low:.1%} to {high:.1%}",
        flush=True,
    )


def main() -> None:
    """Parse, then time or play."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--game", default="go9")
    parser.add_argument("--net", default="b4c64")
    parser.add_argument("--visits", type=int, default=800)
    parser.add_argument("--leaves", default="1,2,4,8,16,32")
    parser.add_argument("--run", help="play this run's newest network instead")
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    leaves = [int(k) for k in given.leaves.split(",")]
    if given.run:
        network = load_network(find_checkpoint(given.run, given.root).path)
        for k in leaves:
            duel(network, given.visits, k, given.pairs, given.seed)
        return
    torch.manual_seed(0)
    torch.set_num_threads(1)
    game = get_game(given.game)
    timed(game, Network(game, NetworkConfig.preset(given.net)).eval(), given.visits, leaves)


if __name__ == "__main__":
    main()
