"""Who a player is, and which games of the same two players are evidence."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostgo.arena import openings
from ghostgo.arena import pool as pool_module
from ghostgo.arena.arena import run_arena
from ghostgo.arena.cross import make_cross
from ghostgo.arena.gtp_client import GtpPlayer, find_program
from ghostgo.arena.league import REPEATED, League
from ghostgo.arena.players import (
    FIRST_SEARCH,
    PLAYS,
    RATING,
    CapturePlayer,
    Player,
    RandomPlayer,
    RolloutPlayer,
)
from ghostgo.arena.pool import Entry, PlayerOptions, Pool, make_entry
from ghostgo.arena.report import make_notes
from ghostgo.arena.results import GameResult, PairResult, PlayerInfo
from ghostgo.arena.schedule import Member, next_pairs
from ghostgo.data.run import Run
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig

TTT = get_game("tic_tac_toe")
PLIES = {"go5": 20, "tic_tac_toe": 4, "connect_four": 7}
"""Random plies before the last position."""
FIGHT = "B5 A5 C5 D5 D4 E5 A2 C3 B1 E1 B2 D1"
"""Black, to play, may take one stone at A4 or two at E4, and has an eye at A1."""
POSITIONS, ROLLOUTS = 8, 15
GAMES = {"random": 64, "capture": 64, "mcts": 2}
MOVES: Mapping[tuple[str, int], Mapping[str, str]] = {
    ("random", 1): {
        "go5": "079290e9f0d7",
        "tic_tac_toe": "85412f04f9f8",
        "connect_four": "68762f6aec1b",
    },
    ("capture", 1): {"go5": "3df4ab327be3"},
    ("mcts", 1): {
        "go5": "5a1876ed4b9a",
        "tic_tac_toe": "40e25fb02e88",
        "connect_four": "51cb82b9debe",
    },
}
"""Digest of the moves that a version of a player plays in a few positions of each game."""

ENGINE = """
import sys
answers = dict(zip(("name", "version"), sys.argv[1:]))
for line in sys.stdin:
    word = line.split()[0]
    if word in ("name", "version") and word not in answers:
        print("? unknown command\\n", flush=True)
    else:
        print(f"= {answers.get(word, '')}\\n", flush=True)
"""


def digest(player: Player, game: Game, games: int) -> str:
    """A digest of the player's moves in a few positions, each in several games."""
    rng, states = np.random.default_rng(5), game.new_states(POSITIONS)
    for i in range(POSITIONS):
        for _ in range(i * PLIES[game.name] // (POSITIONS - 1)):
            legal = game.legal_actions(states[i])
            legal = legal[legal != game.actions - 1]  # in Go, no pass
            play_one(states[i], int(rng.choice(legal)))
    if game.name == "go5":
        states[0] = game.new_states(1)[0]
        for move in FIGHT.split():
            play_one(states[0], game.parse_action(move))
    assert not states.done.any()
    moves = [player.choose(states, [n] * POSITIONS).tolist() for n in range(games)]
    return hashlib.sha256(json.dumps(moves).encode()).hexdigest()[:12]


@pytest.mark.parametrize("kind", ["random", "capture", "mcts"])
def test_a_player_whose_moves_have_changed_has_a_new_version(kind: str) -> None:
    found = {}
    for name in ("go5",) if kind == "capture" else ("go5", "tic_tac_toe", "connect_four"):
        game = get_game(name)
        player: dict[str, Player] = {
            "random": RandomPlayer("x"),
            "mcts": RolloutPlayer("x", game, ROLLOUTS),
        }
        found[name] = digest(player.get(kind) or CapturePlayer("x", game), game, GAMES[kind])
    assert found == MOVES.get((kind, PLAYS[kind])), (
        f"{kind} plays other moves. Meant? Raise its version in ghostgo.arena.players.PLAYS, so that "
        f"it is another player than before, and put these moves here: {found}"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Runs `one` and `other`: tic-tac-toe, one checkpoint each, with the same weights."""
    for run, step in (("one", 3), ("other", 8)):
        torch.manual_seed(0)
        with Run.creating(tmp_path / run, TTT.name, 0, "") as made:
            made.save_checkpoint(step, Network(TTT, NetworkConfig(1, 8)), {"totals": {}})
    return tmp_path


def entry(spec: str, root: Path = Path(), game: Game = TTT) -> Entry:
    return make_entry("x", spec, game, PlayerOptions(root))


def test_players_of_old_ledgers_are_those_of_today(root: Path) -> None:
    sha = Run.open(root / "one").latest().meta["sha256"]
    assert entry("random").info.identity == '["random", "", {}]'
    assert entry("capture", game=get_game("go5")).info.identity == '["capture", "", {}]'
    assert entry("mcts:9").info.identity == '["mcts", "", {"rollouts": 9}]'
    for spec in ("one", "other@8:64,symmetries=1", "one@3:64,score_weight=0"):
        known = f'["net", "", {{"sha256": "{sha}", "visits": 64}}]'
        assert entry(spec, root).info.identity == known, "the same weights are one player"
    turned = f'["net", "", {{"sha256": "{sha}", "symmetries": 8, "visits": 64}}]'
    assert entry("one:64,symmetries=8", root).info.identity == turned


def test_other_code_is_another_player(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = ("random", "mcts:9", "one")
    before = [entry(spec, root).info for spec in specs]
    monkeypatch.setattr(pool_module, "PLAYS", dict.fromkeys(PLAYS, 2))
    for spec, old in zip(specs, before, strict=True):
        new = entry(spec, root).info
        assert new.settings == {**old.settings, "plays": 2} and new.identity != old.identity


def test_other_defaults_of_the_search_are_another_player(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FIRST_SEARCH.keys() == asdict(RATING).keys(), (
        "FIRST_SEARCH needs the new field, with the value under which networks play as before"
    )
    before = entry("one", root).info
    monkeypatch.setattr(pool_module, "RATING", replace(RATING, c_puct=1.5))
    assert entry("one", root).info.settings == {**before.settings, "c_puct": 1.5}


def test_an_engines_own_version_is_part_of_it(tmp_path: Path) -> None:
    script, game = tmp_path / "engine.py", get_game("go5")
    script.write_text(ENGINE)
    identities = set()
    for words, program in ((["'My", "Engine'", "1.0"], "My Engine 1.0"), (["E"], "E"), ([], None)):
        command = " ".join([sys.executable, str(script), *words])
        made = entry(f"gtp:{command}", game=game)
        made.player.close()
        told = {"program": program} if program else {}
        assert made.info.settings == {"command": command, **told}
        identities.add(replace(made.info, settings={**made.info.settings, "command": ""}).identity)
    assert len(identities) == 3


@pytest.mark.skipif(find_program("gnugo") is None, reason="GNU Go is not installed")
def test_gnu_go_says_its_version() -> None:
    player = GtpPlayer("g", "gnugo --mode gtp", get_game("go5"))
    player.close()
    assert player.program.startswith("GNU Go 3.")


def test_openspiels_version_is_part_of_its_player(monkeypatch: pytest.MonkeyPatch) -> None:
    pyspiel = pytest.importorskip("pyspiel")
    monkeypatch.setattr(pyspiel, "__version__", "1.9", raising=False)
    old = entry("openspiel:mcts:5").info
    assert old.settings == {"rollouts": 5, "program": "OpenSpiel 1.9"}
    monkeypatch.setattr(pyspiel, "__version__", "2.9")
    assert entry("openspiel:mcts:5").info.identity != old.identity


@pytest.mark.parametrize("count", ["0", "\u00b2"])
def test_a_number_of_rollouts_that_is_none_is_one_sentence(count: str) -> None:
    with pytest.raises(UserError, match=f"^player x=mcts:{count}: '{count}' is no number of roll"):
        entry(f"mcts:{count}")


class Closing(RandomPlayer):
    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_player_that_is_not_taken_is_closed() -> None:
    pool, info = Pool(TTT), PlayerInfo("a", "mcts", {"rollouts": 5})
    first, alike, namesake = Closing("a"), Closing("b"), Closing("a")
    assert pool.add(Entry(info, first)) == pool.add(Entry(replace(info, name="b"), alike)) == 0
    with pytest.raises(UserError, match="two players are called 'a'"):
        pool.add(Entry(PlayerInfo("a", "random"), namesake))
    assert (first.closed, alike.closed, namesake.closed) == (False, True, True)


NETS = [PlayerInfo(name, "net", {"sha256": name, "visits": 4}) for name in "abc"]
LOTS = PlayerInfo("m", "mcts", {"rollouts": 9})
X_WINS, IMAGE, O_WINS = (0, 3, 1, 4, 2), (2, 5, 1, 4, 0), (0, 3, 1, 4, 8, 5)


def pair(number: int, a: PlayerInfo, b: PlayerInfo, moves: Sequence[tuple[int, ...]]) -> PairResult:
    """A pair of tic-tac-toe: a moves first in the first of its games, b in the second."""
    points = [float((len(game) % 2 == 1) == (first == 0)) for first, game in enumerate(moves)]
    games = [
        GameResult(i, moves[i], points[i], None, "score", "", (0, 0), (1, 1), (0, 0))
        for i in (0, 1)
    ]
    return PairResult(f"{number:04d}", TTT.name, TTT.version, {}, 0, (), a, b, (games[0], games[1]))


def league_of(pairs: Sequence[PairResult]) -> League:
    league = League(TTT, {}, [*NETS, LOTS], 4)
    league.extend(pairs)
    return league


COPIED = [
    pair(1, NETS[0], NETS[1], (X_WINS, O_WINS)),
    pair(2, NETS[0], NETS[1], (IMAGE, O_WINS)),  # both are copies
    pair(3, NETS[0], NETS[1], (O_WINS, O_WINS)),  # the second is one
    pair(4, NETS[1], NETS[0], (X_WINS, X_WINS)),  # the second is that of pair 1
    pair(5, NETS[0], LOTS, (X_WINS, O_WINS)),
    pair(6, NETS[0], LOTS, (X_WINS, O_WINS)),  # drawn lots that came out alike
    pair(7, NETS[0], NETS[2], (X_WINS, O_WINS)),  # other players
]


def test_a_game_that_networks_play_again_counts_once() -> None:
    league = league_of(COPIED)
    rows = league.ordered_rows()
    assert [row.pair for row in rows] == [0, 0, 2, 3, 4, 4, 5, 5, 6, 6]
    assert [(row.first, row.second, row.result) for row in rows[:4]] == [
        (0, 1, 1.0), (1, 0, 0.0), (0, 1, 0.0), (1, 0, 1.0),
    ]  # fmt: skip
    assert league.repeated == 4 and len(league.rows) == 14
    assert league.played()[0].tolist() == [[0, 2, 1, 2], [2, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]]
    ratings = league.fit(3)
    assert [rating.games for rating in ratings.ratings] == [10, 4, 2, 4]
    once = league_of([*COPIED[:1], *COPIED[2:]]).fit(3)
    assert ratings.elo.tolist() == once.elo.tolist()
    assert ratings.clustered.tolist() == once.clustered.tolist()
    cross = make_cross(league, ratings)
    assert cross.games.sum() == 20
    assert any(note.startswith("4 of the games are copies") for note in make_notes(league, ratings, cross))  # fmt: skip


def test_which_copy_counts_does_not_depend_on_who_finished_first() -> None:
    wanted = league_of(COPIED)
    for order in ((6, 5, 4, 3, 2, 1, 0), (2, 0, 3, 1, 6, 4, 5)):
        league = league_of([COPIED[i] for i in order])
        ratings = league.fit(3)
        assert ratings.elo.tolist() == wanted.fit(3).elo.tolist()
        assert ratings.clustered.tolist() == wanted.fit(3).clustered.tolist()
        assert league.played()[0].tolist() == wanted.played()[0].tolist()


def test_a_pairing_that_only_repeats_itself_is_settled() -> None:
    same = [pair(i, NETS[0], NETS[1], (X_WINS, X_WINS)) for i in range(1 + REPEATED // 2)]
    short, league = league_of(same[:-1]), league_of(same)
    assert not short.played()[1].any()
    assert np.argwhere(league.played()[1]).tolist() == [[0, 1], [1, 0]]
    fresh = league_of([*same, pair(99, NETS[0], NETS[1], (O_WINS, O_WINS))])
    assert not fresh.played()[1].any()
    played, settled = league.played()
    ratings, none = league.fit(3), np.zeros((4, 4), np.int64)
    met = np.maximum(played, 1)  # the spanning set is done
    chosen = next_pairs([Member()] * 4, ratings.elo, ratings.covariance, met, none, 20, settled)
    assert chosen and (0, 1) not in chosen


def test_a_tournament_of_networks_ends_when_all_that_is_left_are_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "LONGEST", 2)  # there are twelve of them
    with Run.creating(tmp_path / "small", TTT.name, 0, "") as run:
        for step in (0, 1):
            torch.manual_seed(step)
            run.save_checkpoint(step, Network(TTT, NetworkConfig(1, 8)), {"totals": {}})
    report = run_arena(
        "small", None, root=tmp_path, visits=2, anchors=(), anchor="small@0", games=4000, parallel=8
    )
    path = tmp_path / "arena" / "results.jsonl"
    played = 2 * path.read_bytes().count(b"\n")
    assert 24 + REPEATED <= played < 200
    copies = played - sum(row.games for row in report.rows) // 2
    assert copies >= REPEATED and any(f"{copies} of the games" in note for note in report.notes)
