"""Elo against training compute: a PNG for papers, and one HTML file that needs no network."""

from __future__ import annotations

import html
import io
import itertools
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from ghostgo.arena.arm_curves import (
    AXES,
    ArmCurve,
    Axis,
    arm_curves,
    caption,
    left_edge,
    offered_axes,
)
from ghostgo.arena.report import Report

COLOURS = ("#2f6fb0", "#d1583b", "#4f9d5d", "#8a5fb3")
"""One an arm, in the order of their names; told apart in greyscale and by the colour-blind."""
LABEL_GAP = 0.033
"""Height of a label, as a share of the range of Elo shown."""
X_TITLE = AXES[0].title
Y_TITLE = "Elo"
MEAN_WIDTH, RUN_WIDTH, SEED_WIDTH, FIT_WIDTH = 2.0, 1.4, 0.7, 3.2
"""Of an arm's mean, a run without one, a seed beside one, and the dots of a monotone fit."""
LABELS = "format(datum.value, indexof(compute, 'FLOPs') < 0 ? '~s' : '~e')"
"""Powers of ten for FLOPs, else 10k."""
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
#vis.vega-embed { flex-direction: column; }
#vis .vega-bindings { margin: .3rem 0; }
.vega-bindings select { font: inherit; max-width: 100%; }
.caption { font-size: 13px; color: #888; }
.ladder { margin-bottom: 1rem; }
.ladder td:nth-child(4) { text-align: right; }
"""


def label_places(report: Report) -> list[float]:
    """Elo at which each outsider's name stands, moved so that no two names overlap."""
    shown = [row.elo for row in report.outsiders()]
    rows = [row for rows in report.curves().values() for row in rows]
    means = [curve.mean for curve in arm_curves(report, AXES[0]) if curve.mean]
    drawn = [end for row in rows for end in (row.low, row.high)]
    drawn += [float(end) for mean in means for end in (mean.low.min(), mean.high.max())]
    return spaced(shown, drawn)


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
    """Elo against FLOPs with 95 % bands, anchors as horizontal lines, as PNG bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    curves = arm_curves(report, AXES[0])
    least = left_edge(curves)
    for curve in curves:
        _draw_arm(axes, curve, _colour(report, curve), least)
    for row, place in zip(report.outsiders(), label_places(report), strict=True):
        axes.axhline(row.elo, color="0.55", linewidth=0.8, linestyle="--")
        axes.annotate(
            row.name, (1, place), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color="0.35",
        )  # fmt: skip
    if curves:
        axes.set_xscale("log")
        axes.legend(frameon=False)
        figure.supxlabel("\n".join(textwrap.wrap(caption(curves), 120)), fontsize=7, color="0.35")
    axes.set_xlabel(X_TITLE)
    axes.set_ylabel(Y_TITLE)
    axes.set_title(report.title)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_arm(axes: Any, curve: ArmCurve, colour: str, least: float) -> None:
    """One arm: bands, the mean if it has one, its seeds, and the monotone fits."""
    label: str | None = curve.label
    mean = curve.mean
    if mean:
        axes.fill_between(mean.x, mean.low, mean.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(mean.x, mean.elo, color=colour, linewidth=MEAN_WIDTH, label=label)
    for line in curve.lines:
        x = [max(spent, least) for spent in line.spent]
        elo = [row.elo for row in line.rows]
        if mean:
            axes.plot(x, elo, "o-", color=colour, markersize=3, linewidth=SEED_WIDTH)
            continue
        low, high = [row.low for row in line.rows], [row.high for row in line.rows]
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, elo, "o-", color=colour, markersize=4, linewidth=RUN_WIDTH, label=label)
        label = None  # an arm stands in the legend once
    for fitted, monotone_elo in curve.fits():
        axes.plot(
            fitted, monotone_elo, color=colour, linewidth=FIT_WIDTH,
            linestyle=(0, (0.01, 1.6)), dash_capstyle="round",
        )  # fmt: skip


def _colour(report: Report, curve: ArmCurve) -> str:
    """The arm's hue, on a ladder the paler the less search."""
    hue = COLOURS[curve.arm % len(COLOURS)]
    rung = report.rungs.index(curve.rung) if curve.rung else 0
    return _paler(hue, 1 - (rung + 1) / max(len(report.rungs), 1))


def _paler(colour: str, share: float) -> str:
    """`colour` (#rrggbb) on its way to a light grey that can be told from white and from black."""
    pale = (0xC4, 0xC4, 0xC4)
    own = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(
        f"{round(a + share * (b - a)):02x}" for a, b in zip(own, pale, strict=True)
    )


class _Values(NamedTuple):
    """What the chart's layers draw, a dictionary a point; `axis` is the title of the axis of `x`."""

    bands: list[dict[str, Any]]
    lines: list[dict[str, Any]]
    fits: list[dict[str, Any]]
    points: list[dict[str, Any]]


def _values(report: Report, axes: Sequence[Axis]) -> _Values:
    """The points of all layers on all `axes`."""
    found = _Values([], [], [], [])
    for axis in axes:
        curves = arm_curves(report, axis)
        least = left_edge(curves)
        for curve in curves:
            _add_arm(found, {"axis": axis.title, "arm": curve.label}, curve, least)
    return found


def _add_arm(found: _Values, of: dict[str, Any], curve: ArmCurve, least: float) -> None:
    """Put one arm's points on one axis into `found`, each with what it is `of`."""
    mean = curve.mean
    if mean:
        for x, elo, low, high in zip(mean.x, mean.elo, mean.low, mean.high, strict=True):
            place = {**of, "run": "mean", "x": _short(x)}
            found.bands.append({**place, "low": round(low, 1), "high": round(high, 1)})
            found.lines.append({**place, "elo": round(elo, 1), "width": MEAN_WIDTH})
    for line in curve.lines:
        for row, spent in zip(line.rows, line.spent, strict=True):
            place = {**of, "run": line.run, "x": _short(max(spent, least))}
            ends = {"low": round(row.low, 1), "high": round(row.high, 1)}
            if not mean:
                found.bands.append({**place, **ends})
            found.points.append(
                {
                    **place, **ends, "player": row.name, "elo": round(row.elo, 1),
                    "spent": _short(spent), "games": row.games,
                    "width": SEED_WIDTH if mean else RUN_WIDTH,
                }
            )  # fmt: skip
    for number, (fitted, elos) in enumerate(curve.fits()):
        found.fits.extend(
            {**of, "run": str(number), "x": _short(x), "elo": round(elo, 1)}
            for x, elo in zip(fitted, elos, strict=True)
        )


def _short(amount: float) -> float:
    """`amount` with six digits, to keep the page small."""
    return float(f"{amount:.6g}")


def _curve_layers(alt: Any, report: Report, axes: Sequence[Axis]) -> list[Any]:
    """Bands, lines, fits and points of every arm, on the axis that the parameter `compute` names."""
    values = _values(report, axes)
    if not values.points:
        return []
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        title=None,  # the chart's own title follows the parameter
        axis=alt.Axis(labelExpr=LABELS, labelOverlap="greedy", labelSeparation=6),
    )
    shown = {curve.label: _colour(report, curve) for curve in arm_curves(report, axes[0])}
    scale = alt.Scale(domain=list(shown), range=list(shown.values()))
    legend = alt.Legend(
        orient="top", columns=2, title=None, symbolOpacity=1, symbolType="circle"
    )  # two columns fit on a telephone

    def layer(points: list[dict[str, Any]]) -> Any:
        chart = alt.Chart(alt.InlineData(values=points)).transform_filter("datum.axis === compute")
        return chart.encode(
            x=x, color=alt.Color("arm:N", scale=scale, legend=legend), detail="run:N"
        )

    elo = alt.Y("elo:Q", title=Y_TITLE)
    width = alt.StrokeWidth("width:Q", scale=None)
    layers = [
        layer(values.bands).mark_area(opacity=0.18).encode(
            y=alt.Y("low:Q", title=Y_TITLE), y2="high:Q"
        ),
        layer(values.points).mark_line().encode(y=elo, strokeWidth=width),
    ]  # fmt: skip
    if values.lines:
        layers.append(layer(values.lines).mark_line().encode(y=elo, strokeWidth=width))
    if values.fits:
        layers.append(
            layer(values.fits)
            .mark_line(strokeDash=[0.1, 6], strokeCap="round", strokeWidth=FIT_WIDTH)
            .encode(y=elo)
        )
    layers.append(
        layer(values.points).mark_circle(size=45, opacity=1).encode(y=elo, tooltip=_tips(alt))
    )
    return layers


def _tips(alt: Any) -> list[Any]:
    """What a checkpoint's point tells when it is pointed at."""
    return [
        alt.Tooltip("player:N"),
        alt.Tooltip("elo:Q", format=".0f"),
        alt.Tooltip("low:Q", format=".0f"),
        alt.Tooltip("high:Q", format=".0f"),
        alt.Tooltip("games:Q"),
        alt.Tooltip("spent:Q", format=".4~s"),
        alt.Tooltip("axis:N", title="of"),
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
    """The same plot as an interactive chart, with a choice of what compute is counted in."""
    import altair as alt

    axes = offered_axes(report)
    curves = _curve_layers(alt, report, axes)
    chart = alt.layer(*curves, *_anchor_layers(alt, report)).properties(
        width="container", height=420, padding=5
    )
    if curves:
        titles = [axis.title for axis in axes]
        choice = alt.binding_select(options=titles, name="against ") if axes[1:] else alt.Undefined
        chart = chart.add_params(alt.param(name="compute", value=titles[0], bind=choice))
        below = alt.TitleParams(
            text=alt.ExprRef("compute"), orient="bottom", fontSize=11, color="#888"
        )
        chart = chart.properties(title=below)
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
    every = [curve for axis in offered_axes(report) for curve in arm_curves(report, axis)]
    said = f'<p class="caption">{html.escape(caption(every))}</p>' if every else ""
    return f"{before}<body><h1>{title}</h1>{inside}{said}{table}{notes}{more}</body>{end}"
