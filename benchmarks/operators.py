"""What some choices rest on: pooling, training threads beside a busy process, blocks, few boards.

    python benchmarks/operators.py [--seconds 5]

1. Maximum over the board in bfloat16: `amax` against a max pool, 256 x 32 x 9 x 9, one thread,
   checked equal first.
2. One training step of a b4c32 network on 9x9 at batch 256: two threads inside torch's operators
   (the whole batch at once) against two slices of one thread each (the learner's way), alone and
   beside one busy process. The four are measured in turn, several times over.
3. Evaluations of b4c32 against b4c32p (pre-activation) on 9x9 at batch 128, one thread, by each
   backend that works here and by the fused network in float32, all in turn.
4. A batch of 1, 2, 4, 8 and 20 boards by b4c64 on 9x9, fused in float32, one thread: rounded up to a
   multiple of eight and computed whole, against its trunk skipping what only fills up; checked first
   to have the same bits.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable

import numpy as np
import torch

from ghostgo.bench import evaluator_works, side_by_side
from ghostgo.data.batch import ORIGIN, Batch
from ghostgo.engine.evaluator import ROUND_ROWS
from ghostgo.engine.fused import FusedNetwork
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.learner import Learner, LearnerConfig

BATCH, ROUNDS = 256, 5
ROWS = 128
"""Of a batch to evaluate."""


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second over at least `seconds`."""
    work()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    return calls / (time.perf_counter() - start)


def pooling(seconds: float) -> None:
    """Print microseconds of both ways, alternately measured."""
    torch.set_num_threads(1)
    x = torch.randn(BATCH, 32, 9, 9).to(torch.bfloat16, memory_format=torch.channels_last)

    def amax() -> torch.Tensor:
        return x.amax(dim=(2, 3))

    def pool() -> torch.Tensor:
        return torch.nn.functional.adaptive_max_pool2d(x, 1).flatten(1)

    assert torch.equal(amax(), pool())  # and both are warm now
    rounds = [(rate(amax, seconds / 10), rate(pool, seconds / 10)) for _ in range(ROUNDS)]
    slow, fast = np.median(np.array(rounds), axis=0)
    print(f"maximum over the board: amax {1e6 / slow:,.0f} us, max pool {1e6 / fast:,.0f} us")


def random_batch(game: Game, rows: int = BATCH, seed: int = 0) -> Batch:
    """Rows of the right shapes; what they say does not matter here."""
    rng = np.random.default_rng(seed)
    policy = rng.dirichlet(np.ones(game.actions), rows).astype(np.float32)
    return Batch(
        planes=((rng.random((rows, game.points, game.planes)) < 0.3) * 0x3F80).astype(np.uint16),
        policy=policy,
        policy_weight=np.ones(rows, np.float32),
        reply=policy[::-1].copy(),
        value=rng.choice([-1.0, 1.0], rows).astype(np.float32),
        score=rng.normal(0, 10, rows).astype(np.float32),
        ownership=rng.random((rows, game.points)).round().astype(np.float32),
        rank=np.zeros(rows, np.int64),
        counting=np.zeros(rows, np.int64),
        short=rng.uniform(-1, 1, rows).astype(np.float32),
        origin=np.zeros(rows, ORIGIN),
    )


class WholeBatch(Learner):
    """The plain way: one copy of the network, both threads inside the operators."""

    def _backward(self, network: Network, batch: Batch) -> dict[str, torch.Tensor]:
        set_one = torch.set_num_threads
        torch.set_num_threads = lambda count: None  # type: ignore[assignment]
        try:
            set_one(2)
            return super()._backward(network, batch)
        finally:
            torch.set_num_threads = set_one


def _spin() -> None:
    while True:
        pass


def training(seconds: float) -> None:
    """Print samples a second of both learners, alone and beside a busy process."""
    game = get_game("go9")
    batch = random_batch(game)
    torch.manual_seed(0)
    network = Network(game, NetworkConfig.preset("b4c32"))
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    learners: dict[str, Learner] = {}
    losses = {}
    for name, kind, threads in (("two slices", Learner, 2), ("whole batch", WholeBatch, 1)):
        network = Network(game, NetworkConfig.preset("b4c32"))
        network.load_state_dict(weights)
        learners[name] = kind(network, LearnerConfig(batch_size=BATCH), "cpu", threads)
        losses[name] = learners[name].step(batch)["total"]
    # The slices' own batch norms make a small difference.
    assert np.isclose(*losses.values(), rtol=0.02), losses
    table: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for beside in (0, 1):
            busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(beside)]
            for process in busy:
                process.start()
            for name, learner in learners.items():
                key = f"{name}, {'beside a busy process' if beside else 'alone'}"
                speed = BATCH * rate(lambda learner=learner: learner.step(batch), seconds / ROUNDS)  # type: ignore[misc]
                table.setdefault(key, []).append(speed)
            for process in busy:
                process.kill()
                process.join()
    for key, speeds in table.items():
        print(f"training, {key}: {np.median(speeds):,.0f} samples/s")


def fused_fp32_work(network: Network) -> Callable[[], int]:
    """A batch by the fused network in float32, which needs no processor with bfloat16."""
    game = network.game
    made = FusedNetwork(network, ROWS, dtype=torch.float32)
    x = torch.rand(ROWS, game.planes, game.rows, game.cols)
    x = x.contiguous(memory_format=torch.channels_last)

    def work() -> int:
        with torch.inference_mode():
            made(x)
        return ROWS

    return work


def preactivation(seconds: float) -> None:
    """Print evaluations a second with blocks of both kinds."""
    torch.set_num_threads(1)
    works: dict[str, Callable[[], int]] = {}
    for net in ("b4c32", "b4c32p"):
        torch.manual_seed(0)
        network = Network(get_game("go9"), NetworkConfig.preset(net)).eval()
        works[f"fused_fp32 {net}"] = fused_fp32_work(network)
        for backend, work in evaluator_works(network, ROWS, "cpu").items():
            works[f"{backend} {net}"] = work
    speeds = side_by_side(works, seconds, 4 * ROUNDS)
    for name, before in speeds.items():
        if name.endswith("p"):
            after = speeds[name[:-1]]
            print(f"{name}: {before:,.0f} evaluations/s, {before / after:.3f} of {after:,.0f}")


def few_boards(seconds: float) -> None:
    """Print milliseconds of batches that are rounded up, computed whole and without the filling."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Network(get_game("go9"), NetworkConfig.preset("b4c64")).eval()
    made = FusedNetwork(network, ROWS, dtype=torch.float32)
    game = network.game
    x = torch.rand(ROWS, game.planes, game.rows, game.cols)
    x = x.contiguous(memory_format=torch.channels_last)
    for boards in (1, 2, 4, 8, 20):
        rows = x[: -(-boards // ROUND_ROWS) * ROUND_ROWS]

        def call(wanted: int | None, rows: torch.Tensor = rows) -> int:
            with torch.inference_mode():
                made(rows, wanted)
            return 1

        with torch.inference_mode():
            whole = [each[:boards].clone() for each in made(rows)[:2]]
            few = [each[:boards] for each in made(rows, boards)[:2]]
        assert all(map(torch.equal, whole, few))
        works = {"whole": lambda: call(None), "few": lambda wanted=boards: call(wanted)}  # type: ignore[misc]
        speeds = side_by_side(works, seconds / 2, 4 * ROUNDS)
        ms = {name: 1000 / speed for name, speed in speeds.items()}
        print(
            f"{boards} of {len(rows)} boards: whole {ms['whole']:.2f} ms, without the filling "
            f"{ms['few']:.2f} ms, {speeds['few'] / speeds['whole']:.2f} times as fast"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="a variant")
    given = parser.parse_args()
    pooling(given.seconds)
    training(given.seconds)
    preactivation(given.seconds)
    few_boards(given.seconds)


if __name__ == "__main__":
    main()
