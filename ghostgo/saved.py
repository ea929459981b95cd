"""Games against a bot on disk: written after every move, read again to go on.

SGF for Go; a few plain lines for other games.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ghostgo.data import sgf, sgf_values
from ghostgo.data.sgf_writer import write_game
from ghostgo.data.shards import replace_file
from ghostgo.duel import Duel, Opponent
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.session import Session

BOT, DEAD = "GHB", "GHD"
"""Our own properties of SGF's root: how the bot was asked for, and stones marked dead at the end."""
YOU = "you"
"""The person's name in a file."""
GO, OTHER = ".sgf", ".txt"
PLAYERS = "first", "second"
UNFINISHED, DRAW, RESIGNATION = "unfinished", "draw", "resignation"
"""Words for results in the files of other games."""


def record(duel: Duel, when: datetime, date: str = "") -> tuple[str, str]:
    """(file ending, text) of the game: SGF for Go, a few plain lines for other games.

    Its date is that of `when`, or `date` if it has one already.
    """
    session, day = duel.session, date or when.strftime("%Y-%m-%d")
    result = session.result() if session.over else ""
    names = [YOU, YOU]
    names[1 - duel.human] = duel.bot.name
    actions = [action for _, action in session.moves]
    if not is_go(session.game):
        moves = " ".join(map(session.game.action_name, actions))
        rows = {"game": session.game.name, "date": day, "first": names[0], "second": names[1]}
        rows |= {"result": _in_words(result), "moves": moves}
        if duel.opponent:
            rows["bot"] = _said(duel.opponent)
        return OTHER, "".join(f"{key}: {value}\n" for key, value in rows.items())
    more = {BOT: _said(duel.opponent)} if duel.opponent else {}
    if session.dead:
        more[DEAD] = " ".join(session.game.action_name(point) for point in sorted(session.dead))
    text = write_game(
        session.game,
        actions,
        komi=session.rules["komi"],
        black=names[0],
        white=names[1],
        result=result,
        date=day,
        setup=session.setup,
        first_to_play=session.first_to_play,
        more=more,
    )
    return GO, text


def _in_words(result: str) -> str:
    """A result of SGF for games that have no Black and White, such as `first wins by resignation`."""
    if not result:
        return UNFINISHED
    if result == "0":
        return DRAW
    winner, _, margin = result.partition("+")
    how = f" by {RESIGNATION if margin == 'R' else margin}" if margin else ""
    return f"{PLAYERS['BW'.index(winner)]} wins{how}"


def _in_sgf(words: str) -> str:
    """What SGF has for a result in words; files of earlier versions have that already."""
    if words in (whole := {UNFINISHED: "", DRAW: "0"}):
        return whole[words]
    said = re.fullmatch(rf"({'|'.join(PLAYERS)}) wins(?: by (\S+))?", words)
    if said is None:
        return words
    margin = {None: "", RESIGNATION: "R"}.get(said[2], said[2])
    return f"{'BW'[PLAYERS.index(said[1])]}+{margin}"


def _said(opponent: Opponent) -> str:
    """What was said of an opponent, in JSON."""
    return json.dumps({key: value for key, value in asdict(opponent).items() if value is not None})


def _opponent(text: str) -> Opponent | None:
    """What `_said` wrote; None for an empty text. Raises UserError if it is something else."""
    if not text:
        return None
    kinds = {"name": str, "visits": int, "seconds": float | int, "human": float | int}
    kinds |= {"prior": str, "rank": str, "level": str, "learn": bool, "reuse": bool}
    kinds |= {"variety": bool, "symmetries": int, "score_weight": float | int}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not all(
        # To Python true is a number.
        key in kinds
        and isinstance(value, kinds[key])
        and isinstance(value, bool) == (kinds[key] is bool)
        for key, value in said.items()
    ):
        raise UserError(f"what it says of the bot cannot be read: {text[:80]!r}")
    budget = [said[key] for key in ("visits", "seconds") if key in said]
    weights = [(said.get("human", 0), 1), (said.get("score_weight", 0), 0.5)]
    if not (
        all(0 <= value <= most for value, most in weights)
        and all(0 < value < 1e10 for value in [*budget, said.get("symmetries", 1)])
    ):
        raise UserError(f"what it says of the bot is out of range: {text[:80]!r}")
    if said.get("name", "").startswith("mcts:"):
        said.pop("visits", None)  # its name counts; earlier versions kept others, and ignored them
    return Opponent(**said)


class Keeper:
    """Keeps the file of a game as the game stands."""

    def __init__(self, duel: Duel, folder: Path, path: Path | None = None, date: str = "") -> None:
        """The game goes into a new file in `folder`, once it is not as it is now, or into `path`.

        `date` is the game's as its file has it; empty: today's.
        """
        self.path = path
        self._duel, self._folder = duel, folder
        self._when, self._date = datetime.now(), date
        self._before = record(duel, self._when, date)

    def write(self) -> Path | None:
        """Write the game as it stands; its file, None if there is nothing new to keep yet.

        Raises UserError if that fails, with what was there as it was.
        """
        ending, text = record(self._duel, self._when, self._date)
        if self.path is None:
            if (ending, text) == self._before:
                return None
            self.path = self._new_file(ending)
            try:
                replace_file(self.path, text.encode())
            except UserError:
                self.path.unlink(missing_ok=True)
                self.path = None
                raise
        else:
            replace_file(self.path, text.encode())
        return self.path

    def _new_file(self, ending: str) -> Path:
        """A name in the folder that nobody has, made sure of by an empty file."""
        stem = f"{self._when:%Y%m%d-%H%M%S}-{self._duel.session.game.name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for count in range(1, 1000):
                path = self._folder / f"{stem}{f'-{count}' if count > 1 else ''}{ending}"
                try:
                    path.open("x").close()
                except FileExistsError:
                    continue
                return path
        except OSError as fault:
            raise UserError(f"{self._folder}: cannot be written: {fault.strerror}") from fault
        raise UserError(f"{self._folder}: a thousand games of this second are there already")


@dataclass(frozen=True)
class SavedGame:
    """A game as its file has it."""

    game: str
    """Name in the registry."""
    moves: Sequence[int]
    """Actions, the players in turn."""
    result: str
    """As SGF writes it; empty if unfinished."""
    human: int | None
    """The player called you, if it is one of them."""
    rules: dict[str, Any] = field(default_factory=dict)
    setup: dict[int, int] = field(default_factory=dict)
    """Stones that stood there from the start, by point: 1 first player's, -1 second's."""
    first_to_play: int = 0
    dead: Sequence[str] = ()
    """Points of stones that were marked dead at the end."""
    opponent: Opponent | None = None
    """How the bot was asked for."""
    date: str = ""
    """As the file has it; empty if it has none."""

    def session(self, game: Game) -> Session:
        """The game at its end. Raises UserError for moves that are not legal here."""
        session = Session(game, self.rules)
        if self.setup or self.first_to_play:
            session.set_up(self.setup, self.first_to_play)
        for number, action in enumerate(self.moves, 1):
            try:
                session.play(action)
            except UserError as error:
                raise UserError(f"move {number}: {error}") from None
        result = sgf_values.parse_result(self.result.encode())
        if result.how == "resign" and not session.over:
            session.resign(int(result.winner > 0))
        for name in self.dead:
            point = game.parse_action(name)
            if point not in session.dead:
                session.mark_dead(point)
        return session


def _human(names: Sequence[str]) -> int | None:
    places = [i for i, name in enumerate(names) if name == YOU]
    return places[0] if len(places) == 1 else None


def read_saved(path: Path) -> SavedGame:
    """The game in a file that was saved here, or the main line of any SGF file's first game.

    Raises UserError naming the file if it cannot be read or holds no game that can be played.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise UserError(f"{path}: cannot be read: {fault.strerror}") from None
    try:
        return _read_lines(content) if path.suffix == OTHER else _read_sgf(content)
    except ValueError as fault:  # a UserError, or what OpenSpiel says of a move
        raise UserError(f"{path}: {fault}") from None


def _read_sgf(content: bytes) -> SavedGame:
    game = next(sgf.parse_games(content), None)
    size = sgf_values.parse_size(game.raw(b"SZ")) if game else None
    if game is None or size is None:
        raise UserError("holds no game of Go that can be read")
    if game.late_setup:
        raise UserError("stones are set up in the middle of the game")
    stones = game.stones(*size)
    first = game.first_to_play(stones)
    for number, colour in enumerate(game.colours):
        if colour != (b"B", b"W")[(number + first) % 2]:
            raise UserError(f"move {number + 1}: the same player has moved twice")
    komi = game.komi()
    rows, cols = size
    return SavedGame(
        game=f"go{rows}" if rows == cols else f"go{rows}x{cols}",
        moves=game.actions(*size),
        result=game.text(b"RE"),
        human=_human([game.text(b"PB"), game.text(b"PW")]),
        rules={} if komi is None or math.isnan(komi) else {"komi": komi},
        setup=stones,
        first_to_play=first,
        dead=game.text(DEAD.encode()).split(),
        opponent=_opponent(game.text(BOT.encode())),
        date=game.text(b"DT"),
    )


def _read_lines(content: bytes) -> SavedGame:
    lines = content.decode("utf-8", "replace").splitlines()
    rows = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if missing := {"game", "first", "second", "result", "moves"} - set(rows):
        raise UserError(f"is no game that was saved here: it has no line {min(missing)!r}")
    game = get_game(rows["game"])
    return SavedGame(
        game=game.name,
        moves=[game.parse_action(name) for name in rows["moves"].split()],
        result=_in_sgf(rows["result"]),
        human=_human([rows["first"], rows["second"]]),
        opponent=_opponent(rows.get("bot", "")),
        date=rows.get("date", ""),
    )


def newest_unfinished(folder: Path, game: str | None = None) -> Path:
    """The file in `folder` that was written last of a person's unfinished games (of `game`).

    Files that cannot be read are passed over. Raises UserError if there is none.
    """
    files = [path for ending in (GO, OTHER) for path in folder.glob(f"*{ending}")]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            saved = read_saved(path)
        except UserError:
            continue
        if not saved.result and saved.human is not None and game in (None, saved.game):
            return path
    raise UserError(f"{folder}: holds no unfinished game{f' of {game}' if game else ''}")
