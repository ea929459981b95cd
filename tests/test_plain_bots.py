"""Plain search as an opponent: it keeps time, and plays the same game where there is no clock."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from sizes import sized

from ghostgo import plain_bots
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.rollout import MOST_NODES, RolloutSearcher
from ghostgo.gtp import Engine
from ghostgo.gtp_server import converse
from ghostgo.opponents import make_bot
from ghostgo.plain_bots import RolloutBot


class Clockwork:
    """A clock on which each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def searched(bot: RolloutBot) -> int:
    return sum(visits for visits, _ in bot._searcher.root_statistics().values())


def test_without_a_clock_it_plays_as_the_whole_search_does() -> None:
    game = get_game("go5")
    states = game.new_states(1)
    whole = RolloutSearcher(game, 60, np.random.SeedSequence(7))
    expected = [int(whole.choose(states)[0]) for _ in range(3)]
    bot = RolloutBot(game, 60, 7)
    analysed = bot.analyse(states)
    (*_, last) = bot.ponder(states)
    assert [analysed.action, last().action, bot.choose(states)] == expected
    assert sum(move.visits for move in analysed.candidates) == 60


def test_it_stops_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    bot = RolloutBot(get_game("go5"), MOST_NODES // 64, 7)
    monkeypatch.setattr(plain_bots, "time", Clockwork())
    states = bot.game.new_states(1)
    action = bot.choose(states, seconds=0.0)
    assert searched(bot) == 1 and action in bot.game.legal_actions(states[0])
    bot.choose(states, seconds=10.0)
    assert 2 <= searched(bot) <= 4, "one a slice, since the slices are slow"
    found = bot.analyse(states, seconds=0.0)
    assert sum(move.visits for move in found.candidates) == 1


def test_seconds_of_its_own_limit_moves_but_no_endless_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot = make_bot("mcts:40", "go5", None, 7, Path("nowhere"), seconds=0.5)
    assert isinstance(bot, RolloutBot)
    monkeypatch.setattr(plain_bots, "time", Clockwork())
    states = bot.game.new_states(1)
    bot.bind(get_game("go7")).choose(get_game("go7").new_states(1))
    bot.choose(states)
    assert searched(bot) == 1
    list(bot.ponder(states))
    assert searched(bot) == 1
    list(bot.ponder(states, endless=True))
    assert searched(bot) == 40


@pytest.mark.parametrize("command", ["genmove", "kata-genmove_analyze", "lz-genmove_analyze"])
def test_it_never_loses_on_time(command: str) -> None:
    """Even with rollouts for minutes."""
    engine = Engine(RolloutBot(get_game("go5"), MOST_NODES, 7))
    lines = ["time_settings 0 1 1", "time_left b 0 1", f"{command} b", f"{command} w"]
    out = io.BytesIO()
    converse(engine, io.BytesIO("\n".join(lines).encode()), out)
    assert b"?" not in out.getvalue() and len(engine.session.moves) == 2
    assert searched(engine.bot) < MOST_NODES  # type: ignore[arg-type]


def test_an_analysis_reports_while_it_goes_on_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot = RolloutBot(get_game("go5"), sized(2000, 50), 7)
    monkeypatch.setattr(plain_bots, "time", Clockwork())
    steps = bot.ponder(bot.game.new_states(1), endless=True)
    first = next(steps)()
    later = next(steps)()
    assert [sum(move.visits for move in each.candidates) for each in (first, later)] == [1, 2]
    for move in later.candidates:
        assert 0 <= move.lcb <= move.win_rate
