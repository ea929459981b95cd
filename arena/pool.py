"""Who takes part: the checkpoints of runs, fixed rating anchors, and players given by name.

A player is written as `random`, `capture` (Go), `mcts:ROLLOUTS`, `openspiel:mcts:SIMULATIONS`,
`gtp:COMMAND` (or a command line whose program is installed), `level:5k` (Go: the rated player nearest
to that level, see `ghostgo.arena.levels`), or a checkpoint: `RUN`, `RUN@STEP`, a
folder, with `:VISITS`, `:2e9flops` or `:0.05s` behind it for a budget other than the rest's, and
`,symmetries=8`, `,leaf_symmetries=2`, `,score_weight=0.1` (see `SearchConfig`) or `,rank=5k` behind
that (networks that are told ranks). `,drawn=1` draws its moves from its policy, without a search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ghostgo.arena.effort import (
    DRAWN,
    FLOPS,
    RANK,
    SECONDS,
    Effort,
    split_effort,
    split_settings,
    whole_number,
)
from ghostgo.arena.gtp_client import GtpPlayer, find_program
from ghostgo.arena.levels import level
from ghostgo.arena.openspiel_player import OpenSpielPlayer
from ghostgo.arena.players import (
    FIRST_SEARCH,
    PLAYS,
    RATING,
    CapturePlayer,
    NetPlayer,
    Player,
    PolicyPlayer,
    RandomPlayer,
    RolloutPlayer,
)
from ghostgo.arena.results import PlayerInfo
from ghostgo.arena.speeds import Speeds
from ghostgo.data.choice import chosen_backend
from ghostgo.data.ledger import Totals
from ghostgo.data.run import BOTS, CheckpointInfo, Run, find_checkpoint, list_bots, load_network
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import choose_device
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, count_flops
from ghostgo.engine.rollout import MOST_NODES
from ghostgo.engine.search_config import check_search

GO_ANCHORS = ("random", "capture", "mcts:100", "mcts:1000")
ANCHORS = ("random", "mcts:100", "mcts:1000")
OPENSPIEL = "openspiel:mcts:"
USUAL = Effort(visits=64)


@dataclass(frozen=True)
class Entry:
    """One player of the pool."""

    info: PlayerInfo
    player: Player
    run: str | None = None
    """The curve that it stands on, None for an outsider."""


@dataclass(frozen=True)
class CurvePoint:
    """A checkpoint on a run's curve."""

    run: str
    step: int
    totals: Totals
    entry: int
    """Its number in the pool; runs that share a checkpoint share the entry."""
    rung: Effort | None = None
    """Its budget a move on a ladder; None where all networks have the same."""
    bits: Mapping[str, Mapping[str, float]] = field(default_factory=dict, compare=False)
    """What its network knew of fresh games, in bits a `game` and a `pflop`, by head; see
    `ghostgo.selfplay.bits`. Empty where nobody measured."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.run}@{self.step}" + (f":{self.rung}" if self.rung else "")

    @property
    def curve(self) -> str:
        """The curve that it stands on: its run's, at its rung."""
        return f"{self.run}, {self.rung.words}" if self.rung else self.run


@dataclass
class Pool:
    """Players, no two alike, and the runs' curves through them."""

    game: Game
    entries: list[Entry] = field(default_factory=list)
    points: list[CurvePoint] = field(default_factory=list)
    rungs: tuple[Effort, ...] = ()
    """The ladder's, lowest first; none where all networks search alike."""
    base: Effort | None = None
    """The rung at which runs are compared; None without a ladder."""

    def add(self, entry: Entry) -> int:
        """Put a player in, unless one that plays alike is there; returns its number.

        One that is not put in is closed. Raises UserError if another player has its name.
        """
        for i, other in enumerate(self.entries):
            if other.info.identity == entry.info.identity:
                entry.player.close()
                return i
        if any(other.info.name == entry.info.name for other in self.entries):
            entry.player.close()
            raise UserError(f"two players are called {entry.info.name!r}; give one another name")
        self.entries.append(entry)
        return len(self.entries) - 1

    def close(self) -> None:
        """Close all players."""
        for entry in self.entries:
            entry.player.close()


@dataclass(frozen=True)
class PlayerOptions:
    """How the pool's players are made."""

    root: Path = Path("runs")
    """Folder of the runs."""
    effort: Effort = USUAL
    """Search visits a move, FLOPs or seconds, of every network."""
    device: str = "auto"
    gtp_timeout: float = 60.0
    """Seconds that a GTP engine has for one answer."""
    ladder: tuple[Effort, ...] = ()
    """Budgets at each of which the runs' checkpoints play, lowest first; none: all play at `effort`."""
    checkpoints: int | None = None
    """Most checkpoints of a run; None: all."""
    speeds: Speeds = field(default_factory=Speeds)
    """What a budget of seconds is worth."""


def build_pool(
    runs: Sequence[str],
    players: Mapping[str, str],
    game: str | None,
    anchors: Sequence[str] | None,
    options: PlayerOptions,
) -> Pool:
    """Anchors first, then the given players, then each run's checkpoints, oldest first.

    On a ladder every checkpoint stands once for each rung, and runs are compared at `effort` if
    that is a rung, else at the highest. Raises UserError for an unknown run, player or game, for
    runs of different games, and for an engine that does not run.
    """
    checkpoints = {
        run: spread_out(_checkpoints(run, options.root), options.checkpoints) for run in runs
    }
    pool = Pool(get_game(_one_game(checkpoints, game)), rungs=options.ladder)
    if options.ladder:
        pool.base = options.effort if options.effort in options.ladder else options.ladder[-1]
    if anchors is None:
        anchors = GO_ANCHORS if is_go(pool.game) else ANCHORS
    load = cache(load_network)  # a checkpoint's rungs share its weights
    try:
        for spec in anchors:
            pool.add(make_entry(spec.replace(":", ""), spec, pool.game, options))
        for name, spec in players.items():
            pool.add(make_entry(name, spec, pool.game, options))
        for run, infos in checkpoints.items():
            for rung in options.ladder or (None,):
                for info in infos:
                    add_checkpoint(pool, Path(run).name, info, rung, options, load)
    except BaseException:
        pool.close()
        raise
    return pool


def _one_game(checkpoints: Mapping[str, Sequence[CheckpointInfo]], game: str | None) -> str:
    """The game that all runs play; UserError if they differ, or from `game`, or there is none."""
    played = {run: str(infos[0].meta["game"]) for run, infos in checkpoints.items()}
    if game:
        played["--game"] = game
    if not played:
        raise UserError("without a run, say which game is played: --game go9, for example")
    if len(set(played.values())) > 1:
        each = ", ".join(f"{run}: {name}" for run, name in played.items())
        raise UserError(f"one arena rates one game, not several ({each})")
    return next(iter(played.values()))


def open_run(run: str, root: Path) -> Run:
    """The run called `run` below `root`, or in the folder `run`; raises UserError if there is none."""
    folder = root / run if (root / run).exists() else Path(run)
    if not (folder / "run.json").is_file():
        if run in {bot.path.name for bot in list_bots()}:
            raise UserError(
                f"{run!r} is a bot that came with ghostgo, not a run: enter it by --player {run}={run} "
                "instead of --a or --b"
            )
        raise UserError(f"{run!r} is not a run in {root}: ghostgo selfplay --run {run} makes one")
    return Run.open(folder)


def _checkpoints(run: str, root: Path) -> list[CheckpointInfo]:
    found = open_run(run, root).checkpoints()
    found = [info for info in found if info is found[-1] or info.meta.get("milestone", True)]
    if not found:
        raise UserError(f"run {run!r} has no checkpoint yet: train it a little longer")
    return found


def spread_out(infos: Sequence[CheckpointInfo], most: int | None) -> list[CheckpointInfo]:
    """At most `most` checkpoints of a run (oldest first), evenly over the logarithm of their cost.

    The newest is among them and, of two and more, the oldest.
    """
    if most is None or len(infos) <= most:
        return list(infos)
    spent = np.array([info.totals.flops for info in infos])
    if not spent.any():
        spent += 1
    log = np.log(np.maximum(spent, spent[spent > 0].min() / 2))
    chosen = [len(infos) - 1, 0][:most]
    for target in np.linspace(log[0], log[-1], most)[1:-1]:
        left = [i for i in range(len(infos)) if i not in chosen]
        chosen.append(min(left, key=lambda i: abs(log[i] - target)))
    return [infos[i] for i in sorted(chosen)]


def add_checkpoint(
    pool: Pool,
    run: str,
    info: CheckpointInfo,
    rung: Effort | None,
    options: PlayerOptions,
    load: Callable[[Path], Network],
) -> None:
    """Add a checkpoint, loaded now; one that a training run has just dropped is left out.

    Raises UserError if it is damaged, or another player has its name.
    """
    point = CurvePoint(run, info.step, info.totals, 0, rung, info.meta.get("bits", {}))
    try:
        entry = _net_entry(point.name, info, pool.game, rung or options.effort, options, load)
    except UserError:
        if info.path.exists():
            raise
        return
    number = pool.add(Entry(entry.info, entry.player, point.curve))
    pool.points.append(replace(point, entry=number))


def _net_entry(
    name: str,
    info: CheckpointInfo,
    game: Game,
    effort: Effort,
    options: PlayerOptions,
    load: Callable[[Path], Network] = load_network,
    search: Mapping[str, Any] | None = None,
) -> Entry:
    if info.meta["game"] != game.name:
        raise UserError(f"player {name!r} plays {info.meta['game']}, this arena {game.name}")
    search = dict(search or {})
    rank, drawn = search.pop(RANK, 0), search.pop(DRAWN, 0)
    if drawn and search:
        raise UserError(
            f"player {name!r}: with drawn=1 nothing is searched: {min(search)} says nothing"
        )
    config = replace(RATING, **search)
    try:
        check_search(config, game)
    except UserError as error:
        raise UserError(f"player {name!r}: {error}") from None
    network = load(info.path)
    if rank and network.rank is None:
        raise UserError(f"player {name!r}: its network is not told ranks: it has none to play at")
    network = network.at_rank(rank)
    # int8 was admitted for the weights that are told no rank.
    backend = chosen_backend(info, options.device, training=rank > 0)
    told: dict[str, Any] = {RANK: rank} if rank else {}
    # The others than int8 differ by rounding to bfloat16 alone.
    told |= {"backend": backend.name} if backend.name == "int8" else {}
    if drawn:
        policy = PolicyPlayer(name, lambda: network, options.device, backend)
        return Entry(_info(name, "policy", {"sha256": info.meta["sha256"], **told}), policy)
    images = config.symmetries, config.leaf_symmetries
    if effort.seconds:
        device = choose_device(options.device)[0]
        kind = f"{game.name} {network.config.name} {backend.name}"

        def timed(visits: int, rows: int) -> NetPlayer:
            return NetPlayer(name, lambda: network, visits, device, RATING, backend, rows)

        def priced(rows: int) -> float:
            return options.speeds.seconds(kind, rows, device, game, timed)

        visits = options.speeds.visits(effort, name, images, priced)
    else:
        price = count_flops(network) if effort.flops else 0.0
        visits = effort.visits_at(price, name, *images)
    player = NetPlayer(name, lambda: network, visits, options.device, config, backend)
    settings = {"sha256": info.meta["sha256"], "visits": visits}
    searched = asdict(config).items()
    settings |= {key: value for key, value in searched if FIRST_SEARCH.get(key) != value}
    return Entry(_info(name, "net", settings | told), player)


def _info(name: str, kind: str, settings: Mapping[str, Any] | None = None) -> PlayerInfo:
    """A player by code of ours. The first version of how it plays goes unnamed, as it always did."""
    version = {"plays": PLAYS[kind]} if PLAYS[kind] > 1 else {}
    return PlayerInfo(name, kind, {**(settings or {}), **version})


def _count(name: str, spec: str, digits: str, what: str) -> int:
    """`digits` as a number of `what`; UserError, naming the player, if it is none or too large."""
    try:
        if not (digits.isascii() and digits.isdigit() and digits.strip("0")):
            raise UserError(f"{digits[:20]!r} is no number of {what}: 1 to {MOST_NODES}")
        return whole_number(digits, MOST_NODES, what)
    except UserError as error:
        raise UserError(f"player {name}={spec[:80]}: {error}") from None


def make_entry(name: str, spec: str, game: Game, options: PlayerOptions) -> Entry:
    """The player that `spec` means, called `name`.

    Raises UserError saying how players are written.
    """
    kind, _, rest = spec.partition(":")
    if kind == "level":
        if not is_go(game):
            raise UserError(f"player {name}={spec}: levels are for Go, not for {game.name}")
        # The rated networks are those in the box, whatever runs are called.
        return make_entry(name, level(rest).spec, game, replace(options, root=BOTS))
    if spec == "random":
        return Entry(_info(name, "random"), RandomPlayer(name))
    if spec == "capture":
        return Entry(_info(name, "capture"), CapturePlayer(name, game))
    if kind == "mcts" and rest.isdigit():
        count = _count(name, spec, rest, "rollouts a move")
        return Entry(_info(name, "mcts", {"rollouts": count}), RolloutPlayer(name, game, count))
    if spec.startswith(OPENSPIEL):
        count = _count(name, spec, spec.removeprefix(OPENSPIEL), "simulations a move")
        bot = OpenSpielPlayer(name, game, count)
        settings = {"rollouts": count, "program": bot.program}
        return Entry(_info(name, "openspiel", settings), bot)
    command = rest.strip() if kind == "gtp" else spec
    words = spec.split()
    if kind == "gtp" or words[:1] == ["gnugo"] or (len(words) > 1 and find_program(words[0])):
        engine = GtpPlayer(name, command, game, options.gtp_timeout)
        program = {"program": engine.program} if engine.program else {}
        return Entry(PlayerInfo(name, "gtp", {"command": command, **program}), engine)
    plain, search = split_settings(spec)
    where, given = split_effort(plain)
    if given and DRAWN in search:
        raise UserError(
            f"player {name}={spec}: with drawn=1 nothing is searched: leave :{given} out"
        )
    try:
        found = find_checkpoint(where, options.root)
    except UserError as error:
        raise UserError(
            f"player {name}={spec}: {error}; players are random, capture, mcts:1000, level:5k, "
            f"{OPENSPIEL}1000, RUN@STEP, RUN@STEP:VISITS, RUN@STEP:2e9{FLOPS}, "
            f"RUN@STEP:0.05{SECONDS}, each with ,symmetries=8 behind it, or gtp:COMMAND"
        ) from None
    return _net_entry(name, found, game, given or options.effort, options, search=search)
