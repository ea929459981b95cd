"""The arena's command: a pool of players, a tournament between them, and its report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostgo.arena.effort import Effort, as_effort
from ghostgo.arena.gain import compare_arms
from ghostgo.arena.limits import check_numbers, make_limits
from ghostgo.arena.pool import PlayerOptions, build_pool, open_run
from ghostgo.arena.report import Report, write_report
from ghostgo.arena.results import locked
from ghostgo.arena.speeds import SPEEDS, Speeds
from ghostgo.arena.stop import Stop
from ghostgo.arena.tournament import Tournament


def run_arena(
    a: str | Sequence[str] | None = "scratch",
    b: str | Sequence[str] | None = "warm",
    *,
    root: Path = Path("runs"),
    out: Path | None = None,
    visits: Effort | int | str = 64,
    games: int | None = None,
    minutes: float | None = None,
    width: float | None = None,
    visits_ladder: Sequence[Effort] = (),
    checkpoints: int | None = None,
    follow: bool = True,
    players: Mapping[str, str] | None = None,
    anchors: Sequence[str] | None = None,
    anchor: str = "random",
    levels: Sequence[float] | None = None,
    game: str | None = None,
    rules: Mapping[str, Any] | None = None,
    seed: int = 0,
    parallel: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    gtp_timeout: float = 60.0,
) -> Report:
    """Rate every checkpoint of runs `a` and `b`, fixed rating anchors and `players` in one pool.

    `a` and `b` are a run each, or several that differ by their seed, which are compared as arms at
    the Elo `levels` (default: three within what both cover).

    Games are kept in `out` (default `root/arena`), and so are the table and the plots. The same
    call again goes on where it stopped and takes in new checkpoints, as it does while it plays: a
    run that another process trains is followed (unless told not to `follow`, or only so many
    `checkpoints` are wanted), and the report is written anew each minute. It ends at `games`
    between the players of this call, those of earlier calls included, at `minutes` of this call, or
    at a mean interval of `width` Elo (or once that is out of reach), whichever is first; without
    any of these, at 40 games for each player of the pool, and not before the training that it follows ends. The first
    Ctrl-C ends it as well, with a report.

    Every network searches `visits` a move, or as many as a budget such as `2e9flops` or `0.05s` of
    one core pays for (measured once and kept in `out`, see `ghostgo.arena.speeds`); with
    a `visits_ladder` each checkpoint plays at all of its budgets, and the report says what search
    buys beside training. At most so many `checkpoints` of a run play, spread over what they cost.
    `players` maps names to specs, `anchors` are specs, both as in `ghostgo.arena.pool`; `anchor` is
    the player whose rating is frozen at 0. At most `parallel` games run at a time (as many as end
    within two minutes, 256 at most), in `workers` threads (one a core). Raises UserError for bad
    input.
    """
    started = time.monotonic()
    out = out or root / "arena"
    check_numbers(games, minutes, width, parallel, workers, levels)
    speeds = Speeds(out / SPEEDS)
    options = PlayerOptions(
        root, as_effort(visits), device, gtp_timeout, tuple(visits_ladder), checkpoints, speeds
    )
    arms = [_runs_of(a), _runs_of(b)]
    runs = list(dict.fromkeys(run for arm in arms for run in arm))
    pool = build_pool(runs, players or {}, game, anchors, options)
    try:
        limits = make_limits(len(pool.entries), games, minutes, width)
        # Whatever is wrong with the input comes to light before anything is written.
        tournament = Tournament(pool, out, anchor, rules or {}, seed, parallel, started)
        for run in runs:
            tournament.warn_of_other_rules(open_run(run, root))

        def report(shown: bool = True) -> Report:
            league, ratings = tournament.league, tournament.ratings
            comparisons = compare_arms(pool, ratings, arms, levels)
            return write_report(out, pool, league, ratings, comparisons, shown, arms)

        if follow and checkpoints is None:
            watched = {Path(run).name: open_run(run, root) for run in runs}
            tournament.follow(watched, options, lambda: report(shown=False))
        with locked(out), Stop() as stop:
            speeds.save()
            tournament.read()
            try:
                tournament.play(limits, workers or os.cpu_count() or 1, stop)
            finally:
                speeds.save()  # newcomers may be of another kind
            return report()
    finally:
        pool.close()


def _runs_of(arm: str | Sequence[str] | None) -> list[str]:
    """The names of an arm's runs, of which there may be none."""
    return [run for run in ([arm] if isinstance(arm, str) else arm or ()) if run]
