"""The number format of training on a CPU that has bfloat16: by measurement, once for a run.

Half the bytes are not always half the time: conversions around small layers can cost more than
they save. The choice is kept with the learner's state, so that a resumed run computes as before.
"""

from __future__ import annotations

import copy
import time
from functools import cache

import numpy as np
import torch

from ghostgo.data.batch import ORIGIN, Batch
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.selfplay.learner import Learner, LearnerConfig, can_bfloat16

ROUNDS = 3


def choose_format(learner: Learner, before: str | None = None) -> None:
    """Set `learner.bfloat16` as its config says: by default to what is faster here.

    Off where it cannot be; on a GPU on wherever the hardware has it. What the run's imitation was
    trained in `before` need not be measured again. Raises UserError where bfloat16 is asked for and
    there is none.
    """
    able, asked = can_bfloat16(learner.device), str(learner.config.number_format)
    if asked == "bfloat16" and not able:
        raise UserError(
            'config: learner: number_format = "bfloat16": this machine has none; use "auto" or "float32"'
        )
    if asked == "auto" and before is not None:
        asked = before
    learner.bfloat16 = able and asked != "float32"
    if able and asked == "auto" and learner.device == "cpu":
        seconds = measured(
            learner.network.game.name, learner.network.config, learner.config, len(learner.copies)
        )
        learner.bfloat16 = seconds[True] < seconds[False]


@cache
def measured(
    game: str, network: NetworkConfig, config: LearnerConfig, threads: int
) -> dict[bool, float]:
    """Seconds of the fastest of a few steps on a CPU, by whether they are in bfloat16.

    Measured in turns, on a network of its own; once in a process, so that runs in it agree.
    """
    with torch.random.fork_rng(devices=[]):
        made = Network(get_game(game), network)
    learners = {}
    for bf16 in (True, False):
        learners[bf16] = Learner(copy.deepcopy(made), config, "cpu", threads)
        learners[bf16].bfloat16 = bf16
    batch = blank_batch(made.game, config.batch_size)
    best = {True: np.inf, False: np.inf}
    for turn in range(ROUNDS + 1):
        for bf16, learner in learners.items():
            start = time.perf_counter()
            learner.step(batch)
            if turn:  # the first is a warm-up
                best[bf16] = min(best[bf16], time.perf_counter() - start)
    return best


def blank_batch(game: Game, rows: int) -> Batch:
    """A batch of empty planes and even targets."""
    even = np.full((rows, game.actions), 1 / game.actions, np.float32)
    return Batch(
        planes=np.zeros((rows, game.points, game.planes), np.uint16),
        policy=even,
        policy_weight=np.ones(rows, np.float32),
        reply=even,
        value=np.zeros(rows, np.float32),
        score=np.zeros(rows, np.float32),
        ownership=np.full((rows, game.points), 0.5, np.float32),
        rank=np.zeros(rows, np.int64),
        counting=np.zeros(rows, np.int64),
        short=np.zeros(rows, np.float32),
        origin=np.zeros(rows, ORIGIN),
    )
