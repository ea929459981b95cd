"""Levels of play: a rank is a rated player, and the bot of a level is that player."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import benchmark_module

from ghostgo import cli
from ghostgo.arena.levels import TABLE, Rated, level, read_levels, to_json
from ghostgo.arena.players import NetPlayer, position_seeds
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.arena.report import Row
from ghostgo.bot import SearchBot
from ghostgo.data.run import list_bots
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import rank_code
from ghostgo.level import level_bot
from ghostgo.plain_bots import RolloutBot

RANKS = [f"{k}k" for k in range(20, 0, -1)] + [f"{d}d" for d in range(1, 10)]
GAME = get_game("go9")
BENCH = benchmark_module("levels")
SMALL = replace(
    read_levels(),
    reference=Rated(BENCH.REFERENCE, 2056, 1530, 2583, 16),
    players=(
        Rated("random", 0, 0, 0, 76),
        Rated("mcts:1000", 1458, 1022, 1893, 66),
        Rated("go9:64", 2588, 1953, 3223, 8, "0" * 64),
    ),
)
"""A table whose figures are known."""


def test_every_rank_is_a_player_and_none_is_weaker_than_the_rank_below() -> None:
    table = read_levels()
    for rated in (table.reference, *table.players):
        assert all(map(math.isfinite, (rated.elo, rated.low, rated.high)))
        assert rated.low <= rated.elo <= rated.high and rated.games > 0
    found = [level(rank) for rank in RANKS]
    assert [each.rank for each in found] == RANKS
    assert all(a.elo <= b.elo for a, b in itertools.pairwise(found))
    assert len({each.spec for each in found}) > 2, "plain search and networks"
    elos = [table.elo_of(rank) for rank in RANKS]
    assert [table.rank_of(elo) for elo in elos] == RANKS
    assert np.allclose(np.diff(elos), 100) and table.rank_of(table.reference.elo) == "8k"
    assert table.rank_of(elos[0] - 1051) == "below 30k" and table.rank_of(elos[-1] + 51) != "9d"


def test_the_nearest_is_taken_and_what_is_out_of_reach_is_said() -> None:
    top, bottom = SMALL.players[-1], SMALL.players[0]
    assert level("9d", SMALL).spec == top.spec
    assert level("9d", SMALL).words == (
        "9d is beyond it; the strongest here is about 3k, 95 % 9k to 5d: go9:64"
    )
    assert level("14k", SMALL).words == (
        "14k: the nearest here is about 14k, 95 % 18k to 10k: mcts:1000"
    )
    strong = replace(SMALL, players=(top,))
    assert level("20k", strong).spec == top.spec
    assert level("20k", strong).words.startswith("20k is below it; the weakest here is about 3k")
    assert level("20k", replace(SMALL, players=(bottom,))).spec == bottom.spec


def test_networks_of_the_table_are_those_in_the_box() -> None:
    shipped = {bot.path.name: bot.meta["sha256"] for bot in list_bots()}
    named = {r.spec.partition(":")[0]: r.sha256 for r in read_levels().players if r.sha256}
    assert named and named.items() <= shipped.items()


def test_a_table_is_read_as_it_was_written_or_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "levels.json"
    assert read_levels() == read_levels(TABLE)
    path.write_bytes(to_json(SMALL))
    assert read_levels(path) == SMALL
    whole = json.loads(path.read_text())
    for text, said in (
        ("{", "is no table of levels"),
        (json.dumps({**whole, "players": []}), "is no table of levels"),
        (json.dumps({**whole, "format": 99}), "format 99"),
        (json.dumps(whole).replace("1458", "NaN"), "is no table of levels"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            read_levels(path)


def test_the_bot_of_a_level_plays_the_rated_players_moves() -> None:
    """A run of the same name changes nothing: the levels are networks in the box."""
    bot = level_bot("9d", None, 1)
    assert isinstance(bot, SearchBot) and bot._search_config.leaves_per_step == 1
    entry = make_entry("nine", "level:9d", GAME, PlayerOptions(root=Path("nowhere")))
    assert isinstance(entry.player, NetPlayer)
    strongest = read_levels().players[-1]
    assert f":{entry.info.settings['visits']}" in strongest.spec
    assert entry.info.settings["sha256"] == strongest.sha256
    states = GAME.new_states(1)
    for ply in range(5):
        move = bot.choose(states)
        assert move == entry.player.choose(states, [ply])[0]
        play_one(states[0], move)
    entry.player.close()


def plain_level() -> str:
    """The weakest rank at which plain search plays."""
    return next(rank for rank in RANKS if level(rank).spec.startswith("mcts:"))


def test_a_level_of_plain_search_makes_its_rollouts() -> None:
    rank = plain_level()
    bot = level_bot(rank, "go9", 1)
    entry = make_entry("x", f"level:{rank}", GAME, PlayerOptions())
    rollouts = int(level(rank).spec.removeprefix("mcts:"))
    assert isinstance(bot, RolloutBot) and entry.info.settings == {"rollouts": rollouts}
    states = GAME.new_states(1)
    for number in range(3):
        bot._searcher.begin(states, int(position_seeds(states, [number])[0]))
        while bot._searcher.step(7):
            pass
        assert bot._searcher.best() == entry.player.choose(states, [number])[0]
        play_one(states[0], bot._searcher.best())


def test_other_boards_are_told_and_other_games_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert level_bot("20k", "go5", 1).game is get_game("go5")
    assert capsys.readouterr().err.strip().endswith(f"{level('20k').spec}; calibrated on 9x9")
    assert level_bot("20k", None, 1).game is GAME
    assert "calibrated on 9x9" in capsys.readouterr().err, "boardsize may come later"
    with pytest.raises(UserError, match="--level is for Go, not for othello"):
        level_bot("5k", "othello", 1)
    with pytest.raises(UserError, match="player x=level:5k: levels are for Go, not for othello"):
        make_entry("x", "level:5k", get_game("othello"), PlayerOptions())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--level", "5"], "rank '5' is unknown"),
        (["--level", "21k"], "level '21k' is none of 20k to 1k and 1d to 9d"),
        (["go9", "--level", "5k"], "leave RUN out"),
        (["--level", "5k", "--visits", "400"], "leave --visits out"),
        (["--level", "5k", "--seconds", "1"], "leave --seconds out"),
        (["--level", "5k", "--human", "0.5"], "leave --human out"),
        (["--level", "5k", "--learn", "on"], "leave --learn out"),
        (["--level", "5k", "--reuse"], "leave --reuse out"),
        (["--level", "5k", "--game", "connect_four"], "--level is for Go, not for connect_four"),
    ],
)
@pytest.mark.parametrize("verb", ["play", "gtp"])
def test_what_does_not_go_with_a_level_is_refused_in_one_line(
    verb: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([verb, *words]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") <= (2 if "compiling" in shown else 1)


def test_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bots", "--levels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    levels = read_levels()
    reference = levels.reference
    assert len(lines) == 2 + len(levels.players)
    assert f"8k is {reference.elo:.0f}, the rating of gnugo --level 10" in lines[1]
    assert f"95 % {reference.low:.0f} to {reference.high:.0f}" in lines[1]
    off = max(reference.high - reference.elo, reference.elo - reference.low)
    assert lines[1].endswith(f"all ranks may be off together by up to {off / 100:.0f}")
    top = levels.players[-1]
    own, low, high = map(levels.rank_of, (top.elo, top.low, top.high))
    assert lines[2].startswith(top.spec) and f"about {own}, {low} to {high}" in lines[2]
    assert rank_code("3k") == 28


def test_the_benchmark_leaves_out_what_takes_long() -> None:
    whole, few = BENCH.players(), BENCH.players(64)
    left_out = {spec for name, spec in whole.items() if name not in few}
    assert left_out == {"go9:400", "go9:1600"} and few.items() <= whole.items()
    assert "mcts:3000" in few.values()


def test_the_benchmarks_table_has_who_played(tmp_path: Path) -> None:
    def row(name: str, elo: float, games: int = 4) -> Row:
        return Row(name, elo, elo - 9.04, elo + 9, games, 0.5, "", "net", None, 0, 0, 0, None)

    specs = {"go9-4": "go9:4", "random": "random", "gnugo-10": BENCH.REFERENCE, "idle": "go9:1"}
    rows = [row("go9-4", 700.26), row("random", 0), row("gnugo-10", 650), row("idle", 0, 0)]
    table = BENCH.make_table(rows, specs, "how", "2026-01-01")
    assert [player.spec for player in table.players] == ["random", "go9:4"]
    assert table.players[1].elo == 700.3 and table.players[1].low == 691.2
    assert table.players[1].sha256 == next(
        bot.meta["sha256"] for bot in list_bots() if bot.path.name == "go9"
    )
    assert table.reference.elo == 650 and table.rank_of(650) == "8k"
    assert BENCH.unplayed(rows, specs) == ["idle"] and not BENCH.unplayed(rows[:3], specs)
    (tmp_path / "levels.json").write_bytes(to_json(table))
    assert read_levels(tmp_path / "levels.json") == table
    without = BENCH.make_table(rows[:2], specs, "how", "2026-01-01")
    assert without.reference == read_levels().reference, "GNU Go is not installed"
    for name, spec in BENCH.players().items():
        assert ":" not in name and (spec in BENCH.PLAYERS or spec.startswith("gtp:gnugo"))
