"""The benchmark of lessons: a student against a bot with a weakness, resumed where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import benchmark_module
from test_lesson import SMALL, network

from ghostgo.data.run import Run
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game

LESSONS = benchmark_module("lessons")
GAME = get_game("go5")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with Run.creating(tmp_path / "r", "go5", 0, "") as run:
        run.save_checkpoint(1, network(), {"totals": {}})
    return tmp_path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_games_lessons_and_what_a_stop_leaves(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--student", "r", "--visits", "4", "--games", "2", "--seeds", "1", "--pairs", "1"]
    words += ["--root", str(root), "--out", str(root / "out")]
    LESSONS.main(words, SMALL)
    path = root / "out" / "games.jsonl"
    rows = read(path)
    assert [(row["arm"], row["game"]) for row in rows] == [
        ("taught", 0), ("taught", 1), ("control", 0), ("control", 1),
    ]  # fmt: skip
    assert [row["lesson"] and row["lesson"]["number"] for row in rows] == [1, 2, None, None]
    assert rows[0]["opening"] == rows[1]["opening"] and rows[0]["moves"] == rows[2]["moves"]
    closed = set(LESSONS.corner(GAME).tolist())
    assert closed == {0, 1, 2, 5, 6, 7, 10, 11, 12}
    for row in rows:
        weak = 1 if row["black"] else 0
        moves = list(enumerate(row["moves"]))[len(row["opening"]) :]
        assert not {move for ply, move in moves if ply % 2 == weak} & closed
    said = capsys.readouterr().out
    assert "| 1 to 2 |" in said and "seed 0: taught against before" in said
    # Stopped after a lesson, before its line was written.
    path.write_text(path.read_text().splitlines(keepends=True)[0] + '{"torn')
    LESSONS.main(words, SMALL)
    again = read(path)
    assert [row["lesson"] and row["lesson"]["number"] for row in again] == [1, 3, None, None]
    assert [row["moves"] for row in again] == [row["moves"] for row in rows]
    with pytest.raises(SystemExit, match="of another"):
        LESSONS.main([*words, "--visits", "5"], SMALL)


def test_the_weak_bot_takes_the_best_move_elsewhere() -> None:
    weak = LESSONS.player("weak", network(), 16, LESSONS.Cornered)
    own = LESSONS.player("own", network(), 16)
    states, closed, inside = GAME.new_states(1), LESSONS.corner(GAME), 0
    for _ in range(8):
        best, chosen = own.choose(states, [0])[0], weak.choose(states, [0])[0]
        assert chosen not in closed and chosen in GAME.legal_actions(states[0])
        assert best in closed or best == chosen
        inside += best in closed
        play_one(states[0], best)
    assert inside, "the corner is worth playing in"


def test_bins_are_over_seeds() -> None:
    rows = [
        {"arm": arm, "seed": seed, "game": game, "points": float(arm == "taught" and seed < 2)}
        for arm in LESSONS.ARMS for seed in range(3) for game in range(20)
    ]  # fmt: skip
    assert LESSONS.binned(rows[:-1], "taught", 20) == [[1, 1, 0], [1, 1, 0]]
    assert LESSONS.binned(rows[:-1], "control", 20) == [[0, 0, 0], [0, 0]], "no bin by halves"
    mean, half = LESSONS.mean_interval([1, 1, 0])
    assert mean == pytest.approx(2 / 3) and half == pytest.approx(4.303 / 3, abs=1e-3)
    said: list[str] = []
    LESSONS.tell(rows, 20, said.append)
    assert said[1].startswith("| 1 to 10 | 66.7% +- 143.4% | 0.0% +- 0.0% | 66.7%")
    assert np.isinf(LESSONS.mean_interval([1.0])[1])
