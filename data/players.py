"""Who played recorded games, as hashes of names; and how often the same player may be in them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

TOP = 20
"""So many of the most frequent players are told."""


@lru_cache(maxsize=65536)
def player_key(name: str) -> int:
    """64 bits that stand for a name, however it is spaced and written in capitals; 0 for none.

    BLAKE2b of the NFKC form, so the same in every run and on every machine. A name without a letter
    or digit, such as `?`, or what is left of one that was read in another encoding, is none: it would
    make one player of many.
    """
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    if not any(character.isalnum() for character in folded):
        return 0
    return int.from_bytes(blake2b(folded.encode(), digest_size=8).digest(), "little") or 1


def frequencies(players: NDArray[np.uint64]) -> tuple[int, list[float]]:
    """How many known players the games (G, 2) have, and of the `TOP` most frequent ones the share
    of all games that each is in, falling."""
    once = players.copy()
    once[once[:, 0] == once[:, 1], 1] = 0
    names, counts = np.unique(once[once > 0], return_counts=True)
    return len(names), (np.sort(counts)[::-1][:TOP] / max(len(players), 1)).tolist()


def within_share(
    players: NDArray[np.uint64], hashes: NDArray[np.uint64], share: float
) -> NDArray[np.bool_]:
    """(G,) which games to keep so that no known player is in more than `share` of those kept.

    Games are taken in an order that follows from their `hashes` (G,) alone, so in whatever order
    they stand, while neither player (G, 2) is in too many. That number is lowered until it fits what
    is kept; a player is always left one game.
    """
    # From the last byte on: held-out games and subsets are those whose first bytes are least, and a
    # player's games must not all be among them.
    order = np.argsort(hashes.byteswap(), kind="stable")
    pairs = [set(pair) - {0} for pair in players[order].tolist()]
    most = int(share * len(pairs))
    while True:
        most = max(most, 1)
        seen = Counter[int]()
        kept = np.zeros(len(pairs), bool)
        for place, pair in zip(order.tolist(), pairs, strict=True):
            if all(seen[player] < most for player in pair):
                seen.update(pair)
                kept[place] = True
        fits = int(share * kept.sum())
        if most <= max(fits, 1):
            return kept
        most = fits
