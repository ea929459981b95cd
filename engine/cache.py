"""What the network has said before, kept by what it was shown.

Where a search begins anew at every move, most of the positions that it needs were judged for the
move before; other games and other orders of moves reach the same positions again. The key is a digest of
the feature planes, all that the network sees, so a remembered answer is the one that it would give,
whatever the game's rules on repetition. One cache serves one thread and one set of weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.games.game import Game
from ghostgo.engine.jit import borrowing_kernel, kernel, random_u64

NOT_FOUND = -1
_LANES = 4
# Knuth's multiplier of a 64-bit linear congruential generator (MMIX).
_MULTIPLIER = np.uint64(6364136223846793005)


class Cache(NamedTuple):
    """A direct-mapped table of S entries, a newer one taking an older one's place."""

    keys: NDArray[np.uint64]  # (S,) 0 where empty
    policy: NDArray[np.float32]  # (S, A) logits
    value: NDArray[np.float32]  # (S,)
    leaf_keys: NDArray[np.uint64]  # (B,) keys of the batch that is being evaluated
    counts: NDArray[np.int64]  # (2,) lookups and hits


def make_cache(game: Game, size_bytes: int, batch: int) -> Cache:
    """The largest cache within `size_bytes` for batches of B rows; none if an entry does not fit.

    An entry takes 12 + 4 A bytes, and their number is a power of two. Pages are taken when touched.
    """
    entries = size_bytes // (12 + 4 * game.actions)
    size = 1 << (entries.bit_length() - 1) if entries > 0 else 0
    return Cache(
        keys=np.zeros(size, np.uint64),
        policy=np.zeros((size, game.actions), np.float32),
        value=np.zeros(size, np.float32),
        leaf_keys=np.zeros(batch, np.uint64),
        counts=np.zeros(2, np.int64),
    )


def forget(cache: Cache) -> None:
    """Empty the cache: the weights have changed."""
    cache.keys[:] = 0


@kernel
def position_key(planes: NDArray[np.uint16]) -> np.uint64:
    """A 64-bit digest of planes (P, C), never 0.

    Four interleaved multiplicative hashes, which a processor computes at once, then mixed.
    """
    flat = planes.reshape(-1)
    lanes = np.ones(_LANES, np.uint64)
    whole = len(flat) // _LANES * _LANES
    for i in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] = (lanes[lane] ^ np.uint64(flat[i + lane])) * _MULTIPLIER
    for i in range(whole, len(flat)):
        lanes[0] = (lanes[0] ^ np.uint64(flat[i])) * _MULTIPLIER
    key = np.zeros(1, np.uint64)
    for lane in range(_LANES):
        key[0] ^= lanes[lane]
        key[0] = random_u64(key)
    return max(key[0], np.uint64(1))


@kernel
def answer_key(planes: NDArray[np.uint16], rows: int) -> np.uint64:
    """The key of the mean answer to the first `rows` images of planes (P, C); one: the planes'."""
    key = position_key(planes)
    if rows == 1:
        return key
    return max(key ^ (np.uint64(rows) * _MULTIPLIER), np.uint64(1))


@borrowing_kernel
def find(cache: Cache, key: np.uint64) -> Any:
    """The entry of `key` (int64), or NOT_FOUND."""
    slot = np.int64(key & np.uint64(len(cache.keys) - 1))
    cache.counts[0] += 1
    if cache.keys[slot] != key:
        return NOT_FOUND
    cache.counts[1] += 1
    return slot


@kernel
def remember(cache: Cache, b: int, logits: NDArray[np.float32], value: float) -> None:
    """Keep the answer to row `b` of the batch: `logits` (A,) and `value`."""
    key = cache.leaf_keys[b]
    slot = np.int64(key & np.uint64(len(cache.keys) - 1))
    cache.keys[slot] = key
    for a in range(len(logits)):  # Numba compiles `[:] =` of arrays for seconds
        cache.policy[slot, a] = logits[a]
    cache.value[slot] = value
