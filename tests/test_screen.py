"""The full screen, played by keys and mouse without a terminal."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from screen_suite import (
    GAMES,
    SECONDS,
    FirstLegal,
    bot_of,
    click,
    make_app,
    on_screen,
    played,
    press,
    settle,
    status,
)
from textual.pilot import Pilot
from textual.widgets._toast import Toast

from ghostgo import screen, terminal, thinker
from ghostgo.duel import Duel
from ghostgo.engine.games.registry import get_game
from ghostgo.opponents import make_bot
from ghostgo.saved import Keeper
from ghostgo.screen import PlayApp, Told
from ghostgo.screen_panel import panel, swing
from ghostgo.screen_widgets import Question
from ghostgo.session import Session
from ghostgo.thinker import Thinker, Thought

# ---- a game


def test_a_whole_game_by_keyboard() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "enter")
        assert played(app) == ["B2", "A3"] and status(app) == "O plays A3."
        await press(app, pilot, "up right enter down down down left left left space")
        assert played(app) == ["B2", "A3", "C3", "B3", "A1"], "the cursor stays on the board"
        assert app.duel.session.winner() == 0
        assert status(app).startswith("X wins: well played.")
        await press(app, pilot, "enter")
        assert status(app) == "Illegal: the game is over; u takes moves back."
        await press(app, pilot, "q")
        assert not app.is_running

    on_screen(make_app(), steps)


def test_the_mouse_plays_and_illegal_moves_are_explained() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await click(app, pilot, "C3")
        assert played(app) == ["C3", "A5"]
        for move in ("C3", "A5"):
            await click(app, pilot, move)
            assert status(app) == f"Illegal: {move} is taken."
            assert app.query_one("#status").has_class("wrong")
        assert played(app) == ["C3", "A5"]
        await press(app, pilot, "p")
        assert played(app)[2:] == ["pass", "B5"] and not app.query_one("#status").has_class("wrong")

    on_screen(make_app("go5"), steps)


@pytest.mark.parametrize(
    ("before", "move", "reason"),
    [
        ("D4 C4 E3 B3 D2 C2 C3 D3", "C3", "would repeat an earlier position (positional ko rule)"),
        ("E5 A2 E4 B1", "A1", "would be suicide"),
    ],
)
def test_ko_and_suicide_are_named(before: str, move: str, reason: str) -> None:
    app = make_app("go5")
    session = app.duel.session
    for name in before.split():
        session.play(session.game.parse_action(name))

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await click(app, pilot, move)
        assert status(app) == f"Illegal: {move} {reason}."
        assert len(session.moves) == len(before.split())

    on_screen(app, steps)


def test_undo_takes_back_the_answer_and_drops_one_that_is_on_its_way() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "u")
        assert status(app) == "there is no move of yours to take back"
        await click(app, pilot, "C3")
        await press(app, pilot, "u")
        assert played(app) == [] and status(app) == "Taken back: C3, A5."
        bot.asked.clear()
        bot.go = threading.Event()
        await pilot.click(app.board, offset=app.board.layout_now.character(7))
        assert await asyncio.to_thread(bot.asked.wait, SECONDS)
        await pilot.press("enter")
        assert status(app) == "Illegal: it is White's turn."
        await press(app, pilot, "u")
        bot.go.set()
        await asyncio.sleep(0.1)
        await settle(app, pilot)
        assert played(app) == [], "the answer came after the move had been taken back"
        await click(app, pilot, "C3")
        assert played(app) == ["C3", "A5"]

    app = make_app("go5")
    bot = bot_of(app)
    on_screen(app, steps)


def test_resigning_asks_first_and_can_be_taken_back() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "enter r")
        assert isinstance(app.screen, Question)
        await press(app, pilot, "n")
        assert not app.duel.session.over and not isinstance(app.screen, Question)
        await press(app, pilot, "r y")
        assert app.duel.session.over and app.duel.session.result() == "W+R"
        assert status(app).startswith("White wins by resignation (W+R).")
        await press(app, pilot, "u")
        assert not app.duel.session.over and status(app) == "Taken back: the resignation."

    on_screen(make_app("go5"), steps)


def test_two_passes_end_the_game_with_a_count_and_whose_the_points_are() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "enter s")
        assert app.board.view.owners is not None
        assert "If it ended now: Black 25" in shown_beside(app)
        await press(app, pilot, "s")
        assert app.board.view.owners is None and "If it ended now" not in shown_beside(app)
        await press(app, pilot, "p")
        assert app.duel.session.over and status(app).startswith("Black wins: well played (B+24.5).")
        assert "Black 25, White 0 and komi 0.5: Black is ahead by 24.5" in shown_beside(app)
        assert "dead stones count as alive" in shown_beside(app)
        assert (app.board.view.owners == 1).all()

    on_screen(make_app("go5", "pass pass"), steps)


def shown_beside(app: PlayApp) -> str:
    lines, _ = panel(app.duel, app.notes, app.board.palette, 30, 40)
    return re.sub(r"\s+", " ", " ".join("".join(text for text, _ in line) for line in lines))


def test_hints_show_moves_visits_and_lines_and_hide_again() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "h")
        assert app.board.view.hints == {1: 0, 2: 1}
        assert "1 A5 30 75% A5 B5 2 B5 2 50%" in shown_beside(app)
        assert "You win 70%, says first" in shown_beside(app) and app.notes.rates == {0: 0.7}
        await press(app, pilot, "h")
        assert app.board.view.hints == {} and "A5" not in shown_beside(app)
        await pilot.press("h", "h")
        await settle(app, pilot)
        assert app.board.view.hints == {}, "the second press takes the first one back"
        await press(app, pilot, "h enter")
        assert app.board.view.hints == {}, "hints are of the position before"
        await press(app, pilot, "h")
        assert sorted(app.notes.rates) == [0, 2]
        await press(app, pilot, "u")
        assert sorted(app.notes.rates) == [0]

    on_screen(make_app("go5"), steps)


@pytest.mark.parametrize("human", [0, 1])
def test_points_expected_are_shown_and_dropped(human: int) -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "h")
        ply = len(app.duel.session.moves)
        assert app.notes.leads == {ply: pytest.approx(-3.4 if human else 3.4)}
        assert "B+3.4 expected" in shown_beside(app)
        await press(app, pilot, "s")
        assert "first: B+3.4 expected: Black 25, White 0, 0 open." in shown_beside(app)
        await press(app, pilot, "s")
        assert "25, White 0, 0 open" not in shown_beside(app)
        lines, _ = panel(app.duel, app.notes, app.board.palette, 26, 22)
        assert len(lines) <= 22 and any("$panel on $accent" in line[0][1] for line in lines if line)
        short, _ = panel(app.duel, app.notes, app.board.palette, 26, 14)
        assert not any("$panel on $accent" in line[0][1] for line in short if line)
        await click(app, pilot, "C3")
        await press(app, pilot, "h")
        assert len(app.notes.leads) == 2
        await press(app, pilot, "u")
        assert list(app.notes.leads) == [ply]

    app = make_app("go5", human=human)
    bot_of(app).lead, bot_of(app).expected = 3.4, np.ones(25, np.float32)
    on_screen(app, steps)


def test_a_graph_of_points_hangs_from_its_middle() -> None:
    assert swing([5.0, -5.0, 0.0, 2.5]) == ("█  ▄", "█ ██")
    assert swing([40.0, -20.0]) == ("█ ", "█▄"), "the largest fills its half"
    assert swing([0.1]) == (" ", "█"), "little is little"


def test_a_key_writes_the_game_and_says_where(tmp_path: Path) -> None:
    app = make_app("go5")
    app.duel.keep = Keeper(app.duel, tmp_path).write

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "w")
        assert status(app) == "nothing has been played that could be saved"
        await press(app, pilot, "enter w")
        (path,) = tmp_path.iterdir()
        assert status(app) == f"saved: {path}"

    on_screen(app, steps)


def test_a_bot_without_an_opinion_says_so() -> None:
    app = make_app("go5")
    bot = bot_of(app)
    bot.opinion = False

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "h")
        assert status(app) == "first has no opinion" and app.notes.hints is None
        await press(app, pilot, "enter")
        assert played(app) == ["C3", "A5"]

    on_screen(app, steps)


def test_the_bot_begins_and_columns_are_columns() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        assert played(app) == ["4"] and status(app) == "Red plays 4."
        await press(app, pilot, "right")
        assert app.board.view.cursor == 5 * 7 + 4, "the lowest free place of the column"
        await click(app, pilot, "4")
        assert played(app) == ["4", "4", "1"]
        await press(app, pilot, "p")
        assert status(app) == "Illegal: 'pass' is not a column: 1 to 7."
        await press(app, pilot, "s")
        assert status(app) == "connect_four has no points; the end decides"

    on_screen(make_app("connect_four", "4 1", human=1), steps)


def test_a_forced_pass_is_announced() -> None:
    game = get_game("othello")
    session = Session(game)
    rng = np.random.default_rng(0)
    for _ in range(100):  # until the person has nothing but a pass after the bot's move
        session = Session(game)
        while not session.over:
            if session.to_play == 0 and session.game.legal_actions(session.state).tolist() == [64]:
                break
            session.play(int(rng.choice(game.legal_actions(session.state))))
        if not session.over:
            break
    last = session.game.action_name(session.moves[-1][1])
    session.undo()

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        assert status(app) == f"White plays {last}. You have no other move than to pass: p."
        await press(app, pilot, "p")
        assert "pass" in played(app)

    on_screen(PlayApp(Duel(session, FirstLegal(game, last), 0)), steps)


# ---- the window


@pytest.mark.parametrize("name", GAMES)
def test_every_board_fits_into_80x24_beside_a_panel(name: str) -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        layout, region = app.board.layout_now, app.board.region
        assert (region.width, region.height) == (layout.width, layout.height)
        assert app.query_one("#body").region.contains_region(region)
        assert app.screen.region.contains_region(region)
        assert app.query_one("PanelView").region.width >= 26
        rows = [str(strip.text) for strip in app.board.render_lines(app.board.size.region)]
        assert len(rows) == layout.height and {len(row) for row in rows} == {layout.width}

    on_screen(make_app(name), steps)


def test_the_board_grows_with_the_window_and_says_when_it_is_too_small() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        assert app.board.layout_now.scale == 2
        await pilot.resize_terminal(140, 50)
        await pilot.pause()
        assert app.board.layout_now.scale == 4
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert app.board.layout_now.scale == 1
        assert status(app) == "this board needs a window of 51x13 characters"

    on_screen(make_app("go9"), steps)


def test_the_theme_changes_board_and_screen_and_back() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        seen = []
        for _ in range(3):
            seen.append((app.theme, app.board.palette.board, app.screen.styles.background.hex))
            await press(app, pilot, "t")
        assert [theme for theme, _, _ in seen] == ["wood", "dark", "wood"]
        assert seen[0] == seen[2] and len({board for _, board, _ in seen}) == 2
        assert len({background for _, _, background in seen}) == 2

    on_screen(make_app("go9"), steps)


def test_a_word_on_the_bot_is_a_notification() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        (shown,) = app.screen.query(Toast)
        assert "go9 was trained on 9x9 alone" in str(shown.render())
        assert not shown.region.overlaps(app.query_one("#status").region)
        await click(app, pilot, "C3")
        assert played(app) == ["C3", "A5"], "it is in nobody's way"

    app = make_app("go5")
    app.duel.warning = "go9 was trained on 9x9 alone: on 5x5 ... untested there and likely weaker"
    on_screen(app, steps)


def test_the_keys_are_listed() -> None:
    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "question_mark")
        assert isinstance(app.screen, Question)
        await press(app, pilot, "u")
        assert not isinstance(app.screen, Question)
        assert "no move of yours" not in status(app), "the key that closes the list does no more"

    on_screen(make_app("go9"), steps)


# ---- the bot's thread


def test_the_bots_win_rate_is_turned_round() -> None:
    app = make_app("go5")
    bot_of(app).human = 1  # an opinion of its own positions, then: 0.7 for itself

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        await press(app, pilot, "enter")
        assert app.notes.rates == {1: pytest.approx(0.3)}
        assert played(app) == ["C3", "A5"] and app.notes.hints is None

    on_screen(app, steps)


def test_what_was_dropped_is_not_told_and_what_comes_late_is_not_heard() -> None:
    told: list[Thought] = []
    game = get_game("go5")
    bot = FirstLegal(game, human=1)
    bot.go = threading.Event()
    asked = Thinker(bot, told.append)
    asked.ask(game.new_states(1), move=True)
    assert bot.asked.wait(SECONDS)
    asked.drop()
    number = asked.ask(game.new_states(1), move=False)
    bot.go.set()
    asked._questions.put(None)
    asked._thread.join(SECONDS)
    assert [thought.number for thought in told] == [number] and told[0].finished

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        app.post_message(Told(Thought(99, action=0, finished=True)))
        await settle(app, pilot)
        assert played(app) == []

    on_screen(make_app("go5"), steps)


def test_leaving_while_the_bot_thinks_waits_for_nothing() -> None:
    app = make_app("go5")
    bot = bot_of(app)
    bot.go = threading.Event()

    async def run() -> float:
        async with app.run_test() as pilot:
            await pilot.press("enter")
            assert await asyncio.to_thread(bot.asked.wait, SECONDS)
            await pilot.press("t")
            assert app.theme == "dark", "the screen answers while the bot thinks"
            start = time.monotonic()
            await pilot.press("q")
        return time.monotonic() - start

    try:
        assert asyncio.run(run()) < 2
        assert not app.close(), "the bot is still at it"
    finally:
        bot.go.set()
    assert app.close()
    assert played(app) == ["C3"]


def test_what_breaks_the_bots_search_ends_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: PlayApp) -> None:
        async def steps() -> None:
            async with self.run_test() as pilot:
                await pilot.press("enter")
                while self.is_running:
                    await pilot.pause(0.01)

        asyncio.run(steps())

    bot = FirstLegal(get_game("go5"))
    bot.error = FloatingPointError("not a number")
    monkeypatch.setattr(PlayApp, "run", run)
    with pytest.raises(FloatingPointError, match="not a number"):
        screen.show(Duel(Session(bot.game), bot, 0))


def test_a_fault_of_the_screen_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlayApp, "run", lambda self: None)
    monkeypatch.setattr(PlayApp, "return_code", 1)  # as textual leaves it
    bot = FirstLegal(get_game("go5"))
    with pytest.raises(SystemExit) as found:
        screen.show(Duel(Session(bot.game), bot, 0))
    assert found.value.code == 1


@pytest.mark.parametrize("name", ["mcts:32", "fresh"])
def test_the_same_seed_gives_the_same_game_as_line_by_line(
    name: str, untrained_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinker, "INTERVAL", 0.0)  # looking on at every step changes nothing
    mine = ["E5", "C3"]

    def duel() -> terminal.Dialogue:
        bot = make_bot(name, "go9", 32, 1, untrained_runs)
        return terminal.Dialogue(Session(bot.game), bot, 0)

    async def steps(app: PlayApp, pilot: Pilot[None]) -> None:
        for move in mine:
            await press(app, pilot, "h")
            await click(app, pilot, move)

    app, lines = PlayApp(duel()), duel()
    on_screen(app, steps)
    for move in mine:
        lines.answer("hint")
        lines.answer(move)
    assert app.duel.session.moves == lines.session.moves and len(lines.session.moves) == 4
    assert sorted(app.notes.rates) == [0, 1, 2, 3]
