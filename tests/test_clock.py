"""Clocks, and how much of them a move takes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ghostgo import clock as clock_module
from ghostgo.clock import FADING, FEWEST_MOVES, LAG_SHARE, STEP_MARGIN, Clock, Pace, moves_to_come


def test_no_limit() -> None:
    for clock in (Clock(0, 10, 0), Clock(0, 0, 0), Clock(0, 0, 5)):
        assert clock.unlimited and clock.budget(30) is None
        assert clock.spend(1e6) and clock.budget(30) is None
    assert not Clock(1, 0, 0).unlimited and not Clock(0, 1, 1).unlimited


def test_main_time_is_shared_among_the_moves_to_come() -> None:
    clock = Clock(100)
    assert clock.budget(49) == pytest.approx(1.8)
    assert clock.budget(1) == pytest.approx(0.9 * 98 / FEWEST_MOVES)
    assert clock.spend(60) and clock.left == 40
    assert not clock.spend(41)


def test_overtime_begins_when_main_time_is_over() -> None:
    clock = Clock(10, 30, 5)
    assert clock.spend(12)  # two seconds into the first period, one of its five moves made
    assert (clock.left, clock.to_make) == (28, 4)
    for _ in range(4):
        assert clock.spend(7)
    assert (clock.left, clock.to_make) == (30, 5)
    assert clock.spend(29.5) and not clock.spend(1)


def test_without_main_time_the_first_period_has_begun() -> None:
    clock = Clock(0, 10, 1)
    assert clock.budget(40) == pytest.approx(9.0)
    assert clock.spend(9) and clock.left == 10


def test_a_period_overrun_is_one_move_late_and_no_more() -> None:
    clock = Clock(0, 5, 1)
    assert not clock.spend(6) and clock.budget(30) == pytest.approx(4.5)
    assert clock.spend(4) and clock.left == 5
    canadian = Clock(1, 5, 2)
    assert not canadian.spend(7) and (canadian.left, canadian.to_make) == (5, 2)
    sudden = Clock(5)
    assert not sudden.spend(6) and sudden.budget(30) == 0


def test_the_controllers_word_counts() -> None:
    clock = Clock(100, 30, 5)
    clock.told(12, 4)
    assert clock.budget(40) == pytest.approx(2.7)


@pytest.mark.parametrize(
    ("main", "period", "moves"),
    [(10, 0, 0), (60, 0, 0), (300, 0, 0), (0, 1, 1), (5, 10, 10), (0, 5, 25), (30, 2, 1)],
)
def test_blitz_is_never_lost_on_time(main: float, period: float, moves: int) -> None:
    """150 games each; a move takes its budget, and what machine and controller add."""
    rng = np.random.default_rng(int(main + 10 * period + moves))
    for _ in range(150):
        size = int(rng.choice([9, 13, 19]))
        clock, played = Clock(main, period, moves), 0
        slowness = float(rng.uniform(0.0, 0.01))  # seconds that every move costs, thinking apart
        length = int(size * size * rng.uniform(0.4, 1.2))
        while played < length:
            budget = clock.budget(moves_to_come(size * size, played))
            assert budget is not None
            hiccup = min(float(rng.exponential(0.01)), 0.08, LAG_SHARE * budget)
            assert clock.spend(budget + slowness + hiccup), (size, played, budget, clock)
            played += 2


# ---- steps of a search


class Steps:
    """Steps of so many seconds each, in a time of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def make(self, pace: Pace, seconds: float) -> None:
        def step() -> bool:
            self.now += seconds
            return True

        assert pace.step(step)


def test_a_step_is_made_where_half_as_much_again_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, steps = Pace(), Steps(monkeypatch)
    assert pace.fits, "no limit"
    pace.begin(1.0)
    for seconds in (0.3, 0.2):
        assert pace.fits
        steps.make(pace, seconds)
    assert pace.longest == 0.3 and pace.needed == pytest.approx(STEP_MARGIN * 0.3)
    assert pace.fits, "0.5 + 0.45 < 1"
    steps.make(pace, 0.1)
    assert not pace.fits


def test_long_steps_fade_from_move_to_move(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, steps = Pace(), Steps(monkeypatch)
    steps.make(pace, 0.5)
    pace.begin()
    assert pace.longest == pytest.approx(FADING * 0.5)
    steps.make(pace, 60)
    pace.begin(2.0)
    assert pace.longest == 2.0 and not pace.fits, "a machine stood still"
    moves = 0
    while not pace.fits:
        steps.make(pace, 0.01)
        pace.begin(2.0)
        moves += 1
    assert moves == 2
