"""The full screen as a process, on a terminal and without one."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from screen_suite import SECONDS
from sgfmill import sgf

from ghostgo import screen, terminal
from ghostgo.duel import Duel
from ghostgo.engine.games.registry import get_game
from ghostgo.screen_layout import fit

COMPILING = 9 * SECONDS
"""Seconds that a first search may take on a machine that has compiled nothing."""


@pytest.mark.parametrize("why", ["stdin", "stdout", "stderr", "TERM", "--plain", ""])
def test_without_a_terminal_the_game_is_line_by_line(
    why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Duel] = []

    def show(duel: Duel) -> bool:
        shown.append(duel)
        return True

    monkeypatch.setattr(screen, "show", show)
    monkeypatch.setattr(terminal, "_read", lambda prompt: "quit")
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda name=name: name != why)
    monkeypatch.setenv("TERM", "dumb" if why == "TERM" else "xterm")
    terminal.play("random", "go5", folder=tmp_path, plain=why == "--plain")
    lines = "Black begins; `help` lists what you can type." in capsys.readouterr().out
    assert (lines, len(shown)) == ((True, 0) if why else (False, 1))


class Window:
    """A process on a terminal of 80x24 characters."""

    def __init__(self, command: list[str], folder: Path) -> None:
        pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        environment = {**os.environ, "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.written = b""

    def wait_for(self, text: str, seconds: float = SECONDS) -> None:
        """Read until `text` has come since the last call."""
        end, seen = time.monotonic() + seconds, b""
        while text.encode() not in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", seen):
            assert time.monotonic() < end, f"{text!r} does not come: {seen[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    piece = os.read(self.master, 1 << 16)
                except OSError:  # the other side is closed
                    piece = b""
                assert piece, f"it ended without {text!r}: {seen[-2000:]!r}"
                seen += piece
                self.written += piece

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        try:
            return self.process.wait(SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            os.close(self.master)


def test_a_game_on_a_terminal(ghostgo_command: list[str], tmp_path: Path) -> None:
    arguments = ["play", "mcts:20", "--game", "go5", "--seed", "1"]
    window = Window([*ghostgo_command, *arguments], tmp_path)
    window.wait_for("your turn")
    window.type(b"\r")
    window.wait_for("White plays")
    x, y = fit(get_game("go5"), 80 - screen.PANEL_WIDTH, 24 - screen.ROWS_BELOW).character(12)
    window.type(f"\x1b[<0;{x + 1};{y + 1}M\x1b[<0;{x + 1};{y + 1}m".encode())  # a click
    window.wait_for("Illegal: C3 is taken.")
    window.type(b"h")
    window.wait_for("you win")
    window.type(b"\x1b[A\r")
    window.wait_for("White plays")
    window.type(b"u")
    window.wait_for("Taken back: C4, ")
    window.type(b"r")
    window.wait_for("Resign this game?")
    window.type(b"y")
    window.wait_for("White wins by resignation (W+R).")
    window.type(b"q")
    window.wait_for("saved: ")
    assert window.end() == 0
    assert b"\x1b[?1049h" in window.written and b"\x1b[?1049l" in window.written
    (path,) = (tmp_path / "games").iterdir()
    game = sgf.Sgf_game.from_bytes(path.read_bytes())
    assert game.get_winner() == "w" and len(game.get_main_sequence()) == 3


def test_a_game_against_a_network_of_the_box(ghostgo_command: list[str], tmp_path: Path) -> None:
    words = ["play", "--run", "go9", "--game", "go9", "--visits", "8", "--root", str(tmp_path)]
    window = Window([*ghostgo_command, *words], tmp_path)
    window.wait_for("your turn", COMPILING)
    window.type(b"\x1b[A\r")  # one up from the centre
    window.wait_for("White plays", COMPILING)
    window.type(b"h")
    window.wait_for("visits  you win", COMPILING)
    window.type(b"q")
    window.wait_for("saved: ")
    assert window.end() == 0
    assert b"Traceback" not in window.written and b"trained on 9x9 alone" not in window.written
    (path,) = (tmp_path / "games").iterdir()
    game = sgf.Sgf_game.from_bytes(path.read_bytes())
    moves = [node.get_move() for node in game.get_main_sequence()[1:]]
    assert moves[0] == ("b", (5, 4)) and moves[1][0] == "w" and len(moves) == 2
    assert game.get_player_name("w") == "go9"
    assert '"visits": 8' in game.get_root().get_raw("GHB").decode()


@pytest.mark.parametrize("way", ["the key", "a hangup"])
def test_leaving_a_terminal_while_the_bot_thinks(
    way: str, ghostgo_command: list[str], tmp_path: Path
) -> None:
    arguments = ["play", "mcts:1000000", "--game", "go9", "--seed", "1"]
    window = Window([*ghostgo_command, *arguments], tmp_path)
    window.wait_for("your turn")
    window.type(b"\r")
    window.wait_for("thinking ...")
    start = time.monotonic()
    if way == "the key":
        window.type(b"q")
    else:
        window.process.send_signal(signal.SIGHUP)
    window.wait_for("saved: ")
    assert window.end() == 0 and time.monotonic() - start < 4
    assert b"\x1b[?1049l" in window.written, "the terminal is as it was"
    assert len(list((tmp_path / "games").iterdir())) == 1
