"""`ghostgo bench`: what this machine can do, from a bare matrix product up to self-play."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from ghostgo.data.shards import replace_file
from ghostgo.engine import fused
from ghostgo.engine.evaluator import (
    BACKENDS,
    backend_works,
    choose_backend,
    choose_device,
    make_evaluator,
)
from ghostgo.engine.games.game import Game, random_playout
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import Rng, kernel, make_rng
from ghostgo.engine.network import Network, NetworkConfig, count_flops
from ghostgo.engine.quantise import calibrate
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig
from ghostgo.engine.uniform import UniformEvaluator
from ghostgo.peak import fma_work
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.config import default_workers

BATCHES = (1, 8, 64, 256)
BATCH = BATCHES[-1]
VISITS = 32
LEAF_VISITS = 200
GEMM = 1024
"""Side of the matrices that calibrate the peak; larger ones gain nothing on one core."""
ROUNDS = 5
SELFPLAY_TURNS = 3
"""A turn is a move in every game, which may take ten seconds."""
CLOSE = 0.05
"""Largest difference of a value between backends that rounding to bfloat16 may make."""


def rate(work: Callable[[], int], seconds: float) -> float:
    """Units of work a second over at least `seconds`; `work` returns how many it did."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += work()
    return done / (time.perf_counter() - start)


def side_by_side(
    works: dict[str, Callable[[], int]], seconds: float, turns: int = ROUNDS
) -> dict[str, float]:
    """Median units a second of each, measured in turns, so that a busy moment meets all alike."""
    for work in works.values():
        work()
    slot = seconds / turns
    rounds = [{name: rate(work, slot) for name, work in works.items()} for _ in range(turns)]
    return {name: statistics.median(each[name] for each in rounds) for name in works}


def gemm_work(kind: torch.dtype) -> Callable[[], int]:
    """A square matrix product; its unit is FLOPs."""
    a, b = (torch.randn(GEMM, GEMM).to(kind) for _ in range(2))
    out = torch.empty(GEMM, GEMM, dtype=kind)

    def work() -> int:
        with torch.inference_mode():
            torch.mm(a, b, out=out)
        return 2 * GEMM**3

    return work


@kernel
def _playouts(states: np.ndarray, count: int, rng: Rng) -> int:
    for _ in range(count):
        states[1] = states[0]
        random_playout(states[1], rng)
    return count


def playouts(game: Game, seconds: float) -> float:
    """Random games a second on one thread."""
    states, rng = game.new_states(2), make_rng(1)
    _playouts(states, 1, rng)
    assert states[1].done and not states[0].done
    return rate(lambda: _playouts(states, 50, rng), seconds)  # one was played above


def leaves(game: Game, seconds: float) -> tuple[float, float]:
    """Search leaves a second on one thread with an evaluator that does nothing; bytes a node."""
    evaluator, config = UniformEvaluator(game, BATCH), SearchConfig(root="puct", cache_mb=0)
    searcher = Searcher(game, evaluator, BATCH, LEAF_VISITS, config)
    states = game.new_states(BATCH)
    assert (searcher.run(states).visits.sum(axis=1) == LEAF_VISITS).all()
    trees = searcher.trees
    used = int(trees.node_count.sum()) * trees.nodes.itemsize
    used += int(trees.edge_count.sum()) * trees.edges.itemsize

    def work() -> int:
        before = evaluator.evaluations
        searcher.run(states)
        return evaluator.evaluations - before

    return rate(work, seconds), used / int(trees.node_count.sum())


def _random_bits(game: Game, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    filled = np.random.default_rng(0).random((rows, game.points, game.planes)) < 0.3
    return (filled * 0x3F80).astype(np.uint16)


def evaluator_works(network: Network, batch: int, device: str) -> dict[str, Callable[[], int]]:
    """One full batch by every backend that works here, each checked against float32 first."""
    works: dict[str, Callable[[], int]] = {}
    bits, wanted = _random_bits(network.game, batch), None
    for backend in BACKENDS:
        if not backend_works(backend, device)[0]:
            continue
        calibration = calibrate(network, bits) if backend == "int8" else None
        evaluator = make_evaluator(network, batch, device, backend, calibration)
        evaluator.planes[:] = bits
        evaluator.evaluate(batch)
        wanted = evaluator.value.copy() if wanted is None else wanted
        off = float(np.abs(evaluator.value - wanted).max())
        if off > CLOSE:
            click.echo(f"{backend}: values are {off:.2f} off float32's: left out")
            continue

        def work(evaluator: object = evaluator) -> int:
            evaluator.evaluate(batch)  # type: ignore[attr-defined]
            return batch

        works[backend] = work
    return works


def plain_work(network: Network, batch: int, device: str) -> Callable[[], int]:
    """One batch by the network as torch runs it by default: eager float32, channels first."""
    plain = Network(network.game, network.config).eval().to(device)
    plain.load_state_dict(network.state_dict())
    game = network.game
    x = torch.from_numpy(_random_bits(game, batch).view(np.int16)).view(torch.bfloat16).float()
    x = x.view(batch, game.rows, game.cols, game.planes).permute(0, 3, 1, 2).contiguous()
    x = x.to(device)

    def work() -> int:
        with torch.inference_mode():
            plain(x)["value"].cpu()
        return batch

    return work


def whole_machine(network: Network, seconds: float) -> dict[str, float]:
    """Evaluations a second of all cores: `eager_fp32` as torch does it by default, a thread a core
    inside each operator, and each backend as workers do it, an evaluator and a thread a core."""
    cores = default_workers("cpu", 0, BATCH)
    single = [evaluator_works(network, BATCH, "cpu") for _ in range(cores)]
    plain = plain_work(network, BATCH, "cpu")

    def eager() -> int:
        torch.set_num_threads(cores)
        done = plain()
        torch.set_num_threads(1)
        return done

    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:

        def together(name: str) -> int:
            return sum(pool.map(lambda works: works[name](), single))

        works: dict[str, Callable[[], int]] = {"eager_fp32": eager}
        works |= {
            name: partial(together, name) for name in single[0] if name not in ("fp32", "bf16")
        }
        return side_by_side(works, seconds)


def selfplay_works(network: Network, visits: int, device: str) -> dict[str, Callable[[], int]]:
    """Self-play with and without its cache, and the bare evaluator of the same shape.

    The unit is a simulation, of which the cache answers some ("uncached": none), or an evaluation.
    """
    evaluator = make_evaluator(network, BATCH, device)
    configs = {
        "selfplay": SearchConfig(explore=True),
        "uncached": SearchConfig(explore=True, cache_mb=0),
    }
    actors = {
        name: Actor(network.game, evaluator, BATCH, visits, config)
        for name, config in configs.items()
    }

    def raw() -> int:
        evaluator.evaluate(BATCH)
        return BATCH

    def play(actor: Actor) -> int:
        before = evaluator.evaluations + int(actor.cache.counts[1])
        for _ in range(visits):
            actor.step()
        return evaluator.evaluations + int(actor.cache.counts[1]) - before

    return {"raw": raw} | {name: partial(play, actor) for name, actor in actors.items()}


def measure(
    game: Game, net: str, visits: int, seconds: float, device: str
) -> dict[str, float | None]:
    """All figures by name, in the order of the report; rates are per second.

    Everything runs on one CPU thread but evaluations on a GPU and what ends in `_all_cores`. The
    peak of `fraction_of_peak` is the best of matrix products and multiply-add loops
    (`ghostgo.peak`), nearly always the loop in bfloat16 where the processor has it.
    """
    torch.manual_seed(0)
    network = Network(game, NetworkConfig.preset(net)).eval()
    flops = count_flops(network)
    kinds = {"fp32": torch.float32}
    if fused.has_bfloat16():
        kinds["bf16"] = torch.bfloat16
    products = {name: gemm_work(kind) for name, kind in kinds.items()}
    products |= {f"{name}_fma": work for name in kinds if (work := fma_work(name))}
    peaks = side_by_side(products, seconds)
    figures: dict[str, float | None] = {f"cpu_peak_gflops_{k}": v / 1e9 for k, v in peaks.items()}
    figures["playouts_per_second"] = playouts(game, seconds / 2)
    figures["leaves_per_second_per_core"], figures["bytes_per_node"] = leaves(game, seconds)
    by_backend: dict[str, float] = {}
    for batch in BATCHES:
        works = evaluator_works(network, batch, device)
        if batch == BATCH:
            works["eager_fp32"] = plain_work(network, batch, device)
        by_backend = side_by_side(works, seconds if batch == BATCH else seconds / 2)
        for name, value in by_backend.items():
            figures[f"evaluations_per_second_{name}_batch_{batch}"] = value
    floats = {name: value for name, value in by_backend.items() if name != "int8"}
    both = side_by_side(selfplay_works(network, visits, device), 2 * seconds, SELFPLAY_TURNS)
    figures["selfplay_simulations_per_second"] = both["selfplay"]
    figures["uncached_vs_raw"] = both["uncached"] / both["raw"]
    figures["selfplay_vs_raw"] = both["selfplay"] / both["raw"]
    plain = by_backend["eager_fp32"]
    for name in ("fused", "openvino", "int8"):
        there = name in by_backend
        figures[f"{name}_vs_eager_fp32"] = by_backend[name] / plain if there else None
    on_cpu, best = device == "cpu", max(floats.values())
    if on_cpu:
        machine = whole_machine(network, seconds)
        for name, value in machine.items():
            if name != "eager_fp32":
                figures[f"{name}_vs_eager_fp32_all_cores"] = value / machine["eager_fp32"]
    figures["fraction_of_peak"] = best * flops / max(peaks.values()) if on_cpu else None
    return figures


def bench(game: str | None, net: str, visits: int, seconds: float, json_file: Path | None) -> None:
    """Measure, print, recommend, and write the figures as JSON to `json_file` if given.

    Raises UserError for an unknown game or network.
    """
    board = get_game(game or "go9")
    NetworkConfig.preset(net)
    device, why = choose_device()
    backend, how = choose_backend(device)
    if device == "cpu":
        torch.set_num_threads(1)
    click.echo(f"{board.name}, {net}, {device} ({why}), one thread, {visits} visits in self-play")
    figures = measure(board, net, visits, seconds, device)
    for name, value in figures.items():
        shown = "-" if value is None else f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
        click.echo(f"{name:44} {shown:>14}")
    click.echo(
        "uncached_vs_raw is self-play's share of raw inference; selfplay_vs_raw counts what the cache "
        "answered as work too, and may exceed 1; fraction_of_peak counts the FLOPs of direct sums, of which "
        "float32's minimal filters make a third (docs/decisions/0009), and may exceed 1, too"
    )
    click.echo(f"recommended, and what runs use by default: {backend}; {how}")
    click.echo("for one run, measured on its own games: ghostgo bench --run NAME")
    if json_file:
        replace_file(json_file, (json.dumps(figures, indent=1) + "\n").encode())
