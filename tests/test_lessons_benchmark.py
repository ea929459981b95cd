"""The benchmark of lessons: a student against a bot with a weakness, resumed where it stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import benchmark_module
from test_lesson import SMALL, finished, network

from ghostgo.arena.players import Actions, PlayerFailed, RandomPlayer
from ghostgo.arena.pool import Entry
from ghostgo.arena.results import PlayerInfo
from ghostgo.data.run import Run, find_checkpoint
from ghostgo.engine.games.game import States, play_one
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


def records(path: Path, games: int) -> Path:
    """Records of random games of 5x5 Go."""
    found = []
    for seed in range(games):
        moves = enumerate(action for _, action in finished(seed=seed).moves)
        text = "".join(
            f";{'BW'[ply % 2]}[{'abcde'[move % 5]}{'abcde'[move // 5]}]"
            for ply, move in moves
            if move < GAME.points
        )
        found.append(f"(;GM[1]SZ[5]KM[3.5]RE[B+R]{text})")
    path.write_text("\n".join(found))
    return path


def test_games_lessons_and_what_a_stop_leaves(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--student", "r", "--visits", "4", "--games", "2", "--seeds", "1", "--pairs", "2"]
    words += ["--outsider", "random", "--records", str(records(root / "a.sgfs", 4))]
    words += ["--held-out", "1", "--root", str(root), "--out", str(root / "out")]
    LESSONS.main(words, SMALL)
    path, outside = root / "out" / "games.jsonl", root / "out" / "outsiders.jsonl"
    rows, played = read(path), read(outside)
    assert [(row["arm"], row["game"]) for row in rows] == [
        ("taught", 0), ("taught", 1), ("control", 0), ("control", 1),
    ]  # fmt: skip
    assert [row["lesson"] and row["lesson"]["number"] for row in rows] == [1, 2, None, None]
    assert rows[0]["opening"] == rows[1]["opening"] and rows[0]["moves"] == rows[2]["moves"]
    closed = set(LESSONS.corner(GAME, 3).tolist())
    assert closed == {0, 1, 2, 5, 6, 7, 10, 11, 12}
    for row in rows:
        weak = 1 if row["black"] else 0
        moves = list(enumerate(row["moves"]))[len(row["opening"]) :]
        assert not {move for ply, move in moves if ply % 2 == weak} & closed
    said = capsys.readouterr().out
    assert "| 1 to 2 |" in said and "taught: points rise by" in said
    assert "seed 0: taught against before" in said and "seed 0: taught against random" in said
    table = said[said.index(LESSONS.HEAD) :].splitlines()[2:]
    assert [line.split("|")[1].strip() for line in table] == ["before", "random", "people's moves"]
    # Taught and before against random from the same openings, taught against before.
    weights = find_checkpoint("r", root).meta["sha256"]
    assert sorted(row["pair"] for row in played) == [0, 0, 0, 1, 1, 1]
    assert [row["weights"] == weights for row in played] == [False] * 4 + [True] * 2
    for number in (0, 1):
        starts = [
            row["games"][i]["moves"][:2] for row in played for i in (0, 1) if row["pair"] == number
        ]
        assert starts == starts[:1] * 6
    # Stopped between two pairs.
    whole = outside.read_bytes()
    outside.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]) + b"{torn")
    LESSONS.main(words, SMALL)
    assert outside.read_bytes() == whole
    assert capsys.readouterr().out.endswith("\n".join(table) + "\n")
    # Stopped after a lesson, before its line was written.
    path.write_text(path.read_text().splitlines(keepends=True)[0] + '{"torn')
    LESSONS.main(words, SMALL)
    again = read(path)
    assert [row["lesson"] and row["lesson"]["number"] for row in again] == [1, 3, None, None]
    assert [row["moves"] for row in again] == [row["moves"] for row in rows]
    with pytest.raises(SystemExit, match="of another"):
        LESSONS.main([*words, "--visits", "5"], SMALL)


def test_the_weak_bot_takes_the_best_move_elsewhere() -> None:
    states, closed, inside = GAME.new_states(1), LESSONS.corner(GAME, 3), 0
    weak, own = LESSONS.weak(network(), 16, closed), LESSONS.player("own", network(), 16)
    for _ in range(8):
        best, chosen = own.choose(states, [0])[0], weak.choose(states, [0])[0]
        assert chosen not in closed and chosen in GAME.legal_actions(states[0])
        assert best in closed or best == chosen
        inside += best in closed
        play_one(states[0], best)
    assert inside, "the corner is worth playing in"


def test_openings_come_again(root: Path) -> None:
    words = ["--student", "r", "--visits", "2", "--opponent-visits", "8", "--side", "0"]
    words += ["--games", "6", "--openings", "2", "--seeds", "1"]
    LESSONS.main([*words, "--root", str(root), "--out", str(root / "out")], SMALL)
    rows = read(root / "out" / "games.jsonl")
    starts = [row["opening"] for row in rows if row["arm"] == "control"]
    assert starts[0] == starts[1] == starts[4] == starts[5] != starts[2] == starts[3]
    moves = [row["moves"] for row in rows if row["arm"] == "control"]
    assert moves[:2] == moves[4:], "without lessons nothing changes"
    corner = {point for row in moves for point in row} & set(LESSONS.corner(GAME, 2).tolist())
    assert corner, "it plays everywhere"


def test_columns_have_no_corner() -> None:
    game = get_game("connect_four")
    assert LESSONS.corner(game, 0).size == 0
    with pytest.raises(SystemExit, match="its moves are no points: give --side 0"):
        LESSONS.corner(game, 3)


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


def test_the_rise_is_pooled_over_seeds() -> None:
    """Points rise by 2 % a game in the taught arm of one seed, and not at all elsewhere."""
    rows = [
        {"arm": arm, "seed": seed, "game": game, "points": 0.02 * game * (arm == "taught") * seed}
        for arm in LESSONS.ARMS for seed in range(2) for game in range(20)
    ]  # fmt: skip
    one = [row for row in rows if row["arm"] == "taught" and row["seed"] == 1]
    assert LESSONS.slope(one) == pytest.approx((0.02, 0))
    found, half = LESSONS.slope([row for row in rows if row["arm"] == "taught"])
    assert found == pytest.approx(0.01) and 0 < half < 0.01
    assert LESSONS.slope(one, openings=2) == (pytest.approx(0.02), np.inf), "two, again and again"
    rows_of_few = [{**row, "points": float(row["game"] % 4 == 3)} for row in one]
    assert LESSONS.slope(rows_of_few, openings=3)[1] > 0
    assert LESSONS.slope(one[:4]) == (pytest.approx(0.02), np.inf), "two openings"
    said: list[str] = []
    LESSONS.tell_rise(rows, said.append)
    assert said[0].startswith("taught: points rise by +100.0% +- ")
    assert (
        said[1]
        == "control: points rise by +0.0% +- 0.0% in 100 games, 40 games pooled; +- 0.0% over 2 seeds"
    )
    assert said[2].startswith("lead: points rise by +100.0%") and "+- 1270.6% over 2" in said[2]


def test_paired_differences_have_their_own_interval() -> None:
    module = benchmark_module("outsiders")
    rng = np.random.default_rng(1)
    assert module.half_width([0.5, -0.5, 0.5, -0.5]) == pytest.approx(1.96 * (1 / 3) ** 0.5 / 2)
    assert module.half_width([0.0] * 60) == 0.05, "the rule of three"
    assert np.isinf(module.half_width([0.1]))
    inside = 0
    for _ in range(200):
        values = rng.choice([-0.5, 0.0, 0.5], 40, p=[0.2, 0.5, 0.3])
        inside += abs(values.mean() - 0.05) <= module.half_width(values.tolist())
    assert 180 <= inside <= 199
    found = module.Compared("x", [0.6, 0.7], [0.5, 0.5], 0.04)
    assert found.row() == "| x | 65.0% | 50.0% | +15.0% | 4.0% | 63.5% |"


def test_an_outsider_that_fails_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(RandomPlayer):
        concurrent = 1

        def choose(self, states: States, games: Sequence[int]) -> Actions:
            raise PlayerFailed("no such move")

    module, info = benchmark_module("outsiders"), find_checkpoint("r", root)
    against = Entry(PlayerInfo("broken", "random"), Broken("broken"))
    assert module.play_pairs(info, 4, against, 0, 1, LESSONS.Kept(None, {})) == [1.0]
    assert "forfeit in pair 0-0: no such move" in capsys.readouterr().out
