"""An arena over runs that are still training: new checkpoints join, what is pruned does no harm."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from evidence import copies

from ghostgo import cli
from ghostgo.arena import follow, limits, progress
from ghostgo.arena.arena import run_arena
from ghostgo.arena.effort import Effort
from ghostgo.arena.follow import Follower
from ghostgo.arena.pool import Entry, PlayerOptions, Pool, build_pool
from ghostgo.arena.report import Report
from ghostgo.arena.results import read_results
from ghostgo.data.ledger import Totals
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

GAME = "tic_tac_toe"
CONFIG = """
network = "b1c8"
workers = 1
[selfplay]
games = 8
visits = 4
positions_per_iteration = 60
[learner]
batch_size = 16
"""


def write_checkpoint(run: Run, step: int, milestone: bool = True) -> None:
    torch.manual_seed(step)
    network = Network(get_game(GAME), NetworkConfig(1, 8))
    totals = Totals(selfplay_flops=1e9 * step)
    run.save_checkpoint(step, network, {"totals": totals.to_dict(), "milestone": milestone})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `scratch` with checkpoints 0 and 1, looked at often."""
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    monkeypatch.setattr(limits, "GAMES_PER_PLAYER", 16)
    with Run.creating(tmp_path / "scratch", GAME, 0, ""):
        pass
    run = Run.open(tmp_path / "scratch")
    for step in (0, 1):
        write_checkpoint(run, step)
    return run


def watch(run: Run, said: list[str]) -> tuple[Pool, Follower]:
    options = PlayerOptions(run.folder.parent)
    pool = build_pool([run.name], {}, None, ("random",), options)
    return pool, Follower(pool, {run.name: run}, options, lambda: None, said.append)


def names(pool: Pool) -> list[str]:
    return [entry.info.name for entry in pool.entries]


def test_a_run_in_training_gives_what_it_keeps_and_at_its_end_its_last(run: Run) -> None:
    pool, follower = watch(run, [])
    assert follower.look() == [] and follower.training == []
    lock = run.lock()
    write_checkpoint(run, 2)
    write_checkpoint(run, 3, milestone=False)
    time.sleep(0.06)
    (joined,) = follower.look()
    assert joined.info.name == "scratch@2" and follower.training == ["scratch"]
    assert [point.name for point in pool.points] == ["scratch@0", "scratch@1", "scratch@2"]
    time.sleep(0.06)
    assert follower.look() == [], "nobody joins twice, nor what will be dropped"
    run.prune({0, 1, 2})
    lock.release()
    time.sleep(0.06)
    (joined,) = follower.look()
    assert joined.info.name == "scratch@3" and follower.training == []
    assert follower.joined == 2


def test_looks_are_not_made_at_every_call(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOOK_EVERY", 60.0)
    _, follower = watch(run, [])
    follower.look()
    write_checkpoint(run, 2)
    assert follower.look() == []


def test_a_damaged_newcomer_is_told_once_and_left_out(run: Run) -> None:
    said: list[str] = []
    pool, follower = watch(run, said)
    write_checkpoint(run, 2)
    (run.folder / "checkpoints" / "00000002" / "weights.safetensors").write_bytes(b"torn")
    follower.look()
    time.sleep(0.06)
    follower.look()
    assert names(pool) == ["random", "scratch@0", "scratch@1"]
    assert len(said) == 1 and "its checksum differs" in said[0] and "left out" in said[0]


def test_a_newcomer_stands_at_every_rung(run: Run) -> None:
    options = PlayerOptions(run.folder.parent, ladder=(Effort(2), Effort(5)))
    pool = build_pool([run.name], {}, None, (), options)
    follower = Follower(pool, {run.name: run}, options, lambda: None, print)
    write_checkpoint(run, 2)
    assert [entry.info.name for entry in follower.look()] == ["scratch@2:2", "scratch@2:5"]


def test_asking_whether_a_run_is_in_use_never_stops_a_trainer(run: Run) -> None:
    stop, asked = threading.Event(), 0
    refused: list[UserError] = []

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            run.is_being_written()
            asked += 1

    asking = threading.Thread(target=ask)
    asking.start()
    until = time.monotonic() + 1
    while time.monotonic() < until and not refused:
        try:
            run.lock().release()
        except UserError as error:
            refused.append(error)
    stop.set()
    asking.join()
    assert asked > 10 and not refused


def test_a_trainer_that_writes_and_prunes_all_the_time_does_no_harm(run: Run) -> None:
    stop = threading.Event()

    def train() -> None:
        step = 2
        while not stop.is_set():
            write_checkpoint(run, step)
            run.prune({0})
            step += 1

    said: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        training = threads.submit(train)
        try:
            pool, follower = watch(run, said)
            until = time.monotonic() + 30
            while follower.joined < 10 and time.monotonic() < until:
                follower._next = 0.0
                follower.look()
                alone = build_pool([run.name], {}, None, (), PlayerOptions(run.folder.parent))
                assert alone.points
        finally:
            stop.set()
        training.result()
    assert not said
    assert follower.joined > 3
    assert len(set(names(pool))) == len(pool.entries)


def rated(root: Path) -> dict[str, int]:
    """Games of each player, by the report on disk."""
    path = root / "arena" / "arena.csv"
    if not path.exists():
        return {}
    with path.open() as file:
        return {line["player"]: int(line["games"]) for line in csv.DictReader(file)}


def wait_for(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until, "nothing came in two minutes"
        time.sleep(0.02)


def arena(root: Path, **options: Any) -> Report:
    given = {"visits": 2, "anchors": ("random", "mcts:5"), "parallel": 16, **options}
    return run_arena("scratch", None, root=root, **given)


def test_newcomers_are_rated_while_it_runs_and_it_ends_after_the_training(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    root, begun = run.folder.parent, threading.Event()

    def train() -> None:
        lock = run.lock()
        begun.set()
        try:
            wait_for(lambda: rated(root))
            assert set(rated(root)) == {"random", "mcts5", "scratch@0", "scratch@1"}
            write_checkpoint(run, 2)
            wait_for(lambda: rated(root).get("scratch@2", 0) >= 8)
            write_checkpoint(run, 3, milestone=False)
            write_checkpoint(run, 4, milestone=False)
            run.prune({0, 1, 2})
        finally:
            lock.release()

    with ThreadPoolExecutor(1) as threads:
        training = threads.submit(train)
        begun.wait()
        report = arena(root)
        training.result()
    games = {row.name: row.games for row in report.rows}
    steps = {f"scratch@{step}" for step in (0, 1, 2, 4)}
    assert set(games) == {"random", "mcts5", *steps}
    assert min(games.values()) >= 8
    counted = 16 * len(games) - copies(root / "arena")
    assert sum(games.values()) == 2 * counted, "16 games a player, newcomers counted"
    told = capsys.readouterr().err
    assert "scratch@2 joins" in told and "scratch@4 joins" in told
    assert "waiting for the next checkpoint of scratch" in told
    assert (report.html.read_text()).count("scratch@4") > 1
    # Games count on: what joined is known by its weights, whenever it is rated again.
    again = arena(root)
    assert [(r.name, r.elo, r.games) for r in again.rows] == [
        (r.name, r.elo, r.games) for r in report.rows
    ]


@pytest.mark.parametrize(
    "limit", [{"games": 40}, {"minutes": 0.03}, {"width": 600.0}, {"follow": False}]
)
def test_limits_hold_while_a_run_is_in_training(run: Run, limit: dict[str, Any]) -> None:
    lock = run.lock()
    try:
        begun = time.monotonic()
        report = arena(run.folder.parent, **limit)
        assert time.monotonic() - begun < 30
    finally:
        lock.release()
    if "games" in limit:
        assert sum(row.games for row in report.rows) == 80 - 2 * copies(report.csv.parent)


@pytest.mark.parametrize(
    ("options", "joins"), [({}, True), ({"checkpoints": 2}, False), ({"follow": False}, False)]
)
def test_nobody_joins_who_is_not_wanted(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], joins: bool
) -> None:
    real = Follower.look

    def look(self: Follower) -> list[Entry]:
        if 7 not in {info.step for info in run.checkpoints()}:
            write_checkpoint(run, 7)
        return real(self)

    monkeypatch.setattr(Follower, "look", look)
    report = arena(run.folder.parent, games=60, **options)
    assert ("scratch@7" in {row.name for row in report.rows}) == joins


def test_two_real_trainings_are_followed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GAMES_PER_PLAYER", 16)
    (tmp_path / "c.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "ghostgo", "selfplay", "--config", "c.toml"]
    started = [*command, "--game", GAME, "--run", "prior", "--seed", "1", "--games", "20"]
    subprocess.run(started, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    trainers = [
        subprocess.Popen([*command, *words], cwd=tmp_path, stdout=subprocess.DEVNULL)
        for words in (
            ["--game", GAME, "--run", "scratch", "--games", "200"],
            ["--from", "prior", "--run", "warm", "--games", "200"],
        )
    ]
    root, both = tmp_path / "runs", ("scratch", "warm")
    try:
        wait_for(lambda: all(len(list((root / x / "checkpoints").glob("0*"))) > 1 for x in both))
        # What the user types: its runs are the verb's defaults.
        arguments = ["arena", "--a", "scratch", "--b", "warm", "--root", str(root)]
        assert cli.run([*arguments, "--visits", "2"]) == 0
        assert [trainer.wait(timeout=120) for trainer in trainers] == [0, 0]
    finally:
        for trainer in trainers:
            trainer.kill()
            trainer.wait()
    shown = capsys.readouterr()
    known = {pair_name for pair in read_results(root / "arena" / "results.jsonl")
             for pair_name in (pair.a.name, pair.b.name)}  # fmt: skip
    for name in both:
        infos = Run.open(root / name).checkpoints()
        # The spare one before the newest is not rated, unless it is a milestone.
        infos = [x for x in infos if x is infos[-1] or x.meta.get("milestone", True)]
        steps = [info.step for info in infos]
        assert len(steps) > 3 and {f"{name}@{step}" for step in steps} <= known
        assert f"{name}@{steps[-1]} joins" in shown.err
