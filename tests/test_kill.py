"""Kill -9 at random moments: the next start resumes, and nothing already reported is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sizes import teacher_records

from ghostgo import cli
from ghostgo.data.ledger import read_ledger
from ghostgo.data.run import Run, load_network
from ghostgo.data.shards import read_shard

CONFIG = """
network = "b1c8"
[selfplay]
games = 16
visits = 4
positions_per_iteration = 100
[learner]
batch_size = 16
"""
KILLS = 3
Snapshot = dict[str, list[str]]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")


def ghostgo(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ghostgo", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_for(process: subprocess.Popen[str], reported: Callable[[], int]) -> None:
    """Wait until the process has reported something new."""
    before, deadline = reported(), time.monotonic() + 120
    while reported() == before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no progress in two minutes"
        time.sleep(0.02)


def kill_after_progress(
    process: subprocess.Popen[str], reported: Callable[[], int], rng: random.Random
) -> None:
    """SIGKILL a random moment after the process has reported something new."""
    wait_for(process, reported)
    time.sleep(rng.uniform(0, 0.6))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finish(process: subprocess.Popen[str]) -> str:
    errors = process.communicate(timeout=240)[1]
    assert process.returncode == 0, errors
    return errors


def ledger_rows(run: Path) -> list[str]:
    path = run / "ledger.jsonl"
    return [json.dumps(row) for row in read_ledger(path)] if path.exists() else []


def assert_kept(before: list[str], after: list[str]) -> None:
    assert after[: len(before)] == before


def test_selfplay(tmp_path: Path) -> None:
    rng = random.Random(1)
    (tmp_path / "c.toml").write_text(CONFIG)
    run = tmp_path / "runs" / "scratch"
    words = ["selfplay", "--game", "tic_tac_toe", "--config", "c.toml"]
    rows: list[str] = []
    shards: dict[str, bytes] = {}
    for _ in range(KILLS):
        kill_after_progress(ghostgo(tmp_path, *words), lambda: len(ledger_rows(run)), rng)
        now = ledger_rows(run)
        assert_kept(rows, now)
        assert all((run / "shards" / name).read_bytes() == old for name, old in shards.items())
        shards = {path.name: path.read_bytes() for path in (run / "shards").glob("*.h5")}
        rows = now
        load_network(Run.open(run).latest().path)
        stored = sum(read_shard(path).positions for path in (run / "shards").glob("*.h5"))
        assert stored >= sum(json.loads(row).get("positions", 0) for row in rows) > 0
    games = sum(json.loads(row).get("games", 0) for row in rows)
    finish(ghostgo(tmp_path, *words, "--games", str(games + 40)))
    assert_kept(rows, ledger_rows(run))
    assert Run.open(run).latest().totals.games >= games + 40


def test_imitation(tmp_path: Path) -> None:
    rng = random.Random(2)
    (tmp_path / "c.toml").write_text(CONFIG)
    teacher_records(tmp_path / "teacher.sgfs", games=40, rollouts=20, seed=0)
    run = tmp_path / "runs" / "warm"
    words = ["warmstart", "--records", "teacher.sgfs", "--config", "c.toml", "--game", "go5"]
    # The run appears whole; then checkpoints come. Kill before and after that.
    process = ghostgo(tmp_path, *words, "--epochs", "1e9")
    time.sleep(rng.uniform(0.5, 3))
    process.kill()
    process.communicate()
    rows: list[str] = []
    for _ in range(KILLS):
        environment = "import ghostgo.warmstart.imitate as m; m.SAVE_SECONDS = 0.3"
        launch = f"{environment}; from ghostgo.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", launch, *words, "--epochs", "1e9"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        kill_after_progress(process, lambda: len(ledger_rows(run)), rng)
        assert_kept(rows, ledger_rows(run))
        rows = ledger_rows(run)
        assert Run.open(run).latest().step > 0
    spent = Run.open(run).latest().totals.flops
    step = Run.open(run).latest().step
    finish(ghostgo(tmp_path, *words, "--minutes", "0.03"))
    latest = Run.open(run).latest()
    assert latest.meta["done"] and latest.step > step and latest.totals.flops >= spent
    assert_kept(rows, ledger_rows(run))


def test_arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(3)
    (tmp_path / "c.toml").write_text(CONFIG)
    for name in ("scratch", "warm"):
        new = ["--game", "tic_tac_toe", "--config", "c.toml", "--games", "60"]
        assert cli.run(["selfplay", "--run", name, *new]) == 0
    results = tmp_path / "runs" / "arena" / "results.jsonl"
    words = ["arena", "--visits", "8"]

    def lines() -> list[str]:
        return results.read_text().splitlines(keepends=True) if results.exists() else []

    whole: list[str] = []
    for _ in range(KILLS):
        process = ghostgo(tmp_path, *words, "--games", "100000")
        kill_after_progress(process, lambda: len(lines()), rng)
        now = [line for line in lines() if line.endswith("\n")]
        assert_kept(whole, now)
        whole = now
    played = 2 * len(whole)
    finish(ghostgo(tmp_path, *words, "--games", str(played + 40)))
    assert_kept(whole, lines())
    ids = [json.loads(line)["pair"] for line in lines()]
    assert len(set(ids)) == len(ids), "a pair was counted twice"
    assert (tmp_path / "runs" / "arena" / "arena.html").exists()
