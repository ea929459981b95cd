"""What the network knew of fresh games, in bits, and the learning rate's schedule."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_replay import random_table

from ghostgo.arena.arena import run_arena
from ghostgo.arena.bits_panel import bits_csv, bits_html
from ghostgo.arena.pool import CurvePoint
from ghostgo.data.batch import Batch
from ghostgo.data.ledger import Totals
from ghostgo.data.records import GameTable
from ghostgo.data.run import Run
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import NetworkConfig
from ghostgo.engine.score_head import SCORE_ROOM, score_bin, score_bins
from ghostgo.selfplay.bits import Marginals, bits_a_game
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import SelfplayConfig, rate_share
from ghostgo.selfplay.learner import Learner, value_classes
from ghostgo.selfplay.loop import open_run
from ghostgo.selfplay.monitor import LiveLine, si
from ghostgo.selfplay.trainer import Trainer

GAME = get_game("go5")


class Knowing:
    """Stands in for a learner: says the targets, blurred as asked."""

    def __init__(self, sharpness: float, miss: float = 0.0) -> None:
        config = NetworkConfig(1, 8, distribution=True, short=True)
        self.network = SimpleNamespace(game=GAME, config=config)
        self.sharpness, self.miss = sharpness, miss
        self.device = "cpu"

    def judge(self, batch: Batch) -> dict[str, torch.Tensor]:
        value = torch.nn.functional.one_hot(value_classes(torch.from_numpy(batch.value)), 3)
        return {
            "policy": torch.from_numpy(batch.policy).clamp(min=1e-9).log(),
            "reply": torch.zeros_like(torch.from_numpy(batch.reply)),
            "value": value.float() * self.sharpness,
            "score": torch.from_numpy(batch.score) + self.miss,
            "ownership": (torch.from_numpy(batch.ownership) - 0.5) * 2 * self.sharpness,
            "distribution": torch.nn.functional.one_hot(
                score_bin(torch.from_numpy(batch.score), GAME.points), score_bins(GAME.points)
            ).float()
            * self.sharpness,
            "short": torch.from_numpy(batch.short) + self.miss / 10,
        }


def known(learner: Knowing, marginals: Marginals, games: int = 40) -> dict[str, float]:
    table = random_table("go5", games)
    assert table.policies is not None
    table.values = np.random.default_rng(0).uniform(-1, 1, table.positions).astype(np.float16)
    sums = table.policies.astype(np.float32).sum(axis=1, keepdims=True)
    table.policies = (table.policies / sums).astype(np.float16)
    return bits_a_game(cast(Learner, learner), table, marginals, [1])


def test_who_knows_all_is_ahead_by_the_whole_target() -> None:
    bits = known(Knowing(50.0, miss=1.0), Marginals(GAME))
    table = random_table("go5", 40)
    _, counts = np.unique(np.sign(table.scores), return_counts=True)
    assert len(counts) > 1
    # The marginal is learnt on the way: at first each of three results was as likely.
    assert 0.9 < bits["outcome"] < np.log2(3)
    # A third of the points is owned by nobody, in this table: even odds for them are right.
    assert bits["ownership"] == pytest.approx(25 * 2 / 3, abs=1.0)
    assert bits["policy"] > 0
    # Half an observation of each of the margins beforehand: the first are dear.
    bins = 2 * (GAME.points + SCORE_ROOM) + 1
    assert bits["distribution"] == pytest.approx(np.log2(bins), abs=1e-3)


def test_widths_of_numbers_come_from_the_games_before() -> None:
    """A code that fits its width to the games that it is held against would know them already."""
    marginals, learner = Marginals(GAME), Knowing(1.0, miss=1.0)
    first = known(learner, marginals)
    table = random_table("go5", 40)
    side = GAME.points**0.5
    mean = np.abs(table.scores).mean()  # from the side to move the mean is near 0
    assert first["score"] == pytest.approx((mean - 1) / side / np.log(2), abs=0.8)
    assert first["short"] == pytest.approx((0.2 - 0.1**2) / 2 / np.log(2), abs=0.2)
    second = known(learner, marginals)
    assert second["score"] == pytest.approx(np.log2(mean), abs=0.4)
    assert marginals.score_width[2] == pytest.approx(1.0) and marginals.short[3] > 0
    # Who was right within a point all along, and is then six points off, pays for having been sure.
    learner.miss = 6.0
    assert known(learner, marginals)["score"] < second["score"] - 5
    learner.miss = 0.0
    known(learner, marginals)
    assert np.isfinite(known(learner, marginals)["score"]), "no width is nothing"


def test_marginals_of_an_older_checkpoint_go_on() -> None:
    old = Marginals(GAME)
    known(Knowing(0.0), old)
    state = old.state_dict()
    for new in ("score_width", "distribution", "short"):
        del state[new]
    marginals = Marginals(GAME)
    marginals.load_state_dict(state)
    assert torch.equal(marginals.policy, old.policy)
    assert torch.equal(marginals.short, Marginals(GAME).short)
    assert known(Knowing(0.0), marginals)


def test_who_knows_nothing_is_not_ahead() -> None:
    marginals = Marginals(GAME)
    known(Knowing(0.0), marginals)
    bits = known(Knowing(0.0), marginals)
    assert bits["outcome"] <= 0.01
    assert abs(bits["ownership"]) < 0.1
    assert abs(bits["reply"]) < 0.1 * random_table("go5", 40).positions / 40


def test_a_games_last_move_has_no_reply() -> None:
    """Bits a game are those of all its replies together, not of as many as it has moves."""
    table = random_table("go5", 12)
    lengths = np.diff(table.offsets)
    table = table.select(np.argsort(lengths)[:3])  # short games, so that the last move counts
    assert table.policies is not None
    table.policies = np.zeros_like(table.policies)
    table.policies[:, 3] = 1  # every move and every reply is the same one
    table.weights[:] = 1
    assert table.positions <= 1024
    bits = bits_a_game(cast(Learner, Knowing(1.0)), table, Marginals(GAME), [1])
    # `Knowing` and the fresh marginal call all replies as likely; its policy is the target.
    assert bits["policy"] == pytest.approx(np.log2(GAME.actions) * table.positions / 3, rel=1e-4)
    sure = Knowing(1.0)
    judge = sure.judge
    sure.judge = lambda batch: judge(batch) | {"reply": torch.from_numpy(batch.policy).log()}  # type: ignore[method-assign]
    bits = bits_a_game(cast(Learner, sure), table, Marginals(GAME), [1])
    replies = table.positions - len(table)
    assert bits["reply"] == pytest.approx(np.log2(GAME.actions) * replies / len(table), rel=1e-4)


def test_marginals_are_frequencies_and_survive_saving() -> None:
    marginals = Marginals(GAME)
    known(Knowing(0.0), marginals)
    rows = marginals.value.sum() - 1.5
    assert rows == min(1024, random_table("go5", 40).positions)
    other = Marginals(GAME)
    other.load_state_dict(marginals.state_dict())
    assert all(torch.equal(getattr(other, k), v) for k, v in marginals.state_dict().items())


def test_the_search_adds_its_surprise() -> None:
    table = random_table("go5", 5)
    assert "search" not in bits_a_game(cast(Learner, Knowing(1.0)), table, Marginals(GAME), [1])
    table.surprise = np.full(table.positions, 0.5, np.float16)
    table.weights[::2] = 0
    bits = bits_a_game(cast(Learner, Knowing(1.0)), table, Marginals(GAME), [1])
    learnable = int((table.weights > 0).sum())
    assert bits["search"] == pytest.approx(0.5 / np.log(2) * learnable / 5)


def test_games_without_a_learnable_position_tell_nothing() -> None:
    table = random_table("go5", 2)
    table.weights[:] = 0
    assert bits_a_game(cast(Learner, Knowing(1.0)), table, Marginals(GAME), [1]) == {}


def make(tmp_path: Path, name: str, text: str = "", network: str = "b1c8dv") -> Trainer:
    config = tmp_path / "small.toml"
    config.write_text(
        f'network = "{network}"\nworkers = 1\n[selfplay]\ngames = 8\nvisits = 4\n'
        f"positions_per_iteration = 60\n{text}\n[learner]\nbatch_size = 16\n"
    )
    exists = (tmp_path / name).exists()
    run, made, _ = open_run(
        name, tmp_path, game="go5", preset=None, start=None, seed=None if exists else 1,
        config_file=None if exists else config, workers=None,
    )  # fmt: skip
    return Trainer(run, made, LiveLine(io.StringIO()))


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def test_a_run_tells_its_bits(tmp_path: Path) -> None:
    trainer = make(tmp_path, "r")
    for _ in range(3):
        trainer.iterate(Stop())
    heads = {
        "outcome", "score", "distribution", "ownership", "policy", "reply", "short", "search",
    }  # fmt: skip
    saved = trainer.run.latest().meta["bits"]
    assert set(saved["game"]) == set(saved["pflop"]) == heads
    assert "bits a game: outcome" in trainer.reporting.losses()
    assert (
        f"bits a PFLOP: outcome {si(trainer.bits_a_pflop['outcome'])}" in trainer.reporting.losses()
    )
    found = scalars(trainer.run)
    for head in heads:
        assert [step for step, _ in found[f"bits a game/{head}"]] == [1, 2, 3]
        (_, game), (_, pflop) = found[f"bits a game/{head}"][-1], found[f"bits a PFLOP/{head}"][-1]
        assert np.sign(game) == np.sign(pflop) and abs(pflop) > abs(game)


def test_games_are_judged_before_they_are_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards the network would have seen what it is asked to forecast."""
    trainer = make(tmp_path, "r")
    seen: list[tuple[int, int]] = []

    def judged(learner: Learner, table: GameTable, *given: Any) -> dict[str, float]:
        seen.append((learner.steps, trainer.window.rows))
        return bits_a_game(learner, table, *given)

    monkeypatch.setattr("ghostgo.selfplay.trainer.bits_a_game", judged)
    before = []
    for _ in range(2):
        before.append((trainer.learner.steps, trainer.window.rows))
        trainer.iterate(Stop())
    assert seen == before and before[1] > before[0]


def test_a_resumed_run_tells_the_same_bits(tmp_path: Path) -> None:
    whole, parts = make(tmp_path, "whole"), make(tmp_path, "parts")
    for _ in range(3):
        whole.iterate(Stop())
    parts.iterate(Stop())
    parts = make(tmp_path, "parts")
    parts.iterate(Stop())
    parts.iterate(Stop())
    assert whole.bits == parts.bits != {}


def test_the_rate_falls_with_the_flops_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SelfplayConfig(decay_flops=100.0, final_rate=0.1)
    rates = [rate_share(config, flops) for flops in (0, 50, 100, 1000)]
    assert rates == pytest.approx([1.0, 0.55, 0.1, 0.1])
    assert rate_share(SelfplayConfig(), 1e30) == 1.0
    trainer = make(tmp_path, "r", "decay_flops = 1e8\nfinal_rate = 0.25")
    used: list[Any] = []
    step = trainer.learner.step

    def watch(batch: Batch, rate: float, hold: float, game: Game) -> dict[str, float]:
        used.append(rate)
        return step(batch, rate, hold, game)

    monkeypatch.setattr(trainer.learner, "step", watch)
    for _ in range(3):
        trainer.iterate(Stop())
    assert trainer.ledger.totals.flops > 1e8
    assert used == sorted(used, reverse=True) and used[-1] == pytest.approx(0.25)


def test_the_arena_shows_them(tmp_path: Path) -> None:
    trainer = make(tmp_path, "r")
    for _ in range(2):
        trainer.iterate(Stop())
    report = run_arena(
        "r", None, root=tmp_path, out=tmp_path / "arena", visits=2, games=4, anchors=("random",)
    )
    with (tmp_path / "arena" / "bits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["head"] for row in rows} == set(trainer.bits)
    last = [row for row in rows if row["head"] == "outcome"][-1]
    assert float(last["bits_per_game"]) == pytest.approx(trainer.bits["outcome"], rel=1e-4)
    assert float(last["bits_per_pflop"]) == pytest.approx(trainer.bits_a_pflop["outcome"], rel=1e-4)
    page = report.html.read_text()
    specs = dict(re.findall(r"vegaEmbed\('#chart-(bits|pflop)', (\{.*?\}), \{actions", page))
    assert "<h2>Bits</h2>" in page and set(specs) == {"bits", "pflop"}
    for field, spec in specs.items():
        charts = json.loads(spec)["concat"]
        assert {chart["encoding"]["y"]["field"] for chart in charts} == {field}
        assert {chart["title"]["text"] for chart in charts} == set(trainer.bits)


def test_runs_that_measured_nothing_have_no_panel() -> None:
    assert bits_html([CurvePoint("r", 0, Totals(), 0)]) == ""
    assert len(bits_csv([CurvePoint("r", 0, Totals(), 0)]).splitlines()) == 1
