"""Speed of the rules beside OpenSpiel's C++, one thread, in one run.

    python benchmarks/games.py [--seconds 3] [--compile] [--json FILE]

A playout is one game of uniformly random legal moves, passes included, from the start to the end
or to the same move limit. OpenSpiel plays its own inside C++ (`RandomRolloutEvaluator`, called by a
search of one simulation). Before the clock starts, length, result and first move of both sides' playouts are tested for equal
distributions. The two are then timed alternately, so that a busy moment of the machine meets both.
In Go the game's own playouts, which spare eyes, are timed as well (`default_policy`): they are what
plain MCTS plays, and shorter.
`--compile` times, in new processes, an engine's first search with an empty kernel cache and with a
full one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyspiel
from scipy import stats

from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go, uniform_action
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import Rng, kernel, make_rng

ROUNDS = 7
SAME = 1e-4
"""Least p-value at which two samples pass for one distribution."""


@dataclass(frozen=True)
class Case:
    """One of our games and its twin."""

    key: str
    game: str
    oracle: str
    sample: int  # playouts a side for the comparison of distributions
    limited: bool = False  # Go: give the oracle our move limit and komi


CASES = (
    Case("go9", "go9", "go(board_size=9,komi=0.5,max_game_length={limit})", 2_000, True),
    Case("go19", "go19", "go(board_size=19,komi=0.5,max_game_length={limit})", 150, True),
    Case("connect_four", "connect_four", "connect_four", 4_000),
    Case("othello", "othello", "othello", 2_000),
    Case("hex9", "hex9", "hex(board_size=9)", 2_000),
    Case("gomoku9", "gomoku9", "mnk(m=9,n=9,k=5)", 2_000),
)


@kernel
def _uniform_go(states: np.ndarray, count: int, rng: Rng) -> int:  # type: ignore[type-arg]
    """`count` games from states[0] in states[1], passes and eyes filled; the moves played."""
    moves = 0
    for _ in range(count):
        states[1] = states[0]
        while not states[1].done:
            kernels.play(states[1], uniform_action(states[1], rng))
            moves += 1
    return moves


@kernel
def _default_playouts(states: np.ndarray, count: int, rng: Rng) -> int:  # type: ignore[type-arg]
    """The same by the game's own rollout policy: uniform in every game but Go."""
    moves = 0
    for _ in range(count):
        states[1] = states[0]
        moves += kernels.random_playout(states[1], rng)
    return moves


@kernel
def _one_default(state: Any, rng: Rng) -> int:
    """One move by the game's own rollout policy, played; its number."""
    action = kernels.rollout_action(state, rng)
    kernels.play(state, action)
    return action


@kernel
def _one_go(state: Any, rng: Rng) -> int:
    """One uniform move of Go, played; its number."""
    action = uniform_action(state, rng)
    kernels.play(state, action)
    return action


def _states(case: Case) -> tuple[Game, Any, Any]:
    game = get_game(case.game)
    limit = game.rules.get("move_limit", 0)
    states = game.new_states(2, {"komi": 0.5} if case.limited else None)
    return game, states, pyspiel.load_game(case.oracle.format(limit=limit))


def _our_sample(game: Game, states: Any, count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    rng, rows = make_rng(seed), np.zeros((count, 3))
    move = _one_go if is_go(game) else _one_default
    for i in range(count):
        states[1] = states[0]
        first = move(states[1], rng)
        while not states[1].done:
            move(states[1], rng)
        rows[i] = states[1].move_number, np.sign(kernels.score_of(states[1])), first
    return rows


def _their_sample(game: Game, oracle: Any, count: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    rng, rows = np.random.default_rng(seed), np.zeros((count, 3))
    for i in range(count):
        state, first = oracle.new_initial_state(), -1
        while not state.is_terminal():
            legal = state.legal_actions()
            action = legal[rng.integers(len(legal))]
            first = action if first < 0 else first
            state.apply_action(action)
        rows[i] = state.move_number(), state.returns()[0], first
    return rows


def check_same(case: Case, seed: int = 1) -> None:
    """Length, result and first move of random games have one distribution on both sides.

    Raises AssertionError naming what differs. First moves are compared by number, which Go's
    different numbering of points leaves uniform on both sides.
    """
    game, states, oracle = _states(case)
    ours = _our_sample(game, states, case.sample, seed)
    theirs = _their_sample(game, oracle, case.sample, seed)
    p = stats.ks_2samp(ours[:, 0], theirs[:, 0]).pvalue
    assert p > SAME, f"{case.key}: lengths differ, p = {p:.2g}"
    for column, what in ((1, "results"), (2, "first moves")):
        values = np.unique(np.concatenate([ours[:, column], theirs[:, column]]))
        counts = [[(side[:, column] == v).sum() for v in values] for side in (ours, theirs)]
        p = stats.chi2_contingency(counts).pvalue if len(values) > 1 else 1.0
        assert p > SAME, f"{case.key}: {what} differ, p = {p:.2g}"


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """What `work` returns, and the seconds it took."""
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def _calibrated(work: Callable[[int], int], seconds: float) -> int:
    """How many playouts take about `seconds`."""
    count = 1
    while True:
        start = time.perf_counter()
        work(count)
        took = time.perf_counter() - start
        if took > seconds / 4:
            return max(1, round(count * seconds / took))
        count *= 4


def compare(case: Case, seconds: float) -> dict[str, float]:
    """Playouts a second of both, their ratio (median over rounds), and our moves a second."""
    game, states, oracle = _states(case)
    rng = make_rng(2)
    root = oracle.new_initial_state()

    def ours(count: int) -> int:
        return (_uniform_go if is_go(game) else _default_playouts)(states, count, rng)

    def default(count: int) -> int:
        return _default_playouts(states, count, rng)

    def theirs(count: int) -> int:
        # A search of one simulation judges its root: by `count` rollouts, all of them in C++.
        evaluator = pyspiel.RandomRolloutEvaluator(count, 3)
        found = pyspiel.MCTSBot(oracle, evaluator, 1.4, 1, 1, False, 1, False).mcts_search(root)
        assert found.explore_count == 1
        return count

    ours(1), default(1)  # compiled
    slot = seconds / ROUNDS
    n, d, m = (_calibrated(work, slot) for work in (ours, default, theirs))
    rows = []
    for _ in range(ROUNDS):
        moves, t_ours = timed(lambda: ours(n))
        default_moves, t_default = timed(lambda: default(d))
        t_theirs = timed(lambda: theirs(m))[1]
        rows.append(
            (
                n / t_ours, m / t_theirs, (n / t_ours) / (m / t_theirs),
                moves / t_ours, d / t_default, default_moves / t_default,
            )
        )  # fmt: skip
    middle = np.median(np.array(rows), axis=0)
    names = (
        "playouts_per_second", "openspiel_playouts_per_second", "vs_openspiel",
        "moves_per_second", "default_policy_playouts_per_second",
        "default_policy_moves_per_second",
    )  # fmt: skip
    return {f"{case.key}_{name}": float(v) for name, v in zip(names, middle, strict=True)}


def two_threads(name: str, seconds: float) -> float:
    """Playouts a second of two Python threads together, over those of one (median of rounds)."""
    game = get_game(name)
    slots = [(game.new_states(2), make_rng(seed)) for seed in (4, 5)]

    def work(slot: int, count: int) -> int:
        states, rng = slots[slot]
        return _default_playouts(states, count, rng)

    work(0, 1)
    count = _calibrated(lambda n: work(0, n), seconds / ROUNDS)
    ratios = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            alone = np.mean([timed(lambda s=s: work(s, count))[1] for s in (0, 1)])  # type: ignore[misc]
            together = timed(lambda: len(list(pool.map(work, (0, 1), (count, count)))))[1]
            ratios.append(2 * alone / together)
    return float(np.median(ratios))


FIRST_SEARCH = """
from ghostgo.engine.uniform import UniformEvaluator
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig
game = get_game({game!r})
result = Searcher(game, UniformEvaluator(game, 2), 2, 8, SearchConfig()).run(game.new_states(2))
assert (result.visits.sum(axis=1) == 8).all()
"""


def compile_seconds(name: str) -> dict[str, float]:
    """Seconds of a whole process that makes one search: kernels to compile, then all cached."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-c", FIRST_SEARCH.format(game=name)]
        cold, warm = (
            timed(lambda: subprocess.run(command, env=env, check=True).returncode)[1]
            for _ in range(2)
        )
    return {f"{name}_first_process_seconds": cold, f"{name}_second_process_seconds": warm}


def main() -> None:
    """Check, measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="a side and game")
    parser.add_argument("--compile", action="store_true", help="time cold and warm starts too")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures: dict[str, float] = {}

    def add(found: dict[str, float]) -> None:
        figures.update(found)
        for name, value in found.items():
            print(f"{name:48} {value:14,.2f}" if value < 1000 else f"{name:48} {value:14,.0f}")
        sys.stdout.flush()

    for case in CASES:
        check_same(case)
        add(compare(case, given.seconds))
    add({"two_thread_speedup": two_threads("go9", given.seconds)})
    if given.compile:
        for name in ("go9", "connect_four"):
            add(compile_seconds(name))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
