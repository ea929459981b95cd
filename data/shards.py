"""Game tables as HDF5 files, written whole or not at all. The schema is in docs/formats.md."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from ghostgo.data.records import GameTable
from ghostgo.engine.errors import UserError

FORMAT = 1
"""Number of the shard schema; raised when a reader of the old one would misread the new one."""
KIND = "ghostgo games"
"""Value of the attribute `kind`, which tells our files from other HDF5 files."""
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
SEAL = b"\nghostgo games, sha256 "
"""After the HDF5 content, where HDF5 programs do not look, stand these bytes, the SHA-256 of that
content in hexadecimal and a line end: a damaged file can make the HDF5 library hang."""
_SEAL_LENGTH = len(SEAL) + 64 + 1

_REQUIRED = (
    "rules_index",
    "offsets",
    "moves",
    "results",
    "scores",
    "ranks",
    "weights",
    "first_to_play",
)
_OPTIONAL = (
    "policies", "values", "surprise", "ownership", "setups", "players", "years", "counting",
)  # fmt: skip
_NOT_OURS = "is not a file of ghostgo games"


class DamagedFile(UserError):
    """The content is not what was written; a missing, unreadable or newer file is not damaged."""


def write_shard(
    path: str | os.PathLike[str], table: GameTable, attributes: Mapping[str, Any]
) -> None:
    """Write `table` and the JSON-like `attributes` to `path` in one step, replacing what was there.

    The file appears complete or not at all, and equal content gives equal bytes. Raises UserError
    if it cannot be written (no room, no permission): the old file is then as it was. Raises
    ValueError for a table that does not validate.
    """
    table.validate()
    replace_file(Path(path), _image(table, attributes))


def read_shard(path: str | os.PathLike[str]) -> GameTable:
    """The table in the file `path`, checked (seal, shapes, ranges).

    Raises UserError naming the file and the fault if it is missing, unreadable or newer, and its
    kind DamagedFile if it is damaged or not of ours.
    """
    with _open(path) as file:
        names = [*_REQUIRED, *(name for name in _OPTIONAL if name in file)]
        table = GameTable(
            game=file.attrs["game"],
            rules_table=tuple(json.loads(file.attrs["rules_table"])),
            sources=list(json.loads(file.attrs["sources"])),
            **{name: file[name][()] for name in names},
        )
        table.validate()
    return table


def attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The attributes that the file `path` was written with; raises UserError as `read_shard`."""
    with _open(path) as file:
        given = json.loads(file.attrs["attributes"])
        if not isinstance(given, dict):
            raise TypeError("attributes is not a mapping")
    return given


def _image(table: GameTable, attributes: Mapping[str, Any]) -> bytes:
    """The shard as HDF5 bytes, made in memory: a full disk can then only meet a plain write."""
    # The format of HDF5 1.10 has less overhead, and takes attributes beyond 64 KiB.
    options = {"driver": "core", "backing_store": False, "libver": ("v110", "v110")}
    with h5py.File("in memory", "w", **options) as file:
        file.attrs["kind"] = KIND
        file.attrs["format"] = FORMAT
        file.attrs["game"] = table.game
        file.attrs["rules_table"] = _json(list(table.rules_table))
        file.attrs["sources"] = _json(table.sources)
        file.attrs["attributes"] = _json(dict(attributes))
        for name in (*_REQUIRED, *_OPTIONAL):
            array: NDArray[Any] | None = getattr(table, name)
            if array is not None:
                _add(file, name, array)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image + _seal(image)


def _seal(image: bytes) -> bytes:
    return SEAL + hashlib.sha256(image).hexdigest().encode() + b"\n"


def _add(file: h5py.File, name: str, array: NDArray[Any]) -> None:
    if array.size:
        file.create_dataset(name, data=array, chunks=True, compression="gzip", compression_opts=1)
    else:
        file.create_dataset(name, data=array)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """The file in memory, its seal, kind and format checked; any fault inside names the file."""
    image = _unsealed(path)
    try:
        with h5py.File(io.BytesIO(image), "r") as file:
            if file.attrs.get("kind") != KIND:
                raise DamagedFile(f"{path}: {_NOT_OURS}")
            number = int(file.attrs["format"])
            if number > FORMAT:
                raise UserError(
                    f"{path}: is of format {number}; this ghostgo reads up to {FORMAT}: update it"
                )
            yield file
    except UserError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as fault:
        raise DamagedFile(f"{path}: is damaged: {' '.join(str(fault).split())}") from fault


def _unsealed(path: str | os.PathLike[str]) -> bytes:
    """The HDF5 content of the file; UserError unless it is as it was written."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not a file") from None
    except OSError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror}") from None
    if not content.startswith(HDF5_SIGNATURE):
        raise DamagedFile(f"{path}: {_NOT_OURS}")
    image, seal = content[:-_SEAL_LENGTH], content[-_SEAL_LENGTH:]
    if not seal.startswith(SEAL):
        raise DamagedFile(f"{path}: {_NOT_OURS}, or is damaged: it ends too soon")
    if seal != _seal(image):
        raise DamagedFile(f"{path}: is damaged: its content does not fit its checksum")
    return image


def replace_file(path: Path, content: bytes) -> None:
    """Make `content` the file `path`, durably and in one step.

    Written beside it, flushed to disk, renamed, and the folder flushed. Raises UserError, with the
    old file as it was and nothing left beside it, if any of that fails.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(aside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
        flush_folder(path.parent)
    except OSError as fault:
        full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else fault.strerror or str(fault)
        raise UserError(f"{path}: cannot be written: {why}; what was there is unchanged") from fault


def flush_folder(folder: Path) -> None:
    """Make a rename in `folder` last; systems that cannot open a folder do without."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
