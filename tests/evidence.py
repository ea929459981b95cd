"""What tests that count games must know of a ledger."""

from __future__ import annotations

from pathlib import Path

from ghostgo.arena.league import League
from ghostgo.arena.results import read_results
from ghostgo.engine.games.registry import get_game


def copies(arena: Path) -> int:
    """Games in an arena's folder that count no more, since networks played them before."""
    results = read_results(arena / "results.jsonl")
    league = League(get_game(results[0].game), results[0].rules, [], 0)
    league.extend(results)
    return league.repeated
