"""What a run tells of itself: the live line and TensorBoard's scalars."""

from __future__ import annotations

import io
import mmap
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_bits import make, scalars
from test_loop import trainer as tiny

from ghostgo.data.distinct import distinct_shares, table_keys
from ghostgo.data.ledger import Timer, read_ledger
from ghostgo.data.records import concat
from ghostgo.data.run import load_network
from ghostgo.data.shards import read_shard
from ghostgo.selfplay import monitor
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.faults import trained
from ghostgo.selfplay.loop import run_selfplay
from ghostgo.selfplay.monitor import LiveLine, resident_bytes
from ghostgo.selfplay.rows import HEADING, WIDTH, row
from ghostgo.selfplay.throughput import Throughput
from ghostgo.selfplay.trainer import Trainer


def test_memory_is_what_the_process_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resident_bytes()
    assert before > 10e6, "a Python with torch in it"
    size = 64 << 20
    with mmap.mmap(-1, size) as held:  # an array may get memory that the process has already
        held.write(b"\1" * size)
        after = resident_bytes()
    assert 0.9 * size < after - before < 3 * size
    monkeypatch.setattr(monitor, "_STATM", Path("/nowhere"))
    assert resident_bytes() > 0.95 * after, "the peak, where the present is not told"


def test_scalars_have_names_for_people_and_say_how_fast_and_how_large(tmp_path: Path) -> None:
    trainer = make(tmp_path, "r")
    trainer.measure_raw_rate(0.02)
    for _ in range(2):
        trainer.iterate(Stop())
    found = {name: values[-1][1] for name, values in scalars(trainer.run).items()}
    totals = trainer.ledger.totals
    assert found["compute/PFLOP"] == pytest.approx(totals.flops / 1e15)
    assert found["compute/hours"] == pytest.approx(totals.seconds / 3600)
    assert found["learner/gradient norm"] == pytest.approx(trainer.losses["gradient_norm"])
    warm = trainer.learner.steps / trainer.config.learner.warmup_steps
    rate = trainer.config.learner.learning_rate * min(1.0, warm)
    assert found["learner/learning rate"] == pytest.approx(rate)
    wanted = trainer.config.selfplay.samples_per_position
    assert found["learner/samples a new row"] == pytest.approx(wanted, abs=0.5)
    assert found["learner/steps a second"] > 0
    assert found["play/evaluations a second"] > 0 and found["play/share of raw speed"] > 0
    for of in ("games", "positions"):
        assert 0 < found[f"distinct/{of} of the window"] <= 1
    assert found["memory/resident MB"] * 1e6 == pytest.approx(resident_bytes(), rel=0.3)
    assert found["memory/replay window MB"] == pytest.approx(trainer.window.bytes / 1e6)
    assert not [name for name in found if "_" in name], "no names of variables"
    per_iteration = scalars(trainer.run)["play/seconds"]
    assert [step for step, _ in per_iteration] == [1, 2]


def test_the_live_line_says_what_one_watches_for(tmp_path: Path) -> None:
    trainer = make(tmp_path, "r")
    trainer.iterate(Stop())
    out = io.StringIO()
    trainer.line = LiveLine(out, every=0.0)
    trainer.iterate(Stop())
    trainer.reporting.show_play(Timer(), Stop(minutes=5))  # games this small may end unseen
    line = [text for text in out.getvalue().splitlines() if "evals/s" in text][-1]
    for pattern in (
        r"^r #3 \| \d+ games \| \S+ evals/s", r"0:\d\d gone, [45]:\d\d left", r"memory [\d.]+[MG]B",
        r"window \S+ \(\S+k?B\)", r"loss policy [\d.]+", r"bits a game: outcome", r"bits a PFLOP: outcome",
        r"distinct: games \d+% positions \d+% of this iteration, games \d+% positions \d+% of the window",
    ):  # fmt: skip
        assert re.search(pattern, line), (pattern, line)
    assert any("training 1/" in text and "memory" in text for text in out.getvalue().splitlines())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 77


@pytest.mark.parametrize("columns", [80, 120])
def test_bits_and_shares_stay_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """The live line is cut to the terminal's width, long before it comes to them."""
    wide = {77: os.terminal_size((columns, 24))}
    monkeypatch.setattr(os, "get_terminal_size", wide.__getitem__)
    trainer, out = make(tmp_path, "r"), Terminal()
    trainer.line = LiveLine(out)
    for _ in range(2):
        trainer.iterate(Stop())
    trainer.reporting.show_play(Timer(), Stop())
    drawn = re.split(r"[\r\n]", out.getvalue())
    assert max(map(len, drawn)) == columns - 1, "the live line, cut"
    stay = [text.split("\r")[-1] for text in out.getvalue().split("\n")[:-1]]
    number, share = r" +-?[\d.]+[kMGTPEZ]?", r" +\d+%"
    assert "bits a PFLOP" in stay[0] and stay[1].split()[:4] == ["#", "outcome", "owners", "policy"]
    assert [bool(re.fullmatch(f" +[12]{number * 6}{share * 4}", text)) for text in stay[2:]] == [
        True, True,
    ]  # fmt: skip
    assert max(map(len, stay)) < 80
    assert f"{trainer.bits['policy']:.3g}" in stay[-1]


def test_a_row_has_room_for_any_number() -> None:
    """And says of a head that a game has not that there is none."""
    worst = {"outcome": -0.994, "policy": -123456.0}
    assert len(row(99999, worst, {"outcome": -9.876e8}, [1.0] * 4)) == WIDTH
    assert row(7, worst, {}, [1.0, 0.5, 0.25, 0]).split() == [
        "7", "-0.99", "-", "-123k", "-", "-", "-", "100%", "50%", "25%", "0%",
    ]  # fmt: skip
    assert {len(line) for line in HEADING.split("\n")} == {WIDTH}


def test_elsewhere_no_row_is_added(tmp_path: Path) -> None:
    trainer, out = make(tmp_path, "r"), io.StringIO()
    trainer.line = LiveLine(out, every=1e9)
    trainer.iterate(Stop())
    assert out.getvalue() == ""


def test_a_live_line_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps cannot be drawn over: each redrawing would leave one more."""
    wide = {77: os.terminal_size((40, 24))}
    monkeypatch.setattr(os, "get_terminal_size", wide.__getitem__)
    out = Terminal()
    line = LiveLine(out)
    line.show("x" * 100)
    line.show("y" * 10)
    drawn = out.getvalue().split("\r")[1:]
    assert drawn == ["x" * 39, "y" * 10 + " " * 29]
    line.show("x" * 100)
    wide[77] = os.terminal_size((20, 24))
    line.show("z")
    assert out.getvalue().split("\r")[-1] == "z" + " " * 18, "it has shrunk"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The trainer's timers tell clock[0]: a step of play takes 0.01 seconds, one of training 0.1."""
    now = [0.0]

    class Watch(Timer):
        def __init__(self) -> None:
            super().__init__()
            self.begun = now[0]

        @property
        def seconds(self) -> float:
            return now[0] - self.begun

    def lasting(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def lasts(*given: Any) -> Any:
            now[0] += seconds
            return work(*given)

        return lasts

    monkeypatch.setattr("ghostgo.selfplay.trainer.Timer", Watch)
    monkeypatch.setattr("ghostgo.selfplay.trainer.trained", lasting(0.1, trained))
    monkeypatch.setattr(Actor, "step", lasting(0.01, Actor.step))
    return now


def test_the_share_of_raw_speed_is_that_of_the_whole_run(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, asked = [1000.0, 50.0, 400.0], []

    def raw(actors: Sequence[Actor], seconds: float) -> float:
        asked.append(seconds)
        clock[0] += 1000  # must be charged to nobody
        return rates[len(asked) - 1]

    monkeypatch.setattr("ghostgo.selfplay.trainer.raw_rate", raw)
    trainer = make(tmp_path, "r")
    for _ in range(2):
        trainer.iterate(Stop())
    trainer = make(tmp_path, "r")
    trainer.iterate(Stop())
    rows = read_ledger(trainer.ledger.path)
    play = [row for row in rows if row["phase"] == "selfplay"]
    learning = sum(row["seconds"] for row in rows if row["phase"] == "training")
    seconds = [row["seconds"] for row in play]
    assert asked == pytest.approx([0.05 * each for each in seconds])
    assert sum(row["cached"] for row in play) > 0, "which count for nothing"
    wanted = sum(row["evaluations"] for row in play) / sum(map(float.__mul__, seconds, rates))
    assert trainer.throughput.share == pytest.approx(wanted)
    assert trainer.throughput.play_seconds == pytest.approx(sum(seconds))
    assert trainer.throughput.learning_seconds == pytest.approx(learning)
    assert learning == pytest.approx(0.1 * trainer.learner.steps)
    found = scalars(trainer.run)
    assert found["play/share of raw speed, whole run"][-1][1] == pytest.approx(wanted)
    each = [
        row["evaluations"] / (row["seconds"] * rate) for row, rate in zip(play, rates, strict=True)
    ]
    assert [value for _, value in found["play/share of raw speed"]] == pytest.approx(each)
    assert trainer.run.latest().meta["throughput"] == trainer.throughput.to_dict()


def test_measuring_raw_speed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for measured in (True, False):
        if not measured:
            monkeypatch.setattr(Trainer, "measure_raw_rate", lambda *given: None)
        trainer = make(tmp_path, str(measured))
        trainer.measure_raw_rate(0.01)
        for _ in range(2):
            trainer.iterate(Stop())
        assert bool(trainer.raw_rate) == measured
        tables = [read_shard(path) for path in sorted(trainer.run.shards.glob("*.h5"))]
        runs.append((trainer, concat(tables), load_network(trainer.run.latest().path).state_dict()))
    (one, games, weights), (other, same_games, same_weights) = runs
    assert games.policies is not None and same_games.policies is not None
    assert games.moves.tobytes() == same_games.moves.tobytes()
    assert games.policies.tobytes() == same_games.policies.tobytes()
    assert all(torch.equal(weights[key], same_weights[key]) for key in weights)
    assert one.work().tolist() == other.work().tolist()
    assert one.ledger.totals.evaluations == other.ledger.totals.evaluations


def test_a_run_that_stops_says_how_fast_it_played(tmp_path: Path) -> None:
    make(tmp_path, "r")
    out = io.StringIO()
    info = run_selfplay("r", games=10, root=tmp_path, line=LiveLine(out))
    told = Throughput.from_dict(info.meta["throughput"])
    assert told.evaluations == info.totals.evaluations > 0
    said = re.search(r"stopped: .*; (self-play at .*); the same command goes on", out.getvalue())
    assert said and said[1] == told.text()
    assert Throughput(930.0, 1000.0, 576.0, 126.0).text() == (
        "self-play at 0.93 of raw inference over 9.6 minutes of play (learning 2.1)"
    )
    assert Throughput(learning_seconds=60.0).text() == "", "of several boards none is measured"


def test_shares_of_the_window_are_of_its_games_also_after_a_stop(tmp_path: Path) -> None:
    whole, parts = tiny(tmp_path, "whole"), tiny(tmp_path, "parts")
    for left in range(5, 0, -1):
        whole.iterate(Stop())
        if left == 1:
            parts = tiny(tmp_path, "parts")
        parts.iterate(Stop())
    tables = [read_shard(path) for path in sorted(whole.run.shards.glob("*.h5"))]
    held = tables[-whole.window.tables :]
    assert 1 < len(held) < len(tables), "the window has let games go"
    games, positions = distinct_shares([table_keys(table) for table in held])
    for trainer in (whole, parts):
        found = scalars(trainer.run)
        assert found["distinct/games of the window"][-1][1] == pytest.approx(games)
        assert found["distinct/positions of the window"][-1][1] == pytest.approx(positions)
    # Tic-tac-toe has few positions, and more of the same in more games.
    assert 0 < positions < found["distinct/positions of this iteration"][-1][1] < 1
    keys = whole.window.keys()
    assert sum(len(each.positions) for each in keys) == sum(table.positions for table in held)


def test_an_iterations_scalars_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path, "r")
    trainer.iterate(Stop())
    monkeypatch.setattr(Trainer, "train", lambda *given: {})
    trainer.iterate(Stop())
    found = scalars(trainer.run)
    for name in ("loss/policy", "learner/learning rate"):
        assert [step for step, _ in found[name]] == [1], "the second trained nothing"
    rows = [row for row in read_ledger(trainer.ledger.path) if row["phase"] == "selfplay"]
    shares = [row["cached"] / (row["cached"] + row["evaluations"]) for row in rows]
    assert shares[0] != shares[1]
    assert [value for _, value in found["play/share cached"]] == pytest.approx(shares)
