"""Mutated game records into the importer: no crash, no hang, bounded memory.

    python benchmarks/fuzz_records.py [--files 100000] [--seed 0] [--records PATH] [--json FILE]
                                      [--seconds 600] [--most-mib N]

Files are made from games written here and, with --records, from those in PATH, by one to four
mutations each: bytes flipped, dropped, repeated, swapped, spliced from another game, cut off, and
pieces of syntax that readers stumble over. Hypothesis draws which, and makes a failure smaller. They
are imported in folders of 100 as 5x5, 9x9 and 19x19 Go, some of them inside archives which are then
mutated themselves. Checked: nothing but UserError is raised, every record read is either kept or
dropped for a reason, and what is kept replays by the rules. The folder at fault is left where
temporary files are; one that takes longer than --seconds ends the program with a traceback, whatever
code it hangs in; a peak of memory above --most-mib ends it as well. Reported: how many of the records were
distinct, the slowest folder and how far memory grew after the first tenth.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import io
import json
import random
import resource
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import strategies as st

from ghostgo.data import archives, sgf, sgf_values
from ghostgo.data.records import GameTable
from ghostgo.data.sgf_writer import write_game
from ghostgo.data.short import start_states
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import is_legal_one, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.warmstart.select import import_records

FOLDER = 100
ROUND = 20
"""Folders by one search of hypothesis, which remembers all that it has drawn."""
TELL = 5000
"""Files between two lines of progress."""
GAMES = ("go9", "go5", "go19")
MOST_BASES = 2000
STUMBLES = (
    b"(", b")", b";", b"[", b"]", b"\\", b"\\]", b"(;", b";)", b"()", b"B[tt]", b"W[zz]", b"B[]", b"B[aa][bb]",
    b"AB[aa:ss]", b"AB[ss:aa]", b"AW[aa:ii:aa]", b"AE[aa]", b"AB[]", b"SZ[0]", b"SZ[99999999999999]", b"SZ[9:7]",
    b"SZ[-9]", b"KM[1e999]", b"KM[nan]", b"KM[-0]", b"KM[3.75]", b"KM[650]", b"HA[-3]", b"HA[999999]",
    b"RE[B+999999999]", b"RE[Void]", b"RE[", b"PL[W]", b"PL[?]", b"CA[gbk]", b"CA[shift_jis]", b"CA[no-such]",
    b"GM[2]", b"FF[9]", b"RU[\xff\xfe]", b"BR[99p]", b"WR[0k]", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n",
    b"AddBlack[aa]", b"addblack[aa]", b"\xf0\x9f\x98\x80", b"C[" + b"x" * 5000 + b"]",
)  # fmt: skip
HUGE = (*STUMBLES, b";B[];W[]", b";B[aa];W[bb]", b"x")
"""Repeated thousands of times: a record of very many moves, a very long value or name."""

Bases = dict[str, list[bytes]]
"""SGF texts by the game that they are of."""


def own_games(rng: np.random.Generator) -> Bases:
    """SGF of random games on small and large boards, with all that the writer can say."""
    bases: Bases = {name: [] for name in GAMES}
    for name in GAMES * 12:
        game = get_game(name)
        state, moves = game.new_states(1)[0], list[int]()
        for _ in range(int(rng.integers(4, 2 * game.points))):
            if state.done:
                break
            moves.append(int(rng.choice(game.legal_actions(state))))
            play_one(state, moves[-1])
        setup = {int(p): 1 for p in rng.choice(game.points, 3)} if rng.random() < 0.2 else None
        text = write_game(
            game, [] if setup else moves, komi=float(rng.choice([0, 5.5, 6.5, 7, -2.5])),
            rules=str(rng.choice(["Chinese", "Japanese", ""])), black="b \\ ]", white="白",
            result=str(rng.choice(["B+3.5", "W+R", "0", "", "B+T"])), date="2001-02-03",
            comments={0: "a [b\\", 3: "]"}, setup=setup,
        )  # fmt: skip
        bases[name].append(
            text.replace("SZ[", f"BR[{rng.integers(1, 10)}d]WR[5k]HA[0]SZ[", 1).encode()
        )
    return bases


def add_records(bases: Bases, path: Path) -> None:
    """Every seventh record in `path` of each game, up to `MOST_BASES`."""
    for number, record in enumerate(archives.records(path)):
        game = next(sgf.parse_games(record.content), None) if number % 7 == 0 else None
        size = sgf_values.parse_size(game.raw(b"SZ")) if game else None
        texts = bases.get(f"go{size[0]}", []) if size and size[0] == size[1] else []
        if len(texts) < MOST_BASES:
            texts.append(record.content)


def mutated(bases: Sequence[bytes], rng: random.Random) -> bytes:
    """One of `bases` after one to four mutations."""
    text = bytearray(rng.choice(bases))
    for _ in range(rng.randint(1, 4)):
        if not text:
            text += b"(;"
        at, to = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        near = min(to, at + rng.randrange(1, 40))
        kind = rng.randrange(9)
        if kind == 0:
            text[min(at, len(text) - 1)] = rng.randrange(256)
        elif kind == 1:
            del text[at:near]
        elif kind == 2:
            text[at:at] = bytes(text[at:near]) * rng.randrange(1, 50)
        elif kind in (3, 4):
            text[at:at] = rng.choice(STUMBLES)
        elif kind == 5:
            text[at:to] = (
                text[at:to][::-1] if rng.randrange(5) == 4 else text[near:to] + text[at:near]
            )
        elif kind == 6:
            text[at:] = rng.choice(bases)[at:]
        elif kind == 7:
            del text[to:]
        elif rng.randrange(50) == 49:  # seldom something huge
            text[at:at] = rng.choice(HUGE) * rng.randrange(1000, 30_000)
    return bytes(text)


def write_folder(
    folder: Path, bases: Sequence[bytes], count: int, rng: random.Random
) -> list[bytes]:
    """`count` mutated records as files, of which a part lies in mutated archives and `.sgfs` files.

    Returns the records as they are outside of these.
    """
    texts = [mutated(bases, rng) for _ in range(count)]
    packed = count // 10
    for i, text in enumerate(texts[packed:]):
        (folder / f"{i:04d}.sgf").write_bytes(text)
    (folder / "lines.sgfs").write_bytes(b"\n".join(texts[: packed // 2]))
    buffer, tarred = io.BytesIO(), io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack,
        # Always the same bytes, as hypothesis asks of what it draws: a time of now would not be.
        gzip.GzipFile(fileobj=tarred, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for i, text in enumerate(texts[packed // 2 : packed]):
            pack.writestr(zipfile.ZipInfo(f"{i}.sgf"), text, zipfile.ZIP_DEFLATED)
            info = tarfile.TarInfo(f"{i}.sgf")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    for name, made in (("a.zip", buffer), ("b.tgz", tarred)):
        whole = bytearray(made.getvalue())
        for _ in range(rng.randrange(6)):
            whole[rng.randrange(len(whole))] = rng.randrange(256)
        (folder / name).write_bytes(whole)
    return texts


def check(table: GameTable, name: str) -> None:
    """AssertionError, or what `GameTable.validate` raises, if a kept game does not replay."""
    table.validate()
    game = get_game(name)
    starts, index = start_states(game, table)
    scratch = game.new_states(1)
    for i in range(len(table)):
        scratch[0] = starts[index[i]]
        state = scratch[0]
        for move in table.moves_of(i).tolist():
            assert not state.done and is_legal_one(state, move), (name, i, move)
            play_one(state, move)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End the process, with a traceback, if the block takes longer; also where it hangs in a kernel."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def peak_memory(most: float | None) -> float:
    """The most MiB that the process has held; AssertionError if that is above `most`."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert most is None or memory <= most, f"{memory:.0f} MiB of memory, {most:g} at most"
    return memory


class Fuzz:
    """What was seen so far. Raises whatever the importer should not."""

    def __init__(self, seed: int, seconds: float, most_mib: float | None) -> None:
        self.seed, self.seconds, self.most_mib = seed, seconds, most_mib
        self.files, self.read, self.kept, self.dropped = 0, 0, 0, Counter[str]()
        self.slowest = 0.0
        self.distinct: set[int] = set()
        """Hashes of the mutated records: hypothesis may draw one folder twice."""

    def one(self, place: Path, name: str, count: int) -> None:
        """Import the folder `place` of `count` files as games of `name`, and check what comes."""
        start = time.perf_counter()
        try:
            with within(self.seconds):
                table, report = import_records(place, name)
        except UserError as error:
            assert "holds no" in str(error), error
        else:
            assert report.read == report.kept + sum(report.dropped.values())
            assert len(table) == report.kept
            check(table, name)
            self.read, self.kept = self.read + report.read, self.kept + report.kept
            self.dropped += report.dropped
        self.slowest = max(self.slowest, time.perf_counter() - start)
        self.files += count
        peak_memory(self.most_mib)

    def round(self, place: Path, bases: Bases, name: str, count: int, folders: int) -> None:
        """So many folders of `count` files each, as hypothesis draws them; the last is left."""

        @hypothesis.seed(10**9 * self.seed + self.files)
        @hypothesis.settings(
            max_examples=folders, deadline=None, database=None,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(st.randoms(use_true_random=False, note_method_calls=False))
        def imported(rng: random.Random) -> None:
            chosen = list(chain(*bases.values())) if rng.randrange(10) == 9 else bases[name]
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            self.distinct.update(map(hash, write_folder(place, chosen, count, rng)))
            self.one(place, name, count)

        imported()


def fuzz(
    files: int, seed: int, records: Path | None, seconds: float, most_mib: float | None
) -> dict[str, float]:
    """Import so many mutated files; what was seen. Raises whatever the importer should not."""
    bases = own_games(np.random.default_rng(seed))
    if records is not None:
        add_records(bases, records)
    seen = Fuzz(seed, seconds, most_mib)
    place = Path(tempfile.mkdtemp()) / "records"
    print(f"a folder at fault will be left as {place}", file=sys.stderr)
    early, told, rounds, began = 0.0, 0, 0, time.perf_counter()
    while seen.files < files:
        left = files - seen.files
        count = min(FOLDER, left)
        name = GAMES[rounds % len(GAMES)]
        seen.round(place, bases, name, count, min(ROUND, left // count))
        rounds += 1
        memory = peak_memory(most_mib)
        early = early if early and seen.files > files / 10 else memory
        rate = seen.files / (time.perf_counter() - began)
        if seen.files >= told + TELL or seen.files >= files:
            told = seen.files
            print(
                f"{told} of {files} files, {rate:.0f} a second, {memory:.0f} MiB",
                end="\r" if sys.stderr.isatty() else "\n",
                file=sys.stderr,
            )
    shutil.rmtree(place.parent)
    for reason, number in seen.dropped.most_common():
        print(f"{reason:44} {number:9,}")
    return {
        "files": float(seen.files), "distinct": float(len(seen.distinct)), "records_read": float(seen.read), "kept": float(seen.kept),
        "reasons": float(len(seen.dropped)), "slowest_folder_seconds": seen.slowest,
        "peak_mebibytes": memory, "growth_mebibytes": memory - early,
    }  # fmt: skip


def main() -> None:
    """Fuzz, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="for one folder")
    parser.add_argument("--most-mib", type=float, help="of memory, for the whole program")
    given = parser.parse_args()
    figures = fuzz(given.files, given.seed, given.records, given.seconds, given.most_mib)
    for name, value in figures.items():
        print(f"{name:24} {value:12,.1f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
