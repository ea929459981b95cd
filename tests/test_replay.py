"""Training rows from games: targets, sides, symmetries, weights."""

from __future__ import annotations

import numpy as np
import pytest

from ghostgo.data.records import GameTable
from ghostgo.data.replay import ReplayWindow, window_rows
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import legal_mask_of, play_one, score_of, write_planes_of
from ghostgo.engine.games.registry import get_game


def random_table(name: str, games: int, seed: int = 0, searched: bool = True) -> GameTable:
    """Random games with made-up policies, so that each row can be told from the others."""
    game = get_game(name)
    rng = np.random.default_rng(seed)
    moves, lengths, scores = [], [], []
    for _ in range(games):
        state = game.new_states(1)
        n = 0
        while not state[0].done:
            action = int(rng.choice(game.legal_actions(state[0])))
            moves.append(action)
            play_one(state[0], action)
            n += 1
        lengths.append(n)
        scores.append(score_of(state[0]))
    m = len(moves)
    policies = rng.random((m, game.actions)).astype(np.float16)
    return GameTable(
        game=name,
        rules_table=(dict(game.rules),),
        rules_index=np.zeros(games, np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        moves=np.array(moves, np.int16),
        results=np.sign(scores).astype(np.float32),
        scores=np.array(scores, np.float32),
        ranks=np.zeros((games, 2), np.int8),
        weights=np.ones(m, np.float32),
        first_to_play=np.zeros(games, np.int8),
        policies=policies if searched else None,
        ownership=rng.integers(-1, 2, (games, game.points)).astype(np.int8)
        if game.has_ownership
        else None,
    )


@pytest.mark.parametrize("name", ["go5", "connect_four"])
def test_rows_are_the_positions_and_targets_of_their_games(name: str) -> None:
    game = get_game(name)
    table = random_table(name, 4)
    window = ReplayWindow(game)
    window.add(table.select([0, 1]))
    window.add(table.select([2, 3]))
    batch = window.rows_batch(np.arange(window.rows))
    assert table.policies is not None
    row = 0
    for g in range(4):
        state = game.new_states(1)
        for k, action in enumerate(table.moves_of(g)):
            m = int(table.offsets[g]) + k
            mask = np.zeros(game.actions, np.uint8)
            planes = np.zeros((game.points, game.planes), np.uint16)
            legal_mask_of(state[0], mask)
            write_planes_of(state[0], mask, planes)
            sign = 1 if state[0].to_play == 0 else -1
            assert (batch.planes[row] == planes).all()
            assert (batch.policy[row] == table.policies[m].astype(np.float32)).all()
            assert batch.value[row] == sign * table.results[g]
            assert batch.score[row] == sign * table.scores[g]
            if table.ownership is not None:
                assert (batch.ownership[row] == 0.5 * (1 + sign * table.ownership[g])).all()
            last = k == len(table.moves_of(g)) - 1
            expected = 0 if last else table.policies[m + 1].astype(np.float32)
            assert (batch.reply[row] == expected).all()
            play_one(state[0], int(action))
            row += 1
    assert row == window.rows == table.positions


def test_symmetries_turn_planes_and_targets_together() -> None:
    game = get_game("go5")
    window = ReplayWindow(game)
    window.add(random_table("go5", 2))
    rows = np.arange(30)
    plain = window.rows_batch(rows)
    for s in range(len(game.point_symmetries)):
        turned = window.rows_batch(rows, np.full(30, s))
        points, actions = game.point_symmetries[s], game.action_symmetries[s]
        assert (turned.planes[:, points] == plain.planes).all()
        assert (turned.policy[:, actions] == plain.policy).all()
        assert (turned.reply[:, actions] == plain.reply).all()
        assert (turned.ownership[:, points] == plain.ownership).all()
        assert (turned.value == plain.value).all()


def test_a_record_without_search_teaches_the_move() -> None:
    game = get_game("go5")
    table = random_table("go5", 2, searched=False)
    window = ReplayWindow(game)
    window.add(table)
    batch = window.rows_batch(np.arange(window.rows))
    assert (batch.policy.argmax(axis=1) == table.moves).all()
    assert (batch.policy.sum(axis=1) == 1).all()


def test_in_go_an_unknown_komi_teaches_moves_alone() -> None:
    table = random_table("go5", 3)
    komi = table.rules_table[0]
    table.rules_table = (komi, {"ko": "positional"})
    table.rules_index[1] = 1
    window = ReplayWindow(get_game("go5"))
    window.add(table)
    batch = window.rows_batch(np.arange(window.rows))
    unknown = table.game_of() == 1
    for target in (batch.value, batch.score, batch.ownership[:, 0]):
        assert (np.isnan(target) == unknown).all()
    assert table.policies is not None and (batch.policy == table.policies.astype(np.float32)).all()
    other = random_table("connect_four", 2)
    other.rules_table = ({},)
    window = ReplayWindow(get_game("connect_four"))
    window.add(other)
    assert np.isfinite(window.rows_batch(np.arange(window.rows)).value).all(), "it has no komi"


def test_weightless_positions_are_not_drawn_and_unknown_results_not_taught() -> None:
    game = get_game("go5")
    table = random_table("go5", 3)
    table.weights[::2] = 0
    table.results[0] = table.scores[0] = np.nan
    window = ReplayWindow(game)
    window.add(table)
    assert window.rows == int((table.weights > 0).sum())
    batch = window.rows_batch(np.arange(window.rows))
    first = int((table.weights[: table.offsets[1]] > 0).sum())
    assert np.isnan(batch.value[:first]).all()
    assert np.isfinite(batch.value[first:]).all()


def test_few_positions_a_game_teach_the_value() -> None:
    game = get_game("go5")
    table = random_table("go5", 5)
    window = ReplayWindow(game, value_positions=3)
    window.add(table)
    batch = window.rows_batch(np.arange(window.rows))
    taught = np.isfinite(batch.value)
    assert [
        int(taught[a:b].sum()) for a, b in zip(table.offsets, table.offsets[1:], strict=False)
    ] == [3] * 5
    assert (np.isfinite(batch.ownership[:, 0]) == taught).all()


def test_few_positions_are_of_those_that_are_learnt() -> None:
    table = random_table("go5", 5)
    table.weights[::2] = 0
    table.weights[table.offsets[1] : table.offsets[2]] = 0
    window = ReplayWindow(get_game("go5"), value_positions=3)
    window.add(table)
    games = table.game_of()[table.weights > 0]
    taught = np.isfinite(window.rows_batch(np.arange(window.rows)).value)
    assert np.bincount(games, taught, minlength=5).tolist() == [3, 0, 3, 3, 3]


def test_window_evicts_the_oldest_and_says_its_size() -> None:
    game = get_game("go5")
    tables = [random_table("go5", 2, seed) for seed in range(4)]
    window = ReplayWindow(game)
    for table in tables:
        window.add(table, at_most=tables[2].positions + tables[3].positions)
    assert window.rows == tables[2].positions + tables[3].positions
    assert window.tables == 2 and window.bytes > 0


def test_sampling_is_seeded_and_an_empty_window_refuses() -> None:
    game = get_game("go5")
    window = ReplayWindow(game)
    with pytest.raises(ValueError, match="empty"):
        window.sample(4, np.random.default_rng(0))
    window.add(random_table("go5", 3))
    first, again = (window.sample(16, np.random.default_rng(5)) for _ in range(2))
    assert (first.planes == again.planes).all() and (first.policy == again.policy).all()


def test_window_grows_by_katagos_law() -> None:
    assert window_rows(500, 1000) == 500
    assert window_rows(1000, 1000) == 1000
    # c (1 + 0.4 ((N / c)^0.75 - 1) / 0.75) at N = 16 c: 1 + 0.4 * 7 / 0.75.
    assert window_rows(16_000, 1000) == int(1000 * (1 + 0.4 * 7 / 0.75))


def test_bytes_never_exceed_their_bound() -> None:
    game = get_game("go5")
    tables = [random_table("go5", 3, seed) for seed in range(5)]
    free = ReplayWindow(game)
    free.add(tables[0])
    bound = int(2.5 * free.bytes)
    window = ReplayWindow(game, most_bytes=bound)
    for number, table in enumerate(tables):
        window.add(table, source=f"{number}.h5")
        assert 0 < window.bytes <= bound
    kept = window.rows_batch(np.arange(window.rows)).origin["source"]
    oldest = int(min(kept.tolist())[0])
    assert oldest > 0 and window.rows == sum(table.positions for table in tables[oldest:])
    free = ReplayWindow(game)
    for table in tables[oldest - 1 :]:
        free.add(table, source="?")
    assert free.bytes > bound, "no more went than had to"


def test_of_a_table_that_is_too_large_the_newest_games_stay() -> None:
    game, table = get_game("go5"), random_table("go5", 9)
    whole = ReplayWindow(game)
    whole.add(table)
    window = ReplayWindow(game, most_bytes=whole.bytes // 2)
    window.add(random_table("go5", 1, 7))
    window.add(table, source="a.h5")
    assert window.bytes <= whole.bytes // 2
    origin = window.rows_batch(np.arange(window.rows)).origin
    kept = sorted(set(origin["game"].tolist()))
    assert kept == list(range(kept[0], 9)) and set(origin["source"]) == {"a.h5"}
    batch = window.rows_batch(np.arange(window.rows))
    assert (batch.policy[-1] == whole.rows_batch(np.array([whole.rows - 1])).policy[0]).all()
    tiny = ReplayWindow(game, most_bytes=100)
    with pytest.raises(UserError, match="raise window_mb"):
        tiny.add(table)


def test_rows_know_where_they_come_from() -> None:
    table = random_table("go5", 4)
    window = ReplayWindow(get_game("go5"))
    window.add_parts([table.select([0, 2]), table.select([1, 3])], "train.h5")
    origin = window.rows_batch(np.arange(window.rows)).origin
    wanted = [("train.h5", g, k) for g in (0, 2, 1, 3) for k in range(int(table.lengths[g]))]
    assert [tuple(each) for each in origin.tolist()] == wanted


def test_without_symmetries_the_same_rows_are_drawn_as_they_are() -> None:
    table = random_table("go5", 3)
    turned, plain = (ReplayWindow(get_game("go5"), symmetries=on) for on in (True, False))
    for window in (turned, plain):
        window.add(table)
    one, other = (window.sample(32, np.random.default_rng(1)) for window in (turned, plain))
    assert (one.origin == other.origin).all() and (one.policy != other.policy).any()
    games, plies = other.origin["game"], other.origin["ply"]
    assert table.policies is not None
    wanted = table.policies[table.offsets[games] + plies].astype(np.float32)
    assert (other.policy == wanted).all()
