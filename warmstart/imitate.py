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
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostgo.data.archives import name_of, size_of
from ghostgo.data.config import dump_toml, read_toml
from ghostgo.data.ledger import TRAIN_FORWARDS, Ledger, Timer
from ghostgo.data.records import under_ko_of, under_kos_of
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import ROOT, CheckpointInfo, Run, load_network, load_state
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.data.split import SPLIT
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import NetworkConfig, count_flops
from ghostgo.selfplay.anchor import HELD_OUT_SHARE, VALUE_POSITIONS, resolved
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import RunConfig, default_workers, make_config, rule_sets
from ghostgo.selfplay.faults import trained
from ghostgo.selfplay.feeding import Drawn, Feeder
from ghostgo.selfplay.learner import Learner
from ghostgo.selfplay.loop import first_checkpoint, given_options, refuse_other_start, reopen
from ghostgo.selfplay.monitor import Events, LiveLine, clock, si
from ghostgo.selfplay.precision import choose_format
from ghostgo.selfplay.trainer import MILESTONE
from ghostgo.warmstart.control import permute_moves, steps_of, take_subset
from ghostgo.warmstart.evaluate import HeldOut, evaluate
from ghostgo.warmstart.select import split_by_hash
from ghostgo.warmstart.store import load_records, refuse_other_records
from ghostgo.warmstart.table import without_nan

RANK_DROPOUT = 0.2
"""Share of positions whose rank a network that is told ranks does not hear, so that it can also play
without being told one, as self-play does."""
COUNTING_DROPOUT = 0.2
"""The same of how the points of a game are counted."""
DEFAULT_EPOCHS = 3.0
"""Passes over the records where no budget is given."""
SAVE_SECONDS = 30.0
"""Seconds of imitation that a kill can cost."""


HELD_OUT = 0.1
"""Share of games kept back where none is given."""


class Records(NamedTuple):
    """What is made of the records."""

    held_out: float | None
    """Share of games kept back; None: `HELD_OUT`."""
    subset: int | None
    """So many of the others are learnt; None: all."""
    permute: bool
    """Whether a legal move at random is learnt in place of each one played."""
    most_of_player: float | None
    """No player is in more than this share of the games; None: as many as there are."""

    @property
    def share(self) -> float:
        """Share of games kept back."""
        return HELD_OUT if self.held_out is None else self.held_out


class Imitation:
    """Supervised training of a run's network on its imported records."""

    def __init__(self, run: Run, config: RunConfig, line: LiveLine) -> None:
        self.run, self.config, self.line = run, config, line
        game = get_game(config.game)
        folder = run.folder / "records"
        rules = rule_sets(config.selfplay, game)
        train, held_out = (read_shard(folder / f"{name}.h5") for name in ("train", "held_out"))
        self.games, self.held_out_games = len(train), len(held_out)
        told = NetworkConfig.preset(config.network).counting
        self.split = attributes(folder / "train.h5").get("split", 1)  # older runs do not tell it
        self.window = ReplayWindow(
            game, VALUE_POSITIONS, config.seed, rank_dropout=RANK_DROPOUT,
            counting_dropout=COUNTING_DROPOUT if told else 0.0,
            symmetries=config.learner.symmetries,
        )  # fmt: skip
        self.window.add_parts(under_kos_of(train, rules), "train.h5")
        self.held_out = ReplayWindow(game, seed=config.seed)
        self.held_out.add(under_ko_of(held_out, rules[0]))
        self.made = attributes(folder / "train.h5")
        self.ledger = Ledger(run.folder / "ledger.jsonl")
        self.seconds_before = self.ledger.totals.seconds
        self.events = Events(run.folder / "tensorboard", line.say)
        info = run.latest()
        self.step = info.step
        device = choose_device(config.device)[0]
        threads = default_workers(device, config.workers, config.learner.batch_size)
        self.learner = Learner(load_network(info.path), config.learner, device, threads)
        state = load_state(info)
        if state is not None:
            self.learner.load_state_dict(state["learner"])
        else:
            choose_format(self.learner)
        self.flops = count_flops(self.learner.network)
        self.kept = {c.step for c in run.checkpoints([])}
        self.kept_flops = info.totals.flops

    @property
    def epochs(self) -> float:
        """Passes over the learnable positions so far."""
        return self.learner.steps * self.config.learner.batch_size / self.window.rows

    def save(self, done: bool, samples: int, timer: Timer, extra: dict[str, Any]) -> CheckpointInfo:
        """Charge what was spent since the last save, and write a checkpoint."""
        self.ledger.append(
            "imitation",
            "",
            imitation_flops=TRAIN_FORWARDS * self.flops * samples,
            samples=samples,
            **timer.amounts(),
        )
        self.step += 1
        totals = self.ledger.totals
        milestone = done or totals.flops >= MILESTONE * self.kept_flops
        meta = {
            "stage": "imitation",
            "milestone": milestone,
            "done": done,
            "seed": self.config.seed,
            "rules": rule_sets(self.config.selfplay, get_game(self.config.game))[0],
            "totals": totals.to_dict(),
            "games_imitated": self.games,
            "split": self.split,
            "trained_in": self.learner.format,
            **extra,
        }
        state = None if done else {"learner": self.learner.state_dict()}
        info = self.run.save_checkpoint(self.step, self.learner.average, meta, state)
        if milestone:
            self.kept.add(self.step)
            self.kept_flops = totals.flops
        self.run.prune(self.kept, newest=1)
        return info

    def _share(self, stop: Stop, epochs: float | None) -> float:
        """Share of the budget that is spent, 0 to 1: the learning rate's schedule follows it."""
        shares = [0.0]
        if stop.minutes is not None:
            spent = self.seconds_before + time.monotonic() - stop.started
            shares.append(spent / (60 * stop.minutes))
        if stop.flops is not None:
            shares.append(self.learner.steps * self._step_flops / stop.flops)
        if epochs is not None:
            shares.append(self.epochs / epochs)
        return min(1.0, max(shares))

    @property
    def _step_flops(self) -> float:
        return TRAIN_FORWARDS * self.flops * self.config.learner.batch_size

    def _draw(self, step: int) -> Drawn:
        rng = np.random.default_rng([self.config.seed, 13, step])
        batch = self.window.sample(self.config.learner.batch_size, rng)
        return Drawn(batch, self.window.game)

    def train(self, stop: Stop, epochs: float | None) -> CheckpointInfo:
        """Train until the budget is spent, judge, and write the prior; unfinished if interrupted."""
        samples, timer, shown = 0, Timer(), dict[str, float]()
        before = self._share(stop, epochs)
        if before < 1 and not stop.event.is_set():
            self.learner.begin(self.window, self.config.seed)
        with Feeder(self._draw) as feeder:
            while (share := self._share(stop, epochs)) < 1 and not stop.event.is_set():
                # Cosine decay to a fiftieth of the peak.
                rate = 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * share)))
                drawn = feeder.take(self.learner.steps)
                losses = trained(self.learner, drawn, self.run, rate)
                shown = {k: 0.98 * shown.get(k, v) + 0.02 * v for k, v in losses.items()}
                samples += len(drawn.batch)
                done = (share - before) / (1 - before)
                self._show(shown, done, samples, timer, stop)
                if timer.seconds >= SAVE_SECONDS:
                    self.save(False, samples, timer, {})
                    self.events.scalars(self.step, {f"imitation/{k}": v for k, v in shown.items()})
                    samples, timer = 0, Timer()
        if stop.event.is_set():
            return self.save(False, samples, timer, {})
        judged = asdict(evaluate(self.learner, self.held_out, self.held_out_games))
        self.events.scalars(self.step, {f"held out/{k}": v for k, v in judged.items()})
        what = {name: self.made.get(name) for name in ("records", "steps")}
        what |= {HELD_OUT_SHARE: self.made.get("held_out"), "held_out": without_nan(judged)}
        return self.save(True, samples, timer, what)

    def _show(
        self, shown: dict[str, float], share: float, samples: int, timer: Timer, stop: Stop
    ) -> None:
        """The live line, at this `share` of what this call has to do."""
        rate = samples / max(1e-9, timer.seconds)
        elapsed = time.monotonic() - stop.started
        left = clock(elapsed * (1 - share) / share) if share > 0.01 else "?"
        flops = self.ledger.totals.flops + TRAIN_FORWARDS * self.flops * samples
        heads = " ".join(f"{k} {v:.3f}" for k, v in shown.items() if k != "gradient_norm")
        self.line.show(
            f"{self.run.name} imitation | step {self.learner.steps} | epoch {self.epochs:.2f} | "
            f"{si(rate)} samples/s | loss {heads} | {si(flops)}FLOP | {left} left"
        )


def _import(
    run: Run, records: Sequence[Path], config: RunConfig, given: Records, line: LiveLine
) -> None:
    """Read the records into the run's folder, split by game."""
    game = config.game

    def progress(games: int, share: float) -> None:
        line.show(f"importing: {games} games, {share:.0%}")

    table, report = load_records(list(records), game, progress, given.most_of_player)
    for text in report.lines():
        line.say(text)
    train, kept_back = split_by_hash(table, given.share)
    to_learn, to_judge = table.select(train), table.select(kept_back)
    if given.subset is not None:
        to_learn = take_subset(to_learn, given.subset)
    # Of a run's games some may have nothing to learn: random openings, cheap searches.
    if not (to_learn.weights > 0).any() or not (to_judge.weights > 0).any():
        raise UserError(
            f"too few games of {game} in the records: {len(to_learn)} to learn, "
            f"{len(to_judge)} to hold out"
        )
    if given.permute:
        to_learn = permute_moves(to_learn, config.seed)
    attributes = {
        "records": [name_of(path) for path in records],
        "bytes": [size_of(path) for path in records],
        "report": report.as_dict(),
        "held_out": given.share,
        "subset": given.subset,
        "permuted": given.permute,
        "steps": steps_of(records[0]),
        "most_of_player": given.most_of_player,
        "split": SPLIT,
    }
    folder = run.folder / "records"
    folder.mkdir()
    write_shard(folder / "held_out.h5", to_judge, attributes)
    write_shard(folder / "train.h5", to_learn, attributes)


def _refuse_others(name: str, given: Records, made: dict[str, Any], whole: bool) -> None:
    """Raise UserError if `given` is not what the records of run `name` were `made` with.

    What was not given stands for its default in a `whole` command, which names the records, and
    for what the run has in any other.
    """
    # Runs made before there were controls have none, and those before shares were stored no share.
    share = made.get("held_out", given.share)
    if given.share != share and (whole or given.held_out is not None):
        raise UserError(f"run {name} has --held-out {share}, not {given.share}; use another --run")
    subset = made.get("subset")
    if given.subset != subset and (whole or given.subset is not None):
        raise UserError(f"run {name} has --subset {subset}; use another --run")
    most = made.get("most_of_player")
    if given.most_of_player != most and (whole or given.most_of_player is not None):
        raise UserError(f"run {name} has --most-of-player {most}; use another --run")
    permuted = bool(made.get("permuted"))
    if given.permute != permuted and (whole or given.permute):
        moves = "any legal moves, by --permute," if permuted else "moves as played"
        raise UserError(f"run {name} imitates {moves}; use another --run")


def _open(
    folder: Path,
    records: Sequence[Path],
    options: tuple[str | None, str | None, int | None, str | None],
    config_file: Path | None,
    given: Records,
    line: LiveLine,
) -> tuple[Run, RunConfig]:
    """The run in `folder`, made from `records` if it is not there.

    `options` are game, preset, seed and anchor.
    """
    if (folder / "run.json").is_file():
        run, config = reopen(folder, *options)
        if not (folder / "records").is_dir():
            raise UserError(f"run {folder.name} is a self-play run; use another --run for a prior")
        values = read_toml(config_file) if config_file else None
        refuse_other_start(run, config, values, given_options(*options))
        made = attributes(folder / "records" / "train.h5")
        refuse_other_records(folder.name, records, made)
        _refuse_others(folder.name, given, made, whole=bool(records))
        return run, config
    if not records:
        raise UserError("no records given: --records PATH, a file, folder or archive of SGF")
    values = read_toml(config_file) if config_file else None
    config = make_config(values, **given_options(*options))
    if config.anchor.kind == "root":
        raise UserError(
            "--anchor root starts from random weights: make the prior, then "
            "ghostgo selfplay --from PRIOR --anchor root"
        )
    resolved(config.anchor, None)  # --flops is imitation's here
    with Run.creating(folder, config.game, config.seed, dump_toml(config)) as fresh:
        _import(fresh, records, config, given, line)
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
    held_out: float | None = None,
    subset: int | None = None,
    permute: bool = False,
    most_of_player: float | None = None,
    anchor: str | None = None,
    root: Path = ROOT,
    line: LiveLine | None = None,
) -> CheckpointInfo:
    """Imitate the games in `records` and leave the prior as the start of run `run`.

    `records` may also be one run's folder: the games that it played are imitated then. As controls,
    only `subset` games are learnt, or with `permute` any legal move in place of each one played.
    No player is in more than the share `most_of_player` of the games.

    The budget is the nearest of `minutes` (of training, earlier calls included), `flops` and
    `epochs`; `held_out` is the share of games kept back to judge it, by default `HELD_OUT`;
    self-play will hold on to the prior as `anchor` says. An interrupted imitation goes on when called
    again.
    Raises UserError for bad input.
    """
    line = line or LiveLine()
    options = (game, preset, seed, anchor)
    given = Records(held_out, subset, permute, most_of_player)
    opened, config = _open(root / run, records, options, config_file, given, line)
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
            f"{imitation.held_out_games} held out, with {config.network} in "
            f"{imitation.learner.format}"
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
    judged = HeldOut.from_dict(info.meta["held_out"])
    line.say(
        f"held out ({judged.positions} positions of {judged.games} games): "
        f"top-1 {judged.top1:.1%}, top-5 {judged.top5:.1%}, log loss {judged.log_loss:.3f}, "
        f"value MSE {judged.value_mse:.3f}"
    )
    line.say(
        f"prior written: {info.path} ({si(info.totals.imitation_flops)}FLOP); "
        f"ghostgo selfplay --run {run.name} continues from it"
    )
