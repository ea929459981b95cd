"""Searches still find what they found (see golden.py)."""

from __future__ import annotations

import json

import pytest
from golden import FILE, GAMES, trees


@pytest.mark.parametrize("game", GAMES)
def test_trees_are_as_they_were(game: str) -> None:
    wanted, found = json.loads(FILE.read_text()), trees((game,))
    wanted = {
        name: each for name, each in wanted.items() if name.partition(",")[0] in (game, "configs")
    }
    assert found.keys() == wanted.keys() and len(wanted) > 2
    different = [name for name in wanted if found[name] != wanted[name]]
    assert not different, (
        "meant? then: python tests/golden.py; and where a tree without noise has changed, raise "
        "`net` in ghostgo.arena.players.PLAYS"
    )
