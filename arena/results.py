"""The arena's ledger: one line of JSON for each finished pair of games, never rewritten.

A line is written at once and synced, so that a kill at any moment loses the games in flight and no
more. A torn last line is cut off when the file is opened for writing. A pair's id is a digest of
who plays, from which seed and how often they met before, so the same tournament started again
knows what it has already played, and a line that stands there twice counts once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import filelock

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

FORMAT = 1
LEDGER = "results.jsonl"


@dataclass(frozen=True)
class PlayerInfo:
    """Who a player is, as far as it matters for the outcome of a game."""

    name: str
    """How tables call it."""
    kind: str
    """`random`, `capture`, `mcts`, `openspiel`, `net`, `policy` (a network's, drawn from) or `gtp`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What sets it apart: `rollouts`, `command`, `program`, or a checkpoint's `sha256` and `visits`,
    what of its search is not as it first was, and the version of our code that `plays`, from 2."""

    @property
    def identity(self) -> str:
        """Equal exactly for players that play alike; a GTP engine's includes its name."""
        named = self.name if self.kind == "gtp" else ""
        return json.dumps([self.kind, named, dict(self.settings)], sort_keys=True)

    @property
    def deterministic(self) -> bool:
        """Whether it plays the same game again from the same opening against another such player.

        Networks that search do: without noise. Our other players draw by the number of the game. Of
        a GTP engine nobody knows: games of one that draws lots may be alike by chance, and to leave
        such games out would favour the results that come seldom.
        """
        return self.kind == "net"


@dataclass(frozen=True)
class GameResult:
    """One finished game of a pair; two-element fields are for players a and b in this order."""

    first: int
    """Who moved first (Black in Go): 0 for player a, 1 for b."""
    moves: tuple[int, ...]
    """All actions, the opening included."""
    points: float
    """Player a's: 1 for a win, 0.5 for a draw, 0 for a loss."""
    score: float | None
    """First player's margin under our rules; None if the game did not reach its end."""
    end: str
    """`score`, `resign` or `forfeit`."""
    note: str
    """Why a game was forfeited, with the engine's last lines."""
    seconds: tuple[float, float]
    evaluations: tuple[int, int]
    """Network evaluations; playouts for plain MCTS."""
    flops: tuple[float, float]

    @property
    def first_result(self) -> float:
        """The first player's points."""
        return self.points if self.first == 0 else 1 - self.points


@dataclass(frozen=True)
class PairResult:
    """Two games from one opening, colours swapped, and where they come from."""

    pair: str
    game: str
    game_version: int
    rules: Mapping[str, Any]
    seed: int
    opening: tuple[int, ...]
    a: PlayerInfo
    b: PlayerInfo
    games: tuple[GameResult, GameResult]
    """Player a moves first in games[0], b in games[1]."""


def outcome_words(game: Game, result: GameResult) -> str:
    """Who won and by how much, `Black by 3.5`, or how: `White by resign`, `Red`, `draw`."""
    sign = result.first_result
    if sign == 0.5:
        return "draw"
    won = game.player_names[0 if sign == 1 else 1]
    by = f"{abs(result.score):g}" if result.score is not None else result.end
    return f"{won} by {by}" if game.has_score or result.end != "score" else won


def pair_id(
    game: str, version: int, rules: Mapping[str, Any], seed: int, players: tuple[str, str], k: int
) -> str:
    """Id of the k-th pair between two players, given by their identities."""
    text = json.dumps([game, version, dict(rules), seed, sorted(players), k], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_json(row: dict[str, Any]) -> PairResult:
    games = []
    for game in row["games"]:
        for name in ("moves", "seconds", "evaluations", "flops"):
            game[name] = tuple(game[name])
        games.append(GameResult(**game))
    first, second = games
    return PairResult(
        pair=row["pair"],
        game=row["game"],
        game_version=row["game_version"],
        rules=row["rules"],
        seed=row["seed"],
        opening=tuple(row["opening"]),
        a=PlayerInfo(**row["a"]),
        b=PlayerInfo(**row["b"]),
        games=(first, second),
    )


def read_results(path: Path) -> list[PairResult]:
    """All finished pairs, oldest first, each once; none if there is no file.

    Raises UserError for a damaged line, naming it, and for a newer format. A torn last line is no
    damage.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    found: dict[str, PairResult] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            known = row.get("format")
            if known == FORMAT:
                result = _from_json(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: line {number} is damaged: take the line out, or move the file away"
            ) from error
        if known != FORMAT:
            raise UserError(
                f"{path}: line {number} has format {known}, this version reads {FORMAT}: "
                "use the version that wrote it, or another --out folder"
            )
        found.setdefault(result.pair, result)
    return list(found.values())


class LineFile:
    """A file of lines of JSON, open for appending: whole lines or none; a context manager."""

    def __init__(self, path: Path) -> None:
        """Makes the file and its folder, if need be, and cuts off a torn last line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        content = path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        if self._size < len(content):
            self._file.truncate(self._size)

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Write `rows`, a line each; they are on the disk when this returns.

        Raises UserError, with the file as it was, if there is no room.
        """
        left = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
        size = self._size + len(left)
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from None
        self._size = size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ResultsFile(LineFile):
    """The ledger, open for appending."""

    def add(self, result: PairResult) -> None:
        """Write one pair; it is on the disk when this returns."""
        self.append({"format": FORMAT, **asdict(result)})


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the arena's folder, made if need be. Raises UserError if another process does."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}") from None
    lock = filelock.FileLock(out / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UserError(f"{out}: another arena is at work there; wait for it or stop it") from None
    try:
        yield
    finally:
        lock.release()
