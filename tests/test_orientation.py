"""The canonical orientation of a leaf: one for all its images, and the search none the wiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_search import HashEvaluator
from sizes import sized
from test_cache import same
from test_search import positions

from ghostgo import cli
from ghostgo.data.ledger import read_ledger
from ghostgo.engine.games.game import Game, States, legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.orientation import make_orientation, show_canonical, turn_back
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig

GAMES = ("go5", "go7x5", "connect_four", "tic_tac_toe", "othello", "hex5", "gomoku9")
ALWAYS = 1 << 20


def random_moves(game: Game, rng: np.random.Generator, plies: int) -> list[int]:
    """Moves of a random game of `plies` plies that is not over then."""
    while True:
        state = game.new_states(1)
        moves: list[int] = []
        while len(moves) < plies and not state[0].done:
            moves.append(int(rng.choice(game.legal_actions(state[0]))))
            play_one(state[0], moves[-1])
        if not state[0].done:
            return moves


def images(game: Game, moves: list[int]) -> States:
    """(S,) the position after `moves`, under every symmetry of the game."""
    states = game.new_states(len(game.action_symmetries))
    for state, table in zip(states, game.action_symmetries, strict=True):
        for move in moves:
            play_one(state, int(table[move]))
    return states


def planes_of(game: Game, state: States) -> NDArray[np.uint16]:
    planes = np.zeros((game.points, game.planes), np.uint16)
    mask = np.zeros(game.actions, np.uint8)
    legal_mask_of(state, mask)
    write_planes_of(state, mask, planes)
    return planes


@pytest.mark.parametrize("name", GAMES)
def test_all_images_are_shown_alike_and_answers_turned_back(name: str) -> None:
    game, rng = get_game(name), np.random.default_rng(1)
    shown = make_orientation(game, 1)
    turns = set()
    for _ in range(30):
        states = images(game, random_moves(game, rng, int(rng.integers(1, 9))))
        plain = [planes_of(game, state) for state in states]
        logits = rng.normal(size=game.actions).astype(np.float32)
        seen, answers = set(), []
        for s, planes in enumerate(plain):
            given = planes.copy()
            shown.turns[0] = show_canonical(shown, given)
            turns.add(int(shown.turns[0]))
            seen.add(given.tobytes())
            assert any(np.array_equal(given, each) for each in plain), "no image of the position"
            turn_back(shown, 0, logits)
            turned = shown.logits
            answers.append(turned[game.action_symmetries[s]].copy())
        assert len(seen) == 1
        if len({each.tobytes() for each in plain}) == len(plain):  # not its own image
            assert all(np.array_equal(answer, answers[0]) for answer in answers)
    assert turns == set(range(len(game.action_symmetries)))


@pytest.mark.parametrize("root", ["puct", "gumbel"])
@pytest.mark.parametrize("name", ["go5", "connect_four", "othello"])
def test_images_are_searched_alike_at_the_cost_of_one(name: str, root: str) -> None:
    game, rng = get_game(name), np.random.default_rng(4)
    config = SearchConfig(root=root, canonical_plies=ALWAYS)  # type: ignore[arg-type]
    for _ in range(4):
        evaluator = HashEvaluator(game, 1)
        searcher = Searcher(game, evaluator, 1, 60, config)
        states = images(game, random_moves(game, rng, 5))
        while len({planes_of(game, state).tobytes() for state in states}) < len(states):
            states = images(game, random_moves(game, rng, 5))  # that one is its own image
        first, cost = searcher.run(states[:1]), evaluator.evaluations
        for s, table in enumerate(game.action_symmetries):
            found = searcher.run(states[s : s + 1])
            assert found.raw_value[0] == first.raw_value[0]
            assert np.allclose(found.prior[0, table], first.prior[0], rtol=1e-5)
            # Priors are summed in another order, so a near tie may fall otherwise.
            assert np.abs(found.visits[0, table] - first.visits[0]).sum() <= 2
        assert cost <= evaluator.evaluations <= cost + 4, "an image was judged anew"


@pytest.mark.parametrize("root", ["puct", "gumbel"])
@pytest.mark.parametrize("name", ["connect_four", "go5"])
def test_the_cache_changes_nothing_and_hits_more(name: str, root: str) -> None:
    game = get_game(name)
    config = SearchConfig(root=root, explore=True, cache_mb=1)  # type: ignore[arg-type]
    hits = []
    for plies in (0, ALWAYS):
        caching = replace(config, canonical_plies=plies)
        evaluators = [HashEvaluator(game, 4) for _ in range(2)]
        plain = Searcher(game, evaluators[0], 4, 60, replace(caching, cache_mb=0), seed=1)
        cached = Searcher(game, evaluators[1], 4, 60, caching, seed=1)
        states = game.new_states(4)
        for _ in range(4):
            wanted, found = plain.run(states), cached.run(states)
            assert same(wanted, found)
            for i in range(len(states)):
                play_one(states[i], int(wanted.action[i]))
        hits.append(int(cached.cache.counts[1]))
        assert evaluators[1].evaluations + hits[-1] == evaluators[0].evaluations
    assert hits[1] > 1.05 * hits[0]


@pytest.mark.parametrize("leaves", [1, 4])
def test_leaves_beyond_the_limit_are_shown_as_they_lie(leaves: int) -> None:
    game = get_game("go5")
    states = positions(game, 4, 2, 12)
    config = SearchConfig(root="puct", leaves_per_step=leaves)
    results = {
        plies: Searcher(
            game, HashEvaluator(game, 16), 4, 60, replace(config, canonical_plies=plies)
        ).run(states)
        for plies in (0, int(states.move_number.min()), 40)
    }
    assert same(results[0], results[int(states.move_number.min())])
    assert not same(results[0], results[40])


def test_self_play_asks_the_network_less(tmp_path: Path) -> None:
    spent = []
    for plies in (0, 9):
        config = tmp_path / f"{plies}.toml"
        config.write_text(f"[search]\ncanonical_plies = {plies}\n[selfplay]\nopening_plies = 2\n")
        arguments = ["--game", "tic_tac_toe", "--preset", "tiny", "--workers", "1", "--seed", "1"]
        where = ["--root", str(tmp_path), "--run", f"r{plies}", "--config", str(config)]
        assert cli.run(["selfplay", *arguments, *where, "--games", str(sized(300, 40))]) == 0
        rows = read_ledger(tmp_path / f"r{plies}" / "ledger.jsonl")
        played = next(row for row in rows if row["phase"] == "selfplay")
        spent.append(played["evaluations"] / played["positions"])
    assert spent[1] < 0.7 * spent[0]


def test_a_negative_limit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[search]\ncanonical_plies = -1\n")
    assert cli.run(["selfplay", "--root", str(tmp_path), "--config", str(config)]) == 2
    assert "canonical_plies = -1 is too small: at least 0" in capsys.readouterr().err
