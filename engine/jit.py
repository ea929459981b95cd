"""The decorators that compile kernels, and where their cache lies.

Numba keys a cached kernel by the content of its own file only, so a change in a callee or in an
imported constant would leave stale machine code behind (numba/numba#8359). The cache folder is
therefore named by a digest of every source file of the engine: an edit anywhere means a recompile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

ENGINE_ROOT = Path(__file__).resolve().parent
CACHES_KEPT = 4


def source_digest(root: Path = ENGINE_ROOT) -> str:
    """Hex digest (16 digits) of every Python source below `root`, by relative path and content.

    The versions of Numba and NumPy, and whether indices are checked, are in it too.
    """
    checks = os.environ.get("NUMBA_BOUNDSCHECK", "")
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {checks}".encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ghostgo" / "kernels"


CACHE_ROOT = _cache_root()
CACHE_DIR = CACHE_ROOT / source_digest()


def prune_caches(keep: int = CACHES_KEPT) -> int:
    """Delete all but the `keep` caches compiled into last; returns how many went."""
    if not CACHE_ROOT.is_dir():
        return 0
    folders = [path for path in CACHE_ROOT.iterdir() if path.is_dir() and len(path.name) == 16]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    stale = [path for path in folders[keep:] if path != CACHE_DIR]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)


@cache
def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mangle_by_content(self: Any) -> tuple[str, tuple[str]]:
    return type(self).__name__, (_digest(str(self)),)


# Numba names compiled functions by their argument types, but a record by a number that counts the
# types seen so far in this process, and an array inside a record without its shape. Code cached by
# one process for one board size then bears the same symbols as another process's code for another
# size, and a third process that loads both calls the wrong one. A digest of the layout cannot.
_named_by_content: tuple[Any, ...] = (numba.types.Record, numba.types.NestedArray)
for _type in _named_by_content:
    _type.mangling_args = property(_mangle_by_content)


def _widened(given: Any) -> Any:
    """Numba's type int64 for a literal or an integer of fewer bits, any other type as it is."""
    types: Any = numba.types
    plain = types.unliteral(given)
    narrow = isinstance(plain, types.Integer) and plain.bitwidth < 64
    return types.int64 if narrow else plain


def _compile_calls_once(compiled: Any) -> None:
    """Let calls from other kernels pass every integer of fewer than 64 bits as an int64.

    Numba would compile a kernel, and all that it calls, once more for each width of integer, and
    once for a literal number, even where that is only the first value of a variable in a loop: a
    fifth of all that a search compiles.
    """
    template = compiled.get_call_template

    def get_call_template(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        wide = tuple(_widened(given) for given in args)
        return template(wide, {name: _widened(given) for name, given in kws.items()})

    compiled.get_call_template = get_call_template


def _compile(func: Callable[P, R], counted: bool) -> Callable[P, R]:
    config: Any = numba.core.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_DIR)
    # `_nrt` is private: tests/test_jit.py holds what it does.
    options: Any = {"cache": True, "nogil": True, "_nrt": counted}
    try:
        compiled: Callable[P, R] = numba.njit(**options)(func)
    finally:
        config.CACHE_DIR = before
    if hasattr(compiled, "get_call_template"):  # not in plain Python
        _compile_calls_once(compiled)
    return compiled


def kernel(func: Callable[P, R]) -> Callable[P, R]:
    """Compile `func` with Numba in nopython mode, cached on disk, releasing the GIL while it runs.

    The signature is kept for type checkers. With NUMBA_DISABLE_JIT=1 the function runs as plain
    Python.
    """
    return _compile(func, counted=True)


def borrowing_kernel(func: Callable[P, R]) -> Callable[P, R]:
    """A `kernel` that borrows the arrays it is given, where others count references to them.

    A function that takes `Trees` else begins and ends with an atomic operation for each array in
    it, which costs more than most of them do. `func` must neither make arrays nor call Numba's
    functions that do (Numba refuses to compile it then), and what it returns must not be a new
    view, since nobody would own it. Other kernels may make arrays, also those that it calls.
    """
    return _compile(func, counted=False)


def kernels_are_cached() -> bool:
    """Whether this version of the engine has compiled any kernel on this machine before."""
    return CACHE_DIR.is_dir() and any(CACHE_DIR.iterdir())


# SplitMix64 (Steele, Lea and Flood 2014): one 64-bit word of state, passed as an array of shape
# (1,) so that kernels can advance it in place.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S32 = (np.uint64(n) for n in (30, 27, 31, 11, 32))
_TO_UNIT = 1.0 / (1 << 53)

Rng = NDArray[np.uint64]


def make_rng(seed: np.random.SeedSequence | int) -> Rng:
    """RNG state for kernels, shape (1,) uint64, from a seed or a spawned `SeedSequence`."""
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return sequence.generate_state(1, np.uint64).astype(np.uint64)


@kernel
def random_u64(rng: Rng) -> np.uint64:
    """Next 64 random bits; advances `rng` (shape (1,) uint64) in place."""
    rng[0] += _GAMMA
    z = rng[0]
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@kernel
def random_unit(rng: Rng) -> float:
    """A float64 drawn uniformly from [0, 1); advances `rng` in place."""
    return np.float64(random_u64(rng) >> _S11) * _TO_UNIT


@kernel
def random_below(rng: Rng, n: int) -> Any:
    """An int64 drawn uniformly from 0 .. n-1 (n < 2**31); advances `rng` in place."""
    return np.int64(((random_u64(rng) >> _S32) * np.uint64(n)) >> _S32)


@kernel
def random_gumbel(rng: Rng) -> float:
    """A draw from the standard Gumbel distribution; advances `rng` in place."""
    u = random_unit(rng)
    return -np.log(-np.log(u + 1e-300) + 1e-300)
