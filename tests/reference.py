"""Slow, obvious twins of the kernels, in plain Python, for tests to compare against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BLACK, WHITE, EMPTY = 1, -1, 0
Board = tuple[int, ...]
Nested = list[Any]
"""Numbers in lists within lists."""


class ReferenceGo:
    """Go by flood fill and a set of all the boards that have been; BLACK moves first.

    Points and actions count row by row from the upper left; the last action is the pass.
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        ko: str = "positional",
        suicide: bool = False,
        komi: float = 0.0,
        move_limit: int = 10**9,
    ) -> None:
        self.rows, self.cols, self.pass_action = rows, cols, rows * cols
        self.ko, self.suicide, self.komi, self.move_limit = ko, suicide, komi, move_limit
        self.boards: list[Board] = [(EMPTY,) * (rows * cols)]
        self.to_play = BLACK
        self.seen = {self._situation(self.boards[0], BLACK)}
        self.moves: list[int] = []

    @property
    def board(self) -> Board:
        return self.boards[-1]

    @property
    def done(self) -> bool:
        passed_twice = self.moves[-2:] == [self.pass_action] * 2
        return passed_twice or len(self.moves) >= self.move_limit

    def neighbours(self, point: int) -> Iterator[int]:
        row, col = divmod(point, self.cols)
        for r, c in ((row - 1, col), (row, col - 1), (row, col + 1), (row + 1, col)):
            if 0 <= r < self.rows and 0 <= c < self.cols:
                yield r * self.cols + c

    def region(self, board: Board | list[int], start: int) -> tuple[set[int], set[int]]:
        """The connected points of `start`'s kind, and the points that border on them."""
        inside, border, todo = {start}, set(), [start]
        while todo:
            for other in self.neighbours(todo.pop()):
                if board[other] != board[start]:
                    border.add(other)
                elif other not in inside:
                    inside.add(other)
                    todo.append(other)
        return inside, border

    def liberties(self, board: Board | list[int], stone: int) -> int:
        """Number of empty points next to the chain of `stone`."""
        return sum(board[point] == EMPTY for point in self.region(board, stone)[1])

    def _situation(self, board: Board, to_play: int) -> tuple[Board, int]:
        return board, to_play if self.ko == "situational" else 0

    def after(self, action: int) -> Board | None:
        """The board once `action` is played; None where the stone may not stand or be removed."""
        if action == self.pass_action:
            return self.board
        if self.board[action] != EMPTY:
            return None
        board = list(self.board)
        board[action] = self.to_play
        for other in self.neighbours(action):
            if board[other] == -self.to_play and not self.liberties(board, other):
                for point in self.region(board, other)[0]:
                    board[point] = EMPTY
        if not self.liberties(board, action):
            chain = self.region(board, action)[0]
            if len(chain) == 1 or not self.suicide:
                return None
            for point in chain:
                board[point] = EMPTY
        return tuple(board)

    def is_legal(self, action: int) -> bool:
        if self.done:
            return False
        if action == self.pass_action:
            return True
        board = self.after(action)
        if board is None:
            return False
        if self.ko == "simple":
            # Not the board that the opponent's last move left.
            return len(self.boards) < 2 or board != self.boards[-2]
        return self._situation(board, -self.to_play) not in self.seen

    def legal_actions(self) -> list[int]:
        return [action for action in range(self.pass_action + 1) if self.is_legal(action)]

    def play(self, action: int) -> None:
        board = self.after(action)
        assert board is not None
        self.boards.append(board)
        self.moves.append(action)
        self.to_play = -self.to_play
        self.seen.add(self._situation(board, self.to_play))

    def ownership(self) -> list[int]:
        owners = list(self.board)
        for point, stone in enumerate(self.board):
            if stone == EMPTY:
                touched = {self.board[p] for p in self.region(self.board, point)[1]}
                owners[point] = touched.pop() if len(touched) == 1 else 0
        return owners

    def score(self) -> float:
        return sum(self.ownership()) - self.komi


def convolution(x: Nested, weight: Nested, rows: int, cols: int) -> Nested:
    """One board (C, rows, cols) by kernels (O, C, 3, 3) to (O, rows, cols); zeros around the board."""
    return [
        [
            [
                sum(
                    plane[r + dr][c + dc] * kernel[1 + dr][1 + dc]
                    for plane, kernel in zip(x, kernels, strict=True)
                    for dr in (-1, 0, 1)
                    for dc in (-1, 0, 1)
                    if 0 <= r + dr < rows and 0 <= c + dc < cols
                )
                for c in range(cols)
            ]
            for r in range(rows)
        ]
        for kernels in weight
    ]
