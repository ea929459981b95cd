"""The real human records: every set imports whole, every quirk has the outcome its list says.

Importing replays each game by our rules and drops what is illegal there, so a set that imports
whole has been replayed legally to the last move.
"""

from __future__ import annotations

import math
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ghostgo.data.records import GameTable
from ghostgo.engine.games.registry import get_game
from ghostgo.warmstart.select import import_records, split_by_hash

PASS = 81
RECORDS = Path(__file__).resolve().parents[2] / "shared" / "records"
needs_records = pytest.mark.skipif(
    not RECORDS.is_dir(), reason="the human records are not beside this checkout"
)

KEPT = "kept"
QUIRKS = {
    "html-error-page": "not SGF",
    "error-text": "not SGF",
    "no-moves": "no moves",
    "negative-rank": KEPT,
    "AB-without-HA": KEPT,
    "handicap-AB": KEPT,
    "lost-on-time": KEPT,
    "non-ASCII-names": KEPT,
    "AW-setup": "no moves",
    "no-KM": KEPT,
    "negative-komi": KEPT,
    "three-passes": KEPT,
    "resumed-after-two-passes": "play after two passes",
    "rank-unknown": KEPT,
    "whole-board-repetition-1": KEPT,
    "whole-board-repetition-2": "play after two passes",
    "escaped-bracket-in-name": KEPT,
    "result-unknown-1": KEPT,
    "result-unknown-2": "play after two passes",
    "illegal-move": "illegal move",
    "no-RE": KEPT,
    "pro-lost-on-time": KEPT,
    "damaged-UTF-8-names": KEPT,
    "fox-komi-650": KEPT,
    "draw": KEPT,
    "fox-handicap-stones-missing": "handicap without its stones",
    "fox-illegal-move": "handicap without its stones",
    "variations": KEPT,
    "fox-handicap-in-second-node": KEPT,
    "same-colour-twice": "same colour twice",
    "fox-komi-375": KEPT,
    "missing-open-bracket": KEPT,
    "all-NUL": "not SGF",
}


@needs_records
def test_quirks_have_the_outcome_their_list_says(tmp_path: Path) -> None:
    with zipfile.ZipFile(RECORDS / "quirks" / "quirks.zip") as archive:
        archive.extractall(tmp_path)
    outcomes: dict[str, str] = {}
    for game in ("go9", "go19"):
        _, report = import_records(tmp_path, game)
        for name, counts in report.files.items():
            (outcome,) = counts
            if outcome != "wrong board size":
                outcomes[name] = outcome
    assert len(outcomes) == 53
    for name, outcome in outcomes.items():
        stem = name.removesuffix(".sgf")
        wanted = QUIRKS.get(stem) or QUIRKS[stem.rsplit("-", 1)[0]]
        assert outcome == wanted, name


@needs_records
def test_quirks_are_understood(tmp_path: Path) -> None:
    with zipfile.ZipFile(RECORDS / "quirks" / "quirks.zip") as archive:
        archive.extractall(tmp_path)

    def one(name: str, game: str = "go9") -> GameTable:
        return import_records(tmp_path / f"{name}-1.sgf", game)[0]

    assert one("fox-komi-650", "go19").rules_of(0)["komi"] == 6.5
    assert one("fox-komi-375", "go19").rules_of(0)["komi"] == 7.5
    assert one("negative-komi").rules_of(0)["komi"] == -5.5
    assert "komi" not in one("no-KM").rules_of(0)
    assert np.isnan(one("no-RE").results[0]) and np.isnan(one("result-unknown").results[0])
    assert one("lost-on-time").results[0] == one("pro-lost-on-time").results[0] == -1
    assert one("draw", "go19").results[0] == 0
    assert one("rank-unknown").ranks[0].tolist() == [0, 8]
    assert one("negative-rank").ranks[0, 0] == 0
    handicap = one("fox-handicap-in-second-node", "go19")
    assert handicap.setups is not None
    assert (handicap.setups.sum(), handicap.first_to_play[0]) == (3, 1)
    passes = one("three-passes").moves_of(0) == PASS
    assert passes[-2:].all() and not passes[-3]


SETS = {  # games in the file, board moves in it (all games less those held back)
    "pro9": (453, 22_767 - 1_979),
    "goquest9": (3_110, 185_898 - 19_086),
    "goquest9-noresult": (6_201, 304_011 - 29_997),
    "ogs9-handicap": (877, None),
    "ogs9-strong": (29_041, 1_606_992 - 160_420),
    "ogs9-mid": (55_401, 3_066_885 - 308_794),
    "ogs9-weak": (17_258, 947_623 - 98_125),
    "ogs9-unranked": (4_886, None),
    "fox19": (3_329, None),
    "fox19-nokomi": (13_253, None),
}
SMALL = ("pro9", "goquest9", "ogs9-handicap")


def check_set(name: str) -> None:
    """The set imports whole, with the numbers of its README."""
    game = "go19" if name.startswith("fox19") else "go9"
    table, report = import_records(RECORDS / name / f"{name}.zip", game)
    table.validate()
    games, moves = SETS[name]
    assert (len(table), report.kept, report.read, report.dropped) == (games, games, games, {})
    if moves is not None:
        assert (table.moves != get_game(game).points).sum() == moves
    share = len(split_by_hash(table)[1]) / games
    assert abs(share - 0.1) < 5 * math.sqrt(0.09 / games)


@needs_records
@pytest.mark.parametrize("name", SMALL)
def test_small_sets_import_whole(name: str) -> None:
    check_set(name)


@needs_records
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SETS) - set(SMALL)))
def test_large_sets_import_whole(name: str) -> None:
    check_set(name)


@needs_records
@pytest.mark.slow
def test_import_is_fast() -> None:
    import_records(RECORDS / "ogs9-handicap" / "ogs9-handicap.zip")  # compiles the kernels
    start = time.process_time()
    table, _ = import_records(RECORDS / "ogs9-strong" / "ogs9-strong.zip")
    assert len(table) / (time.process_time() - start) > 5_000
