"""The loop that a processor's peak is measured by: the right sums, and the right instructions."""

from __future__ import annotations

import pytest

from ghostgo import peak

SAPPHIRE = ("sapphirerapids", "+avx512bf16", {"avx512f": True, "avx512bf16": True})
ZEN3 = ("znver3", "", {"avx2": True, "fma": True})


def test_the_loop_sums_up_on_this_processor() -> None:
    for kind in ("fp32", "bf16"):
        if work := peak.fma_work(kind):  # it checks its sums
            assert work() == work() > 10 * peak.TURNS * peak.CHAINS


@pytest.mark.parametrize(
    ("kind", "target", "instruction"),
    [
        ("fp32", ZEN3, "vfmadd231ps\t%ymm"),
        ("fp32", SAPPHIRE, "vfmadd231ps\t%zmm"),
        ("bf16", SAPPHIRE, "vdpbf16ps\t%zmm"),
    ],
)
def test_a_turn_is_one_instruction_a_chain(
    kind: str, target: tuple[str, str, dict[str, bool]], instruction: str
) -> None:
    cpu, flags, features = target
    op = peak._instruction(kind, features)
    assert op is not None
    try:
        module, machine = peak.compiled(op, cpu, flags)
    except RuntimeError as error:  # LLVM for another family of processors
        pytest.skip(str(error))
    loop = machine.emit_assembly(module).split("LBB0_1:")[1].split("jb\t")[0]
    assert loop.count(instruction) == peak.CHAINS and "(%r" not in loop


def test_processors_without_the_instruction_have_no_loop() -> None:
    assert peak._instruction("bf16", ZEN3[2]) is None
    assert peak._instruction("fp32", {"sse2": True}) is None
