"""A run's folder: its config, its checkpoints, its lock.

    runs/NAME/
      run.json         format number, game, seed
      config.toml      the resolved config
      ledger.jsonl     what was spent (data/ledger.py)
      shards/          games played (data/shards.py)
      checkpoints/     one folder a checkpoint: weights.safetensors, meta.json and, in the newest
                       two, the trainer's state, from which the run goes on
      tensorboard/     events
      backend.json     how the network is computed, if `ghostgo bench --run` chose (data/choice.py)
      lock             held while a process writes the run

A checkpoint is written aside and renamed, and renamed before it is deleted, so it is there whole or
not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import safetensors.torch
import torch

from ghostgo.data.checkpoints import (
    BOTS,
    FORMAT,
    META,
    STATE,
    WEIGHTS,
    CheckpointInfo,
    check_whole,
    load_network,
    load_state,
    read_checkpoint,
    read_json,
    way_on,
)
from ghostgo.data.shards import DamagedFile, flush_folder, replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.network import Network

__all__ = [
    "BOTS", "ROOT", "CheckpointInfo", "Run", "find_checkpoint", "list_bots", "list_runs",
    "load_network", "load_state", "read_checkpoint", "read_json",
]  # fmt: skip

ROOT = Path("runs")
"""Where runs lie unless told otherwise."""
LOCK = "lock"
LOCK_SECONDS = 0.5
"""How long a lock is waited for: who only asks whether a run is in use holds it for an instant."""
_ASIDE = ".writing-"


class Run:
    """A run folder. `creating` makes one, `open` reads one; neither takes the lock."""

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder = folder
        self.header = header

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def game(self) -> str:
        """Registry name of the run's game."""
        return str(self.header["game"])

    @property
    def shards(self) -> Path:
        """Folder of its shards."""
        return self.folder / "shards"

    @classmethod
    @contextlib.contextmanager
    def creating(
        cls, folder: Path, game: str, seed: int, config: str, start: str | None = None
    ) -> Iterator[Run]:
        """A new run under a hidden name, to be filled; it takes its place when the block ends well.

        `config` is TOML text, `start` what the run starts from, as the user named it. A block that
        fails, or is killed, leaves no run behind. Raises UserError if there is already something of
        that name, or another process is making it.
        """
        _refuse_taken(folder)
        aside = folder.with_name(f".creating-{folder.name}")
        # The new run's own lock, held before it has its name.
        lock = filelock.FileLock(aside / LOCK, timeout=LOCK_SECONDS)
        try:
            aside.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"{folder}: is being made by another process; wait for it or stop it"
            ) from None
        except OSError as error:
            _refuse_taken(folder)  # the other process may just have given it its name
            raise UserError(f"{folder}: cannot be made: {error.strerror}") from None
        try:
            _refuse_taken(folder)  # it may have been made while the lock was waited for
            for stray in aside.iterdir():  # as a kill left it
                if stray.is_dir():
                    shutil.rmtree(stray)
                elif stray.name != LOCK:
                    stray.unlink()
            for part in ("checkpoints", "shards"):
                (aside / part).mkdir()
            header = {"format": FORMAT, "game": game, "seed": seed, "from": start}
            replace_file(aside / "config.toml", config.encode())
            replace_file(aside / "run.json", json.dumps(header).encode())
            yield cls(aside, header)
            os.rename(aside, folder)
        except BaseException as error:
            shutil.rmtree(aside, ignore_errors=True)
            if isinstance(error, OSError):
                raise UserError(f"{folder}: cannot be made: {error.strerror}") from None
            raise
        finally:
            lock.release()

    @classmethod
    def open(cls, folder: Path) -> Run:
        """The run in `folder`.

        Raises UserError if there is none, or it is damaged or from a newer format.
        """
        if not (folder / "run.json").is_file():
            raise UserError(f"{folder}: is not a run: it has no run.json")
        return cls(folder, read_json(folder / "run.json"))

    def lock(self) -> filelock.BaseFileLock:
        """The held lock of this run; release it when done.

        Raises UserError if another process holds it.
        """
        lock = filelock.FileLock(self.folder / LOCK, timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UserError(
                f"{self.folder}: is being written by another process; wait for it or stop it"
            ) from None
        return lock

    def is_being_written(self) -> bool:
        """Whether another process holds the lock; where that cannot be tried, it counts as free."""
        if not (self.folder / LOCK).exists():
            return False
        lock = filelock.FileLock(self.folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            return True
        except OSError:  # somebody else's folder
            return False
        lock.release()
        return False

    def checkpoints(self, damaged: list[UserError] | None = None) -> list[CheckpointInfo]:
        """All checkpoints, oldest first.

        Raises UserError if one is damaged, or, given a list, adds that there and leaves it out.
        """
        while True:
            names = self.checkpoint_names()
            infos, faults = [], list[UserError]()
            for name in names:
                try:
                    infos.append(self.checkpoint(name))
                except DamagedFile as error:
                    if damaged is None:
                        raise
                    faults.append(error)
            found = [info for info in infos if info]
            # If all were pruned meanwhile, newer ones have taken their place.
            if found or faults or not names:
                if damaged is not None:
                    damaged.extend(faults)
                return sorted(found, key=lambda info: info.step)

    def checkpoint_names(self) -> set[str]:
        """Names of the folders of the checkpoints that there are now."""
        try:
            paths = list((self.folder / "checkpoints").iterdir())
        except (FileNotFoundError, NotADirectoryError):  # none yet, or the run was taken away
            return set()
        return {path.name for path in paths if path.name.isdigit()}

    def checkpoint(self, name: str) -> CheckpointInfo | None:
        """The checkpoint in the folder called `name`; None if the run has just pruned it.

        Raises UserError if it is damaged.
        """
        path = self.folder / "checkpoints" / name
        try:
            return read_checkpoint(path)
        except UserError:
            if path.exists():
                raise
            return None

    def latest(self) -> CheckpointInfo:
        """The newest checkpoint; raises UserError if there is none yet, or it is damaged."""
        found = self.newest_up_to()
        if found is None:
            raise UserError(f"{self.folder}: has no checkpoint yet")
        return found

    def newest_up_to(self, step: int | None = None) -> CheckpointInfo | None:
        """The newest checkpoint, of those up to `step` if that is given; None if there is none.

        Raises UserError, naming what to go on from, if it is damaged; others may be.
        """
        while True:
            names = {int(name): name for name in self.checkpoint_names()}
            if not (fitting := [each for each in names if step is None or each <= step]):
                return None
            name = names[max(fitting)]
            try:
                found = self.checkpoint(name)
            except DamagedFile as error:
                raise UserError(f"{error}{way_on(self.folder / 'checkpoints' / name)}") from None
            if found:  # else it has just been pruned
                return found

    def save_checkpoint(
        self, step: int, network: Network, meta: dict[str, Any], state: dict[str, Any] | None = None
    ) -> CheckpointInfo:
        """Write checkpoint `step`; `state` (tensors and plain values) is what the trainer needs to go on.

        Raises UserError if it cannot be written; older checkpoints are then untouched.
        """
        name = f"{step:08d}"
        target = self.folder / "checkpoints" / name
        aside = target.with_name(f"{_ASIDE}{name}")
        shutil.rmtree(aside, ignore_errors=True)
        weights = safetensors.torch.save(
            {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        )
        saved = None if state is None else _state_bytes(state)
        full = {
            "format": FORMAT,
            "step": step,
            "game": network.game.name,
            "game_version": network.game.version,
            "network": network.config.to_dict(),
            "sha256": hashlib.sha256(weights).hexdigest(),
            **({} if saved is None else {"state_sha256": hashlib.sha256(saved).hexdigest()}),
            **meta,
        }
        try:
            aside.mkdir(parents=True)
            replace_file(aside / WEIGHTS, weights)
            replace_file(aside / META, json.dumps(full, indent=1).encode())
            if saved is not None:
                replace_file(aside / STATE, saved)
            _remove(target)
            os.rename(aside, target)
            flush_folder(target.parent)  # before the one that it follows is pruned
        except UserError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise UserError(f"{target}: cannot be written: {error.strerror}") from None
        return CheckpointInfo(target, step, full)

    def set_damaged_apart(self) -> str:
        """Have the run go on from the last checkpoint but one if the newest is damaged.

        Only for who holds the lock. Returns what to tell the user, in one line, or nothing where all
        is as it was: the newest is whole, there is no going on from the one before either, or no game
        has been played, so that the newest is the prior and the one before knows nothing.
        """
        names = sorted(self.checkpoint_names(), key=int)
        if len(names) < 2 or not any(self.shards.glob("*.h5")):
            return ""
        before, newest = (self.folder / "checkpoints" / name for name in names[-2:])
        try:
            check_whole(newest)
            return ""
        except DamagedFile as error:
            fault = error
        try:
            if not check_whole(before):
                return ""
        except DamagedFile:
            return ""
        apart = newest.with_suffix(".damaged")
        shutil.rmtree(apart, ignore_errors=True)
        os.rename(newest, apart)
        flush_folder(apart.parent)
        return (
            f"{fault}; set apart as {apart.name}: the run goes on from checkpoint {int(before.name)}, "
            "not exactly as it would have: the games since then are learnt again, those in play begin "
            "anew"
        )

    def prune(self, keep: set[int], newest: int = 2) -> None:
        """Drop all but the `newest` checkpoints and those of steps `keep`; these lose their state."""
        found = self.checkpoints([])  # a damaged one stays for who can mend it
        for info in found[:-newest]:
            if info.step in keep:
                (info.path / STATE).unlink(missing_ok=True)
            else:
                _remove(info.path)
        for stray in (self.folder / "checkpoints").glob(f"{_ASIDE}*"):
            shutil.rmtree(stray, ignore_errors=True)


def _refuse_taken(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already and is not empty; choose another name")


def _remove(checkpoint: Path) -> None:
    """Take a checkpoint away in one step, so that no kill leaves half of one under its name."""
    if checkpoint.exists():
        gone = checkpoint.with_name(f"{_ASIDE}gone-{checkpoint.name}")
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(checkpoint, gone)
        shutil.rmtree(gone, ignore_errors=True)


def _state_bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def find_checkpoint(name: str, root: Path = ROOT) -> CheckpointInfo:
    """The checkpoint that `name` means.

    `NAME` is the newest of run NAME below `root`, `NAME@STEP` that step or the nearest before it;
    the path of a run folder or of a checkpoint folder does as well, and where there is none of
    these, the name of a bot that came with the program. Raises UserError naming what there is.
    """
    bare, _, step = name.partition("@")
    for folder in (root / bare, Path(bare)):
        if (folder / META).is_file():
            return read_checkpoint(folder)
        if (folder / "run.json").is_file():
            run = Run.open(folder)
            if not step:
                return run.latest()
            if not step.isdigit():
                raise UserError(f"{name!r}: the part after @ must be a step number")
            found = run.newest_up_to(int(step))
            if found is None:
                raise UserError(f"{name!r}: run {bare} has no checkpoint up to step {step}")
            return found
    bots = {bot.path.name: bot for bot in list_bots()}
    if name in bots:
        return bots[name]
    known = ", ".join(list_runs(root)) or "none yet (ghostgo selfplay makes one)"
    raise UserError(
        f"{name!r} is neither a run nor a checkpoint; runs in {root}: {known}; "
        f"bots: {', '.join(bots)}"
    )


def list_bots() -> list[CheckpointInfo]:
    """The networks that come with the program, by name. Raises UserError if one is damaged."""
    return [read_checkpoint(path.parent) for path in sorted(BOTS.glob(f"*/{META}"))]


def list_runs(root: Path = ROOT) -> list[str]:
    """Names of the runs below `root`, sorted."""
    if not root.is_dir():
        return []
    return sorted(path.parent.name for path in root.glob("[!.]*/run.json"))
