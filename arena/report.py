"""The tournament's table, as text, CSV, HTML and PNG."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostgo.arena.bits_panel import bits_csv, bits_html
from ghostgo.arena.cross import CrossTable, cross_csv, cross_html, make_cross
from ghostgo.arena.effort import Effort
from ghostgo.arena.gain import Apart, Comparison, arm_names, gain_csv
from ghostgo.arena.gallery import make_gallery
from ghostgo.arena.ladder import Ladder, ladder_csv, ladder_table, make_ladder
from ghostgo.arena.league import League
from ghostgo.arena.pool import CurvePoint, Pool
from ghostgo.arena.ratings import Ratings
from ghostgo.arena.viewer import viewer_html
from ghostgo.data.shards import replace_file

REMARKABLE = 4.0
"""Standard deviations from which a pairing is named; hundreds of pairings reach 3 by chance."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    elo: float
    low: float
    high: float
    games: int
    score: float
    """Share of the points, 0 to 1; 0 without games."""
    mark: str
    kind: str
    visits: int | None
    """Search visits a move (rollouts of plain MCTS); None for players without a search of ours."""
    seconds: float
    """Seconds a move."""
    evaluations: float
    """Network evaluations (playouts for plain MCTS) a move."""
    move_flops: float
    """FLOPs a move."""
    point: CurvePoint | None
    """The checkpoint, with what its run had spent; None for outsiders."""

    @property
    def interval(self) -> str:
        """The 95 % interval in words; the anchor has none, nor has who did not play."""
        if self.mark in ("anchor", "unplayed"):
            return ""
        return f"{round(self.low)} .. {round(self.high)}"

    @property
    def rating(self) -> str:
        """The Elo in words; none for who did not play."""
        return "" if self.mark == "unplayed" else str(round(self.elo))

    @property
    def spent(self) -> str:
        """The FLOPs spent on the checkpoint, in words."""
        return "" if self.flops is None else f"{self.flops:.2e}" if self.flops else "0"

    @property
    def flops(self) -> float | None:
        """FLOPs spent on the checkpoint: imitation, self-play and training."""
        return self.point.totals.flops if self.point else None


@dataclass(frozen=True)
class Arm:
    """Runs that differ by their seed."""

    name: str
    runs: tuple[str, ...]

    def label(self, seeds: int) -> str:
        """The name, with the number of `seeds` that are shown where the arm has several."""
        return f"{self.name} ({seeds} seeds)" if len(self.runs) > 1 else self.name


def make_arms(arms: Sequence[Sequence[str]], points: Sequence[CurvePoint]) -> tuple[Arm, ...]:
    """`arms` are lists of runs, as given to the tournament; a run is in the first that names it.

    Other runs of `points` are arms by themselves. No two arms have one name.
    """
    left = list(dict.fromkeys(point.run for point in points))
    found: list[tuple[str, ...]] = []
    for given in arms:
        names = [os.path.basename(run.rstrip("/")) for run in given]
        runs = tuple(run for run in dict.fromkeys(names) if run in left)
        left = [run for run in left if run not in runs]
        if runs:
            found.append(runs)
    found += [(run,) for run in left]
    return tuple(Arm(name, runs) for name, runs in zip(arm_names(found), found, strict=True))


@dataclass(frozen=True)
class Report:
    """What a tournament found and where it was written."""

    title: str
    rows: tuple[Row, ...]
    """Strongest first; a checkpoint that two runs share has a row for each."""
    notes: tuple[str, ...]
    html: Path
    png: Path
    csv: Path
    rungs: tuple[Effort, ...] = ()
    """Of the ladder; none where all networks search alike."""
    arms: tuple[Arm, ...] = ()
    """Every run of `rows` is in one."""

    def curves(self) -> dict[str, list[Row]]:
        """Each curve's rated checkpoints, oldest first: a run's, at each rung of a ladder."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.point and row.games:
                found.setdefault(row.point.curve, []).append(row)
        for rows in found.values():
            rows.sort(key=lambda row: row.point.step if row.point else 0)
        return {name: found[name] for name in sorted(found, key=self._place)}

    def _place(self, curve: str) -> tuple[str, int]:
        """Where a curve stands in a legend: by run, then by rung."""
        of = {point.curve: point for row in self.rows if (point := row.point)}[curve]
        return of.run, self.rungs.index(of.rung) if of.rung else 0

    def outsiders(self) -> list[Row]:
        """Players that are no checkpoints of the runs, and have a rating."""
        rated = [row for row in self.rows if row.games or row.mark == "anchor"]
        return [row for row in rated if row.point is None and row.kind != "net"]


def make_rows(pool: Pool, league: League, ratings: Ratings) -> tuple[Row, ...]:
    """The table's rows, strongest first."""
    rows = []
    for i, rating in enumerate(ratings.ratings):
        seconds, evaluations, move_flops = league.costs[i].per_move()
        settings = league.infos[i].settings
        points: list[CurvePoint | None] = [p for p in pool.points if p.entry == i]
        for point in points or [None]:
            rows.append(
                Row(
                    name=point.name if point else rating.name,
                    elo=rating.elo,
                    low=rating.low,
                    high=rating.high,
                    games=rating.games,
                    score=rating.points / max(rating.games, 1),
                    mark=rating.mark,
                    kind=league.infos[i].kind,
                    visits=settings.get("visits", settings.get("rollouts")),
                    seconds=seconds,
                    evaluations=evaluations,
                    move_flops=move_flops,
                    point=point,
                )
            )
    return tuple(sorted(rows, key=lambda row: -row.elo))


def table(rows: tuple[Row, ...]) -> str:
    """The ratings as text."""
    wide = max([len(row.name) for row in rows] + [6])
    head = f"{'player':{wide}}  {'Elo':>6}  {'95 % interval':>15}  {'games':>5}  {'score':>5}"
    lines = [f"{head}  {'visits':>6}  {'FLOPs spent':>11}  {'FLOPs/move':>10}  {'s/move':>7}"]
    for row in rows:
        visits = "" if row.visits is None else str(row.visits)
        move = f"{row.move_flops:.2e}" if row.move_flops else ""
        lines.append(
            f"{row.name:{wide}}  {row.rating:>6}  {row.interval:>15}  {row.games:5d}"
            f"  {row.score:5.0%}  {visits:>6}  {row.spent:>11}  {move:>10}  {row.seconds:7.4f}"
            f"  {row.mark}".rstrip()
        )
    return "\n".join(lines)


def make_notes(league: League, ratings: Ratings, cross: CrossTable) -> tuple[str, ...]:
    """What else must be known to read the table."""
    anchor = ratings.ratings[ratings.anchor].name
    games = len(league.rows)
    forfeits = sum(game.end == "forfeit" for pair in league.pairs.values() for game in pair.games)
    draws = sum(row.result == 0.5 for row in league.rows)
    first = league.game.player_names[0]
    advantage = f"{ratings.colour:.0f} +- {1.96 * ratings.colour_error:.0f} Elo"
    pairing = (
        f"{games} games in pairs from the same opening, colours swapped; "
        f"{league.distinct_share:.0%} of them distinct; {draws} draws, {forfeits} forfeits."
    )
    scale = (
        f"Elo above {anchor}, which is frozen at 0; 95 % intervals, errors clustered by pair. "
        f"Moving first ({first}) is worth {advantage}."
    )
    cost = (
        "FLOPs spent are those of imitation, self-play and training; rating games cost a run "
        "nothing. Visits are search steps a move, random playouts for plain MCTS."
    )
    notes = [pairing, scale, cost]
    if league.repeated:
        notes.append(
            f"{league.repeated} of the games are copies of earlier ones, which networks without "
            "noise play again from the same position: they are no evidence and do not count."
        )
    if any(rating.one_sided for rating in ratings.ratings):
        notes.append(
            "Unbeaten and winless players: the games tell how far they are from the rest at least, "
            "not at most; the far end of the interval comes from the prior, one drawn game each."
        )
    if cross.freedom:
        notes.append(cross.verdict())
    if cross.meetings and abs(cross.meetings[0].deviation) > REMARKABLE:
        m = cross.meetings[0]
        notes.append(
            f"Worst explained: {m.a} scored {m.points:g} of {m.games} against {m.b}, "
            f"{m.expected:.1f} expected ({abs(m.deviation):.1f} standard deviations)."
        )
    return tuple(notes)


def _csv(rows: tuple[Row, ...], arms: tuple[Arm, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    totals = ("imitation_flops", "selfplay_flops", "training_flops", "evaluations", "seconds")
    more = ("core_seconds", "games", "samples")
    arm_of = {run: arm.name for arm in arms for run in arm.runs}
    writer.writerow(
        ["player", "kind", "run", "step", "elo", "low", "high", "games", "score", "mark", "visits"]
        + ["flops"]
        + [f"run_{name}" for name in totals]
        + ["seconds_per_move", "evaluations_per_move", "flops_per_move"]
        + ["arm", "flops_without_imitation"]
        + [f"run_{name}" for name in more]
    )
    for row in rows:
        point = row.point
        spent, others = (
            [getattr(point.totals, name) if point else None for name in names]
            for names in (totals, more)
        )
        own = point.totals.flops - point.totals.imitation_flops if point else None
        writer.writerow(
            [row.name, row.kind, point.run if point else "", point.step if point else ""]
            + [f"{row.elo:.1f}", f"{row.low:.1f}", f"{row.high:.1f}", row.games]
            + [f"{row.score:.4f}", row.mark, "" if row.visits is None else row.visits]
            + ["" if row.flops is None else f"{row.flops:.6g}"]
            + spent
            + [f"{row.seconds:.6f}", f"{row.evaluations:.1f}", f"{row.move_flops:.6g}"]
            + [arm_of[point.run] if point else "", "" if own is None else f"{own:.6g}"]
            + others  # the writer leaves an unknown amount empty
        )
    return text.getvalue()


def write_report(
    out: Path,
    pool: Pool,
    league: League,
    ratings: Ratings,
    comparisons: Sequence[Comparison | Apart] = (),
    shown: bool = True,
    arms: Sequence[Sequence[str]] = (),
) -> Report:
    """Write the table into `out`: CSV, PNG and `arena.html`; print it too, if it is to be `shown`.

    `arms` are lists of runs that differ by their seed; without any, each run is one.
    """
    from ghostgo.arena.ladder_plots import draw_ladder, ladder_html
    from ghostgo.arena.plots import draw_png, make_html

    rows = make_rows(pool, league, ratings)
    grouped = make_arms(arms, pool.points)
    subject = " and ".join(arm.label(len(arm.runs)) for arm in grouped) or "rating anchors"
    cross = make_cross(league, ratings)
    ladder = make_ladder(pool, league, ratings)
    notes = tuple(line for comparison in comparisons for line in comparison.sentences())
    notes += make_notes(league, ratings, cross)
    report = Report(
        title=f"{pool.game.name}: {subject}",
        rows=rows,
        notes=notes,
        html=out / "arena.html",
        png=out / "arena.png",
        csv=out / "arena.csv",
        rungs=pool.rungs,
        arms=grouped,
    )
    if shown:
        _print(report, ladder)
    replace_file(report.csv, _csv(rows, grouped).encode())
    replace_file(out / "gain.csv", gain_csv(comparisons).encode())
    replace_file(out / "cross.csv", cross_csv(cross).encode())
    replace_file(report.png, draw_png(report))
    replace_file(out / "bits.csv", bits_csv(pool.points).encode())
    more = bits_html(pool.points)
    more += cross_html(cross) + viewer_html(make_gallery(league, ratings))
    if ladder:
        replace_file(out / "ladder.csv", ladder_csv(ladder).encode())
        replace_file(out / "ladder.png", draw_ladder(ladder))
        more = ladder_html(ladder) + more
    replace_file(report.html, make_html(report, more).encode())
    if shown:
        print(f"plots: {report.html} {report.png}" + (f" {out / 'ladder.png'}" if ladder else ""))
    return report


def _print(report: Report, ladder: Ladder | None) -> None:
    print(table(report.rows))
    if ladder:
        print(f"\n{ladder_table(ladder)}\n")
        print("".join(f"{trade.sentence()}\n" for trade in ladder.trades), end="")
    print("\n".join(report.notes))
