"""Chance in a bot's openings: what is drawn, how often, and over which games."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_gtp import ask
from test_human import NAN, found

from ghostgo import cli
from ghostgo.bot import SearchBot
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.search import SearchResult
from ghostgo.gtp import Engine
from ghostgo.human import dialled_bot
from ghostgo.opponents import make_bot
from ghostgo.variety import Lot, move_weights, opening_plies

GAME = get_game("go9")
NOWHERE = Path("nowhere")


def weights(*arguments: Any, **options: Any) -> list[int]:
    drawn: list[int] = move_weights(found(*arguments, **options)).tolist()
    return drawn


def test_moves_are_drawn_by_visits_within_bounds() -> None:
    assert weights([40, 20, 19, 0], [0.5, 0.5, 0.5, NAN]) == [40, 20, 0, 0], "half the visits"
    assert weights([40, 30, 30, 30], [0.5, 0.47, 0.45, 0.6]) == [40, 30, 0, 30], "0.02 of win rate"
    assert weights([0, 0], [NAN, NAN]) == [1, 0], "nothing was searched"


def test_what_is_proven_is_not_left_to_chance() -> None:
    assert weights([40, 60, 30], [0.5, 0.5, 0.5], lost=1) == [40, 0, 30]
    assert weights([40, 39], [0.9, 0.9], value=1.0) == [1, 0]
    lost = found([40, 39], [-1, -1], value=-1.0)
    lost.policy[0] = [0.5, 0.5]  # the prior's, where all are lost
    assert move_weights(lost).tolist() == [1, 0]
    assert weights([40, 39], [0.75, 0.75], value=0.75) == [1, 0], "points count: no win is a whole"
    assert weights([40, 39], [0.0, 0.0], value=0.0) == [40, 39], "a draw is as good as another"


def some_search() -> SearchResult:
    visits, q = np.zeros(GAME.actions, int), np.full(GAME.actions, 0.1)
    visits[:3] = 40, 30, 20
    return found(visits.tolist(), q.tolist())


def test_a_draw_has_the_chances_of_the_weights() -> None:
    state, searched, count = GAME.new_states(1)[0], some_search(), 3000
    moves = [Lot(7, number).draw(GAME, state, searched) for number in range(count)]
    shares = np.bincount(moves, minlength=GAME.actions) / count
    expected = np.array([40, 30, 20]) / 90
    assert (abs(shares[:3] - expected) < 4.5 * np.sqrt(expected / count)).all()
    assert shares[:3].sum() == 1


def test_one_question_has_one_answer_in_one_game() -> None:
    states, searched = GAME.new_states(1), some_search()

    def moves(lot: Lot) -> list[int]:
        drawn, states = [], GAME.new_states(1)
        for point in range(10, 18):
            drawn.append(lot.draw(GAME, states[0], searched))
            play_one(states[0], point)
        return drawn

    lot = Lot(7)
    first = moves(lot)
    assert moves(lot) == first == moves(Lot(7)) and len(set(first)) > 1
    assert moves(Lot(8)) != first
    lot.next_game()
    assert moves(lot) != first and moves(lot) == moves(Lot(7, 1))
    assert len({tuple(moves(Lot())) for _ in range(20)}) > 10, "nobody knows the seed"
    same = Lot(7, each_game=False)
    same.next_game()
    assert moves(same) == first
    assert lot.draw(GAME, states[0], searched) in (0, 1, 2)


def test_only_the_opening_is_drawn() -> None:
    for name, plies in (("go9", 8), ("go19", 17), ("go5", 4), ("connect_four", 6)):
        assert opening_plies(get_game(name)) == plies
    states, searched = GAME.new_states(1), some_search()
    states[0].move_number = 7
    assert len({Lot(seed).draw(GAME, states[0], searched) for seed in range(40)}) == 3
    states[0].move_number = 8
    assert {Lot(seed).draw(GAME, states[0], searched) for seed in range(40)} == {0}
    states[0].move_number = 0  # as where stones were set up
    searched.prior[0, 30:] = 0
    assert {Lot(seed).draw(GAME, states[0], searched) for seed in range(40)} == {0}


def drawing(seed: int, visits: int = 32) -> SearchBot:
    bot = dialled_bot("go9", None, visits, seed, NOWHERE, variety=True)
    assert isinstance(bot, SearchBot) and bot.lot
    return bot


def test_every_way_to_ask_plays_the_drawn_move_and_shows_the_plain_opinion() -> None:
    bot, others = drawing(1), 0
    plain = make_bot("go9", None, 32, 1, NOWHERE)
    states = GAME.new_states(1)
    for ply in range(10):
        move, opinion, shown = bot.choose(states), bot.analyse(states), plain.analyse(states)
        assert shown
        (*_, last) = bot.ponder(states)
        assert move == opinion.action == last().action == bot.choose(states)
        assert opinion.candidates == shown.candidates == last().candidates
        best, chosen = shown.candidates[0], {c.action: c for c in shown.candidates}[move]
        assert chosen.visits >= best.visits / 2 and chosen.win_rate > best.win_rate - 0.02 - 1e-6
        assert ply < 8 or move == best.action
        others += move != best.action
        endless = [read() for read in islice(bot.ponder(states, endless=True), 12)][-1]
        assert endless.action == endless.candidates[0].action
        play_one(states[0], move)
    assert others, "nobody could tell it from a bot without a lot"
    bound = bot.bind(get_game("go5"))
    assert bound.lot is bot.lot


def test_bots_that_are_rated_draw_nothing() -> None:
    for bot in (make_bot("go9", None, 8, 1, NOWHERE), dialled_bot("go9", None, 8, 1, NOWHERE)):
        assert isinstance(bot, SearchBot) and bot.lot is None


def test_a_new_game_is_one_after_moves(tmp_path: Path) -> None:
    engine = Engine(drawing(3, 8))

    def number() -> int:
        assert engine.lot
        return engine.lot.game_number

    ask(engine, "boardsize 9", "clear_board", "komi 7")
    assert number() == 0
    first = ask(engine, "genmove b")
    assert ask(engine, "undo", "genmove b") == first
    ask(engine, "undo")
    assert isinstance(engine.bot, SearchBot)
    best = GAME.action_name(engine.bot.analyse(engine.session.states).candidates[0].action)
    for seed in range(10):  # for regression tests: nothing is drawn
        engine.bot.lot = Lot(seed)
        assert ask(engine, "reg_genmove b") == f"= {best}" and engine.bot.lot.seed == seed
    engine.bot.lot = Lot(3)
    ask(engine, "clear_board")
    assert number() == 0, "no move was left"
    assert ask(engine, "genmove b") == first
    broken = tmp_path / "broken.sgf"
    broken.write_text("(;SZ[9];B[aa];W[aa])")
    assert ask(engine, f"loadsgf {broken}").startswith("? cannot load")
    assert number() == 0 and engine.session.moves, "the game goes on"
    ask(engine, "boardsize 5")
    assert number() == 1
    ask(engine, "genmove b", "boardsize 9")
    assert number() == 2


# ---- from the command line

GAMES, PLIES = 8, 6
SCRIPT = "clear_board\n" + "".join(f"genmove {color}\n" for color in "bw" * (PLIES // 2))


def serve(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, *words: str
) -> list[tuple[str, ...]]:
    """The moves of each game in one session of `ghostgo gtp`."""
    lines = tmp_path / "in.gtp"
    lines.write_text(SCRIPT * GAMES + "quit\n")
    with lines.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli.run(["gtp", "go9", "--root", str(tmp_path), *words]) == 0
    answers = [answer.removeprefix("= ") for answer in capfd.readouterr().out.split("\n\n")]
    step = PLIES + 1
    return [tuple(answers[step * i + 1 : step * (i + 1)]) for i in range(GAMES)]


def test_sessions_of_gtp(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    few = ["--visits", "16"]

    def games(*words: str) -> list[tuple[str, ...]]:
        return serve(monkeypatch, capfd, tmp_path, *words)

    plain = games(*few, "--no-variety")
    assert len(set(plain)) == 1 and len(plain[0]) == PLIES and all(plain[0])
    assert games(*few, "--no-variety", "--seed", "4") == plain
    free = games(*few)
    assert len(set(free)) > 1, "a winning line can be repeated"
    seeded = games(*few, "--seed", "4")
    assert len(set(seeded)) > 1 and games(*few, "--seed", "4") == seeded
    assert games(*few, "--seed", "5") != seeded != free


def test_a_dials_second_game_differs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--visits", "2", "--human", "1", "--seed", "4"]
    games = serve(monkeypatch, capfd, tmp_path, *words)
    assert len(set(games)) > 1 and serve(monkeypatch, capfd, tmp_path, *words) == games
    assert set(serve(monkeypatch, capfd, tmp_path, *words, "--no-variety")) == {games[0]}


def test_a_level_plays_as_it_was_rated(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("ghostgo.gtp_server.Engine", lambda bot, *_: pytest.fail(f"{bot.lot}"))
    with pytest.raises(pytest.fail.Exception, match="None"):
        cli.run(["gtp", "--level", "5k"])
    capfd.readouterr()
    assert cli.run(["play", "--level", "5k", "--variety"]) == 2
    assert "--level says who plays and how; leave --variety out" in capfd.readouterr().err


def test_games_at_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def game(*words: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("E5\nA1\nquit\n"))
        given = ["--plain", "--visits", "16", "--save", str(tmp_path / "games")]
        assert cli.run(["play", "go9", *given, "--root", str(tmp_path), *words]) == 0
        said = capfd.readouterr().out
        return said[: said.index("saved:")]

    plain = game("--no-variety")
    assert plain.count("plays ") == 2 and game("--no-variety") == plain
    assert len({game() for _ in range(10)}) > 1
    assert game("--seed", "3") == game("--seed", "3")
    assert len({game("--seed", str(seed)) for seed in range(10)}) > 1
