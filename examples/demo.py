"""The whole mission in miniature, on 7x7 Go: two tiny runs, one with a prior, rated on one plot.

The prior imitates games that plain tree search played with itself, made here. They are not human:
with human records, name them instead (`ghostgo warmstart --records PATH`). Every step is a command
that you could type; each is printed before it runs, and a demo that was stopped goes on.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path("runs") / "demo"
RECORDS = ROOT / "teacher.sgfs"
STEPS = (
    (
        "make records: plain tree search plays itself",
        f"records make --game go7 --games 300 --rollouts 100 --out {RECORDS}",
    ),
    (
        "the ghost: imitate them, then play yourself",
        f"warmstart --records {RECORDS} --game go7 --preset tiny --epochs 8 --root {ROOT}",
    ),
    ("", f"selfplay --run warm --minutes 1.3 --root {ROOT}"),
    (
        "the animal: play yourself from random weights",
        f"selfplay --run scratch --game go7 --preset tiny --minutes 2 --root {ROOT}",
    ),
    (
        "the arena: rate them all",
        f"arena --a scratch --b warm --visits 32 --minutes 1.5 --root {ROOT}",
    ),
)


def main() -> int:
    """Run the steps; the first exit code that is not 0, else 0."""
    ROOT.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for title, words in STEPS:
        if title:
            print(f"\n== {title}", flush=True)
        if words.startswith("records") and RECORDS.exists():
            print(f"{RECORDS} is there already", flush=True)
            continue
        print(f"$ ghostgo {words}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "ghostgo", *words.split()], check=False
        ).returncode
        if code:
            return code
    minutes = (time.monotonic() - started) / 60
    print(
        f"\n== done in {minutes:.1f} minutes\n"
        f"the plot:       {ROOT / 'arena' / 'arena.png'}\n"
        f"the report:     {ROOT / 'arena' / 'arena.html'}\n"
        "play the ghost: .venv/bin/ghostgo play warm --root runs/demo\n"
        "These runs are minutes old: expect no strength, only the method. "
        "`ghostgo selfplay` trains on 9x9."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
