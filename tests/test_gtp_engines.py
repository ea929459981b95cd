"""GTP engines as players: those that hang, die, flood or cheat, and GNU Go."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from matches import play_all

from ghostgo.arena import gtp_client
from ghostgo.arena.gtp_client import (
    MOST_WAITING,
    EngineFailed,
    GtpEngine,
    GtpPlayer,
    find_program,
)
from ghostgo.arena.match import Match, PairTask
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import (
    Player,
    RandomPlayer,
    RolloutPlayer,
)
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game

ENGINE = """
import sys, time
how, moves = sys.argv[1], 0
for line in sys.stdin:
    words = line.split()
    if how == "chatter":
        while True:
            print("= thinking" if how else "still thinking", flush=True)
            how = time.sleep(0.1)
    if how == "deaf":
        print("=\\n" * 2, flush=True)
        time.sleep(60)
    if words[0] == "genmove":
        moves += 1
        if moves > 2 and how == "hang":
            time.sleep(60)
        if moves > 2 and how == "die":
            print("out of ideas", file=sys.stderr, flush=True)
            time.sleep(0.2)
            sys.exit(3)
        answer = {"illegal": "A1" if moves > 1 else "pass", "nonsense": "Q99", "resign": "resign"}
        print(f"= {answer.get(how, 'pass')}\\n", flush=True)
    elif words[0] == "boardsize" and how == "refuse":
        print("? unacceptable size\\n", flush=True)
    elif words[0] == "known_command":
        print("= false\\n", flush=True)
    else:
        print("=\\n", flush=True)
"""


@pytest.fixture
def engine(tmp_path: Path) -> str:
    """Command line of a GTP engine that fails in the way named by the word put behind it."""
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    return f"{sys.executable} {script}"


@pytest.mark.parametrize(
    ("how", "end", "says"),
    [
        ("hang", "forfeit", "no answer to 'genmove"),
        ("die", "forfeit", "ended with status 3 at 'genmove"),
        ("illegal", "forfeit", "played the illegal move A1"),
        ("nonsense", "forfeit", "is not a point"),
        ("resign", "resign", ""),
    ],
)
def test_a_misbehaving_engine_loses_that_game_and_the_match_goes_on(
    engine: str, how: str, end: str, says: str
) -> None:
    game = get_game("go5")
    player = GtpPlayer("bad", f"{engine} {how}", game, timeout=0.7)
    # Black holds A1 in this opening, so that the move is taken.
    opening = (game.parse_action("A1"), game.parse_action("E5"))
    match = Match(game, [player, RandomPlayer("r"), RolloutPlayer("m", game, 20)], 16)
    match.add(PairTask("with engine", 0, 1, opening))
    match.add(PairTask("without", 1, 2, opening))
    finished = {task.pair: games for task, games in play_all(match)}
    player.close()
    assert all(result.end == "score" for result in finished["without"])
    for result in finished["with engine"]:
        assert (result.points, result.end, result.score) == (0.0, end, None)
        assert says in result.note
        if how == "die":
            assert "out of ideas" in result.note


def test_an_engine_that_cannot_start_is_a_user_error(engine: str) -> None:
    game = get_game("go5")
    with pytest.raises(UserError, match="unacceptable size"):
        GtpPlayer("bad", f"{engine} refuse", game)
    with pytest.raises(UserError, match="no program"):
        GtpEngine("no-such-engine-anywhere --mode gtp", 1.0)
    with pytest.raises(UserError, match="No closing quotation"):
        GtpEngine("gnugo 'unbalanced", 1.0)
    with pytest.raises(UserError, match="square Go boards"):
        GtpPlayer("bad", f"{engine} pass", get_game("connect_four"))
    for timeout in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="is no time for an answer: more than 0"):
            GtpPlayer("bad", f"{engine} pass", game, timeout)


def in_time(call: Callable[[], object], seconds: float = 60.0) -> None:
    """Let `call` run, and fail if it does not come back."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for ever"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no process groups")
def test_an_engine_in_a_wrapper_ends_with_its_wrapper(tmp_path: Path) -> None:
    child = f"echo $$ > {tmp_path}/pid; printf '=\\n\\n'; exec sleep 600"
    engine = GtpEngine(f"sh -c {shlex.quote(f'sh -c {shlex.quote(child)}; true')}", 10.0)
    assert engine.ask("name") == ""
    pid = int((tmp_path / "pid").read_text())
    in_time(engine.close)
    for _ in range(600):  # whoever adopts it buries it when it likes
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the engine outlives its wrapper")


def test_closing_waits_for_no_child_that_got_away_with_the_pipes() -> None:
    away = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True).wait()"
    sleeper = f"{sys.executable} -c 'import time; print(\"=\\n\", flush=True); time.sleep(20)'"
    running = GtpEngine(f"{sys.executable} -c {shlex.quote(away)} {sleeper}", 60.0)
    assert running.ask("name") == ""
    in_time(running.close, 15)


def test_one_time_limit_for_all_of_an_answer(engine: str) -> None:
    running = GtpEngine(f"{engine} chatter", 1.0)

    def ask() -> None:
        with pytest.raises(EngineFailed, match="no answer to 'name' in 1 s"):
            running.ask("name")

    try:
        in_time(ask)
    finally:
        running.close()


@pytest.mark.parametrize("flood", ["yes", "yes ''"])
def test_a_flood_of_lines_is_given_up_and_fills_no_memory(flood: str) -> None:
    running = GtpEngine(flood, 1.0)

    def ask() -> None:
        with pytest.raises(EngineFailed, match="lines|no GTP|no answer"):
            running.ask("name")

    try:
        in_time(ask)
        assert running._lines.qsize() <= MOST_WAITING + 1
    finally:
        in_time(running.close)


def test_an_engine_that_reads_nothing_is_given_up(engine: str) -> None:
    running = GtpEngine(f"{engine} deaf", 1.0)

    def ask() -> None:
        running.ask("name")
        with pytest.raises(EngineFailed, match="no answer to 'x"):
            running.ask("x" * (1 << 20))  # more than a pipe holds

    try:
        in_time(ask)
    finally:
        in_time(running.close)


def test_last_words_are_quoted_on_one_short_line(tmp_path: Path) -> None:
    script = tmp_path / "dying.py"
    script.write_text(
        "import os, sys, time\n"
        "input()\n"
        "if os.fork() == 0:\n"  # it speaks when its parent has been dead for a while
        "    os.close(1)\n"
        "    time.sleep(0.2)\n"
        "    print('\\x1b[31mout of' + ' memory' * 200, file=sys.stderr, flush=True)\n"
        "    print('bye', file=sys.stderr, flush=True)\n"
        "os._exit(3)\n"
    )
    running = GtpEngine(f"{sys.executable} {script}", 10.0)
    with pytest.raises(EngineFailed, match="ended with status 3 at 'name'; its last lines: ") as it:
        running.ask("name")
    running.close()
    said = str(it.value).partition("lines: ")[2]
    first, second = said.split(" | ")
    assert first.startswith("?[31mout of memory memory") and len(first) == gtp_client.QUOTED_LENGTH
    assert second == "bye"


def test_gnu_go_is_found_where_debian_puts_it_or_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(gtp_client, "GAMES_PATH", str(tmp_path))
    command = "gnugo --mode gtp --level 1 --chinese-rules"
    for spec in (f"gtp:{command}", command):
        with pytest.raises(UserError, match="no program 'gnugo' is installed here: apt-get"):
            make_entry("gnugo", spec, get_game("go5"), PlayerOptions())
    program = tmp_path / "gnugo"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_program("gnugo") == str(program)
    program.chmod(0o644)
    assert find_program("gnugo") is None


@pytest.mark.skipif(find_program("gnugo") is None, reason="GNU Go is not installed")
def test_gnu_go_plays_whole_games_and_beats_random() -> None:
    game = get_game("go5")
    player = GtpPlayer("gnugo", "gnugo --mode gtp --level 1 --chinese-rules", game)
    match = Match(game, [player, RandomPlayer("r")], 16)
    openings = Openings(game, 2)
    for i in range(2):
        match.add(PairTask(f"{i}", 0, 1, openings[i]))
    results = [result for _, games in play_all(match) for result in games]
    player.close()
    assert [result.end for result in results] == ["score"] * 4
    assert sum(result.points for result in results) >= 3


def test_a_player_of_one_game_at_a_time_does_not_wait_for_the_batches(engine: str) -> None:
    game = get_game("go5")
    slow = GtpPlayer("slow", f"{engine} pass", game)
    others: list[Player] = [RandomPlayer(f"r{i}") for i in range(8)]
    match = Match(game, [slow, *others], capacity=64)
    openings = Openings(game, 1)
    for i in range(1, 8):
        match.add(PairTask(f"{i}", i, i + 1, openings[i]))
    match.add(PairTask("slow", 0, 1, openings[0]))
    match.sweep()
    (seat,) = [seat for seat in match._playing if seat.task.a == 0]
    slow.close()
    assert len(seat.moves) >= len(openings[0]) + 8
