"""The project file says what the tree holds: packages, dependencies, pins, import directions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import ghostgo

PARTS = ("arena", "data", "engine", "selfplay", "warmstart")
# The distribution's name where it is not the module's. Numba is built on one llvmlite and brings it.
DISTRIBUTIONS = {
    "pyspiel": "open-spiel",
    "llvmlite": "numba",
    "torch.utils.tensorboard": "tensorboard",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources() -> Iterator[Path]:
    yield from (ROOT / "ghostgo").glob("*.py")
    for part in PARTS:
        yield from (ROOT / part).rglob("*.py")


def requirement_name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return match[0].lower().replace("_", "-")


def test_packages_equal_the_tree(project: dict[str, Any]) -> None:
    found = {"ghostgo": "ghostgo"}
    for part in PARTS:
        for init in (ROOT / part).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT).as_posix()
            found[f"ghostgo.{folder.replace('/', '.')}"] = folder
    tools = project["tool"]["setuptools"]
    assert tools["package-dir"] == found
    assert sorted(tools["packages"]) == sorted(found)


def test_what_is_no_python_is_in_the_wheel(project: dict[str, Any]) -> None:
    kinds = (".js", ".css", ".json")
    found = {path.name for path in (ROOT / "arena").iterdir() if path.suffix in kinds}
    assert found == set(project["tool"]["setuptools"]["package-data"]["ghostgo.arena"])


def test_links_lead_to_the_parts() -> None:
    for part in PARTS:
        assert (ROOT / "ghostgo" / part).resolve() == ROOT / part


def test_every_folder_of_modules_is_a_package() -> None:
    assert {
        path.parent for path in sources() if not (path.parent / "__init__.py").exists()
    } == set()


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {DISTRIBUTIONS.get(name) or name.partition(".")[0] for name in names}


def test_declared_dependencies_are_those_imported(project: dict[str, Any]) -> None:
    outside = set().union(*(imported_names(path) for path in sources()))
    outside -= {*sys.stdlib_module_names, "ghostgo"}
    needed = {DISTRIBUTIONS.get(name, name) for name in outside}
    optional = project["project"]["optional-dependencies"]
    extras = optional["openspiel"] + optional["openvino"]
    declared = {requirement_name(text) for text in project["project"]["dependencies"] + extras}
    assert needed - declared == set(), "imported, not declared"
    assert declared - needed == set(), "declared, imported nowhere"


def test_every_dependency_is_pinned_exactly(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    pinned = {requirement_name(line) for line in pins}
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    ]
    assert {requirement_name(text) for text in wanted} - pinned == set()


def test_one_version(project: dict[str, Any]) -> None:
    assert project["project"]["dynamic"] == ["version"]
    assert f"## {ghostgo.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_imports_run_one_way() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo"],
        check=False, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("part", ["engine.search", "engine.games.registry", "session"])
def test_rules_and_search_load_neither_torch_nor_h5py_nor_click(part: str) -> None:
    probe = f"import sys, ghostgo.{part}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert not {"torch", "h5py", "click"} & set(done.stdout.split())
