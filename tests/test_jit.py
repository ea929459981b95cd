"""The kernel decorator's cache and the random numbers of kernels."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError
from numpy.typing import NDArray
from sizes import INTERPRETED

from ghostgo.engine import jit


def splitmix64(seed: int, count: int) -> list[int]:
    """SplitMix64 with Python integers (Steele, Lea and Flood 2014)."""
    words, mask = [], (1 << 64) - 1
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        words.append(z ^ (z >> 31))
    return words


def test_random_words_are_splitmix64() -> None:
    # The first words for seed 0, as published with the algorithm's reference code.
    assert splitmix64(0, 2) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    for seed in (0, 1, 2**63, 2**64 - 1):
        rng = np.array([seed], np.uint64)
        assert [int(jit.random_u64(rng)) for _ in range(50)] == splitmix64(seed, 50)


def test_random_below_is_in_range_and_even() -> None:
    rng = jit.make_rng(5)
    counts = np.bincount([jit.random_below(rng, 7) for _ in range(14_000)], minlength=7)
    assert len(counts) == 7
    assert (np.abs(counts - 2000) < 5 * 2000**0.5).all()
    assert all(jit.random_below(rng, 1) == 0 for _ in range(10))


def test_random_unit_and_gumbel_have_their_moments() -> None:
    rng = jit.make_rng(6)
    units = np.array([jit.random_unit(rng) for _ in range(20_000)])
    assert ((units >= 0) & (units < 1)).all()
    assert abs(units.mean() - 0.5) < 0.01 and abs(units.var() - 1 / 12) < 0.003
    gumbels = np.array([jit.random_gumbel(rng) for _ in range(20_000)])
    assert np.isfinite(gumbels).all()
    assert abs(gumbels.mean() - 0.5772) < 0.05
    assert abs(gumbels.std() - math.pi / 6**0.5) < 0.05


def test_seeds() -> None:
    assert jit.make_rng(1) == jit.make_rng(1) != jit.make_rng(2)
    a, b = np.random.SeedSequence(1).spawn(2)
    assert jit.make_rng(a) != jit.make_rng(b)
    assert jit.make_rng(a).shape == (1,) and jit.make_rng(a).dtype == np.uint64


class Pair(NamedTuple):
    first: NDArray[np.int64]
    second: NDArray[np.int64]


@jit.kernel
def total_of_copy(values: NDArray[np.int64]) -> int:
    return values.copy().sum()  # type: ignore[no-any-return]


def add(pair: Pair, row: int) -> int:
    values = pair.second[row]
    return values[0] + values[1] + pair.first[row]  # type: ignore[no-any-return]


def test_borrowing_kernels_count_no_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(np.arange(4), np.arange(8).reshape(4, 2))
    for decorator, counts in ((jit.kernel, True), (jit.borrowing_kernel, False)):
        # Code from a cache cannot be looked at.
        monkeypatch.setattr(jit, "CACHE_DIR", tmp_path / decorator.__name__)
        compiled = decorator(add)
        assert [compiled(pair, row) for row in range(4)] == [1, 6, 11, 16]
        if not INTERPRETED:
            code = next(iter(compiled.inspect_llvm().values()))  # type: ignore[attr-defined]
            assert ("NRT_" in code) == counts


def test_borrowing_kernels_call_those_that_make_arrays_and_give_back_what_they_took() -> None:
    @jit.borrowing_kernel
    def borrow(pair: Pair, row: int) -> int:
        return total_of_copy(pair.second[row]) + pair.first[row]  # type: ignore[no-any-return]

    pair = Pair(np.arange(4), np.arange(8).reshape(4, 2))
    before = [sys.getrefcount(array) for array in pair]
    assert [borrow(pair, row) for row in range(4)] == [1, 6, 11, 16]
    assert [sys.getrefcount(array) for array in pair] == before


def test_borrowing_kernels_make_no_arrays() -> None:
    @jit.borrowing_kernel
    def make(length: int) -> int:
        return np.zeros(length).size

    if INTERPRETED:
        assert make(3) == 3
        return
    with pytest.raises(NumbaError):
        make(3)


def test_source_digest_follows_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "games").mkdir()
    source = tmp_path / "games" / "go.py"
    source.write_text("a = 1\n")
    first = jit.source_digest(tmp_path)
    assert len(first) == 16 and first == jit.source_digest(tmp_path)
    source.write_text("a = 2\n")
    assert jit.source_digest(tmp_path) != first
    source.write_text("a = 1\n")
    assert jit.source_digest(tmp_path) == first
    source.rename(tmp_path / "games" / "og.py")
    assert jit.source_digest(tmp_path) != first


def test_prune_keeps_the_newest_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "CACHE_ROOT", tmp_path)
    monkeypatch.setattr(jit, "CACHE_DIR", tmp_path / f"{0:016x}")
    for i in range(6):
        folder = tmp_path / f"{i:016x}"
        folder.mkdir()
        os.utime(folder, (1000 + i, 1000 + i))
    (tmp_path / "something else").mkdir()
    assert jit.prune_caches(keep=2) == 3
    left = sorted(int(path.name, 16) for path in tmp_path.iterdir() if len(path.name) == 16)
    assert left == [0, 4, 5], "the two newest and the one in use"
    assert (tmp_path / "something else").is_dir()
    monkeypatch.setattr(jit, "CACHE_ROOT", tmp_path / "absent")
    assert jit.prune_caches() == 0


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_calls_of_any_integer_are_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "CACHE_DIR", tmp_path)

    @jit.kernel
    def doubled(n: int) -> int:
        return 2 * n

    @jit.kernel
    def total(numbers: NDArray[np.int16]) -> int:
        last = 0  # a literal until the loop has been read
        for i in range(len(numbers)):
            last = doubled(last) + doubled(numbers[i]) + doubled(7)
        return last

    assert total(np.array([20_000, -1], np.int16)) == 2 * (40_000 + 14) - 2 + 14
    compiled: Any = doubled
    assert compiled.signatures == [(numba.types.int64,)]


PROGRAM = """
import numpy as np
from ghostgo.engine import jit
from ghostgo.engine.games import game
from ghostgo.engine.games.registry import get_game
state = get_game("{name}").new_states(2)
game.random_playout(state[0], jit.make_rng(1))
print(state[0].move_number, state[0].hash, game.score_of(state[0]))
"""


@pytest.mark.parametrize("name", ["go5", "connect_four"])
def test_plain_python_plays_the_same_game(name: str) -> None:
    outputs = []
    for disabled in ("0", "1"):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(name=name)],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(run.stdout)
    assert outputs[0] == outputs[1] != ""


def test_names_of_compiled_code_tell_layouts_apart_in_every_process() -> None:
    """Cached code of one process is linked with that of others: see `jit._mangle_by_content`."""
    program = (
        "import numba, numpy as np, sys\n"
        "from ghostgo.engine import jit\n"
        "from ghostgo.engine.games.go import state_dtype\n"
        "for n in range(int(sys.argv[1])): numba.from_dtype(np.dtype([(f'f{n}', 'i1')]))\n"
        "for size in (5, 7):\n"
        "    record = numba.from_dtype(state_dtype(size, size))\n"
        "    print(record.mangling_args, record.fields['board'].type.mangling_args)\n"
        "    print(numba.types.Array(record, 1, 'C').mangling_args[1][0].mangling_args)\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program, str(types_before)],
            env={**os.environ, "NUMBA_DISABLE_JIT": "0"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for types_before in (0, 3)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0][:2])) == 2 and runs[0][0] != runs[0][2]
