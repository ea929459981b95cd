"""`ghostgo bench --run`: which backend computes a run's network best on this machine.

First how exact each is on positions of real play, then how fast; the choice goes into the run's
folder (`ghostgo.data.choice`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import torch

from ghostgo.bench import BATCH, side_by_side
from ghostgo.data.choice import FILE, Choice, Int8, write_choice
from ghostgo.data.positions import Positions, draw
from ghostgo.data.records import GameTable, concat
from ghostgo.data.run import Run, load_network
from ghostgo.data.shards import read_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import (
    BACKENDS,
    NetworkEvaluator,
    backend_works,
    choose_device,
    make_evaluator,
)
from ghostgo.engine.exactness import LIMITS, Exactness, compare, judge
from ghostgo.engine.network import Network
from ghostgo.engine.quantise import Calibration, calibrate
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor

JUDGED, CALIBRATION = 10_000, 512
"""Positions that backends are compared on, and others of other games to calibrate int8 with."""
SIMULATIONS = 4
"""A move, where the network has to play these games first."""


def _play(network: Network, device: str, positions: int) -> GameTable:
    """Games of the network with itself, of so many positions in all."""
    evaluator = make_evaluator(network, BATCH, device)
    search = SearchConfig(explore=True)
    actor = Actor(network.game, evaluator, BATCH, SIMULATIONS, search, opening_plies=4)
    while actor.positions < positions:
        actor.step()
    return actor.take()


def real_positions(run: Run, network: Network, device: str) -> tuple[Positions, Positions, str]:
    """Positions to judge backends on, others to calibrate int8 with, and where they are from.

    The first are of the run's newest games, the others of older ones; where it has too few, the
    network plays them. Raises UserError if a shard is damaged.
    """
    # What is left of the game in which the first part ends belongs to neither.
    wanted, count = JUDGED + CALIBRATION + network.game.max_moves, 0
    tables: list[GameTable] = []
    for path in sorted(run.shards.glob("*.h5"), reverse=True):
        if count < wanted and (table := read_shard(path)).game == run.game:
            tables.append(table)
            count += table.positions
    source = "of the run's newest games"
    if count < wanted:
        tables, source = [_play(network, device, wanted)], "that it played for this"
    games = concat(tables)
    # The newest shard stands first.
    first = int(np.searchsorted(games.offsets, JUDGED))
    held_out, others = (games.select(part) for part in np.split(np.arange(len(games)), [first]))
    return (
        draw(network.game, held_out, JUDGED, 0),
        draw(network.game, others, CALIBRATION, 1),
        source,
    )


def _evaluators(
    network: Network, device: str, calibration: Calibration | None
) -> dict[str, NetworkEvaluator]:
    """An evaluator of every backend that works here; says which do not, and why."""
    found = {}
    for name in BACKENDS:
        if name == "int8" and calibration is None:
            continue
        works, why = backend_works(name, device)
        if works:
            given = calibration if name == "int8" else None
            found[name] = make_evaluator(network, BATCH, device, name, given)
        else:
            click.echo(f"{name:9} left out: {why}")
    return found


def _full_batch(evaluator: NetworkEvaluator) -> Callable[[], int]:
    def work() -> int:
        evaluator.evaluate(BATCH)
        return BATCH

    return work


def choose(
    device: str, exactness: dict[str, Exactness], rates: dict[str, float], int8: Int8 | None
) -> Choice:
    """The fastest backend that is exact enough for any weights, and why."""
    exact = [name for name, found in exactness.items() if found.admits and name != "int8"]
    best = max(exact, key=lambda name: rates[name])
    others = (f"{rates[best] / rates[name]:.2f} times {name}" for name in exact if name != best)
    why = f"the fastest that is exact enough: {', '.join(others) or 'there is no other'}"
    measured = {
        name: {"evaluations_per_second": rates[name], **asdict(found)}
        for name, found in exactness.items()
    }
    positions = exactness[best].positions
    return Choice(device.partition(":")[0], best, why, positions, BATCH, measured, int8)


def _report(choice: Choice, exactness: dict[str, Exactness]) -> None:
    for name, found in exactness.items():
        rate = choice.measured[name]["evaluations_per_second"]
        verdict = "" if found.admits else ": not exact enough"
        click.echo(f"{name:9} {rate:9,.0f} evaluations/s, {found}{verdict}")
    click.echo(f"chosen: {choice.backend}, {choice.why}")
    if choice.int8 is None:
        click.echo("int8 was not tried (--int8)")
        return
    verdict = "admitted for this checkpoint" if choice.int8.admitted else "refused"
    click.echo(f"int8: {verdict}; limits: {LIMITS}")


def bench_run(run: str, int8: bool, seconds: float, root: Path) -> Choice:
    """Measure the backends for the newest checkpoint of `run`, print, and write the choice.

    With `int8`, that too: it is admitted for this checkpoint's weights if it is exact enough and
    faster than the rest. Raises UserError if there is no such run, or `int8` cannot be tried here.
    """
    opened = Run.open(root / run)
    info = opened.latest()
    network = load_network(info.path)
    device, why = choose_device()
    if int8 and not backend_works("int8", device)[0]:
        raise UserError(f"int8 cannot be tried: {backend_works('int8', device)[1]}")
    if device == "cpu":
        torch.set_num_threads(1)
    judged, others, source = real_positions(opened, network, device)
    name = f"{info.run}@{info.step}"
    click.echo(
        f"{name}: {network.game.name}, {network.config.name}, {device} ({why}), one thread, "
        f"{len(judged.legal):,} positions {source}"
    )
    calibration = calibrate(network, others.planes) if int8 else None
    found = _evaluators(network, device, calibration)
    answers = {each: judge(evaluator, judged.planes) for each, evaluator in found.items()}
    exactness = {each: compare(answers["fp32"], a, judged.legal) for each, a in answers.items()}
    rates = side_by_side({each: _full_batch(e) for each, e in found.items()}, seconds)
    tried = None
    if calibration is not None:
        fastest = max(rates, key=lambda each: rates[each]) == "int8"
        admitted = exactness["int8"].admits and fastest
        tried = Int8(info.meta["sha256"], admitted, [list(each) for each in calibration])
    choice = choose(device, exactness, rates, tried)
    _report(choice, exactness)
    write_choice(opened.folder, choice)
    click.echo(f"written to {opened.folder / FILE}")
    return choice
