"""What several test files share."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from sizes import INTERPRETED

ROOT = Path(__file__).resolve().parent.parent
INTERPRETED_SECONDS = float(os.environ.get("INTERPRETED_SECONDS", "20"))
"""Seconds of one test without the compiler, where kernels are some hundred times slower."""


LONG_FIRST = (
    "arena_kill", "anchor", "golden", "imitate", "kill", "loop", "follow", "arena_match", "search",
    "ranks", "bench", "sprt", "exploration", "utility", "orientation", "human", "quantise", "cross",
)  # fmt: skip
"""Files that take long and that compile for games of their own, for `make test` to begin with."""


def benchmark_module(name: str) -> Any:
    """The script `benchmarks/NAME.py` as a module."""
    spec = importlib.util.spec_from_file_location(
        f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py"
    )
    assert spec and spec.loader
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(ROOT / "benchmarks"))  # scripts import others beside them
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


ONLY_IN_ALL = {
    "arena_kill": ["[20]"],
    "bench": ["[b1c8p]"],
    "cache": ["without[32]"],
    "control": ["test_a_permuted_prior"],
    "failures": ["told[1]"],
    "feeding": ["without[connect_four]"],
    "follow": ["test_two_real_trainings"],
    "arena_tournament": ["test_killed_three_times"],
    "golden": ["[gomoku9]", "[hex5]"],
    "gtp": ["referee[capture]"],
    "human": ["test_an_analysing_client"],
    "imitate": ["[go4x7]"],
    "jit": ["same_game[go5]"],
    "kill": ["test_arena"],
    "learning": ["lessons[clear_board]", "lessons[end of input]"],
    "lesson": ["[hex5]"],
    "openspiel": ["breakthrough(rows", "nine_mens"],
    "search": ["test_puct_visits_equal_the_naive_twin[go2"],
    "solved": ["test_a_minute"],
    "utility": ["[go2"],
}  # fmt: skip
"""Parts of test names, by file, that only `make test-all` runs as well: they take long, most of it to
compile for one more board, and what they are about has a shorter test beside them."""


def _only_in_all(item: pytest.Item) -> bool:
    parts = ONLY_IN_ALL.get(item.path.stem.removeprefix("test_"), ())
    return any(part in item.name for part in parts)


def _begins(item: pytest.Item) -> int:
    name = item.path.stem.removeprefix("test_")
    return LONG_FIRST.index(name) if name in LONG_FIRST else len(LONG_FIRST)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; skip tests marked `gpu` where torch sees no device."""
    items.sort(key=_begins)
    for item in items:
        if _only_in_all(item):
            item.add_marker(pytest.mark.slow)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _in_time() -> Generator[None, None, None]:
    """Without the compiler, skip a test that takes too long, at whatever it has got to by then."""
    if not INTERPRETED:
        return (yield)

    def give_up(*_: object) -> None:
        pytest.skip(f"over {INTERPRETED_SECONDS:g} s without compiled kernels")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, INTERPRETED_SECONDS, INTERPRETED_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """Fixtures in time."""
    return (yield from _in_time())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Tests in time."""
    return (yield from _in_time())


@pytest.fixture(scope="session")
def ghostgo_command() -> list[str]:
    """The command line, as a process of this interpreter."""
    return [sys.executable, "-m", "ghostgo"]


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment for child processes: output unbuffered, no colours."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def untrained_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one run, `fresh`: 9x9 Go, one untrained checkpoint at step 3."""
    import torch

    from ghostgo.data.run import Run
    from ghostgo.engine.games.registry import get_game
    from ghostgo.engine.network import Network, NetworkConfig

    root = tmp_path_factory.mktemp("runs")
    torch.manual_seed(1)
    network = Network(get_game("go9"), NetworkConfig.preset("b1c16"))
    with Run.creating(root / "fresh", "go9", seed=1, config="") as run:
        run.save_checkpoint(3, network, {"totals": {}})
    return root
