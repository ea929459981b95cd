"""A run at work: play, store, train, save.

Topology: W worker threads play (kernels and torch release the GIL), each with its own games, trees,
RNG streams and evaluator, and one torch thread each on a CPU; between two phases of play the main
thread trains on all cores. The games of an iteration depend on the seed and the weights alone, not
on which worker was faster: each worker plays its own share of the positions.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostgo.data.choice import chosen_backend
from ghostgo.data.ledger import TRAIN_FORWARDS, Ledger, read_ledger
from ghostgo.data.records import GameTable, concat
from ghostgo.data.replay import ReplayWindow, window_rows
from ghostgo.data.run import CheckpointInfo, Run, load_network
from ghostgo.data.shards import DamagedFile, attributes, read_shard, write_shard
from ghostgo.engine.evaluator import NetworkEvaluator, choose_device, make_evaluator
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, count_flops
from ghostgo.engine.search_config import batch_rows
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import RunConfig
from ghostgo.selfplay.learner import Learner
from ghostgo.selfplay.monitor import Events, LiveLine, si

MILESTONE = 1.6
"""Checkpoints are kept for good when the run's FLOPs have grown by this factor since the last."""


def default_workers(device: str, wanted: int, games: int) -> int:
    """Worker threads: as asked, else one a core on a CPU and one on a GPU."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    count = wanted or (cores if device == "cpu" else 1)
    return max(1, min(count, games))


class Trainer:
    """A run at work: its network, actors, replay window, learner and books."""

    def __init__(self, run: Run, config: RunConfig, line: LiveLine) -> None:
        self.run, self.config, self.line = run, config, line
        self.game = get_game(config.game)
        self.device = choose_device(config.device)[0]
        self.ledger = Ledger(run.folder / "ledger.jsonl")
        self.events = Events(run.folder / "tensorboard")
        info = run.latest()
        self.step = info.step
        network = load_network(info.path)
        self.flops = count_flops(network)
        threads = default_workers(self.device, config.workers, config.selfplay.games)
        self.learner = Learner(network, config.learner, self.device, threads)
        self.window = ReplayWindow(self.game, seed=config.seed)
        found = run.checkpoints()
        # What self-play starts from, such as a prior, is kept as well.
        self.kept = {
            c.step
            for c in found
            if c.meta.get("stage") != "selfplay" or c.meta.get("milestone", c.step != self.step)
        }
        self.kept_flops = max([c.totals.flops for c in found if c.step in self.kept], default=0.0)
        self.owed_samples = 0.0
        self.workers = threads
        self.backend = chosen_backend(info, self.device, training=True).name
        newer, unlearnt = self._adopt_shards()
        self.actors = self._make_actors(network, [config.seed, self.step, newer])
        self.raw_rate = 0.0
        self.share_before = 0.0
        self.losses: dict[str, float] = {}
        state = run.load_state(info)
        if state is not None and info.meta.get("stage") == "selfplay":
            # Playing on from the checkpoint would repeat the games of newer shards.
            self._load_state(state, with_games=not newer)
        self._owe(unlearnt)
        self._load_shards()

    def _make_actors(self, network: Network, entropy: list[int]) -> list[Actor]:
        config = self.config
        seeds = np.random.SeedSequence(entropy).spawn(self.workers)
        actors = []
        for i, seed in enumerate(seeds):
            share = len(range(i, config.selfplay.games, self.workers))
            rows = batch_rows(config.search, share)
            evaluator = make_evaluator(network, rows, self.device, self.backend)
            actors.append(
                Actor(
                    self.game, evaluator, share, config.selfplay.visits, config.search,
                    config.selfplay.rules, config.selfplay.sampled_moves,
                    config.selfplay.opening_plies, seed,
                )
            )  # fmt: skip
        return actors

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides weights, shards and ledger: tensors and plain values."""
        actors = [
            {key: torch.from_numpy(value) for key, value in actor.state_dict().items()}
            for actor in self.actors
        ]
        return {
            "learner": self.learner.state_dict(),
            "actors": actors,
            "owed_samples": self.owed_samples,
        }

    def _adopt_shards(self) -> tuple[int, int]:
        """Shards newer than the checkpoint: their number, and the positions in them.

        A kill between a shard and its checkpoint leaves such a shard. Its games count and are still
        to be learnt; the ledger gets the row that it lacks.
        """
        booked = {row.get("of") for row in read_ledger(self.ledger.path)}
        shards = positions = 0
        for path in sorted(self.run.shards.glob("*.h5"), reverse=True):
            try:
                given = attributes(path)
            except DamagedFile:
                continue  # `_load_shards` names it
            if given["step"] < self.step:
                break
            shards += 1
            positions += given["amounts"]["positions"]
            if path.stem not in booked:
                self.ledger.append("selfplay", path.stem, **given["amounts"])
        return shards, positions

    def _load_state(self, state: dict[str, Any], with_games: bool = True) -> None:
        self.learner.load_state_dict(state["learner"])
        self.owed_samples = float(state["owed_samples"])
        if not with_games:
            return
        saved = state["actors"]
        sizes = [len(actor["length"]) for actor in saved]
        if sizes != [len(actor.slots.length) for actor in self.actors]:
            self.line.say("the number of workers or games has changed: games in play start anew")
            return
        for actor, values in zip(self.actors, saved, strict=True):
            actor.load_state_dict({key: value.numpy() for key, value in values.items()})

    def _load_shards(self) -> None:
        """Fill the window from the newest shards on disk; a damaged one is set apart and named."""
        for unfinished in self.run.shards.glob(".*.tmp"):  # as a kill leaves it
            unfinished.unlink(missing_ok=True)
        total = self.ledger.totals.positions
        wanted = window_rows(total, self.config.selfplay.window_start)
        tables: list[GameTable] = []
        for path in sorted(self.run.shards.glob("*.h5"), reverse=True):
            try:
                tables.append(read_shard(path))
            except DamagedFile as error:
                apart = path.with_suffix(".damaged")
                path.rename(apart)
                self.line.say(f"{error}; set apart as {apart.name}")
            if sum(int((table.weights > 0).sum()) for table in tables) >= wanted:
                break
        for table in reversed(tables):
            self.window.add(table, wanted)

    def save(self, stage: str = "selfplay") -> CheckpointInfo:
        """Write a checkpoint of the present and drop those that no milestone keeps."""
        totals = self.ledger.totals
        milestone = totals.flops >= MILESTONE * self.kept_flops
        meta = {
            "stage": stage,
            "milestone": milestone,
            "seed": self.config.seed,
            "rules": {**self.game.rules, **self.config.selfplay.rules},
            "totals": totals.to_dict(),
        }
        info = self.run.save_checkpoint(self.step, self.learner.average, meta, self.state_dict())
        if milestone:
            self.kept.add(self.step)
            self.kept_flops = totals.flops
        self.run.prune(self.kept)
        return info

    # -- one iteration --------------------------------------------------------------------------

    def measure_raw_rate(self, seconds: float = 0.5) -> None:
        """Evaluations a second of all workers together on full batches, with no search."""

        def work(actor: Actor) -> float:
            torch.set_num_threads(1)
            evaluator = actor.evaluator
            rows = len(evaluator.value)
            evaluator.evaluate(rows)
            before, start = evaluator.evaluations, time.perf_counter()
            while time.perf_counter() - start < seconds:
                evaluator.evaluate(rows)
            rate = (evaluator.evaluations - before) / (time.perf_counter() - start)
            evaluator.evaluations = 0
            return rate

        with ThreadPoolExecutor(self.workers) as pool:
            self.raw_rate = sum(pool.map(work, self.actors))

    def play(self, stop: Stop) -> GameTable:
        """Play this iteration's share of positions on every worker; the finished games."""
        quota = -(-self.config.selfplay.positions_per_iteration // self.workers)

        def work(actor: Actor) -> None:
            if self.device == "cpu":
                torch.set_num_threads(1)
            try:
                while actor.positions < quota and not stop.now():
                    actor.step()
            except BaseException:
                stop.event.set()  # one worker's failure ends the phase for all
                raise

        before, cached = self._evaluations(), self._cached()
        steps = sum(actor.steps for actor in self.actors)
        start = time.perf_counter()
        with ThreadPoolExecutor(self.workers) as pool:
            futures = [pool.submit(work, actor) for actor in self.actors]
            while wait(futures, timeout=0.2).not_done:
                self._show_play(before, cached, steps, start, stop)
            for future in futures:
                future.result()
        table = concat([actor.take() for actor in self.actors])
        evaluations = self._evaluations() - before
        seconds = time.perf_counter() - start
        amounts = {
            "selfplay_flops": evaluations * self.flops,
            "evaluations": evaluations,
            "cached": self._cached() - cached,
            "positions": table.positions,
            "games": len(table),
            "seconds": round(seconds, 3),
        }
        if evaluations / seconds > self.raw_rate > 0:
            self.measure_raw_rate(0.2)  # the machine was busier when it was measured
        name = ""
        if len(table):
            shard = self._next_shard()
            write_shard(shard, table, {"step": self.step, "amounts": amounts})
            name = shard.stem
        self.ledger.append("selfplay", name, **amounts)
        return table

    def _evaluations(self) -> int:
        return sum(actor.evaluator.evaluations for actor in self.actors)

    def _cached(self) -> int:
        return sum(int(actor.cache.counts[1]) for actor in self.actors)

    def _next_shard(self) -> Path:
        existing = [int(path.stem) for path in self.run.shards.glob("*.*") if path.stem.isdigit()]
        return self.run.shards / f"{max(existing, default=0) + 1:06d}.h5"

    def _owe(self, new_positions: int) -> None:
        """Note the training that new positions are worth."""
        self.owed_samples += new_positions * self.config.selfplay.samples_per_position

    def train(self, new_positions: int, stop: Stop) -> dict[str, float]:
        """Train as much as the new positions are worth; mean losses by head.

        What `stop` cuts off stays owed.
        """
        learner, config = self.learner, self.config
        self._owe(new_positions)
        size = config.learner.batch_size
        sums: dict[str, float] = {}
        wanted = int(self.owed_samples // size) if self.window.rows else 0
        count = 0
        start = time.perf_counter()
        while count < wanted and not stop.now():
            self._show_train(count, wanted)
            # A generator a step: what is drawn depends on the step alone, so a resumed run agrees.
            rng = np.random.default_rng([config.seed, 11, learner.steps])
            losses = learner.step(self.window.sample(size, rng))
            sums = {head: sums.get(head, 0.0) + loss for head, loss in losses.items()}
            count += 1
        self.owed_samples -= count * size
        self.ledger.append(
            "training",
            training_flops=TRAIN_FORWARDS * self.flops * count * size,
            samples=count * size,
            seconds=round(time.perf_counter() - start, 3),
        )
        for actor in self.actors:
            evaluator = actor.evaluator
            assert isinstance(evaluator, NetworkEvaluator)
            evaluator.load(learner.average)
            actor.restart_searches()
        return {head: total / count for head, total in sums.items()} if count else {}

    # -- reporting ------------------------------------------------------------------------------

    def _show_play(self, before: int, cached: int, steps: int, start: float, stop: Stop) -> None:
        seconds = max(1e-9, time.perf_counter() - start)
        evaluations = self._evaluations() - before
        saved = self._cached() - cached
        rate = evaluations / seconds
        calls = sum(actor.steps for actor in self.actors) - steps
        share = f" ({rate / self.raw_rate:.0%} of raw)" if self.raw_rate else ""
        status = f"{si(rate)} evals/s{share} batch {evaluations / max(calls, 1):.0f}"
        if saved:
            status += f" cached {saved / (saved + evaluations):.0%}"
        totals = self.ledger.totals
        self.line.show(
            f"{self.run.name} #{self.step + 1} | {totals.games} games | {status} | "
            f"window {si(self.window.rows)} ({si(self.window.bytes)}B) | {self._losses()} | "
            f"{si(totals.flops)}FLOP {stop.left(totals, self.share_before)}"
        )

    def _show_train(self, done: int, count: int) -> None:
        totals = self.ledger.totals
        self.line.show(
            f"{self.run.name} #{self.step + 1} | {totals.games} games | training {done}/{count} | "
            f"{self._losses()} | {si(totals.flops)}FLOP"
        )

    def _losses(self) -> str:
        heads = {head: loss for head, loss in self.losses.items() if head != "gradient_norm"}
        return "loss " + " ".join(f"{h} {v:.3f}" for h, v in heads.items()) if heads else "loss -"

    def report(self, table: GameTable) -> None:
        """Scalars of this iteration for TensorBoard."""
        totals = self.ledger.totals
        values = {f"loss/{head}": loss for head, loss in self.losses.items()}
        if len(table):
            values["games/mean length"] = float(table.lengths.mean())
            values["games/first player wins"] = float((table.results > 0).mean())
            distinct = len({table.moves_of(i).tobytes() for i in range(len(table))})
            values["games/distinct share"] = distinct / len(table)
        values["search/share cached"] = totals.cached / max(1, totals.cached + totals.evaluations)
        values["compute/flops"] = totals.flops
        values["compute/seconds"] = totals.seconds
        values["replay/rows"] = float(self.window.rows)
        self.events.scalars(self.step, values)

    def iterate(self, stop: Stop) -> None:
        """Play, store, train, save."""
        table = self.play(stop)
        wanted = window_rows(self.ledger.totals.positions, self.config.selfplay.window_start)
        if len(table):
            self.window.add(table, wanted)
        self.losses = self.train(table.positions, stop) or self.losses
        self.step += 1
        self.report(table)
        self.save()
