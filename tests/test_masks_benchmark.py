"""The benchmark of masks: its figures, and that its check refuses a twin that lacks a part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import benchmark_module
from torch import Tensor

from ghostgo.engine.network import pool

MASKS = benchmark_module("masks")
WORDS = ["--network", "b2c16", "--games", "go5,go7", "--batch", "8", "--calls", "5"]
WORDS += ["--rounds", "2", "--seconds", "0.001"]
LOSSES = MASKS.masked_losses


def test_both_variants_are_checked_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    MASKS.main([*WORDS, "--json", str(tmp_path / "m.json")])
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["padding"] == pytest.approx(1 - (25 + 49) / (2 * 49))
    assert 0 < found["off"]["inference"] < 1e-4 and 0 < found["off"]["training"] < 1e-3
    assert list(found["figures"]) == ["training, 8 rows", "inference, 5 rows"]
    for each in found["figures"].values():
        assert min(map(len, each["rates"].values())) == 2 and min(each["ratios"]) > 0
    out = capsys.readouterr().out
    assert "24.5% of the points" in out and out.count("\n| ") == 2 + 1


def test_a_mixed_batch_holds_every_row_once_on_its_own_board() -> None:
    games, large = MASKS.boards_of("go5,go7", "b2c16")
    batches = [(game, MASKS.random_batch(game, 6, 0)) for game in games]
    mixes = MASKS.mixed(batches, large, [0, 6, 12])
    assert [len(batch) for batch, _ in mixes] == [6, 6]
    assert {float(each) for _, boards in mixes for each in boards.points} == {25.0, 49.0}
    for batch, boards in mixes:
        assert not batch.planes[boards.off.flatten(1).numpy()].any()
        assert batch.policy.sum(axis=1) == pytest.approx(1)
    planes = sum(int((batch.planes > 0).sum()) for batch, _ in mixes)
    assert planes == sum(int((batch.planes > 0).sum()) for _, batch in batches)


def whole_pool(x: Tensor, boards: Any) -> Tensor:
    return pool(x)


def unmasked_norm(norm: Callable[[Tensor], Tensor], x: Tensor, boards: Any) -> Tensor:
    return norm(x)


def whole_norm(norm: Callable[[Tensor], Tensor], x: Tensor, boards: Any) -> Tensor:
    """Right in inference; in training its statistics count the padding."""
    inside: Tensor = norm(x) * boards.mask
    return inside


def off_board(out: dict[str, Tensor], batch: Any, boards: Any) -> dict[str, Tensor]:
    """Score and ownership as if every row were on the largest board."""
    everywhere = MASKS.Boards([boards.large] * len(batch), boards.large)
    return LOSSES(out, batch, everywhere)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("part", "broken", "said"),
    [
        ("masked_pool", whole_pool, "policy on go5"),
        ("masked_norm", unmasked_norm, "policy on go5"),
        ("masked_norm", whole_norm, "loss of policy on go5"),
        ("masked_losses", off_board, "loss of score on go5"),
        ("OFF", 0.0, "loss of policy on go5"),
    ],
)
def test_a_twin_that_lacks_a_part_of_its_mask_is_refused(
    part: str, broken: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MASKS, part, broken)
    with pytest.raises(SystemExit, match=f"masked: {said} is .* off"):
        MASKS.main(WORDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--games", "go5,hex7"], "another kind of game"),
        (["--games", "go5x7,go7x5"], "one board must hold all"),
        (["--games", "connect_four"], "flat policy head"),
        (["--network", "b2c16d"], "no masked twin"),
        (["--calls", "1"], "at least one of each board"),
        (["--calls", "x"], "--calls"),
    ],
)
def test_what_it_cannot_compare_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MASKS.main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
