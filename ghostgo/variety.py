"""Chance in a bot's games, so that whoever has beaten it once cannot win the same game again.

In the opening the move is drawn among those that the search likes about as well as its best one. A
draw depends on the seed, the game's number in its session, the position and its move number alone:
the same question in the same game has the same answer as long as the search finds the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game, State
from ghostgo.engine.games.go import is_go
from ghostgo.engine.search import SearchResult

LEAST_SHARE = 0.5
"""Of the best move's visits, below which a move is never drawn."""
MOST_LOSS = 0.02
"""Win rate that a drawn move may lack at most, as the search sees it."""
OPENING = 8 / 9
"""Plies of an opening, by the board's longer side: 8 on 9x9."""


def opening_plies(game: Game) -> int:
    """The plies from the start on in which moves are drawn."""
    return round(OPENING * max(game.rows, game.cols))


def move_weights(found: SearchResult) -> NDArray[np.int64]:
    """How likely each action (A,) is to be drawn after a search of one position at a PUCT root.

    In proportion to visits, 0 for what is never drawn: moves of fewer than LEAST_SHARE of the visits
    of the best one, moves whose win rate is MOST_LOSS or more below its, and what is proven lost.
    The best one alone is left if its result is proven, and no draw.
    """
    best, value, q = int(found.action[0]), float(found.value[0]), found.q[0]
    visits: NDArray[np.int64] = found.visits[0].astype(np.int64)
    most = int(visits[best])
    proven = abs(value) == 1 or (value == q[best] and value != 0)  # with points none is 1
    if most == 0 or proven:
        alone = np.zeros_like(visits)
        alone[best] = 1
        return alone
    drawn = (visits >= LEAST_SHARE * most) & (found.policy[0] > 0)  # shares: 0 if proven lost
    drawn &= np.nan_to_num(q, nan=-np.inf) > q[best] - 2 * MOST_LOSS  # values span twice the rates
    drawn[best] = True
    visits[~drawn] = 0
    return visits


class Lot:
    """What decides by chance in the games of one session, whichever boards they are on."""

    def __init__(
        self, seed: int | None = None, game_number: int = 0, each_game: bool = True
    ) -> None:
        """Without a seed: one that nobody knows. With `each_game` False all games are drawn alike."""
        self.seed = int(np.random.SeedSequence(seed).entropy) if seed is None else seed  # type: ignore[arg-type]
        self.game_number = game_number
        self._each_game = each_game

    def next_game(self) -> None:
        """A new game has begun: its moves are drawn anew."""
        self.game_number += self._each_game

    def random(self, state: State) -> np.random.Generator:
        """The random numbers of this position in this game."""
        position = int(state.hash) & (1 << 64) - 1, int(state.move_number)
        return np.random.default_rng([self.seed, self.game_number, *position])

    def draw(self, game: Game, state: State, found: SearchResult) -> int:
        """The move to play in `state` after a search: drawn in the opening, else the best."""
        best = int(found.action[0])
        # A position that was set up, as for KGS's cleanup, counts its moves from there. Every legal
        # action has a prior.
        late = is_go(game) and 2 * np.count_nonzero(found.prior[0]) < game.actions
        if state.move_number >= opening_plies(game) or late:
            return best
        weights = move_weights(found)
        # By Gumbel's trick, so that a few visits more or less seldom change what is drawn.
        lots = self.random(state).gumbel(size=len(weights))
        return int(np.where(weights > 0, np.log(np.maximum(weights, 1)) + lots, -np.inf).argmax())
