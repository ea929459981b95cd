"""Batches made ahead: the same ones, errors where they are asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import trainer, weights

from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay import feeding
from ghostgo.selfplay.boards import fill_windows, make_boards
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.feeding import Drawn, Feeder

GAME = get_game("tic_tac_toe")


@pytest.mark.parametrize("game", ["go5", "connect_four"])
def test_a_run_is_the_same_with_and_without(
    game: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for ahead in (True, False):
        monkeypatch.setattr(feeding, "AHEAD", ahead)
        run = trainer(tmp_path, str(ahead), game)
        for _ in range(3):
            run.iterate(Stop())
        made.append(weights(run.run))
    assert run.learner.steps > 3
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])


def marked(step: int) -> Drawn:
    """A batch of no rows that can be told from others."""
    return Drawn(step, GAME)  # type: ignore[arg-type]


def test_one_ahead_in_another_thread_and_none_after_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, threads = [], set()

    def draw(step: int) -> Drawn:
        asked.append(step)
        threads.add(threading.current_thread().name)
        return marked(step)

    with Feeder(draw) as feeder:
        taken = [feeder.take(step, last=step == 7) for step in (5, 6, 7)]
        assert taken == [marked(5), marked(6), marked(7)]
        assert asked == [5, 6, 7], "nothing is drawn twice, nor beyond the last"
        assert feeder.take(2) == marked(2), "any step can be asked for"
    assert threading.current_thread().name not in threads
    assert not any(thread.name in threads for thread in threading.enumerate()), "it has ended"


def test_what_drawing_raises_reaches_whoever_asks_for_it() -> None:
    def draw(step: int) -> Drawn:
        if step == 1:
            raise ZeroDivisionError("in the feeder")
        return marked(step)

    with Feeder(draw) as feeder:
        feeder.take(0)
        with pytest.raises(ZeroDivisionError, match="in the feeder"):
            feeder.take(1)


def test_a_resumed_run_reads_no_file_that_its_window_had_dropped(tmp_path: Path) -> None:
    """What the law wants may grow by more than an iteration's rows, where surprise draws those."""
    run = trainer(tmp_path, "r")
    while run.window.oldest in ("", "000001.h5"):
        run.iterate(Stop())
    for oldest, same in ((run.window.oldest, True), ("", False)):
        boards = make_boards(run.learner.network, run.config)
        fill_windows(boards, run.run.shards, 10**6, pytest.fail, [oldest])
        assert (boards[0].window.tables == run.window.tables) == same
        assert (boards[0].window.rows == run.window.rows) == same
    assert trainer(tmp_path, "r")._oldest == [run.window.oldest], "the state tells it"


def test_a_resumed_run_has_the_same_window_within_its_bytes(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r", "go5")
    assert run.window.most_bytes == 2048 << 20
    run.iterate(Stop())
    run.window.most_bytes = bound = int(2.2 * run.window.bytes)
    for _ in range(3):
        run.iterate(Stop())
        assert run.window.bytes <= bound
    assert 0 < run.window.tables < 4
    boards = make_boards(run.learner.network, run.config)
    boards[0].window.most_bytes = bound
    fill_windows(boards, run.run.shards, 10**6, pytest.fail)
    again = boards[0].window
    assert again.bytes == run.window.bytes <= bound
    one, other = (w.rows_batch(np.arange(w.rows)) for w in (run.window, again))
    assert (one.origin == other.origin).all() and (one.planes == other.planes).all()
