"""Speed and memory of importing records on one core.

    python benchmarks/records.py PATH [--game go9] [--rounds 3] [--json FILE]

The first import compiles and is checked (games kept, none unaccounted for), not timed. Times are
CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

from ghostgo.warmstart.select import import_records


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--game", default="go9")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    table, report = import_records(given.path, given.game)
    assert len(table) == report.kept == report.read - sum(report.dropped.values())
    seconds = []
    for _ in range(given.rounds):
        start = time.process_time()
        import_records(given.path, given.game)
        seconds.append(time.process_time() - start)
    figures = {
        "games_read": float(report.read),
        "games_kept": float(report.kept),
        "positions": float(table.positions),
        "games_per_second": report.read / statistics.median(seconds),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    for name, value in figures.items():
        print(f"{name:20} {value:14,.0f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
