"""Game tables: selecting and joining against the obvious loops, and what `validate` refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ghostgo.data.records import GameTable, concat, empty_table

POINTS, ACTIONS = 25, 26


def make_table(seed: int, games: int = 6, *, full: bool = False, komi: float = 0.5) -> GameTable:
    """A go5 table of random content (moves legal or not); `full` has the optional columns too."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, games)  # games without moves too
    moves = int(lengths.sum())
    table = GameTable(
        game="go5",
        rules_table=({"komi": komi}, {"ko": "simple"}),
        rules_index=rng.integers(0, 2, games).astype(np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        moves=rng.integers(0, ACTIONS, moves).astype(np.int16),
        results=rng.choice([1, 0, -1, np.nan], games).astype(np.float32),
        scores=rng.normal(size=games).astype(np.float32),
        ranks=rng.integers(0, 40, (games, 2)).astype(np.int8),
        weights=rng.random(moves).astype(np.float32),
        first_to_play=rng.integers(0, 2, games).astype(np.int8),
        sources=[f"seed {seed}"],
    )
    if full:
        table.policies = rng.random((moves, ACTIONS)).astype(np.float16)
        table.values = rng.uniform(-1, 1, moves).astype(np.float16)
        table.ownership = rng.integers(-1, 2, (games, POINTS)).astype(np.int8)
        table.setups = rng.integers(-1, 2, (games, POINTS)).astype(np.int8)
        table.players = rng.integers(0, 99, (games, 2)).astype(np.uint64)
        table.years = rng.integers(0, 2030, games).astype(np.int16)
        table.counting = rng.integers(0, 3, games).astype(np.int8)
    return table


def rows(table: GameTable) -> list[dict[str, Any]]:
    """Each game as plain Python, for comparison (nan as text)."""
    result = []
    for i in range(len(table)):
        span = slice(table.offsets[i], table.offsets[i + 1])
        row: dict[str, Any] = {"rules": table.rules_of(i)}
        for name in ("moves", "weights", "policies", "values"):
            column = getattr(table, name)
            row[name] = None if column is None else str(column[span].tolist())
        for name in (
            "results", "scores", "ranks", "first_to_play", "ownership", "setups", "players", "years",
            "counting",
        ):  # fmt: skip
            column = getattr(table, name)
            row[name] = None if column is None else str(column[i].tolist())
        result.append(row)
    return result


@pytest.mark.parametrize("full", [False, True])
def test_select_takes_the_games_asked_for(full: bool) -> None:
    table = make_table(1, 9, full=full)
    for indices in ([], [3], [8, 0, 0, 5], range(9), np.array([7, 2], np.int32)):
        chosen = table.select(indices)
        chosen.validate()
        assert rows(chosen) == [rows(table)[i] for i in indices]


def test_moves_of_and_positions() -> None:
    table = make_table(2, 7)
    moves = [move for i in range(len(table)) for move in table.moves_of(i).tolist()]
    assert moves == table.moves.tolist()
    assert table.positions == len(moves)
    assert table.game_of().tolist() == [i for i in range(7) for _ in table.moves_of(i)]


@pytest.mark.parametrize("full", [False, True])
def test_concat_keeps_every_game_and_merges_rules(full: bool) -> None:
    tables = [make_table(3, 4, full=full), make_table(4, 5, full=full, komi=6.5)]
    joined = concat([empty_table("go5"), *tables])
    joined.validate()
    assert rows(joined) == rows(tables[0]) + rows(tables[1])
    assert list(joined.rules_table) == [{"komi": 0.5}, {"ko": "simple"}, {"komi": 6.5}]
    assert joined.sources == ["seed 3", "seed 4"]


def test_concat_fills_what_has_a_neutral_filling_and_refuses_the_rest() -> None:
    plain, full = make_table(5), make_table(6, full=True)
    full.policies = full.ownership = None
    joined = concat([plain, full])
    joined.validate()
    assert joined.values is not None and joined.setups is not None and joined.counting is not None
    assert np.isnan(joined.values[: plain.positions]).all()
    assert not joined.setups[: len(plain)].any() and not joined.counting[: len(plain)].any()
    assert joined.players is not None and joined.years is not None
    assert not joined.players[: len(plain)].any() and not joined.years[: len(plain)].any()
    assert rows(joined)[len(plain) :] == rows(full)
    for name in ("policies", "ownership"):
        mixed = make_table(7, full=True)
        mixed.policies, mixed.ownership = (
            (mixed.policies, None) if name == "policies" else (None, mixed.ownership)
        )
        with pytest.raises(ValueError, match=name):
            concat([plain, mixed])


def test_concat_of_nothing_or_of_different_games() -> None:
    assert len(concat([empty_table("go9"), empty_table("go9")])) == 0
    with pytest.raises(ValueError, match="no tables"):
        concat([])
    with pytest.raises(ValueError, match="different games"):
        concat([empty_table("go9"), empty_table("go7")])


def test_concat_refuses_more_rules_than_an_index_can_name() -> None:
    def with_komi(count: int) -> GameTable:
        table = make_table(0, 1)
        table.rules_table = tuple({"komi": k / 2} for k in range(count))
        return table

    assert len(concat([with_komi(256), make_table(0, 1)][:1]).rules_table) == 256
    with pytest.raises(ValueError, match="257 different rules"):
        concat([with_komi(256), with_komi(257)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("moves", np.full(30, 26, np.int16)),
        ("moves", np.full(30, -1, np.int16)),
        ("moves", np.zeros(30, np.int32)),
        ("moves", np.zeros((30, 1), np.int16)),
        ("offsets", np.array([0, 20, 10, 30], np.int64)),
        ("offsets", np.array([0, 10, 20, 29], np.int64)),
        ("offsets", np.array([1, 10, 20, 30], np.int64)),
        ("offsets", np.array([0, 10, 30], np.int64)),
        ("rules_index", np.array([0, 1, 0], np.uint8)),
        ("results", np.array([0, 0.5, 1], np.float32)),
        ("results", np.zeros(2, np.float32)),
        ("ranks", np.full((3, 2), 40, np.int8)),
        ("ranks", np.zeros((3, 1), np.int8)),
        ("weights", np.full(30, -1, np.float32)),
        ("weights", np.full(30, np.nan, np.float32)),
        ("first_to_play", np.full(3, 2, np.int8)),
        ("policies", np.zeros((30, 25), np.float16)),
        ("values", np.zeros(30, np.float32)),
        ("ownership", np.zeros((3, 26), np.int8)),
        ("setups", [[0] * 25] * 3),
        ("players", np.zeros((3, 2), np.int64)),
        ("years", np.zeros(2, np.int16)),
        ("counting", np.zeros((3, 1), np.int8)),
        ("counting", np.full(3, 3, np.int8)),
    ],
)
def test_validate_names_the_faulty_column(name: str, value: Any) -> None:
    table = GameTable(
        game="go5",
        rules_table=({},),
        rules_index=np.zeros(3, np.uint8),
        offsets=np.array([0, 10, 20, 30], np.int64),
        moves=np.zeros(30, np.int16),
        results=np.zeros(3, np.float32),
        scores=np.zeros(3, np.float32),
        ranks=np.zeros((3, 2), np.int8),
        weights=np.ones(30, np.float32),
        first_to_play=np.zeros(3, np.int8),
    )
    table.validate()
    setattr(table, name, value)
    with pytest.raises(ValueError, match=name):
        table.validate()
