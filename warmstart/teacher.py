"""Records that the project can make itself: games of plain Monte Carlo tree search.

They stand in for human games where there are none at hand. They are a machine's games: whatever is
imitated from them is not human.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostgo.data.sgf_writer import write_game
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.games import go
from ghostgo.engine.games.game import Game, play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.rollout import RolloutSearcher

OPENING_PLIES = 3
"""Up to so many first moves are random, so that games differ."""


def _opening(game: Game, rng: np.random.Generator) -> list[int]:
    state = game.new_states(1)
    moves: list[int] = []
    for _ in range(int(rng.integers(OPENING_PLIES + 1))):
        legal = game.legal_actions(state[0])[:-1]  # no pass
        moves.append(int(rng.choice(legal)))
        play_one(state[0], moves[-1])
    return moves


def play_teacher_game(
    game: Game, rollouts: int, seed: np.random.SeedSequence
) -> tuple[list[int], float]:
    """The moves of one game of plain MCTS with itself, and Black's margin in points."""
    for_opening, for_search = seed.spawn(2)
    searcher = RolloutSearcher(game, rollouts, for_search)
    state = game.new_states(1)
    moves = _opening(game, np.random.default_rng(for_opening))
    for move in moves:
        play_one(state[0], move)
    while not state[0].done:
        action: NDArray[np.int32] = searcher.choose(state)
        moves.append(int(action[0]))
        play_one(state[0], moves[-1])
    return moves, float(score_of(state[0]))


def make_records(
    out: Path,
    game: str = "go7",
    games: int = 500,
    rollouts: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `games` games of MCTS at `rollouts` playouts a move to the file `out`, one a line.

    Games are played one a thread on every core and written in the order of their seeds.
    `progress(done, games)` is called after each. Raises UserError if `game` is not Go or the file
    cannot be written.
    """
    board = get_game(game)
    if board.dtype.names is None or board.dtype.names[0] != go.TAG:
        raise UserError(f"game {game!r} has no SGF records: name a Go board, such as go7")
    if not out.parent.is_dir():
        raise UserError(f"{out}: cannot be written: there is no folder {out.parent}")
    name = f"plain MCTS, {rollouts} rollouts"
    seeds = np.random.SeedSequence([seed, 17]).spawn(games)
    lines = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        played = pool.map(lambda each: play_teacher_game(board, rollouts, each), seeds)
        for done, (moves, margin) in enumerate(played, 1):
            winner = "B" if margin > 0 else "W"
            text = write_game(
                board,
                moves,
                komi=board.rules["komi"],
                black=name,
                white=name,
                result=f"{winner}+{abs(margin):g}" if margin else "0",
            )
            lines.append(text.replace("\n", "") + "\n")
            if progress is not None:
                progress(done, games)
    replace_file(out, "".join(lines).encode())
