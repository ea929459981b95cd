"""Bad input at the command line: one line that says what is wrong, exit code 2, nothing destroyed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ghostgo import cli
from ghostgo.data.run import Run, find_checkpoint

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
SELFPLAY = ["selfplay", "--game", "tic_tac_toe", "--config", "c.toml"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A small trained run `scratch` in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(CONFIG)
    assert cli.run([*SELFPLAY, "--games", "20"]) == 0
    capsys.readouterr()
    return Run.open(Path("runs/scratch"))


def everything(folder: Path = Path("runs")) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], same: bool = True
) -> None:
    """The command ends with code 2 and one line that holds `message`; files stay as they are."""
    before = everything()
    assert cli.run(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1], lines
    assert "Traceback" not in "".join(lines)
    if same:
        assert everything() == before
        assert len(lines) == 1


def test_unknown_game(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["selfplay", "--game", "checkers", "--run", "new"], "'checkers' is unknown", capsys)


def test_corrupt_checkpoint(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    weights = run.latest().path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for words in (["play", "scratch"], ["gtp", "scratch"]):
        refused(words, "weights.safetensors: is damaged", capsys)


@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "meta.json"])
def test_a_truncated_file_of_the_newest_checkpoint(
    name: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on from the one before; if that cannot be, a line says what can, and it does."""
    before, last = run.checkpoints()[-2:]
    file = last.path / name
    file.write_bytes(file.read_bytes()[:-100])
    left = file.read_bytes()
    whole = (before.path / "state.pt").read_bytes()
    (before.path / "state.pt").write_bytes(whole[:-100])
    refused(["selfplay"], f"{file}: is damaged", capsys)
    good = f"scratch@{(last if name == 'state.pt' else before).step}"
    hint = f"newest good network: {good}, ghostgo selfplay --run NEW --from {good} goes on"
    refused(["selfplay"], hint, capsys)
    (before.path / "state.pt").unlink()  # as earlier versions left it
    refused(["selfplay"], hint, capsys)
    assert cli.run(["selfplay", "--run", "again", "--from", good, "--games", "10"]) == 0
    (before.path / "state.pt").write_bytes(whole)
    capsys.readouterr()
    assert cli.run(["selfplay", "--games", "40"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "set apart" in line]
    assert len(told) == 1 and told[0].startswith(f"{file}: is damaged") and "not exactly" in told[0]
    assert f"goes on from checkpoint {before.step}," in told[0]
    assert (last.path.with_suffix(".damaged") / name).read_bytes() == left
    assert run.latest().step >= last.step and run.latest().totals.games >= 40


def test_what_stands_in_meta_must_be_what_runs_write(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.latest().path / "meta.json"
    (run.checkpoints()[-2].path / "state.pt").unlink()  # so that there is no going on from that
    meta = json.loads(file.read_text())
    for key, wrong in (
        ("step", "two"), ("network", {"blocks": 1, "depth": 8}), ("network", 7),
        ("totals", {"games": "many"}), ("totals", None),
    ):  # fmt: skip
        file.write_text(json.dumps({**meta, key: wrong}))
        refused(["selfplay"], f"{file}: is damaged", capsys)
    file.write_text(json.dumps([meta]))
    refused(["selfplay"], f"{file}: is damaged: not a JSON object", capsys)


def test_a_state_from_before_it_had_a_checksum(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.latest().path / "meta.json"
    meta = json.loads(file.read_text())
    del meta["state_sha256"]
    file.write_text(json.dumps(meta))
    assert cli.run(["selfplay", "--games", "40"]) == 0
    state = run.latest().path / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1  # torch itself would read it
    state.write_bytes(content)
    capsys.readouterr()
    (run.checkpoints()[-2].path / "state.pt").unlink()
    refused(["selfplay"], "state.pt: is damaged: its checksum differs", capsys)


def test_an_old_checkpoint_that_is_damaged_does_not_block_a_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run.folder / "checkpoints" / "00000000"
    (old / "meta.json").write_text("{")
    step = run.latest().step
    assert cli.run(["selfplay", "--games", "60"]) == 0
    assert f"{old / 'meta.json'}: is damaged: not JSON; left as it is" in capsys.readouterr().err
    assert run.latest().step > step and (old / "weights.safetensors").exists()
    assert find_checkpoint(f"scratch@{run.latest().step}", Path("runs")).step > step
    refused(["play", "scratch@0", "--plain"], "meta.json: is damaged", capsys, same=False)


def test_corrupt_shard(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    shard = run.shards / "000001.h5"
    shard.write_bytes(shard.read_bytes()[:200])
    assert cli.run(["selfplay", "--games", "40"]) == 0
    errors = capsys.readouterr().err
    assert f"{shard}: " in errors and "set apart as 000001.damaged" in errors
    assert (run.shards / "000001.damaged").stat().st_size == 200
    assert "000001.h5" not in {path.name for path in run.shards.iterdir()}


def test_records_without_a_game(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("empty/a.sgf").write_text("<html>404</html>")
    refused(["warmstart", "--records", "empty", "--game", "go9"], "holds no go9 game", capsys)
    refused(["warmstart", "--records", "nowhere"], "no such file or folder", capsys)


def test_misspelt_config_key(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.toml").write_text("[selfplay]\nvisist = 3\n")
    words = ["selfplay", "--run", "new", "--config", "bad.toml"]
    refused(words, "unknown key 'visist'; did you mean visits?", capsys)


def test_run_from_a_newer_format(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    header = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**header, "format": 99}))
    refused(["selfplay"], "use a newer ghostgo", capsys)
    refused(["arena", "--b", ""], "use a newer ghostgo", capsys)


def test_full_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = everything(run.shards)
    step = run.latest().step

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("ghostgo.data.shards.os.fsync", full)
        refused(["selfplay", "--games", "100"], "the disk is full", capsys, same=False)
    assert everything(run.shards) == shards and run.latest().step == step
    assert cli.run([*SELFPLAY, "--games", "40"]) == 0
