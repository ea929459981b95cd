"""How well a network predicts recorded games: in all, by rank, by move number, by confidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ghostgo.data.records import GameTable, under_ko_of
from ghostgo.data.replay import Batch, ReplayWindow
from ghostgo.data.run import ROOT, CheckpointInfo, find_checkpoint, load_network
from ghostgo.data.shards import replace_file
from ghostgo.data.split import SPLIT, split_by_hash
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.game import Game
from ghostgo.engine.network import expected_value
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.report import MOVES
from ghostgo.warmstart.store import load_records

HELD_OUT_ROWS = 20_000
"""Most positions that one evaluation looks at (its standard error is then 0.35 %)."""
CHUNK = 512
BANDS = (
    ("30k-20k", 1, 11), ("19k-10k", 12, 21), ("9k-5k", 22, 26), ("4k-1k", 27, 30),
    ("1d-3d", 31, 33), ("4d-9d", 34, 39), ("unknown", 0, 0),
)  # fmt: skip
"""Ranks of the side to move, by their codes in `GameTable.ranks`."""
BINS = 10
"""Of the value's confidence, from lost to won."""


@dataclass(frozen=True)
class HeldOut:
    """How well a network predicts games it has not seen."""

    top1: float
    """Share of positions whose recorded board move is the policy's first choice; no passes."""
    top5: float
    log_loss: float
    """Mean -log probability of the recorded move, in nats, passes included."""
    value_mse: float
    """Mean squared error of the value in [-1, 1] against decided results; nan if none is known."""
    positions: int
    """Positions looked at."""
    games: int
    """Games held out."""


@dataclass(frozen=True)
class Judged:
    """What a network said of n positions beside what was played, arrays (n,)."""

    on_board: NDArray[np.bool_]
    """Whether the recorded move is no pass."""
    top1: NDArray[np.bool_]
    """Whether it is the first choice among board moves; False for passes."""
    top5: NDArray[np.bool_]
    loss: NDArray[np.float64]
    """-log probability of the recorded move, in nats."""
    guess: NDArray[np.float64]
    """Expected result for the side to move, in [-1, 1]."""
    result: NDArray[np.float64]
    """The result for the side to move; nan where unknown."""

    def summary(self, where: NDArray[np.bool_] | slice = slice(None)) -> dict[str, float]:
        """`top1`, `top5`, `log_loss`, `value_mse` and `positions` of those positions."""
        board = self.on_board[where]
        known = np.isfinite(self.result[where])
        error = (self.guess[where] - self.result[where])[known] ** 2
        return {
            "top1": _mean(self.top1[where][board]),
            "top5": _mean(self.top5[where][board]),
            "log_loss": _mean(self.loss[where]),
            "value_mse": _mean(error),
            "positions": len(board),
        }


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _in_top(policy: torch.Tensor, moves: torch.Tensor, k: int) -> NDArray[np.bool_]:
    """Whether `moves` (n,) are among the k first choices of `policy` (n, A)."""
    best = policy.topk(min(k, policy.shape[1]), dim=1).indices
    return (best == moves[:, None]).any(dim=1).numpy()


def judge_rows(
    judge: Callable[[Batch], dict[str, torch.Tensor]],
    game: Game,
    window: ReplayWindow,
    rows: NDArray[np.int64],
) -> Judged:
    """Let `judge` (all heads of a batch) look at the window's `rows` (n,)."""
    # Where there is a pass, it is neither counted nor a candidate.
    candidates = game.points if game.policy_head == "points_and_pass" else game.actions
    parts = []
    for chunk in np.array_split(rows, -(-len(rows) // CHUNK)):
        batch = window.rows_batch(chunk)
        out = judge(batch)
        move = torch.from_numpy(batch.policy.argmax(axis=1))
        on_board = (move < candidates).numpy()
        choices = out["policy"][:, :candidates]
        parts.append(
            Judged(
                on_board=on_board,
                top1=on_board & _in_top(choices, move, 1),
                top5=on_board & _in_top(choices, move, 5),
                loss=F.cross_entropy(out["policy"].double(), move, reduction="none").numpy(),
                guess=expected_value(out["value"]).double().numpy(),
                result=batch.value.astype(np.float64),
            )
        )
    return Judged(
        *(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(Judged))
    )


def chosen_rows(total: int, most: int = HELD_OUT_ROWS) -> NDArray[np.int64]:
    """A fixed sample of at most `most` of `total` rows, all of them for 0."""
    if most and total > most:
        return np.random.default_rng(0).choice(total, most, replace=False)
    return np.arange(total)


def evaluate(learner: Learner, window: ReplayWindow, games: int) -> HeldOut:
    """Judge the learner's network on a fixed sample of the window's positions."""
    rows = chosen_rows(window.rows)
    found = judge_rows(learner.judge, learner.network.game, window, rows).summary()
    return HeldOut(**found, games=games)  # type: ignore[arg-type]


def describe_rows(
    table: GameTable, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Move number and rank code of the side to move, (n,) each, of a table's learnable `rows`."""
    places = np.flatnonzero(table.weights > 0)[rows]
    games = table.game_of()[places]
    number = places - table.offsets[games]
    player = (table.first_to_play[games] + number) % 2
    return number, table.ranks[games, player].astype(np.int64)


def calibration(found: Judged) -> list[dict[str, float]]:
    """Mean guess and mean result, by tenths of the guess from lost to won; empty tenths left out."""
    known = np.isfinite(found.result)
    tenth = np.minimum(((found.guess + 1) / 2 * BINS).astype(int), BINS - 1)
    bins = [known & (tenth == i) for i in range(BINS)]
    return [
        {
            "guess": _mean(found.guess[where]),
            "result": _mean(found.result[where]),
            "positions": int(where.sum()),
        }
        for where in bins
        if where.any()
    ]


def codes_of_bands(rank: NDArray[np.int64]) -> dict[str, int]:
    """The most frequent of the codes `rank` (n,) within each band that occurs, and 0 for unknown."""
    found = {}
    for name, low, high in BANDS:
        within = rank[(rank >= low) & (rank <= high)]
        if len(within):
            found[name] = int(np.bincount(within).argmax())
    return found | {"unknown": 0}


def asked_by_true(
    judge: Callable[[Batch], dict[str, torch.Tensor]],
    game: Game,
    window: ReplayWindow,
    rows: NDArray[np.int64],
    table: GameTable,
) -> dict[str, dict[str, dict[str, float]]]:
    """Log loss by the band that the moves are of, and within it by the band that `judge` is told.

    A band is told by the code of it that is most frequent here, as others may never have been
    learnt; one that has no positions is left out. Each cell: that code as `rank`; `log_loss`;
    `above`, how much it is above that of the true band on the same positions; and `half_width` of
    the latter's 95 % interval, errors clustered by game.
    """
    _, rank = describe_rows(table, rows)
    games = table.game_of()[np.flatnonzero(table.weights > 0)[rows]]
    codes, losses = codes_of_bands(rank), {}
    for name, code in codes.items():

        def told(batch: Batch, code: int = code) -> dict[str, torch.Tensor]:
            batch.rank[:] = code
            return judge(batch)

        losses[name] = judge_rows(told, game, window, rows).loss
    matrix: dict[str, dict[str, dict[str, float]]] = {}
    for name, low, high in BANDS:
        at = (rank >= low) & (rank <= high)
        if not high or not at.any():
            continue
        matrix[name] = {}
        for asked, loss in losses.items():
            above = (loss - losses[name])[at]
            matrix[name][asked] = {
                "rank": codes[asked],
                "log_loss": _mean(loss[at]),
                "above": _mean(above),
                "half_width": 1.96 * _clustered_error(above, games[at]),
            }
    return matrix


def _clustered_error(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> float:
    """Standard error of the mean of `values` (n,), those of one cluster taken as dependent.

    nan for a single cluster.
    """
    names, index = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return float("nan")
    sums = np.bincount(index, values - values.mean())
    few = len(names) / (len(names) - 1)
    return float(np.sqrt(few * (sums**2).sum()) / len(values))


def assess(found: Judged, table: GameTable, rows: NDArray[np.int64]) -> dict[str, Any]:
    """All of it: the summary, and the same `by_rank`, `by_move` and `calibration`."""
    number, rank = describe_rows(table, rows)
    by_rank = {name: (rank >= low) & (rank <= high) for name, low, high in BANDS}
    ends = [*MOVES[1:], np.iinfo(np.int64).max]
    by_move = {
        str(low): (number >= low) & (number < end) for low, end in zip(MOVES, ends, strict=True)
    }
    return {
        **found.summary(),
        "by_rank": {name: found.summary(at) for name, at in by_rank.items() if at.any()},
        "by_move": {name: found.summary(at) for name, at in by_move.items() if at.any()},
        "calibration": calibration(found),
    }


def run_evaluate(
    prior: str,
    records: Sequence[Path],
    *,
    held_out: float | None = None,
    positions: int = HELD_OUT_ROWS,
    json_file: Path | None = None,
    root: Path = ROOT,
    line: LiveLine | None = None,
) -> dict[str, Any]:
    """Judge the checkpoint `prior` on records, print a table, and write it to `json_file`.

    The network is told the ko rule of its own self-play, whatever the records are. With `held_out`,
    only the games that the prior's warm start with that share held back. At most so many `positions`
    (0: all), drawn by a fixed seed. Raises UserError for bad input.
    """
    line = line or LiveLine()
    info = find_checkpoint(prior, root)
    if json_file and not json_file.parent.is_dir():
        raise UserError(f"{json_file}: cannot be written: there is no such folder")
    with closing(line):
        found = _judged_records(info, records, held_out, positions, line)
    found |= {"checkpoint": prior, "sha256": info.meta["sha256"]}
    print("\n".join(table_lines(found)))
    if json_file:
        replace_file(json_file, (json.dumps(_without_nan(found), indent=1) + "\n").encode())
    return found


def _judged_records(
    info: CheckpointInfo,
    records: Sequence[Path],
    held_out: float | None,
    positions: int,
    line: LiveLine,
) -> dict[str, Any]:
    network = load_network(info.path)
    game = network.game

    def progress(games: int, share: float) -> None:
        line.show(f"importing: {games} games, {share:.0%}")

    table, _ = load_records(list(records), game.name, progress)
    if held_out is not None:
        # Where no human game was learnt, any split will do; older checkpoints do not tell theirs.
        split = info.meta.get("split", 1 if info.totals.imitation_flops else SPLIT)
        table = table.select(split_by_hash(table, held_out, split)[1])
    table = under_ko_of(table, info.meta.get("rules", {}))
    window = ReplayWindow(game)
    window.add(table)
    if not window.rows:
        raise UserError(f"the records hold no position of {game.name} to judge")
    rows = chosen_rows(window.rows, positions)
    told = 0 if network.rank is None else len(codes_of_bands(describe_rows(table, rows)[1]))
    learner = Learner(network, LearnerConfig(average=0.0), choose_device()[0])
    seen, total = 0, len(rows) * (1 + told)

    def judge(batch: Batch) -> dict[str, torch.Tensor]:
        nonlocal seen
        seen += len(batch)
        line.show(f"judging: {seen} of {total} positions")
        return learner.judge(batch)

    found = assess(judge_rows(judge, game, window, rows), table, rows)
    if told:
        found["asked"] = asked_by_true(judge, game, window, rows, table)
    return found | {"games": len(table)}


def _without_nan(value: Any) -> Any:
    """The same with null for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def table_lines(found: dict[str, Any]) -> list[str]:
    """The assessment as text."""
    head = (
        f"{'':>12}  {'positions':>9}  {'top-1':>6}  {'top-5':>6}  {'log loss':>8}  {'value MSE':>9}"
    )

    def text(name: str, part: dict[str, float]) -> str:
        return (
            f"{name:>12}  {part['positions']:9d}  {part['top1']:6.1%}  {part['top5']:6.1%}"
            f"  {part['log_loss']:8.3f}  {part['value_mse']:9.3f}"
        )

    lines = [f"{found['games']} games", head, text("all", found)]
    lines += [text(name, part) for name, part in found["by_rank"].items()]
    lines += [text(f"move {name}+", part) for name, part in found["by_move"].items()]
    lines.append(f"{'value said':>12}  {'positions':>9}  {'came':>6}")
    lines += [
        f"{part['guess']:12.2f}  {part['positions']:9d}  {part['result']:6.2f}"
        for part in found["calibration"]
    ]
    for band, row in found.get("asked", {}).items():
        cells = (
            f"{name} {cell['above']:+.4f} ({cell['half_width']:.4f})" for name, cell in row.items()
        )
        lines.append(f"played by {band}, log loss above its own when asked as: {', '.join(cells)}")
    return lines
