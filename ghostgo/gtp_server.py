"""`ghostgo gtp`: a GTP engine on the standard streams.

Standard output carries responses only: whatever a library prints, C code included, goes to standard
error.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from ghostgo.bot import PLAY
from ghostgo.gtp import Engine
from ghostgo.human import dialled_bot
from ghostgo.level import level_bot
from ghostgo.opponents import strange_board, warn_of_compiling

STDOUT, STDERR = 1, 2
"""File descriptors, as C code knows them."""


def converse(engine: Engine, lines: Iterable[bytes], out: IO[bytes]) -> None:
    """Answer `lines` on `out` until `quit`, the end of input, or nobody reads any more.

    A thread reads, so that a line that arrives during an analysis ends it. However it ends, a bot
    that learns takes its lesson from a game that is over, as at `quit`.
    """
    waiting: SimpleQueue[bytes | None] = SimpleQueue()

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal hung up; closed after `quit`
            for line in lines:
                waiting.put(line)
        waiting.put(None)

    def write(text: str) -> None:
        out.write(text.encode(errors="replace"))
        out.flush()

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        _answer_all(engine, waiting, write)
    engine.take_lesson()


def _answer_all(
    engine: Engine, waiting: SimpleQueue[bytes | None], write: Callable[[str], None]
) -> None:
    """Answer line by line until `quit` or None, the end of input."""
    told = set[str]()
    _warn(engine, told)
    line = waiting.get()
    while line is not None:
        response = engine.answer(line.decode("utf-8", errors="replace"))
        if response is not None:
            write(response)
        _warn(engine, told)
        if engine.quitting:
            return
        if engine.stream is None or response is None:
            line = waiting.get()
            continue
        try:
            for text in engine.stream(lambda: not waiting.empty()):
                write(f"{text}\n")
        except BrokenPipeError:
            raise
        except Exception:  # noqa: BLE001 - the connection must outlive a fault of ours
            traceback.print_exc(file=sys.stderr)
        if not engine.endless:
            write("\n")
        line = waiting.get()
        if engine.endless:
            write("\n")


def _warn(engine: Engine, told: set[str]) -> None:
    """Say once a board on standard error that the bot does not know it, if so."""
    game = engine.bot.game
    if game.name not in told:
        told.add(game.name)
        if warning := strange_board(engine.bot.name, game):
            print(warning, file=sys.stderr, flush=True)


@contextlib.contextmanager
def answers_only() -> Iterator[IO[bytes]]:
    """Standard output as it was, while what anybody else writes there goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(STDOUT), "wb") as out:
        with contextlib.suppress(OSError):  # standard error is closed: nowhere to send it
            os.dup2(STDERR, STDOUT)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield out
        finally:
            os.dup2(out.fileno(), STDOUT)


def serve(
    opponent: str | None = None,
    game: str | None = None,
    visits: int | None = None,
    seed: int | None = None,
    resign: float | None = None,
    ko: str = "positional",
    seconds: float | None = None,
    root: Path = Path("runs"),
    score_weight: float | None = None,
    symmetries: int | None = None,
    human: float | None = None,
    human_prior: str | None = None,
    rank: str | None = None,
    learn: bool | None = None,
    reuse: bool | None = None,
    level: str | None = None,
    variety: bool | None = None,
) -> None:
    """Serve the bot `opponent`, or that of a `level` (`ghostgo.level`), on the standard streams.

    Raises UserError for an unknown opponent or a game that is not Go.
    """
    with answers_only() as out:
        warn_of_compiling()
        if level is not None:
            bot = level_bot(level, game, seed)
        else:
            search = replace(PLAY, symmetries=symmetries or 1, score_weight=score_weight or 0.0)
            bot = dialled_bot(
                opponent, game, visits, seed, root, seconds, search, human or 0.0, human_prior,
                rank, bool(learn), reuse is not False, variety is not False,
            )  # fmt: skip
        engine = Engine(bot, resign, ko)
        if sys.stdin is None:  # closed before the process began: the end of input
            return
        # Unbuffered: a thread that is killed while it reads must not hold a buffer's lock.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as lines:
            converse(engine, lines, out)
