"""What the networks of the runs knew of fresh games, in bits, against the compute they had spent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ghostgo.arena.pool import CurvePoint

ORDER = (
    "outcome", "score", "distribution", "ownership", "policy", "reply", "short", "search",
)  # fmt: skip
ABOUT = (
    "Bits of each new game that the network knew before it trained on it: by how much its forecast "
    "of the target beats the target\u2019s frequencies. The outcome is worth at most about one bit a "
    "game, ownership one a point; the short-horizon value is that of one position. \u201cSearch\u201d is what the search added to the "
    "network\u2019s own policy."
)


def _measured(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points that have bits, each checkpoint of a run once, oldest first."""
    found = {(point.run, point.step): point for point in points if point.bits.get("game")}
    return [found[key] for key in sorted(found)]


def bits_csv(points: Sequence[CurvePoint]) -> str:
    """A line for each checkpoint and head: run, step, flops, head, bits a game, bits a PFLOP."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "step", "flops", "head", "bits_per_game", "bits_per_pflop"])
    for point in _measured(points):
        for head in ORDER:
            if head in point.bits["game"]:
                both = (point.bits["game"][head], point.bits.get("pflop", {}).get(head, 0.0))
                spent = f"{point.totals.flops:.6g}"
                writer.writerow([point.run, point.step, spent, head, *(f"{b:.6g}" for b in both)])
    return text.getvalue()


UNITS = (("bits", "bits a game", ".3~g"), ("pflop", "bits a PFLOP", ".3~s"))


def _values(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """A row for each checkpoint and head."""
    return [
        {
            "run": point.run, "step": point.step, "flops": point.totals.flops, "head": head,
            "bits": round(bits, 4), "pflop": point.bits.get("pflop", {}).get(head),
        }
        for point in points
        for head, bits in point.bits["game"].items()
    ]  # fmt: skip


def _chart(values: Sequence[dict[str, Any]], unit: tuple[str, str, str]) -> Any:
    """Small charts side by side, one a head, a line a run, of the `unit` (field, title, format)."""
    import altair as alt

    from ghostgo.arena.plots import COLOURS, X_TITLE, themed

    field, title, form = unit
    runs = sorted({value["run"] for value in values})
    heads = [head for head in ORDER if any(value["head"] == head for value in values)]
    scale = alt.Scale(domain=runs, range=[COLOURS[i % len(COLOURS)] for i in range(len(runs))])
    charts = [
        alt.Chart(
            alt.InlineData(values=[value for value in values if value["head"] == head]),
            title=alt.TitleParams(head, color="#888", fontSize=12),
        )
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "flops:Q", title=X_TITLE, scale=alt.Scale(type="log", nice=False, padding=8),
                axis=alt.Axis(format="~e", labelOverlap="greedy", labelSeparation=6),
            ),
            y=alt.Y(f"{field}:Q", title=title, axis=alt.Axis(format=form)),
            color=alt.Color("run:N", scale=scale, legend=alt.Legend(title=None, orient="top")),
            tooltip=[
                alt.Tooltip("run:N"), alt.Tooltip("step:Q"),
                *(alt.Tooltip(f"{name}:Q", format=form, title=said) for name, said, form in UNITS),
            ],
        )
        .properties(width=260, height=160)
        for head in heads
    ]  # fmt: skip
    return themed(alt.concat(*charts, columns=3))


def bits_html(points: Sequence[CurvePoint]) -> str:
    """A heading, what is shown, and the charts, a game and a PFLOP; nothing where nobody measured."""
    values = _values(_measured(points))
    if not values:
        return ""
    text = f"<h2>Bits</h2><p>{ABOUT}</p>"
    for unit in UNITS:
        field, title, _ = unit
        shown = [value for value in values if value[field] is not None]
        if not shown:
            continue
        spec = json.dumps(_chart(shown, unit).to_dict()).replace("<", "\\u003c")
        text += (
            f"<h3>B{title[1:]}</h3>"
            f'<div class="scroll"><div id="chart-{field}" class="chart"></div></div>'
            f"<script>vegaEmbed('#chart-{field}', {spec}, {{actions: false}})"
            ".catch(console.error);</script>"
        )
    return text
