"""The command line: quick, lazy, and one line with exit code 2 for whatever is wrong."""

from __future__ import annotations

import errno
import inspect
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from ghostgo import __version__, cli, doctor
from ghostgo.engine import jit

HELP_SECONDS = 0.5
TARGETS = {
    "selfplay": "ghostgo.selfplay.loop:run_selfplay",
    "warmstart": "ghostgo.warmstart.imitate:run_warmstart",
    "arena": "ghostgo.arena.arena:run_arena",
    "play": "ghostgo.terminal:play",
    "gtp": "ghostgo.gtp_server:serve",
    "doctor": "ghostgo.doctor:report",
}


def test_help_is_quick_and_imports_nothing_heavy(ghostgo_command: list[str]) -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([*ghostgo_command, "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert all(verb.encode() in done.stdout for verb in TARGETS)
    assert min(seconds) < HELP_SECONDS
    probe = "import sys, ghostgo.cli; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True)
    assert not {b"numpy", b"numba", b"torch", b"h5py", b"scipy", b"textual"} & set(
        loaded.stdout.split()
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fly"], "No such command 'fly'"),
        (["selfplay", "--fly"], "No such option '--fly'"),
        (["selfplay", "--game", "chess"], "game 'chess' is unknown; known: go9"),
        (["selfplay", "--game", "hex"], "hexN for 2 to 19, gomokuN for 5 to 19"),
        (["selfplay", "--game", "go99"], "99x99"),
        (["selfplay", "--preset", "huge"], "'huge' is not one of 'tiny', 'cpu', 'gpu'"),
        (["selfplay", "--minutes", "0"], "0.0 is not in the range"),
        *[
            ([*verb, "--minutes", number], "is not a finite number")
            for verb in (["selfplay"], ["warmstart", "--records", "x.sgf"], ["arena"])
            for number in ("nan", "inf")
        ],
        (["warmstart", "--minutes", "-1"], "-1.0 is not in the range"),
        (["arena", "--minutes", "0"], "0.0 is not in the range"),
        (["selfplay", "--flops", "inf"], "inf is not a finite number"),
        (["warmstart", "--epochs", "nan"], "nan is not a finite number"),
        (["arena", "--width", "nan"], "nan is not a finite number"),
        (["play", "--seconds", "nan"], "nan is not a finite number"),
        (["gtp", "--seconds", "inf"], "inf is not a finite number"),
        (["gtp", "--resign", "nan"], "nan is not a finite number"),
        (["bench", "--seconds", "nan"], "nan is not a finite number"),
        (["selfplay", "--games", "few"], "'few' is not a valid integer"),
        (["selfplay", "--seed"], "requires an argument"),
        (["warmstart"], "no records given: --records PATH"),
        (["warmstart", "--records", "nowhere.zip"], "nowhere.zip"),
        (["arena", "--player", "gnugo"], "'gnugo' is not NAME=SPEC"),
        (["arena", "--visits", "0"], "'0' is no budget for a move: visits from 1"),
        (["arena", "sprt", "a", "b", "--visits", "2e9"], "'2e9' is no budget for a move"),
        (["arena", "--visits-ladder", "16"], "'16' is no ladder: two budgets at least"),
        (["arena", "--checkpoints", "0"], "0 is not in the range"),
        (
            ["arena", "--a", "go9", "--b", ""],
            "'go9' is a bot that came with ghostgo, not a run: enter it by --player go9=go9 instead",
        ),
        (["arena"], "'scratch' is not a run in runs: ghostgo selfplay --run scratch makes one"),
        (["selfplay", "--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["selfplay", "--from", "nobody"], "'nobody' is neither a run nor a checkpoint"),
        (["play", "nobody"], "'nobody' is neither a run nor a checkpoint"),
        (["play", "mcts:many"], "mcts:N takes a number"),
        (["play", "mcts:0"], "mcts:N takes a number from 1"),
        (["gtp", "mcts:-3"], "mcts:N takes a number from 1"),
        (["gtp", "mcts:4194305"], "4194305 rollouts a move are too many: 4194304 at most"),
        (["play", f"mcts:{'9' * 5000}"], "rollouts a move are too many"),
        (["play", "go9", "--visits", "4194305"], "4194305 is not in the range"),
        (["bench", "--visits", "65537"], "65537 is not in the range"),
        (["records", "make", "--out", "x.sgfs", "--rollouts", "4194305"], "rollouts are too many"),
        (["play", "mcts:10", "--komi", "6.3"], "komi: 6.3 is not a multiple of 0.5"),
        (["play", "random", "--game", "connect_four", "--komi", "1"], "unknown rule 'komi'"),
        (["play", "random", "--color", "red"], "'red' is not one of 'black', 'white'"),
        (["play", "random", "black", "white"], "unexpected extra arguments"),
        (["gtp", "nobody"], "'nobody' is neither a run nor a checkpoint"),
        (["gtp", "random", "--game", "tic_tac_toe"], "GTP is for Go on square boards"),
        (["gtp", "random", "--resign", "2"], "2.0 is not in the range"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == cli.EXIT_USER_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ghostgo: ") and err.count("\n") == 1 and err.endswith("\n")
    assert complaint in err
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [] or arguments[0] != "arena", "a refused arena leaves nothing behind"
    assert set(left) <= {"lock"}, "a refused command leaves nothing behind"


def _truncate_weights(folder: Path) -> None:
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _garble_meta(folder: Path) -> None:
    (folder / "meta.json").write_bytes(b"\x00\xff{")


def _raise_format(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "format": 99}))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_truncate_weights, "is damaged"),
        (_garble_meta, "is damaged"),
        (_raise_format, "use a newer ghostgo"),
    ],
)
def test_a_damaged_or_newer_checkpoint_is_one_line(
    damage: Callable[[Path], None],
    complaint: str,
    untrained_runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "runs"
    shutil.copytree(untrained_runs, root)
    (checkpoint,) = (root / "fresh" / "checkpoints").iterdir()
    damage(checkpoint)
    assert cli.run(["gtp", "fresh", "--root", str(root)]) == cli.EXIT_USER_ERROR
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and complaint in err and checkpoint.name in err


def test_the_process_gives_the_same_line_and_code(ghostgo_command: list[str]) -> None:
    done = subprocess.run(
        [*ghostgo_command, "gtp", "--game", "chess"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("ghostgo: game 'chess' is unknown") and "\n" in done.stderr[-1:]


def raising(error: BaseException) -> Callable[..., None]:
    def report(**options: Any) -> None:
        raise error

    return report


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.h5"), 2, "x.h5: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 2, "runs: Permission denied"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_faults_of_the_machine_are_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "report", raising(error))
    assert cli.run(["doctor"]) == code
    err = capfd.readouterr().err
    assert line in err and err.strip().count("\n") == 0


def test_a_broken_pipe_is_nothing_only_where_nobody_reads_us() -> None:
    """`ghostgo doctor | head` ends well; an engine that has died is a fault."""
    broken = (
        "import sys; from ghostgo import cli, doctor\n"
        "def report(**options):\n"
        "    print('read'); sys.stdout.flush(); sys.stdin.readline(); {fault}\n"
        "doctor.report = report; sys.exit(cli.run(['doctor']))"
    )
    for fault, leaves, code in (
        ("print('unread'); sys.stdout.flush()", True, 0),
        ("raise BrokenPipeError(32, 'engine')", False, 1),
    ):
        child = subprocess.Popen(
            [sys.executable, "-c", broken.format(fault=fault)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stdin and child.stdout and child.stderr
        assert child.stdout.readline() == "read\n"
        if leaves:
            child.stdout.close()
        child.stdin.write("\n")
        child.stdin.close()
        errors = child.stderr.read()
        assert child.wait(timeout=120) == code, errors
        assert ("engine" in errors) == (code == 1) and (errors == "") == (code == 0)
        child.stdout.close()
        child.stderr.close()


def test_our_own_faults_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "report", raising(FileNotFoundError(errno.ENOENT, "gone", "x")))
    with pytest.raises(FileNotFoundError):
        cli.run(["doctor"])


@pytest.mark.parametrize("verb", TARGETS)
def test_options_are_the_functions_parameters(verb: str) -> None:
    module, name = TARGETS[verb].split(":")
    function = getattr(import_module(module), name)
    options = {parameter.name for parameter in cli.cli.commands[verb].params} - {None}
    options.discard("named")  # --run, which the command line puts in the place of RUN
    inspect.signature(function).bind(**dict.fromkeys(options))


def test_every_option_has_help_or_says_enough() -> None:
    bare = [
        f"{verb} {parameter.name}"
        for verb, command in cli.cli.commands.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert bare == []


def test_doctor_reports_and_needs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["doctor"]) == 0
    report = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert report["ghostgo"].startswith(__version__)
    assert report["torch"][0].isdigit() and report["numba"][0].isdigit()
    assert report["device"].split(":")[0] in ("cpu", "cuda")
    assert report["runs"] == "none in runs: ghostgo selfplay makes one"


def test_doctor_goes_on_after_a_fault_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str:
        raise RuntimeError("no driver")

    monkeypatch.setattr(doctor, "_device", broken)
    with pytest.raises(SystemExit) as caught:
        cli.run(["doctor"])
    out = capsys.readouterr().out
    assert caught.value.code == 1
    assert "FAULT: RuntimeError('no driver')" in out and "\nruns " in out


def test_clear_cache_deletes_kernels_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "kernels"
    for name in ("0123456789abcdef", "fedcba9876543210", "mine"):
        (root / name).mkdir(parents=True)
    monkeypatch.setattr(jit, "CACHE_ROOT", root)
    monkeypatch.setattr(jit, "CACHE_DIR", root / "fedcba9876543210")
    assert cli.run(["doctor", "--clear-cache"]) == 0
    assert [path.name for path in root.iterdir()] == ["mine"]
    assert capsys.readouterr().out.endswith(": 2\n")
