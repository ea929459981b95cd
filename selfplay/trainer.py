"""A run at work: play, store, train, save.

Topology: W worker threads play (kernels and torch release the GIL), each with its own games, trees,
RNG streams and evaluator, and one torch thread each on a CPU; between two phases of play the main
thread trains on all cores. The games of an iteration depend on the seed and the weights alone, not
on which worker was faster: each worker plays its own share of the positions, board by board where
the run has several (`ghostgo.selfplay.boards`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ghostgo.data.checkpoints import split_of
from ghostgo.data.choice import chosen_backend
from ghostgo.data.ledger import TRAIN_FORWARDS, Ledger, Timer
from ghostgo.data.records import GameTable
from ghostgo.data.replay import window_rows
from ghostgo.data.run import CheckpointInfo, Run, load_network, load_state
from ghostgo.data.shards import write_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import count_flops
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.anchor import Anchor
from ghostgo.selfplay.bits import Marginals, bits_a_game
from ghostgo.selfplay.boards import adopt_shards, drawing, fill_windows, make_boards, raw_rate
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import RunConfig, default_workers, rate_share, rule_sets
from ghostgo.selfplay.faults import trained
from ghostgo.selfplay.feeding import Feeder
from ghostgo.selfplay.learner import Learner
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.selfplay.precision import choose_format
from ghostgo.selfplay.reporting import Reporting
from ghostgo.selfplay.throughput import RAW_SECONDS, RAW_SHARE, Throughput

MILESTONE = 1.6
"""Checkpoints are kept for good when what the run has spent, what it started from not counted, has
grown by this factor since the last."""


class Trainer:
    """A run at work: its network, boards with actors and replay windows, learner and books."""

    def __init__(self, run: Run, config: RunConfig, line: LiveLine) -> None:
        self.run, self.config, self.line = run, config, line
        self.game = get_game(config.game)
        self.device = choose_device(config.device)[0]
        self.ledger = Ledger(run.folder / "ledger.jsonl")
        info = run.latest()
        self.step = info.step
        network = load_network(info.path)
        self.boards = make_boards(network, config)
        """The run's own first."""
        self.flops = self.boards[0].flops
        self.window = self.boards[0].window
        threads = default_workers(self.device, config.workers, config.selfplay.games)
        self.learner = Learner(network, config.learner, self.device, threads)
        self.marginals = Marginals(self.game)
        self.split = split_of(info)
        kept = info.meta.get("bits", {})
        self.bits: dict[str, float] = kept.get("game", {})
        """Bits of the newest games that the network knew, a game and head; see `bits_a_game`. With
        several boards, of those on the run's own."""
        self.bits_a_pflop: dict[str, float] = kept.get("pflop", {})
        """The same for each PFLOP spent on those games, those of other boards and the training after."""
        self._find_kept()
        self.owed_samples = 0.0
        self.workers = threads
        self.backend = chosen_backend(info, self.device, training=True).name
        self.anchor = self._make_anchor()
        newer, unlearnt = adopt_shards(run, self.ledger, self.step, info.meta.get("shards"))
        prior = self.anchor.network if self.anchor and config.anchor.kind == "root" else None
        for i, board in enumerate(self.boards):
            entropy = [config.seed, self.step, newer, *([i] if i else [])]
            board.make_actors(network, config, threads, self.device, self.backend, entropy, prior)
        self.raw_rate = 0.0
        self.throughput = Throughput.from_dict(info.meta.get("throughput", {}))
        self.share_before = 0.0
        self.losses: dict[str, float] = {}
        self._oldest: list[str] = []
        """Each board's oldest file of games in the window that a resumed run had."""
        self.stored: list[str] = []
        """Names of each board's newest file of games; empty where there were none."""
        self._go_on_from(info, with_games=not newer)
        self._owe(unlearnt)
        self._load_shards()
        self.reporting = Reporting(self)

    # -- the start ------------------------------------------------------------------------------

    def _find_kept(self) -> None:
        """Note which checkpoints stay for good, and say which are damaged."""
        damaged: list[UserError] = []
        found = self.run.checkpoints(damaged)
        for fault in damaged:
            self.line.say(f"{fault}; left as it is")
        # What self-play starts from, such as a prior, is kept as well.
        self.kept = {
            c.step
            for c in found
            if c.meta.get("stage") != "selfplay" or c.meta.get("milestone", c.step != self.step)
        }
        began = [c.totals.flops for c in found if c.meta.get("stage") != "selfplay"]
        self.flops_before = max(began, default=0.0)
        """What had been spent before self-play began, as on a prior."""
        kept = [c.totals.flops for c in found if c.step in self.kept]
        self.kept_flops = max(kept, default=self.flops_before) - self.flops_before
        """What self-play and its training had cost at the last milestone."""

    def _make_anchor(self) -> Anchor | None:
        """The prior at work where the run holds on to one, and the learner held to it by `kl`, `fade`."""
        config = self.config
        if config.anchor.kind == "init":
            return None
        rules = rule_sets(config.selfplay, self.game)
        anchor = Anchor(self.run, config.anchor, rules, config.seed, config.learner.symmetries)
        if config.anchor.kind in ("kl", "fade"):
            self.learner.hold_to(anchor.network)
        self.prior_flops = count_flops(anchor.network)
        return anchor

    def _go_on_from(self, info: CheckpointInfo, with_games: bool) -> None:
        """Take up a checkpoint's state; `with_games` unless newer games are stored than it has seen."""
        state = load_state(info)
        if state is not None and info.meta.get("stage") == "selfplay":
            # Playing on from the checkpoint would repeat the games of newer shards.
            self._load_state(state, with_games)
            return
        if info.meta.get("stage") == "selfplay":
            self.line.say(f"{info.path}: has no state: optimiser and games in play start anew")
        choose_format(self.learner, info.meta.get("trained_in"))

    @property
    def actors(self) -> list[Actor]:
        """All boards' actors, those of the run's own board first."""
        return [actor for board in self.boards for actor in board.actors]

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
            "marginals": self.marginals.state_dict(),
            "oldest": [board.window.oldest for board in self.boards],
        }

    def _load_state(self, state: dict[str, Any], with_games: bool = True) -> None:
        self.learner.load_state_dict(state["learner"])
        self.owed_samples = float(state["owed_samples"])
        if "marginals" in state:  # older states have none
            self.marginals.load_state_dict(state["marginals"])
        self._oldest = list(state.get("oldest", ()))
        if not with_games:
            return
        saved = state["actors"]
        played = [(len(actor["length"]), actor["states"].nbytes) for actor in saved]
        if played != [(len(a.slots.length), a.trees.states.nbytes) for a in self.actors]:
            self.line.say("the number of workers or games has changed: games in play start anew")
            return
        for actor, values in zip(self.actors, saved, strict=True):
            actor.load_state_dict({key: value.numpy() for key, value in values.items()})

    def _load_shards(self) -> None:
        """Fill the windows from the newest shards on disk; a damaged one is set apart and named."""
        for unfinished in self.run.shards.glob(".*.tmp"):  # as a kill leaves it
            unfinished.unlink(missing_ok=True)
        total = self.ledger.totals.positions
        wanted = window_rows(total, self.config.selfplay.window_start)
        fill_windows(self.boards, self.run.shards, wanted, self.line.say, self._oldest)

    def save(self, stage: str = "selfplay") -> CheckpointInfo:
        """Write a checkpoint of the present and drop those that no milestone keeps."""
        totals = self.ledger.totals
        spent = totals.flops - self.flops_before
        milestone = spent >= MILESTONE * self.kept_flops
        meta = {
            "stage": stage,
            "milestone": milestone,
            "shards": self._newest_shard(),
            "seed": self.config.seed,
            "rules": rule_sets(self.config.selfplay, self.game)[0],
            "totals": totals.to_dict(),
            "bits": {"game": self.bits, "pflop": self.bits_a_pflop},
            "throughput": self.throughput.to_dict(),
            **self.split,
        }
        info = self.run.save_checkpoint(self.step, self.learner.average, meta, self.state_dict())
        if milestone:
            self.kept.add(self.step)
            self.kept_flops = spent
        self.run.prune(self.kept)
        return info

    # -- one iteration --------------------------------------------------------------------------

    def measure_raw_rate(self, seconds: float = 0.5) -> None:
        """Evaluations a second of all workers together on full batches, with no search.

        Of several boards there is no one such rate, and none is measured.
        """
        if len(self.boards) > 1:
            return
        self.raw_rate = raw_rate(self.actors, seconds)

    def play(self, stop: Stop) -> list[GameTable]:
        """Play this iteration's share of positions on every worker; each board's finished games."""
        wanted = self.config.selfplay.positions_per_iteration

        def work(worker: int) -> None:
            if self.device == "cpu":
                torch.set_num_threads(1)
            try:
                mine = [
                    (board.actors[worker], board.quota(wanted))
                    for board in self.boards
                    if worker < len(board.actors)
                ]
                # The one furthest behind, so that an early stop leaves no board without games.
                while mine and not stop.now():
                    actor, quota = min(mine, key=lambda each: each[0].positions / each[1])
                    if actor.positions >= quota:
                        break
                    actor.step()
            except BaseException:
                stop.event.set()  # one worker's failure ends the phase for all
                raise

        before = self.work()
        self.reporting.begin_play()
        timer = Timer()
        with ThreadPoolExecutor(self.workers) as pool:
            futures = [pool.submit(work, worker) for worker in range(self.workers)]
            while wait(futures, timeout=0.2).not_done:
                self.reporting.show_play(timer, stop)
        raise_all([fault for future in futures if (fault := future.exception())])
        spent, work_done = timer.amounts(), self.work() - before
        self._compare_with_raw(int(work_done[:, 0].sum()), timer.seconds)
        return self._store(work_done.tolist(), spent)

    def _compare_with_raw(self, evaluations: int, seconds: float) -> None:
        """Measure raw inference, and note `evaluations` made in so many `seconds` of play beside it.

        Each time anew, whether play was faster or slower than the rate before: as busy as the machine
        is now, it most likely was. None of it is charged.
        """
        if evaluations:
            self.measure_raw_rate(min(RAW_SECONDS, RAW_SHARE * seconds))
            self.throughput.add_play(evaluations, self.raw_rate, seconds)
        self.reporting.end_play(seconds)

    def _store(self, work: list[list[int]], spent: dict[str, float]) -> list[GameTable]:
        """Write each board's finished games as a shard and charge its `work` (see `work`).

        The time `spent` by all is shared out by FLOPs.
        """
        flops = [done[0] * board.flops for board, done in zip(self.boards, work, strict=True)]
        flops[0] += self._anchor_flops()
        tables = []
        self.stored = []
        for board, cost, (evaluations, cached) in zip(self.boards, flops, work, strict=True):
            share = cost / sum(flops) if any(flops) else board.share
            positions = sum(actor.positions for actor in board.actors)
            table = board.take()
            amounts = {
                "selfplay_flops": cost,
                "evaluations": evaluations,
                "cached": cached,
                "positions": positions,
                "games": len(table),
                **{name: round(share * seconds, 3) for name, seconds in spent.items()},
            }
            name = ""
            if len(table):
                shard = self.run.shards / f"{self._newest_shard() + 1:06d}.h5"
                write_shard(shard, table, {"step": self.step, "amounts": amounts})
                name = shard.stem
            self.stored.append(f"{name}.h5" if name else "")
            self.ledger.append("selfplay", name, **amounts)
            tables.append(table)
        return tables

    def work(self) -> NDArray[np.int64]:
        """(boards, 2) so far: positions that the network judged, and those that were remembered."""
        return np.array([(board.evaluations, board.cached) for board in self.boards])

    def _anchor_flops(self) -> float:
        """What the anchor's judgements have cost since the last call."""
        spent = 0.0
        for actor in self.actors:
            if actor.anchor is not None:
                spent += actor.anchor.evaluations * self.prior_flops
                actor.anchor.evaluations = 0
        return spent

    def _newest_shard(self) -> int:
        existing = [int(path.stem) for path in self.run.shards.glob("*.*") if path.stem.isdigit()]
        return max(existing, default=0)

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
        wanted = int(self.owed_samples // size) if self._rows() else 0
        spent = self.ledger.totals.flops
        rate = rate_share(config.selfplay, spent)
        hold = self.anchor.loss_weight(spent) if self.anchor else 0.0
        held = self.prior_flops if hold else 0.0
        batches: Counter[float] = Counter()  # by what one row costs
        count = 0
        timer = Timer()
        if wanted and not stop.now():
            learner.begin(next(b.window for b in self.boards if b.window.rows), config.seed)
        cost = {board.game.name: TRAIN_FORWARDS * board.flops + held for board in self.boards}
        draw = drawing(self.boards, size, config.seed, spent, self.anchor)
        with Feeder(draw) as feeder:
            while count < wanted and not stop.now():
                self.reporting.show_train(count, wanted, stop)
                drawn = feeder.take(learner.steps, last=count + 1 == wanted)
                losses = trained(learner, drawn, self.run, rate, hold)
                batches[cost[drawn.game.name]] += 1
                sums = {head: sums.get(head, 0.0) + loss for head, loss in losses.items()}
                count += 1
        self.throughput.learning_seconds += timer.seconds
        self.owed_samples -= count * size
        self.ledger.append(
            "training",
            "",
            training_flops=float(sum(row * steps * size for row, steps in batches.items())),
            samples=count * size,
            **timer.amounts(),
        )
        for board in self.boards:
            board.load(learner.average)
        return {head: total / count for head, total in sums.items()} if count else {}

    def _rows(self) -> int:
        return sum(board.window.rows for board in self.boards)

    def iterate(self, stop: Stop) -> None:
        """Play, store, train, save."""
        before = self.ledger.totals
        tables = self.play(stop)
        table = tables[0]
        played = self.ledger.totals
        wanted = window_rows(played.positions, self.config.selfplay.window_start)
        if len(table):
            seed = [self.config.seed, 13, self.step]
            self.bits = bits_a_game(self.learner, table, self.marginals, seed) or self.bits
        for board, fresh, name in zip(self.boards, tables, self.stored, strict=True):
            if len(fresh):
                board.window.add(fresh, board.rows(wanted), name)
        self.losses = self.train(played.positions - before.positions, stop) or self.losses
        self.step += 1
        if (table.weights > 0).any():
            games_a_pflop = len(table) * 1e15 / (self.ledger.totals.flops - before.flops)
            self.bits_a_pflop = {head: bits * games_a_pflop for head, bits in self.bits.items()}
        self.reporting.report(table)
        self.save()


def raise_all(faults: Sequence[BaseException]) -> None:
    """Raise what workers raised: one as it is, several together, so that none goes untold."""
    if len(faults) == 1 or (faults and all(isinstance(fault, UserError) for fault in faults)):
        raise faults[0]
    if faults:
        raise BaseExceptionGroup(f"{len(faults)} workers failed", faults)
