"""Distinct positions: a transposition counts once, whatever the moves that led there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostgo.data.distinct import distinct_shares, table_keys
from ghostgo.data.records import GameTable, Rules, concat, empty_table
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game


def table_of(name: str, games: Sequence[Sequence[int]], rules: Rules | None = None) -> GameTable:
    lengths = [len(moves) for moves in games]
    return GameTable(
        game=name,
        rules_table=(rules or {},),
        rules_index=np.zeros(len(games), np.uint8),
        offsets=np.cumsum([0, *lengths]).astype(np.int64),
        moves=np.concatenate(games).astype(np.int16),
        results=np.zeros(len(games), np.float32),
        scores=np.zeros(len(games), np.float32),
        ranks=np.zeros((len(games), 2), np.int8),
        weights=np.ones(sum(lengths), np.float32),
        first_to_play=np.zeros(len(games), np.int8),
    )


def positions(table: GameTable) -> float:
    return distinct_shares([table_keys(table)])[1]


def test_a_transposition_is_counted_once() -> None:
    # The third moves lead to the same position, as do the fourth; three moves before are not shared.
    table = table_of("tic_tac_toe", [[0, 4, 8, 2], [8, 4, 0, 2]])
    assert positions(table) == 6 / 8


def test_rules_make_a_difference() -> None:
    games = [[12, 6, 8]]
    tables = [table_of("go5", games, {"komi": komi}) for komi in (5.5, 5.5, 7.5)]
    assert distinct_shares([table_keys(concat(tables))]) == (2 / 3, 6 / 9)
    # So do they across tables, whose numbers of rules mean different rules.
    assert distinct_shares([table_keys(table) for table in tables]) == (2 / 3, 6 / 9)
    assert distinct_shares([table_keys(empty_table("go5"))]) == distinct_shares([]) == (0, 0)


def naive_share(table: GameTable) -> float:
    """By what the network sees of each position, in tic-tac-toe all of it."""
    game = get_game(table.game)
    mask, planes = np.zeros(game.actions, np.uint8), np.zeros((game.points, game.planes), np.uint16)
    seen = set()
    for g in range(len(table)):
        state = game.new_states(1)
        for action in table.moves_of(g):
            play_one(state[0], int(action))
            legal_mask_of(state[0], mask)
            write_planes_of(state[0], mask, planes)
            seen.add((planes.tobytes(), int(state[0].to_play)))
    return len(seen) / table.positions


def test_every_game_begins_where_it_began() -> None:
    rng = np.random.default_rng(3)
    game = get_game("tic_tac_toe")
    games = []
    for _ in range(60):
        state, moves = game.new_states(1), []
        while not state[0].done:
            moves.append(int(rng.choice(game.legal_actions(state[0]))))
            play_one(state[0], moves[-1])
        games.append(moves)
    table = table_of("tic_tac_toe", games)
    assert positions(table) == naive_share(table) < 1
