"""Search beside OpenSpiel's, in one run: simulations a second on one thread.

    python benchmarks/peers.py [--game go9] [--net b4c32] [--seconds 5] [--json FILE]

1. Plain MCTS with random rollouts, ours against OpenSpiel's C++ `MCTSBot`: 1,000 simulations from
   the start, in turns. Rollout policies differ in Go: ours leaves its own eyes alone, and its games
   are shorter for it.
2. Search with a network of this size: our batched self-play, its cache off, against OpenSpiel's
   Python `MCTSBot` with the same network called one position at a time, which is how its AlphaZero
   actors evaluate.
3. The same self-play against mctx over pgx (`pip install ghostgo[peers]`) with a float32 network
   of this size in jax and as many games at once. Ours has one thread; XLA takes what it finds, so
   run this under `taskset -c 0`.

Each part says `not installed` where its peer is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostgo.arena.players import RolloutPlayer
from ghostgo.bench import BATCH, selfplay_works, side_by_side
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

SIMULATIONS, NET_SIMULATIONS = 1_000, 32
ORACLES = {
    "go": "go(board_size={rows},komi=7.0)",
    "connect_four": "connect_four",
    "othello": "othello",
    "hex": "hex(board_size={rows})",
    "tic_tac_toe": "tic_tac_toe",
}


def oracle_of(game: Game) -> Any:
    """OpenSpiel's game of the same name; SystemExit if there is none."""
    import pyspiel

    family = game.dtype.names[0] if game.dtype.names else ""
    if family not in ORACLES:
        raise SystemExit(f"{game.name}: OpenSpiel's twin is not known here")
    return pyspiel.load_game(ORACLES[family].format(rows=game.rows))


def rollout_works(game: Game) -> dict[str, Callable[[], int]]:
    """One move by 1,000 rollouts, ours and OpenSpiel's; the unit is a simulation."""
    import pyspiel

    oracle = oracle_of(game)
    bot = pyspiel.MCTSBot(
        oracle, pyspiel.RandomRolloutEvaluator(1, 1), 1.4, SIMULATIONS, 1000, False, 1, False
    )
    start, player, states = (
        oracle.new_initial_state(),
        RolloutPlayer("a", game, SIMULATIONS),
        game.new_states(1),
    )

    def theirs() -> int:
        bot.mcts_search(start)
        return SIMULATIONS

    def ours() -> int:
        player.choose(states, [1])
        return SIMULATIONS

    return {"rollouts": ours, "openspiel_rollouts": theirs}


class OnePosition:
    """OpenSpiel's evaluator interface over our network, a position at a time."""

    def __init__(self, network: Network) -> None:
        self.evaluator = make_evaluator(network, 1, "cpu", "fp32")
        self.calls = 0

    def evaluate(self, state: Any) -> Any:
        """Values for both players."""
        self.calls += 1
        self.evaluator.evaluate(1)
        value = float(self.evaluator.value[0])
        return np.array([value, -value])

    def prior(self, state: Any) -> list[tuple[int, float]]:
        """A policy over the legal actions (what it says does not matter for speed)."""
        legal = state.legal_actions()
        return [(action, 1 / len(legal)) for action in legal]


def network_works(game: Game, net: str) -> dict[str, Callable[[], int]]:
    """Simulations with a network: batched self-play, and OpenSpiel's Python search."""
    from open_spiel.python.algorithms.mcts import MCTSBot

    torch.manual_seed(0)
    network = Network(game, NetworkConfig.preset(net)).eval()
    evaluator = OnePosition(network)
    oracle = oracle_of(game)
    bot = MCTSBot(oracle, 1.4, NET_SIMULATIONS, evaluator)
    start = oracle.new_initial_state()

    def theirs() -> int:
        before = evaluator.calls
        bot.mcts_search(start)
        assert evaluator.calls > before
        return NET_SIMULATIONS

    ours = selfplay_works(network, NET_SIMULATIONS, "cpu")["uncached"]
    return {"network": ours, "openspiel_network": theirs}


def mctx_works(game: Game, net: str) -> dict[str, Callable[[], int]]:
    """Simulations with a network: batched self-play, and mctx over pgx."""
    from mctx_peer import search_work

    torch.manual_seed(0)
    network = Network(game, NetworkConfig.preset(net)).eval()
    ours = selfplay_works(network, NET_SIMULATIONS, "cpu")["uncached"]
    return {"batched": ours, "mctx": search_work(game, net, NET_SIMULATIONS, BATCH)}


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--game", default="go9")
    parser.add_argument("--net", default="b4c32")
    parser.add_argument("--seconds", type=float, default=5.0, help="a variant")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    game, figures = get_game(given.game), {}
    makers = (
        rollout_works,
        lambda board: network_works(board, given.net),
        lambda board: mctx_works(board, given.net),
    )
    for make in makers:
        try:
            works = make(game)
        except ModuleNotFoundError as missing:
            print(f"{missing.name}: not installed")
            continue
        except KeyError as missing:
            print(f"pgx has no game like {missing}")
            continue
        speeds = side_by_side(works, given.seconds)
        ours, theirs = speeds
        figures |= {f"{name}_simulations_per_second": speed for name, speed in speeds.items()}
        figures[f"{ours}_vs_{theirs}"] = speeds[ours] / speeds[theirs]
    for name, value in figures.items():
        print(f"{name:44} {value:14,.1f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
