"""A person's game against a bot: whose turn it is, what is said about it, how it ends.

No input and no output: the line-by-line dialogue and the full screen both stand on a `Duel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostgo.board import kind_of
from ghostgo.bot import Bot
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import is_go
from ghostgo.session import TROMP_TAYLOR, Session

SURE = 0.5
"""How surely, from 0 to 1, a side must be expected to own a point, or a dead chain's points."""

AIMS = {
    "hex": "{0} joins top and bottom, {1} left and right.",
    "gomoku": "Five or more in a row win.",
    "connect_four": "Four in a row win.",
    "tic_tac_toe": "Three in a row win.",
    "othello": "More stones at the end win.",
}
"""What wins, by kind of game."""


@dataclass(frozen=True)
class Opponent:
    """Whom a person plays, as `ghostgo play` is told; None: not said."""

    name: str | None = None
    visits: int | None = None
    seconds: float | None = None
    human: float | None = None
    prior: str | None = None
    """Who imitated people, for `human`."""
    rank: str | None = None
    level: str | None = None
    """A rank instead of who plays and how (`ghostgo.level`)."""
    learn: bool | None = None
    symmetries: int | None = None
    score_weight: float | None = None
    reuse: bool | None = None
    variety: bool | None = None

    def completed(self, before: Opponent) -> Opponent:
        """What is not said here as it was `before`; as it is if it names somebody else."""
        if self == Opponent():
            return before
        if self.name not in (None, before.name) or self.level or before.level:
            return self
        budget = self if self.visits or self.seconds else before
        people = self if self.human is not None else before
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return replace(
            before, **{
                "visits": budget.visits, "seconds": budget.seconds,
                "prior": people.prior, "rank": people.rank, **given,
            },
        )  # fmt: skip


def margin_words(margin: float) -> str:
    """A first player's expected margin in short: `B+3.4`, `W+0.5`, `even`."""
    margin = round(margin, 1)
    return f"{'B' if margin > 0 else 'W'}+{abs(margin):.1f}" if margin else "even"


class Duel:
    """One game, with the person as player `human` and the bot as the other."""

    def __init__(self, session: Session, bot: Bot, human: int) -> None:
        self.session = session
        self.bot = bot
        self.human = human
        self.keep: Callable[[], Path | None] = lambda: None
        """Called after every change; the file, None if there is nothing to keep yet. Raises
        UserError if the game could not be kept."""
        self.opponent: Opponent | None = None
        """How the bot was asked for, to be kept with the game."""
        self.warning = ""
        """What the person should know of the bot before the game; empty if there is nothing."""

    @property
    def bot_to_move(self) -> bool:
        """Whether the game goes on and it is the bot's turn."""
        return not self.session.over and self.session.to_play != self.human

    @property
    def can_pass(self) -> bool:
        """Whether the game knows passes, if only as a last resort."""
        return self.name(self.session.game.actions - 1) == "pass"

    @property
    def must_pass(self) -> bool:
        """Whether the person is to move and can but pass."""
        session = self.session
        if session.over or session.to_play != self.human:
            return False
        legal = session.game.legal_actions(session.state)
        return len(legal) == 1 and self.name(int(legal[0])) == "pass"

    def side(self, player: int) -> str:
        """A player's name in this game, such as Black."""
        return self.session.game.player_names[player]

    def name(self, action: int) -> str:
        """A move as a person writes it."""
        return self.session.game.action_name(action)

    def rules(self) -> str:
        """Komi and ko rule in Go; what wins in other games, empty for those of OpenSpiel."""
        game = self.session.game
        if not is_go(game):
            return AIMS.get(kind_of(game), "").format(*game.player_names)
        return f"Komi {self.session.rules['komi']:g}, {self.session.rules['ko']} ko."

    def said(self, player: int, action: int) -> str:
        """A sentence about the move that `player` has just made."""
        if self.name(action) != "pass":
            return f"{self.side(player)} plays {self.name(action)}."
        end = "" if self.session.over else " Pass too, and the game ends and is counted."
        return f"{self.side(player)} passes.{end if is_go(self.session.game) else ''}"

    def take_back(self) -> list[int]:
        """Undo the person's last move and what came after it; returns these actions, in order.

        A resignation is taken back alone. Raises UserError if there is no move to take back.
        """
        if self.session.resigned is not None:
            self.session.undo()
            return []
        mine = [i for i, (player, _) in enumerate(self.session.moves) if player == self.human]
        if not mine:
            raise UserError("there is no move of yours to take back")
        back = [action for _, action in self.session.moves[mine[-1] :]]
        for _ in back:
            self.session.undo()
        return back

    def count(self) -> str:
        """The score as the board stands, side by side. Raises UserError if there are no points."""
        session = self.session
        if not session.has_score:
            raise UserError(f"{session.game.name} has no points; the end decides")
        first, second = session.area()
        margin = session.margin()
        komi = f" and komi {session.rules['komi']:g}" if is_go(session.game) else ""
        ahead = f"{self.side(0 if margin > 0 else 1)} is ahead by {abs(margin):g}"
        sides = f"{self.side(0)} {first}, {self.side(1)} {second}{komi}"
        return f"{sides}: {ahead if margin else 'even'}"

    def lead(self) -> float | None:
        """The first player's margin that the bot expects of this position; None if it has no idea."""
        found = self.bot.margins(self.session.states)
        return None if found is None else float(found.means[0])

    def estimate(self) -> str:
        """How the bot expects the unfinished game to end: by how much, and whose the points.

        Raises UserError if it has no idea, or if the game is over.
        """
        session = self.session
        if session.over:
            raise UserError("the game is over")
        lead = self.lead()
        if lead is None:
            raise UserError(f"{self.bot.name} has no idea of the score")
        owners = self.bot.ownership(session.states)
        return f"{margin_words(lead)} expected{self._shares(owners)}"

    def _shares(self, owners: NDArray[np.float32] | None) -> str:
        if owners is None:
            return ""
        first, second = int(np.sum(owners > SURE)), int(np.sum(owners < -SURE))
        left = self.session.game.points - first - second
        return f": {self.side(0)} {first}, {self.side(1)} {second}, {left} open"

    def verdict(self) -> str:
        """Who has won the finished game, and by how much."""
        session, winner = self.session, self.session.winner()
        who = "The game is a draw" if winner is None else f"{self.side(winner)} wins"
        if winner is not None:
            who += ": well played" if winner == self.human else ""
        if session.resigned is not None:
            short = f" ({session.result()})" if self.side(0)[0] == "B" else ""  # no W for Yellow
            return f"{who} by resignation{short}."
        return f"{who} ({session.result()})." if session.has_score else f"{who}."

    def reckoning(self) -> str:
        """How the finished game was counted, and by which rule; empty if it was not."""
        if self.session.resigned is not None or not self.session.has_score:
            return ""
        rule = f" {TROMP_TAYLOR}" if is_go(self.session.game) else ""
        if self.session.dead:
            count = len(self.session.dead)
            rule = (
                f" Area scoring; {count} stone{'s' * (count > 1)} marked dead and taken off first."
            )
        return f"{self.count()}.{rule}"

    def suggest_dead(self) -> frozenset[int]:
        """The stones of a finished game of Go that the bot's network takes for dead."""
        session = self.session
        if not session.counting:
            return frozenset()
        # The network knows positions in play alone.
        expected = self.bot.ownership(session.ready(session.to_play))
        if expected is None:
            return frozenset()
        return dead_chains(session, expected)


def dead_chains(session: Session, expected: NDArray[np.float32]) -> frozenset[int]:
    """The stones whose points are expected to be the opponent's, chain by chain.

    `expected` is as `Bot.ownership` has it, (P,).
    """
    stones, seen, found = session.stones(), set[int](), frozenset[int]()
    for point in np.flatnonzero(stones).tolist():
        if point in seen:
            continue
        chain = session.chain(point)
        seen |= chain
        if float(np.mean(expected[list(chain)])) * stones[point] < -SURE:
            found |= chain
    return found
