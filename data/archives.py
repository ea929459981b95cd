"""SGF records wherever they lie: files, folders, zips, tars, and archives inside archives."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ghostgo.data import sgf
from ghostgo.engine.errors import UserError

GAME_SUFFIXES = (".sgf", ".sgfs")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_DEPTH = 3
"""Archives inside archives are opened so deep."""
MAX_RECORD = 64 << 20
"""Bytes of one `.sgf` file or one line of an `.sgfs` file; longer ones are refused."""
MAX_NESTED = 512 << 20
"""Bytes of an archive inside an archive, which has to be held in memory."""

NOT_SGF = "not SGF"
TOO_LARGE = "record too large"
DAMAGED = "damaged archive"
UNREADABLE = "file cannot be read"
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted zip
    NotImplementedError,  # an unknown compression
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Record:
    """One piece of record text: a whole `.sgf` file, or one line of an `.sgfs` file."""

    source: str
    """The file on disk, relative to the path that was asked for."""
    content: bytes
    """The bytes; empty where `fault` says why there are none."""
    fault: str
    """Why the piece could not be read; empty if it could."""
    done: float
    """Which share of the path's bytes on disk comes before this piece, 0 to 1."""


def records(path: str | os.PathLike[str]) -> Iterator[Record]:
    """All record text in `path`, streaming, in a fixed order.

    A folder is searched for games and archives, whatever else it holds; a single file is taken for
    an archive if its content says so, else for SGF (`.sgfs`: a game a line). Faults of parts come
    as records with `fault` set. Raises UserError if the path does not exist.
    """
    root = Path(path)
    if not root.exists():
        raise UserError(f"{path}: no such file or folder")
    files = _files_below(root) if root.is_dir() else [root]
    sizes = [_size(file) for file in files]
    total = max(sum(sizes), 1)
    before = 0
    for file, size in zip(files, sizes, strict=True):
        source = file.relative_to(root).as_posix() if file != root else file.name
        for content, fault, done in _read(file):
            yield Record(source, content, fault, (before + done * size) / total)
        before += size


def name_of(path: str | os.PathLike[str]) -> str:
    """The name that records are told by: the last part of their path, of `.` the folder's own."""
    path = Path(path)
    return path.name if path.name not in ("", "..") else path.resolve().name or str(path)


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a file, or of the games and archives below a folder; 0 if there is neither."""
    root = Path(path)
    return sum(map(_size, _files_below(root) if root.is_dir() else [root]))


def _files_below(folder: Path) -> list[Path]:
    found = []
    for place, _, names in os.walk(folder):
        found += [Path(place, name) for name in names if _is_game(name) or _is_archive(name)]
    return sorted(found)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_game(name: str) -> bool:
    return name.lower().endswith(GAME_SUFFIXES)


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVE_SUFFIXES)


_Piece = tuple[bytes, str, float]


def _read(file: Path) -> Iterator[_Piece]:
    try:
        with open(file, "rb") as stream:
            yield from _open(stream, file.name, 1)
    except OSError:
        yield b"", UNREADABLE, 0.0


def _open(stream: IO[bytes], name: str, depth: int) -> Iterator[_Piece]:
    """The pieces of a file or archive: (content, fault, share of it that comes before)."""
    if _is_game(name):
        yield from _read_games(stream, name)
    elif zipfile.is_zipfile(stream):
        stream.seek(0)
        yield from _read_zip(stream, depth)
    elif _is_tar(stream):
        stream.seek(0)
        yield from _read_tar(stream, depth)
    elif _is_archive(name):
        yield b"", DAMAGED, 0.0
    else:
        stream.seek(0)
        yield from _read_games(stream, name)


def _is_tar(stream: IO[bytes]) -> bool:
    stream.seek(0)
    try:
        return tarfile.is_tarfile(stream)
    except _DAMAGE:
        return False


def _read_games(stream: IO[bytes], name: str) -> Iterator[_Piece]:
    if name.lower().endswith(".sgfs"):
        yield from _read_lines(stream)
        return
    content = stream.read(MAX_RECORD + 1)
    if len(content) > MAX_RECORD:
        yield b"", TOO_LARGE, 0.0
    else:
        yield content, "", 0.0


def _read_lines(stream: IO[bytes]) -> Iterator[_Piece]:
    too_long = False
    while line := stream.readline(MAX_RECORD):
        if line[-1:] != b"\n" and len(line) == MAX_RECORD:
            too_long = True
        elif too_long:  # the rest of a line that was too long
            too_long = False
            yield b"", TOO_LARGE, 0.0
        elif sgf.lost_bracket(line):  # or it goes on with a game that is written on several lines
            yield b"", NOT_SGF, 0.0
        elif not line.isspace():
            yield line, "", 0.0
    if too_long:
        yield b"", TOO_LARGE, 0.0


def _read_zip(stream: IO[bytes], depth: int) -> Iterator[_Piece]:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            total = max(sum(info.compress_size for info in members), 1)
            before = 0
            for info in members:
                yield from _read_zip_member(archive, info, depth, before / total)
                before += info.compress_size
    except _DAMAGE:
        yield b"", DAMAGED, 0.0


def _read_zip_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, depth: int, done: float
) -> Iterator[_Piece]:
    if not (_is_game(info.filename) or _is_archive(info.filename)):
        return
    try:
        with archive.open(info) as member:
            for content, fault, _ in _read_member(member, info.filename, info.file_size, depth):
                yield content, fault, done
    except _DAMAGE:
        yield b"", DAMAGED, done


def _read_tar(stream: IO[bytes], depth: int) -> Iterator[_Piece]:
    done = 0.0
    try:
        size = max(os.fstat(stream.fileno()).st_size, 1)
    except OSError:
        size = 1
    try:
        with tarfile.open(fileobj=stream, mode="r:*") as archive:
            for info in archive:
                if not info.isfile() or not (_is_game(info.name) or _is_archive(info.name)):
                    continue
                member = archive.extractfile(info)
                if member is not None:
                    done = min(stream.tell() / size, 1.0)
                    for content, fault, _ in _read_member(member, info.name, info.size, depth):
                        yield content, fault, done
                archive.members.clear()  # type: ignore[attr-defined]  # or it grows without end
            if not _ends_well(archive):
                yield b"", DAMAGED, done
    except _DAMAGE:
        yield b"", DAMAGED, done


def _ends_well(archive: tarfile.TarFile) -> bool:
    """Whether what a tar was read up to is its end: nothing, or a block of zeros.

    The tar module takes a damaged header for the end, unless it is the first one.
    """
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    return not archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0")


def _read_member(member: IO[bytes], name: str, size: int, depth: int) -> Iterator[_Piece]:
    if _is_game(name):
        yield from _read_games(member, name)
    elif depth >= MAX_DEPTH or size > MAX_NESTED:
        yield b"", TOO_LARGE, 0.0
    else:
        yield from _open(io.BytesIO(member.read(MAX_NESTED)), name, depth + 1)
