"""The ledger of results: torn, doubled, damaged, and on a full disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from matches import play_all

from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import (
    RandomPlayer,
)
from ghostgo.arena.results import PairResult, PlayerInfo, ResultsFile, pair_id, read_results
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game


def some_results() -> list[PairResult]:
    game = get_game("tic_tac_toe")
    match = Match(game, [RandomPlayer("a"), RandomPlayer("b")])
    openings = Openings(game, 1)
    infos = (PlayerInfo("a", "random"), PlayerInfo("b", "gtp", {"command": "b"}))
    identities = (infos[0].identity, infos[1].identity)
    for i in range(3):
        match.add(PairTask(pair_id(game.name, 1, {}, 0, identities, i), 0, 1, openings[i]))
    return [
        PairResult(task.pair, game.name, 1, {}, 0, task.opening, *infos, games)
        for task, games in play_all(match)
    ]


def write(path: Path, results: Sequence[PairResult]) -> None:
    with ResultsFile(path) as file:
        for result in results:
            file.add(result)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = some_results()
    write(tmp_path / "sub" / "r.jsonl", results)
    assert read_results(tmp_path / "sub" / "r.jsonl") == results
    assert read_results(tmp_path / "nothing.jsonl") == []


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_no_loss_but_its_own(tmp_path: Path, kept: int) -> None:
    results, path = some_results(), tmp_path / "r.jsonl"
    write(path, results)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2]) + whole[2][:kept])
    assert read_results(path) == results[:2]
    write(path, results[2:])
    assert path.read_bytes() == b"".join(whole)


def test_a_pair_written_twice_counts_once(tmp_path: Path) -> None:
    results = some_results()
    write(tmp_path / "r.jsonl", [*results, *results])
    assert read_results(tmp_path / "r.jsonl") == results


def test_on_a_full_disk_the_ledger_keeps_its_whole_lines(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    results, path = some_results(), tmp_path / "r.jsonl"
    write(path, results[:1])
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ResultsFile(path) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
        try:
            with pytest.raises(UserError, match="r.jsonl: cannot be written") as caught:
                file.add(results[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == whole and "\n" not in str(caught.value)
        file.add(results[1])
    assert read_results(path) == results[:2]


@pytest.mark.parametrize("line", ["{}", "not json", '{"format": 99}', '{"format": 1}', "[1]"])
def test_damage_and_newer_formats_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r.jsonl"
    write(path, some_results())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match="line 4"):
        read_results(path)


def test_a_line_says_where_a_game_came_from(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write(path, some_results()[:1])
    row = json.loads(path.read_text())
    assert {"format", "pair", "game", "game_version", "rules", "seed", "opening", "a", "b"} < set(
        row
    )
    assert {"moves", "points", "score", "seconds", "evaluations", "flops"} < set(row["games"][0])
