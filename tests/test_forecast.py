"""Whose the points will be: the network's forecast, and the full screen that shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from screen_suite import bot_of, make_app, on_screen, press, status
from textual.pilot import Pilot

from ghostgo.bot import SearchBot
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.opponents import make_bot
from ghostgo.screen import PlayApp
from ghostgo.screen_board import PALETTES, View, draw, stone_colors
from ghostgo.screen_layout import fit
from ghostgo.session import Session

EXPECTED = np.linspace(1, -1, 25).astype(np.float32)


def test_the_network_knows_a_settled_board() -> None:
    """Black holds the left five columns, White the right four, whoever is to move."""
    bot = make_bot("go9", None, 4, 1, Path("nowhere"))
    assert isinstance(bot, SearchBot)
    game, states = bot.game, bot.game.new_states(1)
    for row in range(1, 10):
        for column in ("E", "F"):
            play_one(states[0], game.parse_action(f"{column}{row}"))
    found = bot.ownership(states)
    assert found is not None and found.shape == (81,) and np.abs(found).max() <= 1
    board = found.reshape(9, 9)
    assert board[:, :4].mean() > 0.5 and board[:, 6:].mean() < -0.5
    play_one(states[0], game.points)  # now White is to move
    other = bot.ownership(states)
    assert other is not None
    assert other.reshape(9, 9)[:, :4].mean() > 0.1 and other.reshape(9, 9)[:, 6:].mean() < -0.1


def test_on_another_board_the_network_judges_as_it_was_trained() -> None:
    """Batch norm must use what it has learnt, not this position's own statistics."""
    bot = make_bot("go9", None, 4, 1, Path("nowhere")).bind(get_game("go5"))
    states = bot.game.new_states(1)
    found = [bot.ownership(states) for _ in range(2)]
    assert found[0] is not None and found[1] is not None
    np.testing.assert_array_equal(found[0], found[1])
    play_one(states[0], 24)
    bot.ownership(states)
    np.testing.assert_array_equal(bot.ownership(bot.game.new_states(1)), found[0])


@pytest.mark.parametrize("name", ["random", "mcts:10", "capture", "connect_four"])
def test_the_others_have_no_idea(name: str) -> None:
    bot = make_bot(name, None, None, 1, Path("nowhere"))
    assert bot.ownership(bot.game.new_states(1)) is None


@pytest.mark.parametrize("theme", sorted(PALETTES))
@pytest.mark.parametrize("size", [(0, 0), (200, 60)])
def test_points_are_tinted_by_their_owner(theme: str, size: tuple[int, int]) -> None:
    session = Session(get_game("go5"))
    layout, palette = fit(session.game, *size), PALETTES[theme]
    plain = draw(session, layout, palette, View())
    shown = draw(session, layout, palette, View(forecast=EXPECTED))

    def light(ground: str) -> int:
        return int(ground[1:3], 16) + int(ground[3:5], 16) + int(ground[5:7], 16)

    def change(point: int) -> int:
        x, y = layout.character(point)
        return light(shown[y][x].ground) - light(plain[y][x].ground)

    assert stone_colors(session) == ("#101010", "#f7f4ea")
    assert change(0) < change(5) < 0 < change(20) < change(24), "the surer the more"
    assert change(12) == 0, "nobody's"
    assert [[cell.text for cell in row] for row in shown] == [
        [cell.text for cell in row] for row in plain
    ]


def test_the_key_shows_and_hides_it() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "o")
        assert status(app) == "first has no idea whose the points will be"
        assert app.board.view.forecast is None
        bot_of(app).expected = EXPECTED
        await press(app, pilot, "enter")
        await press(app, pilot, "o")
        assert status(app).endswith("o hides it.")
        assert app.board.view.forecast is EXPECTED
        await press(app, pilot, "o")
        assert app.board.view.forecast is None

    on_screen(make_app("go5"), steps)


def test_an_ended_game_is_counted_and_not_forecast() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        bot_of(app).expected = EXPECTED
        await press(app, pilot, "o")
        assert app.board.view.forecast is not None
        app.duel.session.play(25)
        app.duel.session.play(25)
        app._go_on()
        assert app.board.view.forecast is None and app.board.view.owners is not None

    on_screen(make_app("go5"), steps)
