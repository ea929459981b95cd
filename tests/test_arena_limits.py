"""A tournament's limits: what counts towards them, which are refused, and that it always ends."""

from __future__ import annotations

import _thread
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sizes import sized

from ghostgo import cli
from ghostgo.arena import limits, pool, progress
from ghostgo.arena.arena import run_arena
from ghostgo.arena.effort import MOST_VISITS, Effort
from ghostgo.arena.forfeits import FORFEITS_IN_A_ROW, Forfeits
from ghostgo.arena.league import labels
from ghostgo.arena.openings import Openings
from ghostgo.arena.players import RESIGN, Actions, PlayerFailed, RandomPlayer
from ghostgo.arena.progress import Progress, outlook, state_line
from ghostgo.arena.ratings import GameRow, rate
from ghostgo.arena.results import GameResult, PlayerInfo, read_results
from ghostgo.arena.sprt import run_sprt
from ghostgo.arena.width import least_width, mean_width
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import States
from ghostgo.engine.games.registry import get_game

GAME = "tic_tac_toe"
SLOW_ENGINE = """
import os, sys, time
for line in sys.stdin:
    if line.startswith("genmove"):
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(3600)
    print("= false\\n", flush=True)
"""
STARTER = """
import sys
from pathlib import Path
from ghostgo.arena.arena import run_arena
run_arena(None, None, game="go5", out=Path(sys.argv[1]), games=60, gtp_timeout=3600,
          anchors=("random", "capture"), players={"slow": sys.argv[2]})
print("ended as it should")
"""


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt, as on a terminal: what runs in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def arena(out: Path, anchors: Sequence[str], **options: Any) -> int:
    """Play among `anchors`; the number of games in the ledger."""
    run_arena(None, None, game=GAME, out=out, anchors=anchors, **options)
    return 2 * len(read_results(out / "results.jsonl"))


def test_games_of_players_who_have_left_count_towards_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "GAMES_PER_PLAYER", 4)
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    assert arena(tmp_path, ("random", "mcts:3"), games=10) == 10
    assert arena(tmp_path, ("random", "mcts:4"), games=10) == 20
    assert "games and 10 with former players" in capsys.readouterr().err
    assert arena(tmp_path, ("random", "mcts:5")) == 28, "4 for each of two players"
    assert arena(tmp_path, ("random", "mcts:5")) == 28
    assert arena(tmp_path, ("random", "mcts:3", "mcts:4"), games=24) == 32, "20 are known"


class Loser(RandomPlayer):
    """Gives up at once."""

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        return np.full(len(states), RESIGN, np.int32)


class Broken(RandomPlayer):
    """Cannot move."""

    concurrent = 1

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        raise PlayerFailed("broken")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Loser, "the pairings that are left are won by one side alone, or repeat their games"),
        (Broken, "random forfeited and is paired no more"),
    ],
)
def test_a_width_that_is_not_to_be_had_ends_it(
    kind: type[RandomPlayer],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pool, "RandomPlayer", kind)
    assert arena(tmp_path, ("random", "mcts:4", "mcts:5"), width=1, games=2000) < 1000
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "narrower" in line]
    assert line.endswith(f"Elo is not to be had: {why}")


def test_a_tournament_without_a_pairing_left_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "RandomPlayer", Loser)
    assert arena(tmp_path, ("random", "mcts:4"), games=2000) < 100
    assert "no pairing is left that could tell more" in capsys.readouterr().err


def test_endless_games_leave_the_error_between_groups_that_do_not_meet() -> None:
    rng = np.random.default_rng(1)
    rows = [
        GameRow(a, b, float(rng.integers(2)), pair)
        for pair, (a, b) in enumerate([(0, 1), (1, 2), (2, 3), (3, 0)] * 10)
        for _ in range(2)
    ]
    ratings = rate([*"abcd"], rows, 0)
    everyone, none = np.ones(4, bool), np.zeros((4, 4), bool)
    assert least_width(ratings, 4, everyone, none) == pytest.approx(0, abs=1e-3)
    shut = none.copy()
    shut[:2, 2:] = shut[2:, :2] = True  # a meets b, and c meets d
    now = [rating.width for rating in ratings.ratings]
    apart = least_width(ratings, 4, everyone, shut)
    assert 0.3 * np.mean(now[2:]) < apart * 3 / 2 < np.mean(now[2:])
    alone = everyone.copy()
    alone[3] = False
    assert least_width(ratings, 4, alone, none) * 3 == pytest.approx(now[3], rel=0.5)
    assert mean_width(ratings, 4) == pytest.approx(np.mean(now[1:]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"games": 0}, "--games is 0: it must be from 1"),
        ({"minutes": float("nan")}, "--minutes is nan: it must be a number above 0"),
        ({"minutes": -1}, "--minutes is -1"),
        ({"minutes": float("inf")}, "--minutes is inf"),
        ({"width": float("nan")}, "--width is nan"),
        ({"width": 0}, "--width is 0"),
        ({"parallel": 0}, "parallel is 0: it must be from 1 to 65536"),
        ({"parallel": 1 << 40}, "parallel is "),
        ({"workers": -2}, "workers is -2: it must be from 1"),
        ({"levels": [float("nan")]}, "--level is nan"),
        ({"visits": 999_999_999}, "999999999 visits a move are too many: 65536 at most"),
        ({"visits": Effort(visits=1 << 30), "players": {"x": "go9"}}, "too many|plays go9"),
        ({"players": {"x": f"mcts:{10**9}"}}, "1000000000 rollouts a move are too many: "),
        ({"players": {"x": "mcts:" + "9" * 5000}}, "99999... rollouts a move are too many"),
    ],
)
def test_limits_that_are_none_are_refused(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        arena(tmp_path / "arena", ("random", "mcts:3"), **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert not (tmp_path / "arena").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--minutes", "nan"], "nan is not a finite number"),
        (["--width", "inf"], "inf is not a finite number"),
        (["--level", "nan"], "--level is nan"),
        (["--games", "0"], "--games"),
        (["--parallel", "70000"], "parallel is 70000: it must be from 1 to 65536"),
        (["--visits", "999999999"], "999999999 visits a move are too many"),
        (["--player", "x=scratch@1:99999999"], "99999999 visits a move are too many"),
        (["--player", "x=mcts:3", "--player", "x=mcts:4"], "'x' is given twice"),
    ],
)
def test_limits_on_the_command_line_are_refused_in_one_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["arena", "--root", str(tmp_path / "runs"), "--a", "", "--b", "", "--game", GAME]
    assert cli.run([*command, *words]) == cli.EXIT_USER_ERROR
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err
    assert not (tmp_path / "runs").exists()


def test_one_game_at_a_time_is_enough(tmp_path: Path) -> None:
    assert arena(tmp_path, ("random", "mcts:3"), games=4, parallel=1) == 4


def test_most_visits_are_visits() -> None:
    assert Effort(visits=MOST_VISITS).visits_at(1.0, "x") == MOST_VISITS
    with pytest.raises(UserError, match="player 'x': 65537 visits a move are too many"):
        Effort(visits=MOST_VISITS + 1).visits_at(1.0, "x")


def test_openings_belong_to_their_game_and_rules(tmp_path: Path) -> None:
    path = tmp_path / "openings.jsonl"
    small, big, other = get_game("go3"), get_game("go5"), {"komi": 2.5}
    first = [Openings(big, 1, None, None, path)[i] for i in range(5)]
    for game, rules in ((small, None), (big, other)):
        kept = [Openings(game, 1, rules, None, path)[i] for i in range(5)]
        assert kept == [Openings(game, 1, rules)[i] for i in range(5)]
    again = Openings(big, 1, None, None, path)
    lines = len(path.read_text().splitlines())
    assert [again[i] for i in range(5)] == first
    assert len(path.read_text().splitlines()) == lines == 15, "nothing was drawn anew"


def untagged(path: Path, **changes: Any) -> None:
    """Make the rows of a file of openings what they were before they told their game."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["game"], row["game_version"], row["rules"]
        row.update(changes)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_openings_of_older_folders_are_kept_if_the_rules_allow_them(tmp_path: Path) -> None:
    path = tmp_path / "openings.jsonl"
    big = Openings(get_game("go5"), 1, None, None, path)
    first = [big[i] for i in range(8)]
    untagged(path)
    before = path.read_text()
    again = Openings(get_game("go5"), 1, None, None, path)
    assert [again[i] for i in range(8)] == first and path.read_text() == before
    with pytest.raises(UserError, match=r"openings.jsonl: line \d: .* is no opening of go3") as it:
        Openings(get_game("go3"), 1, None, None, path)
    assert "move the file away, or choose another --out folder" in str(it.value)
    for moves in ([0, 0], [-1, 3], [10**6], []):
        untagged_moves = {"format": 1, "seed": 1, "attempt": 0, "actions": moves}
        path.write_text(json.dumps({**untagged_moves, "value": None, "reference": None}) + "\n")
        with pytest.raises(UserError, match="line 1: .* is no opening of go5"):
            Openings(get_game("go5"), 1, None, None, path)


def test_two_broken_engines_are_both_given_up() -> None:
    forfeits, said = Forfeits(2), []
    for k in range(FORFEITS_IN_A_ROW):
        for loser in (0, 1):
            end = GameResult(
                loser, (), float(loser), None, "forfeit", f"{k}", (0.0, 0.0), (0, 0), (0.0, 0.0)
            )
            said += forfeits.record((0, 1), ("a", "b"), end)
    assert forfeits.idle() == [0, 1]
    assert sum("paired no more" in line for line in said) == 2


def test_a_move_that_the_game_has_not_is_one_sentence(tmp_path: Path) -> None:
    arena(tmp_path, ("random", "mcts:2"), games=2)
    ledger = tmp_path / "results.jsonl"
    row = json.loads(ledger.read_text())
    row["games"][1]["moves"][-1] = 99
    ledger.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=f"pair {row['pair']} has a move that {GAME} has not"):
        arena(tmp_path, ("random", "mcts:2"), games=4)


def test_the_smallest_of_widths_takes_for_ever_and_no_traceback() -> None:
    assert (
        limits.Limits(limits.ENDLESS, None, 1e-200).seconds_left(100, 1.0, 500.0, 1.0) == math.inf
    )


def test_a_name_too_long_for_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["arena", "--a", "", "--b", "", "--game", GAME, "--root", str(tmp_path)]
    assert cli.run([*words, "--player", "x=" + "a" * 300]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_two_labels_are_alike() -> None:
    same = [
        PlayerInfo("x", "net", {"sha256": "abcdef01", "visits": 4}),
        PlayerInfo("x", "net", {"sha256": "abcdef02", "visits": 4}),
        PlayerInfo("x", "net", {"sha256": "123456", "visits": 4}),
        PlayerInfo("x", "mcts", {"rollouts": 9}),
        PlayerInfo("x", "openspiel", {"rollouts": 9}),
        PlayerInfo("x", "random"),
        PlayerInfo("y", "random"),
    ]
    assert labels(same) == [
        "x (abcdef01, visits 4)", "x (abcdef02, visits 4)", "x (123456, visits 4)",
        "x (rollouts 9)", "x (rollouts 9) #2", "x (random)", "y",
    ]  # fmt: skip


def test_what_a_line_says() -> None:
    assert state_line(20, 0, 1.5, 3, 0) == "arena: 20 games, 1.5/s, 3 players"
    assert state_line(20, 8, 1.5, 3, 1).endswith("3 players, 1 of them since the start")
    assert outlook([], float("inf"), None) == ", first meetings"
    assert outlook(["a"], 90.2, 30) == ", following a, mean interval 90 Elo, about 30 s left"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_on_a_terminal_the_line_fits_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import termios

    monkeypatch.setattr(progress, "SHOW_EVERY", 0.0)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        line = Progress(stream)
        line.show("a" * 50)
        line.say("stays")
        line.show("b" * 50)
        line.close()
        line.close()
        stream.write("table")
        stream.flush()
        written = ""
        while not written.endswith("table"):
            written += os.read(ours, 1000).decode()
    os.close(ours)
    clear = "\r\x1b[K"
    assert (
        written.replace("\r\n", "\n") == f"{clear}{'a' * 19}{clear}stays\n{clear}{'b' * 19}\ntable"
    )


TWO_WISHES = """
import os, signal, time
from ghostgo.arena.stop import Stop
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
except KeyboardInterrupt:
    print("the second is as ever")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
signal.signal(signal.SIGINT, signal.SIG_IGN)
with Stop() as stop:
    os.kill(os.getpid(), signal.SIGINT)
assert not stop.asked
print("who ignores it goes on ignoring it")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to itself")
def test_the_first_ctrl_c_is_noted_and_the_second_is_as_ever() -> None:
    """In a process of its own: a late signal must not meet whoever runs the tests."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_WISHES], check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines() == [
        "the second is as ever", "who ignores it goes on ignoring it"
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to itself")
@pytest.mark.parametrize("sequential", [False, True])
def test_ctrl_c_waits_for_no_player(
    sequential: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    thinking, woken = threading.Event(), []

    class Thinker(RandomPlayer):
        def choose(self, states: States, games: Sequence[int]) -> Actions:
            _thread.interrupt_main()  # as Ctrl-C does, without a signal to this process
            woken.append(thinking.wait(60))
            return super().choose(states, games)

    monkeypatch.setattr(pool, "RandomPlayer", Thinker)
    try:
        if sequential:
            run_sprt("random", "mcts:3", game=GAME, out=tmp_path)
        else:
            arena(tmp_path, ("random", "mcts:3"))
        assert not woken and read_results(tmp_path / "results.jsonl") == []
    finally:
        thinking.set()
    assert "stopped; the same command goes on from here" in capsys.readouterr().err


def interrupt(process: subprocess.Popen[str], there: Path) -> tuple[str, str]:
    """Send Ctrl-C once `there` is a file with something in it; what the process has said."""
    for _ in range(sized(1200, 12_000)):
        if (there.exists() and there.stat().st_size) or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=120)
    finally:
        process.kill()


def begin(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_waits_for_no_engine(tmp_path: Path) -> None:
    script, thinking, out = tmp_path / "slow.py", tmp_path / "thinking", tmp_path / "arena"
    script.write_text(SLOW_ENGINE)
    engine = f"gtp:{sys.executable} {script} {thinking}"
    said, complained = interrupt(begin("-c", STARTER, str(out), engine), thinking)
    assert "ended as it should" in said and "stopped; the same command goes on" in complained
    assert "Traceback" not in complained and "forfeit" not in complained
    assert (out / "arena.csv").exists()
    results = read_results(out / "results.jsonl")
    assert all(game.end == "score" for result in results for game in result.games)
    with pytest.raises(ProcessLookupError):
        os.kill(int(thinking.read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_waits_for_no_search(tmp_path: Path) -> None:
    words = ["--a", "", "--b", "", "--game", "go9", "--player", "big=mcts:4000000"]
    process = begin("-m", "ghostgo", "arena", "--root", str(tmp_path), *words)
    for _ in range(sized(1200, 12_000)):  # it is opened just before the players warm up
        if (tmp_path / "arena" / "results.jsonl").exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    _, complained = interrupt(process, tmp_path)
    assert process.returncode == 0 and "stopped; the same command goes on" in complained
    assert "Traceback" not in complained and "Exception" not in complained
