"""What is special about a root: sequential halving, the improved policy, the move to play.

Danihelka et al. 2022, "Policy improvement by planning with Gumbel". Noise: `ghostgo.engine.noise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.jit import borrowing_kernel, kernel, random_gumbel
from ghostgo.engine.noise import disturb_priors, has_noise
from ghostgo.engine.search_config import Params
from ghostgo.engine.tree import ROOT, Trees, best_if_all_proven, proven

NO_EDGE = -1


@kernel
def hold_to_anchor(trees: Trees, params: Params, g: int, logits: NDArray[np.float32]) -> None:
    """Write the logits (A,) of root `g`, the network's mixed with the anchor's, to `trees.mixed`."""
    for a in range(len(logits)):
        trees.mixed[a] = logits[a] + params.anchor_share * (trees.anchor[g, a] - logits[a])


@kernel
def prepare_root(trees: Trees, params: Params, g: int, logits: NDArray[np.float32]) -> None:
    """Keep the root's logits, draw its noise. The root is expanded already."""
    node = trees.nodes[g, ROOT]
    trees.logits[g, :] = -np.inf
    trees.noise[g, :] = 0.0
    for e in range(node.first_edge, node.first_edge + node.edges):
        action = trees.edges[g, e].action
        trees.logits[g, action] = logits[action]
        if params.gumbel and has_noise(trees, params, g):
            trees.noise[g, action] = random_gumbel(trees.rng[g])
    if has_noise(trees, params, g) and not params.gumbel:
        disturb_priors(trees, params, g)


@borrowing_kernel
def _sigma(params: Params, most_visits: int, q: float) -> Any:
    return (params.c_visit + most_visits) * params.c_scale * np.float32(0.5) * (q + 1.0)


@borrowing_kernel
def _most_visits(trees: Trees, g: int) -> int:
    node = trees.nodes[g, ROOT]
    most = 0
    for e in range(node.first_edge, node.first_edge + node.edges):
        most = max(most, trees.edges[g, e].visits)
    return most


@borrowing_kernel
def choose_by_halving(trees: Trees, params: Params, g: int) -> int:
    """Edge of the next simulation by sequential halving; NO_EDGE if none has the visits wanted."""
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    table = params.considered
    if trees.budget[g] == params.cheap_visits:
        table = params.considered_cheaply
    elif trees.budget[g] == params.decided_visits:
        table = params.considered_decided
    m = min(table.shape[0] - 1, np.int64(node.edges))
    wanted = table[m, trees.started[g]]
    most = _most_visits(trees, g)
    best, best_score = -1, np.float32(-np.inf)
    for e in range(node.first_edge, node.first_edge + node.edges):
        edge = edges[e]
        if edge.visits + edge.virtual != wanted:
            continue
        score = trees.noise[g, edge.action] + trees.logits[g, edge.action]
        if edge.visits:
            score += _sigma(params, most, edge.value_sum / edge.visits)
        if best < 0 or score > best_score:
            best, best_score = e, score
    if best < 0:  # cancelled leaves can leave the table behind
        return NO_EDGE
    if best > node.first_edge + node.visited:
        # Keep visited edges first: trade places with the edge behind them.
        front = edges[node.first_edge + node.visited]
        chosen = edges[best]
        front.prior, chosen.prior = chosen.prior, front.prior
        front.action, chosen.action = chosen.action, front.action
        best = node.first_edge + node.visited
    return best


@kernel
def read_root(
    trees: Trees,
    params: Params,
    g: int,
    visits: NDArray[np.int32],
    q: NDArray[np.float32],
    prior: NDArray[np.float32],
    policy: NDArray[np.float32],
) -> int:
    """Write the root's statistics, each (A,), and return the action to play.

    `policy` is the improved policy: with `gumbel` the softmax of logits + sigma(completed q), else
    the visit shares, none for what is proven lost and without what `forced_k` alone has spent.
    Unvisited actions are completed by the mixed value (paper, eq. 33).
    """
    node = trees.nodes[g, ROOT]
    visits[:] = 0
    q[:] = np.nan
    prior[:] = 0.0
    policy[:] = 0.0
    weighted, mass, total, most = 0.0, 0.0, 0, 0
    for e in range(node.first_edge, node.first_edge + node.edges):
        edge = trees.edges[g, e]
        prior[edge.action] = abs(edge.prior)
        if edge.visits:
            visits[edge.action] = edge.visits
            q[edge.action] = edge.value_sum / edge.visits
            weighted += prior[edge.action] * q[edge.action]
            mass += prior[edge.action]
            total += edge.visits
            most = max(most, edge.visits)
    mixed = node.raw_value
    if total:
        mixed = (node.raw_value + total * weighted / max(mass, 1e-12)) / (1 + total)
    if params.gumbel:
        _improved_policy(trees, params, g, most, mixed, visits, q, policy)
    else:
        _visit_shares(trees, params, g, prior, policy)
    return _choose_action(trees, params, g, visits, q, prior)


@borrowing_kernel
def forced_visits(params: Params, prior: float, visits: int) -> float:
    """Simulations that a root action of this prior is owed, of `visits` below the root so far.

    sqrt(k * prior * visits) (KataGo, Wu 2019, section 3.2).
    """
    return np.sqrt(params.forced_k * prior * visits)


@kernel
def _pruned_visits(trees: Trees, params: Params, g: int, best: int, e: int) -> float:
    """Visits of root edge `e` without those that only `forced_k` made; `best` has the most.

    As many are taken off, but no more than were forced, as leave the edge's PUCT score below that
    of `best`; an edge that is left with one or less loses it too.
    """
    node = trees.nodes[g, ROOT]
    edge, first = trees.edges[g, e], trees.edges[g, best]
    if e == best or edge.visits == 0:
        return np.float64(edge.visits)
    explore = params.c_puct * np.sqrt(np.float64(max(1, node.visits - 1)))
    score = first.value_sum / first.visits + explore * first.prior / (1.0 + first.visits)
    gap = score - edge.value_sum / edge.visits
    if gap <= 0:  # better than `best` but for its visits
        return np.float64(edge.visits)
    least = max(
        explore * edge.prior / gap - 1.0,
        edge.visits - forced_visits(params, edge.prior, node.visits - 1),
    )
    left = min(np.float64(edge.visits), least)
    return left if left > 1.0 else 0.0


@kernel
def _most_visited(trees: Trees, g: int) -> int:
    """The root edge of most visits, of equal ones that of most value; none that is proven lost.

    NO_EDGE if all are.
    """
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    best = NO_EDGE
    for e in range(node.first_edge, node.first_edge + node.edges):
        if edges[e].prior < 0:
            continue
        equal = best != NO_EDGE and edges[e].visits == edges[best].visits
        if (
            best == NO_EDGE
            or edges[e].visits > edges[best].visits
            or (equal and edges[e].value_sum > edges[best].value_sum)
        ):
            best = e
    return best


@kernel
def _visit_shares(
    trees: Trees, params: Params, g: int, prior: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Shares of the visits; actions proven lost get none, unless all are: then the prior."""
    node = trees.nodes[g, ROOT]
    best, total = _most_visited(trees, g), 0.0
    if best == NO_EDGE or trees.edges[g, best].visits == 0:
        for e in range(node.first_edge, node.first_edge + node.edges):
            out[trees.edges[g, e].action] = prior[trees.edges[g, e].action]
        return
    pruned = params.forced_k > 0 and has_noise(trees, params, g)
    for e in range(node.first_edge, node.first_edge + node.edges):
        edge = trees.edges[g, e]
        if edge.prior >= 0:
            visits = float(edge.visits)
            if pruned:
                visits = _pruned_visits(trees, params, g, best, e)
            out[edge.action] = visits
            total += visits
    for a in range(len(out)):
        out[a] = np.float32(out[a] / total)


@kernel
def surprise(trees: Trees, g: int, policy: NDArray[np.float32]) -> float:
    """KL divergence in nats of `policy` (A,) from the prior at root `g`, noise left out.

    The prior is the network's, with the anchor's share in it where there is one.
    """
    logits = trees.logits[g]
    highest = np.float32(-np.inf)
    for a in range(len(policy)):
        highest = max(highest, logits[a])
    total = 0.0
    for a in range(len(policy)):
        total += np.exp(np.float64(logits[a] - highest))
    log_total = np.log(total)
    divergence = 0.0
    for a in range(len(policy)):
        if policy[a] > 0:
            log_prior = np.float64(logits[a] - highest) - log_total
            divergence += policy[a] * (np.log(np.float64(policy[a])) - log_prior)
    return max(0.0, divergence)


@kernel
def root_value(trees: Trees, params: Params, g: int) -> float:
    """Value of root `g` for the side to move: the mean of its visits, or what is proven of it."""
    node = trees.nodes[g, ROOT]
    if params.solve:
        won = _won_edge(trees, g)
        if won != NO_EDGE:
            return proven(trees, g, ROOT, won)
        exact = best_if_all_proven(trees, g, ROOT)
        if not np.isnan(exact):
            return exact
    return node.value_sum / max(node.visits, 1)


@kernel
def _won_edge(trees: Trees, g: int) -> int:
    """The best root edge that is proven won; NO_EDGE if none is.

    Of equal ones the first that ends the game, else the most visited.
    """
    node = trees.nodes[g, ROOT]
    found, best, ends = NO_EDGE, 0.0, False
    for e in range(node.first_edge, node.first_edge + node.visited):
        value = proven(trees, g, ROOT, e)
        if not (value > 0 and value >= best):  # not nan either
            continue
        edge = trees.edges[g, e]
        now = trees.nodes[g, edge.child].edges == 0
        better = value > best or (now and not ends)
        if better or (now == ends and not now and edge.visits > trees.edges[g, found].visits):
            found, best, ends = e, value, now
    return found


@kernel
def _choose_action(
    trees: Trees,
    params: Params,
    g: int,
    visits: NDArray[np.int32],
    q: NDArray[np.float32],
    prior: NDArray[np.float32],
) -> int:
    """A won action if one is proven; else the best by value of the most visited ones not lost.

    Where all are lost and points count, the one that loses fewest.
    """
    node = trees.nodes[g, ROOT]
    edges = trees.edges[g]
    if params.solve:
        won = _won_edge(trees, g)
        if won != NO_EDGE:
            return edges[won].action
    most, all_lost = 0, True
    for e in range(node.first_edge, node.first_edge + node.edges):
        if edges[e].prior >= 0:
            most = max(most, edges[e].visits)
            all_lost = False
    by_points = all_lost and params.score_weight > 0
    if all_lost:
        most = 0 if by_points else _most_visits(trees, g)
    best, best_score = -1, np.float32(-np.inf)
    for e in range(node.first_edge, node.first_edge + node.edges):
        a = edges[e].action
        if visits[a] < most or (edges[e].prior < 0 and not all_lost):
            continue
        score = np.float32(prior[a])
        if params.gumbel:
            score = trees.noise[g, a] + trees.logits[g, a]
        if visits[a]:
            score += _sigma(params, most, q[a])
        if by_points:
            score = np.float32(q[a])
        if best < 0 or score > best_score:
            best, best_score = a, score
    return best


@kernel
def _improved_policy(
    trees: Trees,
    params: Params,
    g: int,
    most: int,
    mixed: float,
    visits: NDArray[np.int32],
    q: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    highest = np.float32(-np.inf)
    for a in range(len(out)):
        out[a] = trees.logits[g, a]
        if out[a] > -np.inf:
            out[a] += _sigma(params, most, q[a] if visits[a] else mixed)
            highest = max(highest, out[a])
    total = np.float32(0.0)
    for a in range(len(out)):
        out[a] = np.exp(out[a] - highest)
        total += out[a]
    for a in range(len(out)):
        out[a] /= total
