"""Shards: what is written comes back, damage is told, and a failed write destroys nothing."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_records import make_table, rows

from ghostgo.data import shards
from ghostgo.data.records import GameTable, empty_table
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.engine.errors import UserError

ATTRIBUTES = {"seed": 7, "checkpoint": "runs/a@3", "nested": {"list": [1, 2.5, None, True]}}


def reseal(path: Path, content: bytes) -> None:
    """Write `content` with a seal that fits it."""
    path.write_bytes(content + shards._seal(content))


def sealed_copy(path: Path, change: Any) -> Path:
    """A copy of a shard whose HDF5 content was altered by `change(file)`, with a fitting seal."""
    copy = path.with_name("copy.h5")
    copy.write_bytes(path.read_bytes()[: -shards._SEAL_LENGTH])
    with h5py.File(copy, "r+") as file:
        change(file)
    reseal(copy, copy.read_bytes())
    return copy


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "games.h5"
    write_shard(path, make_table(1, full=True), ATTRIBUTES)
    return path


@pytest.mark.parametrize("table", [make_table(1), make_table(2, full=True), empty_table("go9")])
def test_a_table_comes_back(tmp_path: Path, table: GameTable) -> None:
    write_shard(tmp_path / "a.h5", table, ATTRIBUTES)
    back = read_shard(tmp_path / "a.h5")
    assert rows(back) == rows(table)
    assert (back.game, back.rules_table, back.sources) == (
        table.game,
        table.rules_table,
        table.sources,
    )
    assert attributes(tmp_path / "a.h5") == ATTRIBUTES
    assert os.listdir(tmp_path) == ["a.h5"]


def test_a_shard_of_before_a_column_opens(shard: Path) -> None:
    def drop(file: h5py.File) -> None:
        for name in ("counting", "players", "years"):
            del file[name]

    back = read_shard(sealed_copy(shard, drop))
    table = make_table(1, full=True)
    table.counting = table.players = table.years = None
    assert rows(back) == rows(table)


def test_other_programs_read_a_shard(shard: Path) -> None:
    with h5py.File(shard, "r") as file:
        assert file.attrs["format"] == shards.FORMAT
        assert file["moves"][()].tolist() == make_table(1, full=True).moves.tolist()


def test_equal_content_gives_equal_bytes(tmp_path: Path, shard: Path) -> None:
    again = dict(reversed(list(ATTRIBUTES.items())))
    write_shard(tmp_path / "b.h5", make_table(1, full=True), again)
    assert (tmp_path / "b.h5").read_bytes() == shard.read_bytes()
    write_shard(tmp_path / "b.h5", make_table(2, full=True), again)
    assert (tmp_path / "b.h5").read_bytes() != shard.read_bytes()


def test_long_attributes(tmp_path: Path) -> None:
    table = make_table(3)
    table.sources = [f"file {i}" for i in range(20_000)]
    write_shard(tmp_path / "a.h5", table, {"config": "x" * 200_000})
    assert read_shard(tmp_path / "a.h5").sources == table.sources
    assert attributes(tmp_path / "a.h5") == {"config": "x" * 200_000}


def test_every_damaged_byte_is_told(shard: Path) -> None:
    content = shard.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 200)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        shard.write_bytes(damaged)
        for read in (read_shard, attributes):
            with pytest.raises(UserError, match=r"games\.h5: is "):
                read(shard)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_every_truncation_is_told(shard: Path, share: float) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"games\.h5: is (not|damaged)") as caught:
        read_shard(shard)
    assert "\n" not in str(caught.value)


def test_foreign_files_are_told(tmp_path: Path) -> None:
    text = tmp_path / "text.h5"
    text.write_text("(;GM[1])")
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["moves"] = [1, 2, 3]
    sealed = tmp_path / "sealed.h5"
    reseal(sealed, foreign.read_bytes())
    for path in (text, foreign, sealed):
        with pytest.raises(UserError, match=f"{path.name}: is not a file of ghostgo games"):
            read_shard(path)
    with pytest.raises(UserError, match="no such file"):
        read_shard(tmp_path / "absent.h5")
    with pytest.raises(UserError, match="is a folder"):
        read_shard(tmp_path)


def test_a_newer_format_is_told(shard: Path) -> None:
    def newer(file: h5py.File) -> None:
        file.attrs["format"] = shards.FORMAT + 1
        del file["moves"]

    with pytest.raises(UserError, match=r"copy\.h5: is of format 2; this ghostgo reads up to 1"):
        read_shard(sealed_copy(shard, newer))


def test_content_that_makes_no_table_is_told(shard: Path) -> None:
    def missing(file: h5py.File) -> None:
        del file["moves"]

    def wrong(file: h5py.File) -> None:
        file["moves"][0] = 99

    def unknown_game(file: h5py.File) -> None:
        file.attrs["game"] = "tiddlywinks"

    for change, fault in ((missing, "damaged: .*moves"), (wrong, "moves"), (unknown_game, "tidd")):
        with pytest.raises(UserError, match=fault):
            read_shard(sealed_copy(shard, change))


def test_a_table_that_does_not_validate_is_not_written(shard: Path) -> None:
    table = make_table(1)
    table.moves[0] = 26
    before = shard.read_bytes()
    with pytest.raises(ValueError, match="moves"):
        write_shard(shard, table, {})
    assert shard.read_bytes() == before


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(
    shard: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = shard.read_bytes()
    monkeypatch.setattr(os, step, full)
    with pytest.raises(UserError, match=r"games\.h5: cannot be written: the disk is full"):
        write_shard(shard, make_table(2), {})
    monkeypatch.undo()
    assert shard.read_bytes() == before
    assert os.listdir(shard.parent) == [shard.name]


def test_a_write_cut_short_by_the_system_leaves_the_old_file(shard: Path) -> None:
    before = shard.read_bytes()
    big = make_table(3, 4000, full=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UserError, match="cannot be written"):
            write_shard(shard, big, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shard.read_bytes() == before
    assert os.listdir(shard.parent) == [shard.name]


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: No such file"):
        write_shard(tmp_path / "absent" / "a.h5", make_table(1), {})


def test_values_survive_bit_for_bit(shard: Path) -> None:
    table, back = make_table(1, full=True), read_shard(shard)
    for name in ("policies", "values", "ownership", "setups", "weights", "scores"):
        assert np.array_equal(getattr(table, name), getattr(back, name), equal_nan=True)
        assert getattr(table, name).dtype == getattr(back, name).dtype
