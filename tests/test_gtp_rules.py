"""Rules and clocks over GTP, and what GUIs send when they start."""

from __future__ import annotations

import io
import json

import pytest
from test_gtp import Fixed, ask

from ghostgo.engine.games.registry import get_game
from ghostgo.gtp import Engine
from ghostgo.gtp_protocol import COMMANDS
from ghostgo.gtp_server import converse
from ghostgo.plain_bots import RandomBot

STARTS = {
    "lizzie": "name\nversion\nlist_commands\nkomi 7.5\ntime_settings 0 2 1\nboardsize 9\nkata-get-param "
    "playoutDoublingAdvantage\nkata-get-param analysisWideRootNoise\nkata-get-rules\n"
    "kata-set-rules chinese\nlz-setoption name visits value 5\nkata-analyze 10 ownership true "
    "maxmoves 5\nstop\nstop-ponder\nshowboard\n",
    "katrain": "protocol_version\nknown_command kata-analyze\nrectangular_boardsize 9 9\n"
    "clear_cache\nkata-list-params\nkata-get-models\nkata-raw-nn 0\ncputime\nprintsgf\n",
    "sabaki": "name\nversion\nprotocol_version\nlist_commands\nboardsize 9\nclear_board\nkomi 6.5\n"
    "set_free_handicap D4 F6\ntime_settings 60 10 1\nsabaki-genmovelog\nanalyze b 100\nundo\n",
    "gogui": "gogui-analyze_commands\ngogui-setup b D4\ngogui-play_sequence b D4\ngogui-interrupt\n"
    "known_command gogui-rules_game_id\nloadsgf nowhere.sgf\n",
    "kgs": "kgs-rules chinese\nkgs-time_settings byoyomi 60 10 3\nkgs-chat game you hello\n"
    "kgs-game_over\nkata-list_time_settings\nkata-time_settings fischer 60 5\n",
}


@pytest.mark.parametrize("gui", sorted(STARTS))
def test_what_guis_begin_with_is_answered_line_by_line(gui: str) -> None:
    out = io.BytesIO()
    lines = [f"{i} {line}" for i, line in enumerate(STARTS[gui].splitlines(), start=1)]
    engine = Engine(Fixed(get_game("go9"), 40))
    converse(engine, io.BytesIO("\n".join([*lines, "999 name"]).encode()), out)
    answers = out.getvalue().decode().split("\n\n")[:-1]
    assert answers.pop() == "=999 ghostgo" and len(answers) == len(lines)
    for line, answer in zip(lines, answers, strict=True):
        number, name = line.split()[:2]
        if name in COMMANDS:
            assert answer.startswith((f"={number}", f"?{number}")) and "internal" not in answer
        else:
            assert answer == f"?{number} unknown command"


@pytest.mark.parametrize(
    ("rules", "ko", "suicide"),
    [
        ("tromp-taylor", "positional", True),
        ("Chinese", "simple", False),
        ("aga", "situational", False),
        ('{"ko": "SITUATIONAL", "scoring": "AREA", "suicide": true}', "situational", True),
        ('{"hasButton":false,"tax":"NONE","whiteHandicapBonus":"0"}', "positional", False),
    ],
)
def test_rules_are_set_and_played_by(rules: str, ko: str, suicide: bool) -> None:
    engine = Engine(RandomBot(get_game("go9"), 1))
    assert ask(engine, f"kata-set-rules {rules}") == "="
    said = json.loads(ask(engine, "kata-get-rules").removeprefix("= "))
    assert (said["ko"], said["suicide"], said["scoring"]) == (ko.upper(), suicide, "AREA")
    assert engine.session.rules["ko"] == ko and engine.session.rules["suicide"] == suicide
    assert ask(engine, "play b D4", f"kata-set-rules {json.dumps(said)}") == "=", "no change"
    assert engine.session.moves


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["kata-set-rules japanese"], "? rules japanese are not known here: tromp-taylor, "),
        (["kata-set-rules"], "? syntax error"),
        (["kata-set-rules [1]"], "? rules [1] are not known here"),
        (["kata-set-rules " + "[" * 100_000], "? rules [[["),
        (['kata-set-rules {"scoring": "TERRITORY"}'],
         '? rule scoring cannot be "TERRITORY": it is AREA'),
        (['kata-set-rules {"whiteHandicapBonus": "N"}'], "? rule whiteHandicapBonus cannot be"),
        (['kata-set-rules {"komi": 7}'], "? unknown rule komi; known: ko, suicide, scoring"),
        (['kata-set-rules {"ko": ["SIMPLE"]}'], "? rule ko cannot be"),
        (["kata-set-rule scoring AREA"], "="),
        (["kata-set-rule tax SEKI"], '? rule tax cannot be "SEKI": it is NONE'),
        (["play b A1", "kata-set-rules chinese"], "? board not empty"),
        (["kgs-rules japanese"], "? rules japanese are not known here"),
        (["kgs-rules new_zealand"], "="),
        (["rectangular_boardsize 9 7"], "? unacceptable size"),
        (["rectangular_boardsize 7 7"], "="),
        (["stop"], "="),
        (["kata-list_time_settings"], "= none absolute byoyomi canadian"),
        (["kata-time_settings fischer 60 5"], "? unknown time settings; known: none"),
        (["kata-time_settings absolute nan"], "? syntax error"),
        (["kata-time_settings absolute -1"], "? syntax error"),
        (["kata-time_settings absolute inf"], "? syntax error"),
        (["kgs-time_settings"], "? unknown time settings"),
        (["kgs-time_settings none"], "="),
        (["time_left b nan 0"], "? syntax error"),
    ],
)  # fmt: skip
def test_scripted_answers(lines: list[str], answer: str) -> None:
    assert ask(Engine(RandomBot(get_game("go9"), 1)), *lines).startswith(answer)


def test_a_change_of_rules_keeps_komi_and_begins_anew() -> None:
    engine = Engine(RandomBot(get_game("go9"), 1))
    ask(engine, "komi 5.5", "time_settings 60 0 0", "time_left b 10 0", "kgs-rules aga")
    assert engine.session.rules["komi"] == 5.5 and engine.clocks[0].left == 60


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ("none", None),
        ("absolute 0", None),
        ("absolute 90.5", 0.9 * (90.5 - 2) / 40.5),
        ("canadian 0 20 4", 0.9 * 5),
        ("byoyomi 0 8 3", 0.9 * 8),
        ("byo-yomi 0 8.5 3", 0.9 * 8.5),
        ("canadian 90 30 0", 0.9 * 88 / 40.5),
    ],
)
def test_time_settings_limit_the_search(settings: str, seconds: float | None) -> None:
    for command in ("kata-time_settings", "kgs-time_settings"):
        bot = Fixed(get_game("go9"), 40)
        engine = Engine(bot)
        assert ask(engine, f"{command} {settings}", "clear_board", "genmove b") == "= E5"
        assert bot.seconds == (None if seconds is None else pytest.approx(seconds))


def test_time_left_takes_fractions() -> None:
    bot = Fixed(get_game("go9"), 40)
    engine = Engine(bot)
    ask(engine, "kata-time_settings canadian 0 20 4", "time_left b 2.5 1", "genmove b")
    assert bot.seconds == pytest.approx(0.9 * 2.5)
