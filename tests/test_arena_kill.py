"""A tournament under kill -9: again and again, and the table is that of the same games in one go."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from evidence import copies

from ghostgo.arena.arena import run_arena
from ghostgo.arena.effort import Effort
from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.pool import PlayerOptions, build_pool
from ghostgo.arena.results import PairResult, ResultsFile, read_results
from ghostgo.data.ledger import Totals
from ghostgo.data.run import Run
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

GAME, VISITS, ANCHORS = "tic_tac_toe", 8, ("random", "mcts:20")
GIVEN: dict[str, Any] = {"visits": VISITS, "anchors": ANCHORS, "workers": 1}

STARTER = """
import json, os, sys
from pathlib import Path
from ghostgo.arena.arena import run_arena
root = Path(sys.argv[1])
given = {"root": root, **json.loads(sys.argv[2])}
run_arena(**given, out=root / "warm-up", games=4)
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        run_arena(**given, games=100_000)
        os._exit(0)
    print("begun", pid, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Each start is a fork of a process that has played already, so that twenty are quick."""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="this system has no fork and no kill -9"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Runs `scratch` and `warm`, untrained, three checkpoints and two."""
    for name, seeds in (("scratch", (0, 1, 2)), ("warm", (10, 11))):
        with Run.creating(tmp_path / name, GAME, 0, "") as run:
            for step, seed in enumerate(seeds):
                torch.manual_seed(seed)
                network = Network(get_game(GAME), NetworkConfig(1, 8))
                totals = Totals(selfplay_flops=1e9 * step + 1e8 * seed)
                run.save_checkpoint(step, network, {"totals": totals.to_dict()})
    return tmp_path


def lines(ledger: Path) -> list[bytes]:
    """Its whole lines: a kill may leave a torn one behind them."""
    found = ledger.read_bytes() if ledger.exists() else b""
    return [line for line in found.splitlines(keepends=True) if line.endswith(b"\n")]


def killed_often(root: Path, ledger: Path, kills: int) -> list[bytes]:
    """Start the tournament and kill it, again and again; the ledger's lines in the end."""
    rng, whole = random.Random(4), list[bytes]()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(root), json.dumps(GIVEN)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert starter.stdin and starter.stdout
    try:
        for kill in range(kills):
            print("start", file=starter.stdin, flush=True)
            pid = told(starter.stdout, "begun")
            deadline = time.monotonic() + 60
            while kill % 5 and len(lines(ledger)) == len(whole):  # every fifth dies anywhere
                assert time.monotonic() < deadline, "no pair was finished"
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            assert told(starter.stdout, "ended") == -signal.SIGKILL
            now = lines(ledger)
            assert now[: len(whole)] == whole, "what was reported has changed"
            whole = now
    finally:
        starter.kill()
        starter.communicate()
    return whole


def told(stream: IO[str], what: str) -> int:
    """The number behind the next line that begins with `what`."""
    for line in stream:
        if line.startswith(what):
            return int(line.split()[1])
    raise AssertionError(f"the starter has died before it said {what!r}")


def play_in_one_go(root: Path, results: list[PairResult], ledger: Path) -> None:
    """Play the pairs of `results` in another order, with others beside each, and no kill."""
    options = PlayerOptions(root, Effort(VISITS))
    pool = build_pool(["scratch", "warm"], {}, None, ANCHORS, options)
    numbers = {entry.info.identity: i for i, entry in enumerate(pool.entries)}
    known = {result.pair: result for result in results}
    match = Match(pool.game, [entry.player for entry in pool.entries], 64)
    for old in reversed(results):
        a, b = numbers[old.a.identity], numbers[old.b.identity]
        match.add(PairTask(old.pair, a, b, old.opening))
    with ResultsFile(ledger) as file:
        while match.in_flight:
            for task, games in match.sweep():
                file.add(replace(known[task.pair], games=games))
    match.close()


def table(path: Path) -> list[dict[str, str]]:
    """The rows of `arena.csv` without the time a move took, which no two starts share."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name != "seconds_per_move"} for row in rows]


@pytest.mark.parametrize("kills", [5, 20])
def test_killed_often_its_table_is_that_of_the_same_games_in_one_go(kills: int, root: Path) -> None:
    given = {"root": root, **GIVEN}
    ledger = root / "arena" / "results.jsonl"
    whole = killed_often(root, ledger, kills)
    assert len(whole) >= kills * 4 // 5
    report = run_arena(**given, games=2 * len(whole) + 20)
    assert lines(ledger)[: len(whole)] == whole

    results = read_results(ledger)
    assert len(results) == len(lines(ledger)) == len({result.pair for result in results})
    counted = 2 * len(results) - copies(ledger.parent)
    assert sum(row.games for row in report.rows) == 2 * counted, "each game counts for two"

    other = root / "one-go"
    play_in_one_go(root, results, other / "results.jsonl")
    played = {result.pair: result for result in read_results(other / "results.jsonl")}
    for result in results:
        for killed, uninterrupted in zip(result.games, played[result.pair].games, strict=True):
            assert replace(killed, seconds=(0, 0)) == replace(uninterrupted, seconds=(0, 0))
    again = run_arena(**given, out=other, games=2 * len(results))
    assert len(read_results(other / "results.jsonl")) == len(results)
    assert table(report.csv) == table(again.csv)
