"""What `benchmarks/ablation.py` writes into the configs of its variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import benchmark_module

from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.config import make_config


@pytest.fixture(scope="module")
def tool() -> Any:
    return benchmark_module("ablation")


def test_variants_differ_in_what_they_name_and_in_nothing_else(tool: Any) -> None:
    preset = make_config(preset="cpu", game="go7")
    every = tool.variants(get_game("go7"), preset, 1e12)
    written = tool.configs(every, 1500, 64, "float32")
    made = {name: make_config(text, preset="cpu", game="go7") for name, text in written.items()}
    assert {config.learner.number_format for config in made.values()} == {"float32"}
    paces = {
        name: (config.selfplay.games, config.selfplay.positions_per_iteration)
        for name, config in made.items()
    }
    assert paces.pop("default_pace") == (256, 4900)
    assert set(paces.values()) == {(64, 1500)}
    base, caps = made["base"].selfplay, made["caps_samples"].selfplay
    mean = caps.full_share * caps.visits + (1 - caps.full_share) * caps.cheap_visits
    samples = caps.samples_per_position * caps.full_share / mean
    assert samples == pytest.approx(base.samples_per_position / base.visits)
    assert len({repr(config) for config in made.values()}) == len(made)


def test_an_experiment_keeps_its_number_format(tool: Any, tmp_path: Path) -> None:
    assert tool.format_of(tmp_path, None) == "float32"
    assert tool.format_of(tmp_path, "bfloat16") == "bfloat16"
    (tmp_path / "base.toml").write_text("[selfplay]\ngames = 64\n")  # as it was written once
    assert tool.format_of(tmp_path, None) == "auto"
    (tmp_path / "base.toml").write_text('[learner]\nnumber_format = "float32"\n')
    assert tool.format_of(tmp_path, None) == tool.format_of(tmp_path, "float32") == "float32"
    with pytest.raises(SystemExit, match="begun with --number-format float32"):
        tool.format_of(tmp_path, "bfloat16")


def test_more_seeds_have_more_rated_games(tool: Any) -> None:
    assert [tool.rated(4000, seeds) for seeds in (2, 3, 5)] == [2667, 4000, 6667]
