"""A scripted bot, and hands and eyes for tests of the full screen."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray
from textual.pilot import Pilot
from textual.widgets import Static

from ghostgo.board import point_of
from ghostgo.bot import Analysis, Bot, Candidate, Margins, Opinions
from ghostgo.duel import Duel
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.registry import get_game
from ghostgo.screen import PlayApp
from ghostgo.session import Session

GAMES = ["go5", "go9", "go19", "go4x7", "gomoku9", "hex11", "othello", "connect_four"]
GAMES += ["tic_tac_toe"]
SECONDS = 20.0


class FirstLegal:
    """Plays the moves it was given, then the first that is legal; waits for `go`, if there is one."""

    name = "first"

    def __init__(self, game: Game, moves: str = "", human: int = 0) -> None:
        self.game = game
        self.moves = [game.parse_action(move) for move in moves.split()]
        self.human = human
        self.opinion = True
        self.expected: NDArray[np.float32] | None = None
        self.lead: float | None = None
        self.asked = threading.Event()
        self.go: threading.Event | None = None
        self.error: Exception | None = None

    def choose(self, states: States, seconds: float | None = None) -> int:
        self.asked.set()
        if self.go:
            self.go.wait(SECONDS)
        if self.error:
            raise self.error
        return self.moves.pop(0) if self.moves else int(self.game.legal_actions(states[0])[0])

    def analyse(self, states: States, seconds: float | None = None) -> Analysis | None:
        if not self.opinion:
            return None
        best, other = self.game.legal_actions(states[0])[:2].tolist()
        moves = (Candidate(best, 30, 0.75, 0.5, (best, other)), Candidate(other, 2, 0.5))
        return Analysis(best, 0.7, moves, (best, other))

    def ponder(
        self, states: States, endless: bool = False, seconds: float | None = None
    ) -> Opinions:
        """An opinion of the person's positions only: the bot's moves come from `choose`."""
        found = self.analyse(states)
        if found and states[0].to_play == self.human:
            yield lambda: found

    def ownership(self, states: States) -> NDArray[np.float32] | None:
        assert not states[0].done, "networks know positions in play alone"
        return self.expected

    def margins(self, states: States) -> Margins | None:
        return None if self.lead is None else Margins(np.full(len(states), self.lead), None)

    def bind(self, game: Game) -> Bot:
        return FirstLegal(game)


def make_app(game: str = "tic_tac_toe", moves: str = "", human: int = 0) -> PlayApp:
    bot = FirstLegal(get_game(game), moves, human)
    return PlayApp(Duel(Session(bot.game), bot, human))


def bot_of(app: PlayApp) -> FirstLegal:
    assert isinstance(app.duel.bot, FirstLegal)
    return app.duel.bot


def status(app: PlayApp) -> str:
    return str(app.query_one("#status", Static).content)


async def settle(app: PlayApp, pilot: Pilot[None]) -> None:
    """Wait until the bot has answered and everything is drawn."""
    end = time.monotonic() + SECONDS
    await pilot.pause()
    while app.thinking:
        assert time.monotonic() < end, "the bot never answers"
        await pilot.pause(0.01)
    await pilot.pause()


Steps = Callable[[PlayApp, Pilot[None]], Awaitable[None]]


def on_screen(app: PlayApp, steps: Steps, size: tuple[int, int] = (80, 24)) -> None:
    """Run `steps` on the screen without a terminal; the bot's thread is ended in any case."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await settle(app, pilot)
            await steps(app, pilot)

    try:
        asyncio.run(run())
    finally:
        app.close()
    assert app.failure is None


async def press(app: PlayApp, pilot: Pilot[None], keys: str) -> None:
    for key in keys.split():
        await pilot.press(key)
        await settle(app, pilot)


async def click(app: PlayApp, pilot: Pilot[None], move: str) -> None:
    game = app.duel.session.game
    point = point_of(app.duel.session, game.parse_action(move))
    assert point is not None
    await pilot.click(app.board, offset=app.board.layout_now.character(point))
    await settle(app, pilot)


def played(app: PlayApp) -> list[str]:
    return [app.duel.name(action) for _, action in app.duel.session.moves]
