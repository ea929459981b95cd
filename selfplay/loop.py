"""The verb `selfplay`: make or resume a run and train it until the budget is spent."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ghostgo.data.checkpoints import split_of
from ghostgo.data.config import dump_toml, from_mapping, overlay, read_toml, to_mapping
from ghostgo.data.ledger import Ledger
from ghostgo.data.run import ROOT, CheckpointInfo, Run, find_checkpoint, load_network
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernels_are_cached
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.anchor import HELD_OUT_SHARE, held_out_share, keep_prior, resolved
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import RunConfig, make_config, rule_sets
from ghostgo.selfplay.monitor import LiveLine, si
from ghostgo.selfplay.trainer import Trainer


def reopen(
    folder: Path,
    game: str | None,
    preset: str | None,
    seed: int | None,
    anchor: str | None = None,
) -> tuple[Run, RunConfig]:
    """The run in `folder` and its config; options that contradict it are refused by name."""
    run, name = Run.open(folder), folder.name
    values = read_toml(folder / "config.toml")
    # A run from before there were these goes on without them.
    before = {"selfplay": {"decided_share": 0.0}, "learner": {"score_cdf": 0.0}}
    values = without_idle(overlay(before, values))
    config = from_mapping(RunConfig, values, f"{name}/config.toml")
    config.validated()
    for option, asked, has in (
        ("--game", game, config.game),
        ("--preset", preset, config.preset),
        ("--seed", seed, config.seed),
        ("--anchor", anchor, config.anchor.kind),
    ):
        if asked is not None and asked != has:
            raise UserError(f"run {name} has {option} {has}, not {asked}; use another --run")
    return run, config


def without_idle(values: dict[str, Any]) -> dict[str, Any]:
    """A run's config without what only a PUCT root has, if its root is another.

    Earlier versions took these keys and passed over them; new runs are refused them.
    """
    search, play = dict(values.get("search", {})), dict(values.get("selfplay", {}))
    if search.get("root", SearchConfig().root) != "puct":
        play.pop("sampled_moves", None)
    if search.get("root", SearchConfig().root) != "puct" or not search.get("explore", True):
        for name in ("dirichlet_total", "dirichlet_weight"):
            search.pop(name, None)
    return {**values, "search": search, "selfplay": play}


def given_options(
    game: str | None, preset: str | None, seed: int | None, anchor: str | None
) -> dict[str, Any]:
    """The options that were given, as values of a config file."""
    held = None if anchor is None else {"kind": anchor}
    options = {"game": game, "preset": preset, "seed": seed, "anchor": held}
    return {key: value for key, value in options.items() if value is not None}


def refuse_other_start(
    run: Run,
    config: RunConfig,
    values: dict[str, Any] | None,
    given: dict[str, Any],
    start: str | None = None,
) -> None:
    """Raise UserError if a config file's `values` or `start` are not what the run was made with.

    The options `given` go over the file, as they did when the run was made: the same command again
    is no contradiction.
    """
    if start is not None and start != run.header.get("from"):
        has = run.header.get("from") or "random weights"
        raise UserError(f"run {run.name} started from {has}, not {start}; use another --run")
    if values is None:
        return
    mine = to_mapping(config)
    values = overlay(values, given)
    # Names keys that do not exist.
    make_config(
        values,
        preset=values.get("preset", config.preset),
        game=values.get("game", config.game),
    )
    # What the file leaves open is as the run has it, whatever the defaults are by now.
    wanted = overlay(mine, values)
    if wanted["selfplay"]["positions_per_iteration"] == 0:  # derived when the run was made
        wanted["selfplay"]["positions_per_iteration"] = config.selfplay.positions_per_iteration
    if wanted["anchor"]["fade_share"]:  # likewise
        wanted["anchor"]["fade_flops"] = config.anchor.fade_flops
    for key, value in wanted.items():
        if key != "workers" and value != mine[key]:
            raise UserError(
                f"run {run.name} was made with another {key} than the --config file says; "
                "use another --run"
            )


def open_run(
    name: str,
    root: Path,
    *,
    game: str | None,
    preset: str | None,
    start: str | None,
    seed: int | None,
    config_file: Path | None,
    workers: int | None,
    anchor: str | None = None,
    flops: float | None = None,
) -> tuple[Run, RunConfig, bool]:
    """The run `name` below `root`, made if it is not there, and whether it is new.

    A run that exists keeps its config, so that one run never mixes two; of `flops`, the budget, a new
    one may take a share (`AnchorConfig.fade_share`). Raises UserError.
    """
    folder = root / name
    values = read_toml(config_file) if config_file else None
    given = given_options(game, preset, seed, anchor)
    if (folder / "run.json").is_file():
        run, config = reopen(folder, game, preset, seed, anchor)
        refuse_other_start(run, config, values, given, start)
        if workers is not None:
            config = from_mapping(RunConfig, {**to_mapping(config), "workers": workers})
        return run, config, False
    source = find_checkpoint(start, root) if start else None
    if workers is not None:
        given["workers"] = workers
    if source is not None:
        given |= _as_the_prior(source, str(start), overlay(values or {}, given))
    config = make_config(values, **given)
    if source is None and config.anchor.kind != "init":
        raise UserError(f"--anchor {config.anchor.kind} needs a prior: name it with --from")
    spent = 0.0 if source is None else source.totals.flops
    config = replace(config, anchor=resolved(config.anchor, flops, spent))
    with Run.creating(folder, config.game, config.seed, dump_toml(config), start) as fresh:
        first_checkpoint(fresh, config, source)
        if source is not None:
            keep_prior(fresh, source, config.anchor, str(start))
    return Run.open(folder), config, True


def _as_the_prior(source: CheckpointInfo, start: str, asked: dict[str, Any]) -> dict[str, str]:
    """The game of the prior `source`, and its network where `asked`, file and options, leaves it open.

    Arms of one prior then have networks of one size, whether its weights start them or not. Raises
    UserError if another game is asked for, or another network and its weights are to start the run.
    """
    has = str(source.meta["game"])
    if asked.get("game", has) != has:
        raise UserError(f"--from {start} plays {has}, not {asked['game']}")
    network = NetworkConfig(**source.meta["network"]).name
    if "network" not in asked:
        return {"game": has, "network": network}
    # A kind or a table that makes no sense is refused where the config is made.
    held = asked.get("anchor")
    if not (isinstance(held, dict) and held.get("kind") == "root") and asked["network"] != network:
        raise UserError(
            f"config: network = {asked['network']!r}: --from {start} has {network}; leave it out, "
            "or start from random weights with --anchor root"
        )
    return {"game": has}


def first_checkpoint(run: Run, config: RunConfig, source: CheckpointInfo | None) -> None:
    """Write checkpoint 0: random weights from the seed, or those of `source`, but as a root's anchor.

    What the source had spent is charged to this run.
    """
    ledger = Ledger(run.folder / "ledger.jsonl")
    game = get_game(config.game)
    if source is None or config.anchor.kind == "root":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = Network(game, NetworkConfig.preset(config.network))
    else:
        network = load_network(source.path)
    if source is not None:
        # Its games are not among this run's.
        spent = source.totals.to_dict() | {"games": 0, "positions": 0}
        spent.pop("flops")
        ledger.append("imitation" if spent["imitation_flops"] else "selfplay", "", **spent)
    meta = {
        "stage": "start",
        "seed": config.seed,
        "rules": rule_sets(config.selfplay, game)[0],
        "totals": ledger.totals.to_dict(),
        "from": source.meta["sha256"] if source else None,
        HELD_OUT_SHARE: held_out_share(source) if source else None,
        **split_of(source),
    }
    run.save_checkpoint(0, network, meta)


def run_selfplay(
    run: str = "scratch",
    *,
    game: str | None = None,
    preset: str | None = None,
    start: str | None = None,
    minutes: float | None = None,
    flops: float | None = None,
    games: int | None = None,
    seed: int | None = None,
    config_file: Path | None = None,
    workers: int | None = None,
    anchor: str | None = None,
    root: Path = ROOT,
    line: LiveLine | None = None,
) -> CheckpointInfo:
    """Train the run `run` by self-play, making or resuming it; returns its newest checkpoint.

    `minutes` is for this call, `flops` and `games` are totals of the run; without any of them it
    goes on until interrupted. `start` is a checkpoint (see `find_checkpoint`) to begin from, held
    on to as `anchor` says (see `ghostgo.selfplay.anchor`).
    Raises UserError for bad input, and whatever a worker raised.
    """
    line = line or LiveLine()
    opened, config, new = open_run(
        run, root, game=game, preset=preset, start=start, seed=seed, config_file=config_file,
        workers=workers, anchor=anchor, flops=flops,
    )  # fmt: skip
    with opened.lock(), closing(line):
        if told := opened.set_damaged_apart():
            line.say(told)
        stage = opened.latest().meta
        if stage.get("stage") == "imitation" and not stage.get("done"):
            raise UserError(f"run {run} has not finished imitating; ghostgo warmstart --run {run}")
        cached = kernels_are_cached()  # before the first kernel runs
        trainer = Trainer(opened, config, line)
        line.say(_heading(trainer, new))
        if not cached:
            line.say("compiling kernels (once on this machine, about a minute)")
        stop = Stop(minutes, flops, games)
        trainer.share_before = stop.share(trainer.ledger.totals) or 0.0
        with stop.on_interrupt():
            trainer.measure_raw_rate()
            while not stop.reached(trainer.ledger.totals):
                trainer.iterate(stop)
        line.close()
        info = opened.latest()
        speed = trainer.throughput.text()
        line.say(
            f"stopped: {stop.reason}; checkpoint {info.step}, {trainer.ledger.totals.games} games, "
            f"{si(trainer.ledger.totals.flops)}FLOP; {speed}{'; ' if speed else ''}"
            "the same command goes on"
        )
        return info


def _heading(trainer: Trainer, new: bool) -> str:
    """What is about to run, in one line."""
    config, totals = trainer.config, trainer.ledger.totals
    boards = config.game
    if len(trainer.boards) > 1:
        boards = " + ".join(f"{board.game.name} {board.share:.0%}" for board in trainer.boards)
    return (
        f"{'new run' if new else 'resuming'} {trainer.run.folder}: {boards}, "
        f"{config.network}, {config.selfplay.games} games on {trainer.workers} worker(s), "
        f"device {trainer.device}, trained in {trainer.learner.format}"
        f"{'' if new else f', {totals.games} games and {si(totals.flops)}FLOP so far'}"
    )
