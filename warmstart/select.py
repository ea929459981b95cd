"""Human records into a game table: read, replayed on our rules, refused with a reason, counted.

Records come from servers with simple ko, so they are replayed under `ko="simple"`, and each game's
rules say so. The winner is taken from the RE property and never from the last position, where dead
stones still stand. A game whose komi is unknown has no `komi` in its rules.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostgo.data import archives, sgf, sgf_values
from ghostgo.data.players import frequencies, within_share
from ghostgo.data.records import GameTable, Rules, concat
from ghostgo.data.split import game_hashes, set_up_stones, split_by_hash
from ghostgo.engine.errors import UserError
from ghostgo.engine.games import go
from ghostgo.engine.games.game import Game, States, is_legal, play
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel
from ghostgo.warmstart import reading
from ghostgo.warmstart.reading import Recorded, Refused, understand
from ghostgo.warmstart.report import ImportReport

__all__ = ["ImportReport", "game_hashes", "import_records", "split_by_hash"]

BATCH = 1000
"""Games replayed by one call of the kernel, and met between two calls of `progress`."""

_REPLAY_FAULTS = ("", reading.ILLEGAL, reading.AFTER_END, reading.TOO_LONG, reading.BAD_SETUP)
_OK, _ILLEGAL, _AFTER_END, _TOO_LONG, _BAD_SETUP = range(5)
_SIMPLE_KO: Rules = {"ko": "simple"}


def import_records(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    game: str = "go9",
    *,
    limit: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    min_moves: int = 1,
    most_of_player: float = 1.0,
) -> tuple[GameTable, ImportReport]:
    """The games of `game` in the files, folders and archives `paths`, and an account of the rest.

    Games equal under a symmetry of the board, but for passes at the end, are kept once: the first
    copy of those that tell most (see `reading.told`). `limit`
    stops after so many games; fewer than `min_moves` stones played is a reason to refuse;
    `progress(games_met, share)` is called every 1,000 games, and at the end of a path, with the
    share (0 to 1) of the bytes read. No player whose name is known is in more than the share
    `most_of_player` of the games, if that can be (see `within_share`). Raises UserError if a path
    does not exist, if none of them holds such a game, or if `game` is not Go.
    """
    board = get_game(game)
    if not go.is_go(board):
        raise UserError(f"game {game!r} has no SGF records to import; one of go9, go19, goN")
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise UserError("no records given: a file, a folder or an archive of SGF games")
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit} is not a number of games: at least 1")
    if not 0 < most_of_player <= 1:
        raise UserError(f"share of a player {most_of_player} is not above 0 and at most 1")
    for path in listed:
        if not Path(path).exists():
            raise UserError(f"{path}: no such file or folder")
    importer = _Importer(board, limit, min_moves, progress)
    for number, path in enumerate(listed):
        if importer.full:
            break
        importer.read(path, number, len(listed))
    if not importer.kept:
        raise UserError(importer.nothing(listed))
    return importer.finish([archives.name_of(path) for path in listed], most_of_player)


class _Importer:
    """Collects games into batches, replays them, and keeps the account."""

    def __init__(
        self,
        game: Game,
        limit: int | None,
        min_moves: int,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        self.game = game
        self.min_moves = min_moves
        self.progress = progress
        self.room = limit if limit is not None else math.inf
        self.report = ImportReport(game.name)
        self.started = time.perf_counter()
        self.fresh = game.new_states(2, {"ko": "simple"})
        self.batch: list[Recorded] = []
        self.tables: list[GameTable] = []
        self.kept: list[Recorded] = []
        self.seen: dict[int, int] = {}  # by a game's hash, its number among these
        self.worse: list[int] = []  # numbers of those of which a copy tells more
        self.of = ""
        self.met = self.told = self.usable = 0

    @property
    def full(self) -> bool:
        return self.room <= 0

    def read(self, path: str | os.PathLike[str], number: int, of: int) -> None:
        """Read everything in `path`, the `number`-th of `of`."""
        self.of = archives.name_of(path)
        met, usable, refused = self.met, self.usable, Counter(self.report.dropped)
        for record in archives.records(path):
            self._take_record(record, (number + record.done) / of)
            if self.full:
                break
        self._flush()
        self._tell((number + 1) / of)
        if self.usable == usable:
            self.report.useless[self.of] = _why(self.met - met, self.report.dropped - refused)

    def nothing(self, paths: Sequence[str | os.PathLike[str]]) -> str:
        """The sentence that says that no path holds a game."""
        names = [str(path) for path in paths[:3]]
        if len(paths) > 3:
            names.append(f"{len(paths) - 3} others")
        hold = "holds" if len(names) == 1 else "hold"
        why = _why(self.met, self.report.dropped)
        return f"{', '.join(names)} {hold} no {self.game.name} game: {why}"

    def finish(self, sources: list[str], most_of_player: float) -> tuple[GameTable, ImportReport]:
        """The table of at least one game, and the report."""
        table = concat(self.tables)
        if self.worse:
            rest = np.delete(np.arange(len(table)), self.worse)
            table, self.kept = table.select(rest), [self.kept[i] for i in rest.tolist()]
        table.sources = sources
        table.rules_table, table.rules_index = _rules(np.array([game.komi for game in self.kept]))
        stay = np.ones(len(table), bool)
        if most_of_player < 1 and table.players is not None:
            self.report.shares_before = frequencies(table.players)[1]
            stay = within_share(table.players, game_hashes(table), most_of_player)
            table = table.select(np.flatnonzero(stay))
        for game, stays in zip(self.kept, stay.tolist(), strict=True):
            if stays:
                self.report.keep(
                    game.source, game.result, game.ranks, game.komi, game.rules, bool(game.setup),
                    game.of,
                )  # fmt: skip
            else:
                self.report.drop(game.source, reading.TOO_FREQUENT, of=game.of)
        self.report.summarise(table)
        self.report.seconds = time.perf_counter() - self.started
        return table, self.report

    def _tell(self, share: float) -> None:
        self.told = self.met
        if self.progress is not None:
            self.progress(self.met, share)

    def _take_record(self, record: archives.Record, share: float) -> None:
        """Read one file or line, of which the `share` of all bytes comes before."""
        if record.fault:
            self._refuse(record, Refused(record.fault), share)
            return
        found = False
        for written in sgf.parse_games(record.content):
            found = True
            try:
                game = understand(written, self.game, self.min_moves, record.source, self.of)
            except Refused as refused:
                self._refuse(record, refused, share)
            else:
                self.batch.append(game)
                self._count(share)
            if self.full:
                return
        if not found:
            self._refuse(record, Refused(archives.NOT_SGF), share)

    def _refuse(self, record: archives.Record, refused: Refused, share: float) -> None:
        self.report.drop(record.source, str(refused), refused.ply, self.of, refused.size)
        self._count(share)

    def _count(self, share: float) -> None:
        self.met += 1
        if len(self.batch) >= BATCH:
            self._flush()
        if self.met >= self.told + BATCH:
            self._tell(share)

    def _flush(self) -> None:
        """Replay the batch, and add what is legal and new to the tables."""
        games, self.batch = self.batch, []
        if not games:
            return
        table = self._table(games)
        faults, plies = np.zeros(len(games), np.int8), np.zeros(len(games), np.int32)
        _replay_games(
            self.fresh,
            table.offsets,
            table.moves,
            table.first_to_play,
            set_up_stones(table),
            faults,
            plies,
        )
        hashes = game_hashes(table)
        kept: list[int] = []
        for i, (game, fault) in enumerate(zip(games, faults.tolist(), strict=True)):
            if self.full:
                break
            key = int(hashes[i])
            if fault != _OK:
                ply = None if fault == _BAD_SETUP else int(plies[i])
                self.report.drop(game.source, _REPLAY_FAULTS[fault], ply, game.of)
                continue
            self.usable += 1
            if key in self.seen:
                number = self.seen[key]
                worse = min(game, self.kept[number], key=reading.told)
                self.report.drop(worse.source, reading.DUPLICATE, of=worse.of)
                if worse is game:
                    continue
                self.worse.append(number)
            else:
                self.room -= 1
            self.seen[key] = len(self.kept)
            kept.append(i)
            game.moves.clear()  # they are in the table, and would take ten times as much here
            self.kept.append(game)
        if kept:
            self.tables.append(table.select(kept))

    def _table(self, games: Sequence[Recorded]) -> GameTable:
        """The batch as a table, before it is known which games are legal."""
        count = len(games)
        lengths = np.fromiter((len(game.moves) for game in games), np.int64, count)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        moves = np.fromiter((m for game in games for m in game.moves), np.int16, int(offsets[-1]))
        return GameTable(
            game=self.game.name,
            rules_table=(_SIMPLE_KO,),  # komi is filled in at the end
            rules_index=np.zeros(count, np.uint8),
            offsets=offsets,
            moves=moves,
            results=np.fromiter((game.result.winner for game in games), np.float32, count),
            scores=np.fromiter((reading.true_margin(game) for game in games), np.float32, count),
            ranks=np.array([game.ranks for game in games], np.int8),
            weights=np.ones(int(offsets[-1]), np.float32),
            first_to_play=np.fromiter((game.first_to_play for game in games), np.int8, count),
            setups=self._setups(games),
            players=np.array([game.players for game in games], np.uint64),
            years=np.fromiter((game.year for game in games), np.int16, count),
            counting=np.fromiter(
                (sgf_values.parse_counting(game.rules) for game in games), np.int8, count
            ),
        )

    def _setups(self, games: Sequence[Recorded]) -> NDArray[np.int8] | None:
        if not any(game.setup for game in games):
            return None
        setups = np.zeros((len(games), self.game.points), np.int8)
        for i, game in enumerate(games):
            for action, stone in game.setup.items():
                setups[i, action] = stone
        return setups


def _why(met: int, refused: Counter[str]) -> str:
    """Why none of `met` games is of use."""
    if not met:
        return "no SGF file in it"
    listed = ", ".join(f"{reason} {n}" for reason, n in refused.most_common())
    return f"{met} {'record' if met == 1 else 'records'} read, {refused.total()} dropped: {listed}"


def _rules(komi: NDArray[np.float64]) -> tuple[tuple[Rules, ...], NDArray[np.uint8]]:
    """The different rules of games with these komi (nan: unknown), and each game's row."""
    values, rows = np.unique(komi, return_inverse=True)
    table = tuple(
        dict(_SIMPLE_KO) if math.isnan(value) else {"komi": value, **_SIMPLE_KO}
        for value in values.tolist()
    )
    return table, rows.astype(np.uint8)


@kernel
def _replay_games(
    states: States,
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    first_to_play: NDArray[np.int8],
    setups: NDArray[np.int8],
    faults: NDArray[np.int8],
    plies: NDArray[np.int32],
) -> None:
    """Replay each game from states[0], using states[1]; writes a fault's number or 0 for each, and
    the move's number."""
    for g in range(len(faults)):
        states[1] = states[0]
        state = states[1]
        faults[g] = _OK
        even = first_to_play[g] == 0 and not setups[g].any()
        if not even and not go.set_up(state, setups[g], first_to_play[g]):
            faults[g] = _BAD_SETUP
            continue
        for i in range(offsets[g], offsets[g + 1]):
            plies[g] = i - offsets[g]
            if state.done:
                faults[g] = _AFTER_END if state.passes >= 2 else _TOO_LONG
                break
            if not is_legal(state, moves[i]):
                faults[g] = _ILLEGAL
                break
            play(state, moves[i])
