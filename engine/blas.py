"""Matrix products inside kernels, by the BLAS that torch computes with.

From Python a product costs as much around it as in it where boards are few, and each one takes the
interpreter's lock twice, for which threads that share a batch then wait. Torch's library exports
Fortran's `sgemm`, which a kernel calls by its address; it keeps to the calling thread's number of
threads (`torch.set_num_threads`), as torch's own products do.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
import torch
from numpy.typing import NDArray

from ghostgo.engine.jit import kernel

Floats = NDArray[np.float32]

SYMBOL = "ghostgo_sgemm"
"""The name that compiled kernels, cached ones too, know the product by."""
_LIBRARIES = "libtorch_cpu.so", "libtorch_cpu.dylib"
_sgemm: Any = numba.types.ExternalFunction(SYMBOL, numba.types.void(*[numba.types.voidptr] * 13))
_N = np.uint8(ord("N"))


def _address() -> int | None:
    """Where `sgemm` lies in this process; None if torch's library has none."""
    for name in _LIBRARIES:
        path = Path(torch.__file__).parent / "lib" / name
        if path.is_file():
            found = getattr(ctypes.CDLL(str(path)), "sgemm_", None)
            return None if found is None else ctypes.cast(found, ctypes.c_void_p).value
    return None


ADDRESS = _address()
if ADDRESS is not None:
    llvm.add_symbol(SYMBOL, ADDRESS)


@kernel
def multiply(a: Floats, b: Floats, out: Floats) -> None:
    """Write the products of matrices a[i] @ b[i], (K, M, L) by (K, L, N), into `out` (K, M, N).

    Only where `available`.
    """
    # Fortran's matrices are columns first, so it is given out' = b' a'. Its integers have 32 or 64
    # bits; the lower half of these is the number either way. The lengths of its two letters, which
    # some compilers pass behind the rest, no BLAS reads.
    sizes = np.array([b.shape[2], a.shape[1], a.shape[2]], np.int64)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    as_is = np.full(1, _N)
    n, m, k = sizes[:1].ctypes, sizes[1:2].ctypes, sizes[2:].ctypes
    for i in range(len(a)):
        _sgemm(
            as_is.ctypes, as_is.ctypes, n, m, k,
            one.ctypes, b[i].ctypes, n, a[i].ctypes, k, zero.ctypes, out[i].ctypes, n,
        )  # fmt: skip


@cache
def available() -> bool:
    """Whether `multiply` works here, by a product of small whole numbers."""
    if ADDRESS is None or numba.config.__dict__["DISABLE_JIT"]:
        return False
    a = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    b = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    out = np.empty((2, 5, 4), np.float32)
    multiply(a, b, out)
    return bool(np.array_equal(out, a @ b))
