"""Holding on to a prior: each kind does what its name says, from one command, and resumes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference_search import HashEvaluator
from sizes import teacher_records
from torch.nn import functional as F

from ghostgo import cli
from ghostgo.data.batch import Batch
from ghostgo.data.ledger import read_ledger
from ghostgo.data.run import Run, find_checkpoint, load_network
from ghostgo.data.shards import read_shard
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, count_flops
from ghostgo.engine.search_config import SearchConfig
from ghostgo.engine.tree import ROOT
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.anchor import Anchor, AnchorConfig
from ghostgo.selfplay.budget import Stop
from ghostgo.selfplay.config import RunConfig
from ghostgo.selfplay.learner import Learner, LearnerConfig, planes_tensor
from ghostgo.selfplay.loop import open_run
from ghostgo.selfplay.monitor import LiveLine
from ghostgo.selfplay.trainer import Trainer
from ghostgo.warmstart.imitate import run_warmstart

CONFIG = """
network = "b1c8"
workers = 1
[selfplay]
games = 8
visits = 4
positions_per_iteration = 60
[learner]
batch_size = 32
[anchor]
fade_flops = 3e8
"""
GAME = get_game("go5")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, records, and the run `warm`, which has just imitated them."""
    folder = tmp_path_factory.mktemp("anchor")
    (folder / "c.toml").write_text(CONFIG)
    records = folder / "teacher.sgfs"
    teacher_records(records, games=40, rollouts=10, seed=1)
    run_warmstart(
        [records], "warm", game="go5", epochs=2, config_file=folder / "c.toml", root=folder,
        line=LiveLine(io.StringIO()),
    )  # fmt: skip
    return folder


@pytest.fixture
def here(root: Path, tmp_path: Path) -> Path:
    shutil.copytree(root, tmp_path / "x")
    return tmp_path / "x"


def selfplay(folder: Path, run: str, *options: str) -> int:
    given = ["--root", str(folder), "--run", run, "--seed", "0", *options]
    return cli.run(["selfplay", *given])


def make(folder: Path, run: str, kind: str, start: str | None = "warm") -> Trainer:
    new = not (folder / run).exists()
    opened, config, _ = open_run(
        run, folder, game=None, preset=None, start=start, seed=None,
        config_file=folder / "c.toml" if new else None, workers=None, anchor=kind,
    )  # fmt: skip
    return Trainer(opened, config, LiveLine(io.StringIO()))


@pytest.mark.parametrize("kind", ["init", "kl", "fade", "mix", "root"])
def test_every_kind_trains_from_one_command_and_goes_on(kind: str, here: Path) -> None:
    config = here / "other.toml"  # options win, when the run is made and when it goes on
    config.write_text(f'seed = 3\n{CONFIG}kind = "{"fade" if kind == "kl" else "kl"}"\n')
    given = ["--from", "warm", "--anchor", kind, "--config", str(config)]
    assert selfplay(here, "r", *given, "--games", "10") == 0
    first = find_checkpoint("r", here)
    assert selfplay(here, "r", *given, "--games", "30") == 0
    assert find_checkpoint("r", here).totals.games > first.totals.games
    prior, start = find_checkpoint("warm", here), find_checkpoint("r@0", here)
    mine, theirs = (load_network(info.path).state_dict() for info in (start, prior))
    same = all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert same == (kind != "root"), "only for the root's anchor do random weights start the run"
    assert start.totals.imitation_flops == prior.totals.imitation_flops > 0


def test_milestones_of_a_warm_run_are_of_what_follows_the_prior(here: Path) -> None:
    given = [("r", "--from", "warm", "--config", str(here / "c.toml")), ("warm",)]
    for run, *options in given:
        before = find_checkpoint(run if run == "warm" else "warm", here).totals.flops
        for games in ("20", "45", "60"):  # resumed, too
            assert selfplay(here, run, *options, "--games", games) == 0
        found = [i for i in Run.open(here / run).checkpoints() if i.meta["stage"] == "selfplay"]
        spent = [info.totals.flops - before for info in found if info.meta["milestone"]]
        assert found[0].meta["milestone"] and len(spent) > 1
        assert spent[0] < 0.6 * before, "of all that was spent it would be none"
        assert all(late >= 1.6 * soon for soon, late in pairwise(spent))


def opened(folder: Path, run: str, text: str, **options: Any) -> RunConfig:
    """The config of `run`, made or resumed with a config file of this `text`."""
    (folder / "given.toml").write_text(text)
    given = {
        "game": None,
        "preset": None,
        "start": "warm",
        "seed": None,
        "workers": None,
        **options,
    }
    return open_run(run, folder, config_file=folder / "given.toml", **given)[1]


def test_arms_of_one_prior_have_its_network(here: Path) -> None:
    other, none = CONFIG.replace("b1c8", "b2c8"), CONFIG.replace('network = "b1c8"', "")
    for kind in ("init", "kl", "fade", "mix"):
        with pytest.raises(UserError, match="network = 'b2c8': --from warm has b1c8"):
            opened(here, "r", other, anchor=kind)
        assert not (here / "r").exists()
    opened(here, "told", CONFIG.replace("b1c8", "b1c8r"), game="go5", start=None)
    for run, text, prior, network in (
        ("same", none, "warm", "b1c8"),
        ("ranked", none, "told", "b1c8r"),
        ("own", other, "warm", "b2c8"),
    ):
        for _ in range(2):  # made, and resumed
            assert opened(here, run, text, start=prior, anchor="root").network == network
        found = load_network(find_checkpoint(run, here).path).config.name
        assert found == network, "random weights of that size start the run"
    with pytest.raises(UserError, match="--from warm plays go5, not go9"):
        opened(here, "r", f'game = "go9"\n{CONFIG}')


def test_the_fade_is_a_share_of_the_budget(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = CONFIG + "fade_share = 0.5\n"
    (here / "share.toml").write_text(text)
    given = ["--from", "warm", "--anchor", "fade", "--config", str(here / "share.toml")]
    assert selfplay(here, "r", *given, "--games", "5") == 2
    assert "fade_share = 0.5 is a share of the run's budget: give" in capsys.readouterr().err
    assert not (here / "r").exists()
    spent = find_checkpoint("warm", here).totals.flops
    assert spent > 1000
    assert selfplay(here, "r", *given, "--flops", "1000") == 2
    assert "--flops 1000: --from has spent" in capsys.readouterr().err
    assert not (here / "r").exists()
    fades = pytest.approx(0.5 * 9e8)
    assert selfplay(here, "r", *given, "--flops", f"{spent + 9e8:.17g}", "--games", "1") == 0
    # Settled when the run was made.
    for flops in (1000.0, spent + 9e9, None):
        assert opened(here, "r", text, anchor="fade", flops=flops).anchor.fade_flops == fades
    held = make(here, "r", "fade").anchor
    assert held is not None
    assert held.left(spent) == 1 and held.left(spent + 2.25e8) == pytest.approx(0.5)
    assert held.loss_weight(spent + 4.5e8) == pytest.approx(0) != held.loss_weight(spent + 4e8)
    assert opened(here, "free", text, anchor="kl").anchor.fade_flops == 3e8, "it does not fade"
    imitating = ["--root", str(here), "--run", "w", "--records", str(here / "teacher.sgfs")]
    imitating += ["--game", "go5", "--config", str(here / "share.toml"), "--flops", "1e9"]
    assert cli.run(["warmstart", *imitating, "--anchor", "fade"]) == 2
    assert "or fade_flops in its place" in capsys.readouterr().err


def test_the_priors_evaluations_at_roots_are_charged(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(here, "r", CONFIG.replace("b1c8", "b2c8"), anchor="root")
    trainer = make(here, "r", "root")
    asked: list[int] = []
    for actor in trainer.actors:
        assert actor.anchor is not None

        def evaluate(n: int, plain: Callable[[int], None] = actor.anchor.evaluate) -> None:
            asked.append(n)
            plain(n)

        monkeypatch.setattr(actor.anchor, "evaluate", evaluate)
    trainer.iterate(Stop())
    mine, priors = (
        count_flops(load_network(find_checkpoint(run, here).path)) for run in ("r", "warm")
    )
    rows = read_ledger(here / "r" / "ledger.jsonl")
    row = next(row for row in rows if row["phase"] == "selfplay")
    assert priors != mine and sum(asked) > 0
    assert row["selfplay_flops"] == row["evaluations"] * mine + sum(asked) * priors


@pytest.mark.parametrize("kind", ["kl", "mix"])
def test_a_run_that_imitated_holds_on_to_its_own_prior(kind: str, here: Path) -> None:
    given = ["--root", str(here), "--run", "w2", "--config", str(here / "c.toml")]
    records = ["--records", str(here / "teacher.sgfs"), "--game", "go5", "--epochs", "1"]
    assert cli.run(["warmstart", *given, *records, "--anchor", kind]) == 0
    prior = find_checkpoint("w2", here)
    assert cli.run(["selfplay", "--root", str(here), "--run", "w2", "--games", "20"]) == 0
    trainer = make(here, "w2", kind, None)
    assert trainer.anchor is not None and trainer.anchor.before == prior.totals.flops
    assert (trainer.anchor.records is not None) == (kind == "mix")


@pytest.mark.parametrize("kind", ["kl", "mix", "root"])
def test_resumed_equals_uninterrupted(kind: str, here: Path) -> None:
    whole, parts = make(here, "whole", kind), make(here, "parts", kind)
    for _ in range(4):
        whole.iterate(Stop())
    for i in range(4):
        if i == 2:
            parts = make(here, "parts", kind)
        parts.iterate(Stop())
    first, second = (t.learner.average.state_dict() for t in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert whole.ledger.totals.flops == parts.ledger.totals.flops


def test_the_hold_fades(here: Path) -> None:
    before = find_checkpoint("warm", here).totals.flops
    run = Run.open(here / "warm")

    def anchor(**values: Any) -> Anchor:
        return Anchor(run, AnchorConfig(fade_flops=100.0, **values), [dict(GAME.rules)], 0)

    fading = anchor(kind="fade", weight=0.4)
    weights = [fading.loss_weight(before + flops) for flops in (0, 50, 100, 1000)]
    assert weights == pytest.approx([0.4, 0.2, 0.0, 0.0])
    assert anchor(kind="kl", weight=0.4).loss_weight(before + 1000) == 0.4
    assert anchor(kind="mix").loss_weight(before) == anchor(kind="root").loss_weight(before) == 0


def some_batch(folder: Path, size: int = 64) -> Batch:
    anchor = Anchor(Run.open(folder / "warm"), AnchorConfig(kind="mix"), [dict(GAME.rules)], 0)
    assert anchor.records is not None
    return anchor.records.sample(size, np.random.default_rng(1))


def test_mixed_records_are_shown_under_the_ko_rule_of_self_play(here: Path) -> None:
    stored = read_shard(here / "warm" / "records" / "train.h5")
    assert {rules["ko"] for rules in stored.rules_table} == {"simple"} != {GAME.rules["ko"]}
    planes = some_batch(here).planes[:, :, GAME.plane_names.index("simple_ko_rule")]
    assert not planes.any()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_pull_is_the_divergence(threads: int, here: Path) -> None:
    """Its loss is KL(prior || policy), it brings the policies together, the prior stays."""
    batch = some_batch(here)
    x = planes_tensor(batch.planes, GAME)
    prior = load_network(find_checkpoint("warm", here).path)
    before = {name: value.clone() for name, value in prior.state_dict().items()}

    def divergence(learner: Learner) -> float:
        with torch.no_grad():
            theirs = F.softmax(prior.eval()(x)["policy"], dim=1)
            mine = F.log_softmax(learner.network.eval()(x)["policy"], dim=1)
        return float((theirs * (theirs.log() - mine)).sum(dim=1).mean())

    found = {}
    for hold in (0.0, 20.0):
        torch.manual_seed(3)
        config = LearnerConfig(batch_size=64, warmup_steps=1, learning_rate=0.01)
        learner = Learner(Network(GAME, NetworkConfig(1, 8)), config, threads=threads)
        learner.hold_to(prior)
        losses = learner.step(batch, 1.0, hold)
        if hold:
            # Every head starts at zero: the first policy is even.
            with torch.no_grad():
                theirs = F.softmax(prior.eval()(x)["policy"], dim=1)
            even = float((theirs * (theirs * GAME.actions).log()).sum(dim=1).mean())
            assert losses["prior"] == pytest.approx(even, rel=0.05)
        else:
            assert "prior" not in losses
        for _ in range(30):
            learner.step(batch, 1.0, hold)
        found[hold] = divergence(learner)
    assert found[20.0] < 0.5 * found[0.0]
    assert all(torch.equal(value, prior.state_dict()[name]) for name, value in before.items())


def test_a_pull_costs_the_priors_forward_pass(here: Path) -> None:
    costs = {}
    for kind in ("init", "kl"):
        trainer = make(here, kind, kind)
        trainer.iterate(Stop())
        rows = read_ledger(here / kind / "ledger.jsonl")
        row = next(row for row in rows if row["phase"] == "training")
        costs[kind] = row["training_flops"] / row["samples"]
    assert costs["kl"] == pytest.approx(costs["init"] * 4 / 3)


def test_records_are_mixed_in_and_fade_out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(here, "r", "mix")
    anchor = trainer.anchor
    assert anchor is not None
    trainer.iterate(Stop())

    assert anchor.records is not None
    sample = anchor.records.sample

    def marked(size: int, rng: np.random.Generator) -> Batch:
        batch = sample(size, rng)
        batch.policy_weight[:] = 7
        return batch

    monkeypatch.setattr(anchor.records, "sample", marked)

    def recorded(flops: float) -> NDArray[np.bool_]:
        batch = anchor.mixed(trainer.window, 64, anchor.before + flops, np.random.default_rng(1))
        assert len(batch) == 64
        marked_rows: NDArray[np.bool_] = batch.policy_weight == 7
        return marked_rows

    assert [int(recorded(flops).sum()) for flops in (0, 1.5e8, 3e8, 1e9)] == [16, 8, 0, 0]
    assert 0 < recorded(0)[:32].sum() < 16, "they are not all in one slice"


class Other(HashEvaluator):
    """A second opinion: the same hash, other answers."""

    def judge(self, planes: Any) -> tuple[Any, float, float]:
        logits, value, score = super().judge(planes)
        return -2 * logits, value, score


@pytest.mark.parametrize("root_kind", ["gumbel", "puct"])
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_roots_logits_are_mixed(root_kind: str, share: float) -> None:
    config = SearchConfig(root=root_kind, explore=True, dirichlet_weight=0.0)  # type: ignore[arg-type]
    actor = Actor(
        GAME, HashEvaluator(GAME, 4), 4, 8, config, opening_plies=4,
        seed=np.random.SeedSequence(2), anchor=Other(GAME, 4), anchor_share=share,
    )  # fmt: skip
    for _ in range(30):  # into the second and third moves
        actor.step()
    for g in range(4):
        node = actor.trees.nodes[g, ROOT]
        if not node.edges:
            continue
        state = actor.trees.states[g : g + 1]
        alone = make_root(state, config)
        for edge in actor.trees.edges[g, node.first_edge : node.first_edge + node.edges]:
            a = int(edge.action)
            theirs = -2 * alone[a]
            expected = (1 - share) * alone[a] + share * theirs
            assert actor.trees.logits[g, a] == pytest.approx(expected, abs=1e-5)
    assert actor.anchor is not None and actor.anchor.evaluations >= 4


def make_root(state: Any, config: SearchConfig) -> Any:
    """The network's own logits of the position."""
    from ghostgo.engine.search import Searcher

    searcher = Searcher(GAME, HashEvaluator(GAME, 1), 1, 8, config)
    searcher.run(state)
    return searcher.trees.logits[0]


def test_an_anchor_of_no_share_is_not_asked() -> None:
    other = Other(GAME, 4)
    actor = Actor(
        GAME, HashEvaluator(GAME, 4), 4, 8, seed=np.random.SeedSequence(2), anchor=other,
        search=SearchConfig(),
    )  # fmt: skip
    for _ in range(20):
        actor.step()
    assert other.evaluations == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--anchor", "kl"], "--anchor kl needs a prior: name it with --from"),
        (["--anchor", "mix", "--from", "go5bot"], "has no records beside it"),
    ],
)
def test_a_missing_prior_is_named(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert selfplay(here, "go5bot", "--config", str(here / "c.toml"), "--game", "go5",
                    "--games", "5") == 0  # fmt: skip
    capsys.readouterr()
    assert selfplay(here, "r", *options) == 2
    assert message in capsys.readouterr().err
    assert not (here / "r").exists()


def test_what_does_not_fit_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert selfplay(here, "warm", "--anchor", "fade", "--games", "1") == 2
    assert "run warm has --anchor init, not fade" in capsys.readouterr().err
    given = ["--root", str(here), "--run", "w3", "--records", str(here / "teacher.sgfs")]
    assert cli.run(["warmstart", *given, "--game", "go5", "--anchor", "root"]) == 2
    assert "ghostgo selfplay --from PRIOR --anchor root" in capsys.readouterr().err
    assert not (here / "w3").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight = -1.0", "weight = -1: from 0 to"),
        ('kind = "root"\nweight = 1.5', "for root to 1"),
        ("fade_share = 1.5", "fade_share = 1.5 is not from 0 to 1"),
        ("share = 1.0", "share = 1 is not from 0 to below 1"),
        ("fade_flops = 0.0", "fade_flops = 0 is no number above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(f"[anchor]\n{text}\n")
    assert selfplay(tmp_path, "r", "--config", str(config)) == 2
    assert message in capsys.readouterr().err
