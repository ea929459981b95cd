"""Tree reuse in bots: what a search that goes on costs, over GTP, in analysis, and by the option."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sizes import INTERPRETED

from ghostgo import cli
from ghostgo.bot import PLAY, Analysis, SearchBot
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.engine.games.game import play_one
from ghostgo.engine.network import Network
from ghostgo.gtp import Engine
from ghostgo.human import dialled_bot


def untrained(root: Path, reuse: bool) -> SearchBot:
    """A bot that forgets what its network said, so that its evaluations tell its visits."""
    network = load_network(find_checkpoint("fresh", root).path)
    return SearchBot("fresh", network, 48, 1, None, replace(PLAY, cache_mb=0), reuse=reuse)


def spent(engine: Engine, line: str) -> tuple[int, str]:
    """Evaluations that a command takes, and its answer."""
    bot = engine.bot
    assert isinstance(bot, SearchBot)
    before = bot._evaluator.evaluations
    answer = engine.answer(line) or ""
    return bot._evaluator.evaluations - before, answer


def test_a_second_genmove_costs_less_than_a_fresh_one(untrained_runs: Path) -> None:
    script = [
        "clear_board",
        *["genmove b", "genmove w"] * 2,
        "undo",
        "undo",
        "genmove b",
        "reg_genmove w",
    ]
    costs = {}
    for reuse in (True, False):
        engines = [Engine(untrained(untrained_runs, reuse)) for _ in range(2)]
        runs = [[spent(engine, line) for line in script] for engine in engines]
        assert runs[0] == runs[1], "the same commands, other moves"
        costs[reuse] = [cost for cost, _ in runs[0]]
    fresh = costs[False]
    assert fresh[1:5] == [49] * 4 and fresh[7:] == [49] * 2
    assert costs[True][1] == 49 and all(0 < cost < 48 for cost in costs[True][2:5])
    assert costs[True][7] == 49, "a move taken back is searched afresh"
    assert 0 < costs[True][8] < 48


def test_an_analysis_goes_on_from_the_one_before(untrained_runs: Path) -> None:
    bot = untrained(untrained_runs, reuse=True)
    states = bot.game.new_states(1)

    def visits(found: Analysis) -> int:
        return sum(move.visits for move in found.candidates)

    def endless(steps: int) -> list[Analysis]:
        return [read() for read in islice(bot.ponder(states, endless=True), steps)]

    first = endless(40)[-1]
    again = endless(2)
    assert visits(again[0]) > visits(first) >= 39, "the same position begins anew"
    expected = again[-1].candidates[0]
    play_one(states[0], expected.action)
    # All visits of the move but the one that judged it, and a step more.
    assert visits(endless(1)[0]) >= expected.visits > 1
    # A move's search has a tree of its own.
    before = bot._evaluator.evaluations
    opinion = bot.analyse(states)
    assert bot._evaluator.evaluations - before == 49
    assert bot.choose(states) == opinion.action and bot.analyse(states) == opinion
    assert bot._evaluator.evaluations - before == 49


def test_other_rules_and_a_lesson_begin_anew(untrained_runs: Path) -> None:
    class Taught:
        """A student that has had so many lessons."""

        lessons = 0

        def network(self) -> Network:
            return load_network(find_checkpoint("fresh", untrained_runs).path)

    engine = Engine(untrained(untrained_runs, reuse=True))
    bot = engine.bot
    assert isinstance(bot, SearchBot)
    bot.student = Taught()  # type: ignore[assignment]
    for line in ("clear_board", "genmove b", "komi 3.5"):
        engine.answer(line)
    assert spent(engine, "reg_genmove w")[0] == 49, "the komi was another"
    assert spent(engine, "reg_genmove w")[0] == 0
    Taught.lessons = 1
    assert spent(engine, "reg_genmove w")[0] == 49, "the weights were others"


def test_kernels_are_compiled_while_a_game_is_set_up(untrained_runs: Path) -> None:
    engine = Engine(untrained(untrained_runs, reuse=True))
    for line in ("protocol_version", "name", "version", "known_command play", "list_commands"):
        assert spent(engine, line)[0] == 0, f"{line} has to wait"
    assert spent(engine, "clear_board")[0] > 0
    assert spent(engine, "komi 7")[0] == spent(engine, "clear_board")[0] == 0, "once is enough"
    engine.answer("boardsize 5")
    bot = engine.bot
    assert isinstance(bot, SearchBot) and bot._evaluator.evaluations > 0
    cold = untrained(untrained_runs, reuse=True).bind(bot.game)
    assert bot.analyse(bot.game.new_states(1)) == cold.analyse(bot.game.new_states(1))


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in plain Python")
def test_the_first_moves_compile_nothing(untrained_runs: Path) -> None:
    """In a process of its own, since others may have compiled what is needed."""
    script = """
import sys
from pathlib import Path
from ghostgo.gtp import Engine
from ghostgo.opponents import make_bot

def compiled():
    return sorted(
        f"{name}.{key}: {value.signatures}"
        for name, module in sys.modules.items() if name.startswith("ghostgo")
        for key, value in vars(module).items() if getattr(value, "py_func", None)
    )

engine = Engine(make_bot("fresh", None, 16, 1, Path(sys.argv[1])))
engine.answer("clear_board")
before = compiled()
for line in ("play b e5", "genmove w", "play b c3", "genmove w", "lz-analyze"):
    assert engine.answer(line).startswith("="), line
assert list(engine.stream(iter([False] * 20 + [True]).__next__))
assert compiled() == before, set(compiled()) - set(before)
"""
    subprocess.run([sys.executable, "-c", script, str(untrained_runs)], check=True, timeout=300)


def test_warming_a_bot_with_a_dial_changes_nothing(untrained_runs: Path) -> None:
    bots = [dialled_bot("fresh", None, 8, 3, untrained_runs, human=0.5) for _ in range(2)]
    states = bots[0].game.new_states(1)
    assert (Engine(bots[0]).answer("clear_board") or "").startswith("=")
    assert bots[0].analyse(states) == bots[1].analyse(states)


@pytest.mark.parametrize(
    ("verb", "target"), [("gtp", "ghostgo.gtp_server"), ("play", "ghostgo.terminal")]
)
def test_the_option_reaches_the_search(
    verb: str, target: str, untrained_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):
        """Ends the verb once the bot is made."""

    made: list[Any] = []

    def ask(*arguments: Any) -> Any:
        made.append(dialled_bot(*arguments))
        raise Asked

    monkeypatch.setattr(f"{target}.dialled_bot", ask)
    for words in ([], ["--no-reuse"]):
        with pytest.raises(Asked):
            cli.run([verb, "fresh", "--root", str(untrained_runs), "--visits", "8", *words])
    kept = []
    for bot in made:
        assert isinstance(bot, SearchBot)
        states = bot.game.new_states(1)
        bot.choose(states)
        kept.append(bool(bot._searcher.begin(states, keep=bot._reuse)[0]))
    assert kept == [True, False]
