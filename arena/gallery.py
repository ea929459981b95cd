"""Rated games as data for the report's board: every position, worked out by our rules.

The page knows no rules: it gets, for each ply, the points that changed, and puts them one over the
other. That is a few bytes a move, so that hundreds of games fit beside the charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.league import League
from ghostgo.arena.ratings import Ratings
from ghostgo.arena.results import GameResult, PairResult, outcome_words
from ghostgo.engine import coords
from ghostgo.engine.games.game import (
    FIRST,
    Game,
    States,
    is_legal_one,
    legal_mask_of,
    play_one,
    write_planes_of,
)

MOST_GAMES = 400
MOST_PLIES = 20_000
"""Of all games on the page together: some 200 kB."""
MOST_NOTE = 200
"""Letters of a forfeit's reason."""
LOOKS = {
    "go": "lines", "gomoku": "lines", "othello": "squares", "tic_tac_toe": "marks",
    "connect_four": "holes", "hex": "hexagons",
}  # fmt: skip
"""How each game's board is drawn, by the name of its state's first field."""
Changes = list[list[int]]


def has_board(game: Game) -> bool:
    """Whether the game's positions are stones on points."""
    return {"own_stones", "opponent_stones"} <= set(game.plane_names)


class _Reader:
    """Reads the stones of positions of one game."""

    def __init__(self, game: Game) -> None:
        self._mask = np.zeros(game.actions, np.uint8)
        self._planes = np.zeros((game.points, game.planes), np.uint16)
        self._own = game.plane_names.index("own_stones")
        self._other = game.plane_names.index("opponent_stones")

    def stones(self, states: States) -> NDArray[np.int8]:
        """(P,) of the one state: 0 empty, 1 the first player's, 2 the second's."""
        state = states[0]
        legal_mask_of(state, self._mask)
        write_planes_of(state, self._mask, self._planes)
        own, other = (1, 2) if state.to_play == FIRST else (2, 1)
        stones = own * (self._planes[:, self._own] != 0)
        stones += other * (self._planes[:, self._other] != 0)
        return np.asarray(stones, np.int8)


def first_stones(game: Game, rules: Mapping[str, Any]) -> list[int]:
    """The stones on the board before the first move (in Othello four), as `changes` writes them."""
    stones = _Reader(game).stones(game.new_states(1, rules))
    points = np.flatnonzero(stones)
    return [int(change) for change in 3 * points + stones[points]]


def changes(game: Game, rules: Mapping[str, Any], moves: Sequence[int]) -> Changes | None:
    """For each ply the points that it changed, as 3 * point + what stands there afterwards.

    0 is empty, 1 the first player's stone, 2 the second's; a stone that was put down comes before
    what it captured or turned over. None if a move is not legal under `rules`.
    """
    states, reader = game.new_states(1, rules), _Reader(game)
    before = reader.stones(states)
    found: Changes = []
    for action in moves:
        if not is_legal_one(states[0], action):
            return None
        play_one(states[0], action)
        after = reader.stones(states)
        points = np.flatnonzero(before != after)
        points = points[np.argsort(before[points] != 0, kind="stable")]
        found.append((3 * points + after[points]).tolist())
        before = after
    return found


def choose_games(pairs: Sequence[PairResult]) -> list[tuple[PairResult, GameResult]]:
    """What the page has room for: of every pairing the newest game, then the next one, and so on.

    `pairs` are oldest first.
    """
    meetings: dict[frozenset[str], list[tuple[PairResult, GameResult]]] = {}
    for pair in reversed(pairs):
        met = meetings.setdefault(frozenset((pair.a.identity, pair.b.identity)), [])
        met += [(pair, game) for game in pair.games]
    chosen: list[tuple[PairResult, GameResult]] = []
    plies = 0
    for rank in range(max(map(len, meetings.values()), default=0)):
        for met in meetings.values():
            if rank < len(met):
                plies += len(met[rank][1].moves)
                if plies > MOST_PLIES or len(chosen) == MOST_GAMES:
                    return chosen
                chosen.append(met[rank])
    return chosen


def _names(game: Game) -> tuple[list[str], list[str]]:
    """What stands beside the columns and, from the top, the rows; nothing where moves are columns."""
    if game.actions == game.cols:
        return [game.action_name(col) for col in range(game.cols)], []
    return list(coords.GTP_LETTERS[: game.cols]), [str(game.rows - row) for row in range(game.rows)]


def _shown(
    league: League, chosen: Sequence[tuple[PairResult, GameResult]], places: Mapping[int, int]
) -> list[dict[str, Any]]:
    """The `chosen` games with their positions, strongest pairing first, without illegal ones."""
    numbers = {info.identity: i for i, info in enumerate(league.infos)}
    found: list[tuple[list[int], dict[str, Any]]] = []
    for pair, result in chosen:
        diffs = changes(league.game, pair.rules, result.moves)
        if diffs is None:
            continue
        who = [numbers[info.identity] for info in (pair.a, pair.b)]
        if result.first:
            who.reverse()
        game = {
            "id": f"{pair.pair}/{1 if result is pair.games[0] else 2}",
            "who": who,
            "result": outcome_words(league.game, result),
            "note": result.note[:MOST_NOTE],
            "given": len(pair.opening),
            "moves": list(result.moves),
            "diffs": diffs,
        }
        found.append((sorted(places[i] for i in who), game))
    found.sort(key=lambda each: each[0])
    return [game for _, game in found]


def make_gallery(league: League, ratings: Ratings) -> dict[str, Any] | None:
    """The games that the page shows, ready for JSON; None without any, or without boards.

    `games` are strongest pairing first, `order` has the players' numbers so; `left_out` counts games
    that had no room and `illegal` those that our rules do not allow.
    """
    game = league.game
    if not has_board(game) or not league.pairs:
        return None
    chosen = choose_games(list(league.pairs.values()))
    order = [int(i) for i in np.argsort(-ratings.elo, kind="stable")]
    shown = _shown(league, chosen, {i: place for place, i in enumerate(order)})
    kind = game.dtype.names[0] if game.dtype.names else ""
    across, down = _names(game)
    return {
        "game": kind,
        "look": LOOKS.get(kind, "squares"),
        "rows": game.rows,
        "cols": game.cols,
        "across": across,
        "down": down,
        "sides": list(game.player_names),
        "players": [rating.name for rating in ratings.ratings],
        "order": order,
        "actions": [game.action_name(action) for action in range(game.actions)],
        "start": first_stones(game, league.rules),
        "games": shown,
        "left_out": 2 * len(league.pairs) - len(chosen),
        "illegal": len(chosen) - len(shown),
    }
