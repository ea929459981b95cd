"""The batched search against its naive twin, toy positions, and its own invariants."""

from __future__ import annotations

import numpy as np
import pytest
from reference_search import HashEvaluator, naive_puct
from solver import perfect_result

from ghostgo.engine.games.game import Game, States, outcome_of, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig, considered_visits
from ghostgo.engine.tree import ROOT, TERMINAL, softmax
from ghostgo.engine.uniform import UniformEvaluator

PUCT = SearchConfig(root="puct")
GUMBEL = SearchConfig(root="gumbel")


def positions(game: Game, count: int, seed: int, plies: int) -> States:
    """`count` unfinished positions after some random plies."""
    rng = np.random.default_rng(seed)
    states = game.new_states(count)
    for i in range(count):
        for _ in range(int(rng.integers(plies + 1))):
            before = states[i : i + 1].copy()
            play_one(states[i], int(rng.choice(game.legal_actions(states[i]))))
            if states[i].done:
                states[i] = before[0]
                break
    return states


def after(game: Game, *moves: str) -> States:
    state = game.new_states(1)
    for move in moves:
        play_one(state[0], game.parse_action(move))
    return state


@pytest.mark.parametrize("solve", [True, False])
@pytest.mark.parametrize(
    ("name", "plies"),
    [
        ("tic_tac_toe", 6),
        ("connect_four", 6),
        ("connect_four_4x5", 14),
        ("go2", 6),
        ("go5", 6),
        ("othello", 118),
    ],
)
def test_puct_visits_equal_the_naive_twin(name: str, plies: int, solve: bool) -> None:
    game, config = get_game(name), SearchConfig(root="puct", solve=solve)
    states = positions(game, 6, 1, plies)
    evaluator = HashEvaluator(game, 6)
    result = Searcher(game, evaluator, 6, 60, config).run(states)
    for i in range(6):
        expected = naive_puct(game, states[i : i + 1], 60, config, evaluator)
        # float32 here and float64 there may part at a near tie; it must stay a rare thing.
        assert np.abs(result.visits[i] - expected).sum() <= 2, (i, result.visits[i], expected)


@pytest.mark.parametrize("spread", [0.0, 1.0, 10.0, 200.0])
@pytest.mark.parametrize("actions", [1, 7, 82, 362])
def test_priors_are_the_softmax_of_legal_logits(actions: int, spread: float) -> None:
    rng = np.random.default_rng(actions)
    logits = (rng.normal(size=actions) * spread + 5).astype(np.float32)
    mask = (rng.random(actions) < 0.7).astype(np.uint8)
    mask[0] = 1
    logits[mask == 0] += 1000  # what is illegal does not count, however high
    got = np.full(actions, np.nan, np.float32)
    softmax(mask, logits, got)
    legal = mask == 1
    exact = np.zeros(actions)
    exact[legal] = np.exp(logits[legal].astype(np.float64) - logits[legal].max())
    exact /= exact.sum()
    large = exact > 1e-30
    np.testing.assert_allclose(got[large], exact[large], rtol=1e-6 if spread < 2 else 2e-5)
    assert (got[legal & ~large] < 1e-29).all()
    assert (got[~legal] == 0).all()
    assert (got[legal] > 0).all() or spread > 10


def test_sequential_halving_table() -> None:
    # Four actions, eight simulations: one round of all four, then two more visits of the best two.
    assert considered_visits(4, 8)[4].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    assert considered_visits(4, 8)[1].tolist() == list(range(8))
    # Sixteen from sixteen simulations: every action once.
    assert considered_visits(16, 16)[16].tolist() == [0] * 16


@pytest.mark.parametrize("config", [PUCT, GUMBEL])
@pytest.mark.parametrize("leaves", [1, 8])
def test_counts_add_up_and_nothing_stays_in_flight(config: SearchConfig, leaves: int) -> None:
    game = get_game("go5")
    config = SearchConfig(root=config.root, leaves_per_step=leaves, explore=True)
    searcher = Searcher(game, HashEvaluator(game, 3 * leaves), 3, 50, config, seed=4)
    states = positions(game, 3, 2, 8)
    result = searcher.run(states)
    assert (result.visits.sum(axis=1) == 50).all()
    assert np.allclose(result.policy.sum(axis=1), 1, atol=1e-5)
    assert (result.value >= -1).all() and (result.value <= 1).all()
    for i in range(3):
        legal = np.zeros(game.actions, bool)
        legal[game.legal_actions(states[i])] = True
        assert not result.visits[i][~legal].any()
        assert not result.policy[i][~legal].any()
        assert np.isnan(result.q[i][result.visits[i] == 0]).all()
        nodes = searcher.trees.nodes[i, : searcher.trees.node_count[i]]
        assert not nodes.pending.any()
        assert not searcher.trees.edges[i, : searcher.trees.edge_count[i]].virtual.any()
        for node in nodes[nodes.visits > 0]:
            run = searcher.trees.edges[i, node.first_edge : node.first_edge + node.edges]
            assert (run.prior != 0).all()
            if node.edges and node.kind == 1:
                assert run.visits.sum() == node.visits - 1


@pytest.mark.parametrize("config", [PUCT, GUMBEL])
def test_games_of_a_batch_do_not_touch_each_other(config: SearchConfig) -> None:
    game = get_game("connect_four")
    states = positions(game, 5, 3, 10)
    together = Searcher(game, HashEvaluator(game, 5), 5, 40, config).run(states)
    for i in range(5):
        alone = Searcher(game, HashEvaluator(game, 1), 1, 40, config).run(states[i : i + 1])
        assert (alone.visits[0] == together.visits[i]).all()
        assert np.array_equal(alone.q[0], together.q[i], equal_nan=True)
        assert alone.action[0] == together.action[i]


def test_batch_smaller_than_the_games_is_enough() -> None:
    game = get_game("tic_tac_toe")
    states = positions(game, 5, 3, 3)
    wide = Searcher(game, HashEvaluator(game, 5), 5, 30, PUCT).run(states)
    narrow = Searcher(game, HashEvaluator(game, 2), 5, 30, PUCT).run(states)
    assert (wide.visits == narrow.visits).all()


@pytest.mark.parametrize("config", [PUCT, GUMBEL])
def test_takes_a_win_and_stops_one(config: SearchConfig) -> None:
    game = get_game("connect_four")
    searcher = Searcher(game, UniformEvaluator(game, 1), 1, 400, config)
    names = [game.action_name(a) for a in range(game.actions)]
    # First player has three on top of each other in the first column, and moves.
    winning = after(game, names[0], names[1], names[0], names[1], names[0], names[2])
    result = searcher.run(winning)
    assert result.action[0] == 0 and result.q[0, 0] == 1
    # The same three, the other side to move, must be stopped.
    stopping = after(game, names[0], names[1], names[0], names[2], names[0])
    result = searcher.run(stopping)
    assert result.action[0] == 0


@pytest.mark.parametrize("config", [PUCT, GUMBEL])
@pytest.mark.parametrize("leaves", [1, 4])
def test_what_is_proven_is_true(config: SearchConfig, leaves: int) -> None:
    """Every node that the search closes has its value under perfect play, and the move keeps it."""
    game, count = get_game("connect_four_4x5"), 24
    states = positions(game, count, 5, 20)
    config = SearchConfig(root=config.root, leaves_per_step=leaves)
    searcher = Searcher(game, HashEvaluator(game, count * leaves), count, 300, config)
    result = searcher.run(states)
    trees, closed, decided = searcher.trees, set(), 0
    for i in range(count):
        stack = [(ROOT, states[i : i + 1].copy())]
        while stack:
            index, here = stack.pop()
            node = trees.nodes[i, index]
            if node.kind == TERMINAL:
                if not here[0].done:
                    assert node.raw_value == perfect_result(game, here)
                    closed.add(float(node.raw_value))
                continue
            for edge in trees.edges[i, node.first_edge : node.first_edge + node.edges]:
                if edge.visits:
                    after = here.copy()
                    play_one(after[0], int(edge.action))
                    stack.append((int(edge.child), after))
        played = states[i : i + 1].copy()
        play_one(played[0], int(result.action[i]))
        known = proven_root(searcher, i)
        if known is not None:
            decided += 1
            over = bool(played[0].done)
            kept = -(outcome_of(played[0]) if over else perfect_result(game, played))
            assert kept == known == perfect_result(game, states[i : i + 1])
    assert closed == {-1.0, 0.0, 1.0} and decided > 2


def proven_root(searcher: Searcher, i: int) -> float | None:
    """Exact value of root `i` as far as its own actions prove it."""
    trees = searcher.trees
    node = trees.nodes[i, ROOT]
    values = []
    for e in range(node.first_edge, node.first_edge + node.edges):
        child = trees.edges[i, e].child
        known = child >= 0 and trees.nodes[i, child].kind == TERMINAL
        values.append(-float(trees.nodes[i, child].raw_value) if known else None)
    found = [value for value in values if value is not None]
    if 1.0 in found:
        return 1.0
    return max(found) if len(found) == len(values) else None


def ends_won(state: States, action: int) -> bool:
    """Whether the action wins at once."""
    after = state.copy()
    play_one(after[0], action)
    return bool(after[0].done) and outcome_of(after[0]) == -1


@pytest.mark.parametrize("root", ["puct", "gumbel"])
def test_a_lost_root_says_so_and_still_moves(root: str) -> None:
    # The second player holds three in a row with both ends open: whatever is played loses.
    game = get_game("connect_four")
    names = [game.action_name(a) for a in range(game.actions)]
    state = after(game, *(names[a] for a in (0, 2, 0, 3, 6, 4)))
    config = SearchConfig(root=root)  # type: ignore[arg-type]
    result = Searcher(game, UniformEvaluator(game, 1), 1, 400, config).run(state)
    assert result.value[0] == -1 and result.action[0] in game.legal_actions(state[0])
    assert result.policy[0].sum() == pytest.approx(1, abs=1e-5)
    if root == "puct":
        assert result.policy[0] == pytest.approx(result.prior[0]), (
            "an arbitrary lost move is taught"
        )


@pytest.mark.parametrize("leaves", [1, 4])
@pytest.mark.parametrize("root", ["puct", "gumbel"])
def test_a_proven_win_is_played_and_a_proven_loss_is_not(root: str, leaves: int) -> None:
    game = get_game("connect_four_4x5")
    states = positions(game, 60, 11, 14)
    config = SearchConfig(root=root, explore=True, leaves_per_step=leaves)  # type: ignore[arg-type]
    searcher = Searcher(game, HashEvaluator(game, 60 * leaves), 60, 120, config, seed=3)
    result = searcher.run(states)
    wins = losses = 0
    for i in range(60):
        node = searcher.trees.nodes[i, ROOT]
        run = searcher.trees.edges[i, node.first_edge : node.first_edge + node.edges]
        lost = {int(edge.action) for edge in run if edge.prior < 0}
        if proven_root(searcher, i) == 1:
            wins += 1
            assert result.q[i, result.action[i]] == 1 == result.value[i]
            played = states[i : i + 1].copy()
            play_one(played[0], int(result.action[i]))
            ends = [a for a in game.legal_actions(states[i]) if ends_won(states[i : i + 1], int(a))]
            assert played[0].done or not any(result.visits[i, a] for a in ends)
        elif lost and len(lost) < node.edges:
            losses += 1
            assert int(result.action[i]) not in lost
        for action in lost:
            assert result.q[i, action] == -1 and result.prior[i, action] > 0
            if root == "puct" and len(lost) < node.edges:
                assert result.policy[i, action] == 0
    assert wins > 3 and losses > 3


def test_improved_policy_moves_toward_the_better_value() -> None:
    game = get_game("tic_tac_toe")
    result = Searcher(game, HashEvaluator(game, 1), 1, 60, GUMBEL).run(game.new_states(1))
    visited = result.visits[0] > 0
    gain = np.log(result.policy[0] / result.prior[0])
    order_q = np.argsort(result.q[0][visited])
    assert np.argsort(gain[visited]).tolist() == order_q.tolist()


def test_same_seed_same_search_and_noise_differs_by_seed() -> None:
    game = get_game("go5")
    noisy = SearchConfig(root="gumbel", explore=True)
    states = game.new_states(2)
    first, again, other = (
        Searcher(game, HashEvaluator(game, 2), 2, 30, noisy, seed).run(states) for seed in (7, 7, 8)
    )
    assert (first.visits == again.visits).all()
    assert (first.visits != other.visits).any()
    assert (first.visits[0] != first.visits[1]).any(), "two games of a batch share their noise"


def test_dirichlet_noise_keeps_a_distribution() -> None:
    game = get_game("go5")
    config = SearchConfig(root="puct", explore=True)
    searcher = Searcher(game, UniformEvaluator(game, 1), 1, 30, config, seed=3)
    result = searcher.run(game.new_states(1))
    assert result.prior[0].sum() == pytest.approx(1, abs=1e-5)
    assert result.prior[0].max() > 1.5 * result.prior[0].mean()


def test_principal_variation_is_legal_play() -> None:
    game = get_game("connect_four")
    searcher = Searcher(game, HashEvaluator(game, 1), 1, 100, PUCT)
    state = game.new_states(1)
    result = searcher.run(state)
    line = searcher.principal_variation(0, int(result.action[0]))
    assert line[0] == result.action[0] == int(np.argmax(result.visits[0])) and len(line) > 1
    for action in line:
        assert action in game.legal_actions(state[0])
        play_one(state[0], action)


def test_refuses_what_it_cannot_search() -> None:
    game = get_game("tic_tac_toe")
    searcher = Searcher(game, UniformEvaluator(game, 1), 1, 10, PUCT)
    with pytest.raises(ValueError, match="room for 1"):
        searcher.run(game.new_states(2))
    over = game.new_states(1)
    over.done[:] = 1
    with pytest.raises(ValueError, match="finished"):
        searcher.run(over)


def test_full_edge_array_keeps_searching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghostgo.engine.tree.EDGE_LIMIT", 60)
    game = get_game("go5")
    searcher = Searcher(game, HashEvaluator(game, 1), 1, 50, PUCT)
    result = searcher.run(game.new_states(1))
    assert result.visits.sum() == 50
    assert (searcher.trees.nodes[0].kind == 3).any(), "nothing was frozen"
    assert searcher.trees.nodes[0, ROOT].visits == 51
