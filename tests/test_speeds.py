"""Players at equal seconds: measured once, kept, and then players of so many visits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sizes import sized

from ghostgo.arena.effort import Effort, parse_ladder
from ghostgo.arena.players import NetPlayer
from ghostgo.arena.pool import PlayerOptions, make_entry
from ghostgo.arena.results import read_results
from ghostgo.arena.speeds import SPEEDS, Speeds
from ghostgo.cli import cli
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
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
    """Given speeds, and a list of what was asked for."""

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.given, self.asked = seconds, list[str]()

    def seconds(self, kind: str, game: Game, make: Callable[[int], NetPlayer]) -> float:
        """Seconds by the network's size, the second word of its kind."""
        self.asked.append(kind)
        return self.given[kind.split()[1]]


def test_equal_seconds_are_visits_by_how_fast_a_network_is(root: Path) -> None:
    speeds = Known(b1c8=1e-3, b2c16=4e-3)
    options = PlayerOptions(root, Effort(seconds=0.0401), speeds=speeds)
    visits = {
        spec: make_entry("x", spec, get_game(GAME), options).info.settings["visits"]
        for spec in ("small", "small@0", "large", "large:0.0081s", "large:7")
    }
    assert visits == {"small": 39, "small@0": 39, "large": 9, "large:0.0081s": 1, "large:7": 7}
    assert len(set(speeds.asked)) == 2, "one kind of network is one question"
    with pytest.raises(UserError, match="0.001 s a move do not pay .* one visit takes 0.008"):
        make_entry("x", "large:1e-3s", get_game(GAME), options)


def test_what_was_measured_is_kept_and_used_again(root: Path) -> None:
    path, measured = root / SPEEDS, list[float]()
    for _ in range(2):
        speeds = Speeds(path)
        options = PlayerOptions(root, Effort(seconds=10.0), speeds=speeds)
        with pytest.raises(UserError, match="more than"):  # ten seconds buy too much
            make_entry("x", "small", get_game(GAME), options)
        speeds.save()
        (seconds,) = json.loads(path.read_text()).values()
        measured.append(seconds)
    assert 0 < measured[0] < 10 and measured[0] == measured[1]
    late = Speeds(path)
    path.write_text(json.dumps({"go9 b1c8": 3.0}))
    with pytest.raises(UserError):
        options = PlayerOptions(root, Effort(seconds=1e-12), speeds=late)
        make_entry("x", "large", get_game(GAME), options)
    late.save()
    kept = json.loads(path.read_text())
    assert kept["go9 b1c8"] == 3.0 and len(kept) == 3, "what others have found stays"


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "x"}', '{"a": 0}', '{"a": NaN}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SPEEDS).write_text(text)
    with pytest.raises(UserError, match=f"{SPEEDS} is damaged"):
        Speeds(tmp_path / SPEEDS)


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
