"""What a run tells of itself: the live line and TensorBoard's scalars."""

from __future__ import annotations

import io
import mmap
import os
import re
from pathlib import Path

import pytest
from test_bits import make, scalars

from ghostgo.data.ledger import Timer
from ghostgo.selfplay import monitor
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.monitor import LiveLine, resident_bytes


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
        r"distinct: games \d+% positions \d+%",
    ):  # fmt: skip
        assert re.search(pattern, line), (pattern, line)
    assert any("training 1/" in text and "memory" in text for text in out.getvalue().splitlines())


def test_a_live_line_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps cannot be drawn over: each redrawing would leave one more."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def fileno(self) -> int:
            return 77

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
