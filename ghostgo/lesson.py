"""A few gradient steps on one game, held near what the network was.

The game's positions teach the network what searches of them say, and the points and owners that it
ended with. Who won is one number for all of them: two dozen steps towards it would lean the value
of every position to whoever won last. So the value follows what the searches of the next moves
thought, which comes to the result at the end (RESULTS.md, twentieth round). Beside them it
rehearses positions of its own play, where it must go on to say what it said before (as learning
without forgetting does: Li and Hoiem 2016). Half of these are positions of the play of the network
that took no lesson yet, whose word it is held to as well, so that many lessons do not add up to a
long way. If it has moved too far all the same, from the one or the other, it goes only part of the
way.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ghostgo.data.batch import Batch
from ghostgo.data.records import GameTable, Rules
from ghostgo.data.replay import ReplayWindow
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import make_evaluator
from ghostgo.engine.games.game import (
    Game,
    States,
    legal_mask_of,
    play_one,
    write_planes_of,
)
from ghostgo.engine.network import Network, expected_value
from ghostgo.engine.search import Searcher
from ghostgo.engine.search_config import SearchConfig, batch_rows
from ghostgo.selfplay.learner import LearnerConfig, head_losses, planes_tensor
from ghostgo.session import Session

SEARCHED = SearchConfig(root="gumbel")
"""Its policy is the network's own but for what the search found better or worse (`result.policy`).
Shares of visits are not: where all moves are worth the same, as in most of a game that is decided,
they are those of exploring, and one lesson from them costs strength (RESULTS.md, twenty-first round)."""
CHUNK = 64
"""Positions of the game that are searched at once."""
WALKS = 32
"""Games of its own that the network plays at once for its rehearsal."""
SHARES = (1.0, 0.5, 0.25, 0.125, 0.0)
"""Of the way that the steps have led; the largest that stays near enough is taken."""


@dataclass(frozen=True)
class LessonConfig:
    """How hard one game is learnt."""

    visits: int = 100
    """Simulations a position of the game, for what is to be learnt."""
    steps: int = 24
    """Gradient steps."""
    rows: int = 64
    """Positions of the game in a step, and as many of the rehearsal."""
    learning_rate: float = 3e-4
    hold: float = 3.0
    """Weight of the divergence from what it said before, policy and value, on the rehearsal."""
    rehearsal: int = 1024
    """Positions of its own play."""
    most_drift: float = 0.02
    """Mean KL divergence of the policy on the rehearsal that a lesson may bring, in nats."""
    most_total: float = 0.1
    """The same from the network that took no lesson yet, for all lessons together."""


@dataclass(frozen=True)
class Lesson:
    """What came of a lesson."""

    positions: int
    """Of the game."""
    before: float
    """Loss of the policy on the game's positions, in nats."""
    after: float
    drift: float
    """Mean KL divergence on the rehearsal from the policy before, in nats."""
    total: float
    """The same from the policy before all lessons."""
    share: float
    """Share of the way that was gone; 0: nothing was learnt."""


def fewest_moves(game: Game) -> int:
    """Of a game that teaches anything: as many as the board's shorter side."""
    return min(game.rows, game.cols)


def game_table(session: Session, network: Network, config: LessonConfig, seed: int) -> GameTable:
    """The finished game of `session` with what searches by `network` say of its positions.

    A game whose dead stones were marked teaches its moves alone, no result, score or owners: the
    rules, under which the network searches, count those stones as alive, and the players did not.
    Raises UserError if it is unfinished, too short, has moves out of turn or went on after its end.
    """
    game, n = session.game, len(session.moves)
    if not session.over:
        raise UserError("only a finished game can be learnt from")
    if n < fewest_moves(game):
        raise UserError(
            f"a game of {n} moves is too short to learn from: it takes {fewest_moves(game)}"
        )
    if any(
        player != (session.first_to_play + i) % 2 for i, (player, _) in enumerate(session.moves)
    ):
        raise UserError("a game with moves out of turn is not learnt from")
    states = session.positions()
    if states.done.any():
        raise UserError("a game that went on after its end is not learnt from")
    policies, values = search_all(network, states, config.visits, seed)
    agreed = bool(session.dead)
    winner = session.winner()
    result = 0.0 if winner is None else 1.0 - 2.0 * winner
    counted = session.resigned is None and not agreed
    owners = None
    if counted and game.has_ownership:
        owners = np.zeros((1, game.points), np.int8)
        owners[0] = session.owners()
    setups = np.zeros((1, game.points), np.int8)
    for point, stone in session.setup.items():
        setups[0, point] = stone
    return GameTable(
        game=game.name,
        rules_table=(dict(session.rules),),
        rules_index=np.zeros(1, np.uint8),
        offsets=np.array([0, n], np.int64),
        moves=np.array([action for _, action in session.moves], np.int16),
        results=np.array([np.nan if agreed else result], np.float32),
        scores=np.array(
            [session.margin() if counted and session.has_score else np.nan], np.float32
        ),
        ranks=np.zeros((1, 2), np.int8),
        weights=np.ones(n, np.float32),
        first_to_play=np.array([session.first_to_play], np.int8),
        policies=policies.astype(np.float16),
        values=values.astype(np.float16),
        ownership=owners,
        setups=setups if session.setup else None,
    )


def search_all(
    network: Network, states: States, visits: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Improved policies (n, A) and values (n,) of a search of each of `states` (n,), no noise."""
    evaluator = make_evaluator(network, batch_rows(SEARCHED, min(CHUNK, len(states))))
    searcher = Searcher(
        network.game, evaluator, min(CHUNK, len(states)), visits, SEARCHED, seed=seed
    )
    parts = [searcher.run(states[i : i + CHUNK]) for i in range(0, len(states), CHUNK)]
    return np.concatenate([p.policy for p in parts]), np.concatenate([p.value for p in parts])


def own_positions(network: Network, rules: Rules, count: int, seed: int) -> NDArray[np.uint16]:
    """Planes (count, P, C) of positions that the network's policy, drawn from, comes to."""
    game, rng = network.game, np.random.default_rng([seed, 17])
    evaluator = make_evaluator(network, WALKS)
    states = game.new_states(WALKS, rules)
    mask = np.zeros((WALKS, game.actions), np.uint8)
    plies = max(-(-count // WALKS), game.points)
    chosen_rows = np.sort(rng.choice(plies * WALKS, count, replace=False))
    seen: list[NDArray[np.uint16]] = []
    for ply in range(plies):
        for i in range(WALKS):
            legal_mask_of(states[i], mask[i])
            write_planes_of(states[i], mask[i], evaluator.planes[i])
        wanted = chosen_rows[chosen_rows // WALKS == ply] % WALKS
        seen.append(evaluator.planes[wanted])
        evaluator.evaluate(WALKS)
        logits = np.where(mask == 1, evaluator.policy[:WALKS].astype(np.float64), -np.inf)
        chosen = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # a draw from the softmax
        for i in range(WALKS):
            play_one(states[i], int(chosen[i]))
            if states[i].done:
                states[i] = game.new_states(1, rules)[0]
    return np.concatenate(seen)


@dataclass(frozen=True)
class _Bound:
    """What a network said on the rehearsal, and how far from it a lesson may lead."""

    said: dict[str, Tensor]
    """Log probabilities, by head."""
    most: float

    def rows(self, rows: Tensor) -> dict[str, Tensor]:
        return {head: each[rows] for head, each in self.said.items()}


def _divergences(network: Network, x: Tensor, said: list[dict[str, Tensor]]) -> Tensor:
    """Mean KL of policy and of value from each of `said` (log probabilities), in nats, their sum."""
    out = network(x)
    now = {head: F.log_softmax(out[head], dim=1) for head in ("policy", "value")}
    parts = [
        F.kl_div(now[head], each[head], log_target=True, reduction="batchmean")
        for each in said
        for head in each
    ]
    return torch.stack(parts).sum()


def _weighted(losses: dict[str, Tensor]) -> Tensor:
    weights = LearnerConfig()
    shares = {
        "policy": 1.0, "value": weights.value_weight, "reply": weights.reply_weight,
        "score": weights.score_weight, "ownership": weights.ownership_weight,
    }  # fmt: skip
    return torch.stack([share * losses[h] for h, share in shares.items() if h in losses]).sum()


def _value_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean squared error of the expected value from what the next searches thought, where known."""
    known = torch.from_numpy(np.isfinite(batch.short))
    error = expected_value(logits)[known] - torch.from_numpy(batch.short)[known]
    return error.square().sum() / max(1, len(error))


@torch.no_grad()
def _policy_loss(network: Network, window: ReplayWindow) -> float:
    batch = window.rows_batch(np.arange(window.rows))
    x = planes_tensor(batch.planes, network.game)
    return float(head_losses(network(x), batch, network.game)["policy"])


def take_lesson(
    network: Network,
    table: GameTable,
    config: LessonConfig,
    seed: int,
    origin: Network | None = None,
) -> tuple[Network, Lesson]:
    """The network after a lesson on the games of `table`, and what came of it; its own is unchanged.

    `origin` is the network before all lessons, which it may not leave by more than `most_total`;
    None: this is the first. Batch norms keep the statistics that they have: a few positions of one
    game would spoil them.
    """
    game = network.game
    window = ReplayWindow(game, seed=seed, short=True)
    window.add(table)
    old = copy.deepcopy(network).eval().requires_grad_(False)
    rehearsal = _rehearsal(old, origin, table.rules_of(0), config.rehearsal, seed)
    bounds = [_Bound(_said(old, rehearsal), config.most_drift)]
    if origin is not None:
        bounds.append(_Bound(_said(origin.eval(), rehearsal), config.most_total))
    student = copy.deepcopy(network).eval().requires_grad_(True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.learning_rate, weight_decay=0.0)
    rng = np.random.default_rng([seed, 19])
    for _ in range(config.steps):
        batch = window.sample(config.rows, rng)
        rows = torch.from_numpy(rng.choice(len(rehearsal), config.rows, replace=False))
        out = student(planes_tensor(batch.planes, game))
        losses = head_losses(out, batch, game) | {"value": _value_loss(out["value"], batch)}
        held = _divergences(student, rehearsal[rows], [bound.rows(rows) for bound in bounds])
        loss = _weighted(losses) + config.hold * held
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
    taken, drifts, share = _near_enough(old, student, rehearsal, bounds)
    after = _policy_loss(taken, window)
    before = _policy_loss(old, window)
    return taken, Lesson(table.positions, before, after, drifts[0], drifts[-1], share)


def _rehearsal(
    network: Network, origin: Network | None, rules: Rules, count: int, seed: int
) -> Tensor:
    """Positions (count, C, H, W) of the play of `network`, half of them of `origin` if there is one."""
    if origin is None:
        planes = own_positions(network, rules, count, seed)
    else:
        parts = (network, count - count // 2), (origin, count // 2)
        planes = np.concatenate([own_positions(n, rules, share, seed) for n, share in parts])
    return planes_tensor(planes, network.game)


@torch.no_grad()
def _said(network: Network, x: Tensor) -> dict[str, Tensor]:
    parts = [network(x[i : i + 256]) for i in range(0, len(x), 256)]
    return {
        head: F.log_softmax(torch.cat([part[head] for part in parts]), dim=1)
        for head in ("policy", "value")
    }


@torch.no_grad()
def _near_enough(
    old: Network, new: Network, rehearsal: Tensor, bounds: list[_Bound]
) -> tuple[Network, list[float], float]:
    """As far from `old` towards `new` as it stays within all `bounds`; with the policy's drift from
    each, in nats, and the share. A bound that `old` is beyond already is as far as that."""
    start = _drifts(old, rehearsal, bounds)
    ends = old.state_dict(), new.state_dict()
    for share in SHARES:
        between = copy.deepcopy(old)
        between.load_state_dict(
            {
                name: first + share * (ends[1][name] - first)
                if first.is_floating_point()
                else first
                for name, first in ends[0].items()
            }
        )
        drifts = _drifts(between, rehearsal, bounds)
        within = zip(drifts, bounds, start, strict=True)
        if all(np.isfinite(now) and now <= max(bound.most, at) for now, bound, at in within):
            return between, drifts, share
    return copy.deepcopy(old), start, 0.0


def _drifts(network: Network, rehearsal: Tensor, bounds: list[_Bound]) -> list[float]:
    """Mean KL of the policy from each of `bounds`, in nats."""
    now = _said(network, rehearsal)["policy"]
    return [
        float(F.kl_div(now, bound.said["policy"], log_target=True, reduction="batchmean"))
        for bound in bounds
    ]
