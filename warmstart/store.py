"""Imported records as one file: `ghostgo records import` writes it, `show` and `warmstart` read it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ghostgo.data.archives import name_of, size_of
from ghostgo.data.records import GameTable
from ghostgo.data.sgf_values import Result
from ghostgo.data.shards import attributes, read_shard, write_shard
from ghostgo.data.split import SPLIT
from ghostgo.engine.errors import UserError
from ghostgo.warmstart.control import games_of_run, run_and_steps
from ghostgo.warmstart.report import ImportReport, rank_name
from ghostgo.warmstart.select import import_records

SUFFIX = ".h5"
REPORT, SOURCES = "report", "records"


def import_to_file(
    paths: Sequence[Path],
    out: Path,
    game: str = "go9",
    limit: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    most_of_player: float = 1.0,
    min_moves: int = 1,
) -> ImportReport:
    """Import the SGF records `paths` into the file `out`, replacing it only once all is read.

    `limit`, `progress`, `most_of_player` and `min_moves` are those of `import_records`.

    Raises UserError as `import_records` does, and if `out` cannot be written or is not a `.h5`.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"--out {out}: the file's name must end in {SUFFIX}")
    if not out.resolve().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.resolve().parent}")
    table, report = import_records(
        list(paths), game, limit=limit, progress=progress, min_moves=min_moves,
        most_of_player=most_of_player,
    )  # fmt: skip
    given = {
        SOURCES: [name_of(path) for path in paths], REPORT: report.as_dict(), "split": SPLIT,
    }  # fmt: skip
    write_shard(out, table, given)
    return report


def load_records(
    paths: Sequence[Path],
    game: str,
    progress: Callable[[int, float], None] | None = None,
    most_of_player: float | None = None,
) -> tuple[GameTable, ImportReport]:
    """Games of `game` and their report, from SGF records, one imported file or one run's self-play.

    Of a run, `RUN@FROM-TO` are the games of those steps; `most_of_player` is that of
    `import_records`. Raises UserError if there are none, for an imported file or run of another
    game, if one is given together with others, whose games it might hold as well, and if one is to
    be given less of a player.
    """
    files = [path for path in paths if path.suffix == SUFFIX or run_and_steps(path)]
    if not files:
        return import_records(
            list(paths), game, progress=progress, most_of_player=most_of_player or 1.0
        )
    if most_of_player is not None:
        raise UserError(
            f"{files[0]}: --most-of-player is for SGF records; give it to ghostgo records import"
        )
    if len(paths) > 1:
        raise UserError(
            f"{files[0]}: an imported file or a run is given alone; import all records into one "
            "instead"
        )
    if found := run_and_steps(files[0]):
        table = games_of_run(found[0], game, found[1])
        return table, report_of_table(table)
    table, report = read_imported(files[0])
    if table.game != game:
        raise UserError(f"{files[0]}: holds games of {table.game}, not {game}")
    return table, report


def refuse_other_records(name: str, records: Sequence[Path], made: dict[str, Any]) -> None:
    """Raise UserError if `records`, where any are given, are not those that run `name` was `made` of.

    They may have been moved, so names and sizes tell.
    """
    if not records:
        return
    # Earlier versions stored "" for the folder `.`, and no sizes.
    if made["records"] not in (
        [name_of(path) for path in records],
        [path.name for path in records],
    ):
        raise UserError(f"run {name} imitates {', '.join(made['records'])}; use another --run")
    for path, size in zip(records, made.get("bytes", ()), strict=False):
        if size_of(path) != size:
            raise UserError(
                f"{path}: has {size_of(path)} bytes of records, and run {name} imitates {size} by that "
                "name; use another --run, or no --records to go on with the games it has"
            )


def read_imported(path: str | os.PathLike[str]) -> tuple[GameTable, ImportReport]:
    """The games of an imported file and the report of their import.

    Raises UserError naming the file if it is damaged, or no file of imported records.
    """
    table, given = read_shard(path), attributes(path)
    if REPORT not in given:
        raise UserError(f"{path}: holds games, but not imported records")
    return table, _report(given[REPORT])


def report_of_table(table: GameTable) -> ImportReport:
    """The report on games that a program played, none of them dropped."""
    report = ImportReport(table.game)
    for i in range(len(table)):
        result = Result(float(table.results[i]), float(table.scores[i]), "score")
        komi = float(table.rules_of(i).get("komi", math.nan))
        report.keep(table.game, result, (0, 0), komi, "", setup=False)
    report.summarise(table)
    return report


def _report(stored: dict[str, Any]) -> ImportReport:
    """An `ImportReport` from its `as_dict`."""
    codes = {rank_name(code): code for code in range(40)}
    report = ImportReport(stored["game"], read=stored["read"], kept=stored["kept"])
    for name in ("dropped", "winners", "endings", "komi", "rules"):
        setattr(report, name, Counter(stored[name]))
    report.ranks = Counter({codes[name]: count for name, count in stored["ranks"].items()})
    report.setups, report.lengths = stored["setups"], stored["lengths"]
    # Older reports tell none of the following.
    for name in ("dropped_at", "files", "sets"):
        found = stored.get(name, {})
        setattr(report, name, {key: Counter(counts) for key, counts in found.items()})
    report.wrong_sizes = Counter(stored.get("wrong_sizes", {}))
    report.useless = stored.get("useless", {})
    report.years = Counter({int(year): n for year, n in stored.get("years", {}).items()})
    report.counting = Counter(stored.get("counting", {}))
    report.players = stored.get("players", 0)
    report.player_shares = stored.get("player_shares", [])
    report.shares_before = stored.get("shares_before", [])
    return report


def describe(path: Path) -> list[str]:
    """An imported file in words: where from, how many, what was dropped and why."""
    table, report = read_imported(path)
    lines = [f"from      {', '.join(attributes(path)[SOURCES])}", *report.lines()]
    if len(table) != report.kept:  # one side of a split
        lines.insert(2, f"this file {len(table):,} of those games")
    size = path.stat().st_size
    return [
        *lines,
        f"size      {size / 1e6:.1f} MB, {size / max(table.positions, 1):.2f} bytes a move",
    ]
