"""What a game is: a short list of kernels over a state record, and a small Python face.

State is a numpy structured record: `states = game.new_states(n)` has shape (n,), `states[g]` is one
state, and `states[i] = states[j]` copies. Search code calls the generic kernels below (`play`,
`legal_mask`, ...). Each game registers its own implementation under a tag, the name of the record's
first field, and Numba picks the implementation at compile time from the record's type: one source
of the search, one specialisation a game, no dispatch while it runs.

Every state record has these fields besides the game's own:

    <tag>        uint8    its name marks the game and keeps dtypes of different games apart
    hash         int64    Zobrist hash of everything that makes two states alike for a network
    move_number  int32    plies played since the start
    to_play      int8     0 for the first player (Black in Go), 1 for the second
    done         uint8    1 once the game is over

Letters: A actions, P points (rows * cols), C planes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal, TypeAlias

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.jit import Rng, kernel, random_below

State: TypeAlias = Any  # one numpy record; a Numba Record inside kernels
States: TypeAlias = Any  # numpy recarray of shape (n,)
Int: TypeAlias = Any  # an integer inside kernels, whatever its width
Mask = NDArray[np.uint8]  # (A,) 1 where the action is legal
Planes = NDArray[np.uint16]  # (P, C) bfloat16 bit patterns, point-major (NHWC)
PolicyHead = Literal["points_and_pass", "points", "flat"]

BF16_ONE = np.uint16(0x3F80)
FIRST, SECOND = 0, 1

_PYTHON: dict[str, dict[str, Callable[..., Any]]] = {}


def _run(name: str, state: State) -> Callable[..., Any]:
    return _PYTHON[name][state.dtype.names[0]]


def play(state: State, action: int) -> None:
    """Play a legal `action` in place. Legality is not checked."""
    _run("play", state)(state, action)


def is_legal(state: State, action: int) -> bool:
    """Whether the side to move may play `action` (0 <= action < A); False once the game is over."""
    return bool(_run("is_legal", state)(state, action))


def legal_mask(state: State, out: Mask) -> int:
    """Write 1 for each legal action into `out` (A,) and return their number (0 when over)."""
    return int(_run("legal_mask", state)(state, out))


def write_planes(state: State, mask: Mask, out: Planes) -> None:
    """Write the feature planes (P, C) as bfloat16 bits, seen from the side to move.

    `mask` is the state's `legal_mask`; every cell of `out` is written.
    """
    _run("write_planes", state)(state, mask, out)


def outcome(state: State) -> float:
    """Result of a finished game for the side to move: 1 win, 0 draw, -1 loss."""
    return float(_run("outcome", state)(state))


def score(state: State) -> float:
    """First player's margin in points, komi included (Go); +1, 0, -1 in games without points."""
    return float(_run("score", state)(state))


def ownership(state: State, out: NDArray[np.int8]) -> None:
    """Write each point's owner into `out` (P,): +1 first player, -1 second, 0 neither."""
    _run("ownership", state)(state, out)


def rollout_action(state: State, rng: Rng) -> int:
    """A random action for playouts: uniform over legal ones (Go: own eyes are left alone)."""
    return int(_run("rollout_action", state)(state, rng))


def _is(state: Any, tag: str) -> bool:
    return isinstance(state, types.Record) and next(iter(state.fields)) == tag


def _bare(function: Any) -> Any:
    """A copy without annotations: @overload wants equal ones on the chooser and the chosen.

    A kernel gives the plain function that it was compiled from.
    """
    plain = getattr(function, "py_func", function)
    return FunctionType(
        plain.__code__, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )


def _overload_state(generic: Any, tag: str, implementation: Any) -> None:
    def choose(state: Any) -> Any:
        return implementation if _is(state, tag) else None

    overload(generic)(_bare(choose))


def _overload_state_action(generic: Any, tag: str, implementation: Any) -> None:
    def choose(state: Any, action: Any) -> Any:
        return implementation if _is(state, tag) else None

    overload(generic)(_bare(choose))


def _overload_state_out(generic: Any, tag: str, implementation: Any) -> None:
    def choose(state: Any, out: Any) -> Any:
        return implementation if _is(state, tag) else None

    overload(generic)(_bare(choose))


def _overload_state_rng(generic: Any, tag: str, implementation: Any) -> None:
    def choose(state: Any, rng: Any) -> Any:
        return implementation if _is(state, tag) else None

    overload(generic)(_bare(choose))


def _overload_state_mask_out(generic: Any, tag: str, implementation: Any) -> None:
    def choose(state: Any, mask: Any, out: Any) -> Any:
        return implementation if _is(state, tag) else None

    overload(generic)(_bare(choose))


_GENERIC: dict[str, tuple[Callable[..., Any], Callable[[Any, str, Any], None]]] = {
    "play": (play, _overload_state_action),
    "is_legal": (is_legal, _overload_state_action),
    "legal_mask": (legal_mask, _overload_state_out),
    "write_planes": (write_planes, _overload_state_mask_out),
    "outcome": (outcome, _overload_state),
    "score": (score, _overload_state),
    "ownership": (ownership, _overload_state_out),
    "rollout_action": (rollout_action, _overload_state_rng),
}


def register_kernels(tag: str, **kernels: Callable[..., Any]) -> None:
    """Register a game's implementation of all the generic kernels under the record tag `tag`.

    The functions may be kernels or plain Python; their parameters bear the generic kernel's names.
    Raises ValueError if one is missing, unknown or registered twice.
    """
    if set(kernels) != set(_GENERIC):
        raise ValueError(
            f"{tag}: kernels {sorted(set(kernels) ^ set(_GENERIC))} missing or unknown"
        )
    for name, implementation in kernels.items():
        table = _PYTHON.setdefault(name, {})
        if tag in table:
            raise ValueError(f"{tag}: kernel {name} is registered twice")
        table[tag] = implementation
        generic, choose = _GENERIC[name]
        choose(generic, tag, _bare(implementation))


def record_dtype(tag: str, fields: list[tuple[Any, ...]]) -> np.dtype[Any]:
    """An aligned record dtype with the common header, padded to a multiple of 64 bytes.

    Padding keeps neighbours in one array from sharing a cache line between threads.
    """
    header: list[tuple[Any, ...]] = [
        (tag, np.uint8),
        ("to_play", np.int8),
        ("done", np.uint8),
        ("move_number", np.int32),
        ("hash", np.int64),
    ]
    dtype = np.dtype(header + fields, align=True)
    itemsize = -(-dtype.itemsize // 64) * 64
    names = dtype.names or ()
    spec = {
        "names": list(names),
        "formats": [dtype.fields[name][0] for name in names],  # type: ignore[index]
        "offsets": [dtype.fields[name][1] for name in names],  # type: ignore[index]
        "itemsize": itemsize,
    }
    return np.dtype((np.record, np.dtype(spec)))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Game:
    """A game's Python face: shapes, names and how to make a state.

    Equality is by identity of rules: `name` and `version` together name one set of rules and one
    layout of planes; a checkpoint stores both.
    """

    name: str
    """Registry name, such as `go9`."""
    version: int
    """Number of this game's rules and plane layout; raised when either changes."""
    rows: int
    cols: int
    actions: int
    """A: number of actions, legal or not."""
    plane_names: tuple[str, ...]
    """One name per feature plane, in order; C is their number."""
    policy_head: PolicyHead
    """How actions map to the board: one a point (+ a pass, the last action), or a flat list."""
    max_moves: int
    """No game lasts longer than this many plies."""
    dtype: np.dtype[Any] = field(repr=False)
    """The state record's dtype."""
    initial: Callable[[Mapping[str, Any]], States] = field(repr=False)
    """One fresh state, shape (1,), from a mapping of rule options."""
    point_symmetries: NDArray[np.int32] = field(repr=False)
    """(S, P) int32: row s sends point p to table[s, p]; row 0 is the identity."""
    action_symmetries: NDArray[np.int32] = field(repr=False)
    """(S, A) int32: the same for actions."""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """The rule options and their defaults, such as komi; empty for most games."""
    action_name: Callable[[int], str] = field(repr=False, default=str)
    """An action as a person writes it, such as `D5` or `pass`."""
    parse_action: Callable[[str], int] = field(repr=False, default=int)
    """The inverse of `action_name`, case-insensitive; ValueError says what would be right."""
    has_ownership: bool = False
    """Whether points are owned at the end (the network then has an ownership head)."""
    has_score: bool = False
    """Whether the margin in points means something (the network then has a score head)."""
    player_names: tuple[str, str] = ("Black", "White")

    @property
    def points(self) -> int:
        """P = rows * cols."""
        return self.rows * self.cols

    @property
    def planes(self) -> int:
        """C: number of feature planes."""
        return len(self.plane_names)

    def new_states(self, n: int, rules: Mapping[str, Any] | None = None) -> States:
        """`n` fresh states, a recarray of shape (n,), under `rules` (defaults where not given).

        Raises UserError for an unknown rule option or a value out of range.
        """
        unknown = set(rules or {}) - set(self.rules)
        if unknown:
            known = ", ".join(self.rules) or "none"
            raise UserError(f"{self.name}: unknown rule {min(unknown)!r}; known: {known}")
        one = self.initial({**self.rules, **(rules or {})})
        states = np.zeros(n, dtype=self.dtype).view(np.recarray)
        states[:] = one[0]
        return states

    def legal_actions(self, state: State) -> NDArray[np.int64]:
        """Indices of the legal actions of one state, ascending."""
        mask = np.zeros(self.actions, np.uint8)
        legal_mask_of(state, mask)
        return np.flatnonzero(mask)


@kernel
def play_one(state: State, action: int) -> None:
    """`play` as a compiled entry point for Python callers."""
    play(state, action)


@kernel
def is_legal_one(state: State, action: int) -> bool:
    """`is_legal` as a compiled entry point for Python callers."""
    return is_legal(state, action)


@kernel
def legal_mask_of(state: State, out: Mask) -> int:
    """`legal_mask` as a compiled entry point for Python callers."""
    return legal_mask(state, out)


@kernel
def write_planes_of(state: State, mask: Mask, out: Planes) -> None:
    """`write_planes` as a compiled entry point for Python callers."""
    write_planes(state, mask, out)


@kernel
def outcome_of(state: State) -> float:
    """`outcome` as a compiled entry point for Python callers."""
    return outcome(state)


@kernel
def score_of(state: State) -> float:
    """`score` as a compiled entry point for Python callers."""
    return score(state)


@kernel
def ownership_of(state: State, out: NDArray[np.int8]) -> None:
    """`ownership` as a compiled entry point for Python callers."""
    ownership(state, out)


@kernel
def replay(state: State, actions: NDArray[np.int16], count: int) -> int:
    """Play the first `count` actions, checking each; returns how many were legal and played."""
    for i in range(count):
        if not is_legal(state, actions[i]):
            return i
        play(state, actions[i])
    return count


@kernel
def uniform_legal_action(state: State, actions: int, rng: Rng) -> int:
    """A uniformly random legal action out of 0 .. actions-1; -1 if there is none.

    Rejection first (most actions are legal in most games), then a scan from a random start.
    """
    for _ in range(8):
        action = random_below(rng, actions)
        if is_legal(state, action):
            return action
    legal = 0
    for action in range(actions):
        legal += is_legal(state, action)
    if legal == 0:
        return -1
    nth = random_below(rng, legal)
    for action in range(actions):
        if is_legal(state, action):
            if nth == 0:
                return action
            nth -= 1
    return -1


@kernel
def random_playout(state: State, rng: Rng) -> int:
    """Play `rollout_action` to the end of the game in place; returns the plies played."""
    plies = 0
    while not state.done:
        play(state, rollout_action(state, rng))
        plies += 1
    return plies
