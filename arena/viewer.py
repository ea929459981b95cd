"""The report's board: markup, style and script around a gallery of games."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUTTONS = (
    ("start", "first position", "\u00ab"),
    ("back", "one move back", "\u2039"),
    ("on", "one move on", "\u203a"),
    ("end", "last position", "\u00bb"),
)
WITHOUT = (
    "<h2>Games</h2><p>This game's positions are not stones on points, so there is no board for them "
    "here.</p>"
)


def _note(gallery: dict[str, Any]) -> str:
    """Which games are here, and where the others are."""
    shown, left_out, illegal = len(gallery["games"]), gallery["left_out"], gallery["illegal"]
    text = f"All {shown} games are here. "
    if left_out:
        text = (
            f"{shown} of {shown + left_out + illegal} games are here, of each pairing the newest; "
            f"left out for their size are {left_out} older ones, which <code>ghostgo arena replay"
            "</code> shows. "
        )
    if illegal:
        text += f"{illegal} could not be replayed by the rules. "
    keys = (
        "The arrow keys step, a cell of the cross-table picks a pairing, and the number above the "
    )
    return f"<p>{text}{keys}board is a link to this very position.</p>"


def viewer_html(gallery: dict[str, Any] | None) -> str:
    """A section with a board and the list of games; nothing of it comes from elsewhere."""
    if gallery is None:
        return WITHOUT
    if not gallery["games"]:
        return f"<h2>Games</h2>{_note(gallery)}"
    # `<` would end the element that holds the data if a player's name said `</script>`.
    data = json.dumps(gallery, separators=(",", ":")).replace("<", "\\u003c")
    steps = [
        f'<button type="button" class="{name}" title="{title}" aria-label="{title}">{sign}</button>'
        for name, title, sign in BUTTONS
    ]
    slider = '<input type="range" class="slider" min="0" value="0" aria-label="move">'
    board = (
        f'<svg class="board" role="img" aria-label="{html.escape(gallery["game"])} board"></svg>'
    )
    picks = "".join(
        f'<select class="{name}" aria-label="{label}"></select>'
        for name, label in (("one", "player"), ("other", "opponent"))
    )
    return (
        f'<h2 id="games">Games</h2>{_note(gallery)}'
        f"<style>{(HERE / 'viewer.css').read_text(encoding='utf-8')}</style>"
        '<div class="viewer" id="viewer" tabindex="-1"><div>'
        f'<div class="top"><div class="who"></div><a class="here"></a></div>{board}'
        f'<div class="steps">{"".join(steps[:2])}{slider}{"".join(steps[2:])}</div>'
        '<p class="said" aria-live="polite"></p></div>'
        f'<div><div class="pick">{picks}</div><p class="count"></p><ol class="list"></ol></div></div>'
        f'<script type="application/json" id="games-data">{data}</script>'
        f"<script>{(HERE / 'viewer.js').read_text(encoding='utf-8')}</script>"
    )
