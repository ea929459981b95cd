"""Who scored what against whom, and how well one number a player explains it."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2

from ghostgo.arena.league import League
from ghostgo.arena.ratings import Ratings, draw_factor

TELLING = 1.0
"""Least variance, in games, of a pairing that the goodness of fit looks at."""
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
    """(points - expected) in standard deviations."""


@dataclass(frozen=True)
class CrossTable:
    """All meetings; names strongest first, arrays (K, K) row against column."""

    names: tuple[str, ...]
    points: NDArray[np.float64]
    games: NDArray[np.int64]
    expected: NDArray[np.float64]
    meetings: tuple[Meeting, ...]
    """Each pairing once, the worst explained first."""
    statistic: float
    """Sum of (points - expected)^2 / variance over the pairings that are open enough to tell."""
    freedom: int
    """Degrees of freedom: those pairings less the ratings that they fix, one a player but for one
    in each connected group. Colours are balanced within pairs, so moving first costs none."""

    @property
    def p_value(self) -> float:
        """Chance of a fit so bad or worse if strength were one number; nan without freedom."""
        return float(chi2.sf(self.statistic, self.freedom)) if self.freedom else float("nan")

    def verdict(self) -> str:
        """Goodness of fit in one sentence."""
        if not self.freedom:
            return "Too few different pairings to say how well one number a player explains them."
        says = (
            "explains the pairings"
            if self.p_value >= 0.01
            else ("does not explain the pairings: some players beat whom they should not")
        )
        return (
            f"Goodness of fit (games taken as independent): chi2 {self.statistic:.1f} on {self.freedom} degrees of freedom, "
            f"p = {self.p_value:.2g}; one number a player {says}."
        )


def make_cross(league: League, ratings: Ratings) -> CrossTable:
    """The cross-table of all games that count; expectations include who moved first in each."""
    k = len(ratings.ratings)
    points, expected, variance = np.zeros((3, k, k))
    rows = league.ordered_rows()
    drawn = draw_factor(rows)
    games = np.zeros((k, k), np.int64)
    for row in rows:
        edge = ratings.elo[row.first] - ratings.elo[row.second] + ratings.colour
        p = 1 / (1 + 10 ** (-edge / 400))
        for a, b, result, mean in (
            (row.first, row.second, row.result, p),
            (row.second, row.first, 1 - row.result, 1 - p),
        ):
            points[a, b] += result
            expected[a, b] += mean
            variance[a, b] += drawn * p * (1 - p)
            games[a, b] += 1
    # A quarter of a game's variance keeps certain wins from dividing by nothing.
    deviation = (points - expected) / np.sqrt(variance + 0.25)
    names = [rating.name for rating in ratings.ratings]
    order = sorted((i for i in range(k) if games[i].any()), key=lambda i: -ratings.elo[i])
    pairs = [(a, b) for x, a in enumerate(order) for b in order[x + 1 :] if games[a, b]]
    meetings = [
        Meeting(
            names[a], names[b], float(points[a, b]), int(games[a, b]), float(expected[a, b]),
            float(deviation[a, b]),
        )
        for a, b in pairs
    ]  # fmt: skip
    # Chi-squared needs some variance in each cell: a pairing won for certain says nothing here.
    telling = [(a, b) for a, b in pairs if variance[a, b] >= TELLING]
    statistic = sum((points[i] - expected[i]) ** 2 / variance[i] for i in telling)
    freedom = _freedom(k, telling)
    grid = np.ix_(order, order)
    return CrossTable(
        tuple(names[i] for i in order), points[grid], games[grid], expected[grid],
        tuple(sorted(meetings, key=lambda meeting: -abs(meeting.deviation))),
        float(statistic), freedom,
    )  # fmt: skip


def _freedom(players: int, pairings: list[tuple[int, int]]) -> int:
    """Independent cycles in the graph of pairings: edges less vertices plus components."""
    if not pairings:
        return 0
    met = np.zeros((players, players), bool)
    met[tuple(zip(*pairings, strict=True))] = True
    vertices = int((met | met.T).any(axis=1).sum())
    groups = int(connected_components(met, directed=False)[0]) - (players - vertices)
    return len(pairings) - vertices + groups


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
        '<div class="scroll"><table><tr><th>worst explained</th><th>points</th><th>expected</th>'
        "<th>standard deviations</th></tr>" + "".join(worst) + "</table></div>"
    )  # fmt: skip


def _cell(cross: CrossTable, i: int, j: int) -> str:
    games = int(cross.games[i, j])
    if i == j or not games:
        return "<td></td>"
    share = cross.points[i, j] / games
    colour = f"rgba(47, 111, 176, {0.45 * share:.2f})"
    told = f"{cross.expected[i, j]:.1f} expected"
    return f'<td style="background:{colour}" title="{told}">{cross.points[i, j]:g}/{games}</td>'
