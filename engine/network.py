"""The policy-value network: a residual trunk with global pooling and a head for each target.

Fully convolutional with pooled statistics, so one set of weights serves every board size of a game
with the same planes. A game whose actions are not points has a flat policy head instead, which ties
the weights to its board.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game

PRESETS = ("b2c16", "b2c32", "b3c32", "b4c64", "b6c96", "b10c128")
WIN, DRAW, LOSS = 0, 1, 2
"""Order of the value head's classes, for the side to move."""
POOL_EVERY = 2
"""Every second block carries global pooling (KataGo: two or three per net)."""


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network; everything else is derived."""

    blocks: int = 4
    """Residual blocks."""
    channels: int = 64
    """Channels of the trunk."""

    @classmethod
    def preset(cls, name: str) -> NetworkConfig:
        """The config of a name such as `b4c64`.

        Raises UserError for any other form.
        """
        match = re.fullmatch(r"b(\d{1,2})c(\d{1,3})", name)
        if not match or not int(match[1]) or int(match[2]) < 8:
            raise UserError(
                f"network {name!r} is unknown: write bNcM for N blocks of M (8 or more) channels, "
                f"such as {', '.join(PRESETS)}"
            )
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """The preset name, such as `b4c64`."""
        return f"b{self.blocks}c{self.channels}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a checkpoint."""
        return asdict(self)


def conv_bn(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """A convolution without bias and its batch norm; inference folds them into one."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


def pool(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 3C): mean, mean scaled by board width, max (KataGo, 2019, appendix A)."""
    mean = x.mean(dim=(2, 3))
    width = (x.shape[2] * x.shape[3]) ** 0.5
    # Not amax: on a CPU in bfloat16 that takes ten times as long.
    highest = F.adaptive_max_pool2d(x, 1).flatten(1)
    return torch.cat([mean, mean * ((width - 14.0) / 10.0), highest], dim=1)


class Block(nn.Module):
    """Two 3x3 convolutions around a skip; `pooled` adds board-wide statistics as a bias between."""

    def __init__(self, channels: int, pooled: bool) -> None:
        super().__init__()
        self.first = conv_bn(channels, channels, 3)
        self.second = conv_bn(channels, channels, 3)
        self.pooled = nn.Linear(3 * channels, channels) if pooled else None
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]  # starts as identity

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y = F.relu(self.first(x))
        if self.pooled is not None:
            y = y + self.pooled(pool(y))[:, :, None, None]
        return F.relu(x + self.second(y))


class Network(nn.Module):
    """Policy, opponent's reply, value as win/draw/loss, and score and ownership where a game has
    them. Every head starts at zero: a uniform policy, an undecided value."""

    def __init__(self, game: Game, config: NetworkConfig) -> None:
        super().__init__()
        self.game = game
        self.config = config
        c = config.channels
        h = max(16, c // 2)
        self.stem = conv_bn(game.planes, c, 3)
        self.blocks = nn.ModuleList(
            Block(c, pooled=i % POOL_EVERY == POOL_EVERY - 1) for i in range(config.blocks)
        )
        self.policy_conv = conv_bn(c, h, 1)
        self.policy_pool = nn.Linear(3 * h, h)
        if game.policy_head == "flat":
            self.policy_out: nn.Module = nn.Linear(h * game.points, 2 * game.actions)
        else:
            self.policy_out = nn.Conv2d(h, 2, 1)
        self.pass_out = nn.Linear(3 * h, 2) if game.policy_head == "points_and_pass" else None
        self.value_conv = conv_bn(c, h, 1)
        self.value_hidden = nn.Linear(3 * h, c)
        self.value_out = nn.Linear(c, 3)
        self.score_out = nn.Linear(c, 1) if game.has_score else None
        self.ownership_out = nn.Conv2d(h, 1, 1) if game.has_ownership else None
        for head in (
            self.policy_out, self.pass_out, self.value_out, self.score_out, self.ownership_out
        ):  # fmt: skip
            if head is not None:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def trunk(self, planes: Tensor) -> Tensor:
        """(B, C, H, W) planes to (B, channels, H, W)."""
        x = F.relu(self.stem(planes))
        for block in self.blocks:
            x = block(x)
        return x

    def policy_heads(self, x: Tensor) -> Tensor:
        """Trunk output to (B, 2, A) logits: own move, opponent's reply."""
        p = F.relu(self.policy_conv(x))
        pooled = pool(p)
        p = F.relu(p + self.policy_pool(pooled)[:, :, None, None])
        if self.game.policy_head == "flat":
            return self.policy_out(p.flatten(1)).view(len(x), 2, self.game.actions)  # type: ignore[no-any-return]
        points = self.policy_out(p).flatten(2)
        if self.pass_out is None:
            return points  # type: ignore[no-any-return]
        return torch.cat([points, self.pass_out(pooled)[:, :, None]], dim=2)

    def value_heads(self, x: Tensor) -> dict[str, Tensor]:
        """Trunk output to `value` (B, 3) logits, `score` (B,) points, `ownership` (B, P) logits."""
        v = F.relu(self.value_conv(x))
        hidden = F.relu(self.value_hidden(pool(v)))
        out = {"value": self.value_out(hidden)}
        if self.score_out is not None:
            out["score"] = self.score_out(hidden)[:, 0] * float(self.game.points) ** 0.5
        if self.ownership_out is not None:
            out["ownership"] = self.ownership_out(v).flatten(1)
        return out

    def forward(self, planes: Tensor) -> dict[str, Tensor]:
        """All heads for planes (B, C, H, W), each seen from the side to move.

        `policy`, `reply` (B, A) logits; `value` (B, 3) logits in the order win, draw, loss;
        `score` (B,) expected margin in points; `ownership` (B, P) logits of owning the point.
        """
        x = self.trunk(planes)
        policy = self.policy_heads(x)
        return {"policy": policy[:, 0], "reply": policy[:, 1], **self.value_heads(x)}


def expected_value(value_logits: Tensor) -> Tensor:
    """Win minus loss probability, (B,) in [-1, 1], from (B, 3) logits."""
    p = torch.softmax(value_logits.float(), dim=1)
    return p[:, WIN] - p[:, LOSS]


def count_flops(network: Network) -> float:
    """FLOPs of one forward pass of one position (a multiply-add counts as two).

    Counted by torch's own counter over the operators that run, convolutions and matrix products.
    """
    from torch.utils.flop_counter import FlopCounterMode

    game = network.game
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.zeros(1, game.planes, game.rows, game.cols, device=device))
    network.train(was_training)
    return float(counter.get_total_flops())
