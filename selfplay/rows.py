"""The rows that stay on a terminal, one an iteration: what the network knew of its new games.

The live line is cut to the terminal's width, which bits and distinct shares would not survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ghostgo.selfplay.monitor import si

HEADS = ("outcome", "ownership", "policy")
WIDTH = 76
"""Characters of a row, so that it fits into 80 columns."""
EVERY = 20
"""Rows from one heading to the next."""
_NAMES = "".join(f"{name:>7}" for name in ("outcome", "owners", "policy"))
HEADING = (
    f"{'':6}{'bits a game':>21}{'bits a PFLOP':>21}{'distinct: new':>14}{'window':>14}\n"
    f"{'#':>6}{_NAMES}{_NAMES}" + f"{'games':>7}{'pos.':>7}" * 2
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
    return f"{step:>6}" + "".join(f"{cell:>7}" for cell in [*cells, *map("{:.0%}".format, shares)])
