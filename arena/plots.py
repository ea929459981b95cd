"""Elo against training compute: a PNG for papers, and one HTML file that needs no network."""

from __future__ import annotations

import html
import io
import itertools
from collections.abc import Sequence
from typing import Any

from ghostgo.arena.report import Report, Row

COLOURS = ("#2f6fb0", "#d1583b", "#4f9d5d", "#8a5fb3")
"""One a run, in the order of their names; told apart in greyscale and by the colour-blind."""
LABEL_GAP = 0.033
"""Height of a label, as a share of the range of Elo shown."""
X_TITLE = "FLOPs spent"
Y_TITLE = "Elo"
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 66rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td:nth-child(4) { text-align: left; }
tr { border-bottom: 1px solid #8884; }
.cross td, .cross th { padding: .1rem .4rem; text-align: center; }
#vis, .chart { width: 100%; }
.ladder { margin-bottom: 1rem; }
.ladder td:nth-child(4) { text-align: right; }
"""


def compute_of(row: Row, least: float) -> float:
    """The row's place on the log axis; nothing spent stands at `least`."""
    return max(row.flops or 0.0, least)


def least_compute(report: Report) -> float:
    """Left edge of the axis: half of the smallest amount above zero that a run spent."""
    spent = [row.flops for rows in report.curves().values() for row in rows if row.flops]
    return min(spent) / 2 if spent else 1.0


def label_places(report: Report) -> list[float]:
    """Elo at which each outsider's name stands, moved so that no two names overlap."""
    shown = [row.elo for row in report.outsiders()]
    curves = [row for rows in report.curves().values() for row in rows]
    return spaced(shown, [row.low for row in curves] + [row.high for row in curves])


def spaced(
    labels: Sequence[float], others: Sequence[float], share: float = LABEL_GAP
) -> list[float]:
    """Heights of names wanted at `labels`, moved up where two would overlap.

    `others` is drawn too; a name takes a `share` of the range of all.
    """
    every = [*labels, *others]
    gap = share * (max(every) - min(every)) if every else 0.0
    places = list(labels)
    for a, b in itertools.pairwise(sorted(range(len(labels)), key=lambda i: labels[i])):
        places[b] = max(places[b], places[a] + gap)
    return places


def draw_png(report: Report) -> bytes:
    """The curves with 95 % bands, anchors as horizontal lines, as PNG bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    least = least_compute(report)
    for colour, (run, rows) in zip(_colours(report), report.curves().items(), strict=True):
        x = [compute_of(row, least) for row in rows]
        axes.fill_between(
            x, [row.low for row in rows], [row.high for row in rows],
            color=colour, alpha=0.18, linewidth=0,
        )  # fmt: skip
        axes.plot(x, [row.elo for row in rows], "o-", color=colour, label=run, markersize=4)
    for row, place in zip(report.outsiders(), label_places(report), strict=True):
        axes.axhline(row.elo, color="0.55", linewidth=0.8, linestyle="--")
        axes.annotate(
            row.name, (1, place), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color="0.35",
        )  # fmt: skip
    if report.curves():
        axes.set_xscale("log")
        axes.legend(frameon=False)
    axes.set_xlabel(X_TITLE)
    axes.set_ylabel(Y_TITLE)
    axes.set_title(report.title)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _colours(report: Report) -> list[str]:
    """One a curve: the run's hue, on a ladder the paler the less search."""
    found = []
    runs: dict[str, int] = {}
    for rows in report.curves().values():
        point = rows[0].point
        assert point is not None
        hue = COLOURS[runs.setdefault(point.run, len(runs)) % len(COLOURS)]
        rung = report.rungs.index(point.rung) if point.rung else 0
        found.append(_paler(hue, 1 - (rung + 1) / max(len(report.rungs), 1)))
    return found


def _paler(colour: str, share: float) -> str:
    """`colour` (#rrggbb) on its way to a light grey that can be told from white and from black."""
    pale = (0xC4, 0xC4, 0xC4)
    own = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(
        f"{round(a + share * (b - a)):02x}" for a, b in zip(own, pale, strict=True)
    )


def _curve_layers(alt: Any, report: Report) -> list[Any]:
    """Band, line and points of every run."""
    least = least_compute(report)
    points = [
        {
            "player": row.name,
            "run": run,
            "flops": compute_of(row, least),
            "spent": row.flops,
            "elo": round(row.elo, 1),
            "low": round(row.low, 1),
            "high": round(row.high, 1),
            "games": row.games,
        }
        for run, rows in report.curves().items()
        for row in rows
    ]
    if not points:
        return []
    x = alt.X(
        "flops:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        title=X_TITLE,
        axis=alt.Axis(format="~e", labelOverlap="greedy"),
    )
    scale = alt.Scale(domain=list(report.curves()), range=_colours(report))
    legend = alt.Legend(
        orient="top", columns=2, title=None, symbolOpacity=1, symbolType="circle"
    )  # two columns fit on a telephone
    tips = [
        alt.Tooltip("player:N"),
        alt.Tooltip("elo:Q", format=".0f"),
        alt.Tooltip("low:Q", format=".0f"),
        alt.Tooltip("high:Q", format=".0f"),
        alt.Tooltip("games:Q"),
        alt.Tooltip("spent:Q", format=".3~e", title="FLOPs spent"),
    ]
    base = alt.Chart(alt.InlineData(values=points)).encode(
        x=x, color=alt.Color("run:N", scale=scale, legend=legend)
    )
    return [
        base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=Y_TITLE), y2="high:Q"),
        base.mark_line().encode(y="elo:Q"),
        base.mark_circle(size=60).encode(y="elo:Q", tooltip=tips),
    ]


def _anchor_layers(alt: Any, report: Report) -> list[Any]:
    """A dashed line and a name for every player that is no run's."""
    anchors = [
        {
            "player": row.name,
            "elo": round(row.elo, 1),
            "place": round(place, 1),
            "interval": row.interval or "fixed",
        }
        for row, place in zip(report.outsiders(), label_places(report), strict=True)
    ]
    if not anchors:
        return []
    fixed = alt.Chart(alt.InlineData(values=anchors)).encode(
        y=alt.Y("elo:Q", title=Y_TITLE),
        tooltip=[alt.Tooltip("player:N"), alt.Tooltip("elo:Q"), alt.Tooltip("interval:N")],
    )
    return [
        fixed.mark_rule(strokeDash=[5, 4], color="#888"),
        fixed.mark_text(align="left", dx=4, color="#888").encode(
            x=alt.value("width"), y=alt.Y("place:Q", title=Y_TITLE), text="player:N"
        ),
    ]


def make_chart(report: Report) -> Any:
    """The same plot as an interactive chart."""
    import altair as alt

    chart = alt.layer(*_curve_layers(alt, report), *_anchor_layers(alt, report)).properties(
        width="container", height=420, padding=5
    )
    return themed(chart)


def themed(chart: Any) -> Any:
    """`chart` in colours that can be read on white and on black."""
    return chart.configure(background="transparent").configure_axis(
        labelColor="#888", titleColor="#888", gridColor="#8883", domainColor="#888",
        tickColor="#888",
    ).configure_legend(labelColor="#888", titleColor="#888").configure_view(stroke=None)  # fmt: skip


def _table(report: Report) -> str:
    heads = (
        "player", "Elo", "95 % interval", "", "games", "score", "visits", "FLOPs spent",
        "FLOPs a move", "seconds a move",
    )  # fmt: skip
    lines = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for row in report.rows:
        cells = (
            html.escape(row.name),
            row.rating,
            row.interval,
            row.mark,
            str(row.games),
            f"{row.score:.0%}",
            "" if row.visits is None else str(row.visits),
            row.spent,
            f"{row.move_flops:.2e}" if row.move_flops else "",
            f"{row.seconds:.4f}",
        )
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def make_html(report: Report, more: str = "") -> str:
    """One page with chart, table, notes and `more` HTML; its scripts are inside it."""
    page: str = make_chart(report).to_html(inline=True, embed_options={"actions": False})
    title = html.escape(f"ghostgo arena, {report.title}")
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
    head = (
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style>"
    )
    page = page.replace("<head>", f"<head>{head}", 1)
    # The inlined libraries hold `<body>` in strings of their own; the page's comes last.
    before, after = page.rsplit("<body>", 1)
    inside, end = after.rsplit("</body>", 1)
    table = f'<div class="scroll">{_table(report)}</div>'
    return f"{before}<body><h1>{title}</h1>{inside}{table}{notes}{more}</body>{end}"
