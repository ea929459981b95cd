"""One game in progress, for a person or a GTP client: moves, undo, handicap, komi, result.

No input, no output and no bot: the terminal and the GTP server each put a face on a `Session`.
Players are 0 (the first, Black in Go) and 1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.engine.errors import UserError
from ghostgo.engine.games import go
from ghostgo.engine.games.game import (
    FIRST,
    Game,
    State,
    States,
    is_legal_one,
    legal_mask_of,
    outcome_of,
    ownership_of,
    play_one,
    score_of,
    write_planes_of,
)
from ghostgo.engine.games.go import is_go

TROMP_TAYLOR = (
    "Area scoring by Tromp-Taylor: stones on the board and the empty points that only they touch "
    "count; dead stones count as alive until they are captured."
)


class Session:
    """A game from its first move on; every position is kept, so that any move can be undone."""

    def __init__(self, game: Game, rules: Mapping[str, Any] | None = None) -> None:
        """A fresh game. Raises UserError for an unknown rule or a value out of range."""
        self.game = game
        self.rules: dict[str, Any] = {**game.rules, **(rules or {})}
        self.moves: list[tuple[int, int]] = []
        """(player, action) of each move so far."""
        self.setup: dict[int, int] = {}
        """Stones that stood there from the start, by point: 1 first player's, -1 second's."""
        self.resigned: int | None = None
        """The player who resigned."""
        self.dead: frozenset[int] = frozenset()
        """Stones that are taken off before a finished game is counted, by agreement; see `mark_dead`."""
        self._states: list[States] = [game.new_states(1, self.rules)]

    @property
    def states(self) -> States:
        """The position now, shape (1,)."""
        return self._states[-1]

    @property
    def state(self) -> State:
        """The position now, one record."""
        return self._states[-1][0]

    @property
    def to_play(self) -> int:
        """The player to move."""
        return int(self.state.to_play)

    @property
    def first_to_play(self) -> int:
        """The player who had the first move."""
        return int(self._states[0][0].to_play)

    def positions(self) -> States:
        """The position before each move, (number of moves,)."""
        states = self.game.new_states(len(self.moves))
        for i in range(len(self.moves)):
            states[i] = self._states[i][0]
        return states

    @property
    def over(self) -> bool:
        """Whether the game has ended, by the rules or by resignation."""
        return self.resigned is not None or bool(self.state.done)

    @property
    def last_action(self) -> int | None:
        """The last move's action."""
        return self.moves[-1][1] if self.moves else None

    @property
    def last_point(self) -> int | None:
        """The point that the last move put a stone on; None for a pass or before the first move."""
        if not self.moves:
            return None
        new = (self.stones(self._states[-2]) == 0) & (self.stones() != 0)
        return int(np.argmax(new)) if new.any() else None

    def stones(self, states: States | None = None) -> NDArray[np.int8]:
        """Stones (P,) of `states`, (1,), by default now: 1 first player's, -1 second's, 0 empty."""
        game = self.game
        state = self.state if states is None else states[0]
        mask = np.zeros(game.actions, np.uint8)
        planes = np.zeros((game.points, game.planes), np.uint16)
        legal_mask_of(state, mask)
        write_planes_of(state, mask, planes)
        own = planes[:, game.plane_names.index("own_stones")] != 0
        opponent = planes[:, game.plane_names.index("opponent_stones")] != 0
        stones: NDArray[np.int8] = own.astype(np.int8) - opponent.astype(np.int8)
        if state.to_play != FIRST:
            stones *= -1
        return stones

    def play(self, action: int, player: int | None = None) -> None:
        """Play `action` for `player` (the one to move, if not given).

        In Go a move out of turn, or after two passes, is taken as a new start from the same
        stones, which forgets ko. Raises UserError, changing nothing, if the move is not legal.
        """
        if player is None:
            player = self.to_play
        if self.over and not is_go(self.game):
            raise UserError("the game is over; undo takes moves back")
        after = self.ready(player)
        if not is_legal_one(after[0], action):
            raise UserError(self._why_illegal(action, player))
        play_one(after[0], action)
        self._states.append(after)
        self.moves.append((player, action))
        self.resigned, self.dead = None, frozenset()

    def ready(self, player: int) -> States:
        """A copy of the position with `player` to move, (1,); in Go it is never finished.

        Raises UserError, in other games, if it is not the player's turn.
        """
        if player == self.to_play and not self.state.done:
            return self.states.copy()
        if not is_go(self.game):
            raise UserError(f"it is {self.game.player_names[self.to_play]}'s turn")
        return self._from_stones(self.stones(), player)

    def _from_stones(self, stones: NDArray[np.int8], player: int) -> States:
        states = self.game.new_states(1, self.rules)
        if not go.set_up(states[0], stones, player):
            raise UserError("a chain without liberties cannot be set up")
        states[0].captures[:] = self.state.captures
        return states

    def _why_illegal(self, action: int, player: int) -> str:
        name = self.game.action_name(action)
        if not is_go(self.game):
            return f"{name} is not a legal move here"
        if self.stones()[action]:
            return f"{name} is taken"
        if is_legal_one(self._from_stones(self.stones(), player)[0], action):
            return f"{name} would repeat an earlier position ({self.rules['ko']} ko rule)"
        return f"{name} would be suicide"

    def undo(self) -> bool:
        """Take the last move (or the resignation) back; False if there is none."""
        self.dead = frozenset()
        if self.resigned is not None:
            self.resigned = None
            return True
        if not self.moves:
            return False
        self.moves.pop()
        self._states.pop()
        return True

    def resign(self, player: int) -> None:
        """End the game: `player` has lost."""
        self.resigned = player

    def set_komi(self, komi: float) -> None:
        """Change komi now, and for the moves before. Raises UserError if it is out of range."""
        if not is_go(self.game):
            raise UserError(f"{self.game.name} has no komi")
        rules = {**self.rules, "komi": komi}
        fresh = self.game.new_states(1, rules)[0]
        for states in self._states:
            state = states[0]
            state.hash ^= state.rules_hash ^ fresh.rules_hash
            state.rules_hash, state.komi = fresh.rules_hash, fresh.komi
            state.komi_plane[:] = fresh.komi_plane
        self.rules = rules

    def place_handicap(self, actions: list[int]) -> None:
        """Start with black stones on these points, White to move.

        Raises UserError if the board is not empty, or a point is given twice or is a pass.
        """
        points = set(actions)
        if self.moves or self.setup:
            raise UserError("board not empty")
        if len(points) != len(actions) or not points or self.game.points in points:
            raise UserError("bad vertex list")
        self.set_up(dict.fromkeys(actions, 1), to_play=1)

    def set_up(self, stones: Mapping[int, int], to_play: int) -> None:
        """Start afresh from these stones by point, 1 first player's and -1 second's (Go only).

        Raises UserError, changing nothing, if a chain would have no liberty.
        """
        board = np.zeros(self.game.points, np.int8)
        board[list(stones)] = list(stones.values())
        self._states = [self._from_stones(board, to_play)]
        self._states[0].captures[:] = 0
        self.moves, self.setup, self.resigned = [], dict(stones), None
        self.dead = frozenset()

    @property
    def counting(self) -> bool:
        """Whether a game of Go has ended by its rules, so that dead stones can be marked."""
        return is_go(self.game) and bool(self.state.done) and self.resigned is None

    def chain(self, point: int) -> frozenset[int]:
        """The points of the stones connected to that on `point`; none if it is empty."""
        stones, cols = self.stones(), self.game.cols
        found, left = set[int](), [point] if stones[point] else []
        while left:
            at = left.pop()
            if at in found or stones[at] != stones[point]:
                continue
            found.add(at)
            row, col = divmod(at, cols)
            left += [at - cols] * (row > 0) + [at + cols] * (row + 1 < self.game.rows)
            left += [at - 1] * (col > 0) + [at + 1] * (col + 1 < cols)
        return frozenset(found)

    def mark_dead(self, point: int) -> None:
        """Take the chain at `point` for dead when the game is counted, or for alive again.

        The rules know of no dead stones: this is what two players may agree on instead of playing
        it out. Raises UserError before the end, in other games, and for an empty point.
        """
        if not self.counting:
            raise UserError("dead stones are marked when a game of Go is over")
        chain = self.chain(point) if 0 <= point < self.game.points else frozenset()
        if not chain:
            raise UserError(f"{self.game.action_name(point)} is empty")
        self.dead = self.dead ^ chain

    def copy(self) -> Session:
        """The same game as it is now, whatever becomes of this one."""
        other = copy.copy(self)
        other.moves = list(self.moves)
        other._states = [states.copy() for states in self._states]
        return other

    def _counted(self) -> State:
        """The position that is counted: without the stones that are agreed to be dead."""
        if not self.dead:
            return self.state
        stones = self.stones()
        stones[list(self.dead)] = 0
        return self._from_stones(stones, self.to_play)[0]

    @property
    def has_score(self) -> bool:
        """Whether the game is won by points."""
        return self.game.has_score

    def margin(self) -> float:
        """First player's margin in points as the board stands, komi included."""
        return float(score_of(self._counted()))

    def owners(self) -> NDArray[np.int8]:
        """Whose each point is as the board stands, (P,): 1 first player's, -1 second's, 0 neither's."""
        owners = np.zeros(self.game.points, np.int8)
        ownership_of(self._counted(), owners)
        return owners

    def area(self) -> tuple[int, int]:
        """Points of board that each player owns as it stands, stones and surrounded points."""
        owners = self.owners()
        return int(np.sum(owners > 0)), int(np.sum(owners < 0))

    def winner(self) -> int | None:
        """The winner of a finished game; None for a draw."""
        if self.resigned is not None:
            return 1 - self.resigned
        if self.dead:
            margin = self.margin()
            return None if margin == 0 else int(margin < 0)
        value = outcome_of(self.state)
        if value == 0:
            return None
        return self.to_play if value > 0 else 1 - self.to_play

    def result(self) -> str:
        """Result of a finished game as SGF writes it: `B+2.5`, `W+R`, `B+`, `0` for a draw."""
        winner = self.winner()
        if winner is None:
            return "0"
        letter = "BW"[winner]
        if self.resigned is not None:
            return f"{letter}+R"
        return f"{letter}+{abs(self.margin()):g}" if self.has_score else f"{letter}+"


def fixed_handicap(rows: int, cols: int, count: int) -> list[int]:
    """The points of GTP's fixed handicap of `count` stones, as actions.

    Raises UserError where GTP 2 defines none (section 4.1.1: odd boards from 9, square; 7 takes 4).
    """
    if rows != cols or rows < 7 or not 2 <= count <= _most_handicap(rows):
        raise UserError("invalid number of stones")
    return _handicap(rows, 2 if rows < 13 else 3, count)


def free_handicap(size: int, count: int) -> list[int]:
    """The points that we choose for `count` handicap stones on a square board, as actions.

    As in the fixed handicap, and in the same way on boards too small for one. Where `count` is more
    than has a place there, fewer: that leaves White nothing to win (GTP 2, section 4.1.2). Raises
    UserError for fewer than two.
    """
    if count < 2:
        raise UserError("invalid number of stones")
    count = min(count, _most_handicap(size))
    if size >= 7:
        return fixed_handicap(size, size, count)
    return _handicap(size, 1 if size > 3 else 0, count)


def _most_handicap(size: int) -> int:
    """The most stones that have a place in a handicap."""
    small = {2: 2, 5: 5}  # on 2x2 a third would leave a chain one liberty
    return small.get(size, 9 if size % 2 and size >= 9 else 4)


def _handicap(size: int, edge: int, count: int) -> list[int]:
    """The points of up to 9 stones on lines `edge` (from 0) and in the middle, as actions."""
    low, middle, high = edge, size // 2, size - 1 - edge
    # (row, col) from the top; Black's first stones stand lower left and upper right.
    corners = [(high, low), (low, high), (low, low), (high, high)]
    sides = [(middle, low), (middle, high), (low, middle), (high, middle)]
    chosen = corners[:count]
    if count >= 6:
        chosen += sides[: 2 if count < 8 else 4]
    if count in (5, 7, 9):
        chosen.append((middle, middle))
    return [row * size + col for row, col in chosen]
