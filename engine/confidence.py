"""How sure a search is of a move: a lower bound of its value from the spread of what it has seen.

KataGo's bound (Wu, `Search::getSelfUtilityLCBAndRadius`), after Leela Zero's idea to choose moves by
it (issue 2282). Of n visits with mean m and mean square s the variance is taken for

    s - m^2 + w / (n + w),  w = 1 / n^2

that is, a prior visit of weight w says that it is the largest that values in [-1, 1] can have, which
tells while there are few. The bound is STANDARD_ERRORS standard errors below the mean, of
(n + w)^2 / (n + w^2) visits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.jit import borrowing_kernel
from ghostgo.engine.tree import EXPANDED, NO_CHILD, ROOT, Trees

STANDARD_ERRORS = 5.0
"""As KataGo has it (`lcbStdevs`)."""
LEAST_VARIANCE = 1e-8


def lower_bound(mean: float, square: float, visits: int) -> float:
    """The bound above, in [-1, 1], for a mean value in [-1, 1] and a mean square in [0, 1].

    There must be a visit.
    """
    weight = 1.0 / visits**2
    variance = max(square - mean * mean, LEAST_VARIANCE) + weight / (visits + weight)
    effective = (visits + weight) ** 2 / (visits + weight**2)
    return max(mean - STANDARD_ERRORS * math.sqrt(variance / effective), -1.0)


@borrowing_kernel
def _sum_squares(
    nodes: Any, edges: Any, owner: NDArray[np.int32], squares: NDArray[np.float64]
) -> None:
    """`sum_squares` of a tree of (N,) nodes with its (E,) edges; `owner` (N,) is scratch.

    It is not given `Trees`, whose type is a game's own: it would be compiled for each game.
    """
    squares[:] = 0.0
    owner[:] = NO_CHILD
    for index in range(len(nodes)):  # a child stands behind its parent
        node = nodes[index]
        if index != ROOT and owner[index] == NO_CHILD:
            continue  # below a proven node
        here = node.visits
        if node.kind == EXPANDED:
            for e in range(node.first_edge, node.first_edge + node.visited):
                owner[edges[e].child] = edges[e].action if index == ROOT else owner[index]
                here -= edges[e].visits
        if index != ROOT:
            squares[owner[index]] += here * float(node.raw_value) ** 2


def sum_squares(trees: Trees, g: int, actions: int) -> NDArray[np.float64]:
    """For each of so many actions at the root of tree `g`, the squares of what its visits have seen.

    (A,) sums. A visit has seen the value of the node at which it ended, as it stands now: where a
    node is proven, all visits to it count as having seen that. None may be in flight.
    """
    count = int(trees.node_count[g])
    squares = np.empty(actions, np.float64)
    _sum_squares(trees.nodes[g, :count], trees.edges[g], np.empty(count, np.int32), squares)
    return squares
