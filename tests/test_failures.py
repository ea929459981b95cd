"""How a run fails: in processes of its own, by exit code and what stands on stderr."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_bits import scalars
from test_kill import CONFIG, ghostgo, ledger_rows, wait_for

from ghostgo import cli
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.selfplay.monitor import Events
from ghostgo.selfplay.trainer import raise_all

WORDS = ["selfplay", "--game", "tic_tac_toe", "--config", "c.toml"]

BROKEN = """
import threading
from ghostgo.engine.evaluator import NetworkEvaluator
from ghostgo.selfplay.trainer import Trainer

def broken(self, n):
    together.wait(120)
    raise ZeroDivisionError(f"no network in {threading.current_thread().name}")

together = threading.Barrier(WORKERS)
Trainer.measure_raw_rate = lambda *given: None
NetworkEvaluator.evaluate = broken
from ghostgo.cli import main
main()
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_raise_ends_the_program_and_all_of_it_is_told(
    tmp_path: Path, workers: int
) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", BROKEN.replace("WORKERS", str(workers)), *WORDS]
        + ["--workers", str(workers), "--games", "20"],
        check=False, cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1
    told = set(re.findall(r"ZeroDivisionError: no network in (\S+)", done.stderr))
    assert len(told) == workers, done.stderr
    assert ("2 workers failed" in done.stderr) == (workers == 2)
    assert Run.open(tmp_path / "runs" / "scratch").latest().step == 0


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    run = tmp_path / "runs" / "scratch"
    first = ghostgo(tmp_path, *WORDS)
    wait_for(first, lambda: len(ledger_rows(run)))
    second = ghostgo(tmp_path, *WORDS)
    errors = second.communicate(timeout=240)[1]
    assert second.returncode == 2
    message = "ghostgo: runs/scratch: is being written by another process; wait for it or stop it\n"
    assert errors == message
    first.send_signal(signal.SIGINT)
    errors = first.communicate(timeout=240)[1]
    assert first.returncode == 0, errors
    assert "stopped: interrupted" in errors and "Traceback" not in errors


def test_a_full_disk_costs_the_scalars_and_not_the_run(tmp_path: Path) -> None:
    told: list[str] = []
    run = Run(tmp_path, {})
    events = Events(tmp_path / "tensorboard", told.append)
    events.scalars(1, {"a": 1.0, "b": 2.0})
    (file,) = (tmp_path / "tensorboard").iterdir()
    whole = file.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, before[1]))
    try:
        events.scalars(2, {"a": 3.0, "b": 4.0})
        events.scalars(3, {"a": 3.0, "b": 4.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_bytes() == whole, "a torn record hides all behind it"
    assert told == [
        f"{tmp_path / 'tensorboard'}: cannot be written: File too large; the run goes on"
    ]
    events.scalars(4, {"a": 5.0, "b": 6.0})
    assert scalars(run) == {"a": [(1, 1.0), (4, 5.0)], "b": [(1, 2.0), (4, 6.0)]}


def test_scalars_that_failed_at_first_leave_one_file(tmp_path: Path) -> None:
    told: list[str] = []
    run = Run(tmp_path, {})
    (tmp_path / "tensorboard").write_text("in the way")
    events = Events(tmp_path / "tensorboard", told.append)
    for step in (1, 2):
        events.scalars(step, {"a": 1.0})
    (tmp_path / "tensorboard").unlink()
    for step in (3, 4):
        events.scalars(step, {"a": 1.0})
    assert len(told) == 1 and len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert scalars(run) == {"a": [(3, 1.0), (4, 1.0)]}


def test_several_workers_with_the_same_bad_input_tell_it_once() -> None:
    faults = [UserError("one"), UserError("two")]
    with pytest.raises(UserError, match="one"):
        raise_all(faults)
    with pytest.raises(BaseExceptionGroup):
        raise_all([*faults, ValueError("three")])


def test_a_run_that_can_write_no_scalars_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(CONFIG)
    assert cli.run([*WORDS, "--games", "20"]) == 0
    folder = Path("runs/scratch/tensorboard")
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    capsys.readouterr()
    assert cli.run([*WORDS, "--games", "120"]) == 0
    errors = capsys.readouterr().err
    assert errors.count(f"{folder}: cannot be written") == 1 and "games played" in errors
