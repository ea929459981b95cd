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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostgo.data import archives, sgf
from ghostgo.data.records import GameTable, Rules, concat, empty_table
from ghostgo.data.split import game_hashes, set_up_stones, split_by_hash
from ghostgo.engine.errors import UserError
from ghostgo.engine.games import go
from ghostgo.engine.games.game import Game, States, is_legal, play
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernel
from ghostgo.warmstart.report import ImportReport

__all__ = ["ImportReport", "game_hashes", "import_records", "split_by_hash"]

BATCH = 1000
"""Games replayed by one call of the kernel."""
MAX_TRAILING_PASSES = 2

NOT_SGF = "not SGF"
NOT_GO = "not Go"
WRONG_SIZE = "wrong board size"
NO_MOVES = "no moves"
TOO_SHORT = "too few moves"
BAD_KOMI = "komi makes no sense"
LATE_SETUP = "stones set up during the game"
WHITE_SETUP = "white stones set up"
MISSING_HANDICAP = "handicap without its stones"
WHITE_FIRST = "White first without handicap"
NOT_ALTERNATING = "same colour twice"
OFF_BOARD = "move off the board"
DUPLICATE = "duplicate"
BAD_SETUP = "set-up stones without liberties"
ILLEGAL = "illegal move"
AFTER_END = "play after two passes"
TOO_LONG = "too many moves"
_REPLAY_FAULTS = ("", ILLEGAL, AFTER_END, TOO_LONG, BAD_SETUP)
_SIMPLE_KO: Rules = {"ko": "simple"}
_OK, _ILLEGAL, _AFTER_END, _TOO_LONG, _BAD_SETUP = range(5)


class Refused(Exception):
    """A game that cannot be used; the message is the counted reason."""


@dataclass(frozen=True, slots=True)
class _Game:
    """One record, read but not yet replayed."""

    source: str
    moves: list[int]
    first_to_play: int
    setup: dict[int, int]
    komi: float
    result: sgf.Result
    ranks: tuple[int, int]
    rules: str


def import_records(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    game: str = "go9",
    *,
    limit: int | None = None,
    progress: Callable[[int, float], None] | None = None,
    min_moves: int = 1,
) -> tuple[GameTable, ImportReport]:
    """The games of `game` in the files, folders and archives `paths`, and an account of the rest.

    Games equal under a symmetry of the board are kept once. `limit` stops after so many games;
    fewer than `min_moves` stones played is a reason to refuse; `progress(games_read, share)` is
    called now and then with the share (0 to 1) of the bytes read. Raises UserError if a path does
    not exist or holds no such game, or if `game` is not Go.
    """
    board = get_game(game)
    if board.dtype.names is None or board.dtype.names[0] != go.TAG:
        raise UserError(f"game {game!r} has no SGF records to import; one of go9, go19, goN")
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise UserError("no records given: a file, a folder or an archive of SGF games")
    if limit is not None and limit < 1:
        raise UserError(f"limit {limit} is not a number of games: at least 1")
    importer = _Importer(board, limit, min_moves, progress)
    for number, path in enumerate(listed):
        if importer.full:
            break
        importer.read(path, number, len(listed))
    return importer.finish([Path(path).name for path in listed])


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
        self.batch: list[_Game] = []
        self.tables: list[GameTable] = []
        self.seen: set[int] = set()
        self.komi: list[float] = []

    @property
    def full(self) -> bool:
        return self.room <= 0

    def read(self, path: str | os.PathLike[str], number: int, of: int) -> None:
        """Read everything in `path`, the `number`-th of `of`; UserError if no game is of use."""
        read, known = self.report.read, self._usable()
        refused = Counter(self.report.dropped)
        for record in archives.records(path):
            self._take_record(record)
            if len(self.batch) >= BATCH:
                self._flush()
                self._tell((number + record.done) / of)
            if self.full:
                break
        self._flush()
        self._tell((number + 1) / of)
        if self._usable() == known:
            why = "no SGF file in it"
            if self.report.read > read:
                count = self.report.read - read
                reasons = (self.report.dropped - refused).most_common()
                listed = ", ".join(f"{reason} {n}" for reason, n in reasons)
                why = f"{count} records read, {count} dropped: {listed}"
            raise UserError(f"{path} holds no {self.game.name} game: {why}")

    def finish(self, sources: list[str]) -> tuple[GameTable, ImportReport]:
        table = concat(self.tables) if self.tables else empty_table(self.game.name)
        table.sources = sources
        table.rules_table, table.rules_index = _rules(np.array(self.komi))
        self.report.set_lengths(table.lengths)
        self.report.seconds = time.perf_counter() - self.started
        return table, self.report

    def _usable(self) -> int:
        return self.report.kept + self.report.dropped[DUPLICATE]

    def _tell(self, share: float) -> None:
        if self.progress is not None:
            self.progress(self.report.read, share)

    def _take_record(self, record: archives.Record) -> None:
        if record.fault:
            self.report.drop(record.source, record.fault)
            return
        found = False
        for written in sgf.parse_games(record.content):
            found = True
            try:
                self.batch.append(self._understand(written, record.source))
            except Refused as reason:
                self.report.drop(record.source, str(reason))
        if not found:
            self.report.drop(record.source, NOT_SGF)

    def _understand(self, written: sgf.SgfGame, source: str) -> _Game:
        """What the record says, checked as far as that goes without playing it."""
        rows, cols = self.game.rows, self.game.cols
        if written.raw(b"GM") not in (b"", b"1"):
            raise Refused(NOT_GO)
        if sgf.parse_size(written.raw(b"SZ")) != (rows, cols):
            raise Refused(WRONG_SIZE)
        if not written.points:
            raise Refused(NO_MOVES)
        if written.late_setup:
            raise Refused(LATE_SETUP)
        komi = _komi(written, self.game.points)
        try:
            moves = written.actions(rows, cols)
            setup = written.stones(rows, cols)
        except UserError:
            raise Refused(OFF_BOARD) from None
        first_to_play = _first_to_play(written, setup)
        if len(moves) - moves.count(self.game.points) < self.min_moves:
            raise Refused(TOO_SHORT)
        return _Game(
            source=source,
            moves=_trim_passes(moves, self.game.points),
            first_to_play=first_to_play,
            setup=setup,
            komi=komi,
            result=sgf.parse_result(written.raw(b"RE")),
            ranks=(sgf.parse_rank(written.raw(b"BR")), sgf.parse_rank(written.raw(b"WR"))),
            rules=written.text(b"RU"),
        )

    def _flush(self) -> None:
        """Replay the batch, and add what is legal and new to the tables."""
        games, self.batch = self.batch, []
        if not games:
            return
        table = self._table(games)
        faults = np.zeros(len(games), np.int8)
        _replay_games(
            self.fresh,
            table.offsets,
            table.moves,
            table.first_to_play,
            set_up_stones(table),
            faults,
        )
        hashes = game_hashes(table)
        kept: list[int] = []
        for i, (game, fault) in enumerate(zip(games, faults.tolist(), strict=True)):
            if self.full:
                break
            key = int(hashes[i])
            if fault != _OK:
                self.report.drop(game.source, _REPLAY_FAULTS[fault])
            elif key in self.seen:
                self.report.drop(game.source, DUPLICATE)
            else:
                self.seen.add(key)
                self.room -= 1
                kept.append(i)
                self.komi.append(game.komi)
                self.report.keep(
                    game.source, game.result, game.ranks, game.komi, game.rules, bool(game.setup)
                )
        if kept:
            self.tables.append(table.select(kept))

    def _table(self, games: Sequence[_Game]) -> GameTable:
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
            scores=np.fromiter((_score(game) for game in games), np.float32, count),
            ranks=np.array([game.ranks for game in games], np.int8),
            weights=np.ones(int(offsets[-1]), np.float32),
            first_to_play=np.fromiter((game.first_to_play for game in games), np.int8, count),
            setups=self._setups(games),
            counting=np.fromiter(
                (sgf.parse_counting(game.rules) for game in games), np.int8, count
            ),
        )

    def _setups(self, games: Sequence[_Game]) -> NDArray[np.int8] | None:
        if not any(game.setup for game in games):
            return None
        setups = np.zeros((len(games), self.game.points), np.int8)
        for i, game in enumerate(games):
            for action, stone in game.setup.items():
                setups[i, action] = stone
        return setups


def _rules(komi: NDArray[np.float64]) -> tuple[tuple[Rules, ...], NDArray[np.uint8]]:
    """The different rules of games with these komi (nan: unknown), and each game's row."""
    values, rows = np.unique(komi, return_inverse=True)
    table = tuple(
        dict(_SIMPLE_KO) if math.isnan(value) else {"komi": value, **_SIMPLE_KO}
        for value in values.tolist()
    )
    return table, rows.astype(np.uint8)


def _komi(written: sgf.SgfGame, points: int) -> float:
    """Komi in points, nan if unknown."""
    komi = sgf.parse_komi(written.raw(b"KM"))
    if komi is None or abs(komi) > points:
        raise Refused(BAD_KOMI)
    # The Fox server writes KM[0] in even games for "not recorded": Black wins 51% of them.
    fox = b"TC" in written.properties and b"TT" in written.properties
    return math.nan if fox and komi == 0 and _handicap(written) < 2 else komi


def _handicap(written: sgf.SgfGame) -> int:
    raw = written.raw(b"HA")
    return int(raw) if raw.isdigit() and len(raw) < 3 else 0


def _first_to_play(written: sgf.SgfGame, setup: dict[int, int]) -> int:
    """0 if Black moves first, 1 if White; Refused if stones or colours do not add up."""
    if -1 in setup.values():
        raise Refused(WHITE_SETUP)
    if _handicap(written) >= 2 and not setup:
        raise Refused(MISSING_HANDICAP)
    colours = b"".join(written.colours)
    white = colours.startswith(b"W")
    turns = b"WB" if white else b"BW"
    if colours != (turns * (len(colours) // 2 + 1))[: len(colours)]:
        raise Refused(NOT_ALTERNATING)
    if white and not setup and written.raw(b"PL")[:1].upper() != b"W":
        raise Refused(WHITE_FIRST)
    return int(white)


def _trim_passes(moves: list[int], pass_action: int) -> list[int]:
    """Without what passes follow two passes at the end: the game is over by then."""
    end = len(moves)
    while end > 0 and moves[end - 1] == pass_action:
        end -= 1
    keep = end + MAX_TRAILING_PASSES
    return moves[:keep] if keep < len(moves) else moves


def _score(game: _Game) -> float:
    """Black's margin; nan if it does not fit the komi (a placeholder, or a komi wrongly given)."""
    margin = game.result.margin
    if math.isnan(game.komi) or (margin + game.komi).is_integer():
        return margin
    return math.nan


@kernel
def _replay_games(
    states: States,
    offsets: NDArray[np.int64],
    moves: NDArray[np.int16],
    first_to_play: NDArray[np.int8],
    setups: NDArray[np.int8],
    faults: NDArray[np.int8],
) -> None:
    """Replay each game from states[0], using states[1]; writes a fault's number or 0 for each."""
    for g in range(len(faults)):
        states[1] = states[0]
        state = states[1]
        faults[g] = _OK
        even = first_to_play[g] == 0 and not setups[g].any()
        if not even and not go.set_up(state, setups[g], first_to_play[g]):
            faults[g] = _BAD_SETUP
            continue
        for i in range(offsets[g], offsets[g + 1]):
            if state.done:
                faults[g] = _AFTER_END if state.passes >= 2 else _TOO_LONG
                break
            if not is_legal(state, moves[i]):
                faults[g] = _ILLEGAL
                break
            play(state, moves[i])
