"""A game against a bot, line by line, in any terminal.

`Dialogue` turns a typed line into the text that answers it and does no input or output; `converse`
connects it to a way to read and a way to write; `play` is the verb.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ghostgo.board import render
from ghostgo.bot import PLAY, Analysis, Bot, SearchBot
from ghostgo.duel import Duel, Opponent
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import is_go
from ghostgo.human import dialled_bot
from ghostgo.level import level_bot
from ghostgo.opponents import default_opponent, strange_board, warn_of_compiling
from ghostgo.saved import Keeper, SavedGame, newest_unfinished, read_saved
from ghostgo.session import TROMP_TAYLOR, Session

HINTS = 5
HELP = """\
  {move}  play there{pass_}
  undo     take your last move back
  hint     the bot's best moves here: visits and your chance to win
  winrate  your chance to win, as the bot sees it{points}
  board    show the board again
  resign   give up
  quit     save the game and leave"""
POINTS = """
  score    the score as the board stands
  estimate how the bot expects it to end"""
MARK = (
    "`dead D5` marks a chain dead or alive again, `dead` those that the bot takes for dead, `done` "
    "leaves it at that, `undo` takes moves back."
)
COUNTING = ("", "help", "undo", "score", "board", "done", "quit")
"""What can be typed when dead stones are marked, `dead` apart."""
REVIEW = "`undo` takes moves back to go on from there, `quit` leaves."
REVIEWING = ("", "help", "undo", "score", "board", "quit")
"""What can be typed at a game that was over when it was loaded."""
SHORT = {"p": "pass", "u": "undo", "h": "hint", "w": "winrate", "s": "score", "b": "board"}
SHORT |= {"e": "estimate", "d": "dead"}
SHORT |= {"q": "quit", "?": "help", "exit": "quit"}  # to resign asks for the whole word


class Dialogue(Duel):
    """A person's game against a bot: what they type, and what they see."""

    def __init__(self, session: Session, bot: Bot, human: int) -> None:
        super().__init__(session, bot, human)
        self.left = False
        """Whether the person has quit."""
        self.agreed = False
        """Whether the person has said which stones are dead."""
        self._was_over = session.over
        """Whether the game is as it was loaded, at its end."""

    @property
    def over(self) -> bool:
        """Whether there is nothing more to ask the person."""
        return self.left or (self.session.over and not self.marking and not self.reviewing)

    @property
    def reviewing(self) -> bool:
        """Whether the person looks at a game that was over when it was loaded."""
        return self._was_over and self.session.over and not self.agreed

    @property
    def marking(self) -> bool:
        """Whether the game has been counted and dead stones can still be marked."""
        session = self.session
        return session.counting and not self.agreed and bool(session.stones().any())

    @property
    def prompt(self) -> str:
        """What stands before the person's line."""
        if self.marking:
            return "dead, done or undo > "
        if self.reviewing:
            return "undo or quit > "
        number = len(self.session.moves) + 1
        return f"move {number}, {self.side(self.human)} (you) > "

    def greeting(self) -> str:
        """The first words, the board, and the bot's move if it has the first one."""
        you, other = (
            name if name == letter else f"{name} ({letter})"
            for name, letter in ((self.side(i), "XO"[i]) for i in (self.human, 1 - self.human))
        )
        words = [
            f"{self.session.game.name}: you are {you}, {self.bot.name} is {other}.",
            self.rules(),
            f"{self.side(self.session.to_play)} begins; `help` lists what you can type.",
        ]
        said = " ".join(filter(None, words)) + "\n" + self._turn()
        return f"{said}\n{REVIEW}" if self.reviewing and not self.marking else said

    def _turn(self) -> str:
        """Let the bot move if it is its turn; the board, and the result if the game is over."""
        session, said = self.session, ""
        if self.bot_to_move:
            # A person's move is on disk before the bot thinks, however long. If that fails, the one
            # after its answer does as well, and says so.
            with contextlib.suppress(UserError):
                self.keep()
            player = session.to_play
            action = self.bot.choose(session.states)
            session.play(action)
            said = self.said(player, action)
        must = "You have no other move than to pass: `pass`." if self.must_pass else ""
        parts = [render(session), said, must, self._ending() if session.over else ""]
        return "\n".join(part for part in parts if part)

    def answer(self, line: str) -> str:
        """Do what the person typed; returns what to show, without a newline at the end."""
        word, *rest = line.strip().lower().split() or [""]
        if not rest or self.marking:  # `d 5` is a point
            word = SHORT.get(word, word)
        if word == "dead":
            return self._dead("".join(rest))
        word += "".join(rest)
        commands: dict[str, Callable[[], str]] = {
            "": lambda: "",
            "help": self._help,
            "undo": self._undo,
            "hint": self._hint,
            "winrate": self._win_rate,
            "score": self._score,
            "estimate": self._estimate,
            "done": self._done,
            "board": lambda: render(self.session),
            "resign": self._resign,
            "quit": self._quit,
        }
        if self.marking and word not in COUNTING:
            return f"the game is over; {MARK}"
        if self.reviewing and not self.marking and word not in REVIEWING:
            return f"the game is over; {REVIEW}"
        if word in commands:
            return commands[word]()
        try:
            self.session.play(self.session.game.parse_action(word))
        except ValueError as error:
            return f"{error}; `help` lists what you can type"
        return self._turn()

    def _help(self) -> str:
        game = self.session.game
        middle = game.points // 2 if game.actions >= game.points else game.actions // 2
        when = "there is nothing left to gain" if is_go(game) else "you have no other move"
        pass_ = f"; pass  when {when}" if self.can_pass else ""
        points = POINTS if self.session.has_score else ""
        return HELP.format(move=self.name(middle).ljust(7), pass_=pass_, points=points)

    def _undo(self) -> str:
        try:
            back = self.take_back()
        except UserError as error:
            return str(error)
        self._was_over = False
        said = f"Taken back: {', '.join(map(self.name, back)) or 'the resignation'}."
        # A side may resign when it is the other's turn: then the bot moves on.
        return f"{said}\n{self._turn()}" if self.bot_to_move else f"{render(self.session)}\n{said}"

    def _opinion(self) -> Analysis | None:
        return self.bot.analyse(self.session.states)

    def _hint(self) -> str:
        opinion = self._opinion()
        if opinion is None:
            return f"{self.bot.name} has no opinion"
        lines = [
            f"  {self.name(move.action):<5}{move.visits:>7} visits, you win {move.win_rate:>4.0%}"
            for move in opinion.candidates[:HINTS]
        ]
        if len(opinion.line) > 1:
            lines.append("  expected: " + " ".join(map(self.name, opinion.line)))
        return "\n".join(lines) or f"  {self.name(opinion.action)}"

    def _win_rate(self) -> str:
        opinion = self._opinion()
        if opinion is None:
            return f"{self.bot.name} has no opinion"
        return f"{self.bot.name} gives you {opinion.win_rate:.0%}"

    def _score(self) -> str:
        try:
            count = self.count()
        except UserError as error:
            return str(error)
        rule = f" {TROMP_TAYLOR}" if is_go(self.session.game) else ""
        return f"As the board stands: {count}.{rule}"

    def _estimate(self) -> str:
        try:
            return f"{self.bot.name}: {self.estimate()}."
        except UserError as error:
            return str(error)

    def _dead(self, name: str) -> str:
        """Mark a chain, or without a name what the bot takes for dead; or take the mark away."""
        session = self.session
        try:
            if name:
                session.mark_dead(session.game.parse_action(name))
            elif not session.counting:
                raise UserError("dead stones are marked when a game of Go is over")
            elif session.dead:
                session.dead = frozenset()
            else:
                session.dead = self.suggest_dead()
                if not session.dead:
                    raise UserError(f"{self.bot.name} takes no stone for dead")
        except UserError as error:
            return str(error)
        return self._ending()

    def _done(self) -> str:
        if not self.marking:
            return "done is for after the end, when dead stones are marked"
        self.agreed = True
        return self._ending()

    def _resign(self) -> str:
        self.session.resign(self.human)
        return self._ending()

    def _quit(self) -> str:
        self.left = True
        return ""

    def _ending(self) -> str:
        said = " ".join(filter(None, (self.verdict(), self.reckoning())))
        if not self.marking:
            return said
        found = sorted(self.suggest_dead() - self.session.dead)
        takes = f"{self.bot.name} takes {', '.join(map(self.name, found))} for dead. "
        return f"{said}\n{takes if found else ''}{MARK}"


def converse(dialogue: Dialogue, read: Callable[[str], str], write: Callable[[str], None]) -> None:
    """Play to the end, or until the person quits, ends the input (EOFError) or presses Ctrl-C."""
    try:
        write(dialogue.greeting())
        _keep(dialogue, write)
        while not dialogue.over:
            text = dialogue.answer(read(dialogue.prompt))
            if text:
                write(text)
            _keep(dialogue, write)
    except (EOFError, KeyboardInterrupt):
        write("")


def _keep(dialogue: Dialogue, write: Callable[[str], None]) -> None:
    """Keep the game; it goes on if that fails."""
    try:
        dialogue.keep()
    except UserError as error:
        write(str(error))


def _read(prompt: str) -> str:
    if sys.stdin is None:  # closed before the process began
        raise EOFError
    return input(prompt)


def has_screen() -> bool:
    """Whether a person sits at a terminal that can draw: no pipe, no file, not TERM=dumb."""
    # Textual draws on standard error.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return (
        all(stream and stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"
    )


def play(
    opponent: str | None = None,
    game: str | None = None,
    color: str | None = None,
    visits: int | None = None,
    komi: float | None = None,
    seed: int | None = None,
    folder: Path = Path("games"),
    seconds: float | None = None,
    root: Path = Path("runs"),
    plain: bool = False,
    score_weight: float | None = None,
    symmetries: int | None = None,
    human: float | None = None,
    human_prior: str | None = None,
    rank: str | None = None,
    load: Path | None = None,
    resume: bool = False,
    learn: bool | None = None,
    reuse: bool | None = None,
    level: str | None = None,
    variety: bool | None = None,
) -> None:
    """Play a game on the terminal against `opponent` (see `ghostgo.opponents`); it is saved as it goes.

    On the full screen, or line by line with `plain` or without a terminal. It begins where the game
    in the file `load` stands, whose file is left alone, or with `resume` goes on with the newest
    unfinished one in `folder`, against whom it was begun as far as nothing else is said. With `learn`
    the bot takes a lesson from a game that was finished (see `ghostgo.learning`). A `level` names the
    bot instead (`ghostgo.level`). Raises UserError for an unknown opponent, game or komi, a file that
    cannot be played on, and for a game without a board that can be drawn.
    """
    path = newest_unfinished(folder, game) if resume else load
    saved = begun(path, game, komi) if path else None
    warn_of_compiling()
    name = saved.game if saved else game
    asked = Opponent(
        opponent, visits, seconds, human, human_prior, rank, level, learn, symmetries, score_weight,
        reuse, variety,
    )  # fmt: skip
    if resume and saved and saved.opponent:
        asked = _against_the_same(asked, saved.opponent, path)
    if asked.name is None and asked.level is None:
        asked = replace(asked, name=default_opponent(name, root, asked.visits))
    bot = _made(asked, name, seed, root)
    if "own_stones" not in bot.game.plane_names:
        raise UserError(f"{bot.game.name} has no board that can be drawn here")
    session = Session(bot.game, {} if komi is None else {"komi": komi})
    if saved:
        session = _again(saved, path, bot)
    side = {"black": 0, "white": 1, None: (saved.human if saved else None) or 0}[color]
    dialogue = Dialogue(session, bot, side)
    dialogue.opponent = asked
    dialogue.warning = strange_board(bot.name, bot.game)
    date = saved.date if saved and resume else ""
    _sit_down(dialogue, Keeper(dialogue, folder, path if resume else None, date), plain)


def _made(asked: Opponent, game: str | None, seed: int | None, root: Path) -> Bot:
    """The bot that was asked for."""
    if asked.level:
        return level_bot(asked.level, game, seed)
    search = replace(PLAY, symmetries=asked.symmetries or 1, score_weight=asked.score_weight or 0.0)
    return dialled_bot(
        asked.name, game, asked.visits, seed, root, asked.seconds, search, asked.human or 0.0,
        asked.prior, asked.rank, bool(asked.learn), asked.reuse is not False,
        asked.variety is not False,
    )  # fmt: skip


def _against_the_same(asked: Opponent, saved: Opponent, path: Path | None) -> Opponent:
    """`asked`, and where it says nothing, whom the game in `path` was begun against."""
    if saved.level and asked != Opponent() and not (asked.name or asked.level):
        raise UserError(
            f"{path}: is against --level {saved.level}, which says how hard as well; "
            "name RUN or another --level to change who plays"
        )
    return asked.completed(saved)


def _sit_down(dialogue: Dialogue, keeper: Keeper, plain: bool) -> None:
    """Play on the screen or by lines, keep the game, and let the bot learn from it if it may."""
    session, bot = dialogue.session, dialogue.bot
    dialogue.keep = keeper.write
    ended, before = True, (list(session.moves), session.resigned)
    try:
        if plain or not has_screen():
            if dialogue.warning:
                print(dialogue.warning, file=sys.stderr, flush=True)
            if isinstance(sys.stdin, io.TextIOWrapper):  # what is no text is no move, and no fault
                sys.stdin.reconfigure(errors="backslashreplace")
            converse(dialogue, _read, print)
        else:
            from ghostgo.screen import show

            ended = show(dialogue)
    finally:
        kept = keeper.write()
        if kept:
            print(f"saved: {kept}", flush=True)
    played = before != (session.moves, session.resigned)
    if kept and played and isinstance(bot, SearchBot) and session.over and ended:
        _learn(bot, session)
    if not ended:  # the interpreter would wait for the search, or break down under it
        os._exit(0)


def _learn(bot: SearchBot, session: Session) -> None:
    """Let the bot take its lesson, and say what came of it."""
    if bot.student is None:
        return
    print(f"{bot.name} learns from the game ...", flush=True)
    try:
        print(bot.learn(session), flush=True)
    except UserError as error:  # too short, or another process teaches it; the game itself is fine
        print(f"no lesson: {error}", flush=True)


def begun(path: Path, game: str | None, komi: float | None) -> SavedGame:
    """The game in a file that is to be played on. Raises UserError if `game` or `komi` are not its."""
    saved = read_saved(path)
    if game is not None and game != saved.game:
        raise UserError(f"{path}: is a game of {saved.game}, not {game}")
    if komi is not None:
        raise UserError(f"--komi goes with a new game; {path} has its own")
    return saved


def _again(saved: SavedGame, path: Path | None, bot: Bot) -> Session:
    """The saved game as the bot takes it up."""
    try:
        return saved.session(bot.game)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
