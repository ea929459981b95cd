"""The dial from the bot's move to a person's."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ghostgo import cli
from ghostgo.bot import SearchBot
from ghostgo.data.run import find_checkpoint, load_network
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import legal_mask_of, play_one, write_planes_of
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import rank_code
from ghostgo.engine.search import SearchResult
from ghostgo.human import HumanBot, human_weights, search_values
from ghostgo.opponents import make_bot
from ghostgo.variety import Lot

RNG = np.random.default_rng(1)
LOG_POLICY = np.log(RNG.dirichlet(np.full(30, 0.5)))
Q = RNG.uniform(-1, 1, 30)


def test_at_one_the_policy_alone_counts() -> None:
    np.testing.assert_allclose(human_weights(LOG_POLICY, Q, 1.0), np.exp(LOG_POLICY))


def test_towards_zero_the_best_move_is_played() -> None:
    weights = human_weights(LOG_POLICY, Q, 0.001)
    assert weights.argmax() == Q.argmax() and weights.max() > 0.999


def test_the_dial_trades_value_for_likeness() -> None:
    dials = [0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0]
    weights = [human_weights(LOG_POLICY, Q, dial) for dial in dials]
    value = [float(w @ Q) for w in weights]
    divergence = [float((w * (np.log(w + 1e-300) - LOG_POLICY)).sum()) for w in weights]
    assert value == sorted(value, reverse=True)
    assert divergence == sorted(divergence, reverse=True)


def test_it_is_the_best_value_for_its_distance() -> None:
    """No other policy has more of q - KL * scale * h / (1 - h) (piKL)."""
    dial = 0.6
    best = human_weights(LOG_POLICY, Q, dial)

    def worth(w: np.ndarray) -> float:
        return float(w @ Q - 0.1 * dial / (1 - dial) * (w * (np.log(w) - LOG_POLICY)).sum())

    for _ in range(200):
        other = best * np.exp(RNG.normal(0, 0.3, 30))
        assert worth(other / other.sum()) <= worth(best) + 1e-12


def found(visits: list[int], q: list[float], value: float = 0.0, lost: int = -1) -> SearchResult:
    """A search of one position as PUCT leaves it, its best action the most visited."""
    policy = np.array(visits, np.float32)
    policy[lost if lost >= 0 else []] = 0
    return SearchResult(
        visits=np.array([visits], np.int32),
        q=np.array([q], np.float32),
        prior=np.full((1, len(q)), 1 / len(q), np.float32),
        policy=(policy / max(policy.sum(), 1))[None],
        value=np.array([value], np.float32),
        raw_value=np.array([0.2], np.float32),
        action=np.array([int(np.argmax(policy))], np.int32),
    )


NAN = float("nan")


def test_many_visits_count_more_than_a_lucky_one() -> None:
    values = search_values(found([49, 1], [0.5, 0.6]))
    np.testing.assert_allclose(values, [(49 * 0.5 + 0.2) / 50, (0.6 + 0.2) / 2], rtol=1e-6)
    assert values.argmax() == 0


def test_what_the_search_did_not_try_counts_as_its_worst() -> None:
    values = search_values(found([9, 0, 4, 0], [0.5, NAN, -0.3, NAN]))
    assert values[1] == values[3] == values[2] == pytest.approx((4 * -0.3 + 0.2) / 5)
    np.testing.assert_allclose(search_values(found([0, 0], [NAN, NAN])), 0.2, rtol=1e-6)


def test_what_is_proven_counts_as_that() -> None:
    lost = search_values(found([9, 3, 0], [0.5, 0.4, NAN], lost=1))
    assert lost[1] == -1 and lost[2] == lost[0], "the untried are not lost"
    won = search_values(found([9, 3], [0.3, 0.9], value=1.0))
    assert won[0] == 1 and won[1] == pytest.approx(0.9), "no visit more where all is known"
    assert human_weights(np.log([0.01, 0.99]), won, 0.05).argmax() == 0


def test_illegal_moves_have_no_chance() -> None:
    policy = LOG_POLICY.copy()
    policy[::2] = -np.inf
    for dial in (0.1, 1.0):
        assert (human_weights(policy, Q, dial)[::2] == 0).all()


def human_bot(dial: float, seed: int | None = 1) -> HumanBot:
    bot = make_bot("go9", None, 16, seed, Path("nowhere"))
    assert isinstance(bot, SearchBot)
    return HumanBot(bot, load_network(find_checkpoint("human9").path), dial, Lot(seed))


def test_a_question_twice_has_one_answer() -> None:
    bot, states = human_bot(0.9), get_game("go9").new_states(1)
    for _ in range(6):
        move = bot.choose(states)
        assert bot.choose(states) == move == bot.analyse(states).action
        play_one(states[0], move)


def test_every_way_to_ask_gives_the_dials_move() -> None:
    """The full screen and analysing clients take the move from `ponder`."""
    bot, game, others = human_bot(1.0), get_game("go9"), 0
    plain = make_bot("go9", None, 16, 1, Path("nowhere"))
    states = game.new_states(1)
    for _ in range(8):
        (*_, last) = bot.ponder(states)
        move = last().action
        assert bot.choose(states) == move
        others += move != plain.choose(states)
        play_one(states[0], move)
    assert others >= 2, "nobody could tell it from the bot without a dial"


def test_an_analysing_client_plays_the_dials_move(
    tmp_path: Path, ghostgo_command: list[str]
) -> None:
    moves = []
    for ask in ("genmove b", "lz-genmove_analyze b 100"):
        served = subprocess.run(
            [
                *ghostgo_command, "gtp", "human9", "--root", str(tmp_path), "--visits", "8",
                "--seed", "5", "--human", "1",
            ],
            input=f"{ask}\nshowboard\nquit\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        moves.append(re.search(r"(?:= |play )([A-J]\d|pass)", served.stdout)[1])  # type: ignore[index]
    assert moves[0] == moves[1]


def test_at_one_it_draws_from_the_priors_policy() -> None:
    states = get_game("go9").new_states(1)
    for move in ("E5", "C3", "G7"):
        play_one(states[0], get_game("go9").parse_action(move))
    bot = human_bot(1.0)
    bot.choose(states)
    found = bot._bot.result()
    counts = Counter[int]()
    for seed in range(2000):
        bot.lot.seed = seed
        counts[bot._pick(states, found)] += 1
    prior = make_bot("human9", None, 2, 1, Path("nowhere"))
    assert isinstance(prior, SearchBot)
    prior.choose(states)
    expected = prior.result().prior[0]
    for action in np.flatnonzero(expected > 0.02):
        share, wanted = counts[int(action)] / 2000, float(expected[action])
        assert abs(share - wanted) < 5 * (wanted * (1 - wanted) / 2000) ** 0.5 + 0.01


def test_the_prior_in_the_box_is_told_ranks() -> None:
    """People of two ranks do not play alike in a fight."""
    states = get_game("go9").new_states(1)
    for move in ("E5", "E3", "D3", "D4", "C3", "E4", "F3"):
        play_one(states[0], get_game("go9").parse_action(move))
    network = load_network(find_checkpoint("human9").path)
    mask, said = np.zeros(network.game.actions, np.uint8), []
    for rank in ("20k", "1d"):
        evaluator = make_evaluator(network, 1, rank=rank_code(rank))
        legal_mask_of(states[0], mask)
        write_planes_of(states[0], mask, evaluator.planes[0])
        evaluator.evaluate(1)
        logits = np.where(mask == 1, evaluator.policy[0].astype(np.float64), -np.inf)
        said.append(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
    assert np.abs(said[1] - said[0]).sum() > 0.1


def test_it_goes_to_other_boards_with_its_prior() -> None:
    bot = human_bot(0.5).bind(get_game("go5"))
    assert bot.game is get_game("go5") and 0 <= bot.choose(get_game("go5").new_states(1)) <= 25


def test_play_and_gtp_have_the_dial(tmp_path: Path, ghostgo_command: list[str]) -> None:
    where = ["--root", str(tmp_path), "--visits", "8", "--seed", "1", "--human", "0.8"]
    where += ["--rank", "5k"]
    played = subprocess.run(
        [*ghostgo_command, "play", "go9", *where, "--plain", "--save", str(tmp_path)],
        input="E5\nresign\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "80% human" in played.stdout
    saved = next(tmp_path.glob("*.sgf")).read_text()
    assert "80% human" in saved
    served = subprocess.run(
        [*ghostgo_command, "gtp", "go9", *where], input="name\ngenmove b\nquit\n",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert served.stdout.count("= ") >= 2 and "?" not in served.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mcts:50", "--human", "0.5"], "goes with a bot that has a network"),
        (["connect_four", "--human", "0.5"], "there is no human prior for connect_four here"),
        (["go9", "--human-prior", "human9"], "--human-prior and --rank go with --human above 0"),
        (["go9", "--human", "0.5", "--human-prior", "nobody"], "'nobody' is neither a run"),
        (["go9", "--human", "0.5", "--human-prior", "connect_four"], "was trained for"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["play", *arguments, "--root", str(tmp_path), "--plain"]) == 2
    assert message in capsys.readouterr().err
