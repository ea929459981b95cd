"""What a bot has learnt from its games: a journal, and the weights after each lesson.

    ROOT/.learnt/NAME-SHA/     NAME: the run or the bot in the box; SHA: of the weights it began with
      journal.jsonl            a line a lesson or undoing, oldest first
      checkpoints/             the network after each lesson, 0 before the first; a run's layout

The network that plays is that of the last lesson which has not been undone. Nothing is ever deleted,
and the bot's own weights stay as they are.
"""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostgo.bot import refit
from ghostgo.data.run import ROOT, CheckpointInfo, Run, find_checkpoint, load_network
from ghostgo.engine.errors import UserError
from ghostgo.engine.network import Network, count_flops
from ghostgo.lesson import LessonConfig, game_table, take_lesson
from ghostgo.session import Session

LEARNT = ".learnt"
JOURNAL = "journal.jsonl"
FORMAT = 3
TRAIN_FORWARDS = 3
SHA_DIGITS = 8
"""Of the weights' digest, in the name of a folder."""


@dataclass(frozen=True)
class Entry:
    """A lesson, as the journal has it."""

    number: int
    time: float
    """Seconds since 1970."""
    game: str
    moves: int
    result: str
    """As SGF writes it."""
    before: float
    """Loss of the policy on the game's positions, in nats."""
    after: float
    drift: float
    """Mean KL divergence of the policy on rehearsed positions, in nats."""
    share: float
    """Share of the lesson that was taken; less than 1 where it led too far away."""
    flops: float
    sha256: str
    """Of the weights after it."""
    total: float | None = None
    """The drift from the network before all lessons; None in a journal of format 1."""
    outcome: bool = True
    """Whether who won, the score and the owners were taught beside the moves, as always before
    format 3."""

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time))
        total = "" if self.total is None else f" ({self.total:.4f} in all)"
        return (
            f"lesson {self.number}, {when}: {self.game}, {self.moves} moves, {self.result}"
            f"{'' if self.outcome else ' by agreement, not taught'}; "
            f"policy loss on them {self.before:.3f} to {self.after:.3f}, drift {self.drift:.4f} "
            f"nats{total}, {self.share:.0%} taken"
        )


@dataclass(frozen=True)
class Journal:
    """What a journal says."""

    entries: list[Entry]
    """All lessons, oldest first."""
    live: list[Entry]
    """Those that have not been undone."""


def read_journal(path: Path) -> Journal:
    """The journal in file `path`, empty if there is none.

    A last line that a kill has cut off is left out. Raises UserError for any other damage, and for
    a newer format.
    """
    entries: list[Entry] = []
    live: list[Entry] = []
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines[:-1], 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            newest = row.pop("format")
            if newest > FORMAT:
                raise UserError(f"{path}: has format {newest}; use a newer ghostgo")
            if "undone_to" in row:
                live = [entry for entry in live if entry.number <= row["undone_to"]]
                continue
            entry = Entry(**row)
        except UserError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise UserError(f"{path}: line {number} is damaged") from fault
        entries.append(entry)
        live.append(entry)
    return Journal(entries, live)


def _append(path: Path, row: dict[str, Any]) -> None:
    """Add a line, on the disk when this returns; what a kill left of another goes first."""
    try:
        with path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(json.dumps({"format": FORMAT, **row}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        raise UserError(f"{path}: cannot be written: {fault.strerror}") from fault


class Student:
    """A network that takes lessons; every one is on disk before it plays with it."""

    def __init__(
        self, origin: CheckpointInfo, root: Path = ROOT, config: LessonConfig | None = None
    ) -> None:
        self.origin = origin
        self.config = config or LessonConfig()
        self.folder = root / LEARNT / f"{origin.run}-{origin.meta['sha256'][:SHA_DIGITS]}"
        self.lessons = 0
        """Lessons taken by this object; whoever plays with its network looks whether it rose."""

    @property
    def journal(self) -> Journal:
        """What has been learnt so far. Raises UserError if the journal is damaged."""
        return read_journal(self.folder / JOURNAL)

    def network(self) -> Network:
        """The network as it is now. Raises UserError if it is damaged or missing."""
        live = self.journal.live
        if not live:
            return load_network(self.origin.path)
        info = Run.open(self.folder).checkpoint(f"{live[-1].number:08d}")
        if info is None or info.meta["sha256"] != live[-1].sha256:
            raise UserError(
                f"{self.folder}: the network after lesson {live[-1].number} is missing; "
                f"`ghostgo learn undo {self.origin.run} --to {_before_last(live)}` goes back"
            )
        return load_network(info.path)

    def lost(self) -> str | None:
        """A line that says so where only other weights of that name have lessons; None elsewhere."""
        if (self.folder / JOURNAL).exists():
            return None
        same_name = glob.escape(self.folder.name[:-SHA_DIGITS]) + "[0-9a-f]" * SHA_DIGITS
        found = sorted(
            path.parent.name for path in self.folder.parent.glob(f"{same_name}/{JOURNAL}")
        )
        if not found:
            return None
        return (
            f"{self.origin.run} begins without lessons: those in {', '.join(found)} changed other "
            "weights than it has now"
        )

    def teach(self, session: Session) -> Entry:
        """Take a lesson from a finished game, on any board that the weights fit.

        Raises UserError, with nothing learnt, for a game that cannot be learnt from, and if another
        process is teaching the same bot.
        """
        with self._held() as run:
            number = max((entry.number for entry in self.journal.entries), default=0) + 1
            network = self.network()
            here = refit(network, session.game)
            table = game_table(session, here, self.config, number)
            origin = None
            if self.journal.live:
                origin = refit(load_network(self.origin.path), session.game)
            taken, lesson = take_lesson(here, table, self.config, number, origin)
            spent = self._flops(count_flops(here), table.positions, origin is not None)
            totals = replace(
                self.origin.totals,
                training_flops=self.origin.totals.training_flops
                + spent
                + sum(entry.flops for entry in self.journal.live),
            )
            meta: dict[str, Any] = {
                key: self.origin.meta[key]
                for key in ("rules", "seed", "split", "held_out_share")
                if key in self.origin.meta
            }
            meta |= {"totals": totals.to_dict(), "stage": "lesson"}
            info = run.save_checkpoint(number, refit(taken, network.game), meta)
            entry = Entry(
                number=number,
                time=round(time.time(), 3),
                game=session.game.name,
                moves=len(session.moves),
                result=session.result(),
                before=lesson.before,
                after=lesson.after,
                drift=lesson.drift,
                share=lesson.share,
                flops=spent,
                sha256=info.meta["sha256"],
                total=lesson.total,
                outcome=not bool(np.isnan(table.results[0])),
            )
            _append(self.folder / JOURNAL, asdict(entry))
        self.lessons += 1
        return entry

    def undo(self, to: int | None = None) -> int:
        """Go back before the last lesson, or to that after lesson `to` (0: none); the lesson's number.

        Raises UserError if there is nothing to undo, or `to` is no lesson that counts now.
        """
        nothing = UserError(f"{self.origin.run} has learnt nothing that could be undone")
        if not (self.folder / JOURNAL).exists():
            raise nothing
        with self._held():  # a lesson that ends meanwhile counts
            live = self.journal.live
            if not live:
                raise nothing
            wanted = _before_last(live) if to is None else to
            if wanted not in {0, *(entry.number for entry in live)}:
                numbers = ", ".join(str(entry.number) for entry in live)
                raise UserError(
                    f"{self.origin.run} has no lesson {to} that counts; there are {numbers}"
                )
            _append(self.folder / JOURNAL, {"undone_to": wanted})
        self.lessons += 1
        return wanted

    def _flops(self, forward: float, positions: int, later: bool) -> float:
        """What a lesson costs; a later one than the first asks the origin as well."""
        config = self.config
        steps = config.steps * 2 * config.rows * TRAIN_FORWARDS
        return forward * (positions * config.visits + steps + (2 + later) * config.rehearsal)

    @contextmanager
    def _held(self) -> Iterator[Run]:
        """The folder as a run, made if it is not there, its lock held."""
        if not (self.folder / "run.json").exists():
            meta = self.origin.meta
            start = {"totals": meta["totals"], "stage": "start", "from": meta["sha256"]}
            with Run.creating(
                self.folder, meta["game"], int(meta.get("seed", 0)), "", self.origin.run
            ) as fresh:
                fresh.save_checkpoint(0, load_network(self.origin.path), start)
        run = Run.open(self.folder)
        with run.lock():
            yield run


def _before_last(live: list[Entry]) -> int:
    """Number of the last lesson but one, 0 if there is none."""
    return live[-2].number if len(live) > 1 else 0


def journals(root: Path = ROOT) -> dict[str, Journal]:
    """The journals of all bots that have learnt something below `root`, by folder name."""
    found = sorted((root / LEARNT).glob(f"*/{JOURNAL}"))
    return {path.parent.name: read_journal(path) for path in found}


def student_of(name: str, root: Path = ROOT) -> Student:
    """The student that the bot or run called `name` is. Raises UserError if there is none."""
    return Student(find_checkpoint(name, root), root)


def log_lines(name: str | None, root: Path = ROOT) -> list[str]:
    """The journal of `name`, or those of all, as text, undone lessons marked."""
    found, lines = journals(root), []
    if name is not None:
        student = student_of(name, root)
        found = {student.folder.name: student.journal}
        lines = [line for line in [student.lost()] if line]
    for folder, journal in found.items():
        live = {entry.number for entry in journal.live}
        lines.append(f"{folder}: {len(journal.entries)} lessons, {len(live)} of them count")
        lines += [
            f"  {entry}{'' if entry.number in live else ' (undone)'}" for entry in journal.entries
        ]
    return lines or ["nothing has been learnt from a game yet; `ghostgo play --learn on` does"]
