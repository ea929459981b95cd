"""Any two-player game of OpenSpiel, by name: `openspiel:breakthrough`, `openspiel:clobber(rows=6)`.

Needs the `open_spiel` package. The state record holds the actions played; what they lead to is kept
on the Python side, in a bounded cache of OpenSpiel's states. The kernels call back into Python for
it, so search and actors work unchanged, but hold the GIL meanwhile: some 10 microseconds a ply.

Turns alternate strictly here. Where OpenSpiel lets a player move again (a capture chain, a second
half-move), the other side has one legal action in between, the last one, `wait`.

The planes are OpenSpiel's observation tensor as the side to move sees it: (C, rows, cols) as it
stands, any other shape as one row of cells; two planes more say who is to move and who must wait.
"""

from __future__ import annotations

import threading
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numba import objmode
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.common import no_ownership, outcome_of_winner, score_of_winner
from ghostgo.engine.games.game import (
    BF16_ONE,
    Game,
    Int,
    Mask,
    Planes,
    State,
    States,
    record_dtype,
    register_kernels,
)
from ghostgo.engine.jit import Rng, kernel, random_below

# Numba says so wherever a kernel comes back to Python; here it is meant to.
warnings.filterwarnings("ignore", "Code running in object mode won't allow parallel execution")

TAG = "openspiel"
PREFIX = "openspiel:"
VERSION = 1
MOVE_CAP = 1024
"""A game that lasts longer than this many plies is a draw."""
STATES_KEPT = 50_000
WAIT = "wait"
NAMES_ANY_ACTION = frozenset(
    {
        *("amazons", "breakthrough", "checkers", "clobber", "connect_four", "dots_and_boxes"),
        *("go", "gomoku", "havannah", "hex", "hive", "lines_of_action", "mancala", "mnk", "nim"),
        *("nine_mens_morris", "othello", "oware", "pentago", "quoridor", "tic_tac_toe", "twixt"),
        *("ultimate_tic_tac_toe", "y"),
    }
)
"""Games that name an action whether or not it is legal just now; others may crash when asked."""

DTYPE = record_dtype(
    TAG,
    [
        ("game_id", np.int64),  # which game, see _game_id
        ("wait_action", np.int64),  # A - 1
        ("move_limit", np.int64),
        ("waiting", np.uint8),  # 1: the opponent is to move again, `wait` is all there is
        ("winner", np.int8),  # 1 first player, -1 second, 0 nobody (yet)
        ("length", np.int32),  # actions in `history`
        ("history", np.int16, (MOVE_CAP,)),  # the actions played, waits left out
    ],
)


class _Node:
    """One state of OpenSpiel and what the kernels want to know about it."""

    __slots__ = ("done", "hash", "mask", "player", "state", "winner")

    def __init__(self, state: Any) -> None:
        self.state = state
        self.mask: Mask | None = None
        self.done = int(state.is_terminal())
        self.player = -1 if self.done else int(state.current_player())
        self.winner = int(np.sign(state.returns()[0])) if self.done else 0
        text = f"{self.player} {state}".encode()
        self.hash = int.from_bytes(blake2b(text, digest_size=8).digest(), "little", signed=True)


class _Cache:
    """The most recently used states, by game and history; any can be rebuilt by replay."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.nodes: OrderedDict[tuple[int, bytes], _Node] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, game_id: int, history: bytes) -> _Node:
        """The state that `history` (int16 actions) leads to."""
        with self.lock:
            return self._get(game_id, history)

    def after(self, game_id: int, history: bytes, action: int) -> _Node:
        """The state one action on."""
        key = game_id, history + np.int16(action).tobytes()
        with self.lock:
            node = self._touch(key)
            if node is None:
                node = _Node(self._get(game_id, history).state.child(action))
                self._put(key, node)
            return node

    def _touch(self, key: tuple[int, bytes]) -> _Node | None:
        node = self.nodes.get(key)
        if node is not None:
            self.nodes.move_to_end(key)
        return node

    def _get(self, game_id: int, history: bytes) -> _Node:
        key = game_id, history
        node = self._touch(key)
        if node is None:
            state = _GAMES[game_id].new_initial_state()
            for action in np.frombuffer(history, np.int16):
                state.apply_action(int(action))
            node = _Node(state)
            self._put(key, node)
        return node

    def _put(self, key: tuple[int, bytes], node: _Node) -> None:
        self.nodes[key] = node
        if len(self.nodes) > self.size:
            self.nodes.popitem(last=False)


_GAMES: dict[int, Any] = {}
_CACHE = _Cache(STATES_KEPT)


def _advance(game_id: int, history: NDArray[np.int16], action: int) -> tuple[int, int, int, int]:
    """(done, player to move, winner, hash) after one more action."""
    node = _CACHE.after(game_id, history.tobytes(), action)
    return node.done, node.player, node.winner, node.hash


def _mask(game_id: int, history: NDArray[np.int16]) -> Mask:
    """Legal actions, the wait left out: (A - 1,) uint8."""
    node = _CACHE.get(game_id, history.tobytes())
    if node.mask is None:
        node.mask = np.zeros(_GAMES[game_id].num_distinct_actions(), np.uint8)
        node.mask[node.state.legal_actions()] = 1
    return node.mask


def _observation(game_id: int, history: NDArray[np.int16], player: int) -> Planes:
    """OpenSpiel's tensor for `player` as (P, C - 2) bfloat16 bits, rounded half up."""
    state = _CACHE.get(game_id, history.tobytes()).state
    tensor = np.array(state.observation_tensor(player), np.float32)
    bits = ((tensor.view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)
    channels = _board_shape(_GAMES[game_id])[0]
    return np.ascontiguousarray(bits.reshape(channels, -1).T)


@kernel
def _play(state: State, action: Int) -> None:
    player = state.to_play
    state.move_number += 1
    state.to_play = 1 - player
    if state.waiting:
        state.waiting = 0
        state.hash = ~state.hash
    else:
        game_id, history = state.game_id, state.history[: state.length].copy()
        with objmode(done="int64", mover="int64", winner="int64", word="int64"):
            done, mover, winner, word = _advance(game_id, history, action)
        state.history[state.length] = action
        state.length += 1
        state.done = done
        state.winner = winner
        state.hash = word
        if not done and mover == player:
            state.waiting = 1
            state.hash = ~state.hash
    if state.move_number >= state.move_limit:
        state.done = 1


@kernel
def _legal_mask(state: State, out: Mask) -> int:
    out[:] = 0
    if state.done:
        return 0
    if state.waiting:
        out[state.wait_action] = 1
        return 1
    game_id, history = state.game_id, state.history[: state.length].copy()
    with objmode(mask="uint8[::1]"):
        mask = _mask(game_id, history)
    out[: len(mask)] = mask
    return int(mask.sum())


@kernel
def _is_legal(state: State, action: Int) -> bool:
    if state.done:
        return False
    if state.waiting or action == state.wait_action:
        return bool(state.waiting and action == state.wait_action)
    game_id, history = state.game_id, state.history[: state.length].copy()
    with objmode(mask="uint8[::1]"):
        mask = _mask(game_id, history)
    return bool(mask[action] == 1)


@kernel
def _write_planes(state: State, mask: Mask, out: Planes) -> None:
    game_id, history = state.game_id, state.history[: state.length].copy()
    player = state.to_play
    with objmode(seen="uint16[:, ::1]"):
        seen = _observation(game_id, history, player)
    channels = seen.shape[1]
    out[:, :channels] = seen
    out[:, channels] = BF16_ONE if player == 1 else np.uint16(0)
    out[:, channels + 1] = BF16_ONE if state.waiting else np.uint16(0)


@kernel
def _rollout_action(state: State, rng: Rng) -> int:
    mask = np.empty(state.wait_action + 1, np.uint8)
    nth = random_below(rng, _legal_mask(state, mask))
    for action in range(len(mask)):
        nth -= mask[action]
        if nth < 0:
            return action
    return -1


register_kernels(
    TAG,
    play=_play,
    is_legal=_is_legal,
    legal_mask=_legal_mask,
    write_planes=_write_planes,
    outcome=outcome_of_winner,
    score=score_of_winner,
    ownership=no_ownership,
    rollout_action=_rollout_action,
)


def _game_id(name: str) -> int:
    return zlib.crc32(name.encode())


def _board_shape(oracle: Any) -> tuple[int, int, int]:
    """(C, rows, cols) of the observation, one row of cells where it is not three-dimensional."""
    shape = oracle.observation_tensor_shape()
    return tuple(shape) if len(shape) == 3 else (1, 1, int(np.prod(shape)))


def _load(name: str) -> Any:
    """OpenSpiel's game; raises UserError if it is absent, unknown or of the wrong kind."""
    try:
        import pyspiel
    except ImportError:
        raise UserError(
            f"game {PREFIX + name!r} needs OpenSpiel, which is not installed: pip install open_spiel"
        ) from None
    if name.partition("(")[0] not in pyspiel.registered_names():
        raise UserError(f"OpenSpiel has no game {name!r}; see pyspiel.registered_names()")
    try:
        oracle = pyspiel.load_game(name)
    except (pyspiel.SpielError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"OpenSpiel cannot make {name!r}: {reason}") from None
    kind = oracle.get_type()
    demands = {
        "has two players": oracle.num_players() == 2,
        "takes turns": kind.dynamics == kind.Dynamics.SEQUENTIAL,
        "has no chance": kind.chance_mode == kind.ChanceMode.DETERMINISTIC,
        "hides nothing": kind.information == kind.Information.PERFECT_INFORMATION,
        "is zero-sum": kind.utility == kind.Utility.ZERO_SUM,
        "pays at the end only": kind.reward_model == kind.RewardModel.TERMINAL,
        "has an observation tensor": kind.provides_observation_tensor,
        "has under 32767 actions": oracle.num_distinct_actions() < 2**15 - 1,
    }
    for demand, met in demands.items():
        if not met:
            raise UserError(f"OpenSpiel's {name!r} does not qualify: no game that {demand}")
    return oracle


def _action_names(oracle: Any) -> list[str]:
    """A distinct name for each action: OpenSpiel's less what marks the player, or its number."""
    count, start = oracle.num_distinct_actions(), oracle.new_initial_state()
    if oracle.get_type().short_name not in NAMES_ANY_ACTION:
        return [*map(str, range(count)), WAIT]
    first, second = (
        [start.action_to_string(player, action).strip() for action in range(count)]
        for player in (0, 1)
    )
    mark = next((n for n in range(3) if [x[n:] for x in first] == [y[n:] for y in second]), 0)
    names, taken = [], {WAIT}
    for action, name in enumerate(first):
        name = name[mark:].strip() or str(action)
        if name.lower() in taken:
            name = f"{name}#{action}"
        taken.add(name.lower())
        names.append(name)
    return [*names, WAIT]


def _action_name(action: int, names: tuple[str, ...]) -> str:
    return names[action]


def _parse_action(text: str, names: tuple[str, ...]) -> int:
    wanted = text.strip().lower()
    for action, name in enumerate(names):
        if name.lower() == wanted:
            return action
    raise UserError(f"{text!r} is not an action: {names[0]}, {names[1]}, ... {names[-2]}, {WAIT}")


def _initial(name: str, rules: Mapping[str, Any]) -> States:
    game_id = _game_id(name)
    if game_id not in _GAMES:  # a worker that unpickled the game
        _GAMES[game_id] = _load(name)
    oracle = _GAMES[game_id]
    states = np.zeros(1, dtype=DTYPE).view(np.recarray)
    state, node = states[0], _CACHE.get(game_id, b"")
    state.game_id, state.wait_action = game_id, oracle.num_distinct_actions()
    state.move_limit = _most_moves(oracle)
    state.hash = node.hash
    if node.player == 1:
        state.waiting = 1
        state.hash = ~node.hash
    return states


def _most_moves(oracle: Any) -> int:
    return min(2 * int(oracle.max_game_length()), MOVE_CAP)


def make_game(name: str) -> Game:
    """OpenSpiel's game `name`, without the prefix, with its parameters in parentheses if any.

    Raises UserError if OpenSpiel is not installed, or the game is unknown or of the wrong kind.
    """
    oracle = _load(name)
    _GAMES[_game_id(name)] = oracle
    channels, rows, cols = _board_shape(oracle)
    actions = oracle.num_distinct_actions() + 1
    names = tuple(_action_names(oracle))
    planes = [f"observation_{i}" for i in range(channels)]
    return Game(
        name=PREFIX + name,
        version=VERSION,
        rows=rows,
        cols=cols,
        actions=actions,
        plane_names=(*planes, "second_player_to_move", "must_wait"),
        policy_head="flat",
        max_moves=_most_moves(oracle),
        dtype=DTYPE,
        initial=partial(_initial, name),
        point_symmetries=np.arange(rows * cols, dtype=np.int32)[None],
        action_symmetries=np.arange(actions, dtype=np.int32)[None],
        action_name=partial(_action_name, names=names),
        parse_action=partial(_parse_action, names=names),
        player_names=("First", "Second"),
    )
