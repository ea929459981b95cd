"""Who scored what against whom, and how well one number a player explains it."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostgo.arena.goodness import SLACK, Goodness, by_pairing, cycles, goodness, tally
from ghostgo.arena.league import League
from ghostgo.arena.ratings import Ratings

WORST = 8
"""Pairings shown as the worst explained."""


@dataclass(frozen=True)
class Meeting:
    """All games between two players, copies left out."""

    a: str
    b: str
    points: float
    """Player a's."""
    games: int
    expected: float
    """Player a's points as the ratings have it."""
    deviation: float
    """(points - expected) in standard deviations, which allow for the pairing's draws, for the
    openings that its pairs share, and, if the pairings have a cycle, for the ratings having been
    fitted to these games (`Goodness.deviation`); a quarter of a game is added to the variance."""


@dataclass(frozen=True)
class CrossTable:
    """All meetings; names strongest first, arrays (K, K) row against column."""

    names: tuple[str, ...]
    points: NDArray[np.float64]
    games: NDArray[np.int64]
    expected: NDArray[np.float64]
    meetings: tuple[Meeting, ...]
    """Each pairing once, the worst explained first."""
    freedom: int
    """Independent cycles of the pairings: those less the ratings that they fix, one a player but for
    one in each connected group."""
    fit: Goodness | None
    """None without such a cycle."""

    def verdict(self) -> str:
        """Goodness of fit in one sentence."""
        if self.fit is None:
            return "Too few different pairings to say how well one number a player explains them."
        return self.fit.sentence()


def make_cross(league: League, ratings: Ratings) -> CrossTable:
    """The cross-table of all games that count; expectations include who moved first in each."""
    k = len(ratings.ratings)
    games = tally(league.ordered_rows(), ratings)
    points, expected = by_pairing(games.points), by_pairing(games.counts * games.means)
    fit = goodness(games, ratings)
    variance = games.variance if fit is None else fit.deviation**2
    # The slack keeps certain wins from dividing by nothing.
    deviation = (points - expected) / np.sqrt(variance + SLACK)
    grids = np.zeros((3, k, k))
    for grid, mine, other in zip(
        grids, (points, games.games, expected), (games.games - points, games.games, games.games - expected),
        strict=True,
    ):  # fmt: skip
        grid[games.a, games.b], grid[games.b, games.a] = mine, other
    names = [rating.name for rating in ratings.ratings]
    order = sorted((i for i in range(k) if grids[1, i].any()), key=lambda i: -ratings.elo[i])
    place = {player: i for i, player in enumerate(order)}
    meetings = []
    for i, (a, b) in enumerate(zip(games.a.tolist(), games.b.tolist(), strict=True)):
        sign = 1 if place[a] < place[b] else -1  # the stronger of both is named first
        a, b = (a, b)[::sign]
        meetings.append(
            Meeting(
                names[a], names[b], float(grids[0, a, b]), int(grids[1, a, b]),
                float(grids[2, a, b]), sign * float(deviation[i]),
            )
        )  # fmt: skip
    points, played, expected = (grid[np.ix_(order, order)] for grid in grids)
    return CrossTable(
        tuple(names[i] for i in order), points, played.astype(np.int64), expected,
        tuple(sorted(meetings, key=lambda meeting: -abs(meeting.deviation))),
        cycles(k, games.a, games.b), fit,
    )  # fmt: skip


def cross_csv(cross: CrossTable) -> str:
    """One line a pairing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["a", "b", "points_of_a", "games", "expected", "deviation"])
    for m in cross.meetings:
        writer.writerow([m.a, m.b, m.points, m.games, f"{m.expected:.3f}", f"{m.deviation:.3f}"])
    return text.getvalue()


def cross_html(cross: CrossTable) -> str:
    """The cross-table, shaded by share of the points, and the worst explained pairings."""
    k = len(cross.names)
    heads = "".join(f'<th title="{html.escape(n)}">{i + 1}</th>' for i, n in enumerate(cross.names))
    lines = [f"<tr><th>points of games</th>{heads}</tr>"]
    for i in range(k):
        cells = "".join(_cell(cross, i, j) for j in range(k))
        lines.append(f"<tr><td>{i + 1} {html.escape(cross.names[i])}</td>{cells}</tr>")
    worst = [
        f"<tr><td>{html.escape(m.a)} - {html.escape(m.b)}</td><td>{m.points:g} of {m.games}</td>"
        f"<td>{m.expected:.1f}</td><td>{m.deviation:+.1f}</td></tr>"
        for m in cross.meetings[:WORST]
    ]
    return (
        '<h2>Cross-table</h2><div class="scroll"><table class="cross">' + "".join(lines)
        + f"</table></div><h2>How well the ratings fit</h2><p>{cross.verdict()}</p>"
        "<p>Deviations are in standard deviations of what luck leaves once the ratings are fitted, with a "
        "quarter of a game added to the variance: pairings of few games look smaller than they are.</p>"
        '<div class="scroll"><table><tr><th>worst explained</th><th>points</th><th>expected</th>'
        "<th>deviation</th></tr>" + "".join(worst) + "</table></div>"
    )  # fmt: skip


def _cell(cross: CrossTable, i: int, j: int) -> str:
    games = int(cross.games[i, j])
    if i == j or not games:
        return "<td></td>"
    share = cross.points[i, j] / games
    colour = f"rgba(47, 111, 176, {0.45 * share:.2f})"
    told = f"{cross.expected[i, j]:.1f} expected"
    return f'<td style="background:{colour}" title="{told}">{cross.points[i, j]:g}/{games}</td>'
