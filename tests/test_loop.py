"""Self-play training as a whole: it learns, resumes exactly, and fails aloud."""

from __future__ import annotations

import copy
import errno
import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostgo.data.ledger import read_ledger
from ghostgo.data.run import Run, load_network
from ghostgo.data.shards import read_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.learner import Learner, LearnerConfig, NotANumber, _groups
from ghostgo.selfplay.loop import open_run, run_selfplay
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.selfplay.trainer import Trainer

SMALL = """
network = "{network}"
workers = {workers}
[selfplay]
games = 8
visits = 4
positions_per_iteration = 60
window_start = 150
samples_per_position = 2.0
[search]
root = "{root}"
[learner]
batch_size = 16
optimizer = "{optimizer}"
"""


def quiet() -> LiveLine:
    return LiveLine(io.StringIO())


def small_config(
    tmp_path: Path,
    workers: int = 1,
    root: str = "gumbel",
    optimizer: str = "adamw",
    network: str = "b1c8",
) -> Path:
    path = tmp_path / "small.toml"
    given = {"workers": workers, "root": root, "optimizer": optimizer, "network": network}
    path.write_text(SMALL.format(**given))
    return path


def trainer(tmp_path: Path, name: str, game: str = "tic_tac_toe", **config: Any) -> Trainer:
    folder = tmp_path / "runs"
    exists = (folder / name).exists()
    run, made, _ = open_run(
        name, folder, game=game, preset=None, start=None, seed=None if exists else 5,
        config_file=None if exists else small_config(tmp_path, **config), workers=None,
    )  # fmt: skip
    return Trainer(run, made, quiet())


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_network(run.latest().path).state_dict()


@pytest.mark.parametrize(
    ("game", "optimizer", "network"),
    [
        ("tic_tac_toe", "adamw", "b1c8"),
        ("go5", "adamw", "b1c8"),
        ("tic_tac_toe", "muon", "b1c32"),  # with our own convolutions, too
    ],
)
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, game: str, optimizer: str, network: str
) -> None:
    whole = trainer(tmp_path, "whole", game, optimizer=optimizer, network=network)
    for _ in range(5):
        whole.iterate(Stop())
    parts = trainer(tmp_path, "parts", game, optimizer=optimizer, network=network)
    for i in range(5):
        if i in (2, 3):
            parts = trainer(tmp_path, "parts", game)
            assert parts.learner.config.optimizer == optimizer
        parts.iterate(Stop())
    assert whole.ledger.totals.games == parts.ledger.totals.games > 0
    for run in (whole, parts):
        rows = [row for row in read_ledger(run.ledger.path) if row["phase"] != "imitation"]
        assert len(rows) == 10 and all("core_seconds" in row for row in rows)
        assert run.ledger.totals.core_seconds == pytest.approx(
            sum(row["core_seconds"] for row in rows)
        )
        assert run.ledger.totals.core_seconds
        assert run.run.latest().totals == run.ledger.totals
    for name in ("000001.h5", "000005.h5"):
        one, other = (read_shard(t.run.shards / name) for t in (whole, parts))
        assert (one.moves == other.moves).all()
    first, second = weights(whole.run), weights(parts.run)
    assert all(torch.equal(first[key], second[key]) for key in first)
    kept = [[info.step for info in t.run.checkpoints()] for t in (whole, parts)]
    assert kept[0] == kept[1], "a resumed run keeps the same milestones"


def test_a_kill_between_shard_and_checkpoint_loses_and_repeats_nothing(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r", "go5")
    run.iterate(Stop())
    ledger = (run.run.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    orphan = run.play(Stop())[0]
    # As a kill leaves it: the shard is there, its ledger row and checkpoint are not.
    (run.run.folder / "ledger.jsonl").write_text("".join(ledger))
    again = trainer(tmp_path, "r", "go5")
    stored = [read_shard(path) for path in sorted(again.run.shards.glob("*.h5"))]
    assert again.ledger.totals.games == sum(len(table) for table in stored)
    assert again.ledger.totals.evaluations > 0
    assert again.ledger.totals == run.ledger.totals, "core-seconds too come from the shard"
    assert again.window.rows == sum(int((table.weights > 0).sum()) for table in stored)
    assert again.owed_samples >= 2.0 * int((orphan.weights > 0).sum())
    again.iterate(Stop())
    fresh = read_shard(again.run.shards / "000003.h5")
    known = {orphan.moves_of(i).tobytes() for i in range(len(orphan))}
    assert not known & {fresh.moves_of(i).tobytes() for i in range(len(fresh))}


@pytest.mark.parametrize("games_follow", [True, False])
def test_going_on_from_before_a_damaged_checkpoint_learns_its_games_once(
    tmp_path: Path, games_follow: bool
) -> None:
    run = trainer(tmp_path, "r", "go5")
    for _ in range(2):
        run.iterate(Stop())
    owed = run.owed_samples
    run.iterate(Stop())
    state = run.run.latest().path / "state.pt"
    state.write_bytes(state.read_bytes()[:-9])
    assert "checkpoint 2" in run.run.set_damaged_apart()
    again = trainer(tmp_path, "r", "go5")
    lost = read_shard(run.run.shards / "000003.h5")
    assert again.step == 2 and again.window.rows == run.window.rows
    assert again.ledger.totals == run.ledger.totals, "what was spent stays spent"
    assert again.owed_samples == owed + 2.0 * int((lost.weights > 0).sum())
    stop = Stop()
    if not games_follow:  # nor is anything learnt, but there is a checkpoint
        stop.event.set()
    again.iterate(stop)
    third = trainer(tmp_path, "r", "go5")
    assert third.step == 3 and third.owed_samples == again.owed_samples
    assert third.ledger.totals == again.ledger.totals
    if games_follow:
        fresh = read_shard(run.run.shards / "000004.h5")
        known = {lost.moves_of(i).tobytes() for i in range(len(lost))}
        assert not known & {fresh.moves_of(i).tobytes() for i in range(len(fresh))}


def test_workers_play_the_same_games_whoever_is_faster(tmp_path: Path) -> None:
    shards = []
    for name in ("a", "b"):
        run = trainer(tmp_path, name, workers=3)
        run.iterate(Stop())
        shards.append(read_shard(run.run.shards / "000001.h5"))
    assert (shards[0].moves == shards[1].moves).all()
    assert shards[0].positions >= 60


@pytest.mark.parametrize("root", ["gumbel", "puct"])
def test_recorded_games_are_legal_and_scored(tmp_path: Path, root: str) -> None:
    run = trainer(tmp_path, "r", "go5", root=root)
    run.iterate(Stop())
    table = read_shard(run.run.shards / "000001.h5")
    game = get_game("go5")
    assert table.policies is not None and table.values is not None
    assert np.allclose(table.policies.astype(np.float32).sum(axis=1), 1, atol=2e-3)
    for g in range(len(table)):
        state = game.new_states(1)
        for k, action in enumerate(table.moves_of(g)):
            legal = game.legal_actions(state[0])
            assert action in legal
            policy = table.policies[int(table.offsets[g]) + k]
            assert set(np.flatnonzero(policy)) <= set(legal.tolist())
            play_one(state[0], int(action))
        assert state[0].done
    totals = run.ledger.totals
    assert totals.games == len(table)
    assert totals.positions == (table.weights > 0).sum() < table.positions
    assert totals.selfplay_flops == totals.evaluations * run.flops
    assert totals.training_flops == pytest.approx(3 * run.flops * totals.samples)


def test_budgets_stop_the_run_and_the_same_call_goes_on(tmp_path: Path) -> None:
    config, root = small_config(tmp_path), tmp_path / "runs"
    options: dict[str, Any] = {"root": root, "line": quiet()}
    first = run_selfplay("r", game="tic_tac_toe", games=20, config_file=config, seed=1, **options)
    assert first.totals.games >= 20
    again = run_selfplay("r", games=20, **options)
    assert again.step == first.step, "the budget was spent already"
    more = run_selfplay("r", flops=first.totals.flops * 1.5, **options)
    assert more.totals.flops >= first.totals.flops * 1.5
    phases = [row["phase"] for row in read_ledger(root / "r" / "ledger.jsonl")]
    assert phases == ["selfplay", "training"] * more.step


def test_from_starts_at_the_weights_and_charges_what_they_cost(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    options: dict[str, Any] = {"root": root, "line": quiet()}
    config = small_config(tmp_path)
    first = run_selfplay("one", game="tic_tac_toe", games=10, config_file=config, **options)
    second = run_selfplay("two", start="one", games=1, **options)
    assert second.totals.games >= 1, "the source's games counted as this run's"
    again = run_selfplay("two", start="one", games=1, **options)  # the same call resumes
    assert again.totals == second.totals
    start = Run.open(root / "two").checkpoints()[0]
    assert start.meta["from"] == first.meta["sha256"]
    assert start.meta["sha256"] == first.meta["sha256"]
    assert start.totals.flops == first.totals.flops
    assert second.totals.flops >= first.totals.flops
    with pytest.raises(UserError, match="plays tic_tac_toe, not go5"):
        run_selfplay("three", start="one", game="go5", **options)
    assert not (root / "three").exists()


def test_contradicting_a_runs_config_is_refused(tmp_path: Path) -> None:
    root, config = tmp_path / "runs", small_config(tmp_path)
    options: dict[str, Any] = {"root": root, "line": quiet()}
    run_selfplay("r", game="tic_tac_toe", games=1, config_file=config, **options)
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace("visits = 4", "visits = 5"))
    same: dict[str, Any] = {"game": "tic_tac_toe", "games": 1, "config_file": config, **options}
    run_selfplay("r", **same)  # no contradiction
    stored = root / "r" / "config.toml"
    assert "weight_decay = 0.0001" in stored.read_text()
    stored.write_text(stored.read_text().replace("weight_decay = 0.0001", "weight_decay = 0.0002"))
    run_selfplay("r", **same)  # nor is a default that has changed since
    for wrong in (
        {"game": "go5"},
        {"seed": 99},
        {"preset": "gpu"},
        {"config_file": other},
        {"start": "r"},
    ):
        with pytest.raises(UserError, match="use another --run"):
            run_selfplay("r", **wrong, **options)
    with Run.open(root / "r").lock(), pytest.raises(UserError, match="another process"):
        run_selfplay("r", **options)


def test_a_workers_exception_reaches_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, "r", workers=2)

    def broken(n: int) -> None:
        raise ZeroDivisionError(f"in {threading.current_thread().name}")

    monkeypatch.setattr(run.actors[1].evaluator, "evaluate", broken)
    with pytest.raises(ZeroDivisionError, match="in ThreadPool"):
        run.iterate(Stop())
    assert run.run.latest().step == 0


def test_a_loss_that_is_no_number_stops_before_the_weights_change(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r")
    run.iterate(Stop())
    batch = run.window.sample(16, np.random.default_rng(0))
    batch.policy[3, 0] = np.inf
    before = {key: value.clone() for key, value in run.learner.network.state_dict().items()}
    with pytest.raises(NotANumber, match="loss of policy"):
        run.learner.step(batch)
    for key, value in run.learner.network.named_parameters():
        assert torch.equal(value, before[key])


def test_a_damaged_shard_is_set_apart_and_named(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r")
    for _ in range(2):
        run.iterate(Stop())
    shard = run.run.shards / "000001.h5"
    shard.write_bytes(shard.read_bytes()[:200])
    out = io.StringIO()
    again = Trainer(run.run, run.config, LiveLine(out))
    assert "000001.h5" in out.getvalue() and "set apart" in out.getvalue()
    assert (run.run.shards / "000001.damaged").exists()
    assert again.window.tables == 1
    again.iterate(Stop())
    assert (run.run.shards / "000003.h5").exists(), "a number was used twice"


def test_a_newer_shard_stops_the_run_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, "r")
    with monkeypatch.context() as patched:
        patched.setattr("ghostgo.data.shards.FORMAT", 99)
        run.iterate(Stop())
    before = (run.run.shards / "000001.h5").read_bytes()
    with pytest.raises(UserError, match="is of format 99"):
        Trainer(run.run, run.config, quiet())
    assert (run.run.shards / "000001.h5").read_bytes() == before


def test_positions_of_an_interrupted_iteration_are_learnt_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, "r")
    stop, play = Stop(), run.play

    def interrupted(given: Stop) -> Any:
        table = play(Stop())
        given.reason = "interrupted"
        given.event.set()
        return table

    monkeypatch.setattr(run, "play", interrupted)
    run.iterate(stop)
    again = trainer(tmp_path, "r")
    assert again.learner.steps == 0
    assert again.owed_samples == 2.0 * again.ledger.totals.positions > 0


def test_an_iteration_without_games_names_no_shard(tmp_path: Path) -> None:
    run = trainer(tmp_path, "r")
    stop = Stop()
    stop.event.set()
    assert len(run.play(stop)[0]) == 0
    run.play(Stop())
    rows = read_ledger(run.run.folder / "ledger.jsonl")
    assert [row["of"] for row in rows] == ["", "000001"]


def test_a_full_disk_stops_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, config = tmp_path / "runs", small_config(tmp_path)
    options: dict[str, Any] = {"root": root, "line": quiet()}
    run_selfplay("r", game="tic_tac_toe", games=20, config_file=config, **options)
    before = {p: p.read_bytes() for p in (root / "r").rglob("*.h5")}
    step = Run.open(root / "r").latest().step

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("ghostgo.data.shards.os.fsync", full)
        with pytest.raises(UserError, match="disk is full"):
            run_selfplay("r", games=60, **options)
    assert Run.open(root / "r").latest().step == step
    assert all(p.read_bytes() == content for p, content in before.items())
    assert run_selfplay("r", games=60, **options).totals.games >= 60


def test_slices_step_as_plain_adamw_on_their_mean_gradient(tmp_path: Path) -> None:
    """The fused optimiser reads raw memory: gradients must lie in it as the weights do."""
    run = trainer(tmp_path, "r", "go5")
    run.iterate(Stop())
    config = LearnerConfig(batch_size=64, warmup_steps=1, gradient_clip=1e9)
    learner = Learner(copy.deepcopy(run.learner.network), config, threads=2)
    assert len(learner.copies) == 2
    twin = copy.deepcopy(learner.network)
    groups = _groups(list(twin.parameters()), config.weight_decay)
    plain = torch.optim.AdamW(groups, lr=config.learning_rate, fused=False, foreach=False)
    real = [torch.ones_like(each, dtype=torch.bool) for each in twin.parameters()]
    for step in range(3):
        batch = run.window.rows_batch(np.arange(64) + step)
        halves = [copy.deepcopy(twin), copy.deepcopy(twin)]
        for half, rows in zip(halves, (batch.rows(0, 32), batch.rows(32, 64)), strict=True):
            learner._backward(half, rows)
        for mine, a, b in zip(twin.parameters(), *(h.parameters() for h in halves), strict=True):
            mine.grad = (a.grad + b.grad) / 2
        # Of a gradient that is nothing but rounding Adam makes a step as long as any.
        for known, mine in zip(real, twin.parameters(), strict=True):
            assert mine.grad is not None
            known &= mine.grad.abs() > 1e-6 * mine.grad.abs().max()
        plain.step()
        twin.load_state_dict({**twin.state_dict(), **dict(halves[0].named_buffers())})
        learner.step(batch)
        for (name, mine), theirs, known in zip(
            learner.network.named_parameters(), twin.parameters(), real, strict=True
        ):
            assert known.float().mean() > 0.5, name
            torch.testing.assert_close(mine[known], theirs[known], rtol=1e-4, atol=1e-6, msg=name)


def test_learner_overfits_one_batch(tmp_path: Path) -> None:
    """The losses can all be driven down: gradients reach every head."""
    run = trainer(tmp_path, "r", "go5")
    run.iterate(Stop())
    batch = run.window.rows_batch(np.arange(32))
    config = LearnerConfig(learning_rate=1e-2, warmup_steps=5)
    learner = type(run.learner)(run.learner.network, config)
    first = learner.step(batch)
    for _ in range(80):
        last = learner.step(batch)
    entropy = -(batch.policy * np.log(np.maximum(batch.policy, 1e-9))).sum(axis=1).mean()
    assert last["policy"] - entropy < 0.5 * (first["policy"] - entropy)
    for head in ("value", "ownership", "score"):
        assert last[head] < 0.5 * first[head], head
