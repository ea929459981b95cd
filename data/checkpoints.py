"""One checkpoint on disk: its network, what is known of it, and whether it is as it was written."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from ghostgo.data.ledger import Totals
from ghostgo.data.shards import DamagedFile
from ghostgo.data.split import SPLIT
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, misfit

FORMAT = 1
"""Number of the layout of a run folder and of its checkpoints."""
BOTS = Path(__file__).resolve().parent / "bots"
"""Networks that come with the program: a checkpoint folder each, its name the bot's."""
WEIGHTS, META, STATE = "weights.safetensors", "meta.json", "state.pt"


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


def split_of(info: CheckpointInfo | None) -> dict[str, int]:
    """`split` as a checkpoint's meta.json tells it, the version of the split of what was imitated; else nothing."""
    return {"split": info.meta["split"]} if info is not None and "split" in info.meta else {}


def split_version(info: CheckpointInfo) -> int:
    """The version of the split by which the checkpoint's imitation held games back.

    Older checkpoints do not tell theirs, which was 1; where no game was imitated, any will do.
    """
    told: int = info.meta.get("split", 1 if info.totals.imitation_flops else SPLIT)
    return told


def read_json(path: Path, newest: int = FORMAT) -> dict[str, Any]:
    """The JSON object in file `path`, whose `format` is at most `newest`.

    Raises UserError naming the file if it cannot be read or is newer, its kind DamagedFile if it is
    damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise DamagedFile(f"{path}: is damaged: not JSON") from None
    if not isinstance(values, dict):
        raise DamagedFile(f"{path}: is damaged: not a JSON object")
    if not isinstance(values.get("format"), int):
        raise DamagedFile(f"{path}: is damaged: it has no format number")
    if values["format"] > newest:
        raise UserError(
            f"{path}: has format {values['format']}, this ghostgo reads up to {newest}; "
            "use a newer ghostgo"
        )
    return values


def read_checkpoint(path: Path) -> CheckpointInfo:
    """The checkpoint in folder `path`, its weights not yet read.

    Raises UserError if the folder is no checkpoint or is from a newer format, its kind DamagedFile if
    it is damaged.
    """
    if not (path / META).is_file():
        raise DamagedFile(f"{path}: is not a checkpoint: it has no {META}")
    meta = read_json(path / META)
    missing = {"game", "game_version", "network", "totals", "sha256", "step"} - set(meta)
    if missing:
        raise DamagedFile(f"{path / META}: is damaged: it has no {min(missing)!r}")
    try:
        info = CheckpointInfo(path, int(meta["step"]), meta)
        NetworkConfig(**meta["network"])
        assert info.totals.flops >= 0
    except (AssertionError, AttributeError, TypeError, ValueError):
        raise DamagedFile(f"{path / META}: is damaged: it holds what no run writes") from None
    return info


def load_network(path: Path, board: Game | None = None) -> Network:
    """The network of the checkpoint in folder `path`, in eval mode on the CPU.

    With `board`, on that board of the same kind of game. Raises UserError naming the file, the fault
    and, in a run, what to go on from, if it is damaged, newer, for other rules, or does not fit
    `board`.
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
        content = _sealed(file, meta["sha256"])
    except DamagedFile as error:
        raise UserError(f"{error}{way_on(path)}") from None
    network = Network(game, NetworkConfig(**meta["network"]))
    try:
        network.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{file}: does not fit its network: {str(error).splitlines()[0]}") from None
    return network.eval() if board is None else network.eval().on(board)


def _sealed(file: Path, sha256: str | None) -> bytes:
    """What is in `file`; raises DamagedFile if it is not there or has another checksum."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DamagedFile(f"{file}: cannot be read: {error.strerror}") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFile(f"{file}: is damaged: its checksum differs from the one in {META}")
    return content


def load_state(info: CheckpointInfo) -> dict[str, Any] | None:
    """The trainer's state saved with a checkpoint, or None if it has none.

    Raises UserError naming the file, and what to go on from, if it is damaged.
    """
    try:
        return _read_state(info)
    except DamagedFile as error:
        raise UserError(f"{error}{way_on(info.path)}") from None


def _read_state(info: CheckpointInfo) -> dict[str, Any] | None:
    file = info.path / STATE
    if not file.is_file():
        return None
    content = _sealed(file, info.meta.get("state_sha256"))  # older checkpoints do not tell it
    try:
        # On the CPU: a run that a GPU trained also goes on without one.
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise DamagedFile(f"{file}: is damaged: {str(error).splitlines()[0]}") from None
    return dict(state)


def check_whole(path: Path) -> bool:
    """Whether a run can go on from the checkpoint in folder `path`: it has a state or needs none.

    Raises UserError as `read_checkpoint`, and DamagedFile if weights or state are not as they were
    written.
    """
    info = read_checkpoint(path)
    _sealed(path / WEIGHTS, info.meta["sha256"])
    ends_a_stage = info.meta.get("stage") == "start" or bool(info.meta.get("done"))
    return _read_state(info) is not None or ends_a_stage


def way_on(path: Path) -> str:
    """What to go on from where the checkpoint `path` is of no use, as the end of a sentence.

    Empty for a checkpoint that is in no run.
    """
    folder = path.parent
    if folder.name != "checkpoints":
        return ""
    run = folder.parent.name
    found = [each for each in folder.iterdir() if each.name.isdigit()]
    for each in sorted(found, key=lambda each: int(each.name), reverse=True):
        try:
            info = read_checkpoint(each)
            _sealed(each / WEIGHTS, info.meta["sha256"])
        except UserError:
            continue  # of no use either
        start = f"{run}@{info.step}"
        return f"; newest good network: {start}, ghostgo selfplay --run NEW --from {start} goes on"
    return "; the run has no good checkpoint left, start another one"
