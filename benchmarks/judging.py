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
from torch import Tensor

from ghostgo.data.batch import Batch
from ghostgo.data.records import GameTable, under_ko_of
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import CheckpointInfo, load_network
from ghostgo.data.shards import replace_file
from ghostgo.data.split import SPLIT
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import NetworkConfig
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


WAY = 2
"""Of judging, in the names of kept judgements: since 2, ranks never learnt are as ones not told."""
TOLD, UNTOLD = "told", "untold"
Both = dict[str, Judged]
"""What a network said by what it was told: `told` the true ranks, and if it can be, `untold`, none."""


class HeldOutMoves:
    """Moves of the games of records that a warm start holds back, before which networks are judged.

    What was judged is kept in a folder by the weights' digest, so that it is judged once. Networks
    that are told ranks are judged told none as well: self-play tells none, so that a run which began
    with such a prior trains that judgement, and leaves the others as they were.
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

    def judge(self, info: CheckpointInfo) -> Both:
        """What a checkpoint's network says of each move, as `ghostgo warmstart evaluate` asks it, and
        of one that is told ranks what it says untold."""
        ranked = NetworkConfig(**info.meta["network"]).ranks
        return {how: self._judge(info, how) for how in ([TOLD, UNTOLD] if ranked else [TOLD])}

    def _judge(self, info: CheckpointInfo, how: str) -> Judged:
        file = self._kept / f"{info.meta['sha256'][:16]}-{self._key}-{how}-{WAY}.npz"
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

        def judge(batch: Batch) -> dict[str, Tensor]:
            if how == UNTOLD:
                batch.rank[:] = 0
            return learner.judge(batch)

        found = judge_rows(judge, network.game, window, self.rows)
        aside = file.with_suffix(".writing.npz")
        np.savez(aside, **{field.name: getattr(found, field.name) for field in fields(Judged)})
        aside.replace(file)
        return found

    def figures(self, found: Both, other: Both | None = None) -> dict[str, Any]:
        """`top1` and `log_loss` with half the width of their 95 % intervals, clustered by game.

        With another network's judgement also how much higher both are than its on the same moves,
        `above` and `log_loss_above`. `untold` are all of these of a network told no ranks.
        """
        row: dict[str, Any] = self._figures(found[TOLD], other and other[TOLD])
        if UNTOLD in found:
            row[UNTOLD] = self._figures(found[UNTOLD], other and other.get(UNTOLD))
        return row

    def _figures(self, found: Judged, other: Judged | None) -> dict[str, float]:
        board, everywhere = found.on_board, np.ones_like(found.on_board)
        top1 = found.top1[board].astype(float)
        row = {
            **self._mean("top1", top1, board),
            **self._mean("log_loss", found.loss, everywhere),
            "positions": len(board),
        }
        if other is not None:
            row |= self._mean("above", top1 - other.top1[board], board)
            row |= self._mean("log_loss_above", found.loss - other.loss, everywhere)
        return row

    def _mean(
        self, name: str, values: NDArray[np.float64], where: NDArray[np.bool_]
    ) -> dict[str, float]:
        error = 1.96 * clustered_error(values, self.games[where])
        return {name: float(values.mean()), f"{name}_half_width": error}


def shown(figures: dict[str, Any], cells: Sequence[str]) -> list[list[str]]:
    """Lines for `figures`: what they are told, `cells`, then top-1, log loss, and how much above.

    One line, or two where the network was judged untold as well.
    """
    lines = []
    for how, part in ((TOLD, figures), (UNTOLD, figures.get(UNTOLD))):
        if part is not None:
            values = [_shown(part, "top1", ".1%"), _shown(part, "log_loss", ".3f")]
            values += [_shown(part, "above", "+.1%"), _shown(part, "log_loss_above", "+.3f")]
            lines.append([*cells, how if UNTOLD in figures else "", *values])
    return lines


def _shown(part: dict[str, float], name: str, form: str) -> str:
    if name not in part:
        return ""
    return f"{part[name]:{form}} ± {part[f'{name}_half_width']:{form.lstrip('+')}}"


def shown_head(cells: Sequence[str], base: str) -> list[str]:
    """The head of a table of `shown` lines, whose differences are to `base`."""
    return [*cells, "ranks", "top-1", "log loss", f"top-1 above {base}", f"log loss above {base}"]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in Markdown."""
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |", flush=True)


def write_json(path: Path, found: Any) -> None:
    """Write figures as JSON, null where one is not known."""
    replace_file(path, (json.dumps(without_nan(found), indent=1) + "\n").encode())
