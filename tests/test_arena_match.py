"""Openings, pairs of games in lockstep, and what a move costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matches import play_all
from numpy.typing import NDArray

from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings, Reference, canonical_moves
from ghostgo.arena.pace import Pace
from ghostgo.arena.players import (
    Actions,
    NetPlayer,
    Player,
    PlayerFailed,
    RandomPlayer,
    RolloutPlayer,
)
from ghostgo.arena.results import PlayerInfo, pair_id
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, State, States, is_legal_one, play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.session import Session


@pytest.mark.parametrize("name", ["go5", "connect_four"])
def test_openings_are_legal_short_and_distinct(name: str) -> None:
    game = get_game(name)
    openings = Openings(game, 4)
    seen = set()
    for i in range(60):
        state = game.new_states(1)[0]
        for action in openings[i]:
            assert is_legal_one(state, action)
            play_one(state, action)
        assert 2 <= len(openings[i]) <= 6 and not state.done
        seen.add(openings.canonical(openings[i]))
    assert len(seen) == 60
    again = Openings(game, 4)
    assert [again[i] for i in (59, 3)] == [openings[i] for i in (59, 3)]
    assert Openings(game, 5)[0] != openings[0]


def test_openings_alike_under_symmetry_count_as_one() -> None:
    game = get_game("go5")
    openings = Openings(game, 0)
    moves = openings[0]
    for table in game.action_symmetries:
        image = tuple(int(table[move]) for move in moves)
        assert openings.canonical(image) == openings.canonical(moves)
        assert canonical_moves(game, image) == canonical_moves(game, moves)


def test_a_game_with_few_openings_repeats_them() -> None:
    openings = Openings(get_game("go2"), 0)
    found = {openings[i] for i in range(300)}
    assert 3 < len(found) < 40


def even_at_centre(states: States) -> NDArray[np.float32]:
    """A reference that calls a position of 5x5 even if, and only if, its centre is taken."""
    return np.array([0.0 if 12 in taken else 0.8 for taken in map(stones_of, states)], np.float32)


def stones_of(state: State) -> set[int]:
    session = Session(get_game("go5"))
    board = session.stones(np.array([state], state.dtype).view(np.recarray))
    return {int(point) for point in np.flatnonzero(board)}


def test_a_reference_keeps_to_openings_that_it_calls_even() -> None:
    openings = Openings(get_game("go5"), 4, reference=Reference("r", even_at_centre))
    assert all(12 in openings[i] for i in range(40))
    assert len({openings.canonical(openings[i]) for i in range(40)}) == 40
    never = Reference("never", lambda states: np.linspace(0.9, 0.5, len(states), dtype=np.float32))
    some = Openings(get_game("tic_tac_toe"), 4, reference=never)
    assert len({some[i] for i in range(20)}) == 20, (
        "where none is even the most even ones are taken"
    )


def test_openings_found_stay_in_their_file_whoever_judges_later(tmp_path: Path) -> None:
    path = tmp_path / "openings.jsonl"
    game = get_game("go5")
    first = Openings(game, 4, None, Reference("aa", even_at_centre), path)
    before = [first[i] for i in range(10)]
    found = len(path.read_text().splitlines())
    path.write_text(path.read_text() + '{"format":1,"se')  # a kill while writing
    other = Openings(
        game, 4, None, Reference("bb", lambda states: np.zeros(len(states), "f4")), path
    )
    assert [other[i] for i in range(10)] == before
    assert other[found] not in before
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["reference"] for row in rows[: found + 1]] == ["aa"] * found + ["bb"]
    assert Openings(game, 5, None, None, path)[0] == Openings(game, 5)[0]
    path.write_text('{"format":2,"seed":4}\n')
    with pytest.raises(UserError, match="line 1 has format 2"):
        Openings(game, 4, None, None, path)


def test_pairs_swap_colours_and_are_scored_by_our_rules() -> None:
    game = get_game("go5")
    players: list[Player] = [RandomPlayer("r"), RolloutPlayer("m", game, 80)]
    match = Match(game, players, capacity=6)  # less than the 8 games: some must wait
    opening = Openings(game, 1)[0]
    for i in range(4):
        match.add(PairTask(f"pair {i}", i % 2, 1 - i % 2, opening))
    finished = play_all(match)
    assert sorted(task.pair for task, _ in finished) == [f"pair {i}" for i in range(4)]
    assert match.in_flight == 0
    strong = 0.0
    for task, games in finished:
        assert [result.first for result in games] == [0, 1]
        for result in games:
            assert result.moves[: len(opening)] == opening
            state = game.new_states(1)[0]
            for move in result.moves:
                assert is_legal_one(state, move)
                play_one(state, move)
            assert state.done and result.end == "score"
            score = float(score_of(state))
            assert result.score == score
            assert result.first_result == (1.0 if score > 0 else 0.0)
            own = [ply % 2 for ply in range(len(opening), len(result.moves))]
            mcts = 0 if task.a == 1 else 1
            turns = own.count(0 if result.first == mcts else 1)
            assert result.evaluations[mcts] == 80 * turns
            assert result.evaluations[1 - mcts] == 0
            strong += result.points if task.a == 1 else 1 - result.points
    assert strong >= 6


def test_a_game_does_not_depend_on_the_others_beside_it() -> None:
    game = get_game("go5")
    openings = Openings(game, 1)
    tasks = [PairTask(f"pair {i}", 0, 1, openings[i]) for i in range(6)]

    def moves(chosen: Sequence[PairTask], capacity: int) -> dict[str, list[tuple[int, ...]]]:
        match = Match(game, [RandomPlayer("r"), RolloutPlayer("m", game, 30)], capacity)
        for task in chosen:
            match.add(task)
        return {task.pair: [g.moves for g in games] for task, games in play_all(match)}

    together = moves(tasks, 12)
    assert moves(tasks[2:3], 1) == {"pair 2": together["pair 2"]}
    assert moves(tasks[::-1], 3) == together


class Remembering(RandomPlayer):
    """Notes what it is told, to show that games do not leak into one another."""

    def __init__(self, game: Game) -> None:
        super().__init__("remembering")
        self.game = game
        self.known: dict[int, list[int]] = {}
        self.resets = 0

    def reset(self, games: Sequence[int]) -> None:
        for game in games:
            assert game not in self.known
            self.known[game] = []
            self.resets += 1

    def observe(self, game: int, action: int) -> None:
        self.known[game].append(action)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        for state, game in zip(states, games, strict=True):
            replayed = self.game.new_states(1)[0]
            for move in self.known[game]:
                play_one(replayed, move)
            assert replayed.hash == state.hash
        return super().choose(states, games)


def test_players_are_reset_and_told_every_move() -> None:
    game = get_game("tic_tac_toe")
    player = Remembering(game)
    match = Match(game, [player, RandomPlayer("r")], capacity=4)
    openings = Openings(game, 1)
    for i in range(5):
        match.add(PairTask(f"{i}", 0, 1, openings[i]))
    play_all(match)
    assert player.resets == 10


def test_the_pace_keeps_results_coming() -> None:
    pace = Pace(256, 80, minutes=8)
    assert pace.games(0, 0.0) == 32, "the speed is not known yet"
    assert pace.games(1000, 10.0) == 75, "100 plies a second, 80 a game, 60 seconds for one"
    assert (pace.games(10, 10.0), pace.games(10**6, 10.0)) == (16, 256)
    for _ in range(1000):
        pace.finished(20)
    assert 220 < pace.games(800, 10.0) < 240, "games turned out shorter"
    assert Pace(256, 80, None).games(1000, 10.0) == 150, "two minutes where there is no limit"


def test_a_batch_players_failure_is_no_forfeit() -> None:
    class Broken(RandomPlayer):
        def choose(self, states: States, games: Sequence[int]) -> Actions:
            raise PlayerFailed("broken")

    game = get_game("tic_tac_toe")
    match = Match(game, [Broken("b"), Broken("c")])
    for i in range(3):
        match.add(PairTask(f"{i}", 0, 1, Openings(game, 1)[i]))
    with pytest.raises(PlayerFailed):
        play_all(match)


def test_identity_tells_apart_what_plays_differently() -> None:
    net = PlayerInfo("run@1", "net", {"sha256": "aa", "visits": 16})
    assert net.identity == replace(net, name="other@1").identity
    assert net.identity != replace(net, settings={"sha256": "aa", "visits": 32}).identity
    engine = PlayerInfo("one", "gtp", {"command": "x"})
    assert engine.identity != replace(engine, name="two").identity
    ids = {pair_id("go5", 1, {}, s, p, k) for s in (0, 1) for p in (("x", "y"),) for k in (0, 1)}
    assert len(ids) == 4
    assert pair_id("go5", 1, {}, 0, ("x", "y"), 0) == pair_id("go5", 1, {}, 0, ("y", "x"), 0)


def test_what_a_move_costs_does_not_depend_on_the_games_beside_it() -> None:
    game = get_game("tic_tac_toe")
    torch.manual_seed(0)
    network = Network(game, NetworkConfig(1, 8)).eval()
    player = NetPlayer("net", lambda: network, 30, "cpu")
    states = game.new_states(9)
    for row in range(len(states)):  # later ones nearer to the end, where ends cost nothing
        for action in (4, 0, 8, 2, 1, 7)[: row % 7]:
            play_one(states[row], action)
    player.choose(states, range(9))
    assert player.row_cost is not None
    counts, price = player.row_cost
    evaluator = player._ready().evaluator
    assert counts.sum() == evaluator.evaluations == player.evaluations
    assert price == evaluator.flops_per_evaluation and player.flops == counts.sum() * price
    assert len(set(counts.tolist())) > 2
    for row in range(len(states)):
        player.choose(states[row : row + 1], [row])
        assert player.row_cost[0].tolist() == [counts[row]]
