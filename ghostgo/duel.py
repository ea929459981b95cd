"""A person's game against a bot: whose turn it is, what is said about it, how it ends and is saved.

No input and no output: the line-by-line dialogue and the full screen both stand on a `Duel`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ghostgo.bot import Bot
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import is_go
from ghostgo.session import TROMP_TAYLOR, Session


class Duel:
    """One game, with the person as player `human` and the bot as the other."""

    def __init__(self, session: Session, bot: Bot, human: int) -> None:
        self.session = session
        self.bot = bot
        self.human = human

    @property
    def bot_to_move(self) -> bool:
        """Whether the game goes on and it is the bot's turn."""
        return not self.session.over and self.session.to_play != self.human

    def side(self, player: int) -> str:
        """A player's name in this game, such as Black."""
        return self.session.game.player_names[player]

    def name(self, action: int) -> str:
        """A move as a person writes it."""
        return self.session.game.action_name(action)

    def rules(self) -> str:
        """Komi and ko rule; empty but in Go."""
        if not is_go(self.session.game):
            return ""
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

    def verdict(self) -> str:
        """Who has won the finished game, and by how much."""
        session, winner = self.session, self.session.winner()
        who = "The game is a draw" if winner is None else f"{self.side(winner)} wins"
        if winner is not None:
            who += ": well played" if winner == self.human else ""
        if session.resigned is not None:
            return f"{who} by resignation ({session.result()})."
        return f"{who} ({session.result()})." if session.has_score else f"{who}."

    def reckoning(self) -> str:
        """How the finished game was counted, and by which rule; empty if it was not."""
        if self.session.resigned is not None or not self.session.has_score:
            return ""
        rule = f" {TROMP_TAYLOR}" if is_go(self.session.game) else ""
        return f"{self.count()}.{rule}"


def record(duel: Duel, when: datetime) -> tuple[str, str]:
    """(file ending, text) of the game: SGF for Go, a few plain lines for other games."""
    session, day = duel.session, when.strftime("%Y-%m-%d")
    result = session.result() if session.over else ""
    names = ["you", "you"]
    names[1 - duel.human] = duel.bot.name
    actions = [action for _, action in session.moves]
    if not is_go(session.game):
        moves = " ".join(map(session.game.action_name, actions))
        rows = {"game": session.game.name, "date": day, "first": names[0], "second": names[1]}
        rows |= {"result": result or "unfinished", "moves": moves}
        return ".txt", "".join(f"{key}: {value}\n" for key, value in rows.items())
    from ghostgo.data.sgf import write_game

    text = write_game(
        session.game,
        actions,
        komi=session.rules["komi"],
        black=names[0],
        white=names[1],
        result=result,
        date=day,
    )
    return ".sgf", text


def save(duel: Duel, folder: Path) -> Path | None:
    """Write the game to a new file in `folder`; None if no move was played."""
    if not duel.session.moves:
        return None
    now = datetime.now()
    ending, text = record(duel, now)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{now:%Y%m%d-%H%M%S}-{duel.session.game.name}"
    for count in range(1, 1000):
        path = folder / f"{stem}{f'-{count}' if count > 1 else ''}{ending}"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise UserError(f"{folder}: a thousand games of this second are there already")
