"""Mutated records into the importer; `benchmarks/fuzz_records.py` does so a hundred thousand times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sizes import sized

TOOL = Path(__file__).resolve().parents[1] / "benchmarks" / "fuzz_records.py"


def test_mutated_records_are_kept_or_dropped_for_a_reason(tmp_path: Path) -> None:
    out, files = tmp_path / "found.json", sized(500, 90)
    words = ["--files", str(files), "--seed", "5", "--json", str(out), "--most-mib", "4000"]
    ran = subprocess.run(
        [sys.executable, str(TOOL), *words], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["files"] == files and found["records_read"] > files / 2
    assert files / 2 < found["distinct"] <= files
    assert found["kept"] > 0 and found["reasons"] >= 5, "neither all alike nor all refused"


def test_a_hang_and_too_much_memory_end_it() -> None:
    use = "import sys; sys.path.insert(0, sys.argv[1]); import fuzz_records as tool\n"
    for code, told in (
        ("with tool.within(0.1):\n    while True:\n        pass", "Timeout"),
        ("tool.peak_memory(1.0)", "MiB of memory, 1 at most"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", use + code, str(TOOL.parent)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 1 and told in ran.stderr, ran.stderr[-2000:]
