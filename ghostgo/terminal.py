"""A game against a bot, line by line, in any terminal.

`Dialogue` turns a typed line into the text that answers it and does no input or output; `converse`
connects it to a way to read and a way to write; `play` is the verb.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ghostgo.board import render
from ghostgo.bot import Analysis, Bot, make_bot, warn_of_compiling
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import is_go
from ghostgo.session import TROMP_TAYLOR, Session

HINTS = 5
HELP = """\
  {move}  play there{pass_}
  undo     take your last move back
  hint     the bot's best moves here: visits and your chance to win
  winrate  your chance to win, as the bot sees it
  score    the score as the board stands
  board    show the board again
  resign   give up
  quit     save the game and leave"""
SHORT = {"p": "pass", "u": "undo", "h": "hint", "w": "winrate", "s": "score", "b": "board"}
SHORT |= {"r": "resign", "q": "quit", "?": "help", "exit": "quit"}


class Dialogue:
    """A person's game against a bot: what they type, and what they see."""

    def __init__(self, session: Session, bot: Bot, human: int) -> None:
        self.session = session
        self.bot = bot
        self.human = human
        self.left = False
        """Whether the person has quit."""

    @property
    def over(self) -> bool:
        """Whether there is nothing more to ask the person."""
        return self.left or self.session.over

    @property
    def prompt(self) -> str:
        """What stands before the person's line."""
        number = len(self.session.moves) + 1
        return f"move {number}, {self._side(self.human)} (you) > "

    def _side(self, player: int) -> str:
        return self.session.game.player_names[player]

    def _name(self, action: int) -> str:
        return self.session.game.action_name(action)

    def greeting(self) -> str:
        """The first words, the board, and the bot's move if it has the first one."""
        game = self.session.game
        you, other = (
            name if name == letter else f"{name} ({letter})"
            for name, letter in ((self._side(i), "XO"[i]) for i in (self.human, 1 - self.human))
        )
        words = [f"{game.name}: you are {you}, {self.bot.name} is {other}."]
        if is_go(game):
            words.append(f"Komi {self.session.rules['komi']:g}, {self.session.rules['ko']} ko.")
        words.append(f"{self._side(self.session.to_play)} begins; `help` lists what you can type.")
        return " ".join(words) + "\n" + self._turn()

    def _turn(self) -> str:
        """Let the bot move if it is its turn; the board, and the result if the game is over."""
        session, said = self.session, ""
        if not session.over and session.to_play != self.human:
            player = session.to_play
            action = self.bot.choose(session.states)
            session.play(action)
            said = f"{self._side(player)} plays {self._name(action)}."
            if self._name(action) == "pass":
                end = "" if session.over else " Pass too, and the game ends and is counted."
                said = f"{self._side(player)} passes.{end}"
        parts = [render(session), said, self._ending() if session.over else ""]
        return "\n".join(part for part in parts if part)

    def answer(self, line: str) -> str:
        """Do what the person typed; returns what to show, without a newline at the end."""
        word = line.strip().lower()
        word = SHORT.get(word, word)
        commands: dict[str, Callable[[], str]] = {
            "": lambda: "",
            "help": self._help,
            "undo": self._undo,
            "hint": self._hint,
            "winrate": self._win_rate,
            "score": self._score,
            "board": lambda: render(self.session),
            "resign": self._resign,
            "quit": self._quit,
        }
        if word in commands:
            return commands[word]()
        try:
            self.session.play(self.session.game.parse_action(word.replace(" ", "")))
        except ValueError as error:
            return f"{error}; `help` lists what you can type"
        return self._turn()

    def _help(self) -> str:
        game = self.session.game
        middle = game.points // 2 if game.actions >= game.points else game.actions // 2
        pass_ = "; pass  when there is nothing left to gain" if is_go(game) else ""
        return HELP.format(move=self._name(middle).ljust(7), pass_=pass_)

    def _undo(self) -> str:
        mine = [i for i, (player, _) in enumerate(self.session.moves) if player == self.human]
        if not mine:
            return "there is no move of yours to take back"
        back = [self._name(action) for _, action in self.session.moves[mine[-1] :]]
        for _ in back:
            self.session.undo()
        return f"{render(self.session)}\nTaken back: {', '.join(back)}."

    def _opinion(self) -> Analysis | None:
        return self.bot.analyse(self.session.states)

    def _hint(self) -> str:
        opinion = self._opinion()
        if opinion is None:
            return f"{self.bot.name} has no opinion"
        lines = [
            f"  {self._name(move.action):<5}{move.visits:>7} visits, you win {move.win_rate:>4.0%}"
            for move in opinion.candidates[:HINTS]
        ]
        if len(opinion.line) > 1:
            lines.append("  expected: " + " ".join(map(self._name, opinion.line)))
        return "\n".join(lines) or f"  {self._name(opinion.action)}"

    def _win_rate(self) -> str:
        opinion = self._opinion()
        if opinion is None:
            return f"{self.bot.name} has no opinion"
        return f"{self.bot.name} gives you {opinion.win_rate:.0%}"

    def _score(self) -> str:
        if not self.session.has_score:
            return f"{self.session.game.name} has no points; the end decides"
        return f"As the board stands: {self._count()}. {TROMP_TAYLOR}"

    def _count(self) -> str:
        first, second = self.session.area()
        komi, margin = self.session.rules["komi"], self.session.margin()
        ahead = f"{self._side(0 if margin > 0 else 1)} is ahead by {abs(margin):g}"
        sides = f"{self._side(0)} {first}, {self._side(1)} {second} and komi {komi:g}"
        return f"{sides}: {ahead if margin else 'even'}"

    def _resign(self) -> str:
        self.session.resign(self.human)
        return self._ending()

    def _quit(self) -> str:
        self.left = True
        return ""

    def _ending(self) -> str:
        session, winner = self.session, self.session.winner()
        who = "The game is a draw" if winner is None else f"{self._side(winner)} wins"
        if winner is not None:
            who += ": well played" if winner == self.human else ""
        if session.resigned is not None:
            return f"{who} by resignation ({session.result()})."
        if session.has_score:
            return f"{who} ({session.result()}). {self._count()}. {TROMP_TAYLOR}"
        return f"{who}."


def converse(dialogue: Dialogue, read: Callable[[str], str], write: Callable[[str], None]) -> None:
    """Play to the end, or until the person quits, ends the input (EOFError) or presses Ctrl-C."""
    try:
        write(dialogue.greeting())
        while not dialogue.over:
            text = dialogue.answer(read(dialogue.prompt))
            if text:
                write(text)
    except (EOFError, KeyboardInterrupt):
        write("")


def record(dialogue: Dialogue, when: datetime) -> tuple[str, str]:
    """(file ending, text) of the game: SGF for Go, a few plain lines for other games."""
    session, day = dialogue.session, when.strftime("%Y-%m-%d")
    result = session.result() if session.over else ""
    names = ["you", "you"]
    names[1 - dialogue.human] = dialogue.bot.name
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


def save(dialogue: Dialogue, folder: Path) -> Path | None:
    """Write the game to a new file in `folder`; None if no move was played."""
    if not dialogue.session.moves:
        return None
    now = datetime.now()
    ending, text = record(dialogue, now)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{now:%Y%m%d-%H%M%S}-{dialogue.session.game.name}"
    for count in range(1, 1000):
        path = folder / f"{stem}{f'-{count}' if count > 1 else ''}{ending}"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise UserError(f"{folder}: a thousand games of this second are there already")


def _read(prompt: str) -> str:
    return input(prompt)


def play(
    opponent: str | None = None,
    game: str | None = None,
    color: str = "black",
    visits: int | None = None,
    komi: float | None = None,
    seed: int | None = None,
    folder: Path = Path("games"),
    seconds: float | None = None,
    root: Path = Path("runs"),
) -> None:
    """Play a game on the terminal against `opponent` (see `ghostgo.bot`), and save it.

    Raises UserError for an unknown opponent, game or komi.
    """
    warn_of_compiling()
    bot = make_bot(opponent, game, visits, seed, root, seconds)
    rules = {} if komi is None else {"komi": komi}
    dialogue = Dialogue(Session(bot.game, rules), bot, 0 if color == "black" else 1)
    try:
        converse(dialogue, _read, print)
    finally:
        path = save(dialogue, folder)
        if path:
            print(f"saved: {path}")
