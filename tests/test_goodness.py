"""Goodness of fit by simulated tournaments, on leagues whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostgo.arena import goodness as module
from ghostgo.arena.goodness import Goodness, goodness, shared_covariance, tally
from ghostgo.arena.ratings import ELO, GameRow, Ratings, rate


def fitted(games: list[GameRow]) -> Ratings:
    players = max(max(game.first, game.second) for game in games) + 1
    return rate([str(i) for i in range(players)], games)


def fit_of(games: list[GameRow], tournaments: int = 200) -> Goodness:
    ratings = fitted(games)
    found = goodness(tally(games, ratings), ratings, tournaments=tournaments)
    assert found is not None
    return found


def league(rng: np.random.Generator, players: int, pairs: int, opening: float) -> list[GameRow]:
    """Strengths are numbers; half of the pairings draw much; openings favour one colour."""
    true = rng.normal(0, 150, players)
    drawish = rng.random((players, players)) < 0.5
    games = list[GameRow]()
    for pair in range(pairs):
        a, b = sorted(int(player) for player in rng.choice(players, 2, replace=False))
        luck = rng.normal(0, opening)
        for first, second in ((a, b), (b, a)):
            p = 1 / (1 + np.exp((true[second] - true[first] - luck) / ELO))
            draw = 0.8 * 2 * min(p, 1 - p) if drawish[a, b] else 0.0
            drawn = rng.random()
            result = 0.5 if drawn < draw else float(drawn < draw / 2 + p)
            games.append(GameRow(first, second, result, pair))
    return games


def test_p_is_uniform_where_one_number_explains_all() -> None:
    """Few games a pairing, draws in some, openings that matter: what chi-squared got wrong."""
    rng = np.random.default_rng(1)
    values = np.array([fit_of(league(rng, 6, 40, 100)).p_value for _ in range(60)])
    # Binomial, 60 leagues: 6 +- 2.3 below 0.1, 30 +- 3.9 below the middle.
    assert 1 <= (values < 0.1).sum() <= 12
    assert 19 <= (values < 0.5).sum() <= 41


def test_a_circle_is_found() -> None:
    rng = np.random.default_rng(2)
    games = list[GameRow]()
    for a, b in ((0, 1), (1, 2), (2, 0)):
        for _ in range(12):
            number = len(games)
            games.append(GameRow(a, b, float(rng.random() < 0.85), number))
            games.append(GameRow(b, a, float(rng.random() < 0.15), number))
    found = fit_of(games, 2000)
    assert found.p_value < 0.002 and found.statistic > 5 * found.expected
    assert "does not explain" in found.sentence()


def test_the_order_of_the_games_and_the_names_of_pairs_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    games = league(rng, 5, 30, 100)
    ratings = fitted(games)
    order = rng.permutation(len(games))
    mixed = [replace(games[i], pair=1000 - games[i].pair) for i in order]
    one, other = (goodness(tally(rows, ratings), ratings, 7) for rows in (games, mixed))
    assert one is not None and other is not None
    assert one.statistic == pytest.approx(other.statistic)
    assert one.exceeding == other.exceeding and one.expected == pytest.approx(other.expected)
    again = goodness(tally(games, ratings), ratings, 8)
    assert again is not None and again.expected != one.expected


def test_luck_is_that_of_the_opening_and_not_a_misfit() -> None:
    """Openings that decide are luck of who moves first; a player who wins all has no luck at all."""

    def luck_of(results: list[tuple[float, float]]) -> float:
        games = list[GameRow]()
        for pair, (first, second) in enumerate(results):
            games += [GameRow(0, 1, first, pair), GameRow(1, 0, second, pair)]
        return tally(games, fitted(games)).luck

    assert luck_of([(1.0, 1.0), (0.0, 0.0)] * 20) < -0.7
    assert luck_of([(1.0, 0.0), (0.0, 1.0)] * 20) > 0.7
    assert luck_of([(1.0, 0.0)] * 40) == pytest.approx(0)
    assert abs(luck_of([(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)] * 10)) < 0.1


@pytest.mark.parametrize("luck", [-0.8, 0.0, 0.5])
def test_simulated_tournaments_have_the_variance_that_is_said(luck: float) -> None:
    games = league(np.random.default_rng(4), 4, 40, 0)
    ratings = fitted(games)
    told = replace(tally(games, ratings), luck=luck)
    points = module._play(told, np.random.default_rng(0), 6000)
    assert points.mean(axis=1) == pytest.approx(told.counts * told.means, abs=0.15)
    variance = module.by_pairing(points).var(axis=1)
    assert variance == pytest.approx(told.variance, rel=0.12)


def test_shared_luck_is_all_of_a_games_variance_at_even_odds() -> None:
    even: NDArray[np.float64] = np.full((2, 1), 0.5)
    for drawn in (0.0, 0.4):
        share, variance = np.full((2, 1), drawn), 0.25 - drawn / 4
        assert shared_covariance(even, share, True)[0, 0] == pytest.approx(variance)
        assert shared_covariance(even, share, False)[0, 0] == pytest.approx(-variance)


def test_simulated_tournaments_are_rated_as_real_ones() -> None:
    games = league(np.random.default_rng(5), 5, 30, 50)
    ratings = fitted(games)
    told = tally(games, ratings)
    assert module._Rater(told, ratings).refit(told.points[:, None])[:, 0] == pytest.approx(
        told.means, abs=1e-6
    )
    # Also from ratings that are far off.
    far = module._Rater(told, ratings)
    far.start = np.zeros_like(far.start)
    assert far.refit(told.points[:, None])[:, 0] == pytest.approx(told.means, abs=1e-4)


def test_large_leagues_are_simulated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    games = league(np.random.default_rng(6), 5, 30, 0)
    ratings = fitted(games)
    monkeypatch.setattr(module, "WORK", 400 * (20 * len(games) + 5**3))
    monkeypatch.setattr(module, "CHUNK", 150 * (2 * len(games) + 36))  # two full chunks and a rest
    found = goodness(tally(games, ratings), ratings)
    assert found is not None and found.tournaments == 400
    monkeypatch.setattr(module, "WORK", 1.0)
    found = goodness(tally(games, ratings), ratings)
    assert found is not None and found.tournaments == module.FEWEST


def test_the_sentence_says_how_fine_p_is() -> None:
    none = np.zeros(0)
    assert "p < 0.0005)" in Goodness(30.0, 10.0, 0, 2000, none).sentence()
    assert "p < 0.005)" in Goodness(30.0, 10.0, 0, 200, none).sentence()
    assert "p = 0.05)" in Goodness(12.0, 10.0, 100, 2000, none).sentence()


def test_without_a_cycle_there_is_nothing_to_find() -> None:
    games = [GameRow(0, 1, 1.0, 0), GameRow(1, 0, 0.5, 0), GameRow(1, 2, 0.0, 1)]
    ratings = fitted(games)
    assert goodness(tally(games, ratings), ratings) is None
    assert tally(games, ratings).pairs.tolist() == [1, 0]
