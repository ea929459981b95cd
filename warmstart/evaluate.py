"""How well a network predicts recorded games: in all, by rank, by move number, by confidence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ghostgo.data.archives import name_of
from ghostgo.data.batch import Batch
from ghostgo.data.checkpoints import split_version
from ghostgo.data.records import GameTable, under_ko_of
from ghostgo.data.replay import ReplayWindow
from ghostgo.data.run import ROOT, CheckpointInfo, find_checkpoint, load_network
from ghostgo.data.shards import replace_file
from ghostgo.data.split import split_by_hash
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.game import Game
from ghostgo.engine.network import expected_value
from ghostgo.selfplay.anchor import held_out_share
from ghostgo.selfplay.learner import Learner, LearnerConfig
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.warmstart.baselines import judge_baselines
from ghostgo.warmstart.clustered import clustered_error, mean
from ghostgo.warmstart.control import one_move_on
from ghostgo.warmstart.report import LAST_PLIES, MOVES
from ghostgo.warmstart.store import load_records
from ghostgo.warmstart.table import BEFORE, table_lines, without_nan

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeldOut:
        """From a checkpoint's meta data, where null stands for nan."""
        known: dict[str, Any] = {k: math.nan if v is None else v for k, v in values.items()}
        return cls(**known)


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
    passing: NDArray[np.float64]
    """Probability of a pass; nan where there is none."""
    passes: NDArray[np.bool_]
    """Whether a pass is the first choice among all moves."""
    game: NDArray[np.int64]
    """The number of the game that the position is of."""

    def summary(self, where: NDArray[np.bool_] | slice = slice(None)) -> dict[str, Any]:
        """`top1`, `top5`, `log_loss`, `value_mse` and `positions` of those positions.

        Of the first four also `half_width`, by name: of the 95 % interval, errors clustered by game.
        """
        board = self.on_board[where]
        known = np.isfinite(self.result[where])
        error = (self.guess[where] - self.result[where])[known] ** 2
        game = self.game[where]
        means, widths = {}, {}
        for name, values, of in (
            ("top1", self.top1[where][board].astype(np.float64), game[board]),
            ("top5", self.top5[where][board].astype(np.float64), game[board]),
            ("log_loss", self.loss[where], game),
            ("value_mse", error, game[known]),
        ):
            means[name] = mean(values)
            widths[name] = 1.96 * clustered_error(values, of)
        return {**means, "positions": len(board), "half_width": widths}

    def pass_summary(self) -> dict[str, float]:
        """Of the `positions` where a pass was played: `recall`, how often it is the first choice, and
        its mean probability `p_pass`."""
        played = ~self.on_board
        return {
            "positions": int(played.sum()),
            "recall": mean(self.passes[played]),
            "p_pass": mean(self.passing[played]),
        }


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
    """Let `judge` (all heads of a batch) look at the window's `rows` (n,), all of one table."""
    # Where there is a pass, it is neither counted nor a candidate.
    candidates = game.points if game.policy_head == "points_and_pass" else game.actions
    parts = []
    for chunk in np.array_split(rows, -(-len(rows) // CHUNK)):
        batch = window.rows_batch(chunk)
        out = judge(batch)
        move = torch.from_numpy(batch.policy.argmax(axis=1))
        on_board = (move < candidates).numpy()
        choices = out["policy"][:, :candidates]
        passing, passes = (
            torch.full((len(move),), torch.nan),
            torch.zeros(len(move), dtype=torch.bool),
        )
        if candidates < game.actions:
            passing = out["policy"].double().softmax(dim=1)[:, candidates]
            passes = out["policy"].argmax(dim=1) == candidates
        parts.append(
            Judged(
                on_board=on_board,
                top1=on_board & _in_top(choices, move, 1),
                top5=on_board & _in_top(choices, move, 5),
                loss=F.cross_entropy(out["policy"].double(), move, reduction="none").numpy(),
                guess=expected_value(out["value"]).double().numpy(),
                result=batch.value.astype(np.float64),
                passing=passing.double().numpy(),
                passes=passes.numpy(),
                game=batch.origin["game"].astype(np.int64),
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
    known = {field.name: found[field.name] for field in fields(HeldOut) if field.name in found}
    return HeldOut(**known, games=games)


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
            "guess": mean(found.guess[where]),
            "result": mean(found.result[where]),
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
                "log_loss": mean(loss[at]),
                "above": mean(above),
                "half_width": 1.96 * clustered_error(above, games[at]),
            }
    return matrix


def before_resigning(
    found: Judged, table: GameTable, rows: NDArray[np.int64], number: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(n,) whether a position, at move `number`, is none of the last `LAST_PLIES` of a resigned game.

    That is one with a winner and no score, so also one lost on time. People resign when it is their
    turn, so the winner made the last move: who moves is nearly a label there.
    """
    game = table.game_of()[np.flatnonzero(table.weights > 0)[rows]]
    resigned = np.isfinite(found.result) & ~np.isfinite(table.scores[game])
    return ~(resigned & (number >= table.lengths[game] - LAST_PLIES))


def assess(found: Judged, table: GameTable, rows: NDArray[np.int64]) -> dict[str, Any]:
    """All of it: the summary, the same `by_rank`, `by_move`, and `calibration`, and of games with
    passes what becomes of them, `passes`; `value_mse_before_resigning` is where whose move it is does
    not tell who wins (see `before_resigning`)."""
    number, rank = describe_rows(table, rows)
    whole = found.summary()
    before = found.summary(before_resigning(found, table, rows, number))
    whole[BEFORE] = before["value_mse"]
    whole["half_width"][BEFORE] = before["half_width"]["value_mse"]
    by_rank = {name: (rank >= low) & (rank <= high) for name, low, high in BANDS}
    ends = [*MOVES[1:], np.iinfo(np.int64).max]
    by_move = {
        str(low): (number >= low) & (number < end) for low, end in zip(MOVES, ends, strict=True)
    }
    passes = {"passes": found.pass_summary()} if np.isfinite(found.passing).any() else {}
    return {
        **whole,
        "by_rank": {name: found.summary(at) for name, at in by_rank.items() if at.any()},
        "by_move": {name: found.summary(at) for name, at in by_move.items() if at.any()},
        "calibration": calibration(found),
        **passes,
    }


def run_evaluate(
    prior: str,
    records: Sequence[Path],
    *,
    held_out: float | None = None,
    positions: int = HELD_OUT_ROWS,
    baselines: Path | None = None,
    json_file: Path | None = None,
    root: Path = ROOT,
    line: LiveLine | None = None,
) -> dict[str, Any]:
    """Judge the checkpoint `prior` on records, print a table, and write it to `json_file`.

    The network is told the ko rule of its own self-play, whatever the records are. Only the games
    are judged that a warm start with the share `held_out` would hold back, by default the share that
    the network's own did: all, if it has imitated no records. At most so many `positions` (0: all),
    drawn by a fixed seed. With `baselines`, records, what needs no network is fitted on those of
    their games that are not judged, and judged beside it. Raises UserError for bad input, and where
    that share is not known.
    """
    line = line or LiveLine()
    info = find_checkpoint(prior, root)
    if json_file and not json_file.parent.is_dir():
        raise UserError(f"{json_file}: cannot be written: there is no such folder")
    if held_out is None:
        held_out = held_out_share(info)
    if held_out is None:
        raise UserError(
            f"{prior}: which share of its records it has not seen was not stored when it was made: "
            "give --held-out, 0.1 if its warm start was given none; 1 judges all games"
        )
    with closing(line):
        found = _judged_records(info, records, held_out, positions, baselines, line)
    found |= {"checkpoint": prior, "sha256": info.meta["sha256"]}
    found |= {"held_out": held_out, "sets": [name_of(path) for path in records]}
    print("\n".join(table_lines(found)))
    if json_file:
        replace_file(json_file, (json.dumps(without_nan(found), indent=1) + "\n").encode())
    return found


def _judged_records(
    info: CheckpointInfo,
    records: Sequence[Path],
    held_out: float,
    positions: int,
    baselines: Path | None,
    line: LiveLine,
) -> dict[str, Any]:
    network = load_network(info.path)
    game = network.game

    def progress(games: int, share: float) -> None:
        line.show(f"importing: {games} games, {share:.0%}")

    table, _ = load_records(list(records), game.name, progress)
    table = table.select(split_by_hash(table, held_out, split_version(info))[1])
    table = under_ko_of(table, info.meta.get("rules", {}))
    window = ReplayWindow(game)
    window.add(table)
    if not window.rows:
        which = "" if held_out == 1 else f" in the games that --held-out {held_out:g} keeps back"
        raise UserError(f"the records hold no position of {game.name} to judge{which}")
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
    if "passes" in found:
        found["passes"] |= after_the_end(judge, game, table)
    if baselines:
        line.show("fitting and judging baselines")
        found["baselines"] = judge_baselines(
            load_records([baselines], table.game, progress)[0], baselines.name, table, rows
        )
    return found | {"games": len(table)}


def after_the_end(
    judge: Callable[[Batch], dict[str, torch.Tensor]], game: Game, table: GameTable
) -> dict[str, dict[str, float]]:
    """The mean probability `p_pass` of a pass one move after the last, in games that do not end in one.

    `after_last` is of all such `games` (at most `HELD_OUT_ROWS`), `after_counted` of those among them
    whose score is known: the others were resigned, or lost on time, where a pass need not be right.
    """
    ends = one_move_on(table)
    window = ReplayWindow(game)
    window.add(ends)
    rows = chosen_rows(window.rows)
    said = judge_rows(judge, game, window, rows).passing if len(rows) else np.zeros(0)
    counted = np.isfinite(ends.scores[rows])
    return {
        name: {"games": len(values), "p_pass": mean(values)}
        for name, values in (("after_last", said), ("after_counted", said[counted]))
    }
