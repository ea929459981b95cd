"""A run's folder: its config, its checkpoints, its lock.

    runs/NAME/
      run.json         format number, game, seed
      config.toml      the resolved config
      ledger.jsonl     what was spent (data/ledger.py)
      shards/          games played (data/shards.py)
      checkpoints/     one folder a checkpoint: weights.safetensors, meta.json and, in the newest,
                       the trainer's state, from which the run goes on
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
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import safetensors.torch
import torch
from safetensors import SafetensorError

from ghostgo.data.ledger import Totals
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, misfit

FORMAT = 1
"""Number of the layout of a run folder and of its checkpoints."""
ROOT = Path("runs")
"""Where runs lie unless told otherwise."""
BOTS = Path(__file__).resolve().parent / "bots"
"""Networks that come with the program: a checkpoint folder each, its name the bot's."""
WEIGHTS, META, STATE = "weights.safetensors", "meta.json", "state.pt"
LOCK = "lock"
LOCK_SECONDS = 0.5
"""How long a lock is waited for: who only asks whether a run is in use holds it for an instant."""
_ASIDE = ".writing-"


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint on disk."""

    path: Path
    step: int
    """Iterations of the loop behind it; 0 is the start."""
    meta: dict[str, Any]
    """`game`, `game_version`, `network`, `rules`, `seed`, `totals`, `sha256` of the weights."""

    @property
    def totals(self) -> Totals:
        """What the run had spent when it was written."""
        return Totals.from_dict(self.meta["totals"])

    @property
    def run(self) -> str:
        """Name of the run that it belongs to, or its own if it came with the program."""
        return self.path.name if self.in_the_box else self.path.parent.parent.name

    @property
    def in_the_box(self) -> bool:
        """Whether it came with the program."""
        return self.path.resolve().parent == BOTS


def read_json(path: Path, newest: int = FORMAT) -> dict[str, Any]:
    """The JSON object in file `path`, whose `format` is at most `newest`.

    Raises UserError naming the file if it cannot be read, is damaged or newer.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{path}: is damaged: not JSON") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: is damaged: not a JSON object")
    if not isinstance(values.get("format"), int):
        raise UserError(f"{path}: is damaged: it has no format number")
    if values["format"] > newest:
        raise UserError(
            f"{path}: has format {values['format']}, this ghostgo reads up to {newest}; "
            "use a newer ghostgo"
        )
    return values


def read_checkpoint(path: Path) -> CheckpointInfo:
    """The checkpoint in folder `path`, its weights not yet read.

    Raises UserError if the folder is no checkpoint, is damaged, or is from a newer format.
    """
    if not (path / META).is_file():
        raise UserError(f"{path}: is not a checkpoint: it has no {META}")
    meta = read_json(path / META)
    missing = {"game", "game_version", "network", "totals", "sha256", "step"} - set(meta)
    if missing:
        raise UserError(f"{path / META}: is damaged: it has no {min(missing)!r}")
    return CheckpointInfo(path, int(meta["step"]), meta)


def load_network(path: Path, board: Game | None = None) -> Network:
    """The network of the checkpoint in folder `path`, in eval mode on the CPU.

    With `board`, on that board of the same kind of game. Raises UserError naming the file and the
    fault if it is damaged, newer, for other rules, or does not fit `board`.
    """
    meta = read_checkpoint(path).meta
    game = get_game(meta["game"])
    if board is not None and (why := misfit(game, board)):
        raise UserError(f"{path}: does not fit: {why}")
    if meta["game_version"] != game.version:
        raise UserError(
            f"{path}: was made for version {meta['game_version']} of {game.name}, "
            f"this ghostgo plays version {game.version}"
        )
    file = path / WEIGHTS
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != meta["sha256"]:
        raise UserError(f"{file}: is damaged: its checksum differs from the one in {META}")
    network = Network(game, NetworkConfig(**meta["network"]))
    try:
        network.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{file}: does not fit its network: {str(error).splitlines()[0]}") from None
    return network.eval() if board is None else network.eval().on(board)


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

    def checkpoints(self) -> list[CheckpointInfo]:
        """All checkpoints, oldest first."""
        while True:
            names = self.checkpoint_names()
            infos = [self.checkpoint(name) for name in names]
            found = [info for info in infos if info]
            # If all were pruned meanwhile, newer ones have taken their place.
            if found or not names:
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
        """The newest checkpoint; raises UserError if there is none yet."""
        found = self.checkpoints()
        if not found:
            raise UserError(f"{self.folder}: has no checkpoint yet")
        return found[-1]

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
        full = {
            "format": FORMAT,
            "step": step,
            "game": network.game.name,
            "game_version": network.game.version,
            "network": network.config.to_dict(),
            "sha256": hashlib.sha256(weights).hexdigest(),
            **meta,
        }
        try:
            aside.mkdir(parents=True)
            replace_file(aside / WEIGHTS, weights)
            replace_file(aside / META, json.dumps(full, indent=1).encode())
            if state is not None:
                _save_state(state, aside / STATE)
            _remove(target)
            os.rename(aside, target)
        except UserError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise UserError(f"{target}: cannot be written: {error.strerror}") from None
        return CheckpointInfo(target, step, full)

    def load_state(self, info: CheckpointInfo) -> dict[str, Any] | None:
        """The trainer's state saved with a checkpoint, or None if it has none.

        Raises UserError if the file is damaged.
        """
        file = info.path / STATE
        if not file.is_file():
            return None
        try:
            # On the CPU: a run that a GPU trained also goes on without one.
            state = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise UserError(f"{file}: is damaged: {str(error).splitlines()[0]}") from None
        return dict(state)

    def prune(self, keep: set[int]) -> None:
        """Drop all but the newest checkpoint and those of steps `keep`; these lose their state."""
        found = self.checkpoints()
        for info in found[:-1]:
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


def _save_state(state: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    replace_file(path, buffer.getvalue())


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
            before = [info for info in run.checkpoints() if info.step <= int(step)]
            if not before:
                raise UserError(f"{name!r}: run {bare} has no checkpoint up to step {step}")
            return before[-1]
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
