"""A lesson from one game: what is learnt, and how near the network stays to what it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ghostgo.data.replay import ReplayWindow
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import NetworkEvaluator
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, expected_value
from ghostgo.lesson import (
    Lesson,
    LessonConfig,
    game_table,
    own_positions,
    search_all,
    take_lesson,
)
from ghostgo.selfplay.learner import head_losses, planes_tensor
from ghostgo.session import Session

GAME = get_game("go5")
SMALL = LessonConfig(visits=16, steps=8, rows=16, rehearsal=128, learning_rate=2e-3)


def network(name: str = "go5", seed: int = 1) -> Network:
    """Random weights whose heads say something."""
    torch.manual_seed(seed)
    found = Network(get_game(name), NetworkConfig.preset("b1c16")).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1)
    return found


def finished(name: str = "go5", seed: int = 3, plies: int = 30) -> Session:
    """A game of random moves, passes only where there is no other, resigned by who is to move."""
    game, rng = get_game(name), np.random.default_rng(seed)
    session = Session(game)
    while len(session.moves) < plies and not session.over:
        legal = game.legal_actions(session.state)
        board = legal[legal < game.points] if game.policy_head == "points_and_pass" else legal
        session.play(int(rng.choice(board if len(board) else legal)))
    if not session.over:
        session.resign(session.to_play)
    return session


def test_the_table_is_the_game_as_it_was_played() -> None:
    session, found = finished(), network()
    table = game_table(session, found, SMALL, 1)
    table.validate()
    assert table.moves.tolist() == [action for _, action in session.moves]
    assert table.results[0] == (1 if session.winner() == 0 else -1)
    assert np.isnan(table.scores[0]) and table.ownership is None, "it was not played out"
    policies, values = search_all(found, session.positions(), SMALL.visits, 1)
    assert table.policies is not None and table.values is not None
    np.testing.assert_allclose(table.policies, policies, atol=1e-3)
    np.testing.assert_allclose(table.values, values, atol=1e-3)
    np.testing.assert_allclose(policies.sum(axis=1), 1, atol=1e-4)


def test_positions_are_searched_in_chunks_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    session, found = finished(), network()

    def exact(network: Network, batch: int) -> NetworkEvaluator:
        return NetworkEvaluator(network, batch, "cpu", "fp32")

    monkeypatch.setattr("ghostgo.lesson.make_evaluator", exact)
    together = search_all(found, session.positions(), 8, 1)
    monkeypatch.setattr("ghostgo.lesson.CHUNK", 7)
    apart = search_all(found, session.positions(), 8, 1)
    np.testing.assert_allclose(together[0], apart[0], atol=0.02)


def test_where_no_move_is_better_the_policy_is_taught_as_it_is() -> None:
    found = network()
    with torch.no_grad():
        found.value_out.weight.zero_()
        found.value_out.bias.zero_()
    state = GAME.new_states(1)
    mask, planes = np.zeros(GAME.actions, np.uint8), np.zeros((1, 25, GAME.planes), np.uint16)
    legal_mask_of(state[0], mask)
    write_planes_of(state[0], mask, planes[0])
    with torch.no_grad():
        logits = found(planes_tensor(planes, GAME))["policy"][0].double().numpy()
    says = np.where(mask == 1, np.exp(logits), 0)
    policies, values = search_all(found, state, 32, 1)
    assert abs(values[0]) < 1e-6, "32 simulations see no end of a game"
    np.testing.assert_allclose(policies[0], says / says.sum(), atol=1e-4)


def test_a_counted_game_teaches_points_and_owners() -> None:
    session = Session(GAME)
    for move in ("C3", "pass", "B2", "pass", "pass"):
        session.play(GAME.parse_action(move))
    table = game_table(session, network(), SMALL, 1)
    assert table.scores[0] == session.margin() == 25 - GAME.rules["komi"]
    assert table.ownership is not None and (table.ownership == 1).all()


def test_a_game_whose_dead_stones_were_marked_teaches_its_moves_alone() -> None:
    session = Session(GAME)
    for move in ("C3", "pass", "B2", "pass", "pass"):
        session.play(GAME.parse_action(move))
    found = network()
    alive = game_table(session, found, SMALL, 1)
    assert alive.results[0] == 1 and alive.scores[0] == 25 - GAME.rules["komi"]
    session.mark_dead(12)
    table = game_table(session, found, SMALL, 1)
    assert np.isnan(table.results[0]) and np.isnan(table.scores[0]) and table.ownership is None
    assert session.dead == {12}, "the marks stay"
    table.validate()
    assert table.policies is not None and (table.policies == alive.policies).all()
    window = ReplayWindow(GAME)
    window.add(table)
    losses = head_losses(
        found(planes_tensor(window.rows_batch(np.arange(5)).planes, GAME)),
        window.rows_batch(np.arange(5)), GAME,
    )  # fmt: skip
    assert losses["policy"] > 0 and losses["reply"] > 0
    assert losses["value"] == losses["score"] == losses["ownership"] == 0
    assert take_lesson(found, table, SMALL, 1)[1].share > 0


def test_handicap_is_kept() -> None:
    session = Session(GAME)
    session.place_handicap([6, 18])
    for action in (12, 13, 17, 8, 7):
        session.play(action)
    session.resign(0)
    table = game_table(session, network(), SMALL, 1)
    assert table.setups is not None and np.flatnonzero(table.setups[0]).tolist() == [6, 18]
    assert table.first_to_play[0] == 1


def test_play_that_went_on_after_the_end_is_not_learnt() -> None:
    session = Session(GAME)
    for move in ("C3", "pass", "pass", "D4", "pass", "pass"):
        session.play(GAME.parse_action(move))
    with pytest.raises(UserError, match="went on after its end"):
        game_table(session, network(), SMALL, 1)


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ([12, 13, 11, 7, 17], "only a finished game"),
        ([], "a game of 0 moves is too short to learn from: it takes 5"),
        ([12, 13, 11, 7], "a game of 4 moves is too short"),
        ([12, -13, 11, 7, 17], "moves out of turn"),
    ],
    ids=["unfinished", "empty", "short", "out of turn"],
)
def test_what_cannot_be_learnt_from_is_refused(moves: list[int], message: str) -> None:
    session = Session(GAME)
    for i, action in enumerate(moves):
        session.play(abs(action), i % 2 if action > 0 else 0)
    if message != "only a finished game":
        session.resign(0)
    with pytest.raises(UserError, match=message):
        game_table(session, network(), SMALL, 1)


def test_rehearsal_is_what_the_policy_plays() -> None:
    found = network()
    planes = own_positions(found, {"komi": 3.5}, 200, 1)
    assert planes.shape == (200, GAME.points, GAME.planes)
    assert (own_positions(found, {"komi": 3.5}, 200, 1) == planes).all()
    assert len(np.unique(planes.reshape(200, -1), axis=0)) > 100
    state, mask = GAME.new_states(1, {"komi": 3.5}), np.zeros(GAME.actions, np.uint8)
    play_one(state[0], 12)
    fresh = np.zeros((GAME.points, GAME.planes), np.uint16)
    legal_mask_of(state[0], mask)
    write_planes_of(state[0], mask, fresh)
    komi = [i for i, name in enumerate(GAME.plane_names) if "komi" in name]
    assert komi
    values = {tuple(row) for row in planes[:, 0][:, komi].tolist()}
    assert tuple(fresh[0, komi].tolist()) in values


def test_a_lesson_is_learnt_and_the_teacher_stays() -> None:
    found = network()
    before = {name: value.clone() for name, value in found.state_dict().items()}
    table = game_table(finished(), found, SMALL, 1)
    taken, lesson = take_lesson(found, table, SMALL, 1)
    assert lesson.after < lesson.before and lesson.share > 0
    assert 0 < lesson.drift <= SMALL.most_drift
    assert all(torch.equal(before[n], v) for n, v in found.state_dict().items())
    norms = [name for name in before if "running" in name]
    assert norms and all(torch.equal(before[n], taken.state_dict()[n]) for n in norms)
    again, same = take_lesson(found, table, SMALL, 1)
    assert same == lesson
    assert all(torch.equal(again.state_dict()[n], v) for n, v in taken.state_dict().items())


def rehearsed(found: Network) -> Tensor:
    """Positions of its play, but not those that a lesson rehearses."""
    return planes_tensor(own_positions(found, dict(GAME.rules), 256, 99), GAME)


@torch.no_grad()
def divergence(old: Network, new: Network, x: Tensor) -> float:
    """Mean KL divergence of the policy of `new` from that of `old`, in nats."""
    before, after = (net(x)["policy"].log_softmax(dim=1) for net in (old, new))
    return float((before.exp() * (before - after)).sum(dim=1).mean())


def test_it_stays_near_what_it_was() -> None:
    found = network()
    table = game_table(finished(), found, SMALL, 1)
    x = rehearsed(found)

    def drift(**values: float) -> float:
        taken, _ = take_lesson(found, table, replace(SMALL, **values), 1)  # type: ignore[arg-type]
        return divergence(found, taken, x)

    free = drift(hold=0.0, most_drift=100.0, learning_rate=1e-2)
    held = drift(hold=30.0, most_drift=100.0, learning_rate=1e-2)
    assert held < 0.7 * free
    assert drift(hold=0.0, most_drift=0.01, learning_rate=1e-2) < 0.03 < free


@torch.no_grad()
def values(found: Network, x: Tensor) -> Tensor:
    """What it expects, (B,) in [-1, 1]."""
    return expected_value(found(x)["value"])


def test_who_won_does_not_lean_the_value_of_everything() -> None:
    """The same game with either result; only its end is taught the one or the other."""
    found = network()
    free = {"hold": 0.0, "most_drift": 100.0, "learning_rate": 5e-3}
    config = replace(SMALL, **free, steps=32, rows=32)  # type: ignore[arg-type]
    table = game_table(finished(plies=60), found, SMALL, 1)
    other = replace(table, results=-table.results)
    won, lost = (take_lesson(found, each, config, 1)[0] for each in (table, other))
    x = rehearsed(found)
    leaning = float((values(won, x) - values(lost, x)).abs().mean())
    assert leaning < 0.1
    window = ReplayWindow(GAME, symmetries=False, short=True)
    window.add(table)
    game = window.rows_batch(np.arange(table.positions))
    positions = planes_tensor(game.planes, GAME)
    errors = [
        float((values(each, positions) - torch.from_numpy(game.short)).square().mean())
        for each in (found, won)
    ]
    assert errors[1] < 0.5 * errors[0], "what the searches of the next moves thought is learnt"


def test_a_lesson_that_leads_too_far_is_not_taken() -> None:
    found = network()
    table = game_table(finished(), found, SMALL, 1)
    taken, lesson = take_lesson(found, table, replace(SMALL, most_drift=0.0, learning_rate=0.1), 1)
    assert lesson.share == 0 and lesson.before == lesson.after
    assert all(torch.equal(taken.state_dict()[n], v) for n, v in found.state_dict().items())


@pytest.mark.parametrize("name", ["connect_four", "othello", "tic_tac_toe", "hex5"])
def test_other_games_are_learnt_as_well(name: str) -> None:
    found = network(name)
    table = game_table(finished(name, plies=200), found, SMALL, 1)
    _, lesson = take_lesson(found, table, SMALL, 1)
    assert lesson.share > 0 and lesson.after < lesson.before


def test_many_lessons_do_not_add_up_to_a_long_way() -> None:
    """Each may lead as far as it likes; only the bound on all of them holds."""
    found = network()
    config = replace(SMALL, most_drift=100.0, most_total=0.05, learning_rate=1e-2, hold=0.0)
    table, x = game_table(finished(), found, SMALL, 1), rehearsed(found)

    def away(origin: Network | None) -> tuple[float, list[Lesson]]:
        now, lessons = found, []
        for seed in range(2, 6):
            now, lesson = take_lesson(now, table, config, seed, origin)
            lessons.append(lesson)
        return divergence(found, now, x), lessons

    free, _ = away(None)
    held, lessons = away(found)
    # One that took nothing is as far away as the lesson before, by positions of its own.
    assert all(lesson.total <= config.most_total or lesson.share == 0 for lesson in lessons)
    assert all(lesson.total <= 1.2 * config.most_total for lesson in lessons)
    assert lessons[0].share > 0, "it learns, until it is that far away"
    assert held < 2 * config.most_total < free


def test_it_is_held_to_the_origin() -> None:
    found, table = network(), game_table(finished(), network(), SMALL, 1)
    config = replace(SMALL, most_drift=100.0, most_total=100.0, learning_rate=1e-2, hold=3.0)
    gone, _ = take_lesson(found, table, replace(config, hold=0.0), 1)
    x = rehearsed(found)
    alone, _ = take_lesson(gone, table, config, 2)
    held, lesson = take_lesson(gone, table, config, 2, found)
    assert divergence(found, held, x) < 0.8 * divergence(found, alone, x)
    assert lesson.total != lesson.drift
