"""What several benchmarks share: runs side by side, and checkpoints judged on one set of moves."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.records import GameTable, under_ko_of
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import CheckpointInfo, load_network
from ghostgo.data.shards import replace_file
from ghostgo.data.split import SPLIT
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.warmstart.clustered import clustered_error
from ghostgo.warmstart.evaluate import (
    Judged,
    chosen_rows,
    judge_rows,
)
from ghostgo.warmstart.select import split_by_hash
from ghostgo.warmstart.store import load_records
from ghostgo.warmstart.table import without_nan


def side_by_side(
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    jobs: int,
    check: Callable[..., None],
) -> list[Any]:
    """What `work` gives for each task, in order, `jobs` at once, each in a process of its own.

    `check(task, found)` is called as results come in; what it raises ends all. One job at a time is
    done in this process.
    """
    found = []
    if jobs == 1:
        for task in tasks:
            found.append(work(*task))
            check(task, found[-1])
        return found
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, *task) for task in tasks]
        try:
            for task, future in zip(tasks, futures, strict=True):
                found.append(future.result())
                check(task, found[-1])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def digest(table: GameTable, rows: NDArray[np.int64]) -> str:
    """Of all that a table's `rows` are judged by: what networks are shown, and what came of it."""
    found = hashlib.sha256(rows.tobytes())
    for field in fields(table):
        value = getattr(table, field.name)
        found.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return found.hexdigest()[:16]


class HeldOutMoves:
    """Moves of the games of records that a warm start holds back, before which networks are judged.

    What was judged is kept in a folder by the weights' digest, so that it is judged once.
    """

    def __init__(
        self,
        records: Sequence[Path],
        game: str,
        held_out: float,
        positions: int,
        kept: Path,
        split: int = SPLIT,
    ) -> None:
        """At most so many `positions` (0: all), by a fixed seed, of the games that version `split` of the
        split holds back. Raises UserError if there are none."""
        whole = load_records(list(records), game)[0]
        self.table = whole.select(split_by_hash(whole, held_out, split)[1])
        places = np.flatnonzero(self.table.weights > 0)
        if not len(places):
            raise UserError(f"--held-out {held_out}: leaves no position of {game} to judge")
        self.rows = chosen_rows(len(places), positions)
        self.games: NDArray[np.int64] = self.table.game_of()[places[self.rows]]
        """(n,) the game that each move is of."""
        self._windows: dict[Any, ReplayWindow] = {}
        kept.mkdir(parents=True, exist_ok=True)
        self._kept, self._key = kept, digest(self.table, self.rows)

    def judge(self, info: CheckpointInfo) -> Judged:
        """What a checkpoint's network says of each move, as `ghostgo warmstart evaluate` asks it."""
        file = self._kept / f"{info.meta['sha256'][:16]}-{self._key}.npz"
        if file.is_file():
            with np.load(file) as arrays:
                return Judged(**arrays)
        rules = info.meta.get("rules", {})
        if rules.get("ko") not in self._windows:
            window = ReplayWindow(get_game(self.table.game))
            window.add(under_ko_of(self.table, rules))
            self._windows[rules.get("ko")] = window
        network, window = load_network(info.path), self._windows[rules.get("ko")]
        learner = Learner(network, LearnerConfig(average=0.0), choose_device()[0])
        found = judge_rows(learner.judge, network.game, window, self.rows)
        aside = file.with_suffix(".writing.npz")
        np.savez(aside, **{field.name: getattr(found, field.name) for field in fields(Judged)})
        aside.replace(file)
        return found

    def figures(self, found: Judged) -> dict[str, float]:
        """`top1` and `log_loss` with half the width of their 95 % intervals, clustered by game."""
        board = found.on_board
        return {
            **self._mean("top1", found.top1[board].astype(float), board),
            **self._mean("log_loss", found.loss, np.ones_like(board)),
            "positions": len(board),
        }

    def above(self, found: Judged, other: Judged) -> dict[str, float]:
        """How much higher `top1` is than another network's on the same moves, and its half width."""
        board = found.on_board
        return self._mean("above", found.top1[board].astype(float) - other.top1[board], board)

    def _mean(
        self, name: str, values: NDArray[np.float64], where: NDArray[np.bool_]
    ) -> dict[str, float]:
        error = 1.96 * clustered_error(values, self.games[where])
        return {name: float(values.mean()), f"{name}_half_width": error}


def shown(figures: dict[str, float]) -> list[str]:
    """Cells for `figures`: top-1 and log loss, each with its half width."""
    return [
        f"{figures['top1']:.1%} ± {figures['top1_half_width']:.1%}",
        f"{figures['log_loss']:.3f} ± {figures['log_loss_half_width']:.3f}",
    ]


def shown_above(difference: dict[str, float] | None) -> str:
    """A cell for what `above` gives, empty for None."""
    if difference is None:
        return ""
    return f"{difference['above']:+.1%} ± {difference['above_half_width']:.1%}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in Markdown."""
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |", flush=True)


def write_json(path: Path, found: Any) -> None:
    """Write figures as JSON, null where one is not known."""
    replace_file(path, (json.dumps(without_nan(found), indent=1) + "\n").encode())
