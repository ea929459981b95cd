"""Ratings and schedule on simulated leagues whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from ghostgo.arena.ratings import ELO, GameRow, Ratings, drawn_shares, rate, spread
from ghostgo.arena.schedule import (
    FAR,
    Member,
    near_enough,
    next_pairs,
    planning_ratings,
    spanning_set,
)

Array = NDArray[np.float64]


def play_pair(
    rng: np.random.Generator, true: Array, a: int, b: int, pair: int, opening: float = 0.0
) -> list[GameRow]:
    """Two games, colours swapped; moving first is worth 40 Elo, the opening may favour it more."""
    games = []
    for first, second in ((a, b), (b, a)):
        gap = true[first] - true[second] + 40 + opening
        p = 1 / (1 + np.exp(-gap / ELO))
        draw = 0.2 * 2 * min(p, 1 - p)
        drawn = rng.random()
        result = 0.5 if drawn < draw else float(drawn < draw / 2 + p)
        games.append(GameRow(first, second, result, pair))
    return games


def names(k: int) -> list[str]:
    return [f"p{i}" for i in range(k)]


def difference_error(fit: Ratings) -> Array:
    """(K, K) standard error of each rating difference in Elo, the larger of both estimates."""
    return np.sqrt(np.maximum(spread(fit.covariance), spread(fit.clustered)))


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    hits, widths = [], []
    for _ in range(100):
        true = np.concatenate([[0.0], rng.normal(0, 200, 7)])
        games = []
        for pair in range(140):
            a, b = rng.choice(8, 2, replace=False)
            games += play_pair(rng, true, int(a), int(b), pair, float(rng.normal(0, 50)))
        fit = rate(names(8), games)
        hits += [r.low <= t <= r.high for r, t in zip(fit.ratings[1:], true[1:], strict=True)]
        widths += [rating.width for rating in fit.ratings[1:]]
    assert 0.92 <= np.mean(hits) <= 0.985
    assert 150 < np.mean(widths) < 350


def test_intervals_cover_the_truth_where_only_some_pairings_are_drawish() -> None:
    """Of two groups of four one draws nine games in ten, and a few games link them."""
    rng = np.random.default_rng(11)
    groups = np.arange(8) // 4
    hits: dict[int, list[list[bool]]] = {0: [], 1: []}
    for _ in range(150):
        true = np.concatenate([[0.0], rng.normal(0, 60, 7)])
        games = list[GameRow]()
        for pair in range(200):
            a, b = rng.choice(8, 2, replace=False) if pair < 40 else 4 * (pair % 2) + rng.choice(4, 2, replace=False)  # fmt: skip
            for first, second in ((int(a), int(b)), (int(b), int(a))):
                p = 1 / (1 + np.exp((true[second] - true[first]) / ELO))
                draw = 0.9 * 2 * min(p, 1 - p) if groups[first] == groups[second] == 1 else 0.0
                drawn = rng.random()
                games.append(
                    GameRow(
                        first, second, 0.5 if drawn < draw else float(drawn < draw / 2 + p), pair
                    )
                )
        fit = rate(names(8), games)
        gap = np.abs(np.subtract.outer(fit.elo - true, fit.elo - true))
        both = (gap <= 1.96 * difference_error(fit), gap <= 1.96 * np.sqrt(spread(fit.covariance)))
        for group, found in hits.items():
            a, b = (4 * group + side for side in np.triu_indices(4, 1))
            found.append([hit[a, b].mean() for hit in both])
    for group, found in hits.items():
        whole, model = np.mean(found, axis=0)
        assert 0.93 <= whole <= 0.97 and 0.93 <= model <= 0.97, group


def test_shares_of_draws_are_the_pairings_and_lean_to_the_leagues() -> None:
    games = [GameRow(i % 2, 1 - i % 2, 0.5, i) for i in range(100)]
    games += [GameRow(2, 3, float(i % 2), 100 + i) for i in range(100)]
    games.append(GameRow(0, 3, 1.0, 200))
    share = drawn_shares(games, np.full(201, 0.5))
    assert (share[:100] == 0.9).all(), "never all"
    assert (share[100:200] == share[100]).all() and 0 < share[100] < 0.05
    assert 0.3 < share[200] < 0.5, "one game says little: nearly the share of all"
    assert not drawn_shares(games[100:], np.full(101, 0.5)).any()
    assert drawn_shares([], np.zeros(0)).shape == (0,)


def test_without_draws_the_models_variance_is_the_fits() -> None:
    rng = np.random.default_rng(6)
    games = [GameRow(a, b, float(rng.random() < 0.6), i // 2)
             for i in range(40) for a, b in ((0, 1), (1, 0))]  # fmt: skip
    fit = rate(names(2), games)
    p = 1 / (1 + np.exp(-(np.array([-1, 1]) * fit.elo[1] + fit.colour) / ELO))
    inner = 1 / (1 + np.exp(-fit.elo[1] / ELO))
    v = p * (1 - p) * 40
    # The games, one drawn between the two by the prior, and one that holds the colour advantage.
    one = inner * (1 - inner)
    information = np.array([[v.sum() + one, v[1] - v[0]], [v[1] - v[0], v.sum()]])
    held = 1 / (1 + np.exp(-fit.colour / ELO))
    information[1, 1] += held * (1 - held)
    assert fit.covariance[1, 1] == pytest.approx(
        np.linalg.inv(information)[0, 0] * ELO**2, rel=1e-6
    )


@pytest.mark.parametrize("results", [[0.5] * 6, [1.0] * 6, [0.0, 1.0] * 3])
def test_all_draws_or_only_forfeits_give_finite_ratings(results: list[float]) -> None:
    """Drawn to the last; lost by who moves second; lost by one of both."""
    rows = [GameRow(*((0, 1), (1, 0))[i % 2], result, i // 2) for i, result in enumerate(results)]
    fit = rate(names(3), rows)
    assert np.isfinite(fit.elo).all() and np.isfinite(difference_error(fit)).all()
    assert 0 < fit.ratings[1].width < fit.ratings[2].width and fit.ratings[2].mark == "unplayed"
    assert fit.ratings[1].mark == ("unbeaten" if results[0] == 0.0 else "")


def test_the_colour_advantage_is_found() -> None:
    rng = np.random.default_rng(2)
    true = np.array([0.0, 100.0, 50.0])
    games = []
    for pair in range(600):
        a, b = rng.choice(3, 2, replace=False)
        games += play_pair(rng, true, int(a), int(b), pair)
    fit = rate(names(3), games)
    assert abs(fit.colour - 40) < 2.5 * fit.colour_error < 60
    assert np.abs(fit.elo - true).max() < 40


def test_errors_are_clustered_by_pair() -> None:
    """Openings that decide both games of a pair tell less than games do, and the other way round."""

    def both(player_decides: bool) -> list[GameRow]:
        rows = []
        for pair in range(50):
            for first in (0, 1):
                even = pair % 2 == 0
                wins = even == (first == 0) if player_decides else even
                rows.append(GameRow(first, 1 - first, float(wins), pair))
        return rows

    split, same = both(player_decides=False), both(player_decides=True)
    tight, loose = rate(names(2), split), rate(names(2), same)
    assert tight.clustered[1, 1] < 0.1 * tight.covariance[1, 1]
    assert loose.clustered[1, 1] > 1.5 * loose.covariance[1, 1]
    assert loose.ratings[1].width > 1.3 * tight.ratings[1].width


def test_perfect_separation_stays_finite_and_is_marked() -> None:
    games = [
        GameRow(a, b, float(a > b), 4 * i + j)
        for i in range(5)
        for j, pair in enumerate(itertools.pairwise(range(5)))
        for a, b in (pair, pair[::-1])
    ]
    fit = rate(names(5), games)
    assert np.isfinite(fit.elo).all()
    assert all(np.isfinite([r.low, r.high]).all() for r in fit.ratings)
    assert (np.diff(fit.elo) > 200).all()
    assert fit.elo[-1] < 4000
    assert [rating.mark for rating in fit.ratings] == ["anchor", "", "", "", "unbeaten"]
    assert rate(names(5), games, anchor=4).ratings[0].mark == "winless"


def test_the_anchor_stays_at_zero_and_only_shifts_the_rest() -> None:
    rng = np.random.default_rng(5)
    true = np.array([0.0, 80.0, -120.0, 200.0])
    games = []
    for pair in range(200):
        a, b = rng.choice(4, 2, replace=False)
        games += play_pair(rng, true, int(a), int(b), pair)
    by_first, by_third = rate(names(4), games, 0), rate(names(4), games, 2)
    assert by_third.elo[2] == 0 and by_third.ratings[2].width == 0
    assert np.allclose(by_first.elo - by_first.elo[2], by_third.elo, atol=0.01)
    assert np.allclose(difference_error(by_first), difference_error(by_third), atol=0.5)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_no_games_give_wide_intervals_and_no_crash(k: int) -> None:
    fit = rate(names(k), [])
    assert np.isfinite(fit.elo).all()
    assert all(rating.mark == "unplayed" for rating in fit.ratings[1:])
    assert all(rating.width > 1000 for rating in fit.ratings[1:])


def test_two_leagues_that_never_met_are_held_together_loosely() -> None:
    games = [
        GameRow(a, b, float(a < b), n)
        for n in range(10)
        for x, y in ((0, 1), (2, 3))
        for a, b in ((x, y), (y, x))
    ]
    fit = rate(names(4), games)
    assert np.isfinite(fit.elo).all()
    assert difference_error(fit)[0, 2] > 300


@pytest.mark.parametrize(
    "groups",
    [[4, 15], [4, 15, 15], [3, 4, 5], [0, 6, 7], [0, 5], [5], [1], [0, 1], [1, 1], [0, 1, 1, 1]],
    ids=str,
)
def test_the_spanning_set_links_everyone_by_the_fewest_pairings(groups: list[int]) -> None:
    """`groups`: how many anchors there are, then the length of each run."""
    anchors, *runs = groups
    members = [Member()] * anchors
    members += [Member(f"run {i}") for i, length in enumerate(runs) for _ in range(length)]
    pairings = spanning_set(members)
    assert len(pairings) == len(members) - 1
    assert all(a < b for a, b in pairings)
    reached = {0}
    for _ in members:
        reached |= {x for pair in pairings for x in pair if reached & set(pair)}
    assert reached == set(range(len(members)))
    neighbours = [(i, i + 1) for i in range(len(members) - 1) if members[i] == members[i + 1]]
    assert set(neighbours) <= set(pairings)
    starts = [i for i in range(1, len(members)) if members[i] != members[i - 1]]
    if anchors:
        assert {(0, start) for start in starts} <= set(pairings), "no link over a run's length"


def test_plans_follow_a_runs_order_where_the_games_leave_it_open() -> None:
    members = [Member(), Member(), *[Member("a")] * 3]
    elo = np.array([0.0, -50.0, 200.0, 180.0, 400.0])
    unsure = planning_ratings(members, elo, np.diag([0.0, 1e4, 1e4, 1e4, 1e4]))
    assert unsure[2] - unsure[3] < 1, "a small fall is noise"
    assert unsure[[0, 1, 4]].tolist() == [0, -50, 400], "anchors have no order, the rest rises"
    sure = planning_ratings(members, elo, np.diag([0.0, 25.0, 25.0, 25.0, 25.0]))
    assert sure.tolist() == elo.tolist(), "a fall beyond the errors is real"


def league(seed: int, spread: float, pairs: int, planned: bool) -> tuple[Ratings, Array]:
    """A league of 12 after `pairs` pairs, by the schedule or as a round robin."""
    rng = np.random.default_rng(seed)
    true = np.sort(rng.normal(0, spread, 12))
    true -= true[0]
    played = np.zeros((12, 12), np.int64)
    robin = list(itertools.combinations(range(12), 2))
    games: list[GameRow] = []
    fit = rate(names(12), games)
    while played.sum() // 2 < pairs:
        done = int(played.sum() // 2)
        chosen = [robin[(done + i) % len(robin)] for i in range(20)]
        if planned:
            none = np.zeros_like(played)
            chosen = next_pairs([Member()] * 12, fit.elo, fit.covariance, played, none, 20)
        for a, b in chosen:
            games += play_pair(rng, true, a, b, int(played.sum()))
            played[a, b] += 1
            played[b, a] += 1
        fit = rate(names(12), games)
    return fit, true


def test_the_schedule_needs_far_fewer_games_than_a_round_robin() -> None:
    def width(pairs: int, planned: bool) -> float:
        fits = [league(seed, 300, pairs, planned)[0] for seed in range(8)]
        return float(np.mean([rating.width for fit in fits for rating in fit.ratings[1:]]))

    assert width(200, planned=True) < width(300, planned=False)


def test_scheduled_leagues_keep_their_coverage() -> None:
    hits = []
    for seed in range(30):
        fit, true = league(seed, 150, 160, planned=True)
        hits += [r.low <= t <= r.high for r, t in zip(fit.ratings[1:], true[1:], strict=True)]
    assert 0.88 <= np.mean(hits) <= 0.995


def test_far_pairs_are_left_out_but_no_gap_stays_open() -> None:
    elo = np.array([0.0, 100.0, 1500.0, 1600.0])
    near = near_enough(elo, np.diag([0.0, 100.0, 100.0, 100.0]))
    assert near[0, 1] and near[2, 3] and near[1, 2]
    assert not near[0, 2] and not near[0, 3] and not near[0, 0]
    assert elo[2] - elo[1] > FAR


def test_a_sequential_player_gets_two_pairs_at_a_time() -> None:
    members = [Member(), Member(), Member(sequential=True)]
    played = np.full((3, 3), 9)
    none = np.zeros((3, 3), np.int64)
    chosen = next_pairs(members, np.zeros(3), np.diag([0.0, 1e2, 1e6]), played, none, 20)
    assert len(chosen) == 20
    assert sum(2 in pair for pair in chosen) == 2


def test_a_settled_pairing_gets_no_more_games() -> None:
    covariance = np.diag([0.0, 1e2, 1e6])
    played, none = np.full((3, 3), 9), np.zeros((3, 3), np.int64)
    settled = np.zeros((3, 3), bool)
    settled[0, 2] = settled[2, 0] = settled[1, 2] = settled[2, 1] = True
    given = ([Member()] * 3, np.array([0.0, 50.0, 900.0]), covariance, played, none, 10)
    assert any(2 in pair for pair in next_pairs(*given))
    assert set(next_pairs(*given, settled)) == {(0, 1)}
