"""Players at equal seconds: measured once, kept, and then players of so many visits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from sizes import sized

from ghostgo.arena.effort import Effort, parse_ladder
from ghostgo.arena.players import Actions, NetPlayer, RandomPlayer, search_rows
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.arena.results import read_results
from ghostgo.arena.speeds import SPEEDS, Make, Speeds, measure
from ghostgo.cli import cli
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, States
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

GAME = "tic_tac_toe"
KINDS = {"small": NetworkConfig(1, 8), "large": NetworkConfig(2, 16)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs of networks of different sizes, two checkpoints each."""
    for name, config in KINDS.items():
        with Run.creating(tmp_path / name, GAME, 0, "") as run:
            for step in (0, 1):
                network = Network(get_game(GAME), config)
                run.save_checkpoint(step, network, {"totals": {"selfplay_flops": 1e9 * step}})
    return tmp_path


class Known(Speeds):
    """Given seconds by size of network, a hundredth more for each row less than 64."""

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.given, self.asked = seconds, set[tuple[str, int]]()

    def seconds(self, kind: str, rows: int, device: str, game: Game, make: Make) -> float:
        """What was given for the second word of `kind`."""
        self.asked.add((kind, rows))
        return self.given[kind.split()[1]] * (1 + (64 - rows) / 100)


def test_equal_seconds_are_visits_by_how_fast_a_network_is(root: Path) -> None:
    speeds = Known(b1c8=1e-3, b2c16=4e-3)
    options = PlayerOptions(root, Effort(seconds=0.0401), speeds=speeds)
    visits = {
        spec: make_entry("x", spec, get_game(GAME), options).info.settings["visits"]
        for spec in ("small", "small@0", "small,symmetries=8", "large", "large:0.0081s", "large:7")
    }
    assert visits == {
        "small": 39, "small@0": 39, "small,symmetries=8": 32, "large": 9, "large:0.0081s": 1, "large:7": 7,
    }  # fmt: skip
    assert len(speeds.asked) == 2, "one kind of network is one question, whatever its search"
    # Longer searches have room for fewer games at once, and an evaluation costs more then.
    assert search_rows(1000) == 8
    long = make_entry("x", "small:1s", get_game(GAME), options).info.settings["visits"]
    assert long == int(1 / 1.56e-3) - 1 and len(speeds.asked) == 3
    with pytest.raises(UserError, match="0.001 s a move do not pay .* one visit takes 0.008"):
        make_entry("x", "large:1e-3s", get_game(GAME), options)


class Clocked(RandomPlayer):
    """Searches as a network does, by a clock of its own: a millisecond an evaluation."""

    def __init__(self) -> None:
        super().__init__("clocked")
        self.now, self.calls = 0.0, 0

    def choose(self, states: States, games: Sequence[int]) -> Actions:
        """Random moves, at the price of 32 evaluations each; the first call is slow."""
        self.calls += 1
        self.now += 1e-3 * 32 * len(states) if self.evaluations else 60.0
        self.evaluations += 32 * len(states)
        return super().choose(states, games)


def test_the_price_is_that_of_one_evaluation_without_compiling() -> None:
    player = Clocked()
    price = measure(player, get_game(GAME), 8, lambda: player.now)  # type: ignore[arg-type]
    assert price == pytest.approx(1e-3) and player.calls == 4, "once to compile, three times timed"


def test_what_was_measured_is_kept_and_used_again(root: Path) -> None:
    path, measured = root / SPEEDS, list[dict[str, float]]()
    for _ in range(2):
        speeds = Speeds(path)
        options = PlayerOptions(root, Effort(seconds=sized(10.0, 1e6)), speeds=speeds)
        with pytest.raises(UserError, match="more than"):  # ten seconds buy too much
            make_entry("x", "small", get_game(GAME), options)
        speeds.save()
        measured.append(json.loads(path.read_text()))
    assert measured[0] == measured[1] and all(0 < x < 10 for x in measured[0].values())
    late = Speeds(path)
    for spec, others in (("large", {"go9 b1c8": 3.0}), ("small", {})):
        options = PlayerOptions(root, Effort(seconds=1e-12), speeds=late)
        with pytest.raises(UserError, match="do not pay"):
            make_entry("x", spec, get_game(GAME), options)
        path.write_text(json.dumps(measured[0] | others))
    late.save()
    assert json.loads(path.read_text()).keys() > measured[0].keys(), "what was timed is kept"
    path.write_text(json.dumps({"go9 b1c8": 3.0}))
    late.save()
    kept = json.loads(path.read_text())
    assert kept["go9 b1c8"] == 3.0 and kept.keys() > measured[0].keys(), "what others found stays"


def nobody(visits: int, rows: int) -> NetPlayer:
    """A player that is never to be made."""
    raise AssertionError("nobody is to be timed")


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "x"}', '{"a": 0}', '{"a": NaN}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SPEEDS).write_text(text)
    with pytest.raises(UserError, match=f"{SPEEDS} is damaged"):
        Speeds(tmp_path / SPEEDS).seconds("x", 8, "cpu", get_game(GAME), nobody)


def test_rungs_have_one_currency() -> None:
    assert parse_ladder("0.5s,0.1s") == (Effort(seconds=0.1), Effort(seconds=0.5))
    for text in ("0.5s,64", "0.5s,1e9flops"):
        with pytest.raises(UserError, match="is no ladder"):
            parse_ladder(text)


def test_an_arena_at_equal_seconds_goes_on_with_the_same_players(root: Path) -> None:
    out, budget = root / "arena", sized("0.02s", "2s")
    for games in (12, 24):
        command = ["arena", "--a", "small", "--b", "large", "--root", str(root), "--games"]
        result = CliRunner().invoke(
            cli, [*command, str(games), "--visits", budget, "--seed", "3"], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
    players: dict[str, set[int]] = {}
    for pair in read_results(out / "results.jsonl"):
        for info in (pair.a, pair.b):
            if info.kind == "net":
                players.setdefault(info.name, set()).add(info.settings["visits"])
    assert players and all(len(visits) == 1 for visits in players.values()), players
    kinds = json.loads((out / SPEEDS).read_text())
    assert {tuple(kind.split()[:2]) for kind in kinds} == {
        (GAME, config.name) for config in KINDS.values()
    }
