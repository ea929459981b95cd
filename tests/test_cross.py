"""The cross-table and what it says about how well ratings fit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ghostgo.arena.cross import CrossTable, cross_csv, cross_html, make_cross
from ghostgo.arena.league import League
from ghostgo.arena.ratings import GameRow, Ratings, rate
from ghostgo.arena.results import PlayerInfo
from ghostgo.engine.games.registry import get_game

NAMES = ["random", "rock", "paper", "scissors", "<b>"]


class Given(League):
    """A league of given rows, without the games behind them."""

    def ordered_rows(self) -> list[GameRow]:
        return self.rows


def cross_of(games: list[GameRow], ratings: Ratings | None = None) -> CrossTable:
    league = Given(get_game("tic_tac_toe"), {}, [PlayerInfo(name, "net") for name in NAMES], 5)
    league.rows += games
    return make_cross(league, ratings or rate(NAMES, games))


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
    pairings = list(itertools.combinations(range(5), 2))
    fair = {(a, b): 1 / (1 + 10 ** ((strength[b] - strength[a]) / 400)) for a, b in pairings}
    cross = cross_of(played(fair, 30, 0))
    assert cross.fit is not None and 0.01 < cross.fit.p_value < 0.99
    assert "do not show one number a player to be too few" in cross.verdict()
    assert cross_of(played(fair, 30, 0)).freedom == 6, "independent cycles among five who all met"
    triple = {pair: 0.5 for pair in ((1, 2), (2, 3), (1, 3))}
    assert cross_of(played(triple, 30, 0)).freedom == 1
    assert cross_of(played({(1, 2): 0.5, (3, 4): 0.5}, 30, 0)).freedom == 0
    circle = {**fair, (1, 2): 0.1, (2, 3): 0.1, (1, 3): 0.9}
    cross = cross_of(played(circle, 30, 1))
    assert "p < 0.0005" in cross.verdict() and "does not explain" in cross.verdict()
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
    fit = cross_of(games).fit
    assert fit is not None and fit.p_value < 0.001


def deviation_of(games: list[GameRow], ratings: Ratings | None = None) -> float:
    """By how many standard deviations rock beat paper more often than expected."""
    (meeting,) = [m for m in cross_of(games, ratings).meetings if {m.a, m.b} == {"rock", "paper"}]
    assert meeting.points != meeting.expected
    return abs(meeting.deviation)


def test_deviations_allow_for_the_pairings_own_draws() -> None:
    """Four points too many are more where most games are drawn, not where others are drawn."""
    plain = [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]

    def circle(drawn: int, elsewhere: int) -> list[GameRow]:
        games = list[GameRow]()
        for a, b in itertools.combinations(range(5), 2):
            last = drawn if (a, b) == (1, 2) else elsewhere
            for i in range(40):
                first, second = (0.5, 0.5) if i < last else plain[i % 4]
                if i < 4 and (a, b) == (1, 2):
                    first, second = 1.0, 0.0
                number = len(games)
                games += [GameRow(a, b, first, number), GameRow(b, a, second, number)]
        return games

    ratings = rate(NAMES, circle(0, 0))
    none, at_home, away = (
        deviation_of(games, ratings) for games in (circle(0, 0), circle(40, 0), circle(0, 40))
    )
    assert at_home > 1.4 * none
    assert at_home > 1.1 * away


def test_deviations_spread_by_one_though_ratings_were_fitted_to_the_same_games() -> None:
    strength = [0, 60, 120, 180, 240]
    pairings = list(itertools.combinations(range(5), 2))
    chance = {(a, b): 1 / (1 + 10 ** ((strength[b] - strength[a]) / 400)) for a, b in pairings}
    for chosen, pairs in ((pairings, 10), ([(1, 2), (2, 3), (1, 3)], 20)):
        some = {pairing: chance[pairing] for pairing in chosen}
        found = [
            [m.deviation for m in cross_of(played(some, pairs, seed)).meetings]
            for seed in range(60)
        ]
        # Without the fit they would spread by 0.77 and by 0.58.
        assert 0.85 <= float(np.std(found)) <= 1.1


def test_deviations_allow_for_the_openings_that_pairs_share() -> None:
    """Where openings decide, a player's two games of a pair cancel, and three points are many."""

    def games(opening: bool) -> list[GameRow]:
        rng, rows = np.random.default_rng(3), list[GameRow]()
        for a, b in ((1, 2), (2, 3), (3, 1)):
            for i in range(30):
                first, other = (float(x) for x in rng.integers(2, size=2))
                second = first if opening else other
                if (a, b) == (1, 2) and i < 6:
                    first, second = 1.0, 0.0
                rows += [GameRow(a, b, first, len(rows)), GameRow(b, a, second, len(rows))]
        return [GameRow(r.first, r.second, r.result, i // 2) for i, r in enumerate(rows)]

    paired = games(opening=True)
    apart = [GameRow(r.first, r.second, r.result, i) for i, r in enumerate(paired)]
    assert deviation_of(paired) > 1.3 * deviation_of(apart)


@pytest.mark.parametrize(
    "results",
    [[], [0.5] * 12, [1.0, 0.0] * 6, [1.0] * 12],
    ids=["none", "draws", "forfeits by one side", "forfeits by who moves second"],
)
def test_leagues_that_tell_nothing_are_no_fault(results: list[float]) -> None:
    pairings = [(1, 2), (2, 3), (1, 3)]
    games = list[GameRow]()
    for i, result in enumerate(results):
        first, second = pairings[i // 2 % 3][:: -1 if i % 2 else 1]
        games.append(GameRow(first, second, result, i // 2))
    cross = cross_of(games)
    assert all(np.isfinite(m.deviation) for m in cross.meetings)
    told = "Too few" if not results else "do not show one number"
    assert told in cross.verdict() and told in cross_html(cross)


def test_one_player_alone_has_no_cross_table() -> None:
    league = League(get_game("tic_tac_toe"), {}, [PlayerInfo("alone", "net")], 1)
    cross = make_cross(league, rate(["alone"], []))
    assert not cross.names and not cross.meetings and "Too few" in cross.verdict()
    assert len(cross_csv(cross).splitlines()) == 1
