"""OpenSpiel's MCTS bot as a player: its search and its playouts, our word on what is legal.

The bot searches OpenSpiel's own states, so every game is replayed there, move by move. Where the
rules are the same it plays what it would play at home. In Go OpenSpiel calls a board that comes
back a draw, and we forbid the move: the bot then plays the best of the moves that we allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ghostgo.arena.players import Actions, BatchPlayer, position_seeds
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, State, States, is_legal_one
from ghostgo.engine.games.go import KO_RULES, is_go
from ghostgo.engine.games.openspiel import PREFIX

UCT_C = 2.0
"""Exploration constant: what OpenSpiel's own examples give the bot."""
MEMORY_MB = 1000
"""Where the bot's tree stops growing, as in OpenSpiel's own examples."""
LEAST_SIMULATIONS = 2
"""The first simulation only opens the root; without a second one the bot has no move to choose."""


def oracle_name(game: Game, state: State | None = None) -> str:
    """OpenSpiel's name, with parameters, of `game` under the rules of `state` (default rules if None).

    Raises UserError for a game that OpenSpiel does not have.
    """
    if game.name.startswith(PREFIX):
        return game.name.removeprefix(PREFIX)
    if is_go(game) and game.rows == game.cols:
        komi = float(game.rules["komi"] if state is None else state.komi)
        limit = int(game.rules["move_limit"] if state is None else state.move_limit)
        return f"go(board_size={game.rows},komi={komi},max_game_length={limit})"
    named = {
        "connect_four": f"connect_four(rows={game.rows},columns={game.cols})",
        "gomoku": f"mnk(m={game.cols},n={game.rows},k=5)",
        "hex": f"hex(board_size={game.rows})",
        "othello": "othello",
        "tic_tac_toe": "tic_tac_toe",
    }
    for start, name in named.items():
        if game.name.startswith(start):
            return name
    raise UserError(f"OpenSpiel has no {game.name}: its Go boards are square")


def oracle_actions(game: Game) -> list[int]:
    """OpenSpiel's number of each of our actions; its Go counts rows from the bottom.

    Its own inverse. The adapter's last action, `wait`, has no counterpart and stands for itself.
    """
    actions = list(range(game.actions))
    if is_go(game):
        rows = np.arange(game.points).reshape(game.rows, game.cols)[::-1]
        actions[: game.points] = rows.ravel().tolist()
    return actions


class OpenSpielPlayer(BatchPlayer):
    """OpenSpiel's MCTS (`pyspiel.MCTSBot`, in C++), one random playout a simulation."""

    def __init__(self, name: str, game: Game, simulations: int) -> None:
        """Raises UserError without OpenSpiel, for a game that it lacks, and for 1 simulation."""
        super().__init__(name)
        try:
            import pyspiel
        except ImportError:
            raise UserError(
                f"player {name!r} needs OpenSpiel, which is not installed: pip install open_spiel"
            ) from None
        if simulations < LEAST_SIMULATIONS:
            raise UserError(
                f"player {name!r}: {simulations} simulations; OpenSpiel's MCTS needs at least "
                f"{LEAST_SIMULATIONS}"
            )
        oracle_name(game)
        self._library = pyspiel
        self.program = f"OpenSpiel {getattr(pyspiel, '__version__', 'of unknown version')}"
        self._game = game
        self._simulations = simulations
        self._actions = oracle_actions(game)
        self._wait = game.actions - 1 if game.name.startswith(PREFIX) else -1
        self._oracles: dict[str, Any] = {}
        self._moves: dict[int, list[int]] = {}

    def reset(self, games: Sequence[int]) -> None:
        """New games begin."""
        for game in games:
            self._moves[game] = []

    def check_rules(self, rules: Mapping[str, Any]) -> None:
        """OpenSpiel's Go ends when a board comes back, and knows no suicide."""
        if is_go(self._game) and (rules["ko"] != "positional" or rules["suicide"]):
            what = "suicide allowed" if rules["suicide"] else f"ko = {rules['ko']}"
            raise UserError(
                f"player {self.name!r}: OpenSpiel's Go ends when a board comes back and knows "
                f"no suicide, so it plays under ko = positional without suicide, not {what}"
            )

    def observe(self, game: int, action: int) -> None:
        """Note a move, so that the game can be replayed."""
        self._moves[game].append(action)

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """The action that a fresh search prefers among those that our rules allow, one a row.

        Raises UserError for rules of Go that OpenSpiel does not play.
        """
        seeds = position_seeds(states, games)
        out = np.empty(len(states), np.int32)
        for i, (state, game) in enumerate(zip(states, games, strict=True)):
            out[i] = self._one(state, self._moves.get(game, []), int(seeds[i]) & 0x7FFFFFFF)
        return out

    def _one(self, state: State, moves: Sequence[int], seed: int) -> int:
        if self._wait >= 0 and state.waiting:
            return self._wait
        if len(moves) != state.move_number:
            raise ValueError(f"{self.name} was told {len(moves)} of {state.move_number} moves")
        library, oracle = self._library, self._oracle(state)
        position = oracle.new_initial_state()
        for action in moves:
            if action != self._wait:
                position.apply_action(self._actions[action])
        evaluator = library.RandomRolloutEvaluator(1, seed)
        bot = library.MCTSBot(
            oracle, evaluator, UCT_C, self._simulations, MEMORY_MB, True, seed, False
        )
        root = bot.mcts_search(position)
        self.evaluations += root.explore_count
        allowed = [
            child for child in root.children if is_legal_one(state, self._actions[child.action])
        ]
        best = max(allowed, key=_preference)
        return self._actions[int(best.action)]

    def _oracle(self, state: State) -> Any:
        """OpenSpiel's game under the rules of `state`."""
        if is_go(self._game):
            ko = next(name for name, number in KO_RULES.items() if number == state.ko_rule)
            self.check_rules({"ko": ko, "suicide": state.suicide})
        name = oracle_name(self._game, state)
        if name not in self._oracles:
            self._oracles[name] = self._library.load_game(name)
        return self._oracles[name]


def _preference(child: Any) -> tuple[float, int, float]:
    """What OpenSpiel sorts a root's moves by: proven result, visits, sum of results."""
    proven = child.outcome[child.player] if child.outcome else 0.0
    return proven, child.explore_count, child.total_reward
