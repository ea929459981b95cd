"""The games in play as arrays, one slot a tree, and the kernels that carry them on.

A slot's moves, targets and the way each move was searched are noted here until its game ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game, legal_mask, play, rollout_action, write_planes
from ghostgo.engine.jit import kernel, random_below, random_unit
from ghostgo.engine.noise import temperature
from ghostgo.engine.root import read_root, root_value, surprise
from ghostgo.engine.search import is_done
from ghostgo.engine.search_config import Params
from ghostgo.engine.tree import Trees, reset_tree

# How a move was searched.
CHEAP, FULL, DECIDED = 0, 1, 2


class Slots(NamedTuple):
    """Records of G games in play, one slot a tree; T is the game's longest length, A its actions."""

    length: NDArray[np.int32]  # (G,)
    opening: NDArray[np.int32]  # (G,) how many of the first moves were random
    rules: NDArray[np.int32]  # (G,) which of the sets of rules the game is played by
    moves: NDArray[np.int16]  # (G, T)
    policies: NDArray[np.float32]  # (G, T, A)
    values: NDArray[np.float32]  # (G, T)
    surprise: NDArray[np.float32]  # (G, T)
    full: NDArray[np.uint8]  # (G, T) CHEAP, FULL or DECIDED; the moves of the opening are FULL
    sure: NDArray[np.int32]  # (G,) moves in a row whose searches were sure: > 0 of the first player
    unanchored: NDArray[np.uint8]  # (G,) 1 where the anchor has not judged the position yet
    finished: NDArray[np.int32]  # (G,) slots whose game has just ended, in front
    stats: tuple[
        NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]
    ]  # four (A,) buffers for a root's statistics


def make_slots(game: Game, games: int) -> Slots:
    """Empty slots for so many games of `game`; none has a position for the anchor yet."""
    t, a = game.max_moves, game.actions
    return Slots(
        length=np.zeros(games, np.int32),
        opening=np.zeros(games, np.int32),
        rules=np.zeros(games, np.int32),
        moves=np.zeros((games, t), np.int16),
        policies=np.zeros((games, t, a), np.float32),
        values=np.zeros((games, t), np.float32),
        surprise=np.zeros((games, t), np.float32),
        full=np.full((games, t), FULL, np.uint8),
        sure=np.zeros(games, np.int32),
        unanchored=np.ones(games, np.uint8),
        finished=np.zeros(games, np.int32),
        stats=(
            np.zeros(a, np.int32), np.zeros(a, np.float32), np.zeros(a, np.float32),
            np.zeros(a, np.float32),
        ),
    )  # fmt: skip


class Pace(NamedTuple):
    """How long searches are and how games begin."""

    visits: int
    cheap_visits: int  # 0: no search is cheap
    full_share: float  # of the moves
    sampled_moves: int
    opening_plies: int
    decided_value: float
    decided_visits: int  # 0: no game is decided before its end
    decided_moves: int
    early: float  # temperatures by which moves are drawn; 0 and 0: none is
    late: float
    decided_share: float  # of a decided game's moves, searched in full


@kernel
def _sample(weights: NDArray[np.float32], rng: NDArray[np.uint64]) -> int:
    target = random_unit(rng)
    total = 0.0
    last = -1
    for a in range(len(weights)):
        if weights[a] > 0:
            total += weights[a]
            last = a
            if target < total:
                return a
    return last


@kernel
def _choose(
    trees: Trees, params: Params, slots: Slots, pace: Pace, g: int, best: int, value: float
) -> int:
    """The move that slot `g` plays by its root's statistics: drawn, or `best`, as proven wins are.

    With a temperature T the chances are the policy's, to the power 1 / T.
    """
    weights, policy = slots.stats[2], slots.stats[3]
    t = slots.length[g]
    if params.gumbel or value >= 1 or slots.full[g, t] == DECIDED:
        return best
    if t < pace.sampled_moves:
        return _sample(policy, trees.rng[g])
    heat = temperature(pace.early, pace.late, t, params.side)
    if heat <= 0:
        return best
    highest, total = np.float32(0.0), np.float32(0.0)
    for a in range(len(policy)):
        highest = max(highest, policy[a])
    for a in range(len(policy)):
        weights[a] = (policy[a] / highest) ** (1.0 / heat)
        total += weights[a]
    for a in range(len(policy)):
        weights[a] /= total
    return _sample(weights, trees.rng[g])


@kernel
def _note_value(trees: Trees, slots: Slots, pace: Pace, g: int, value: float) -> None:
    """Count the moves in a row of which the search was sure, with one player as the winner.

    `value` is for the side to move. Anything less sure begins anew.
    """
    first = value if trees.states[g].to_play == 0 else -value
    if first >= pace.decided_value:
        slots.sure[g] = max(slots.sure[g], 0) + 1
    elif first <= -pace.decided_value:
        slots.sure[g] = min(slots.sure[g], 0) - 1
    else:
        slots.sure[g] = 0


@kernel
def _begin_search(trees: Trees, slots: Slots, pace: Pace, g: int) -> None:
    """Start the search of the next move of slot `g`, a full one or, by chance, a cheap one.

    In a game that is decided it is a short one, but for some, by chance.
    """
    kind = FULL
    if pace.decided_visits and abs(slots.sure[g]) >= pace.decided_moves:
        if pace.decided_share == 0 or random_unit(trees.rng[g]) >= pace.decided_share:
            kind = DECIDED
    elif pace.cheap_visits and random_unit(trees.rng[g]) >= pace.full_share:
        kind = CHEAP
    slots.full[g, slots.length[g]] = kind
    slots.unanchored[g] = 1
    _reset_search(trees, slots, pace, g)


@kernel
def _reset_search(trees: Trees, slots: Slots, pace: Pace, g: int) -> None:
    """Start the search of slot `g` from nothing, full or cheap as it was."""
    kind = slots.full[g, slots.length[g]]
    budget = pace.visits
    if kind == CHEAP:
        budget = pace.cheap_visits
    elif kind == DECIDED:
        budget = pace.decided_visits
    reset_tree(trees, g, budget)


@kernel
def reset_searches(trees: Trees, slots: Slots, pace: Pace) -> None:
    """Start the search of every slot from nothing, full or cheap as it was."""
    for g in range(len(slots.length)):
        _reset_search(trees, slots, pace, g)


@kernel
def finish_moves(trees: Trees, params: Params, slots: Slots, pace: Pace) -> int:
    """Play the move of every finished search and start the next; returns how many games ended.

    Their slots are then in front in `finished`.
    """
    ended = 0
    for g in range(len(slots.length)):
        if not is_done(trees, g):
            continue
        counts, q, prior, policy = slots.stats
        best = read_root(trees, params, g, counts, q, prior, policy)
        t = slots.length[g]
        value = root_value(trees, params, g)
        action = _choose(trees, params, slots, pace, g, best, value)
        slots.moves[g, t] = action
        for a in range(len(policy)):  # Numba compiles `[:] =` of arrays for seconds
            slots.policies[g, t, a] = policy[a]
        slots.values[g, t] = value
        slots.surprise[g, t] = surprise(trees, g, policy)
        if pace.decided_visits:
            _note_value(trees, slots, pace, g, value)
        slots.length[g] = t + 1
        play(trees.states[g], action)
        if trees.states[g].done:
            slots.finished[ended] = g
            ended += 1
        else:
            _begin_search(trees, slots, pace, g)
    return ended


@kernel
def begin_game(trees: Trees, slots: Slots, g: int, fresh: Any, pace: Pace) -> None:
    """Start slot `g` anew after 0 to `opening_plies` random moves, and its first search.

    `fresh` holds a position before the first move for each set of rules; one is drawn. The random
    moves are recorded as such: the replay window does not learn from them.
    """
    slots.rules[g] = random_below(trees.rng[g], len(fresh)) if len(fresh) > 1 else 0
    wanted = random_below(trees.rng[g], pace.opening_plies + 1)
    while True:
        trees.states[g] = fresh[slots.rules[g]]
        for t in range(wanted):
            action = rollout_action(trees.states[g], trees.rng[g])
            slots.moves[g, t] = action
            slots.policies[g, t, :] = 0.0
            slots.policies[g, t, action] = 1.0
            slots.values[g, t] = 0.0
            slots.surprise[g, t] = np.nan
            slots.full[g, t] = FULL
            play(trees.states[g], action)
            if trees.states[g].done:
                break
        if not trees.states[g].done:
            break
        wanted -= 1
    slots.length[g] = wanted
    slots.opening[g] = wanted
    slots.sure[g] = 0
    _begin_search(trees, slots, pace, g)


@kernel
def write_unanchored(
    trees: Trees, slots: Slots, mask: NDArray[np.uint8], planes: NDArray[np.uint16]
) -> int:
    """Planes of the positions that the anchor has not judged, in order of the slots; their number."""
    n = 0
    for g in range(len(slots.length)):
        if slots.unanchored[g]:
            legal_mask(trees.states[g], mask)
            write_planes(trees.states[g], mask, planes[n])
            n += 1
    return n
