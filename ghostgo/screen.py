"""A game against a bot on the full screen: board, panel, keys and mouse.

The bot thinks in a thread (`ghostgo.thinker`); what it finds arrives as messages, so the screen
answers at any time. Everything about the game itself is in `ghostgo.duel`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Footer, Static

from ghostgo.board import action_at, point_of
from ghostgo.bot import Analysis
from ghostgo.duel import Duel
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.go import is_go
from ghostgo.screen_board import PALETTES, View
from ghostgo.screen_panel import Notes
from ghostgo.screen_widgets import THEMES, BoardFrame, BoardView, PanelView, Question
from ghostgo.thinker import Thinker, Thought

PANEL_WIDTH = 26
"""Columns kept for the panel where a larger board would leave fewer."""
ROWS_BELOW = 2
"""The status line and the keys."""
PATIENCE = 5.0
"""Seconds without a word from the bot after which the screen says what may be the matter."""
WARNING = 10.0
"""Seconds for which a word on the bot stays, if it is not clicked away."""
SECONDS_TO_END = 0.5
"""How long the bot's thread is waited for when the screen closes."""
KEYS = """\
arrows, Enter   move the cursor, play there; or click
p   pass
u   undo: take your last move back
h   hints: the best moves, your chance to win, the lines expected
s   score: the count and whose the empty points are, as it stands
    and what the bot's network expects of the score
o   owners: whose each point will be, as the bot's network expects
d   dead: after the end, the stones that the network takes for dead;
    Enter or a click marks others, or takes the mark away
t   theme: wood or dark
w   write the game to its file now, and say where
r   resign
q   save the game and leave"""


class Told(Message):
    """The bot has something to say."""

    def __init__(self, thought: Thought) -> None:
        super().__init__()
        self.thought = thought


class PlayApp(App[None]):
    """The full screen of one game."""

    TITLE = "ghostgo"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False  # a click that slips would mark text instead
    CSS = """
    #body { height: 1fr; }
    #status {
        height: 1; padding: 0 1; background: $panel;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    ToastRack { margin-bottom: 2; }  /* above the status line and the keys */
    #status.wrong { color: $error; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "play", "play", key_display="⏎"),
        Binding("p", "pass", "pass"),
        Binding("u", "undo", "undo"),
        Binding("h", "hints", "hints"),
        Binding("s", "score", "score"),
        Binding("o", "forecast", show=False),  # the keys' line is full; ? lists these
        Binding("d", "dead", show=False),
        Binding("w", "write", show=False),
        Binding("t", "theme", "theme"),
        Binding("r", "resign", "resign"),
        Binding("q", "leave", "quit"),
        Binding("ctrl+c,ctrl+q", "leave", show=False, priority=True),
        Binding("question_mark", "keys", "keys", key_display="?"),
        Binding("up", "move(-1, 0)", show=False),
        Binding("down", "move(1, 0)", show=False),
        Binding("left", "move(0, -1)", show=False),
        Binding("right", "move(0, 1)", show=False),
    ]

    def __init__(self, duel: Duel) -> None:
        super().__init__()
        self.duel = duel
        self.notes = Notes()
        self.failure: Exception | None = None
        """What broke the bot's search off; whoever ran the screen raises it again."""
        self.board = BoardView(duel)
        self._frame = BoardFrame(self.board)
        self._panel = PanelView(duel, self.notes)
        self._status = Static(id="status", markup=False)
        self._thinker = Thinker(duel.bot, self._hear)
        self._asked = 0
        """The number of the question that is being thought about; 0: none is."""
        self._expected: tuple[tuple[int, int], NDArray[np.float32] | None] = (0, -1), None
        """A position, by its hash and number of moves, and what the network expects of its points."""
        self._estimated: tuple[tuple[int, int], str] = (0, -1), ""
        """A position, as above, and what is said of its score."""
        game = duel.session.game
        self._cursor = game.rows // 2 * game.cols + game.cols // 2

    def compose(self) -> ComposeResult:
        """The board and the panel, the status line, the keys."""
        with Horizontal(id="body"):
            yield self._frame
            yield self._panel
        yield self._status
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Set the theme and begin."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        if not self.is_headless:
            self._leave_on_signals()
        self._say("Arrows and Enter, or a click, play a move; ? lists the keys.")
        if self.duel.warning:
            self.notify(self.duel.warning, severity="warning", timeout=WARNING, markup=False)
        self._go_on()

    def _leave_on_signals(self) -> None:
        """A closed window or a `kill` is a way to leave as well, and the game is saved."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(AttributeError, NotImplementedError):  # Windows has neither
            for number in (signal.SIGHUP, signal.SIGTERM):
                loop.add_signal_handler(number, self.action_leave)

    def on_resize(self, event: events.Resize) -> None:
        """Draw the board as large as fits."""
        width, height = event.size.width - PANEL_WIDTH, event.size.height - ROWS_BELOW
        self.board.fit_into(width, height)
        layout = self.board.layout_now
        if layout.width > event.size.width or layout.height > height:
            needed = f"{layout.width + PANEL_WIDTH}x{layout.height + ROWS_BELOW}"
            self._say(f"this board needs a window of {needed} characters", wrong=True)
        self.call_after_refresh(self._show_cursor)

    def _show_cursor(self) -> None:
        """Scroll a board that is larger than the window to the cursor."""
        self._frame.show_point(self._pointed())

    @property
    def thinking(self) -> bool:
        """Whether the bot still owes an answer."""
        return self._asked > 0

    def close(self) -> bool:
        """End the bot's thread; False if it is in a search that cannot be stopped."""
        return self._thinker.close(SECONDS_TO_END)

    # ---- what is shown

    def _say(self, text: str, wrong: bool = False) -> None:
        self._status.update(text)
        self._status.set_class(wrong, "wrong")

    def _show(self) -> None:
        """Draw board and panel as things stand."""
        session = self.duel.session
        self.notes.estimate = self._estimate() if self.notes.counted and not session.over else ""
        shown = self._panel.arranged()[1]  # a number on the board is one that the panel explains
        hints = self.notes.hints.candidates[:shown] if self.notes.hints else ()
        points = [point_of(session, move.action) for move in hints]
        shows_owners = session.has_score and (self.notes.counted or session.over)
        self.board.view = View(
            cursor=None if session.over and not session.counting else self._pointed(),
            hints={number: point for number, point in enumerate(points, 1) if point is not None},
            owners=session.owners() if shows_owners and session.resigned is None else None,
            dead=session.dead,
            forecast=self._forecast() if self.notes.forecast and not session.over else None,
        )
        self.board.refresh()
        self._panel.refresh()

    def _forecast(self) -> NDArray[np.float32] | None:
        """Whose the points will be, asked once a position."""
        session = self.duel.session
        position = int(session.state.hash), len(session.moves)
        asked, found = self._expected
        if asked != position:
            found = self.duel.bot.ownership(session.states)
            self._expected = position, found
        return found

    def _estimate(self) -> str:
        """How the game is expected to end, asked once a position; empty if the bot has no idea."""
        session = self.duel.session
        position = int(session.state.hash), len(session.moves)
        asked, said = self._estimated
        if asked != position:
            said = ""
            with contextlib.suppress(UserError):  # a bot without a network
                said = f"{self.duel.bot.name}: {self.duel.estimate()}."
            self._estimated = position, said
        return said

    def _pointed(self) -> int:
        """The point under the cursor: where stones fall, the one where it would land."""
        session = self.duel.session
        if session.game.actions != session.game.cols:
            return self._cursor
        return point_of(session, self._cursor % session.game.cols) or 0

    def on_panel_view_resized(self) -> None:
        """Number the hints that fit now."""
        self._show()

    # ---- the bot

    def _hear(self, thought: Thought) -> None:
        """Take a thought over from the bot's thread."""
        with contextlib.suppress(RuntimeError):  # the screen has closed in the meantime
            self.post_message(Told(thought))

    def _ask(self, move: bool) -> None:
        self._asked = self._thinker.ask(self.duel.session.states, move)
        self.notes.thinking = f"{self.duel.bot.name} is thinking ..."
        self.set_timer(PATIENCE, partial(self._explain, self._asked))

    def _explain(self, number: int) -> None:
        """Say what may take so long, if nothing has come yet."""
        if number == self._asked and self.notes.thinking.endswith("..."):
            self.notes.thinking += " The first search on a board compiles its kernels: a minute."
            self._panel.refresh()

    def _drop(self) -> None:
        """Let the bot think no further, and forget its hints."""
        self._thinker.drop()
        self._asked = 0
        self.notes.thinking = ""
        self.notes.hints = None

    def _go_on(self) -> None:
        """After a change of the position: let the bot move if it is its turn."""
        self._drop()
        session = self.duel.session
        if self.duel.bot_to_move:
            self._ask(move=True)
        elif session.over:
            self._say(f"{self.duel.verdict()} q saves it and leaves, u takes back.")
            if session.counting and session.stones().any():
                self._say(f"{self.duel.verdict()} d or a click marks dead stones, q leaves.")
        try:
            self.duel.keep()
        except UserError as error:
            self._say(f"{error}", wrong=True)
        self._show()

    def on_told(self, message: Told) -> None:
        """Show what the bot has found; play its move once it is chosen."""
        thought = message.thought
        if thought.number != self._asked:
            return
        if thought.error is not None:
            self.failure = thought.error
            self.exit()
            return
        if thought.found:
            self._note(thought.found)
        if thought.finished:
            self.notes.thinking, self._asked = "", 0
            if thought.action is not None:
                self._play_bots(thought.action)
                return
            if thought.found is None:
                self._say(f"{self.duel.bot.name} has no opinion", wrong=True)
        self._show()

    def _note(self, found: Analysis) -> None:
        session, name = self.duel.session, self.duel.bot.name
        visits = sum(move.visits for move in found.candidates)
        self.notes.thinking = f"{name} is thinking: {visits} visits"
        mine = session.to_play == self.duel.human
        self.notes.rates[len(session.moves)] = found.win_rate if mine else 1 - found.win_rate
        if mine:
            self.notes.hints = found
        if len(session.moves) not in self.notes.leads:
            lead = self.duel.lead()
            if lead is not None:
                person = lead if self.duel.human == 0 else -lead
                self.notes.leads[len(session.moves)] = person

    def _play_bots(self, action: int) -> None:
        session = self.duel.session
        player = session.to_play
        session.play(action)
        said = self.duel.said(player, action)
        if self.duel.must_pass:
            said += " You have no other move than to pass: p."
        self._say(said)
        self._go_on()

    # ---- the person

    def _play(self, action: int) -> None:
        """The person's move, or a word on why it cannot be played."""
        session = self.duel.session
        try:
            if self.duel.bot_to_move:
                raise UserError(f"it is {self.duel.side(session.to_play)}'s turn")
            if session.over:
                raise UserError("the game is over; u takes moves back")
            session.play(action)
        except UserError as error:
            self._say(f"Illegal: {error}.", wrong=True)
            return
        self._say(f"You: {self.duel.name(action)}.")
        self._go_on()

    def on_board_view_clicked(self, message: BoardView.Clicked) -> None:
        """Play where the mouse was clicked."""
        self._cursor = message.point
        self._play_or_mark(action_at(self.duel.session.game, message.point))
        self._show()

    def _play_or_mark(self, action: int) -> None:
        """A move there, or, once a game of Go has been counted, a mark on a dead chain."""
        if not self.duel.session.counting:
            self._play(action)
            return
        try:
            self.duel.session.mark_dead(action)
        except UserError as error:
            self._say(f"{error}; u takes moves back.", wrong=True)
            return
        self._go_on()

    def action_move(self, down: int, right: int) -> None:
        """Move the cursor, and not off the board."""
        game = self.duel.session.game
        row, col = divmod(self._cursor, game.cols)
        row = min(max(row + down, 0), game.rows - 1)
        self._cursor = row * game.cols + min(max(col + right, 0), game.cols - 1)
        self._show()
        self._show_cursor()

    def action_play(self) -> None:
        """Play at the cursor."""
        self._play_or_mark(action_at(self.duel.session.game, self._cursor))

    def action_dead(self) -> None:
        """Mark what the network takes for dead, or take all marks away."""
        session = self.duel.session
        if not session.counting:
            self._say("dead stones are marked when a game of Go is over", wrong=True)
            return
        if not session.dead:
            session.dead = self.duel.suggest_dead()
            if not session.dead:
                self._say(f"{self.duel.bot.name} takes no stone for dead", wrong=True)
                return
        else:
            session.dead = frozenset()
        self._go_on()

    def action_pass(self) -> None:
        """Pass, in games where one can."""
        try:
            action = self.duel.session.game.parse_action("pass")
        except UserError as error:
            self._say(f"Illegal: {error}.", wrong=True)
            return
        self._play(action)

    def action_undo(self) -> None:
        """Take the person's last move back, and the answer to it."""
        try:
            back = self.duel.take_back()
        except UserError as error:
            self._say(f"{error}", wrong=True)
            return
        played = len(self.duel.session.moves)
        for known in (self.notes.rates, self.notes.leads):
            for ply in [ply for ply in known if ply > played]:
                del known[ply]
        names = ", ".join(map(self.duel.name, back)) or "the resignation"
        self._say(f"Taken back: {names}.")
        self._go_on()

    def action_hints(self) -> None:
        """Show the best moves of the person's position, or hide them."""
        if self.duel.bot_to_move:
            self._say("hints are for your own moves", wrong=True)
        elif self.notes.hints or self.thinking or self.duel.session.over:
            self._drop()
        else:
            self._ask(move=False)
        self._show()

    def action_score(self) -> None:
        """Show the count as the board stands, or hide it."""
        if not self.duel.session.has_score:
            self._say(f"{self.duel.session.game.name} has no points; the end decides", wrong=True)
            return
        self.notes.counted = not self.notes.counted
        if self.notes.counted:
            dead = ", dead stones and all" if is_go(self.duel.session.game) else ""
            self._say(f"Counted as the board stands{dead}; s hides it.")
        self._show()

    def action_forecast(self) -> None:
        """Show whose the points will be, or hide it."""
        if self.duel.session.over:
            self._say("the game is over", wrong=True)
            return
        if not self.notes.forecast and self._forecast() is None:
            self._say(f"{self.duel.bot.name} has no idea whose the points will be", wrong=True)
            return
        self.notes.forecast = not self.notes.forecast
        if self.notes.forecast:
            self._say("Whose each point will be, as the bot's network expects; o hides it.")
        self._show()

    def action_write(self) -> None:
        """Write the game to its file, and say where that is."""
        try:
            path = self.duel.keep()
        except UserError as error:
            self._say(f"{error}", wrong=True)
            return
        self._say(f"saved: {path}" if path else "nothing has been played that could be saved")

    def action_theme(self) -> None:
        """The next theme."""
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.board.palette = self._panel.palette = PALETTES[self.theme]
        self._show()

    def action_resign(self) -> None:
        """Ask whether the person means it, then end the game."""
        if self.duel.session.over:
            self._say("the game is over", wrong=True)
            return
        self.push_screen(Question("Resign this game?", asks=True), self._resign)

    def _resign(self, meant: bool | None) -> None:
        if meant and not self.duel.session.over:
            self.duel.session.resign(self.duel.human)
            self._go_on()

    def action_keys(self) -> None:
        """List the keys."""
        self.push_screen(Question(KEYS, asks=False))

    def action_leave(self) -> None:
        """Leave the screen at once; whoever ran it saves the game."""
        self._drop()
        self.exit()


def show(duel: Duel) -> bool:
    """Play `duel` on the full screen until the person leaves.

    False if the bot is still in a search that cannot be stopped: the process must then be ended
    without waiting for it. Raises what broke the bot's search off, if anything did, and SystemExit
    after a fault of the screen itself, which textual has printed by then.
    """
    app = PlayApp(duel)
    try:
        app.run()
    finally:
        ended = app.close()
    if app.failure is not None:
        raise app.failure
    if app.return_code:
        raise SystemExit(app.return_code)
    return ended
