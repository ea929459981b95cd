"""The sequential test: fishtest's published figures, error rates, and the command; `arena replay`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sizes import sized

from ghostgo import cli
from ghostgo.arena.openings import canonical_moves
from ghostgo.arena.results import PlayerInfo, read_results
from ghostgo.arena.sprt import Sprt, Verdict, expected_score, log_likelihood_ratio
from ghostgo.data.sgf import parse_games
from ghostgo.engine.games.registry import get_game

# Tests of Stockfish patches by fishtest in 2020, whose bounds were in logistic Elo: pairs with 0 to
# 2 points, and the log likelihood ratio shown with them (pull requests 2493, 2920, 2971, 3017,
# 3098 and 3209 of official-stockfish/Stockfish).
PUBLISHED = [
    (-1.00, 3.00, (424, 2948, 5832, 3045, 460), 2.94),
    (0.00, 2.00, (1284, 17437, 55536, 18085, 1292), 2.94),
    (-0.50, 1.50, (665, 4806, 9333, 4893, 747), 2.95),
    (0.25, 1.75, (328, 4564, 15580, 4789, 371), 2.98),
    (-0.50, 1.50, (17, 253, 1042, 337, 39), 2.96),
    (0.25, 1.75, (11, 407, 3238, 513, 11), 2.93),
    (-1.50, 0.50, (174, 2658, 10273, 2713, 178), 2.96),
    (0.25, 1.25, (53, 2220, 21459, 2445, 47), 2.97),
    (-0.25, 1.25, (253, 4282, 17604, 4431, 286), 2.94),
]


@pytest.mark.parametrize(("elo0", "elo1", "pairs", "ratio"), PUBLISHED)
def test_published_ratios(elo0: float, elo1: float, pairs: tuple[int, ...], ratio: float) -> None:
    assert round(log_likelihood_ratio(pairs, elo0, elo1), 2) == ratio


def test_ratio_has_its_symmetries_and_decides_both_ways() -> None:
    pairs = (20, 30, 60, 45, 33)
    ratio = log_likelihood_ratio(pairs, 0, 35)
    assert log_likelihood_ratio(pairs, 35, 0) == pytest.approx(-ratio)
    assert log_likelihood_ratio(pairs[::-1], 0, -35) == pytest.approx(ratio)
    test = Sprt()
    assert (round(test.lower, 2), round(test.upper, 2)) == (-2.94, 2.94)
    assert test.decide((0, 0, 0, 0, 0)) == ""
    assert test.decide((0, 0, 0, 0, 40)) == "H1"
    assert test.decide((40, 0, 0, 0, 0)) == "H0"
    assert test.decide((3, 5, 9, 6, 4)) == ""


def test_counts_in_one_bin_tell_what_the_best_distributions_say() -> None:
    """All pairs alike: each hypothesis moves the least mass that gives it its mean."""
    half, most = expected_score(0), expected_score(35)
    for n in (1, 10, 1000):
        won = log_likelihood_ratio((0, 0, 0, 0, n), 0, 35)
        assert won == pytest.approx(n * np.log(most / half), abs=0.02)
        even = log_likelihood_ratio((0, 0, n, 0, 0), 0, 35)
        assert even == pytest.approx(n * np.log(2 - 2 * most), abs=0.02)
        assert np.isfinite(log_likelihood_ratio((n, 0, 0, 0, 0), -1000, 1000))


@pytest.mark.parametrize(("elo", "wrong"), [(0.0, "H1"), (100.0, "H0")])
def test_error_rates_are_within_bounds(elo: float, wrong: str) -> None:
    test, rng, tests = Sprt(0, 100, 0.1, 0.1), np.random.default_rng(5), 150
    p = expected_score(elo)
    errors = 0
    for _ in range(tests):
        pairs = [0] * 5
        while not (verdict := test.decide(pairs)):
            pairs[2 * int(rng.random() < p) + 2 * int(rng.random() < p)] += 1
        errors += verdict == wrong
    # Three standard errors above the nominal rate.
    assert errors / tests < 0.1 + 3 * (0.09 / tests) ** 0.5


def sprt(*words: str) -> int:
    return cli.run(["arena", "sprt", *words])


def test_sprt_stops_resumes_and_its_games_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = f"mcts:{sized(30, 8)}"
    words = (tree, "random", "--game", "go5", "--elo1", "200")
    assert sprt(*words, "--games", "4") == 0
    assert "no decision yet" in capsys.readouterr().out
    ledger = tmp_path / "runs/sprt/results.jsonl"
    first = ledger.read_bytes()
    assert len(read_results(ledger)) == 2
    assert sprt(*words) == 0
    told = capsys.readouterr().out
    assert f"H1 accepted: {tree} is stronger than random, nearer 200" in told
    assert ledger.read_bytes().startswith(first)
    played = ledger.read_bytes()
    assert sprt(*words) == 0
    assert capsys.readouterr().out == told and ledger.read_bytes() == played, "nothing to play"
    # The other way round, the same games say the opposite.
    assert sprt("random", tree, "--game", "go5", "--elo1", "200") == 0
    assert f"H0 accepted: random against {tree}, nearer 0" in capsys.readouterr().out
    assert ledger.read_bytes() == played

    assert sprt(tree, "random", "--game", "go3", "--games", "4") == 0
    assert sprt(tree, "random", "--game", "connect_four", "--games", "4") == 0
    assert "no decision yet" in capsys.readouterr().out, "openings of another game were taken"
    pair = json.loads(played.splitlines()[0])
    out = ("--out", "runs/sprt")
    assert cli.run(["arena", "replay", "--every", *out]) == 2
    assert "needs the ID" in capsys.readouterr().err
    assert cli.run(["arena", "replay", *out]) == 0
    assert read_results(ledger)[-1].pair in capsys.readouterr().out
    assert cli.run(["arena", "replay", pair["pair"][:8], "--sgf", "game.sgf", *out]) == 0
    shown = capsys.readouterr().out
    game = pair["games"][0]
    assert f"{len(game['moves'])} moves" in shown and f"Black: {tree}, White: random" in shown
    (written,) = parse_games(Path("game.sgf").read_bytes())
    assert written.actions(5, 5) == game["moves"]
    assert cli.run(["arena", "replay", f"{pair['pair']}/2", "--every", "--move", "3", *out]) == 0
    shown = capsys.readouterr().out
    assert shown.count("move ") == 4 and f"Black: random, White: {tree}" in shown


@pytest.fixture
def small_runs(tmp_path: Path) -> Path:
    """A folder with runs `x` and `y` of one untrained 2x2 network each."""
    import torch

    from ghostgo.data.run import Run
    from ghostgo.engine.games.registry import get_game
    from ghostgo.engine.network import Network, NetworkConfig

    for seed, name in enumerate("xy", 1):
        torch.manual_seed(seed)
        network = Network(get_game("go2"), NetworkConfig.preset("b1c16"))
        with Run.creating(tmp_path / "runs" / name, "go2", seed=seed, config="") as run:
            run.save_checkpoint(1, network, {"totals": {}})
    return tmp_path


def test_copies_of_games_are_no_evidence(
    small_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small_runs)
    words = ("x", "y", "--visits", "2", "--elo1", "1")
    assert sprt(*words, "--games", "4") == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert sprt(*words) == 0
    told = capsys.readouterr().out
    results = read_results(small_runs / "runs/sprt/results.jsonl")
    # Of different openings two may lead to the same games.
    game = get_game(results[0].game)
    played = [
        frozenset((g.first, canonical_moves(game, g.moves)) for g in result.games)
        for result in results
    ]
    met, evidence = set[tuple[int, tuple[int, ...]]](), 0
    for pair in played:
        if not pair & met:
            met |= pair
            evidence += 1
    assert f"no decision, no new openings: {evidence} pairs" in told
    assert f"{2 * evidence} games" in told
    assert 3 < evidence <= len(results) == len({result.opening for result in results})
    # Copies in the ledger of an earlier version do not count either.
    monkeypatch.setattr("ghostgo.arena.sprt.UNSEEDED", ())
    monkeypatch.setattr(PlayerInfo, "deterministic", False)
    more = 2 * len(results) + 6
    assert sprt(*words, "--games", str(more)) == 0
    assert f"{more} games" in capsys.readouterr().out, "players that vary their games go on"
    monkeypatch.undo()
    monkeypatch.chdir(small_runs)
    assert sprt(*words) == 0
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sprt", "random", "capture"), "say which game"),
        (("sprt", "random", "random", "--game", "go5"), "one player"),
        (("sprt", "random", "capture", "--game", "go5", "--elo0", "50"), "--elo0 50"),
        (("sprt", "random", "nobody", "--game", "go5"), "nobody"),
        (("sprt", "random", "capture", "--game", "go5", "--elo1", "5000"), "--elo1 5000"),
        (("--visits", "9", "sprt", "random", "capture", "--game", "go5"), "stand behind it"),
        (("--out", "x", "replay"), "stand behind it"),
        (("replay",), "no rated game yet"),
        (("replay", "abc"), "no rated game yet"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["arena", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_forfeits_stop_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = tmp_path / "engine.py"
    engine.write_text(
        "import sys\n"
        "for line in sys.stdin:\n"
        "    if line.startswith('genmove'):\n"
        "        sys.exit('no move today')\n"
        "    print('= true\\n', flush=True)\n"
    )
    spec = f"gtp:{sys.executable} {engine}"
    assert sprt("random", spec, "--game", "go5") == 2
    error = capsys.readouterr().err
    assert "in a row were forfeited" in error and "no move today" in error


def test_verdicts_claim_no_more_than_the_bounds() -> None:
    pairs = (1, 2, 3, 4, 50)
    assert "stronger" in Verdict("H1", pairs, 3.0).text("x", "y", Sprt(0, 35))
    assert "stronger" not in Verdict("H1", pairs, 3.0).text("x", "y", Sprt(-10, 0))
    assert "2 of them forfeited" in Verdict("", pairs, 0.0, 2).text("x", "y", Sprt())
