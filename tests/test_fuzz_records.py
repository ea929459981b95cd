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
    words = ["--files", str(files), "--seed", "5", "--json", str(out)]
    ran = subprocess.run(
        [sys.executable, str(TOOL), *words], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["files"] == files and found["records_read"] > files / 2
    assert found["kept"] > 0 and found["reasons"] >= 5, "neither all alike nor all refused"
