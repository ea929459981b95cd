"""`ghostgo doctor`: what is installed, what will be used and why, and what is missing.

A fault in one line does not keep the others from being printed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ghostgo import __version__
from ghostgo.engine import jit
from ghostgo.engine.errors import UserError

PACKAGES = ("numpy", "numba", "torch", "h5py", "safetensors", "matplotlib", "tensorboard")
CPU_FEATURES = ("avx2", "avx512f", "avx512bf16", "amx-bf16", "neon", "bf16")
GIGABYTE = 1e9


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _version(package: str) -> Callable[[], str]:
    def version() -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "missing: pip install -c constraints.txt -e ."

    return version


def _cpu() -> str:
    import llvmlite.binding as llvm

    host = llvm.get_host_cpu_features()
    found = [name for name in CPU_FEATURES if host.get(name)]
    return f"{os.cpu_count()} cores, {', '.join(found) or 'no vector extension that matters'}"


def _device() -> str:
    from ghostgo.engine.evaluator import choose_device

    device, why = choose_device()
    return f"{device}: {why}"


def _backend() -> str:
    from ghostgo.engine.evaluator import choose_backend, choose_device

    backend, why = choose_backend(choose_device()[0])
    return f"{backend}: {why}"


def _kernels() -> str:
    state = (
        "compiled" if jit.kernels_are_cached() else "not compiled yet: the first start takes longer"
    )
    return f"{jit.CACHE_DIR} ({state})"


def _gnugo() -> str:
    from ghostgo.arena.gtp_client import find_program

    return (
        find_program("gnugo") or "not found (optional, an outside opponent): apt-get install gnugo"
    )


def _disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free / GIGABYTE
    return f"{free:.1f} GB free here" + ("" if free > 1 else ": a run may need more")


def _openvino() -> str:
    from ghostgo.engine.openvino_backend import available

    works, why = available()
    return why if works else f"{why} (optional)"


def _chosen(run: Path) -> str:
    """What `ghostgo bench --run` chose for a run, in brackets; empty if it has not."""
    from ghostgo.data.choice import read_choice

    choice = read_choice(run)
    if choice is None:
        return ""
    int8 = "; int8 for one checkpoint" if choice.int8 and choice.int8.admitted else ""
    return f" ({choice.backend}{int8})"


def _runs(root: Path) -> str:
    from ghostgo.data.run import list_runs

    names = [name + _chosen(root / name) for name in list_runs(root)]
    return ", ".join(names) or f"none in {root}: ghostgo selfplay makes one"


def _line(label: str, question: Callable[[], str]) -> bool:
    try:
        answer, good = question(), True
    except Exception as error:  # noqa: BLE001 - a broken part is what this report is for
        text = " ".join(str(error).split())
        answer, good = f"FAULT: {text if isinstance(error, UserError) else repr(error)}", False
    print(f"{label:<12}{answer}")
    return good and not answer.startswith("missing")


def report(clear_cache: bool = False, root: Path = Path("runs")) -> None:
    """Print the report; with `clear_cache`, delete the compiled kernels of all versions instead.

    Exits with code 1, after the whole report, if a part that ghostgo cannot do without is broken.
    """
    if clear_cache:
        gone = jit.prune_caches(keep=0)
        if jit.CACHE_DIR.is_dir():
            shutil.rmtree(jit.CACHE_DIR)
            gone += 1
        print(f"kernel caches deleted in {jit.CACHE_ROOT}: {gone}")
        return
    questions: list[tuple[str, Callable[[], str]]] = [
        ("ghostgo", lambda: f"{__version__} in {Path(__file__).parent}"),
        ("python", _python),
        *((package, _version(package)) for package in PACKAGES),
        ("cpu", _cpu),
        ("device", _device),
        ("backend", _backend),
        ("openvino", _openvino),
        ("kernels", _kernels),
        ("gnugo", _gnugo),
        ("disk", _disk),
        ("runs", lambda: _runs(root)),
    ]
    faults = [label for label, question in questions if not _line(label, question)]
    if faults:
        sys.exit(1)
