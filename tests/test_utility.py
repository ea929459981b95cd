"""Points beside winning: what they change in a search, and that a won game is still won."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_search import HashEvaluator, naive_puct
from solver import perfect_result
from test_cache import same
from test_network import lively, random_bits
from test_search import positions

from ghostgo import cli
from ghostgo.bot import SearchBot
from ghostgo.data.run import Run
from ghostgo.engine import fused
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import Game, States, outcome_of, play_one, score_of
from ghostgo.engine.games.go import set_up
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig
from ghostgo.engine.tree import ROOT, TERMINAL
from ghostgo.engine.utility import utility

WEIGHT = 0.25
POINTS = SearchConfig(root="puct", score_weight=WEIGHT)


def test_utility_is_bounded_and_sure_of_the_winner() -> None:
    for margin in (0.5, 3, 40, 361):
        for weight in (0.01, 0.25, 0.5):
            won = utility(weight, 18.0, 1.0, margin)
            assert 1 - weight < won < 1 and utility(weight, 18.0, -1.0, -margin) == -won
    assert utility(0.25, 18.0, 0.0, 0.0) == 0
    assert utility(0.0, 18.0, 0.3, 50.0) == 0.3
    half = utility(0.5, 18.0, 0.0, 18.0)
    assert half == pytest.approx(0.25), "so many points count half of the most there can be"


@pytest.mark.parametrize("solve", [True, False])
@pytest.mark.parametrize(("name", "plies"), [("go2", 6), ("go5", 6), ("othello", 118)])
def test_visits_equal_the_naive_twin(name: str, plies: int, solve: bool) -> None:
    game = get_game(name)
    config = SearchConfig(root="puct", solve=solve, score_weight=WEIGHT)
    states = positions(game, 6, 1, plies)
    evaluator = HashEvaluator(game, 6)
    result = Searcher(game, evaluator, 6, 60, config).run(states)
    plain = Searcher(game, evaluator, 6, 60, SearchConfig(root="puct", solve=solve)).run(states)
    for i in range(6):
        expected = naive_puct(game, states[i : i + 1], 60, config, evaluator)
        # float32 here and float64 there may part at a near tie; it must stay a rare thing.
        assert np.abs(result.visits[i] - expected).sum() <= 2, (i, result.visits[i], expected)
    assert (result.visits != plain.visits).any()


class Winning(HashEvaluator):
    """Black wins everywhere, but by more with a stone on `point`."""

    def __init__(self, game: Game, batch: int, point: int) -> None:
        super().__init__(game, batch)
        self.point = point
        self.komi = game.plane_names.index("komi_for_side_to_move")

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1: even policies."""
        black = self.planes[:n, 0, self.komi] >> 15 == 1  # minus the komi
        own = np.where(black, 1, 2)
        stone = self.planes[np.arange(n), self.point, own] > 0
        self.policy[:n] = 0
        self.value[:n] = np.where(black, 0.95, -0.95)
        self.score[:n] = np.where(stone, 20, 2) * np.where(black, 1, -1)
        self.evaluations += n


@pytest.mark.parametrize("root", ["puct", "gumbel"])
def test_a_game_won_anyway_is_played_for_points(root: str) -> None:
    game = get_game("go5")
    wanted = game.parse_action("D4")
    chosen = {}
    for weight in (0.0, 0.2):
        config = SearchConfig(root=root, score_weight=weight, max_considered=32)  # type: ignore[arg-type]
        searcher = Searcher(game, Winning(game, 1, wanted), 1, 200, config)
        chosen[weight] = searcher.run(game.new_states(1))
    assert chosen[0.2].action[0] == wanted != chosen[0.0].action[0]
    assert chosen[0.2].visits[0, wanted] == chosen[0.2].visits[0].max()


def before_the_end(text: str) -> States:
    """A 5x5 position (X first player, O second, . empty) with X to move and one ply left."""
    game = get_game("go5")
    stones = np.array([{"X": 1, "O": -1, ".": 0}[c] for c in text.replace(" ", "")], np.int8)
    states = game.new_states(1, {"move_limit": 1})
    assert set_up(states[0], stones, 0)
    return states


@pytest.mark.parametrize("root", ["puct", "gumbel"])
@pytest.mark.parametrize(("text", "sign"), [("XXXXX XXXXX XXXXX OO.X. XXXXX", 1),
                                            ("OOOOO OOOOO OOOOO OO.OO O.XX.", -1)])  # fmt: skip
def test_of_ends_alike_the_one_with_most_points_is_chosen(text: str, sign: int, root: str) -> None:
    """Every move ends the game, all won or all lost."""
    game, states = get_game("go5"), before_the_end(text)
    after = {}
    for action in game.legal_actions(states[0]):
        end = states.copy()
        play_one(end[0], int(action))
        assert end[0].done and -outcome_of(end[0]) == sign
        after[int(action)] = score_of(end[0])
    assert len(set(after.values())) > 1
    best = {action for action, score in after.items() if score == max(after.values())}
    chosen = set()
    for weight in (0.0, WEIGHT):
        config = SearchConfig(root=root, score_weight=weight)  # type: ignore[arg-type]
        for seed in range(8):  # another order of priors
            evaluator = HashEvaluator(game, 1)
            states.komi[:] = 0.5 + seed / 8  # a komi plane that the hash tells apart
            states.komi_plane[:] = 0x3F80 + seed
            action = int(Searcher(game, evaluator, 1, 40, config).run(states).action[0])
            if weight:
                assert action in best
            chosen.add(action)
    assert chosen - best, "without points any of them will do"


@pytest.mark.parametrize("leaves", [1, 4])
def test_proofs_are_of_the_result_and_wins_are_played(leaves: int) -> None:
    game, count = get_game("othello"), 40
    states = late_positions(game, count)
    config = SearchConfig(root="puct", score_weight=WEIGHT, leaves_per_step=leaves)
    searcher = Searcher(game, HashEvaluator(game, count * leaves), count, 400, config)
    result = searcher.run(states)
    trees, closed, decided = searcher.trees, set(), []
    for i in range(count):
        stack = [(ROOT, states[i : i + 1].copy())]
        while stack:
            index, here = stack.pop()
            node = trees.nodes[i, index]
            if node.kind == TERMINAL:
                sign = int(np.sign(node.raw_value))
                wanted = outcome_of(here[0]) if here[0].done else perfect_result(game, here)
                assert sign == wanted
                assert sign == 0 or abs(node.raw_value) > 1 - WEIGHT
                if not here[0].done:
                    closed.add(sign)
                continue
            for edge in trees.edges[i, node.first_edge : node.first_edge + node.edges]:
                if edge.visits:
                    after = here.copy()
                    play_one(after[0], int(edge.action))
                    stack.append((int(edge.child), after))
        won = [q for q in result.q[i] if q > 1 - WEIGHT and proven_sign(searcher, i) > 0]
        if won:
            decided.append(i)
            played = states[i : i + 1].copy()
            play_one(played[0], int(result.action[i]))
            over = bool(played[0].done)
            assert (outcome_of(played[0]) if over else perfect_result(game, played)) == -1
            assert result.value[i] == pytest.approx(result.q[i, result.action[i]])
    assert closed >= {-1, 1} and len(decided) > 5


def proven_sign(searcher: Searcher, i: int) -> float:
    """1 if an action of root `i` is proven won, else 0."""
    trees, node = searcher.trees, searcher.trees.nodes[i, ROOT]
    for e in range(node.first_edge, node.first_edge + node.visited):
        child = trees.nodes[i, trees.edges[i, e].child]
        if child.kind == TERMINAL and child.raw_value < 0:
            return 1.0
    return 0.0


def late_positions(game: Game, count: int) -> States:
    """Positions of random games with four to seven empty points."""
    rng = np.random.default_rng(3)
    states = game.new_states(count)
    for i in range(count):
        wanted = 64 - int(rng.integers(4, 8))
        while True:
            one = game.new_states(1)
            while not one[0].done and sum(int(s).bit_count() for s in one[0].stones) < wanted:
                play_one(one[0], int(rng.choice(game.legal_actions(one[0]))))
            if not one[0].done:
                break
        states[i] = one[0]
    return states


def test_the_cache_keeps_points_too() -> None:
    game = get_game("go5")
    states = positions(game, 4, 1, 4)
    searchers = [
        Searcher(game, HashEvaluator(game, 4), 4, 60,
                 SearchConfig(root="puct", score_weight=WEIGHT, cache_mb=size))
        for size in (0, 1)
    ]  # fmt: skip
    for _ in range(2):
        plain, cached = (searcher.run(states) for searcher in searchers)
        assert same(plain, cached)
    assert searchers[1].cache.counts[1] > 200


@pytest.mark.parametrize("backend", ["fp32", "bf16", "fused"])
def test_backends_give_the_networks_score(backend: str) -> None:
    if backend == "fused" and not fused.available()[0]:
        pytest.skip("no fused convolutions here")
    network = lively("go7x5")
    game, bits = network.game, random_bits("go7x5", 13)
    x = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float()
    with torch.no_grad():
        wanted = network(x.view(13, 7, 5, game.planes).permute(0, 3, 1, 2))["score"].numpy()
    evaluator = make_evaluator(network, 16, "cpu", backend, score=True)
    evaluator.planes[:13] = bits
    evaluator.evaluate(13)
    assert np.abs(evaluator.score[:13] - wanted).max() < (1e-3 if backend == "fp32" else 0.3)
    assert wanted.std() > 1
    assert not len(make_evaluator(network, 16, "cpu", backend).score)


@pytest.fixture
def lively_runs(tmp_path: Path) -> Path:
    """One run, `lively`: a network with arbitrary opinions on 9x9."""
    with Run.creating(tmp_path / "lively", "go9", 0, "") as run:
        run.save_checkpoint(1, lively("go9", "b1c16"), {"totals": {}})
    return tmp_path


def test_the_option_reaches_the_search(lively_runs: Path, ghostgo_command: list[str]) -> None:
    moves = {}
    for weight in ("0", "0.5"):
        arguments = ["gtp", "lively", "--root", str(lively_runs), "--visits", "60", "--no-variety"]
        done = subprocess.run(
            [*ghostgo_command, *arguments, "--score-weight", weight],
            input="genmove b\ngenmove w\ngenmove b\ngenmove w\nquit\n",
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        moves[weight] = done.stdout.replace("= ", "").split()[:4]
    assert moves["0"] != moves["0.5"]
    network = lively("go9", "b1c16")
    bot = SearchBot("lively", network, 60, 1, None, SearchConfig(root="puct", score_weight=0.5))
    assert bot.game.action_name(bot.choose(bot.game.new_states(1))) == moves["0.5"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["play", "connect_four", "--score-weight", "0.1"], "is not played for points"),
        (["play", "mcts:20", "--game", "go5", "--score-weight", "0.1"], "mcts:20 has no network"),
        (["gtp", "--score-weight", "0.6"], "0<=x<=0.5"),
        (["selfplay", "--config", "points.toml"], "score_weight must be 0: self-play learns to"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("points.toml").write_text("[search]\nscore_weight = 0.1\n")
    assert cli.run(words) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_points_need_an_evaluator_that_gives_them() -> None:
    game = get_game("go5")
    with pytest.raises(ValueError, match="gives no scores"):
        Searcher(game, make_evaluator(lively("go5"), 1, "cpu"), 1, 10, POINTS)
    with pytest.raises(ValueError, match="has no points"):
        make_evaluator(lively("connect_four"), 1, "cpu", score=True)
