"""`ghostgo bench` end to end; what it measures is never compared with a clock."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ghostgo import cli
from ghostgo.engine import fused, openvino_backend
from ghostgo.engine.evaluator import choose_device

KEYS = {
    "fused_vs_eager_fp32", "int8_vs_eager_fp32", "fraction_of_peak", "selfplay_vs_raw",
    "leaves_per_second_per_core", "bytes_per_node",
}  # fmt: skip


@pytest.mark.parametrize("net", ["b1c8", "b1c8p"])
def test_bench_reports_and_writes_every_figure(
    net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    words = ["bench", "--game", "tic_tac_toe", "--net", net, "--seconds", "0.1", "--visits", "4"]
    assert cli.run([*words, "--json", str(out)]) == 0
    told = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert set(figures) >= KEYS and "recommended" in told
    assert all(name in told for name in figures)
    assert "selfplay_vs_raw counts what the cache answered" in told
    for name, value in figures.items():
        assert value is None or (math.isfinite(value) and value > 0), name
    on_cpu = choose_device()[0] == "cpu"
    assert ("fused_vs_eager_fp32_all_cores" in figures) == (on_cpu and fused.available()[0])
    there = openvino_backend.available()[0]
    assert (figures["int8_vs_eager_fp32"] is not None) == there


@pytest.mark.parametrize("words", [("--net", "b4"), ("--game", "chess"), ("--seconds", "0")])
def test_bad_input_is_one_line(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
