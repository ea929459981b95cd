"""What makes a root explore: its policy's temperature and Dirichlet noise, and where there is any.

Dirichlet noise after Silver et al. 2018; temperature and the noise's shape after KataGo (Wu 2019,
and `docs/KataGoMethods.md` there).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.jit import borrowing_kernel, kernel, random_unit
from ghostgo.engine.search_config import Params
from ghostgo.engine.tree import ROOT, Trees

SHAPE_CEILING = 0.01
"""Priors above it count as this much in the noise's shape (KataGo)."""


@borrowing_kernel
def has_noise(trees: Trees, params: Params, g: int) -> bool:
    """Whether the root of tree `g` is searched with noise: cheap searches only want a good move."""
    budget = trees.budget[g]
    cheap = budget == params.cheap_visits or budget == params.decided_visits
    return params.explore and not cheap


@kernel
def temperature(early: float, late: float, move: int, side: float) -> float:
    """`early` at move 0, and every `side` moves half as far from `late` (KataGo, Wu 2019).

    `side` is the length of the board's side.
    """
    return late + (early - late) * 0.5 ** (move / side)


@kernel
def _gamma(shape: float, rng: NDArray[np.uint64]) -> float:
    """A gamma draw of unit scale (Marsaglia and Tsang 2000; boosted below shape 1)."""
    boost = 1.0
    if shape < 1.0:
        boost = random_unit(rng) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    while True:
        # Box and Muller
        radius = np.sqrt(-2.0 * np.log(1.0 - random_unit(rng)))
        x = radius * np.cos(2.0 * np.pi * random_unit(rng))
        v = (1.0 + c * x) ** 3
        if v > 0.0 and np.log(1.0 - random_unit(rng)) < 0.5 * x * x + d - d * v + d * np.log(v):
            return boost * d * v


@kernel
def _temper(trees: Trees, g: int, heat: float) -> None:
    """Raise the root's priors to the power 1 / `heat`, and scale them to 1 again."""
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    highest = 0.0
    for e in range(node.first_edge, node.first_edge + node.edges):
        highest = max(highest, np.float64(edges[e].prior))
    total = 0.0
    for e in range(node.first_edge, node.first_edge + node.edges):
        total += (edges[e].prior / highest) ** (1.0 / heat)
    for e in range(node.first_edge, node.first_edge + node.edges):
        edges[e].prior = np.float32((edges[e].prior / highest) ** (1.0 / heat) / total)


@kernel
def _shape(trees: Trees, g: int, shares: NDArray[np.float64]) -> None:
    """Write each root action's share (n,) of the concentration: half evenly, half by the policy.

    The second half goes by how far the logarithm of a prior, but no more than of `SHAPE_CEILING`,
    lies above the mean of the logarithms; where none does, evenly too.
    """
    node = trees.nodes[g, ROOT]
    mean = 0.0
    for i in range(node.edges):
        prior = np.float64(trees.edges[g, node.first_edge + i].prior)
        shares[i] = np.log(min(SHAPE_CEILING, prior) + 1e-20)
        mean += shares[i] / node.edges
    total = 0.0
    for i in range(node.edges):
        shares[i] = max(0.0, shares[i] - mean)
        total += shares[i]
    for i in range(node.edges):
        even = 1.0 / node.edges
        shares[i] = 0.5 * (even + shares[i] / total) if total > 0 else even


@kernel
def _add_dirichlet(trees: Trees, g: int, params: Params) -> None:
    """Mix Dirichlet noise into the root's priors."""
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    draws = np.empty(node.edges, np.float64)
    if params.dirichlet_shaped:
        _shape(trees, g, draws)
    total = 0.0
    for i in range(node.edges):
        concentration = params.dirichlet_total / node.edges
        if params.dirichlet_shaped:
            concentration = params.dirichlet_total * draws[i]
        draws[i] = _gamma(concentration, trees.rng[g])
        total += draws[i]
    for i in range(node.edges):
        edge = edges[node.first_edge + i]
        noise = np.float32(draws[i] / total)
        edge.prior += params.dirichlet_weight * (noise - edge.prior)


@kernel
def disturb_priors(trees: Trees, params: Params, g: int) -> None:
    """Give the priors of root `g`, which has just been expanded, their temperature and noise."""
    if params.root_early != 1.0 or params.root_late != 1.0:
        move = trees.states[g].move_number
        _temper(trees, g, temperature(params.root_early, params.root_late, move, params.side))
    _add_dirichlet(trees, g, params)
