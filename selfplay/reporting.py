"""What a run tells of itself: the live line, rows that stay, and scalars for TensorBoard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ghostgo.data.distinct import distinct_shares, table_keys
from ghostgo.data.ledger import Timer
from ghostgo.data.records import GameTable
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.monitor import Events, clock, resident_bytes, si
from ghostgo.selfplay.rows import EVERY, HEADING, row

if TYPE_CHECKING:
    from ghostgo.selfplay.trainer import Trainer

PETA = 1e15


class Reporting:
    """What is shown and kept of a trainer's work."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.events = Events(trainer.run.folder / "tensorboard", trainer.line.say)
        self._totals = trainer.ledger.totals
        self._steps = trainer.learner.steps
        """Totals and steps of training at the last report."""
        self._begin = (0, 0, 0)
        self._play: dict[str, float] = {}
        """How fast the last games were played, by name of the scalar."""
        self._distinct = ""
        self._rows_shown = 0

    def _work(self) -> tuple[int, int, int]:
        """Positions that the network judged, those that were remembered, and network calls so far."""
        evaluations, cached = self.trainer.work().sum(axis=0).tolist()
        return evaluations, cached, sum(actor.steps for actor in self.trainer.actors)

    def begin_play(self) -> None:
        """Count from here what `show_play` and `end_play` tell."""
        self._begin = self._work()

    def show_play(self, timer: Timer, stop: Stop) -> None:
        """The live line while games are played, since `timer` was made."""
        trainer = self.trainer
        evaluations, cached, calls = (
            now - before for now, before in zip(self._work(), self._begin, strict=True)
        )
        rate = evaluations / max(1e-9, timer.seconds)
        share = f" ({rate / trainer.raw_rate:.0%} of raw)" if trainer.raw_rate else ""
        status = f"{si(rate)} evals/s{share} batch {evaluations / max(calls, 1):.0f}"
        if cached:
            status += f" cached {cached / (cached + evaluations):.0%}"
        self._show(status, f"window {si(self._rows())} ({self._window()}B)", stop)

    def end_play(self, seconds: float) -> None:
        """Note how fast the games were that took so many seconds."""
        raw_rate, throughput = self.trainer.raw_rate, self.trainer.throughput
        work = zip(self._work(), self._begin, strict=True)
        evaluations, cached, _ = (now - before for now, before in work)
        self._play = {"play/seconds": seconds}
        if not evaluations:
            return
        rate = evaluations / max(1e-9, seconds)
        self._play["play/evaluations a second"] = rate
        self._play["play/share cached"] = cached / (cached + evaluations)
        if raw_rate:
            self._play["play/raw evaluations a second"] = raw_rate
            self._play["play/share of raw speed"] = rate / raw_rate
            self._play["play/share of raw speed, whole run"] = throughput.share

    def show_train(self, done: int, count: int, stop: Stop) -> None:
        """The live line after `done` of `count` steps of training."""
        self._show(f"training {done}/{count}", "", stop)

    def _show(self, status: str, window: str, stop: Stop) -> None:
        """What a narrow terminal cuts off stands last."""
        trainer, totals = self.trainer, self.trainer.ledger.totals
        gone = clock(time.monotonic() - stop.started)
        left = stop.left(totals, trainer.share_before)
        memory = resident_bytes()
        parts = [
            f"{trainer.run.name} #{trainer.step + 1}",
            f"{totals.games} games",
            status,
            f"{gone} gone{', ' if left else ''}{left}",
            f"{si(totals.flops)}FLOP",
            f"memory {si(memory)}B" if memory else "",
            window,
            self.losses(),
            self._distinct,
        ]
        trainer.line.show(" | ".join(filter(None, parts)))

    def _rows(self) -> int:
        return sum(board.window.rows for board in self.trainer.boards)

    def _held(self) -> int:
        return sum(board.window.bytes for board in self.trainer.boards)

    def _window(self) -> str:
        """Bytes that the windows hold, of so many that they may."""
        most = self.trainer.config.learner.window_mb
        return f"{si(self._held())}/{si(most * 2.0**20)}"

    def losses(self) -> str:
        """Mean losses of the last training and what the network knew of the last games, by head."""
        trainer = self.trainer
        heads = {head: loss for head, loss in trainer.losses.items() if head != "gradient_norm"}
        text = "loss " + (" ".join(f"{h} {v:.3f}" for h, v in heads.items()) or "-")
        for name, bits in (("game", trainer.bits), ("PFLOP", trainer.bits_a_pflop)):
            if bits:
                text += f" | bits a {name}: " + " ".join(f"{h} {si(v)}" for h, v in bits.items())
        return text

    def report(self, table: GameTable) -> None:
        """Scalars of this iteration for TensorBoard; `table` holds the games on the run's own board."""
        trainer, totals = self.trainer, self.trainer.ledger.totals
        values = self._training() | self._play
        if len(table):
            values |= self._games(table)
        if (table.weights > 0).any():
            values |= {f"bits a game/{head}": bits for head, bits in trainer.bits.items()}
            values |= {f"bits a PFLOP/{head}": bits for head, bits in trainer.bits_a_pflop.items()}
        values["compute/PFLOP"] = totals.flops / PETA
        values["compute/hours"] = totals.seconds / 3600
        if totals.core_seconds is not None:
            values["compute/core-hours"] = totals.core_seconds / 3600
        values["memory/resident MB"] = resident_bytes() / 1e6
        values["memory/replay window MB"] = self._held() / 1e6
        values["memory/replay window rows"] = float(self._rows())
        self.events.scalars(trainer.step, values)
        self._totals, self._steps = totals, trainer.learner.steps

    def _games(self, table: GameTable) -> dict[str, float]:
        """Of this iteration's games and those of the window, shown on a terminal as well."""
        shares = [
            *distinct_shares([table_keys(table)]),
            *distinct_shares(self.trainer.window.keys()),
        ]
        games, positions, window_games, window_positions = shares
        self._distinct = (
            f"distinct: games {games:.0%} positions {positions:.0%} of this iteration, "
            f"games {window_games:.0%} positions {window_positions:.0%} of the window"
        )
        self._show_row(shares)
        return {
            "games/mean length": float(table.lengths.mean()),
            "games/first player wins": float((table.results > 0).mean()),
            "distinct/games of this iteration": games,
            "distinct/positions of this iteration": positions,
            "distinct/games of the window": window_games,
            "distinct/positions of the window": window_positions,
        }

    def _show_row(self, shares: list[float]) -> None:
        """Let a row stay where the live line is cut; elsewhere that line tells all."""
        trainer = self.trainer
        if not trainer.line.live:
            return
        if self._rows_shown % EVERY == 0:
            trainer.line.say(HEADING)
        trainer.line.say(row(trainer.step, trainer.bits, trainer.bits_a_pflop, shares))
        self._rows_shown += 1

    def _training(self) -> dict[str, float]:
        """Of the training since the last report, if there was any."""
        learner, totals = self.trainer.learner, self.trainer.ledger.totals
        steps = learner.steps - self._steps
        if not steps:
            return {}
        seconds = totals.seconds - self._totals.seconds - self._play.get("play/seconds", 0.0)
        losses = self.trainer.losses
        heads = {head: loss for head, loss in losses.items() if head != "gradient_norm"}
        values = {f"loss/{head.replace('_', ' ')}": loss for head, loss in heads.items()}
        values |= {
            "learner/learning rate": float(learner.optimizer.param_groups[0]["lr"]),
            "learner/gradient norm": losses["gradient_norm"],
            "learner/steps a second": steps / max(1e-3, seconds),
        }
        if positions := totals.positions - self._totals.positions:
            values["learner/samples a new row"] = (
                totals.samples - self._totals.samples
            ) / positions
        return values
