"""A bot that thinks in a thread of its own, so that whoever asks it need not wait.

One search at a time: a new question, or `drop`, ends the search before as soon as it can be stopped.
A network's search stops at the next network call, plain search (`mcts:N`) at the next slice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from ghostgo.bot import Analysis, Bot
from ghostgo.engine.games.game import States

INTERVAL = 0.15
"""Seconds between two reports of a search that goes on."""


@dataclass(frozen=True)
class Thought:
    """What the bot has to say about a question."""

    number: int
    """The question's number."""
    found: Analysis | None = None
    """Its opinion so far; None if it has none."""
    action: int | None = None
    """The move it plays, once it is chosen, if a move was asked for."""
    finished: bool = False
    error: Exception | None = None
    """What broke the search off."""


@dataclass(frozen=True)
class _Question:
    number: int
    states: States
    move: bool


class Thinker:
    """Asks `bot`, and hands each thought to `tell`, which is called in the bot's thread."""

    def __init__(self, bot: Bot, tell: Callable[[Thought], None]) -> None:
        self._bot = bot
        self._tell = tell
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._number = 0
        # A daemon, since a search that cannot be stopped must not hold up the end of the process.
        self._thread = Thread(target=self._work, name="bot", daemon=True)
        self._thread.start()

    def ask(self, states: States, move: bool) -> int:
        """Think about the unfinished position `states`, (1,); with `move`, choose a move as well.

        Returns the question's number. Whatever was asked before is dropped.
        """
        self._number += 1
        self._questions.put(_Question(self._number, states.copy(), move))
        return self._number

    def drop(self) -> None:
        """Forget the question: nothing more is told about it."""
        self._number += 1

    def close(self, seconds: float) -> bool:
        """End the thread; whether it has ended within `seconds`."""
        self.drop()
        self._questions.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                self._think(question)
            except Exception as error:  # noqa: BLE001 - whoever asked shall know
                self._report(Thought(question.number, error=error, finished=True))

    def _report(self, thought: Thought) -> None:
        if thought.number == self._number:
            self._tell(thought)

    def _think(self, question: _Question) -> None:
        read: Callable[[], Analysis] | None = None
        last = time.monotonic()
        for read in self._bot.ponder(question.states):
            if question.number != self._number:
                return
            if time.monotonic() - last >= INTERVAL:
                last = time.monotonic()
                self._report(Thought(question.number, read()))
        if question.number != self._number:
            return
        found, action = read() if read else None, None
        if question.move:
            action = found.action if found else self._bot.choose(question.states)
        self._report(Thought(question.number, found, action, finished=True))
