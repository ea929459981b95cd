"""Bots by name, in `ghostgo play` and `ghostgo gtp`.

A bot is named as everywhere: a run (`scratch`), one of its checkpoints (`scratch@1000`), a folder,
a bot in the box (`go9`), `mcts:1000` (plain search with random playouts, no network), `capture` (Go:
takes what it can) or `random`.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from ghostgo.arena.effort import whole_number
from ghostgo.bot import ENDLESS_VISITS, PLAY, Bot, SearchBot, refit
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.jit import kernels_are_cached
from ghostgo.engine.rollout import MOST_NODES
from ghostgo.engine.search_config import SearchConfig
from ghostgo.plain_bots import CaptureBot, RandomBot, RolloutBot

DEFAULT_GAME = "go9"
DEFAULT_VISITS = 400
UNTRAINED = "mcts:2000"
"""Who plays a game for which there is no network."""


def warn_of_compiling() -> None:
    """Say on standard error why the first start takes so long."""
    if not kernels_are_cached():
        print("compiling kernels (once, about a minute) ...", file=sys.stderr, flush=True)


def default_opponent(game: str | None, root: Path, visits: int | None = None) -> str:
    """Who plays `game` (None: DEFAULT_GAME) if nobody is named; said on standard error.

    That is the bot that came with the program (or a run of its name, since names mean runs first),
    else the run below `root` with the newest checkpoint for the game, else plain search with `visits`
    rollouts (None: as UNTRAINED has it). Raises UserError if a run of the bot's name has no checkpoint.
    """
    from ghostgo.data.run import find_checkpoint, list_bots

    wanted = get_game(game or DEFAULT_GAME)
    bots = {bot.path.name for bot in list_bots()}
    # A game's own bot has its name; the weights of one for Go serve every board.
    own = [wanted.name, *([DEFAULT_GAME] if is_go(wanted) else [])]
    name, why = next((name for name in own if name in bots), None), "came with ghostgo"
    if name is not None and not find_checkpoint(name, root).in_the_box:
        why = "a run of yours, before the bot of that name that came with ghostgo"
    if name is None:
        name, why = _newest_run(wanted, root), f"your newest run for {wanted.name}"
    if name is None:
        name = f"mcts:{visits}" if visits else UNTRAINED
        why = f"plain search: nothing here is trained for {wanted.name}"
    print(f"{name} plays ({why}); --run NAME takes a run of yours", file=sys.stderr, flush=True)
    return name


def _newest_run(wanted: Game, root: Path) -> str | None:
    """The run below `root` with the newest checkpoint that plays `wanted`; None without one."""
    from ghostgo.data.run import find_checkpoint, list_runs

    found = []
    for name in list_runs(root):
        with contextlib.suppress(UserError):  # no checkpoint yet, or damaged
            run = find_checkpoint(name, root)
            plays = get_game(run.meta["game"])
            if plays is wanted or _any_board(plays, wanted):
                found.append((run.path.stat().st_mtime, name))
    return max(found)[1] if found else None


def _any_board(plays: Game, wanted: Game) -> bool:
    """Whether both are Go on square boards, where one network serves all sizes."""
    return all(is_go(game) and game.rows == game.cols for game in (plays, wanted))


def _plain_bot(
    name: str, game: Game, visits: int | None, seed: int | None, seconds: float | None
) -> Bot:
    """The bot without a network that is called `name`; see `make_bot`."""
    if name in ("random", "capture"):
        kind = RandomBot if name == "random" else CaptureBot
        return kind(game, seed)
    count = name.removeprefix("mcts:")
    if not (count.isascii() and count.isdigit() and count.strip("0")):
        raise UserError(
            f"{name[:80]!r} is no opponent: mcts:N takes a number from 1, such as mcts:1000"
        )
    rollouts = whole_number(count, MOST_NODES, "rollouts a move")
    if visits not in (None, rollouts):
        raise UserError(
            f"{name} makes {rollouts} rollouts a move: leave --visits {visits} out, or name "
            f"mcts:{visits}"
        )
    return RolloutBot(game, rollouts, seed, seconds)


def strange_board(name: str, game: Game) -> str:
    """A line on a bot of the box that is on a board it was not trained on; empty for all others.

    `name` is a bot's own (`Bot.name`): a network from the box has its name there, before a comma if
    there is more to say, and one of a run its step. Raises UserError if that bot is damaged.
    """
    name = name.split(",")[0]
    if ":" in name or "@" in name or name in ("random", "capture"):
        return ""
    from ghostgo.data.run import list_bots

    home = {bot.path.name: get_game(bot.meta["game"]) for bot in list_bots()}.get(name, game)
    if home is game:
        return ""
    here, there = (f"{board.rows}x{board.cols}" for board in (game, home))
    return (
        f"{name} was trained on {there} alone: on {here} it plays by the same weights, untested there "
        "and likely weaker"
    )


def make_bot(
    name: str | None,
    game: str | None,
    visits: int | None,
    seed: int | None,
    root: Path,
    seconds: float | None = None,
    search: SearchConfig = PLAY,
    learn: bool = False,
    reuse: bool = True,
) -> Bot:
    """The bot called `name` (see `default_opponent` if None) for the game called `game`.

    Without `game`: the one it was trained on, or 9x9 Go. A network searches `visits` or `seconds` a
    move, whichever is first; without either, DEFAULT_VISITS; and chooses by `search`. With `reuse` its
    search goes on from the one before. Plain search makes its rollouts, or as many as `seconds`
    allow; `visits` that say another number are refused. With `learn` it begins with what it has
    learnt from its games before, and can learn more. Raises UserError for an unknown name, a game
    that it cannot play or a `search` that does not fit.
    """
    name = name or default_opponent(game, root, visits)
    plain = name in ("random", "capture") or name.startswith("mcts:")
    if plain and search != PLAY:
        raise UserError(f"{name} has no network: it takes no --score-weight and no --symmetries")
    if plain and learn:
        raise UserError(f"{name} has no network: it cannot --learn")
    if plain:
        return _plain_bot(name, get_game(game or DEFAULT_GAME), visits, seed, seconds)
    from ghostgo.data.choice import chosen_backend
    from ghostgo.data.run import find_checkpoint, load_network

    found = find_checkpoint(name, root)
    shown = found.run if found.in_the_box else f"{found.run}@{found.step}"
    visits = visits or (DEFAULT_VISITS if seconds is None else ENDLESS_VISITS)
    network, student = load_network(found.path), None
    if learn:
        from ghostgo.learning import Student

        student = Student(found, root)
        if lost := student.lost():
            print(lost, file=sys.stderr, flush=True)
        network = student.network()
    if game and get_game(game) is not network.game:
        # Backends are chosen, and int8 admitted, on the board that the run is trained on.
        network = refit(network, get_game(game))
        return SearchBot(
            shown, network, visits, seed, seconds, search, student=student, reuse=reuse
        )
    # int8 was admitted for the weights as they were trained.
    backend = chosen_backend(found, training=learn)
    return SearchBot(shown, network, visits, seed, seconds, search, backend, student, reuse)
