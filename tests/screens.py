"""Six screens as text, kept in `golden_screens.json`; `python tests/screens.py` writes it anew."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from screen_suite import bot_of, click, make_app, on_screen, press, status
from textual.pilot import Pilot

from ghostgo.screen import PlayApp
from ghostgo.screen_board import draw

GOLDEN = Path(__file__).with_name("golden_screens.json")


def rows_of(app: PlayApp, widget: str) -> list[str]:
    """The characters of a part of the screen, blanks at the ends of rows apart."""
    found = app.query_one(widget)
    return [strip.text.rstrip() for strip in found.render_lines(found.outer_size.region)]


def shot(app: PlayApp) -> dict[str, Any]:
    """What the screen shows: text, and how many characters of the board have which ground."""
    cells = draw(app.duel.session, app.board.layout_now, app.board.palette, app.board.view)
    grounds = Counter(cell.ground for row in cells for cell in row)
    return {
        "board": rows_of(app, "BoardView"),
        "panel": rows_of(app, "PanelView"),
        "status": status(app),
        "grounds": dict(sorted(grounds.items())),
    }


SCREENS = {
    "go9 wood": ("go9", "", "click:E5 click:D4 s"),
    "go19 dark": ("go19", "", "t click:Q16 click:D4 s"),
    "hints": ("go9", "", "h click:E5 h"),
    "dead": ("go5", "pass A1 pass pass", "click:C3 click:B2 click:C2 p p d"),
    "connect_four": ("connect_four", "4 4", "click:4 click:3 right right"),
    "hex": ("hex11", "", "click:F6 click:E7"),
}
"""Game, the bot's moves (then the first legal one) and what the person does."""


def picture(name: str) -> dict[str, Any]:
    """The screen called `name` once its steps are done."""
    game, moves, steps = SCREENS[name]
    app, shots = make_app(game, moves), []
    points = app.duel.session.game.points
    bot_of(app).expected = np.linspace(1, -1, points).astype(np.float32)
    bot_of(app).lead = 3.4 if app.duel.session.has_score else None
    if name == "dead":
        bot_of(app).expected = np.ones(points, np.float32)

    async def run(app: PlayApp, pilot: Pilot[None]) -> None:
        for step in steps.split():
            if step.startswith("click:"):
                await click(app, pilot, step.removeprefix("click:"))
            else:
                await press(app, pilot, step)
        shots.append(shot(app))

    on_screen(app, run)
    return shots[0]


if __name__ == "__main__":
    pictures = {name: picture(name) for name in SCREENS}
    GOLDEN.write_text(json.dumps(pictures, ensure_ascii=False, indent=1) + "\n")
