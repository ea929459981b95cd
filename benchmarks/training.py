"""Steps a second of the learner, by number format, memory layout, compiler, convolutions and reader thread.

    python benchmarks/training.py [--network b4c32] [--game go9] [--batch 256] [--rounds 5]
                                  [--steps 4] [--threads 1,2] [--device cpu] [--no-compile]
                                  [--optimizer muon]

Trains on random games that lie still. Each variant differs from `base` (what runs use without a
number format chosen: float32, channels-last, own convolutions, eager, batches made ahead) in one thing,
but that the last ones have torch's convolutions all together: theirs is the rate to compare with. With
`--optimizer muon` one moves its matrices in turn, not side by side. All start at
the same weights and draw the same batches, so their losses must agree: float32 variants to rounding,
bfloat16 to its own. They take turns, `--steps` a turn and `--rounds` turns; the table has the median
turn's rate and its ratio to the base's of the same turn, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import copy
import time
from typing import Any

import numpy as np
import torch

from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow
from ghostgo.engine import convolution
from ghostgo.engine.games.game import play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay import feeding
from ghostgo.selfplay.feeding import Drawn, Feeder
from ghostgo.selfplay.learner import Learner, LearnerConfig, can_bfloat16

GAMES = 100
LEAST_CHANNELS, NEVER = convolution.LEAST_CHANNELS, 1 << 30
CLOSE, CLOSE_BF16 = 1e-3, 3e-2
"""Relative differences of the first turn's mean loss that rounding may make."""


class Compiled(Learner):
    """Its forward and backward passes compiled by `torch.compile`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.faster: dict[int, Any] = {}

    def _forward(self, network: Network, x: torch.Tensor, *told: Any) -> Any:
        found = self.faster.setdefault(id(network), torch.compile(network))
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            return found(x, *told)


class Contiguous(Learner):
    """Weights and planes in the plain layout, channels first."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        for network in self.copies:
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def _forward(self, network: Network, x: torch.Tensor, *told: Any) -> Any:
        return super()._forward(network, x.contiguous(), *told)


class InTurn(Learner):
    """Muon's matrices moved one after another by one thread."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        assert self.muon is not None
        self.muon.threads = None


def random_games(name: str) -> GameTable:
    """Games of random legal moves, each move the target of its position."""
    game, rng = get_game(name), np.random.default_rng(0)
    moves: list[int] = []
    offsets, scores = [0], []
    for _ in range(GAMES):
        state = game.new_states(1)
        while not state[0].done:
            moves.append(int(rng.choice(game.legal_actions(state[0]))))
            play_one(state[0], moves[-1])
        offsets.append(len(moves))
        scores.append(score_of(state[0]))
    owned = rng.integers(-1, 2, (GAMES, game.points)).astype(np.int8)
    return GameTable(
        game=name,
        rules_table=(dict(game.rules),),
        rules_index=np.zeros(GAMES, np.uint8),
        offsets=np.array(offsets, np.int64),
        moves=np.array(moves, np.int16),
        results=np.sign(scores).astype(np.float32),
        scores=np.array(scores, np.float32),
        ranks=np.zeros((GAMES, 2), np.int8),
        weights=np.ones(len(moves), np.float32),
        first_to_play=np.zeros(GAMES, np.int8),
        ownership=owned if game.has_ownership else None,
    )


class Variant:
    """A learner, and how it gets its batches."""

    def __init__(
        self, kind: type[Learner], ahead: bool, bf16: bool, own: bool, *given: Any
    ) -> None:
        self.learner, self.ahead, self.own = kind(*given), ahead, own
        self.learner.bfloat16 = bf16
        self.rates: list[float] = []
        self.loss = 0.0

    def turn(self, window: ReplayWindow, size: int, steps: int) -> None:
        """Train `steps` steps, as a run does; note rate and mean loss."""
        feeding.AHEAD = self.ahead
        convolution.LEAST_CHANNELS = LEAST_CHANNELS if self.own else NEVER
        first, start, losses = self.learner.steps, time.perf_counter(), []

        def draw(step: int) -> Drawn:
            return Drawn(window.sample(size, np.random.default_rng([1, step])), window.game)

        with Feeder(draw) as feeder:
            for step in range(first, first + steps):
                drawn = feeder.take(step, last=step + 1 == first + steps)
                losses.append(self.learner.step(drawn.batch)["total"])
        self.rates.append(steps / (time.perf_counter() - start))
        self.loss = self.loss or float(np.mean(losses))


def compare(window: ReplayWindow, given: argparse.Namespace, threads: int) -> None:
    """Print the table for so many threads."""
    torch.manual_seed(0)
    network = Network(window.game, NetworkConfig.preset(given.network))
    config = LearnerConfig(batch_size=given.batch, optimizer=given.optimizer)
    kinds: dict[str, tuple[type[Learner], bool, bool, bool]] = {
        "base": (Learner, True, False, True),
        "no reader thread": (Learner, False, False, True),
        "torch's convolutions": (Learner, True, False, False),
        "channels first": (Contiguous, True, False, False),
    }
    if given.optimizer == "muon":
        kinds["matrices in turn"] = (InTurn, True, False, True)
    if can_bfloat16(given.device):
        kinds["bfloat16"] = (Learner, True, True, False)
    if given.compile:
        kinds["compiled"] = (Compiled, True, False, False)
    made = {
        name: Variant(*kind, copy.deepcopy(network), config, given.device, threads)
        for name, kind in kinds.items()
    }
    for name, variant in made.items():
        start = time.perf_counter()
        variant.turn(window, given.batch, given.steps)
        if name == "compiled":
            print(
                f"compiling took {time.perf_counter() - start:.0f} s, {given.steps} steps included"
            )
        variant.rates.clear()
        off = abs(variant.loss / made["base"].loss - 1)
        if off > (CLOSE_BF16 if name == "bfloat16" else CLOSE):
            raise SystemExit(f"{name}: loss {variant.loss:.4f}, of base {made['base'].loss:.4f}")
    for _ in range(given.rounds):
        for variant in made.values():
            variant.turn(window, given.batch, given.steps)
    base = np.array(made["base"].rates)
    print(f"| {threads} thread(s) | steps/s | to base, median (least to most) | first loss |")
    print("|---" * 4 + "|")
    for name, variant in made.items():
        ratio = np.array(variant.rates) / base
        print(
            f"| {name} | {np.median(variant.rates):.2f} | {np.median(ratio):.2f} "
            f"({ratio.min():.2f} to {ratio.max():.2f}) | {variant.loss:.4f} |"
        )


def main() -> None:
    """Compare at each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="b4c32")
    parser.add_argument("--game", default="go9")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="in a turn")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    given = parser.parse_args()
    window = ReplayWindow(get_game(given.game))
    window.add(random_games(given.game))
    print(f"{given.network}, {given.game}, batches of {given.batch}, {given.device}")
    for threads in map(int, given.threads.split(",")):
        compare(window, given, threads)


if __name__ == "__main__":
    main()
