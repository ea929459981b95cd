"""Golden trees: what searches found when they were last looked at, so that no change slips by.

    python tests/golden.py     writes tests/golden_trees.json anew, after a change that is meant

The evaluator is a hash of the planes, so nothing but rules, search and random streams has a say:
ours, and NumPy's, so that a new NumPy may ask for new trees.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from reference_search import HashEvaluator

from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig

FILE = Path(__file__).with_name("golden_trees.json")
GAMES = ("tic_tac_toe", "connect_four", "go5", "go9", "othello", "hex5", "gomoku9")
CONFIGS = {
    "puct": SearchConfig(root="puct"),
    "puct, noise": SearchConfig(root="puct", explore=True),
    "puct, 8 leaves": SearchConfig(root="puct", leaves_per_step=8),
    "gumbel": SearchConfig(root="gumbel"),
    "gumbel, noise": SearchConfig(root="gumbel", explore=True),
}
VISITS, PLIES, POSITIONS, SEED = 64, 6, 2, 11


def trees(games: tuple[str, ...] = GAMES) -> dict[str, Any]:
    """Root statistics of the `games` under every config, with the configs that gave them."""
    found: dict[str, Any] = {"configs": {name: asdict(c) for name, c in CONFIGS.items()}}
    for name in games:
        game = get_game(name)
        rng = np.random.default_rng(SEED)
        states = game.new_states(POSITIONS)
        for i in range(POSITIONS):
            for _ in range(i * PLIES // 2):
                play_one(states[i], int(rng.choice(game.legal_actions(states[i]))))
        assert not states.done.any()
        for config_name, config in CONFIGS.items():
            leaves = config.leaves_per_step
            evaluator = HashEvaluator(game, POSITIONS * leaves)
            searcher = Searcher(game, evaluator, POSITIONS, VISITS, config, seed=SEED)
            result = searcher.run(states)
            found[f"{name}, {config_name}"] = [
                {
                    "visits": {int(a): int(n) for a, n in enumerate(result.visits[i]) if n},
                    "action": int(result.action[i]),
                    "value": round(float(result.value[i]), 4),
                    "line": searcher.principal_variation(i, int(result.action[i]), 5),
                }
                for i in range(POSITIONS)
            ]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]  # keys as in the file


if __name__ == "__main__":
    text = json.dumps(trees(), indent=1)
    FILE.write_text(text + "\n")
    print(f"{FILE}: written")
