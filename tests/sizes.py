"""How large tests are: with compiled kernels, and in plain Python, where those are 100 times slower."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

from ghostgo.warmstart.teacher import make_records

T = TypeVar("T")
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def sized(compiled: T, interpreted: T) -> T:
    """`compiled`, or `interpreted` where kernels run as plain Python."""
    return interpreted if INTERPRETED else compiled


def teacher_records(path: Path, games: int, rollouts: int, seed: int) -> None:
    """Write records of 5x5 games to `path`, always by compiled kernels.

    The tests that call this are about what is done with records; tests of the teacher itself call
    `make_records`.
    """
    if not INTERPRETED:
        return make_records(path, "go5", games=games, rollouts=rollouts, seed=seed)
    words = [
        "--game",
        "go5",
        "--games",
        str(games),
        "--rollouts",
        str(rollouts),
        "--seed",
        str(seed),
    ]
    command = [sys.executable, "-m", "ghostgo", "records", "make", "--out", str(path), *words]
    subprocess.run(command, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": "0"})
