"""The benchmark that plays engines under a referee, and the one that plays pairs: nothing is lost."""

from __future__ import annotations

import json
import random
import shlex
import sys
from pathlib import Path

import pytest
from conftest import benchmark_module
from referee import judge, random_opening
from sgfmill import boards, common

REFEREED = benchmark_module("refereed")
DUEL = benchmark_module("duel")
KEPT = sys.modules["kept"]
# It passes at once; at the third game of its life it may play a vertex that is none.
ENGINE = """
import sys
games = 0
for line in sys.stdin:
    number, word, *_ = line.split()
    games += word == "clear_board"
    answer = {"genmove": "Z9" if games == 3 and "foul" in sys.argv else "pass",
              "final_score": "W+6.0" if "foul" in sys.argv else "B+1"}.get(word, "")
    print(f"={number} {answer}".strip() + "\\n", flush=True)
"""


@pytest.fixture
def commands(tmp_path: Path) -> list[str]:
    (tmp_path / "engine.py").write_text(ENGINE)
    return [shlex.join([sys.executable, str(tmp_path / "engine.py"), w]) for w in ("good", "foul")]


def test_fouls_are_counted_and_the_match_goes_on(
    commands: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "games.jsonl"
    words = [*commands, "--openings", "3", "--out", str(out), "--games"]
    REFEREED.main([*words, "4"])
    first = out.read_text()
    assert first.count("\n") == 4
    out.write_text(first + first[:50])  # killed while a fifth was written
    REFEREED.main([*words, "6"])
    assert out.read_text().startswith(first)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["game"] for row in rows] == list(range(6))
    assert [row["black"] for row in rows] == [0, 1, 0, 1, 0, 1]
    assert all(rows[i]["opening"] == rows[i + 1]["opening"] for i in (0, 2, 4))
    # The engine that errs in its third game is started anew by that, and by the second call.
    assert [row.get("by") for row in rows] == [None, None, 1, None, None, None]
    assert "Z9" in rows[2]["foul"]
    said = capsys.readouterr().out
    assert "6 games: 5 without a foul, 5 of them distinct" in said
    assert "fouls of first: 0" in said and "fouls of second: 1" in said
    assert "final_score of first: the referee's count in 0 of 5" in said
    assert "final_score of second: the referee's count in 5 of 5" in said
    # White has komi: each wins where it is White.
    assert "first: 3 points of 5 distinct games" in said
    with pytest.raises(SystemExit, match="line 1 is of another"):
        REFEREED.main([*words, "6", "--seed", "2"])


def test_openings_are_legal_and_of_the_seed() -> None:
    found = [random_opening(12, random.Random(seed), 5) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    for opening in found:
        board = boards.Board(5)
        seen: set[frozenset[tuple[str, tuple[int, int]]]] = set()
        for i, vertex in enumerate(opening):
            judge(board, seen, "bw"[i % 2], common.move_from_vertex(vertex, 5))
        assert len(opening) == 12


def test_repeated_games_count_once() -> None:
    row = {"black": 0, "moves": ["E5", "pass"], "points": 1.0, "margin": 3.0, "finished": True}
    other = {**row, "black": 1, "points": 0.0}
    lines = REFEREED.summary([row, row, other], ["a", "b"])
    assert "3 games: 3 without a foul, 2 of them distinct" in lines[0]
    assert "a: 1 points of 2 distinct games" in lines[3]
    low, high = KEPT.wilson(1, 2)
    assert (low, high) == pytest.approx((0.0945, 0.9055), abs=1e-3)
    assert KEPT.wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)


def test_pairs_that_agree_leave_the_interval_a_width() -> None:
    of = KEPT.pair_interval
    assert of([1.0] * 10) == KEPT.wilson(10, 10)
    assert of([0.0] * 10) == KEPT.wilson(0, 10)
    assert of([0.5] * 10) == KEPT.wilson(10, 20), "colours decide: no more than the games say"
    assert of([]) == (0, 1) and of([1.0]) == KEPT.wilson(1, 1)
    rng = random.Random(1)
    many = [rng.choice((0.0, 0.5, 1.0, 1.0)) for _ in range(2000)]
    mean = sum(many) / 2000
    error = (sum((x - mean) ** 2 for x in many) / 2000) ** 0.5 / 2000**0.5
    assert of(many) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=1e-3)


def test_scores_are_compared_as_numbers() -> None:
    assert REFEREED.same_score("B+3.0", 3.0) and REFEREED.same_score("W+2.5", -2.5)
    assert REFEREED.same_score("0", 0.0) and not REFEREED.same_score("B+3", -3.0)
    assert not REFEREED.same_score("unclear", 3.0)


def test_a_duel_that_was_stopped_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs.jsonl"
    words = ["mcts:4", "random", "--game", "go5", "--out", str(out), "--pairs"]
    DUEL.main([*words, "4"])
    whole, said = out.read_text(), capsys.readouterr().out
    assert whole.count("\n") == 4
    out.write_text("".join(whole.splitlines(keepends=True)[:3]) + "{")
    DUEL.main([*words, "4"])
    assert capsys.readouterr().out == said
    assert sorted(out.read_text().splitlines()) == sorted(whole.splitlines())
    with pytest.raises(SystemExit, match="of another"):
        DUEL.main(["mcts:5", *words[1:], "4"])
