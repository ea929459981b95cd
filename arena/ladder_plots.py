"""The ladder as pictures: Elo against FLOPs a move, a line a checkpoint; and the same turned round."""

from __future__ import annotations

import html
import io
import json
from typing import Any

from ghostgo.arena.ladder import Ladder, Step, cell_text, head_text
from ghostgo.arena.plots import X_TITLE, Y_TITLE, spaced, themed

RAMP = ("#3f74c0", "#8a5fb3", "#d1583b", "#dba032")
"""From little to much; each can be seen on white and on black."""
DASHES = ((1, 0), (6, 3), (2, 2), (8, 2, 2, 2))
"""One a run."""
TEST_TITLE = "FLOPs a move"
NAME_GAP = 0.05
"""Height of a checkpoint's name, as a share of the range of Elo shown."""


def _least(ladder: Ladder) -> float:
    """Where a checkpoint that cost nothing stands on a logarithmic scale."""
    spent = [step.train_flops for step in ladder.steps if step.train_flops]
    return min(spent) / 2 if spent else 1.0


def _lines(ladder: Ladder) -> list[tuple[int, list[Step]]]:
    """Each checkpoint's steps up the ladder, with its run's number; cheapest search first."""
    found = []
    for number, rows in enumerate(ladder.by_run().values()):
        for row in rows.values():
            found.append((number, sorted(row.values(), key=lambda step: step.move_flops)))
    return found


def draw_ladder(ladder: Ladder) -> bytes:
    """PNG bytes: on the left a line a rung against training, on the right a line a checkpoint."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    least, ramp = _least(ladder), LinearSegmentedColormap.from_list("ramp", RAMP)
    shades = [ramp(i / max(len(ladder.rungs) - 1, 1)) for i in range(len(ladder.rungs))]
    for number, (run, rows) in enumerate(ladder.by_run().items()):
        style = _style(number)
        for shade, rung in zip(shades, ladder.rungs, strict=True):
            steps = [row[rung] for row in rows.values() if rung in row]
            x = [max(step.train_flops, least) for step in steps]
            _draw(left, x, steps, shade, style, f"{run}, {rung}")
    norm = LogNorm(least, max([least * 1.01, *(step.train_flops for step in ladder.steps)]))
    for number, steps in _lines(ladder):
        shade = ramp(norm(max(steps[0].train_flops, least)))
        _draw(right, [step.move_flops for step in steps], steps, shade, _style(number), None)
    figure.legend(loc="outside upper center", ncols=len(ladder.rungs), frameon=False, fontsize=8)
    bar = figure.colorbar(_scale(norm, ramp), ax=right)
    bar.set_label(X_TITLE)
    for axes, title in ((left, X_TITLE), (right, TEST_TITLE)):
        axes.set(xscale="log", xlabel=title)
        axes.tick_params(axis="x", which="both", labelsize=6.5)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    left.set_ylabel(Y_TITLE)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _scale(norm: Any, ramp: Any) -> Any:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm, ramp)


def _style(number: int) -> Any:
    dash = DASHES[number % len(DASHES)]
    return "-" if dash == DASHES[0] else (0, dash)


def _draw(axes: Any, x: list[float], steps: list[Step], shade: Any, style: Any, label: Any) -> None:
    """One line with its 95 % intervals."""
    elo = [step.elo for step in steps]
    ends = [[s.elo - s.low for s in steps], [s.high - s.elo for s in steps]]
    axes.errorbar(
        x, elo, ends, color=shade, linestyle=style, label=label, marker="o", markersize=4,
        elinewidth=0.8, linewidth=1.4,
    )  # fmt: skip


def _chart(ladder: Ladder) -> Any:
    """Elo against FLOPs a move, interactive; colour is what training cost, dashes tell runs."""
    import altair as alt

    least = _least(ladder)
    points = [
        {
            "player": step.point.name, "run": step.point.run, "number": step.point.step,
            "move": step.move_flops, "train": max(step.train_flops, least),
            "spent": step.train_flops, "visits": step.visits, "elo": round(step.elo, 1),
            "low": round(step.low, 1), "high": round(step.high, 1), "games": step.games,
        }
        for step in ladder.steps
    ]  # fmt: skip
    runs = list(ladder.by_run())
    dashes = alt.Scale(domain=runs, range=[list(DASHES[i % len(DASHES)]) for i in range(len(runs))])
    colour = alt.Color(
        "train:Q", scale=alt.Scale(type="log", range=list(RAMP)), legend=None
    )  # the names at the lines' ends tell more than a legend
    tips = [
        alt.Tooltip("player:N"),
        *(alt.Tooltip(f"{name}:Q", format=".0f") for name in ("elo", "low", "high")),
        alt.Tooltip("games:Q"),
        alt.Tooltip("visits:Q"),
        alt.Tooltip("move:Q", format=".3~e", title=TEST_TITLE),
        alt.Tooltip("spent:Q", format=".3~e", title=X_TITLE),
    ]
    axis = alt.Axis(format="~e", labelOverlap="greedy")
    scale = alt.Scale(type="log", nice=False, padding=12)
    base = alt.Chart(alt.InlineData(values=points)).encode(
        x=alt.X("move:Q", scale=scale, title=TEST_TITLE, axis=axis),
        color=colour,
        detail=["run:N", "number:O"],
    )
    several = alt.Legend(title=None, orient="top") if len(runs) > 1 else None
    line = base.mark_line().encode(
        y=alt.Y("elo:Q", title=Y_TITLE),
        strokeDash=alt.StrokeDash("run:N", scale=dashes, legend=several),
    )
    bars = base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q", title=Y_TITLE), y2="high:Q")
    dots = base.mark_circle(size=60, opacity=1).encode(y="elo:Q", tooltip=tips)
    chart = alt.layer(line, bars, dots, _end_names(alt, ladder)).properties(
        width="container", height=360, padding=5
    )
    return themed(chart.resolve_scale(strokeDash="independent"))


def _end_names(alt: Any, ladder: Ladder) -> Any:
    """Each checkpoint's name beside the end of its line."""
    ends = [steps[-1] for _, steps in _lines(ladder)]
    drawn = [end for step in ladder.steps for end in (step.low, step.high)]
    places = spaced([end.elo for end in ends], drawn, NAME_GAP)
    names = [
        {"name": f"{end.point.run}@{end.point.step}", "place": round(place, 1)}
        for end, place in zip(ends, places, strict=True)
    ]
    return (
        alt.Chart(alt.InlineData(values=names))
        .mark_text(align="left", dx=4, color="#888")
        .encode(x=alt.value("width"), y=alt.Y("place:Q", title=Y_TITLE), text=alt.Text("name:N"))
    )


def _table(ladder: Ladder) -> str:
    """The table of each run: training down, search across."""
    blocks = []
    for run, rows in ladder.by_run().items():
        every = [step for row in rows.values() for step in row.values()]
        heads = [head_text(rung, every) for rung in ladder.rungs]
        top = "".join(f"<th>{html.escape(a)}<br>{b}</th>" for a, b in heads)
        lines = [f"<tr><th>checkpoint</th><th>FLOPs spent</th>{top}</tr>"]
        for number, row in rows.items():
            spent = next(iter(row.values())).train_flops
            cells = "".join(f"<td>{cell_text(row.get(rung))}</td>" for rung in ladder.rungs)
            name = html.escape(f"{run}@{number}")
            shown = f"{spent:.2e}" if spent else "0"
            lines.append(f"<tr><td>{name}</td><td>{shown}</td>{cells}</tr>")
        blocks.append('<table class="ladder">' + "\n".join(lines) + "</table>")
    return f'<div class="scroll">{"".join(blocks)}</div>'


def ladder_html(ladder: Ladder) -> str:
    """Chart, tables and what they come to; vega-embed is taken from the page around it."""
    spec = json.dumps(_chart(ladder).to_dict()).replace("<", "\\u003c")
    said = "".join(f"<p>{html.escape(trade.sentence())}</p>" for trade in ladder.trades)
    return (
        '<h2>Training and search</h2><div id="ladder" class="chart"></div>'
        f"<script>vegaEmbed('#ladder', {spec}, {{actions: false}}).catch(console.error);</script>"
        f"{_table(ladder)}{said}"
    )
