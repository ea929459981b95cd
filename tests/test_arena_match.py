"""Openings, lockstep matches, the results file, and GTP engines that misbehave."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ghostgo.arena import gtp_client
from ghostgo.arena.gtp_client import (
    MOST_WAITING,
    EngineFailed,
    GtpEngine,
    GtpPlayer,
    find_program,
)
from ghostgo.arena.match import FinishedPair, Match, PairTask
from ghostgo.arena.openings import Openings, Reference, canonical_moves
from ghostgo.arena.pace import Pace
from ghostgo.arena.players import (
    Actions,
    NetPlayer,
    Player,
    PlayerFailed,
    RandomPlayer,
    RolloutPlayer,
)
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.arena.results import PairResult, PlayerInfo, ResultsFile, pair_id, read_results
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, State, States, is_legal_one, play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.session import Session

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


def play_all(match: Match) -> list[FinishedPair]:
    finished = []
    while match.in_flight:
        finished += match.sweep()
    return finished


@pytest.mark.parametrize("name", ["go5", "connect_four"])
def test_openings_are_legal_short_and_distinct(name: str) -> None:
    game = get_game(name)
    openings = Openings(game, 4)
    seen = set()
    for i in range(60):
        state = game.new_states(1)[0]
        for action in openings[i]:
            assert is_legal_one(state, action)
            play_one(state, action)
        assert 2 <= len(openings[i]) <= 6 and not state.done
        seen.add(openings.canonical(openings[i]))
    assert len(seen) == 60
    again = Openings(game, 4)
    assert [again[i] for i in (59, 3)] == [openings[i] for i in (59, 3)]
    assert Openings(game, 5)[0] != openings[0]


def test_openings_alike_under_symmetry_count_as_one() -> None:
    game = get_game("go5")
    openings = Openings(game, 0)
    moves = openings[0]
    for table in game.action_symmetries:
        image = tuple(int(table[move]) for move in moves)
        assert openings.canonical(image) == openings.canonical(moves)
        assert canonical_moves(game, image) == canonical_moves(game, moves)


def test_a_game_with_few_openings_repeats_them() -> None:
    openings = Openings(get_game("go2"), 0)
    found = {openings[i] for i in range(300)}
    assert 3 < len(found) < 40


def even_at_centre(states: States) -> NDArray[np.float32]:
    """A reference that calls a position of 5x5 even if, and only if, its centre is taken."""
    return np.array([0.0 if 12 in taken else 0.8 for taken in map(stones_of, states)], np.float32)


def stones_of(state: State) -> set[int]:
    session = Session(get_game("go5"))
    board = session.stones(np.array([state], state.dtype).view(np.recarray))
    return {int(point) for point in np.flatnonzero(board)}


def test_a_reference_keeps_to_openings_that_it_calls_even() -> None:
    openings = Openings(get_game("go5"), 4, reference=Reference("r", even_at_centre))
    assert all(12 in openings[i] for i in range(40))
    assert len({openings.canonical(openings[i]) for i in range(40)}) == 40
    never = Reference("never", lambda states: np.linspace(0.9, 0.5, len(states), dtype=np.float32))
    some = Openings(get_game("tic_tac_toe"), 4, reference=never)
    assert len({some[i] for i in range(20)}) == 20, (
        "where none is even the most even ones are taken"
    )


def test_openings_found_stay_in_their_file_whoever_judges_later(tmp_path: Path) -> None:
    path = tmp_path / "openings.jsonl"
    game = get_game("go5")
    first = Openings(game, 4, None, Reference("aa", even_at_centre), path)
    before = [first[i] for i in range(10)]
    found = len(path.read_text().splitlines())
    path.write_text(path.read_text() + '{"format":1,"se')  # a kill while writing
    other = Openings(
        game, 4, None, Reference("bb", lambda states: np.zeros(len(states), "f4")), path
    )
    assert [other[i] for i in range(10)] == before
    assert other[found] not in before
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["reference"] for row in rows[: found + 1]] == ["aa"] * found + ["bb"]
    assert Openings(game, 5, None, None, path)[0] == Openings(game, 5)[0]
    path.write_text('{"format":2,"seed":4}\n')
    with pytest.raises(UserError, match="line 1 has format 2"):
        Openings(game, 4, None, None, path)


def test_pairs_swap_colours_and_are_scored_by_our_rules() -> None:
    game = get_game("go5")
    players: list[Player] = [RandomPlayer("r"), RolloutPlayer("m", game, 80)]
    match = Match(game, players, capacity=6)  # less than the 8 games: some must wait
    opening = Openings(game, 1)[0]
    for i in range(4):
        match.add(PairTask(f"pair {i}", i % 2, 1 - i % 2, opening))
    finished = play_all(match)
    assert sorted(task.pair for task, _ in finished) == [f"pair {i}" for i in range(4)]
    assert match.in_flight == 0
    strong = 0.0
    for task, games in finished:
        assert [result.first for result in games] == [0, 1]
        for result in games:
            assert result.moves[: len(opening)] == opening
            state = game.new_states(1)[0]
            for move in result.moves:
                assert is_legal_one(state, move)
                play_one(state, move)
            assert state.done and result.end == "score"
            score = float(score_of(state))
            assert result.score == score
            assert result.first_result == (1.0 if score > 0 else 0.0)
            own = [ply % 2 for ply in range(len(opening), len(result.moves))]
            mcts = 0 if task.a == 1 else 1
            turns = own.count(0 if result.first == mcts else 1)
            assert result.evaluations[mcts] == 80 * turns
            assert result.evaluations[1 - mcts] == 0
            strong += result.points if task.a == 1 else 1 - result.points
    assert strong >= 6


def test_a_game_does_not_depend_on_the_others_beside_it() -> None:
    game = get_game("go5")
    openings = Openings(game, 1)
    tasks = [PairTask(f"pair {i}", 0, 1, openings[i]) for i in range(6)]

    def moves(chosen: Sequence[PairTask], capacity: int) -> dict[str, list[tuple[int, ...]]]:
        match = Match(game, [RandomPlayer("r"), RolloutPlayer("m", game, 30)], capacity)
        for task in chosen:
            match.add(task)
        return {task.pair: [g.moves for g in games] for task, games in play_all(match)}

    together = moves(tasks, 12)
    assert moves(tasks[2:3], 1) == {"pair 2": together["pair 2"]}
    assert moves(tasks[::-1], 3) == together


class Remembering(RandomPlayer):
    """Notes what it is told, to show that games do not leak into one another."""

    def __init__(self, game: Game) -> None:
        super().__init__("remembering")
        self.game = game
        self.known: dict[int, list[int]] = {}
        self.resets = 0

    def reset(self, games: Sequence[int]) -> None:
        for game in games:
            assert game not in self.known
            self.known[game] = []
            self.resets += 1

    def observe(self, game: int, action: int) -> None:
        self.known[game].append(action)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        for state, game in zip(states, games, strict=True):
            replayed = self.game.new_states(1)[0]
            for move in self.known[game]:
                play_one(replayed, move)
            assert replayed.hash == state.hash
        return super().choose(states, games)


def test_players_are_reset_and_told_every_move() -> None:
    game = get_game("tic_tac_toe")
    player = Remembering(game)
    match = Match(game, [player, RandomPlayer("r")], capacity=4)
    openings = Openings(game, 1)
    for i in range(5):
        match.add(PairTask(f"{i}", 0, 1, openings[i]))
    play_all(match)
    assert player.resets == 10


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


def test_the_pace_keeps_results_coming() -> None:
    pace = Pace(256, 80, minutes=8)
    assert pace.games(0, 0.0) == 32, "the speed is not known yet"
    assert pace.games(1000, 10.0) == 75, "100 plies a second, 80 a game, 60 seconds for one"
    assert (pace.games(10, 10.0), pace.games(10**6, 10.0)) == (16, 256)
    for _ in range(1000):
        pace.finished(20)
    assert 220 < pace.games(800, 10.0) < 240, "games turned out shorter"
    assert Pace(256, 80, None).games(1000, 10.0) == 150, "two minutes where there is no limit"


def test_a_batch_players_failure_is_no_forfeit() -> None:
    class Broken(RandomPlayer):
        def choose(self, states: States, games: Sequence[int]) -> Actions:
            raise PlayerFailed("broken")

    game = get_game("tic_tac_toe")
    match = Match(game, [Broken("b"), Broken("c")])
    for i in range(3):
        match.add(PairTask(f"{i}", 0, 1, Openings(game, 1)[i]))
    with pytest.raises(PlayerFailed):
        play_all(match)


def some_results() -> list[PairResult]:
    game = get_game("tic_tac_toe")
    match = Match(game, [RandomPlayer("a"), RandomPlayer("b")])
    openings = Openings(game, 1)
    infos = (PlayerInfo("a", "random"), PlayerInfo("b", "gtp", {"command": "b"}))
    identities = (infos[0].identity, infos[1].identity)
    for i in range(3):
        match.add(PairTask(pair_id(game.name, 1, {}, 0, identities, i), 0, 1, openings[i]))
    return [
        PairResult(task.pair, game.name, 1, {}, 0, task.opening, *infos, games)
        for task, games in play_all(match)
    ]


def write(path: Path, results: Sequence[PairResult]) -> None:
    with ResultsFile(path) as file:
        for result in results:
            file.add(result)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = some_results()
    write(tmp_path / "sub" / "r.jsonl", results)
    assert read_results(tmp_path / "sub" / "r.jsonl") == results
    assert read_results(tmp_path / "nothing.jsonl") == []


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_no_loss_but_its_own(tmp_path: Path, kept: int) -> None:
    results, path = some_results(), tmp_path / "r.jsonl"
    write(path, results)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2]) + whole[2][:kept])
    assert read_results(path) == results[:2]
    write(path, results[2:])
    assert path.read_bytes() == b"".join(whole)


def test_a_pair_written_twice_counts_once(tmp_path: Path) -> None:
    results = some_results()
    write(tmp_path / "r.jsonl", [*results, *results])
    assert read_results(tmp_path / "r.jsonl") == results


def test_on_a_full_disk_the_ledger_keeps_its_whole_lines(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    results, path = some_results(), tmp_path / "r.jsonl"
    write(path, results[:1])
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ResultsFile(path) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
        try:
            with pytest.raises(UserError, match="r.jsonl: cannot be written") as caught:
                file.add(results[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == whole and "\n" not in str(caught.value)
        file.add(results[1])
    assert read_results(path) == results[:2]


@pytest.mark.parametrize("line", ["{}", "not json", '{"format": 99}', '{"format": 1}', "[1]"])
def test_damage_and_newer_formats_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r.jsonl"
    write(path, some_results())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match="line 4"):
        read_results(path)


def test_a_line_says_where_a_game_came_from(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write(path, some_results()[:1])
    row = json.loads(path.read_text())
    assert {"format", "pair", "game", "game_version", "rules", "seed", "opening", "a", "b"} < set(
        row
    )
    assert {"moves", "points", "score", "seconds", "evaluations", "flops"} < set(row["games"][0])


def test_identity_tells_apart_what_plays_differently() -> None:
    net = PlayerInfo("run@1", "net", {"sha256": "aa", "visits": 16})
    assert net.identity == replace(net, name="other@1").identity
    assert net.identity != replace(net, settings={"sha256": "aa", "visits": 32}).identity
    engine = PlayerInfo("one", "gtp", {"command": "x"})
    assert engine.identity != replace(engine, name="two").identity
    ids = {pair_id("go5", 1, {}, s, p, k) for s in (0, 1) for p in (("x", "y"),) for k in (0, 1)}
    assert len(ids) == 4
    assert pair_id("go5", 1, {}, 0, ("x", "y"), 0) == pair_id("go5", 1, {}, 0, ("y", "x"), 0)


def test_what_a_move_costs_does_not_depend_on_the_games_beside_it() -> None:
    game = get_game("tic_tac_toe")
    torch.manual_seed(0)
    network = Network(game, NetworkConfig(1, 8)).eval()
    player = NetPlayer("net", lambda: network, 30, "cpu")
    states = game.new_states(9)
    for row in range(len(states)):  # later ones nearer to the end, where ends cost nothing
        for action in (4, 0, 8, 2, 1, 7)[: row % 7]:
            play_one(states[row], action)
    player.choose(states, range(9))
    assert player.row_cost is not None
    counts, price = player.row_cost
    evaluator = player._ready().evaluator
    assert counts.sum() == evaluator.evaluations == player.evaluations
    assert price == evaluator.flops_per_evaluation and player.flops == counts.sum() * price
    assert len(set(counts.tolist())) > 2
    for row in range(len(states)):
        player.choose(states[row : row + 1], [row])
        assert player.row_cost[0].tolist() == [counts[row]]
