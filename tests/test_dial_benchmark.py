"""The benchmark of the dial: a person's moves matched and games played at every setting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import benchmark_module
from test_lessons_benchmark import records

from ghostgo.data.run import Run
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.human import HumanBot

DIAL = benchmark_module("dial")
GAME = get_game("go5")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The benchmark's arguments for a bot and a prior with weights of their own."""
    for seed, name in enumerate(("bot", "prior")):
        torch.manual_seed(seed)
        network = Network(GAME, NetworkConfig.preset("b2c16"))
        with Run.creating(tmp_path / name, "go5", 0, "") as run:
            run.save_checkpoint(1, network, {"totals": {}, "held_out_share": 1.0})
    given = ["--bot", "bot", "--prior", "prior", "--visits", "4", "--dials", "0,0.5,1"]
    given += ["--positions", "12", "--pairs", "2", "--held-out", "1", "--root", str(tmp_path)]
    given += ["--records", str(records(tmp_path / "a.sgfs", 4)), "--json", str(tmp_path / "a.json")]
    return [*given, "--out", str(tmp_path / "out" / "dial.jsonl")]


def test_every_dial_is_asked_and_plays_and_nothing_is_done_twice(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    DIAL.main(words)
    table = capsys.readouterr().out
    rows = json.loads((tmp_path / "a.json").read_text())["dials"]
    assert [row["dial"] for row in rows] == [0, 0.5, 1]
    assert all(0 < row["positions"] <= 12 for row in rows)
    assert rows[0]["more"] == 0 and "pairs" not in rows[0]
    assert all(row["pairs"] == 2 and row["low"] <= row["points"] <= row["high"] for row in rows[1:])
    assert table.splitlines()[-1].startswith("| 1 | ")

    path = tmp_path / "out" / "dial.jsonl"
    kept = path.read_text()
    path.write_text("\n".join(kept.splitlines()[:-1]) + "\n")  # stopped before the last pair
    DIAL.main(words)
    assert (
        path.read_text() == kept and json.loads((tmp_path / "a.json").read_text())["dials"] == rows
    )

    monkeypatch.setattr(HumanBot, "choose", lambda *_: pytest.fail("asked again"))
    DIAL.main(words)


def test_matches_and_points_are_counted(words: list[str], tmp_path: Path) -> None:
    """Against what the file says, and by hand."""
    DIAL.main(words)
    kept = [json.loads(line) for line in (tmp_path / "out" / "dial.jsonl").read_text().splitlines()]
    rows = json.loads((tmp_path / "a.json").read_text())["dials"]
    for row in rows:
        same = [
            each["same"] for each in kept if each["kind"] == "move" and each["dial"] == row["dial"]
        ]
        assert row["same"] == pytest.approx(np.mean(same)) and len(same) == row["positions"]
    told = DIAL.row_of(
        1.0, [{"same": True, "game": g} for g in (0, 0, 1)],
        [{"same": same, "game": g} for same, g in ((True, 0), (False, 0), (False, 1))], [1.0, 0.5],
    )  # fmt: skip
    assert told["same"] == 1 and told["more"] == pytest.approx(2 / 3) and told["points"] == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--dials", "0,2"], "no dial"),
        (["--held-out", "0"], "keeps no game"),
        (["--rank", "5k"], "told ranks"),
        (["--bot", "nobody"], "nobody"),
    ],
)
def test_bad_arguments_are_one_line(
    words: list[str], change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        DIAL.main([*words, *change])
    assert stop.value.code == 2 and message in capsys.readouterr().err
