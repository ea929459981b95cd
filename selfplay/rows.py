"""The rows that stay on a terminal, one an iteration: what the network knew of its new games.

The live line is cut to the terminal's width, which bits and distinct shares would not survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ghostgo.selfplay.monitor import si

HEADS = ("outcome", "ownership", "policy")
WIDTH = 78
"""Characters of a row, so that it fits into 80 columns."""
EVERY = 20
"""Rows from one heading to the next."""
_NAMES = "".join(f"{name:>8}" for name in ("outcome", "owners", "policy"))
HEADING = (
    f"{'':5}{'bits a game':>24}{'bits a PFLOP':>24}{'distinct: new':>14}{'window':>11}\n"
    f"{'#':>5}{_NAMES}{_NAMES} " + f"{'games':>6}{'pos.':>6}" * 2
)


def row(
    step: int,
    bits: Mapping[str, float],
    bits_a_pflop: Mapping[str, float],
    shares: Sequence[float],
) -> str:
    """Iteration `step` below `HEADING`, `WIDTH` characters.

    `shares` are those of distinct games and positions, of the iteration and of the window.
    """
    cells = [
        si(round(given[head], 2)) if head in given else "-"
        for given in (bits, bits_a_pflop)
        for head in HEADS
    ]
    numbers = "".join(f"{cell:>8}" for cell in cells)
    return f"{step:>5}{numbers} " + "".join(f"{share:>6.0%}" for share in shares)
