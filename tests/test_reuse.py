"""Tree reuse: what is kept of a tree, against a naive twin, and what a search makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference_search import HashEvaluator
from sizes import sized
from test_search import after, positions, proven_root

from ghostgo.engine.games.game import States, outcome_of, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.reuse import NOT_FOUND, find_node, reroot
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig
from ghostgo.engine.tree import EXPANDED, FROZEN, ROOT, TERMINAL
from ghostgo.engine.uniform import UniformEvaluator

PUCT = SearchConfig(root="puct")
BOTH = pytest.mark.parametrize(("name", "visits"), [("tic_tac_toe", 60), ("go5", sized(200, 60))])


def subtree(searcher: Searcher, i: int, index: int, root: bool) -> Any:
    """All that tree `i` says of node `index` and, recursively, of what is below it.

    Of a root, the statistics that a proven node gets when it is opened again.
    """
    trees = searcher.trees
    node = trees.nodes[i, index]
    run = trees.edges[i, node.first_edge : node.first_edge + node.edges]
    kind, visits, value_sum = int(node.kind), int(node.visits), float(node.value_sum)
    if root and kind == TERMINAL:
        kind, visits = EXPANDED, 1 + int(run.visits[: node.visited].sum())
        value_sum = float(node.raw_value + run.value_sum[: node.visited].sum())
    tried = [
        (
            int(edge.action), float(edge.prior), int(edge.visits), float(edge.value_sum),
            subtree(searcher, i, int(edge.child), root=False),
        )
        for edge in run[: node.visited]
    ]  # fmt: skip
    untried = [(int(edge.action), float(edge.prior)) for edge in run[node.visited :]]
    own = kind, visits, pytest.approx(value_sum, abs=1e-5), float(node.raw_value), int(node.to_play)
    return own, tried, untried


def size(tree: Any) -> tuple[int, int]:
    """Nodes and edges of a `subtree`."""
    _, tried, untried = tree
    below = [size(child) for *_, child in tried]
    nodes, edges = (sum(column) for column in zip(*below, strict=True)) if below else (0, 0)
    return 1 + nodes, len(tried) + len(untried) + edges


def check_whole(searcher: Searcher, i: int) -> None:
    """What holds of every tree with nothing in flight."""
    trees = searcher.trees
    nodes = trees.nodes[i, : trees.node_count[i]]
    used = np.zeros(trees.edge_count[i], bool)
    assert len(nodes) <= searcher.visits + 1
    assert nodes[ROOT].kind == EXPANDED and not nodes.pending.any()
    assert trees.started[i] == nodes[ROOT].visits - 1
    seen = [ROOT]
    for index in range(len(nodes)):
        node = nodes[index]
        if not node.edges:
            continue
        assert not used[node.first_edge : node.first_edge + node.edges].any()
        used[node.first_edge : node.first_edge + node.edges] = True
        tried = trees.edges[i, node.first_edge : node.first_edge + node.visited]
        assert not tried.virtual.any() and (tried.visits > 0).all()
        assert (tried.child > index).all()
        assert (tried.visits == nodes.visits[tried.child]).all()
        seen += tried.child.tolist()
        if node.kind == EXPANDED:
            assert tried.visits.sum() == node.visits - 1
    assert sorted(seen) == list(range(len(nodes))) and used.all()


def lines(searcher: Searcher, i: int, plies: int) -> list[tuple[int, list[int]]]:
    """Every node so many plies below root `i`, with the moves that lead there."""
    found = [(ROOT, list[int]())]
    for _ in range(plies):
        below = []
        for index, moves in found:
            node = searcher.trees.nodes[i, index]
            for edge in searcher.trees.edges[i, node.first_edge : node.first_edge + node.visited]:
                below.append((int(edge.child), [*moves, int(edge.action)]))
        found = below
    return found


def played(states: States, moves: list[int]) -> States:
    states = states.copy()
    for move in moves:
        play_one(states[0], move)
    return states


@BOTH
@pytest.mark.parametrize("evaluator", [HashEvaluator, UniformEvaluator])
@pytest.mark.parametrize("plies", [1, 2])
def test_a_kept_tree_is_the_subtree_that_it_was(
    name: str, visits: int, evaluator: Any, plies: int
) -> None:
    game = get_game(name)
    states = game.new_states(1)
    config = SearchConfig(root="puct", leaves_per_step=4, cache_mb=0)  # each run finds the same
    searcher = Searcher(game, evaluator(game, 4), 1, visits, config)
    count = len(lines_of(searcher, states, plies))
    kept = 0
    for row in range(0, count, max(1, count // sized(12, 4))):
        index, moves = lines_of(searcher, states, plies)[row]
        expected = subtree(searcher, 0, index, root=True)
        there = played(states, moves)
        if not there[0].done:
            assert find_node(searcher.trees, 0, there[0]) == index
        if not searcher.trees.nodes[0, index].edges:
            continue
        reroot(searcher.trees, 0, index)
        kept += 1
        assert subtree(searcher, 0, ROOT, root=False) == expected
        assert (searcher.trees.node_count[0], searcher.trees.edge_count[0]) == size(expected)
        check_whole(searcher, 0)
    assert kept > 2


def lines_of(searcher: Searcher, states: States, plies: int) -> list[tuple[int, list[int]]]:
    """`lines` of a fresh search of `states`."""
    searcher.run(states)
    return lines(searcher, 0, plies)


@BOTH
@pytest.mark.parametrize("leaves", [1, 4])
def test_a_game_on_one_tree(name: str, visits: int, leaves: int) -> None:
    game, seen = get_game(name), 0
    evaluator = HashEvaluator(game, leaves)
    config = SearchConfig(root="puct", leaves_per_step=leaves, cache_mb=0)
    searcher = Searcher(game, evaluator, 1, visits, config)
    states = game.new_states(1)
    for _ in range(sized(9, 5)):
        before = evaluator.evaluations
        kept = int(searcher.begin(states, keep=True)[0])
        while searcher.step():
            pass
        result = searcher.result()
        assert result.visits.sum() == searcher.trees.started[0] == max(visits, kept)
        assert evaluator.evaluations - before <= visits - kept + (kept == 0)
        legal = np.zeros(game.actions, bool)
        legal[game.legal_actions(states[0])] = True
        assert not result.visits[0][~legal].any() and result.prior[0].sum() == pytest.approx(1)
        check_whole(searcher, 0)
        seen += kept > 0
        # The move found, and a reply that is not always the one expected.
        moves = [int(result.action[0])]
        index = searcher.main_line(0, moves[0], 2)
        for move in [*moves, *(action for action, _ in index[1:])]:
            play_one(states[0], move)
        if states[0].done:
            break
    assert seen > 1


def test_the_trees_of_a_batch_are_kept_each_by_itself() -> None:
    game = get_game("go5")
    states = positions(game, 4, 2, 6)
    together = Searcher(game, HashEvaluator(game, 4), 4, 60, PUCT)
    alone = [Searcher(game, HashEvaluator(game, 1), 1, 60, PUCT) for _ in range(4)]
    actions = together.run(states).action
    for i in range(4):
        alone[i].run(states[i : i + 1])
        if i != 2:  # of this one another position is searched next
            play_one(states[i], int(actions[i]))
    states[2] = game.new_states(1)[0]
    kept = together.begin(states, keep=True)
    while together.step():
        pass
    for i in range(4):
        assert alone[i].begin(states[i : i + 1], keep=True)[0] == kept[i]
        while alone[i].step():
            pass
        assert (alone[i].result().visits[0] == together.result().visits[i]).all()
    assert (kept[[0, 1, 3]] > 0).all()


def test_what_is_elsewhere_starts_afresh() -> None:
    game = get_game("go5")
    searcher = Searcher(game, HashEvaluator(game, 1), 1, 80, PUCT)
    start = after(game, "C3")
    first = searcher.run(start)
    below = played(start, [int(first.action[0])])

    def again(states: States) -> int:
        """Simulations kept for `states`; the tree is that of `below` before and after."""
        searcher.run(below)
        kept = int(searcher.begin(states, keep=True)[0])
        while searcher.step():
            pass
        assert (searcher.trees.states[0] == states[0]) and searcher.result().visits.sum() == 80
        fresh = Searcher(game, HashEvaluator(game, 1), 1, 80, PUCT).run(states)
        if not kept:
            assert (searcher.result().visits == fresh.visits).all()
        return kept

    assert again(below) == 80, "the same position again"
    assert again(start) == 0, "a move taken back"
    assert again(game.new_states(1)) == 0, "a new game"
    assert again(after(game, "A1", "B2")) == 0, "another line"
    other_rules = below.copy()
    other_rules[0].komi += 1  # and nothing else, not even its hash
    assert again(other_rules) == 0, "other rules"
    tried = searcher.run(below).visits[0]
    never = [a for a in game.legal_actions(below[0]) if not tried[a]]
    once = int(np.flatnonzero(tried == 1)[0])
    assert never and again(played(below, [int(never[0])])) == 0, "a move that was not searched"
    assert again(played(below, [once])) == 0, "a move that was judged only"


def test_a_search_broken_off_is_not_kept() -> None:
    class Broken(HashEvaluator):
        broken = False

        def evaluate(self, n: int) -> None:
            if self.broken:
                raise KeyboardInterrupt
            super().evaluate(n)

    game = get_game("go5")
    evaluator = Broken(game, 4)
    searcher = Searcher(game, evaluator, 1, 60, SearchConfig(root="puct", leaves_per_step=4))
    state = game.new_states(1)
    searcher.begin(state)
    for _ in range(5):
        searcher.step()
    evaluator.broken = True
    with pytest.raises(KeyboardInterrupt):
        searcher.step()
    evaluator.broken = False
    assert searcher.begin(state, keep=True)[0] == 0
    while searcher.step():
        pass
    check_whole(searcher, 0)
    assert searcher.begin(state, keep=True)[0] == 60


def test_superko_history_is_the_real_game_s() -> None:
    """Lines that transpose have one hash; of their nodes the one is taken that the game went by."""
    game = get_game("go5")
    searcher = Searcher(game, UniformEvaluator(game, 1), 1, 150, PUCT)
    searcher.run(game.new_states(1))
    alike: dict[int, list[tuple[int, States]]] = {}
    for index, moves in lines(searcher, 0, 3):
        states = played(game.new_states(1), moves)
        alike.setdefault(int(states[0].hash), []).append((index, states))
    groups = [group for group in alike.values() if len(group) > 1]
    assert groups
    for index, states in (one for group in groups for one in group):
        assert find_node(searcher.trees, 0, states[0]) == index
        states[0].history[1] ^= 1  # a game that saw another position before
        assert find_node(searcher.trees, 0, states[0]) == NOT_FOUND


def test_what_was_proven_stays_proven() -> None:
    """A proven position that is reached is worth what was proven, at once and after more search."""
    game, closed, below = get_game("tic_tac_toe"), 0, 0
    for states in positions(game, sized(30, 10), 7, 3):
        here = states.reshape(1).view(np.recarray)
        searcher = Searcher(game, HashEvaluator(game, 1), 1, 150, PUCT)
        searcher.run(here)
        for row, (index, moves) in enumerate(lines(searcher, 0, 1)):
            searcher.run(here)  # remembered, so the same tree again
            assert lines(searcher, 0, 1)[row] == (index, moves)
            node = searcher.trees.nodes[0, index].copy()
            there = played(here, moves)
            if node.kind != TERMINAL or there[0].done:
                continue
            proven = [kind_below(searcher, index)]
            searcher.begin(there, keep=True)
            closed += 1
            assert proven_root(searcher, 0) == node.raw_value == searcher.result().value[0]
            assert kind_below(searcher, ROOT) == proven[0]
            below += sum(kind == TERMINAL for kind, _ in proven[0].values())
            while searcher.step():
                pass
            found = searcher.result()
            assert found.value[0] == node.raw_value
            if node.raw_value == 1:
                won = played(there, [int(found.action[0])])
                assert searcher.result().q[0, found.action[0]] == 1
                assert not won[0].done or outcome_of(won[0]) == -1
    assert closed > 5 and below > closed


def kind_below(searcher: Searcher, index: int) -> dict[int, tuple[int, float]]:
    """Kind and value of each tried child of a node, by action."""
    trees = searcher.trees
    node = trees.nodes[0, index]
    run = trees.edges[0, node.first_edge : node.first_edge + node.visited]
    children = trees.nodes[0, run.child]
    return {
        int(action): (int(kind), float(value))
        for action, kind, value in zip(run.action, children.kind, children.raw_value, strict=True)
    }


def test_what_was_frozen_in_a_full_tree_grows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostgo.engine.tree.EDGE_LIMIT", 400)
    game = get_game("go5")
    searcher = Searcher(game, HashEvaluator(game, 1), 1, 80, PUCT)
    states = game.new_states(1)
    searcher.run(states)
    nodes = searcher.trees.nodes[0]
    _, index, moves = max(
        (int(nodes[index].visits), index, moves)
        for index, moves in lines(searcher, 0, 1)
        if nodes[index].edges
    )
    states = played(states, moves)
    kinds = [nodes[child].kind for child, _ in lines(searcher, 0, 2)]
    assert FROZEN in kinds and nodes[index].visits > 2
    assert (nodes[: searcher.trees.node_count[0]].kind == FROZEN).any()
    full = int(searcher.trees.edge_count[0])
    assert 0 < searcher.begin(states, keep=True)[0] < 80
    assert not (nodes[: searcher.trees.node_count[0]].kind == FROZEN).any(), "there is room now"
    assert searcher.trees.edge_count[0] < full, "what lies elsewhere is not freed"
    kept = int(searcher.trees.edge_count[0])
    while searcher.step():
        pass
    assert searcher.result().visits.sum() == 80 and nodes[ROOT].visits == 81
    assert searcher.trees.edge_count[0] > kept, "nothing was expanded"


def test_where_trees_are_not_kept() -> None:
    game = get_game("go5")
    state = game.new_states(1)
    for config in (SearchConfig(root="gumbel"), SearchConfig(root="puct", explore=True)):
        searcher = Searcher(game, UniformEvaluator(game, 1), 1, 20, config)
        searcher.run(state)
        with pytest.raises(ValueError, match="without noise"):
            searcher.begin(state, keep=True)
    # A leaf that was judged by fewer images than a root is judged anew when it becomes one.
    config = SearchConfig(root="puct", symmetries=8)
    searcher = Searcher(game, HashEvaluator(game, 8), 1, 40, config)
    action = int(searcher.run(state).action[0])
    assert searcher.begin(state, keep=True)[0] == 40
    assert searcher.begin(played(state, [action]), keep=True)[0] == 0
