"""Records made up for the tests of the import."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from ghostgo.data.records import GameTable
from ghostgo.data.sgf_writer import write_game
from ghostgo.engine.games.registry import get_game
from ghostgo.warmstart.select import import_records

GO9 = get_game("go9")
PASS = 81


def distinct_games(count: int, seed: int = 0) -> list[list[int]]:
    """`count` short random games, legal because no two stones touch."""
    rng = random.Random(seed)
    return [rng.sample(range(0, 81, 2), rng.randrange(8, 20)) for _ in range(count)]


def sgf_of(moves: Sequence[int], **details: object) -> bytes:
    options = {"komi": 5.5, "rules": "Japanese", "result": "B+R", **details}
    return write_game(GO9, moves, **options).encode()  # type: ignore[arg-type]


def line_of(moves: Sequence[int]) -> bytes:
    return sgf_of(moves).replace(b"\n", b" ") + b"\n"


def import_text(folder: Path, *contents: bytes, game: str = "go9") -> GameTable:
    """The table of single games given as SGF bytes."""
    for i, content in enumerate(contents):
        (folder / f"game-{i:03d}.sgf").write_bytes(content)
    return import_records(folder, game)[0]


def refusal(folder: Path, content: bytes) -> str:
    """The counted reason for refusing one file; a good game beside it makes the import succeed."""
    (folder / "bad.sgf").write_bytes(content)
    (folder / "good.sgf").write_bytes(sgf_of([40, 41, 42]))
    _, report = import_records(folder)
    assert (report.read, report.kept, report.files["good.sgf"]) == (2, 1, {"kept": 1})
    (reason,) = report.dropped
    assert report.files["bad.sgf"] == {reason: 1}
    return reason
