"""In which orientations the network is shown a leaf, and its answers turned back.

A position and its images under the game's symmetries have the same value and the same policy, turned.
Shown in one orientation, whichever of them a search meets, they cost one evaluation, and the cache
(`ghostgo.engine.cache`) needs one entry for them. Which orientation that is follows from the planes
alone: the least of a digest's values over all of them.

Shown in several, it answers each a little differently, and the mean errs less than one answer. Such
a leaf takes so many rows of the batch, one behind the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game
from ghostgo.engine.jit import borrowing_kernel, kernel
from ghostgo.engine.symmetry import inverse

# Knuth's multiplier of a 64-bit linear congruential generator (MMIX).
_MULTIPLIER = np.uint64(6364136223846793005)
_HALF = np.uint64(32)
LEAST_PROBABILITY = np.float32(1e-30)
"""What has none still has a logarithm."""


class Orientation(NamedTuple):
    """A game's S symmetries as tables, those used for a batch, and room to work in.

    Apart from `Trees`, which every kernel of a search is handed.
    """

    points: NDArray[np.int32]  # (S, P) symmetry s sends point p to points[s, p]; s = 0 leaves all
    sources: NDArray[np.int32]  # (S, P) the inverse
    actions: NDArray[np.int32]  # (S, A) the same as `points` for actions
    turns: NDArray[np.int32]  # (B,) the symmetry under which its first row shows a leaf
    rows: NDArray[np.int32]  # (B,) rows of the batch that a leaf takes
    planes: NDArray[np.uint16]  # (P, C) a leaf's planes as the game wrote them
    hashes: NDArray[np.uint64]  # (P,) a hash of each point's planes
    logits: NDArray[np.float32]  # (A,) an answer in the leaf's own orientation
    mean: NDArray[np.float32]  # (A,) the mean of several answers, in that of the first row


def make_orientation(game: Game, batch: int) -> Orientation:
    """Tables of `game`, for batches of B rows."""
    return Orientation(
        points=np.ascontiguousarray(game.point_symmetries),
        sources=inverse(game.point_symmetries),
        actions=np.ascontiguousarray(game.action_symmetries),
        turns=np.zeros(batch, np.int32),
        rows=np.ones(batch, np.int32),
        planes=np.zeros((game.points, game.planes), np.uint16),
        hashes=np.zeros(game.points, np.uint64),
        logits=np.zeros(game.actions, np.float32),
        mean=np.zeros(game.actions, np.float32),
    )


@kernel
def canonical_turn(shown: Orientation, planes: NDArray[np.uint16]) -> int:
    """The symmetry that turns planes (P, C) into their canonical orientation; the first if several.

    Several do only where the position is its own image. The planes are read once, and the digest of
    an image is one of the points' hashes in its order.
    """
    hashes = shown.hashes
    for p in range(len(hashes)):
        point = np.uint64(1)
        for c in range(planes.shape[1]):
            point = (point ^ np.uint64(planes[p, c])) * _MULTIPLIER
        hashes[p] = point ^ (point >> _HALF)
    best, least = 0, np.uint64(0)
    for s in range(len(shown.sources)):
        source = shown.sources[s]
        digest = np.uint64(1)
        for p in range(len(hashes)):
            digest = (digest ^ hashes[source[p]]) * _MULTIPLIER
        if s == 0 or digest < least:
            best, least = s, digest
    return best


@kernel
def turn_planes(
    shown: Orientation, turn: int, planes: NDArray[np.uint16], out: NDArray[np.uint16]
) -> None:
    """Write `planes` (P, C) under symmetry `turn` into `out` (P, C), another array."""
    table = shown.points[turn]
    for p in range(len(table)):
        to = table[p]
        for c in range(planes.shape[1]):
            out[to, c] = planes[p, c]


@kernel
def show_canonical(shown: Orientation, planes: NDArray[np.uint16]) -> int:
    """Turn planes (P, C) in place into their canonical orientation; returns the symmetry that does."""
    turn = canonical_turn(shown, planes)
    if turn:
        for p in range(planes.shape[0]):  # Numba compiles `[:] =` of arrays for seconds
            for c in range(planes.shape[1]):
                shown.planes[p, c] = planes[p, c]
        turn_planes(shown, turn, shown.planes, planes)
    return turn


@borrowing_kernel
def turn_back(shown: Orientation, b: int, logits: NDArray[np.float32]) -> None:
    """Write the answer `logits` (A,) to the leaf at row `b` to `shown.logits`, as the leaf lies."""
    table = shown.actions[shown.turns[b]]
    for a in range(len(table)):
        shown.logits[a] = logits[table[a]]


@kernel
def show_images(shown: Orientation, b: int, planes: NDArray[np.uint16]) -> None:
    """Fill the further rows of the leaf at row `b` of `planes` (B, P, C): its images, in order."""
    for i in range(1, shown.rows[b]):
        turn_planes(shown, i, planes[b], planes[b + i])


@kernel
def mean_answer(
    shown: Orientation,
    b: int,
    mask: NDArray[np.uint8],
    policy: NDArray[np.float32],
    value: NDArray[np.float32],
) -> Any:
    """Average the answers to the leaf at row `b`: its value, and its logits in `shown.mean`.

    `policy` (B, A) logits and `value` (B,) are the network's, `mask` (A,) the leaf's legal actions.
    Policies are averaged as probabilities over these.
    """
    mean, first, rows = shown.mean, shown.actions[shown.turns[b]], shown.rows[b]
    mean[:] = 0.0
    total = np.float32(0.0)
    for i in range(rows):
        logits, image = policy[b + i], shown.actions[i]
        highest, mass = np.float32(-np.inf), np.float32(0.0)
        for a in range(len(mask)):
            if mask[a]:
                highest = max(highest, logits[image[first[a]]])
        for a in range(len(mask)):
            if mask[a]:
                mass += np.exp(logits[image[first[a]]] - highest)
        for a in range(len(mask)):
            if mask[a]:
                mean[first[a]] += np.exp(logits[image[first[a]]] - highest) / mass
        total += value[b + i]
    for a in range(len(mean)):
        mean[a] = np.log(max(mean[a] / np.float32(rows), LEAST_PROBABILITY))
    return total / np.float32(rows)
