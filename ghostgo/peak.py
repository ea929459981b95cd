"""The most that one core can multiply and add, measured by a loop that does nothing else.

Products of large matrices, by which machines are usually judged, reach half of it or all of it,
depending on the library. The loop keeps everything in registers: ten independent chains of
multiply-adds, more than the units' latency times their number. It is LLVM assembly, since
no loop in Python or Numba says which instruction it becomes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHAINS = 10
"""Accumulators; with two operands they fit into the sixteen registers of AVX."""
TURNS = 1_000_000
SECOND = 64
"""Bytes from the first operand to the second."""


@dataclass(frozen=True)
class _Instruction:
    """A multiply-add on vectors that sums into `lanes` float32."""

    name: str
    operand: str
    """LLVM's type of the two factors."""
    lanes: int
    products: int
    """Multiplications, and as many additions."""
    sum_first: bool
    """Whether the sum stands before the factors."""


def _instruction(kind: str, features: dict[str, bool]) -> _Instruction | None:
    """What computes in `kind` (`fp32`, `bf16`) on a processor of these features; None: nothing."""
    if kind == "bf16":
        if not features.get("avx512bf16"):
            return None
        return _Instruction("llvm.x86.avx512bf16.dpbf16ps.512", "<32 x bfloat>", 16, 32, True)
    if features.get("avx512f"):
        lanes = 16
    elif features.get("avx2") and features.get("fma"):
        lanes = 8
    elif features.get("neon"):
        lanes = 4
    else:
        return None
    return _Instruction(f"llvm.fma.v{lanes}f32", f"<{lanes} x float>", lanes, lanes, False)


def _assembly(op: _Instruction) -> str:
    """`void fma(turns, in, out)`: `out` (CHAINS x lanes) is what the chains sum up to."""
    total, factor = f"<{op.lanes} x float>", op.operand
    types = [total, factor, factor] if op.sum_first else [factor, factor, total]

    def call(i: int) -> str:
        names = [f"%a{i}", "%x", "%y"] if op.sum_first else ["%x", "%y", f"%a{i}"]
        given = ", ".join(f"{kind} {name}" for kind, name in zip(types, names, strict=True))
        return f"%n{i} = call {total} @{op.name}({given})"

    chains = range(CHAINS)
    return "\n".join(
        [
            f"declare {total} @{op.name}({', '.join(types)})",
            "define void @fma(i64 %turns, ptr %in, ptr %out) {",
            "entry:",
            f"%x = load {factor}, ptr %in, align 4",
            f"%second = getelementptr i8, ptr %in, i64 {SECOND}",
            f"%y = load {factor}, ptr %second, align 4",
            "br label %loop",
            "loop:",
            "%turn = phi i64 [0, %entry], [%next, %loop]",
            *(f"%a{i} = phi {total} [zeroinitializer, %entry], [%n{i}, %loop]" for i in chains),
            *(call(i) for i in chains),
            "%next = add i64 %turn, 1",
            "%more = icmp ult i64 %next, %turns",
            "br i1 %more, label %loop, label %end",
            "end:",
            *(f"%p{i} = getelementptr {total}, ptr %out, i64 {i}" for i in chains),
            *(f"store {total} %n{i}, ptr %p{i}, align 4" for i in chains),
            "ret void",
            "}",
        ]
    )


def _host() -> tuple[str, dict[str, bool]]:
    """Name and features of this processor, as LLVM knows them."""
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name()), dict(llvm.get_host_cpu_features())


def compiled(op: _Instruction, cpu: str, features: str) -> tuple[Any, Any]:
    """The loop for such a processor, as LLVM's module and target."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_assembly(op))
    module.verify()
    triple = llvm.Target.from_default_triple()
    return module, triple.create_target_machine(cpu=cpu, features=features, opt=2)


def fma_work(kind: str) -> Callable[[], int] | None:
    """A call that runs the loop in `kind` (`fp32`, `bf16`) and returns the FLOPs it took.

    Both factors are 1/2. None where this processor has no such instruction that is known here, or
    LLVM is too old.
    Raises AssertionError if the sums are not what they must be.
    """
    import llvmlite.binding as llvm

    try:
        cpu, features = _host()
        op = _instruction(kind, features)
        if op is None:
            return None
        flags = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(features.items()))
        module, target = compiled(op, cpu, flags)
    except RuntimeError:  # LLVM does not know its host, or is too old for the assembly
        return None
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    entry = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(
        engine.get_function_address("fma")
    )
    half = 0x3F003F00 if kind == "bf16" else 0x3F000000
    factors = (ctypes.c_uint32 * (2 * SECOND // 4))(*[half] * (2 * SECOND // 4))
    sums = (ctypes.c_float * (CHAINS * op.lanes))()

    def work(engine: Any = engine) -> int:  # the engine owns the code
        entry(TURNS, ctypes.addressof(factors), ctypes.addressof(sums))
        return 2 * op.products * CHAINS * TURNS

    work()
    wanted = TURNS * (op.products // op.lanes) / 4
    assert all(abs(total - wanted) < 1e-3 * wanted for total in sums), "the loop sums up wrongly"
    return work
