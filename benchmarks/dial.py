"""What the dial of `--human` does: how often the bot plays a person's move, and what it costs.

    python benchmarks/dial.py --records ogs.h5 [--bot go9] [--prior human9] [--rank 5k] [--visits 32]
        [--dials 0,0.25,0.5,0.75,1] [--positions 1000] [--pairs 50] [--held-out 0.1] [--seed 1]
        [--root runs] [--json FILE] [--out runs-dial/dial.jsonl]

At every dial the bot plays in the same positions of games that no network here has learnt (those of
`--records` that a warm start with this `--held-out` keeps back); counted is how often its move is the
one that the person played, and how much more often than at the first dial, with 95 % half-widths
clustered by game. Then it plays `--pairs` pairs of games at each further dial against itself at the
first one, from openings that its network judges even, colours swapped; points have a 95 % interval
by the spread of pairs. At dial 0 it plays its search's move, at 1 it draws from people's policy.
Every answer and every pair is a line of OUT, so the same call goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judging import write_json
from kept import Kept, pair_interval

from ghostgo.arena.openings import Openings, Reference
from ghostgo.arena.players import NetPlayer
from ghostgo.bot import Bot
from ghostgo.data.checkpoints import split_version
from ghostgo.data.records import GameTable
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.data.short import start_states
from ghostgo.data.split import split_by_hash
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States, is_legal_one, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import rank_code
from ghostgo.human import HUMAN, humanised
from ghostgo.opponents import make_bot
from ghostgo.session import Session
from ghostgo.variety import Lot
from ghostgo.warmstart.clustered import clustered_error
from ghostgo.warmstart.store import load_records

SHOWN_EVERY = 20.0
"""Seconds between lines of progress."""


def dial(text: str) -> float:
    """A dial as written. Raises ArgumentTypeError unless it is from 0 to 1."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no dial: numbers from 0 to 1")
    return found


def bot_at(given: argparse.Namespace, at: float) -> Bot:
    """The bot with its dial `at`, without any dice of its own but the dial's."""
    bot = make_bot(given.bot, None, given.visits, given.seed, given.root)
    if not at:
        return bot
    prior = load_network(find_checkpoint(given.prior, given.root).path)
    code = rank_code(given.rank) if given.rank else 0
    return humanised(bot, prior, at, Lot(int(given.seed), each_game=False), code)


def held_out_games(given: argparse.Namespace, game: Game) -> GameTable:
    """The games that nobody here has learnt. Raises UserError if there are none."""
    whole = load_records(given.records, game.name)[0]
    split = split_version(find_checkpoint(given.prior, given.root))
    table = whole.select(split_by_hash(whole, given.held_out, split)[1])
    if not table.positions:
        raise UserError(f"--held-out {given.held_out:g}: keeps no game of {game.name} back")
    return table


def asked(game: Game, table: GameTable, count: int, seed: int) -> Iterator[tuple[int, int, States]]:
    """`count` different places of the games (or all): number, game, and the position before the move.

    In order of the games, those left out whose move our rules do not allow there.
    """
    rng = np.random.default_rng([seed, 23])
    chosen = np.sort(rng.permutation(table.positions)[:count])
    starts, index = start_states(game, table)
    owners = table.game_of()[chosen]
    for number, g in zip(chosen, owners, strict=True):
        states = game.new_states(1)
        states[0] = starts[index[g]]
        for action in table.moves[table.offsets[g] : number]:
            play_one(states[0], int(action))
        if not states[0].done and is_legal_one(states[0], int(table.moves[number])):
            yield int(number), int(g), states


class Progress:
    """A line now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def tell(self, words: str) -> None:
        """Print `words` if the last line was a while ago."""
        if time.monotonic() - self._last >= SHOWN_EVERY:
            self._last = time.monotonic()
            print(words, flush=True)


def match_moves(
    given: argparse.Namespace, at: float, bot: Bot, table: GameTable, kept: Kept
) -> list[dict[str, Any]]:
    """A row for each position that the bot was asked, in order; only what is not kept is asked."""
    done = {row["number"]: row for row in kept.rows if row["kind"] == "move" and row["dial"] == at}
    progress, found = Progress(), []
    for number, g, states in asked(bot.game, table, given.positions, given.seed):
        if number not in done:
            same = bot.choose(states) == int(table.moves[number])
            kept.add({"kind": "move", "dial": at, "number": number, "game": g, "same": same})
            done[number] = kept.rows[-1]
            progress.tell(f"dial {at:g}: {len(found) + 1} positions")
        found.append(done[number])
    return found


def play_pair(bots: Sequence[Bot], opening: Sequence[int]) -> float:
    """Points of the first of two bots, in [0, 1], of two games from `opening`, colours swapped."""
    points = 0.0
    for black in (0, 1):
        session = Session(bots[0].game)
        for action in opening:
            session.play(action)
        while not session.over:
            session.play(bots[(session.to_play + black) % 2].choose(session.states))
        winner = session.winner()
        points += 0.5 if winner is None else float(winner == black)
    return points / 2


def play_pairs(
    given: argparse.Namespace, at: float, bots: Sequence[Bot], kept: Kept
) -> list[float]:
    """Points a pair of the bot at a dial against itself at the first."""
    info = find_checkpoint(given.bot, given.root)
    judge = NetPlayer("reference", lambda: load_network(info.path), 1)
    reference = Reference(str(info.meta["sha256"]), judge.judge)
    openings = Openings(bots[0].game, given.seed, reference=reference)
    done = {row["pair"]: row for row in kept.rows if row["kind"] == "pair" and row["dial"] == at}
    progress = Progress()
    for pair in range(given.pairs):
        if pair not in done:
            points = play_pair(bots, openings[pair])
            kept.add({"kind": "pair", "dial": at, "pair": pair, "points": points})
            done[pair] = kept.rows[-1]
            progress.tell(f"dial {at:g}: {pair + 1} pairs")
    judge.close()
    return [done[pair]["points"] for pair in range(given.pairs)]


def row_of(at: float, moves: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]],
           points: Sequence[float]) -> dict[str, Any]:  # fmt: skip
    """What is told of one dial."""
    same = np.array([row["same"] for row in moves], float)
    more = same - np.array([row["same"] for row in first], float)
    games = np.array([row["game"] for row in moves], np.int64)
    found = {
        "dial": at,
        "positions": len(same),
        "same": float(same.mean()),
        "same_half": 1.96 * clustered_error(same, games),
        "more": float(more.mean()),
        "more_half": 1.96 * clustered_error(more, games),
    }
    if points:
        low, high = pair_interval(points)
        found |= {"pairs": len(points), "points": float(np.mean(points)), "low": low, "high": high}
    return found


def line_of(row: dict[str, Any]) -> str:
    """A line of the table."""
    points = (
        "" if "pairs" not in row else f"{row['points']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
    )
    return (
        f"| {row['dial']:g} | {row['same']:.1%} +- {row['same_half']:.1%} "
        f"| {row['more']:+.1%} +- {row['more_half']:.1%} | {points} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask and play, then tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--records", type=Path, action="append", required=True)
    parser.add_argument("--bot", default="go9")
    parser.add_argument("--prior", default=HUMAN)
    parser.add_argument("--rank")
    parser.add_argument("--visits", type=int, default=32)
    parser.add_argument("--dials", default="0,0.25,0.5,0.75,1")
    parser.add_argument("--positions", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs-dial/dial.jsonl"))
    given = parser.parse_args(arguments)
    try:
        dials = [dial(text) for text in given.dials.split(",")]
    except argparse.ArgumentTypeError as fault:
        parser.error(f"--dials: {fault}")
    try:
        rows = run(given, dials)
    except UserError as fault:
        parser.error(str(fault))
    print(
        f"| dial | the person's move | more than at {dials[0]:g} "
        f"| points against dial {dials[0]:g} |\n|---|---|---|---|"
    )
    print("\n".join(line_of(row) for row in rows))
    if given.json:
        write_json(given.json, {"dials": rows})


def run(given: argparse.Namespace, dials: Sequence[float]) -> list[dict[str, Any]]:
    """A row for every dial. Raises UserError for players or records that are not there."""
    infos = [find_checkpoint(name, given.root) for name in (given.bot, given.prior)]
    table = held_out_games(given, get_game(infos[0].meta["game"]))
    of = {
        "dial": [info.meta["sha256"] for info in infos], "rank": given.rank, "seed": given.seed,
        "visits": given.visits, "games": [len(table), table.positions], "asked": given.positions,
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    kept = Kept(given.out, of)
    first_bot = bot_at(given, dials[0])
    first = match_moves(given, dials[0], first_bot, table, kept)
    rows = [row_of(dials[0], first, first, [])]
    for at in dials[1:]:
        bot = bot_at(given, at)
        moves = match_moves(given, at, bot, table, kept)
        points = play_pairs(given, at, (bot, first_bot), kept)
        rows.append(row_of(at, moves, first, points))
        print(line_of(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    main()
