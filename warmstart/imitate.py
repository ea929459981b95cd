"""From records to a prior: supervised training with the network and learner of self-play.

    runs/NAME/records/train.h5, held_out.h5   the imported games, split by game
    runs/NAME/checkpoints/                    imitation's steps first, then self-play's

The value learns from a few positions a game only: whole games repeat one label, and AlphaGo's value
network memorised them (error 0.19 on its games, 0.37 on others; Silver et al. 2016).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ghostgo.data.config import dump_toml, read_toml
from ghostgo.data.ledger import TRAIN_FORWARDS, Ledger
from ghostgo.data.records import GameTable, Rules
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import ROOT, CheckpointInfo, Run, load_network
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import count_flops, expected_value
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import RunConfig, make_config
from ghostgo.selfplay.learner import Learner
from ghostgo.selfplay.loop import first_checkpoint, refuse_other_start, reopen
from ghostgo.selfplay.monitor import Events, LiveLine, clock, si
from ghostgo.selfplay.trainer import MILESTONE, default_workers
from ghostgo.warmstart.select import split_by_hash
from ghostgo.warmstart.store import load_records

VALUE_POSITIONS = 10
"""Positions a game that teach value, score and ownership."""
DEFAULT_EPOCHS = 3.0
"""Passes over the records where no budget is given."""
SAVE_SECONDS = 30.0
"""Seconds of imitation that a kill can cost."""
HELD_OUT_ROWS = 20_000
"""Most held-out positions that one evaluation looks at (its standard error is then 0.35 %)."""


@dataclass(frozen=True)
class HeldOut:
    """How well a network predicts games it has not seen."""

    top1: float
    """Share of positions whose recorded board move is the policy's first choice; no passes."""
    top5: float
    log_loss: float
    """Mean -log probability of the recorded move, in nats, passes included."""
    value_mse: float
    """Mean squared error of the value in [-1, 1] against decided results; nan if none is known."""
    positions: int
    """Positions looked at."""
    games: int
    """Games held out."""


def _top(policy: torch.Tensor, moves: torch.Tensor, k: int) -> float:
    """How many of `moves` (B,) are among the k first choices of `policy` (B, A)."""
    best = policy.topk(min(k, policy.shape[1]), dim=1).indices
    return float((best == moves[:, None]).any(dim=1).sum())


def evaluate(learner: Learner, window: ReplayWindow, games: int) -> HeldOut:
    """Judge the learner's network on a fixed sample of the window's positions."""
    rows = np.arange(window.rows)
    if len(rows) > HELD_OUT_ROWS:
        rows = np.random.default_rng(0).choice(rows, HELD_OUT_ROWS, replace=False)
    game = learner.network.game
    top1 = top5 = loss = error = 0.0
    boards = known = 0
    for part in np.array_split(rows, -(-len(rows) // 512)):
        batch = window.rows_batch(part)
        out = learner.judge(batch)
        move = torch.from_numpy(batch.policy.argmax(axis=1))
        # Where there is a pass, it is neither counted nor a candidate.
        candidates = game.points if game.policy_head == "points_and_pass" else game.actions
        on_board = move < candidates
        boards += int(on_board.sum())
        choices = out["policy"][on_board, :candidates]
        top1 += _top(choices, move[on_board], 1)
        top5 += _top(choices, move[on_board], 5)
        loss += float(F.cross_entropy(out["policy"], move, reduction="sum"))
        decided = np.isfinite(batch.value)
        guess = expected_value(out["value"]).numpy()
        error += float(((guess - batch.value)[decided] ** 2).sum())
        known += int(decided.sum())
    return HeldOut(
        top1=top1 / max(boards, 1),
        top5=top5 / max(boards, 1),
        log_loss=loss / len(rows),
        value_mse=error / known if known else float("nan"),
        positions=len(rows),
        games=games,
    )


def under_ko_of(table: GameTable, rules: Rules) -> GameTable:
    """The same games, shown under the ko rule of `rules`, that of the self-play to come.

    Records are imported under simple ko, by which they were played. A plane tells the network the
    rule, and one that has seen a single value of it plays nonsense under the other. The few moves
    that superko would forbid are learnt all the same.
    """
    if "ko" not in rules:
        return table
    return replace(
        table, rules_table=tuple({**given, "ko": rules["ko"]} for given in table.rules_table)
    )


class Imitation:
    """Supervised training of a run's network on its imported records."""

    def __init__(self, run: Run, config: RunConfig, line: LiveLine) -> None:
        self.run, self.config, self.line = run, config, line
        game = get_game(config.game)
        folder = run.folder / "records"
        rules = {**game.rules, **config.selfplay.rules}
        train, held_out = (
            under_ko_of(read_shard(folder / f"{name}.h5"), rules) for name in ("train", "held_out")
        )
        self.games, self.held_out_games = len(train), len(held_out)
        self.window = ReplayWindow(game, VALUE_POSITIONS, config.seed)
        self.window.add(train)
        self.held_out = ReplayWindow(game, seed=config.seed)
        self.held_out.add(held_out)
        self.ledger = Ledger(run.folder / "ledger.jsonl")
        self.events = Events(run.folder / "tensorboard")
        info = run.latest()
        self.step = info.step
        device = choose_device(config.device)[0]
        threads = default_workers(device, config.workers, config.learner.batch_size)
        self.learner = Learner(load_network(info.path), config.learner, device, threads)
        state = run.load_state(info)
        if state is not None:
            self.learner.load_state_dict(state["learner"])
        self.flops = count_flops(self.learner.network)
        self.kept = {c.step for c in run.checkpoints()}
        self.kept_flops = info.totals.flops

    @property
    def epochs(self) -> float:
        """Passes over the learnable positions so far."""
        return self.learner.steps * self.config.learner.batch_size / self.window.rows

    def save(
        self, done: bool, samples: int, seconds: float, extra: dict[str, Any]
    ) -> CheckpointInfo:
        """Charge what was spent since the last save, and write a checkpoint."""
        self.ledger.append(
            "imitation",
            imitation_flops=TRAIN_FORWARDS * self.flops * samples,
            samples=samples,
            seconds=round(seconds, 3),
        )
        self.step += 1
        totals = self.ledger.totals
        milestone = done or totals.flops >= MILESTONE * self.kept_flops
        meta = {
            "stage": "imitation",
            "milestone": milestone,
            "done": done,
            "seed": self.config.seed,
            "rules": {**get_game(self.config.game).rules, **self.config.selfplay.rules},
            "totals": totals.to_dict(),
            "games_imitated": self.games,
            **extra,
        }
        state = None if done else {"learner": self.learner.state_dict()}
        info = self.run.save_checkpoint(self.step, self.learner.average, meta, state)
        if milestone:
            self.kept.add(self.step)
            self.kept_flops = totals.flops
        self.run.prune(self.kept)
        return info

    def _share(self, stop: Stop, epochs: float | None) -> float:
        """Share of the budget that is spent, 0 to 1: the learning rate's schedule follows it."""
        shares = [0.0]
        if stop.minutes is not None:
            shares.append((time.monotonic() - stop.started) / (60 * stop.minutes))
        if stop.flops is not None:
            shares.append(self.learner.steps * self._step_flops / stop.flops)
        if epochs is not None:
            shares.append(self.epochs / epochs)
        return min(1.0, max(shares))

    @property
    def _step_flops(self) -> float:
        return TRAIN_FORWARDS * self.flops * self.config.learner.batch_size

    def train(self, stop: Stop, epochs: float | None) -> CheckpointInfo:
        """Train until the budget is spent, judge, and write the prior; unfinished if interrupted."""
        size = self.config.learner.batch_size
        samples, since, shown = 0, time.monotonic(), dict[str, float]()
        while (share := self._share(stop, epochs)) < 1 and not stop.event.is_set():
            rng = np.random.default_rng([self.config.seed, 13, self.learner.steps])
            # Cosine decay to a fiftieth of the peak.
            rate = 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * share)))
            losses = self.learner.step(self.window.sample(size, rng), rate)
            shown = {k: 0.98 * shown.get(k, v) + 0.02 * v for k, v in losses.items()}
            samples += size
            self._show(shown, share, samples, since, stop)
            if time.monotonic() - since >= SAVE_SECONDS:
                self.save(False, samples, time.monotonic() - since, {})
                self.events.scalars(self.step, {f"imitation/{k}": v for k, v in shown.items()})
                samples, since = 0, time.monotonic()
        if stop.event.is_set():
            return self.save(False, samples, time.monotonic() - since, {})
        judged = evaluate(self.learner, self.held_out, self.held_out_games)
        self.events.scalars(self.step, {f"held out/{k}": v for k, v in asdict(judged).items()})
        info = self.save(True, samples, time.monotonic() - since, {"held_out": asdict(judged)})
        self.events.close()
        return info

    def _show(
        self, shown: dict[str, float], share: float, samples: int, since: float, stop: Stop
    ) -> None:
        rate = samples / max(1e-9, time.monotonic() - since)
        elapsed = time.monotonic() - stop.started
        left = clock(elapsed * (1 - share) / share) if share > 0.01 else "?"
        flops = self.ledger.totals.flops + TRAIN_FORWARDS * self.flops * samples
        heads = " ".join(f"{k} {v:.3f}" for k, v in shown.items() if k != "gradient_norm")
        self.line.show(
            f"{self.run.name} imitation | step {self.learner.steps} | epoch {self.epochs:.2f} | "
            f"{si(rate)} samples/s | loss {heads} | {si(flops)}FLOP | {left} left"
        )


def _import(run: Run, records: Sequence[Path], game: str, held_out: float, line: LiveLine) -> None:
    """Read the records into the run's folder, split by game."""

    def progress(games: int, share: float) -> None:
        line.show(f"importing: {games} games, {share:.0%}")

    table, report = load_records(list(records), game, progress)
    for text in report.lines():
        line.say(text)
    train, kept_back = split_by_hash(table, held_out)
    if not len(train) or not len(kept_back):
        raise UserError(
            f"too few games of {game} in the records: {len(train)} to learn, "
            f"{len(kept_back)} to hold out"
        )
    attributes = {"records": [path.name for path in records], "report": report.as_dict()}
    folder = run.folder / "records"
    folder.mkdir()
    write_shard(folder / "held_out.h5", table.select(kept_back), attributes)
    write_shard(folder / "train.h5", table.select(train), attributes)


def _open(
    folder: Path,
    records: Sequence[Path],
    options: tuple[str | None, str | None, int | None],
    config_file: Path | None,
    held_out: float,
    line: LiveLine,
) -> tuple[Run, RunConfig]:
    """The run in `folder`, made from `records` if it is not there; `options`: game, preset, seed."""
    if (folder / "run.json").is_file():
        run, config = reopen(folder, *options)
        if not (folder / "records").is_dir():
            raise UserError(f"run {folder.name} is a self-play run; use another --run for a prior")
        refuse_other_start(run, config, read_toml(config_file) if config_file else None)
        learnt = attributes(folder / "records" / "train.h5")["records"]
        if records and [path.name for path in records] != learnt:
            raise UserError(f"run {folder.name} imitates {', '.join(learnt)}; use another --run")
        return run, config
    if not records:
        raise UserError("no records given: --records PATH, a file, folder or archive of SGF")
    game, preset, seed = options
    values = read_toml(config_file) if config_file else None
    config = make_config(values, game=game, preset=preset, seed=seed)
    with Run.creating(folder, config.game, config.seed, dump_toml(config)) as fresh:
        _import(fresh, records, config.game, held_out, line)
        first_checkpoint(fresh, config, None)
    return Run.open(folder), config


def run_warmstart(
    records: Sequence[Path] = (),
    run: str = "warm",
    *,
    game: str | None = None,
    preset: str | None = None,
    minutes: float | None = None,
    flops: float | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    config_file: Path | None = None,
    held_out: float = 0.1,
    root: Path = ROOT,
    line: LiveLine | None = None,
) -> CheckpointInfo:
    """Imitate the games in `records` and leave the prior as the start of run `run`.

    The budget is the nearest of `minutes` (of training in this call), `flops` and `epochs`;
    `held_out` is the share of games kept back to judge it. An interrupted imitation goes on when called again.
    Raises UserError for bad input.
    """
    line = line or LiveLine()
    opened, config = _open(root / run, records, (game, preset, seed), config_file, held_out, line)
    stop = Stop(minutes, flops)  # the import does not count
    with opened.lock(), closing(line):
        info = opened.latest()
        if info.meta.get("stage") == "selfplay" or info.meta.get("done"):
            line.say(f"{opened.folder} has its prior already: ghostgo selfplay --run {run} goes on")
            return info
        if minutes is None and flops is None and epochs is None:
            epochs = DEFAULT_EPOCHS
        imitation = Imitation(opened, config, line)
        line.say(
            f"imitating {imitation.games} games ({si(imitation.window.rows)} positions), "
            f"{imitation.held_out_games} held out, with {config.network}"
        )
        with stop.on_interrupt():
            info = imitation.train(stop, epochs)
    line.close()
    _announce(info, opened, line)
    return info


def _announce(info: CheckpointInfo, run: Run, line: LiveLine) -> None:
    if not info.meta["done"]:
        line.say("stopped before the end; the same command goes on")
        return
    judged = HeldOut(**info.meta["held_out"])
    line.say(
        f"held out ({judged.positions} positions of {judged.games} games): "
        f"top-1 {judged.top1:.1%}, top-5 {judged.top5:.1%}, log loss {judged.log_loss:.3f}, "
        f"value MSE {judged.value_mse:.3f}"
    )
    line.say(
        f"prior written: {info.path} ({si(info.totals.imitation_flops)}FLOP); "
        f"ghostgo selfplay --run {run.name} continues from it"
    )
