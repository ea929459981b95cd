"""Screens as they were; and a real game in a terminal multiplexer."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from screen_suite import SECONDS
from screens import GOLDEN, SCREENS, picture
from sgfmill import sgf

TMUX = shutil.which("tmux")


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_is_as_it_was(name: str) -> None:
    """A change that is meant is written by `python tests/screens.py`."""
    assert picture(name) == json.loads(GOLDEN.read_text())[name]


def test_the_screens_show_what_they_are_called_after() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert set(golden) == set(SCREENS)
    said = {name: "\n".join([*g["board"], *g["panel"], g["status"]]) for name, g in golden.items()}
    assert "B+3.4 expected" in said["hints"] and "visits  you win" in said["hints"]
    assert "×" in said["dead"] and "marked dead" in said["dead"]
    wood, dark = (Counter(golden[name]["grounds"]) for name in ("go9 wood", "go19 dark"))
    assert wood.most_common(1)[0][0] not in dark, "the themes have boards of other colours"
    assert all(len(g["panel"]) <= 22 and max(map(len, g["board"])) <= 54 for g in golden.values())


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_a_game_in_tmux(tmp_path: Path) -> None:
    server = [str(TMUX), "-S", str(tmp_path / "socket"), "-f", "/dev/null"]

    def tmux(*words: str) -> str:
        return subprocess.run(
            [*server, *words], check=True, capture_output=True, text=True, timeout=SECONDS
        ).stdout

    def wait_for(text: str) -> None:
        end, seen = time.monotonic() + 6 * SECONDS, ""
        while text not in seen:
            assert time.monotonic() < end, f"{text!r} does not come:\n{seen}"
            time.sleep(0.1)
            seen = tmux("capture-pane", "-p")

    words = ["play", "mcts:50", "--game", "go5", "--seed", "1", "--save", str(tmp_path / "games")]
    command = shlex.join([sys.executable, "-m", "ghostgo", *words])
    tmux("new-session", "-d", "-x", "80", "-y", "24", f"{command}; echo left; sleep 100")
    try:
        wait_for("your turn")
        tmux("send-keys", "Enter")
        wait_for("White plays")
        tmux("send-keys", "w")
        wait_for("saved: ")
        tmux("send-keys", "r")
        wait_for("Resign this game?")
        tmux("send-keys", "y")
        wait_for("White wins by resignation")
        tmux("send-keys", "q")
        wait_for("left")
    finally:
        subprocess.run([*server, "kill-server"], check=False, timeout=SECONDS)
    (path,) = (tmp_path / "games").iterdir()
    game = sgf.Sgf_game.from_bytes(path.read_bytes())
    moves = [node.get_move() for node in game.get_main_sequence()[1:]]
    assert game.get_winner() == "w" and moves[0] == ("b", (2, 2)) and len(moves) == 2
    assert '"name": "mcts:50"' in game.get_root().get_raw("GHB").decode()
