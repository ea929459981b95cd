"""Speed of rules, search, network and self-play on this machine, each checked before it is timed.

    python benchmarks/run.py [--game go9] [--net b4c32] [--seconds 3] [--json FILE]

Machines are noisy and differ: compare the ratios of one run, not figures of two.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ghostgo.engine import fused
from ghostgo.engine.evaluator import UniformEvaluator, make_evaluator
from ghostgo.engine.games.game import Game, random_playout
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import Rng, kernel, make_rng
from ghostgo.engine.network import Network, NetworkConfig, count_flops
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor

BATCH = 256
VISITS = 32


def rate(work: Callable[[], int], seconds: float) -> float:
    """Units of work a second over at least `seconds`; `work` returns how many it did."""
    work()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += work()
    return done / (time.perf_counter() - start)


@kernel
def _playouts(states: np.ndarray, count: int, rng: Rng) -> int:  # type: ignore[type-arg]
    for _ in range(count):
        states[1] = states[0]
        random_playout(states[1], rng)
    return count


def playouts(game: Game, seconds: float) -> float:
    """Random games a second on one thread."""
    states, rng = game.new_states(2), make_rng(1)
    _playouts(states, 1, rng)
    assert states[1].done and not states[0].done
    return rate(lambda: _playouts(states, 200, rng), seconds)


def leaves(game: Game, seconds: float) -> float:
    """Search leaves a second on one thread with an evaluator that does nothing."""
    evaluator = UniformEvaluator(game, BATCH)
    searcher = Searcher(game, evaluator, BATCH, 200, SearchConfig(root="puct"))
    states = game.new_states(BATCH)
    assert (searcher.run(states).visits.sum(axis=1) == 200).all()

    def work() -> int:
        before = evaluator.evaluations
        searcher.run(states)
        return evaluator.evaluations - before

    return rate(work, seconds)


def evaluations(network: Network, seconds: float) -> dict[str, float]:
    """Positions judged a second on one thread, by backend, at the full batch."""
    rng = np.random.default_rng(0)
    shape = (BATCH, network.game.points, network.game.planes)
    bits = ((rng.random(shape) < 0.3) * 0x3F80).astype(np.uint16)
    out, wanted = {}, None
    for backend in ("fp32", "bf16", *(["fused"] if fused.available()[0] else [])):
        evaluator = make_evaluator(network, BATCH, "cpu", backend)
        evaluator.planes[:] = bits
        evaluator.evaluate(BATCH)
        wanted = evaluator.value.copy() if wanted is None else wanted
        assert np.abs(evaluator.value - wanted).max() < 0.05, backend

        def work(evaluator: object = evaluator) -> int:
            evaluator.evaluate(BATCH)  # type: ignore[attr-defined]
            return BATCH

        out[backend] = rate(work, seconds)
    return out


def selfplay(network: Network, seconds: float) -> tuple[float, float]:
    """Evaluations a second of self-play on one thread, and the same evaluator's raw rate."""
    evaluator = make_evaluator(network, BATCH, "cpu")
    config = SearchConfig(explore=True)
    actor = Actor(network.game, evaluator, BATCH, VISITS, config)

    def raw() -> int:
        evaluator.evaluate(BATCH)
        return BATCH

    def play() -> int:
        before = evaluator.evaluations
        actor.step()
        return evaluator.evaluations - before

    # Alternately, so that a busy moment of the machine meets both.
    pairs = [(rate(raw, seconds / 4), rate(play, seconds / 4)) for _ in range(4)]
    return float(np.mean([p for _, p in pairs])), float(np.mean([r for r, _ in pairs]))


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--game", default="go9")
    parser.add_argument("--net", default="b4c32")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    game = get_game(options.game)
    torch.manual_seed(0)
    network = Network(game, NetworkConfig.preset(options.net)).eval()
    figures: dict[str, float] = {
        "playouts_per_second": playouts(game, options.seconds),
        "leaves_per_second": leaves(game, options.seconds),
    }
    by_backend = evaluations(network, options.seconds)
    figures |= {f"evaluations_per_second_{name}": value for name, value in by_backend.items()}
    played, raw = selfplay(network, 4 * options.seconds)
    figures["selfplay_evaluations_per_second"] = played
    figures["selfplay_vs_raw"] = played / raw
    figures["best_vs_fp32"] = max(by_backend.values()) / by_backend["fp32"]
    figures["gflops"] = max(by_backend.values()) * count_flops(network) / 1e9
    print(f"{game.name}, {options.net}, one thread, batch {BATCH}, {VISITS} visits")
    for name, value in figures.items():
        print(f"{name:36} {value:14,.2f}" if value < 1000 else f"{name:36} {value:14,.0f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
