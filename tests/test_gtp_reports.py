"""What `lz-analyze` and `kata-analyze` say of each move, and whose numbers they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_gtp import Fixed, ask

from ghostgo.bot import Analysis, Candidate, Margins, SearchBot
from ghostgo.engine.games.game import States, play_one
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig
from ghostgo.engine.score_head import score_bin, score_bins, score_deviation
from ghostgo.gtp import Engine
from ghostgo.gtp_analysis import MOST_JUDGED, Reporter, Request
from ghostgo.opponents import make_bot

GO5 = get_game("go5")
FOUND = Analysis(
    12,
    0.6,
    (
        Candidate(12, 7, 0.6, 0.25, (12, 6), (7, 3), 0.5),
        Candidate(7, 2, 0.4375, 0.125, (), (), 0.0),
    ),
)


class Judge(Fixed):
    """A bot that expects Black to win by so many points as moves were made, sure of even ones."""

    def __init__(self, deviations: bool = True) -> None:
        super().__init__(GO5, 12)
        self.deviations = deviations
        self.asked: list[int] = []

    def margins(self, states: States) -> Margins:  # type: ignore[override]
        self.asked.append(len(states))
        moves = states["move_number"].astype(np.float32)
        return Margins(moves, moves % 2 if self.deviations else None)

    def ownership(self, states: States) -> Any:
        return np.linspace(1, -1, 25, dtype=np.float32)


def report(dialect: Any, bot: Fixed | None = None, player: int = 0, **request: Any) -> str:
    states = GO5.new_states(1)
    if player:
        play_one(states[0], 0)
    return Reporter(bot or Judge(), states, dialect, Request(**request)).report(FOUND)


def test_leela_zero_is_told_ten_thousandths() -> None:
    assert report("lz", ownership=True) == (
        "info move C3 visits 7 winrate 6000 prior 2500 lcb 5000 order 0 pv C3 B4 "
        "info move C4 visits 2 winrate 4375 prior 1250 lcb 0 order 1 pv C4"
    )


def test_katago_is_told_fractions_points_and_owners() -> None:
    said = report("kata", ownership=True, line_visits=True)
    moves, _, owners = said.partition(" ownership ")
    assert moves == (
        "info move C3 visits 7 winrate 0.600000 prior 0.250000 lcb 0.500000 "
        "scoreMean 2.000 scoreLead 2.000 scoreStdev 0.000 order 0 pv C3 B4 pvVisits 7 3 "
        "info move C4 visits 2 winrate 0.437500 prior 0.125000 lcb 0.000000 "
        "scoreMean 1.000 scoreLead 1.000 scoreStdev 1.000 order 1 pv C4 pvVisits 2"
    )
    assert [float(word) for word in owners.split()] == pytest.approx(
        np.linspace(1, -1, 25), abs=1e-4
    )


def test_points_and_owners_are_the_side_to_moves() -> None:
    said = report("kata", player=1, ownership=True)
    assert re.findall(r"scoreLead (\S+)", said) == ["-3.000", "-2.000"]
    owners = [float(word) for word in said.partition("ownership ")[2].split()]
    assert owners == pytest.approx(np.linspace(-1, 1, 25), abs=1e-4)


def test_what_is_not_known_is_left_out() -> None:
    assert "scoreStdev" not in report("kata", Judge(deviations=False))
    blind = report("kata", Fixed(GO5, 12), ownership=True)
    assert "score" not in blind and "ownership" not in blind and "lcb" in blind


def test_no_line_is_judged_twice_and_not_all_at_once() -> None:
    bot = Judge()
    reporter = Reporter(bot, GO5.new_states(1), "kata", Request())
    many = Analysis(0, 0.5, tuple(Candidate(a, 1, 0.5) for a in range(25)))
    pairs = Analysis(0, 0.5, tuple(Candidate(a, 1, 0.5, 0, (a, 24 - a)) for a in range(12)))
    both = Analysis(0, 0.5, many.candidates + pairs.candidates)
    assert reporter.report(both, hurry=True).count("scoreLead") == 0 and bot.asked == []
    assert reporter.report(both).count("scoreLead") == MOST_JUDGED
    assert reporter.report(both).count("scoreLead") == 37
    reporter.report(both)
    assert bot.asked == [MOST_JUDGED, 37 - MOST_JUDGED]


def analysis(engine: Engine, line: str) -> str:
    """The last report of an analysis that is stopped at its twelfth moment."""
    assert (engine.answer(line) or "?").startswith("=")
    assert engine.stream is not None
    looks = iter([False] * 11 + [True])
    return list(engine.stream(lambda: next(looks)))[-1]


def test_a_network_reports_them_all() -> None:
    """Black holds the left five columns of nine, White the right four."""
    engine = Engine(make_bot("go9", None, 32, 1, Path("nowhere")))
    for row in range(1, 10):
        ask(engine, f"play b E{row}", f"play w F{row}")
    black, white = (
        analysis(engine, f"kata-analyze {side} 0 ownership true maxmoves 2 pvVisits true")
        for side in "bw"
    )
    leads = []
    for said in (black, white):
        infos, _, owners = said.partition(" ownership ")
        assert infos.count("info move") == 2 and len(owners.split()) == 81
        for info in infos.split("info move ")[1:]:
            for key in ("winrate", "prior", "lcb"):
                assert 0 <= float(re.findall(rf" {key} (\S+)", info)[0]) <= 1
            pv, visits = re.findall(r"pv (.*) pvVisits ([\d ]+)", info)[0]
            assert len(pv.split()) == len(visits.split()) > 0
            assert visits.split()[0] == re.findall(r"visits (\d+)", info)[0]
        leads.append(float(re.findall(r"scoreLead (\S+)", infos)[0]))
    own = [float(word) for word in black.partition(" ownership ")[2].split()]
    other = [float(word) for word in white.partition(" ownership ")[2].split()]
    assert own[0] > 0 > own[8] and other[0] < 0 < other[8], "A9 is Black's, J9 is White's"
    assert leads[0] * leads[1] < 0, "one side's lead is the other's lag"


def test_margins_are_the_networks_and_exact_when_a_game_is_over(untrained_runs: Path) -> None:
    bot = make_bot("fresh", None, 2, 1, untrained_runs)
    states = bot.game.new_states(2)
    play_one(states[0], 40)
    for _ in range(2):
        play_one(states[1], 81)
    margins = bot.margins(states)
    assert margins is not None and margins.deviations is None
    assert margins.means.tolist() == [0, -bot.game.rules["komi"]], "untrained, it expects nothing"


def test_deviations_are_those_of_the_score_distribution() -> None:
    logits = torch.full((2, score_bins(25)), -1e9)
    logits[0, score_bin(torch.tensor([3.5]), 25)] = 0
    logits[1, score_bin(torch.tensor([-4.5, 5.5]), 25)] = 0
    assert score_deviation(logits).tolist() == [0, 5]
    network = Network(GO5, NetworkConfig.preset("b1c16d")).eval()
    bot = SearchBot("d", network, 2, 1)
    states = GO5.new_states(2)
    play_one(states[1], 25)
    play_one(states[1], 25)
    margins = bot.margins(states)
    assert margins is not None and margins.deviations is not None
    bins = np.arange(score_bins(25))
    assert margins.deviations.tolist() == pytest.approx([bins.std(), 0]), "untrained: all alike"
