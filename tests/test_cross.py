"""The cross-table and what it says about how well ratings fit."""

from __future__ import annotations

import numpy as np
import pytest

from ghostgo.arena.cross import CrossTable, cross_csv, cross_html, make_cross
from ghostgo.arena.league import League
from ghostgo.arena.ratings import GameRow, rate
from ghostgo.arena.results import PlayerInfo
from ghostgo.engine.games.registry import get_game

NAMES = ["random", "rock", "paper", "scissors", "<b>"]


class Given(League):
    """A league of given rows, without the games behind them."""

    def ordered_rows(self) -> list[GameRow]:
        return self.rows


def cross_of(games: list[GameRow]) -> CrossTable:
    league = Given(get_game("tic_tac_toe"), {}, [PlayerInfo(name, "net") for name in NAMES], 5)
    league.rows += games
    return make_cross(league, rate(NAMES, games))


def played(chance: dict[tuple[int, int], float], pairs: int, seed: int) -> list[GameRow]:
    rng, games = np.random.default_rng(seed), list[GameRow]()
    for (a, b), p in chance.items():
        for _ in range(pairs):
            number = len(games)
            games.append(GameRow(a, b, float(rng.random() < p), number))
            games.append(GameRow(b, a, float(rng.random() >= p), number))
    return games


def test_counts_are_those_of_the_games() -> None:
    games = [GameRow(1, 2, 1.0, 0), GameRow(2, 1, 0.5, 0), GameRow(3, 1, 0.0, 1)]
    cross = cross_of(games)
    assert set(cross.names) == {"rock", "paper", "scissors"}, "who has not played is left out"
    i = {name: k for k, name in enumerate(cross.names)}
    assert cross.points[i["rock"], i["paper"]] == 1.5 and cross.games[i["rock"], i["paper"]] == 2
    assert cross.points[i["paper"], i["rock"]] == 0.5
    assert cross.points.sum() == 3 and cross.games.sum() == 6
    assert cross.expected + cross.expected.T == pytest.approx(cross.games)
    assert cross.names[0] == "rock" and cross.freedom == 0
    assert "Too few" in cross.verdict()


def test_consistent_players_fit_and_rock_paper_scissors_does_not() -> None:
    strength = [-200, 0, 100, 200, 300]
    pairings = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    fair = {(a, b): 1 / (1 + 10 ** ((strength[b] - strength[a]) / 400)) for a, b in pairings}
    values = [cross_of(played(fair, 30, seed)).p_value for seed in range(20)]
    assert cross_of(played(fair, 30, 0)).freedom == 6, "independent cycles among five who all met"
    triple = {pair: 0.5 for pair in ((1, 2), (2, 3), (1, 3))}
    assert cross_of(played(triple, 30, 0)).freedom == 1
    assert cross_of(played({(1, 2): 0.5, (3, 4): 0.5}, 30, 0)).freedom == 0
    assert 0.01 < np.median(values) < 0.99 and min(values) > 1e-4
    circle = {**fair, (1, 2): 0.1, (2, 3): 0.1, (1, 3): 0.9}
    cross = cross_of(played(circle, 30, 1))
    assert cross.p_value < 1e-6 and "does not explain" in cross.verdict()
    assert {cross.meetings[0].a, cross.meetings[0].b} <= {"rock", "paper", "scissors"}
    assert len(cross_csv(cross).splitlines()) == 1 + len(pairings)
    page = cross_html(cross)
    assert "&lt;b&gt;" in page and "<b>" not in page


def test_draws_do_not_hide_a_circle() -> None:
    games = list[GameRow]()
    for a, b in ((1, 2), (2, 3), (3, 1)):
        for i in range(40):  # a wins a third of the pairs, the rest are drawn
            won, number = i % 3 == 0, len(games)
            games.append(GameRow(a, b, 1.0 if won else 0.5, number))
            games.append(GameRow(b, a, 0.0 if won else 0.5, number))
    assert cross_of(games).p_value < 0.001
