"""`check_game`: what must hold for every game, native or not."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import game as kernels
from ghostgo.engine.games.game import Game, State
from ghostgo.engine.jit import make_rng

GARBAGE = np.uint16(0x7FC1)  # a NaN in bfloat16: no plane may hold it


class View:
    """All that the kernels say about one state."""

    def __init__(self, game: Game, state: State) -> None:
        self.mask = np.full(game.actions, 7, np.uint8)
        self.legal = kernels.legal_mask_of(state, self.mask)
        self.planes = np.full((game.points, game.planes), GARBAGE, np.uint16)
        kernels.write_planes_of(state, self.mask, self.planes)
        self.owners = np.full(game.points, 7, np.int8)
        kernels.ownership_of(state, self.owners)
        self.score = kernels.score_of(state)
        self.to_play = int(state.to_play)


def bf16_to_float(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bfloat16 bit patterns as float32 values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def random_actions(game: Game, seed: int, rules: dict[str, Any] | None = None) -> list[int]:
    """The actions of one game, each uniform over the legal ones."""
    state, rng = game.new_states(1, rules)[0], make_rng(seed)
    actions = []
    while not state.done:
        action = kernels.uniform_legal_action(state, game.actions, rng)
        kernels.play_one(state, action)
        actions.append(action)
    return actions


def position_key(game: Game, state: State) -> Hashable:
    """What the network sees, and who is to move: the default for `check_hash`."""
    view = View(game, state)
    return view.planes.tobytes(), view.to_play, bool(state.done)


def check_game(
    game: Game,
    games: int = 20,
    rules: dict[str, Any] | None = None,
    key: Callable[[Game, State], Hashable] = position_key,
) -> None:
    """Check every invariant of the contract on `games` random games under `rules`.

    `key` gives what should decide a state's hash.
    """
    check_face(game, rules)
    played = [random_actions(game, seed, rules) for seed in range(games)]
    for seed, actions in enumerate(played):
        check_playing(game, actions, rules)
        check_symmetry(game, actions, seed % len(game.point_symmetries), rules)
        check_copies(game, actions, rules)
    check_hash(game, played, rules, key)
    check_rollouts(game, rules)


def check_face(game: Game, rules: dict[str, Any] | None = None) -> None:
    """Shapes, names, dtype, symmetry tables and the refusal of unknown rules."""
    names = game.dtype.names or ()
    assert {"to_play", "done", "move_number", "hash"} <= set(names)
    assert game.dtype.itemsize % 64 == 0
    assert len(set(game.plane_names)) == game.planes > 0
    spoken = [game.action_name(action) for action in range(game.actions)]
    assert len({name.lower() for name in spoken}) == game.actions
    for action, name in enumerate(spoken):
        assert name and name == name.strip()
        assert game.parse_action(name) == game.parse_action(name.lower()) == action
        assert game.parse_action(name.upper()) == action
    for wrong in ("", "nowhere", "Z99", "-1", "A0", "é5"):
        with pytest.raises(UserError):
            game.parse_action(wrong)
    heads = {"points": game.points, "points_and_pass": game.points + 1, "flat": game.actions}
    assert game.actions == heads[game.policy_head]
    for table, n in (
        (game.point_symmetries, game.points),
        (game.action_symmetries, game.actions),
    ):
        assert table.dtype == np.int32 and table.shape == (len(game.point_symmetries), n)
        assert (table[0] == np.arange(n)).all()
        assert (np.sort(table, axis=1) == np.arange(n)).all()
    with pytest.raises(UserError, match="colour_of_the_board"):
        game.new_states(1, {"colour_of_the_board": "green"})
    start = game.new_states(3, rules)
    assert start.shape == (3,) and start.dtype == game.dtype
    assert not start.done.any() and not start.move_number.any() and not start.to_play.any()
    assert start[0].tobytes() == start[2].tobytes() == game.new_states(1, rules)[0].tobytes()


def check_view(game: Game, state: State) -> View:
    """The kernels agree with each other about one state."""
    view = View(game, state)
    assert set(np.unique(view.mask)) <= {0, 1}
    assert view.legal == view.mask.sum()
    for action in range(game.actions):
        assert kernels.is_legal_one(state, action) == bool(view.mask[action])
    assert (view.legal == 0) == bool(state.done)
    assert (game.legal_actions(state) == np.flatnonzero(view.mask)).all()
    assert np.isfinite(bf16_to_float(view.planes)).all()
    assert set(np.unique(view.owners)) <= {-1, 0, 1}
    assert 0 <= state.move_number <= game.max_moves
    if state.done:
        outcome = kernels.outcome_of(state)
        assert outcome in (-1.0, 0.0, 1.0)
        assert outcome == np.sign(view.score) * (1 - 2 * view.to_play)
    return view


def check_playing(game: Game, actions: list[int], rules: dict[str, Any] | None = None) -> None:
    """One game: alternate turns, consistent views, an end within max_moves, exact replay."""
    state = game.new_states(1, rules)[0]
    for ply, action in enumerate(actions):
        before = check_view(game, state)
        assert not state.done and before.mask[action]
        assert (state.move_number, state.to_play) == (ply, ply % 2)
        untouched = state.tobytes()
        check_view(game, state)
        assert state.tobytes() == untouched, "looking at a state changed it"
        kernels.play_one(state, action)
    check_view(game, state)
    assert state.done and len(actions) <= game.max_moves
    again = game.new_states(1, rules)[0]
    assert kernels.replay(again, np.array(actions, np.int16), len(actions)) == len(actions)
    assert again.tobytes() == state.tobytes()
    assert kernels.replay(again, np.zeros(1, np.int16), 1) == 0, "played on after the end"


def check_symmetry(
    game: Game, actions: list[int], which: int, rules: dict[str, Any] | None = None
) -> None:
    """Playing the images of the actions gives the image of everything."""
    points, moves = game.point_symmetries[which], game.action_symmetries[which]
    state, image = game.new_states(2, rules)
    for action in [*actions, None]:
        here, there = View(game, state), View(game, image)
        assert (there.mask[moves] == here.mask).all()
        assert (there.planes[points] == here.planes).all()
        assert (there.owners[points] == here.owners).all()
        assert there.score == here.score
        if action is not None:
            kernels.play_one(state, action)
            kernels.play_one(image, int(moves[action]))
    assert kernels.outcome_of(state) == kernels.outcome_of(image)


def check_copies(game: Game, actions: list[int], rules: dict[str, Any] | None = None) -> None:
    """A copy goes its own way: playing on leaves the original alone, and the other way round."""
    states = game.new_states(3, rules)
    middle = len(actions) // 2
    for action in actions[:middle]:
        kernels.play_one(states[0], action)
    states[1] = states[0]
    before = states[0].tobytes()
    assert states[1].tobytes() == before
    for action in actions[middle:]:
        kernels.play_one(states[1], action)
    assert states[0].tobytes() == before
    assert states[2].tobytes() == game.new_states(1, rules)[0].tobytes()
    for action in actions[middle:]:
        kernels.play_one(states[0], action)
    assert states[0].tobytes() == states[1].tobytes()


def check_hash(
    game: Game,
    played: list[list[int]],
    rules: dict[str, Any] | None,
    key: Callable[[Game, State], Hashable],
) -> None:
    """Over all positions met, hashes are equal exactly where keys are."""
    by_key: dict[Hashable, int] = {}
    for actions in played:
        state = game.new_states(1, rules)[0]
        for action in [*actions, None]:
            assert by_key.setdefault(key(game, state), int(state.hash)) == state.hash
            if action is not None:
                kernels.play_one(state, action)
    assert len(set(by_key.values())) == len(by_key)


def check_rollouts(game: Game, rules: dict[str, Any] | None = None, playouts: int = 5) -> None:
    """Rollouts play legal actions to the end, and the same seed gives the same game."""
    for seed in range(playouts):
        states = game.new_states(2, rules)
        kernels.random_playout(states[1], make_rng(seed))
        rng, plies = make_rng(seed), 0
        while not states[0].done:
            action = kernels.rollout_action(states[0], rng)
            assert kernels.is_legal_one(states[0], action)
            kernels.play_one(states[0], action)
            plies += 1
        assert plies == states[0].move_number <= game.max_moves
        assert states[0].tobytes() == states[1].tobytes()
