"""Decided games: searched cheaply, not learnt, played to the end all the same. What counts as new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_search import HashEvaluator
from sizes import sized
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ghostgo import cli
from ghostgo.data.distinct import distinct_shares, table_keys
from ghostgo.data.ledger import read_ledger
from ghostgo.data.records import GameTable
from ghostgo.data.shards import read_shard
from ghostgo.engine.games.game import ownership_of, play_one, score_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search_config import SearchConfig
from ghostgo.selfplay.actor import Actor
from ghostgo.selfplay.slots import CHEAP, DECIDED, FULL

VALUE, VISITS, MOVES = 0.05, 4, 3
FULL_VISITS = 16


class Sure(HashEvaluator):
    """Sees the first player win 5x5 Go, or, `fickle`, whoever is to move."""

    fickle = False

    def evaluate(self, n: int) -> None:
        """Judge rows 0 .. n-1."""
        super().evaluate(n)
        komi = self.game.plane_names.index("komi_for_side_to_move")
        second = self.planes[:n, 0, komi] < 0x8000  # no sign bit: komi is the second player's
        self.value[:n] = np.where(second & (not self.fickle), -0.9, 0.9)


def actor(
    evaluator: type[HashEvaluator] = HashEvaluator,
    root: str = "gumbel",
    seed: int = 1,
    **given: Any,
) -> Actor:
    game = get_game("go5")
    config = SearchConfig(root=root, explore=True, cache_mb=0, solve=False)  # type: ignore[arg-type]
    return Actor(
        game, evaluator(game, 8), 8, FULL_VISITS, config, opening_plies=3,
        seed=np.random.SeedSequence(seed), **given,
    )  # fmt: skip


def played(made: Actor, games: int = sized(12, 3)) -> GameTable:
    while len(made._done) < games:
        made.step()
    return made.take()


def naive_weights(table: GameTable, value: float, moves: int) -> NDArray[np.float32]:
    """1 for each searched move, unless the `moves` searches before it were sure of one winner."""
    weights = []
    assert table.values is not None and table.surprise is not None
    for g in range(len(table)):
        first: list[float] = []  # values for the first player
        for m in range(int(table.offsets[g]), int(table.offsets[g + 1])):
            if np.isnan(table.surprise[m]):  # of the opening
                weights.append(0.0)
                continue
            last = first[-moves:]
            sure = len(last) == moves and (min(last) >= value or max(last) <= -value)
            weights.append(0.0 if sure else 1.0)
            ply = m - int(table.offsets[g])
            first.append(float(table.values[m]) * (1 if ply % 2 == 0 else -1))
    return np.array(weights, np.float32)


@pytest.mark.parametrize("root", ["gumbel", "puct"])
def test_weights_equal_the_naive_twin(root: str) -> None:
    table = played(actor(root=root, decided=(VALUE, VISITS, 2)), sized(30, 5))
    expected = naive_weights(table, VALUE, 2)
    np.testing.assert_array_equal(table.weights, expected)
    none = naive_weights(table, 2.0, 2)
    assert 0.05 < expected.sum() / none.sum() < 0.95, "some games were decided, and opened again"


def test_decided_games_cost_less() -> None:
    plain, short = actor(Sure), actor(Sure, decided=(0.8, VISITS, MOVES))
    spent, learnt = [], []
    for made in (plain, short):
        table = played(made)
        spent.append(made.evaluator.evaluations / table.positions)
        learnt.append(float(table.weights.sum()) / len(table))
    assert spent[1] < 0.5 * spent[0]
    assert MOVES <= learnt[1] < 0.5 * learnt[0]


def test_a_share_of_a_decided_game_is_searched_in_full_and_learnt() -> None:
    made = actor(Sure, decided=(0.8, VISITS, MOVES), decided_share=0.3)
    table = played(made, sized(30, 6))
    expected = naive_weights(table, 0.8, MOVES)
    assert table.surprise is not None
    decided = (expected == 0) & ~np.isnan(table.surprise)
    assert (table.weights[expected == 1] == 1).all()
    count, learnt = int(decided.sum()), int(table.weights[decided].sum())
    assert abs(learnt - 0.3 * count) < 4 * (0.21 * count) ** 0.5 and 0 < learnt < count


def test_both_sides_must_see_the_same_winner() -> None:
    class Fickle(Sure):
        fickle = True

    table = played(actor(Fickle, decided=(0.3, VISITS, 2)))
    np.testing.assert_array_equal(table.weights, naive_weights(table, 2.0, 2))


@pytest.mark.parametrize("cheap_visits", [0, 6])
def test_decided_moves_have_their_visits_and_no_noise(cheap_visits: int) -> None:
    made = actor(
        Sure, decided=(0.8, VISITS, MOVES), cheap_visits=cheap_visits, full_share=0.5,
        decided_share=cheap_visits / 12,
    )  # fmt: skip
    budgets = {FULL: FULL_VISITS, CHEAP: cheap_visits, DECIDED: VISITS}
    seen = set()
    for _ in range(sized(300, 120)):
        made.step()
        for g, length in enumerate(made.slots.length):
            kind = int(made.slots.full[g, length])
            assert made.trees.budget[g] == budgets[kind]
            if made.trees.started[g]:
                assert (made.trees.noise[g] != 0).any() == (kind == FULL)
                seen.add(kind)
    assert seen == {kind for kind, visits in budgets.items() if visits}


def test_decided_games_end_by_the_rules() -> None:
    game = get_game("go5")
    table = played(actor(Sure, decided=(0.8, VISITS, MOVES)))
    assert table.ownership is not None
    for g in range(len(table)):
        state = game.new_states(1, table.rules_of(g))
        for action in table.moves_of(g):
            assert not state[0].done and action in game.legal_actions(state[0])
            play_one(state[0], int(action))
        assert state[0].done and score_of(state[0]) == table.scores[g]
        owners = np.zeros(game.points, np.int8)
        ownership_of(state[0], owners)
        np.testing.assert_array_equal(owners, table.ownership[g])


def test_a_saved_actor_knows_which_games_are_decided() -> None:
    options: dict[str, Any] = {"evaluator": Sure, "decided": (0.8, VISITS, MOVES)}
    options["decided_share"] = 0.25
    one, other = actor(**options), actor(seed=9, **options)
    played(one, 4)
    assert (one.slots.sure != 0).any()
    one.restart_searches()
    other.load_state_dict({key: value.copy() for key, value in one.state_dict().items()})
    one.take(), other.take()
    tables = [played(each, 6) for each in (one, other)]
    np.testing.assert_array_equal(tables[0].moves, tables[1].moves)
    np.testing.assert_array_equal(tables[0].weights, tables[1].weights)


def test_an_actor_saved_before_games_were_decided_goes_on() -> None:
    made = actor(Sure, decided=(0.8, VISITS, MOVES))
    played(made, 4)
    saved = made.state_dict()
    del saved["sure"]
    made.load_state_dict(saved)
    assert not made.slots.sure.any()


def test_only_what_can_be_learnt_counts_as_new() -> None:
    """Neither the random moves of openings nor short searches."""
    for given in ({}, {"cheap_visits": 4, "full_share": 0.5}, {"decided": (0.8, VISITS, MOVES)}):
        made = actor(Sure, **given)
        while len(made._done) < 6:
            made.step()
        counted, table = made.positions, made.take()
        assert counted == (table.weights > 0).sum() < table.positions


CONFIG = """
network = "b1c8"
[search]
root = "puct"
dirichlet_shaped = true
root_temperature_early = 1.25
root_temperature_late = 1.1
root_fpu_reduction = 0.0
[selfplay]
games = 16
visits = 12
decided_value = 0.02
decided_visits = 3
decided_moves = 2
temperature_early = 0.8
temperature_late = 0.2
opening_plies = 4
samples_per_position = 2.0
positions_per_iteration = 150
[learner]
batch_size = 32
"""


def test_a_run_with_all_of_it(tmp_path: Path) -> None:
    config = tmp_path / "all.toml"
    config.write_text(CONFIG)
    where = ["--root", str(tmp_path), "--run", "r", "--config", str(config)]
    options = ["--game", "go5", "--seed", "1", "--games", "30", "--workers", "1"]
    assert cli.run(["selfplay", *where, *options]) == 0
    folder = tmp_path / "r"
    tables = [read_shard(path) for path in sorted((folder / "shards").glob("*.h5"))]
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    shown = [event.value for event in events.Scalars("distinct/positions of this iteration")]
    assert shown == pytest.approx([distinct_shares([table_keys(table)])[1] for table in tables])
    learnable = sum(int((table.weights > 0).sum()) for table in tables)
    positions = sum(table.positions for table in tables)
    assert 0.1 < learnable / positions < 0.9
    rows = read_ledger(folder / "ledger.jsonl")
    assert sum(row.get("positions", 0) for row in rows) == learnable
    samples = sum(row.get("samples", 0) for row in rows)
    assert 2.0 * learnable - 32 < samples <= 2.0 * learnable, "so many for each learnable one"
    assert cli.run(["selfplay", *where[:4], "--games", "60"]) == 0, "and it goes on"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[selfplay]\ndecided_value = 1.5", "decided_value = 1.5 is not between 0 and 1"),
        ("[selfplay]\ndecided_value = nan", "decided_value = nan is not between 0 and 1"),
        (
            "[selfplay]\ndecided_value = 0.9\ndecided_visits = 32",
            "decided_visits = 32: from 1 to fewer than visits, 32",
        ),
        ("[selfplay]\ndecided_value = 0.9\ndecided_visits = 0", "decided_visits = 0: from 1"),
        (
            "[selfplay]\ndecided_value = 0.9\ndecided_moves = 1",
            "decided_moves = 1: at least 2, one of each side",
        ),
        ("[selfplay]\nsampled_moves = 8", 'sampled_moves goes with root = "puct"'),
        ("[search]\ndirichlet_total = 10.0", 'dirichlet_total goes with root = "puct"'),
        ("[search]\ndirichlet_weight = 0.5", 'dirichlet_weight goes with root = "puct"'),
        ("[selfplay]\ndecided_share = 1.5", "decided_share = 1.5 is not between 0 and 1"),
        ("[selfplay]\ntemperature_early = 0.8", 'temperature_early goes with root = "puct"'),
        (
            '[search]\nroot = "puct"\n[selfplay]\nsampled_moves = 4\ntemperature_early = 0.8',
            "and sampled_moves = 0",
        ),
        ("[selfplay]\ntemperature_late = 0.2", "the late one no higher"),
        ("[selfplay]\ntemperature_early = inf", "temperature_early must be a number, 0 or above"),
        ("[search]\ndirichlet_shaped = true", 'dirichlet_shaped goes with root = "puct"'),
        ("[search]\nroot_temperature_early = 0.0", "root_temperature_early must be a number, 0.1"),
        ("[search]\nroot_temperature_late = 1.1", 'root_temperature_late goes with root = "puct"'),
        ("[search]\nroot_fpu_reduction = -1.0", "root_fpu_reduction must be a number, 0 or above"),
        ("[search]\nroot_fpu_reduction = nan", "root_fpu_reduction must be a number, 0 or above"),
        ("[search]\nroot_fpu_reduction = 0.0", 'root_fpu_reduction goes with root = "puct"'),
    ],
)
def test_what_makes_no_sense_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.toml"
    config.write_text(text + "\n")
    assert cli.run(["selfplay", "--root", str(tmp_path), "--config", str(config)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "scratch").exists()
