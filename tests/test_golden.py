"""Searches still find what they found (see golden.py)."""

from __future__ import annotations

import json

from golden import FILE, trees


def test_trees_are_as_they_were() -> None:
    wanted, found = json.loads(FILE.read_text()), trees()
    assert found.keys() == wanted.keys()
    different = [name for name in wanted if found[name] != wanted[name]]
    assert not different, (
        "meant? then: python tests/golden.py; and where a tree without noise has changed, raise "
        "`net` in ghostgo.arena.players.PLAYS"
    )
