"""One optimisation step, and what it lost by head."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostgo.data.batch import Batch
from ghostgo.data.replay import ReplayWindow
from ghostgo.engine import fused
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.network import DRAW, LOSS, WIN, Network
from ghostgo.engine.score_head import score_bin
from ghostgo.selfplay.marginal_start import ROWS, start_at_marginals
from ghostgo.selfplay.muon import Muon, hidden_matrices
from ghostgo.selfplay.neighbours import average_neighbours


@dataclass(frozen=True)
class LearnerConfig:
    """How the network is trained, in self-play and in imitation alike."""

    batch_size: int = 256
    """Positions in one step."""
    learning_rate: float = 8e-3
    """Peak rate of AdamW. High, as the averaged weights take out its noise."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """What trains the hidden convolutions and linear layers; AdamW trains all the rest in any case.
    muon: steps with equal singular values (`muon.py`; Jordan 2024)."""
    muon_rate: float = 4e-3
    """With `muon`: peak root mean square of what a step adds to a hidden weight, in place of
    `learning_rate` there."""
    muon_momentum: float = 0.95
    """With `muon`: decay a step of the gradients' moving average (Jordan 2024: 0.95)."""
    warmup_steps: int = 100
    """Steps over which the rate rises linearly from zero."""
    weight_decay: float = 1e-4
    """Decoupled decay of convolution and linear weights (not of biases and norms), times their rate."""
    average: float = 0.998
    """Decay a step of the weights' moving average, which plays and is saved; 0: no average."""
    gradient_clip: float = 5.0
    """Largest norm of the gradient; larger ones are scaled down."""
    value_weight: float = 1.0
    """Weight of the win/draw/loss cross-entropy."""
    reply_weight: float = 0.15
    """Weight of predicting the opponent's reply (KataGo 2019: 0.15)."""
    score_weight: float = 0.02
    """Weight of the score's Huber loss, in units of the board's side (KataGo: 0.02 a term)."""
    ownership_weight: float = 1.5
    """Weight of the mean ownership cross-entropy over points (KataGo: 1.5 / area, summed)."""
    distribution_weight: float = 0.02
    """Weight of the score distribution's cross-entropy, for networks that have it (KataGo: 0.02)."""
    score_cdf: float = 0.02
    """Weight of the squared error of the distribution's cumulative chances, summed over the margins, for
    networks that have it (KataGo 2019: 0.02)."""
    short_weight: float = 0.5
    """Weight of the short-horizon value's squared error, for networks that have it."""
    start_at_marginals: bool = True
    """Whether heads that are still at zero start at the marginals of the first window."""
    symmetries: bool = True
    """Whether each row of a batch is turned by a random symmetry of the board."""
    number_format: Literal["auto", "bfloat16", "float32"] = "auto"
    """What operators that can compute in; weights and losses are float32 always. auto: bfloat16 on a
    GPU that has it, and on a CPU that does where it is measured to be faster, once for a run."""
    window_mb: int = 2048
    """Memory that the replay window of self-play may take, in MiB (2^20 bytes), all boards
    together; the oldest games go first."""


MIN_SLICE = 32
"""A thread's slice of a batch has at least so many rows: batch norms need them."""


class NotANumber(FloatingPointError):
    """A loss or gradient is not finite; the message names head and step."""


def can_bfloat16(device: str) -> bool:
    """Whether the hardware of `device` computes in bfloat16."""
    if device == "cpu":
        return fused.has_bfloat16()
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on from `state`, but with the decay and momentum that are configured now."""
    configured: list[dict[str, Any]] = [
        {name: group[name] for name in ("weight_decay", "momentum") if name in group}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, ours in zip(optimizer.param_groups, configured, strict=True):
        group.update(ours)


def planes_tensor(planes: np.ndarray[Any, Any], game: Game, device: str = "cpu") -> Tensor:
    """bfloat16 bits (B, P, C) as a float32 tensor (B, C, H, W), channels-last."""
    bits = torch.from_numpy(planes.view(np.int16)).view(torch.bfloat16)
    x = bits.view(len(planes), game.rows, game.cols, game.planes).permute(0, 3, 1, 2)
    return x.to(device).float()


def value_classes(value: Tensor) -> Tensor:
    """Results 1, 0, -1 as class indices."""
    classes = torch.full_like(value, LOSS, dtype=torch.long)
    classes[value > 0] = WIN
    classes[value == 0] = DRAW
    return classes


def _mean_known(losses: Tensor, known: Tensor) -> Tensor:
    """Mean over the rows where the target is known; 0 if there is none."""
    return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


def head_losses(out: dict[str, Tensor], batch: Batch, game: Game) -> dict[str, Tensor]:
    """Mean loss of each head over the rows that teach it: nats, but `score` (Huber), `short` (square).

    `score` is in units of the board's side, sqrt(P) points. `score_cdf` is the other loss of the head
    `distribution`: the squared differences of its cumulative chances and the margin's (0 below it, 1
    from it on), summed over the margins (Wu 2019, appendix B).
    """
    device = out["policy"].device
    policy = torch.from_numpy(batch.policy).to(device)
    weight = torch.from_numpy(batch.policy_weight).to(device)
    value = torch.from_numpy(batch.value).to(device)
    cross = -(policy * F.log_softmax(out["policy"].float(), dim=1)).sum(dim=1)
    losses = {"policy": (cross * weight).sum() / weight.sum().clamp(min=1e-6)}
    if "reply" in out:
        reply = torch.from_numpy(batch.reply).to(device)
        cross = -(reply * F.log_softmax(out["reply"].float(), dim=1)).sum(dim=1)
        losses["reply"] = _mean_known(cross, reply.sum(dim=1) > 0)
    known = torch.isfinite(value)
    each = F.cross_entropy(out["value"].float(), value_classes(value), reduction="none")
    losses["value"] = _mean_known(each, known)
    if "score" in out:
        score = torch.from_numpy(batch.score).to(device)
        known = torch.isfinite(score)
        side = game.points**0.5
        target = torch.where(known, score, 0.0) / side
        each = F.huber_loss(out["score"].float() / side, target, reduction="none")
        losses["score"] = _mean_known(each, known)
    if "ownership" in out:
        owner = torch.from_numpy(batch.ownership).to(device)
        known = torch.isfinite(owner[:, 0])
        target = torch.nan_to_num(owner)
        each = F.binary_cross_entropy_with_logits(
            out["ownership"].float(), target, reduction="none"
        ).mean(dim=1)
        losses["ownership"] = _mean_known(each, known)
    if "distribution" in out:
        score = torch.from_numpy(batch.score).to(device)
        known = torch.isfinite(score)
        target = score_bin(torch.nan_to_num(score), game.points)
        logits = out["distribution"].float()
        each = F.cross_entropy(logits, target, reduction="none")
        losses["distribution"] = _mean_known(each, known)
        reached = torch.arange(logits.shape[1], device=device) >= target[:, None]
        each = (F.softmax(logits, dim=1).cumsum(dim=1) - reached.float()).square().sum(dim=1)
        losses["score_cdf"] = _mean_known(each, known)
    if "short" in out:
        short = torch.from_numpy(batch.short).to(device)
        known = torch.isfinite(short)
        each = (out["short"].float() - torch.nan_to_num(short)) ** 2
        losses["short"] = _mean_known(each, known)
    return losses


class Learner:
    """A network, its optimiser and their schedule. `step` trains on one batch.

    On a CPU the batch is cut into one slice a thread, each with its own copy of the network and one
    torch thread, and the gradients are averaged. Threads inside torch's operators meet several
    hundred times a step, and one other busy process then slows them to a tenth; slices meet once.
    Batch norms see their slice; the running statistics are the first slice's.
    """

    def __init__(
        self, network: Network, config: LearnerConfig, device: str = "cpu", threads: int = 1
    ) -> None:
        self.device = device
        self.config = config
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        slices = max(1, min(threads, config.batch_size // MIN_SLICE)) if device == "cpu" else 1
        self.pool = ThreadPoolExecutor(slices) if slices > 1 else None
        hidden = {"adamw": [], "muon": hidden_matrices(network)}[config.optimizer]
        others = [p for p in network.parameters() if all(p is not each for each in hidden)]
        self.optimizer = torch.optim.AdamW(
            _groups(others, config.weight_decay), lr=config.learning_rate, fused=True
        )
        self.muon: Muon | None = None
        """What trains the hidden matrices in place of `optimizer`, if so configured."""
        if hidden:
            self.muon = Muon(
                hidden, config.muon_rate, config.muon_momentum, config.weight_decay, self.pool
            )
        self.steps = 0
        self.bfloat16 = can_bfloat16(device)
        """Whether operators that can compute in bfloat16; weights and losses are float32 always."""
        self.weights = {
            "policy": 1.0,
            "value": config.value_weight,
            "reply": config.reply_weight,
            "score": config.score_weight,
            "ownership": config.ownership_weight,
            "distribution": config.distribution_weight,
            "score_cdf": config.score_cdf,
            "short": config.short_weight,
            "prior": 0.0,
        }
        self.average = copy.deepcopy(self.network) if config.average else self.network
        self.prior: Network | None = None
        """A network to whose policy the trained one is held by `step`'s `hold`."""
        self.copies = [network, *(copy.deepcopy(network) for _ in range(slices - 1))]

    @property
    def format(self) -> str:
        """The number format of training, for people to read."""
        return "bfloat16" if self.bfloat16 else "float32"

    def _forward(
        self,
        network: Network,
        x: Tensor,
        rank: Tensor | None = None,
        counting: Tensor | None = None,
    ) -> dict[str, Tensor]:
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bfloat16):
            return network(x, rank, counting)  # type: ignore[no-any-return]

    def _told(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """The rows' ranks and countings; None for what the network is not told."""
        pairs = (self.network.rank, batch.rank), (self.network.counting, batch.counting)
        rank, counting = (
            None if embedding is None else torch.from_numpy(codes).to(self.device)
            for embedding, codes in pairs
        )
        return rank, counting

    def begin(self, window: ReplayWindow, seed: int) -> None:
        """Before the first step: start heads at zero at the marginals of `window`, if so configured.

        Later, and for weights that have learnt, it does nothing.
        """
        if self.steps or not self.config.start_at_marginals:
            return
        batch = window.sample(ROWS, np.random.default_rng([seed, 17]))
        for each in (self.network, self.average):  # slices copy their weights at every step
            start_at_marginals(each.on(window.game), batch)

    def hold_to(self, prior: Network) -> None:
        """Have `prior` at hand for `step`; it is not trained."""
        self.prior = prior.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def _divergence(self, x: Tensor, policy: Tensor) -> Tensor:
        """Mean KL(prior || policy) over the rows of planes `x`, in nats."""
        assert self.prior is not None
        with torch.no_grad():
            theirs = F.log_softmax(self._forward(self.prior, x)["policy"].float(), dim=1)
        mine = F.log_softmax(policy.float(), dim=1)
        return F.kl_div(mine, theirs, log_target=True, reduction="batchmean")

    def _backward(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Losses by head and `total` of one slice; its gradients are left in `network`."""
        if self.device == "cpu":
            torch.set_num_threads(1)
        network.train()
        network.zero_grad(set_to_none=True)
        x = planes_tensor(batch.planes, network.game, self.device)
        out = self._forward(network, x, *self._told(batch))
        losses = head_losses(out, batch, network.game)
        if self.weights["prior"]:
            losses["prior"] = self._divergence(x, out["policy"])
        losses["total"] = sum(self.weights[head] * loss for head, loss in losses.items())  # type: ignore[assignment]
        losses["total"].backward()  # type: ignore[no-untyped-call]
        return {head: loss.detach() for head, loss in losses.items()}

    def _gradients(self, batch: Batch, game: Game) -> dict[str, Tensor]:
        """Mean losses over the slices; the mean gradient is left in the network."""
        if self.pool is None:
            return self._backward(self.network.on(game), batch)
        with torch.no_grad():
            for other in self.copies[1:]:
                for mine, theirs in zip(self.network.parameters(), other.parameters(), strict=True):
                    theirs.copy_(mine)
        cuts = np.linspace(0, len(batch), len(self.copies) + 1).astype(int)
        slices = [batch.rows(first, last) for first, last in pairwise(cuts)]
        copies = [network.on(game) for network in self.copies]
        parts = list(self.pool.map(self._backward, copies, slices))
        shares = np.diff(cuts) / len(batch)
        with torch.no_grad():
            for first, *others in zip(*(c.parameters() for c in self.copies), strict=True):
                # In place: fused AdamW takes gradient and weight to have the same strides.
                first.grad.mul_(shares[0])
                for other, share in zip(others, shares[1:], strict=True):
                    first.grad.add_(other.grad, alpha=share)
        return {
            head: torch.stack(
                [part[head] * share for part, share in zip(parts, shares, strict=True)]
            ).sum()
            for head in parts[0]
        }

    def step(
        self, batch: Batch, rate: float = 1.0, hold: float = 0.0, game: Game | None = None
    ) -> dict[str, float]:
        """Train on `batch` at `rate` times the peak learning rate; losses by head and `total`.

        With `hold`, so many times the divergence from the policy of `prior` is part of the loss.
        The batch is of `game`, another board that the weights fit, if it is not the network's own.
        Raises NotANumber before the weights are touched if the loss or gradient is not finite.
        """
        if self.device == "cpu":  # for all that is summed here: more threads add in another order
            torch.set_num_threads(1)
        self._set_rates(rate)
        self.weights["prior"] = hold
        losses = self._gradients(batch, game or self.network.game)
        average_neighbours(self.network.rank)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        if not (torch.isfinite(losses["total"]) and torch.isfinite(norm)):
            bad = [head for head, loss in losses.items() if not torch.isfinite(loss)]
            heads = [head for head in bad if head != "total"]
            fault = f"loss of {', '.join(heads)}" if heads else "gradient"
            raise NotANumber(f"step {self.steps}: the {fault} is not a number")
        self.optimizer.step()
        if self.muon is not None:
            self.muon.step()
        self.steps += 1
        self._follow()
        return {
            **{head: float(loss) for head, loss in losses.items()},
            "gradient_norm": float(norm),
        }

    def _set_rates(self, rate: float) -> None:
        """Each optimiser's own peak, times the warm-up and `rate`."""
        config = self.config
        warm = min(1.0, (self.steps + 1) / max(1, config.warmup_steps))
        for made, peak in ((self.optimizer, config.learning_rate), (self.muon, config.muon_rate)):
            for group in made.param_groups if made else ():
                group["lr"] = peak * warm * rate

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average toward the weights; young averages follow faster."""
        if self.average is self.network:
            return
        keep = min(self.config.average, self.steps / (self.steps + 9))
        for mean, value in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    @torch.no_grad()
    def judge(self, batch: Batch) -> dict[str, Tensor]:
        """All heads' outputs for a batch, told its ranks and countings, by the averaged weights, in eval mode."""
        self.average.eval()
        x = planes_tensor(batch.planes, self.network.game, self.device)
        out = self._forward(self.average, x, *self._told(batch))
        return {name: value.float().cpu() for name, value in out.items()}

    def state_dict(self) -> dict[str, Any]:
        """Optimisers, counters, number format, and the weights in training (the average is saved apart)."""
        return {
            "optimizer": self.optimizer.state_dict(),
            **({"muon": self.muon.state_dict()} if self.muon else {}),
            "steps": self.steps,
            "bfloat16": self.bfloat16,
            "device": torch.device(self.device).type,
            "network": self.network.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`. Raises UserError for one of another optimiser or other parameters."""
        used = "muon" if "muon" in state else "adamw"
        if used != self.config.optimizer:
            raise UserError(
                f'config: learner: optimizer = "{self.config.optimizer}": the run was trained by "{used}" '
                f'so far: write "{used}", or begin a new run with --from and this one\'s name'
            )
        shapes = [
            [len(group["params"]) for group in each["param_groups"]]
            for each in (self.optimizer.state_dict(), state["optimizer"])
        ]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"its training was stopped by an older version, whose {self.network.config.name} had "
                "other parameters: begin a new run with --from and this one's name"
            )
        _load(self.optimizer, state["optimizer"])
        if self.muon is not None:
            _load(self.muon, state["muon"])
        self.network.load_state_dict(state["network"])
        self.steps = int(state["steps"])
        # Older states do not say; and the run may have moved to another machine.
        if state.get("device", "cpu") == torch.device(self.device).type:
            self.bfloat16 = bool(state.get("bfloat16", True)) and can_bfloat16(self.device)
