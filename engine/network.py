"""The policy-value network: a residual trunk with global pooling and a head for each target.

Fully convolutional with pooled statistics, so one set of weights serves every board size of a game
with the same planes. A game whose actions are not points has a flat policy head instead, which ties
the weights to its board.
"""

from __future__ import annotations

import copy
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostgo.engine.convolution import Conv3x3
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.go import is_go
from ghostgo.engine.score_head import ScoreDistribution

PRESETS = ("b2c16", "b2c32", "b3c32", "b4c64", "b6c96", "b10c128")
WIN, DRAW, LOSS = 0, 1, 2
"""Order of the value head's classes, for the side to move."""
RANKS = 40
"""Rank codes: 0 not told, 1 = 30k ... 30 = 1k, 31 = 1d ... 39 = 9d."""
COUNTINGS = 3
"""Codes of how points are counted: 0 not told, 1 area, 2 territory."""
AREA = 1
POOL_EVERY = 2
"""Every second block carries global pooling (KataGo: two or three per net)."""
LETTERS = {
    "r": "ranks", "j": "counting", "d": "distribution", "v": "short", "p": "preactivation",
    "n": "unpooled", "y": "replyless", "s": "scoreless", "o": "ownerless",
}  # fmt: skip
"""What each letter behind a network's name stands for in its `NetworkConfig`, in their order."""


@dataclass(frozen=True)
class NetworkConfig:
    """Size of the network; everything else is derived."""

    blocks: int = 4
    """Residual blocks."""
    channels: int = 64
    """Channels of the trunk."""
    ranks: bool = False
    """Whether the network is told how strong the side to move plays (see `Network.rank`)."""
    counting: bool = False
    """Whether the network is told how the points are counted (see `Network.counting`)."""
    distribution: bool = False
    """Whether it also forecasts how likely each final score is, where there are points."""
    short: bool = False
    """Whether it also forecasts what the searches of the next moves will think."""
    preactivation: bool = False
    """Whether its blocks normalise and rectify before each convolution (see `Block`)."""
    unpooled: bool = False
    """Whether its blocks have no global pooling; the heads keep theirs."""
    replyless: bool = False
    """Whether it has no head for the opponent's reply."""
    scoreless: bool = False
    """Whether it has no head for the expected margin, where there are points."""
    ownerless: bool = False
    """Whether it has no head for who will own each point, where points have owners."""

    @classmethod
    def preset(cls, name: str) -> NetworkConfig:
        """The config of a name such as `b4c64`, with letters behind it for what it has besides.

        `r` ranks, `j` how points are counted, `d` score distribution, `v` short-horizon value, `p`
        pre-activation, `n` no pooling in the blocks, `y` no reply, `s` no score, `o` no ownership; in
        this order. Raises UserError for any other form.
        """
        letters = "".join(f"({letter}?)" for letter in LETTERS)
        match = re.fullmatch(rf"b(\d{{1,2}})c(\d{{1,3}}){letters}", name)
        if not match or not int(match[1]) or int(match[2]) < 8:
            raise UserError(
                f"network {name!r} is unknown: write bNcM for N blocks of M (8 or more) channels, "
                f"such as {', '.join(PRESETS)}, and behind it, in this order, r for one that is told ranks, "
                "j for one that is told area or territory, d for a score distribution, v for a "
                "short-horizon value, p for pre-activation, n for no pooling in the blocks, y, s, o for "
                "no head for the opponent's reply, the score, ownership"
            )
        has = {key: bool(match[i]) for i, key in enumerate(LETTERS.values(), start=3)}
        return cls(int(match[1]), int(match[2]), **has)

    @property
    def name(self) -> str:
        """The preset name, such as `b4c64`."""
        letters = "".join(letter for letter, key in LETTERS.items() if getattr(self, key))
        return f"b{self.blocks}c{self.channels}{letters}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a checkpoint."""
        return {key: value for key, value in asdict(self).items() if value is not False}


def conv_bn(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """A convolution without bias, of size 1 or 3, and its batch norm; inference folds them into one."""
    conv = Conv3x3(inputs, outputs) if size == 3 else nn.Conv2d(inputs, outputs, size, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def rank_code(name: str) -> int:
    """The code of a rank such as `30k`, `1k`, `9d`. Raises UserError for any other text."""
    match = re.fullmatch(r"([1-9]\d?)([kd])", name)
    number = int(match[1]) if match else 0
    if not match or number > (30 if match[2] == "k" else 9):
        raise UserError(f"rank {name!r} is unknown: 30k to 1k, or 1d to 9d")
    return 31 - number if match[2] == "k" else 30 + number


def own_counting(game: Game) -> int:
    """The code of how our rules count `game`: area in Go; others have one way, which is not told."""
    return AREA if is_go(game) else 0


def pool(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 3C): mean, mean scaled by board width, max (KataGo, 2019, appendix A)."""
    mean = x.mean(dim=(2, 3))
    width = (x.shape[2] * x.shape[3]) ** 0.5
    # Not amax: on a CPU in bfloat16 that takes ten times as long.
    highest = F.adaptive_max_pool2d(x, 1).flatten(1)
    return torch.cat([mean, mean * ((width - 14.0) / 10.0), highest], dim=1)


class Block(nn.Module):
    """Two 3x3 convolutions around a skip; `pooled` adds board-wide statistics as a bias between.

    It starts as identity. With `preactivation` (He et al. 2016, "Identity mappings in deep residual
    networks"; KataGo: Wu 2019, appendix A) a norm and a ReLU stand before each convolution and
    nothing behind the skip, so that the sum of all blocks reaches the last norm as it is. The pooled
    bias stays behind the second ReLU (KataGo has it before that one's norm): nothing else differs.
    """

    def __init__(self, channels: int, pooled: bool, preactivation: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels) if preactivation else None
        self.first = conv_bn(channels, channels, 3)
        second = conv_bn(channels, channels, 3)
        self.second: nn.Module = second[0] if preactivation else second
        self.pooled = nn.Linear(3 * channels, channels) if pooled else None
        # With pre-activation the last norm stands before a ReLU: at weight 0 that would pass neither
        # values nor gradients, and the block would never learn. So there it is the convolution.
        nn.init.zeros_(second[0 if preactivation else 1].weight)  # type: ignore[arg-type]

    def before(self, x: Tensor) -> Tensor:
        """What the first convolution sees of the trunk."""
        return x if self.norm is None else F.relu(self.norm(x))

    def after(self, x: Tensor) -> Tensor:
        """The block's output, of the skip's sum."""
        return F.relu(x) if self.norm is None else x

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y = F.relu(self.first(self.before(x)))
        if self.pooled is not None:
            y = y + self.pooled(pool(y))[:, :, None, None]
        return self.after(x + self.second(y))


def misfit(one: Game, other: Game) -> str:
    """Why weights for the game `one` do not fit `other`; empty if they do."""
    if one.dtype.names[0] != other.dtype.names[0]:  # type: ignore[index]
        return f"{other.name} is another kind of game than {one.name}"
    if one.name != other.name and "flat" in (one.policy_head, other.policy_head):
        return f"a network for {one.name} has a flat policy head, which is tied to its board"
    if one.plane_names != other.plane_names or one.version != other.version:
        return f"{other.name} has other planes than {one.name}"
    return ""


class Network(nn.Module):
    """Policy, opponent's reply, value as win/draw/loss, and score and ownership where a game has
    them; `NetworkConfig` switches all but the first policy and the value.

    Every head starts at zero: a uniform policy, an undecided value.
    """

    def __init__(self, game: Game, config: NetworkConfig) -> None:
        super().__init__()
        self.game = game
        self.config = config
        c = config.channels
        h = max(16, c // 2)
        self.stem = conv_bn(game.planes, c, 3)
        self.rank = nn.Embedding(RANKS, c) if config.ranks else None
        """By rank of the side to move (codes of `GameTable.ranks`; 0: not told), what is added to
        each channel behind the stem. Who judges asks `learnt_rank` first."""
        self.counting = nn.Embedding(COUNTINGS, c, padding_idx=0) if config.counting else None
        """The same by how the points are counted (codes of `GameTable.counting`). Code 0 adds nothing
        for good, so that one which was never learnt is as one that is not told."""
        for embedding in (self.rank, self.counting):
            if embedding is not None:
                nn.init.zeros_(embedding.weight)
        self.blocks = nn.ModuleList(
            Block(c, i % POOL_EVERY == POOL_EVERY - 1 and not config.unpooled, config.preactivation)
            for i in range(config.blocks)
        )
        self.norm = nn.BatchNorm2d(c) if config.preactivation else None
        """Behind the last block, where the blocks leave their sum as it is."""
        self.policy_conv = conv_bn(c, h, 1)
        self.policy_pool = nn.Linear(3 * h, h)
        self.policies = 1 if config.replyless else 2
        if game.policy_head == "flat":
            self.policy_out: nn.Module = nn.Linear(h * game.points, self.policies * game.actions)
        else:
            self.policy_out = nn.Conv2d(h, self.policies, 1)
        has_pass = game.policy_head == "points_and_pass"
        self.pass_out = nn.Linear(3 * h, self.policies) if has_pass else None
        self.value_conv = conv_bn(c, h, 1)
        self.value_hidden = nn.Linear(3 * h, c)
        self.value_out = nn.Linear(c, 3)
        self.score_out = nn.Linear(c, 1) if game.has_score and not config.scoreless else None
        owns = game.has_ownership and not config.ownerless
        self.ownership_out = nn.Conv2d(h, 1, 1) if owns else None
        has_distribution = config.distribution and game.has_score
        self.distribution_out = ScoreDistribution(c, h) if has_distribution else None
        self.short_out = nn.Linear(c, 1) if config.short else None
        last = None if self.distribution_out is None else self.distribution_out.out
        for head in (
            self.policy_out, self.pass_out, self.value_out, self.score_out, self.ownership_out,
            last, self.short_out,
        ):  # fmt: skip
            if head is not None:
                nn.init.zeros_(head.weight)
                nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def on(self, game: Game) -> Network:
        """This network on another board: all weights and statistics are shared, not copied.

        Itself on its own board. Raises ValueError where they do not fit (see `misfit`).
        """
        if why := misfit(self.game, game):
            raise ValueError(why)
        if game.name == self.game.name:
            return self
        other = copy.copy(self)  # the same modules; nothing but `game` depends on the board
        other.game = game
        return other

    def learnt_rank(self, codes: Tensor) -> Tensor:
        """(B,) rank codes to the same, 0 for each that was never learnt; of a network told ranks.

        Code 0 learns as any other does, so it has a part of the stem's bias, and all of what the
        ranks have in common where most or all that was learnt told none, as self-play tells none. A
        code that was not there, nor any near enough to learn from (`selfplay/neighbours.py`), has a
        row of zeros still, exactly: no gradient reached it, and decay leaves zeros alone. Judged by
        it, a network would lack that part of its bias.
        """
        assert self.rank is not None
        learnt = (self.rank.weight != 0).any(dim=1)
        return codes * learnt[codes]

    def at_rank(self, code: int = 0, counting: int | None = None) -> Network:
        """A network that is told nothing and judges as this one does when told rank `code`; detached.

        It judges as if told `counting`, too (None: that of our rules, `own_counting`). What both add
        is the same on the whole board, so it goes into the stem's bias. A rank never learnt is as one
        not told (`learnt_rank`). Itself if it is told neither. Raises ValueError for a rank, or a
        counting, of a network that is not told any.
        """
        if self.rank is None and code:
            raise ValueError("this network is not told ranks")
        if self.counting is None and counting is not None:
            raise ValueError("this network is not told how points are counted")
        if self.rank is None and self.counting is None:
            return self
        other = Network(self.game, replace(self.config, ranks=False, counting=False))
        weights = {k: v.detach().clone() for k, v in self.state_dict().items()}
        own = own_counting(self.game) if counting is None else counting
        if self.rank is not None:
            code = int(self.learnt_rank(torch.tensor([code], device=self.rank.weight.device))[0])
        for name, said in (("rank.weight", code), ("counting.weight", own)):
            if name in weights:
                weights["stem.1.bias"] += weights.pop(name)[said]
        other.load_state_dict(weights)
        return other.to(weights["stem.1.bias"].device).train(self.training)

    def trunk(
        self, planes: Tensor, rank: Tensor | None = None, counting: Tensor | None = None
    ) -> Tensor:
        """(B, C, H, W) planes to (B, channels, H, W), told ranks and countings, (B,) int64 codes.

        Without ranks none is told, without countings that of our rules (`own_counting`). A rank that
        was never learnt is as one not told (`learnt_rank`), but in training, where it is to be learnt.
        """
        x: Tensor = self.stem(planes)
        if self.rank is not None and rank is not None and not self.training:
            rank = self.learnt_rank(rank)
        own = own_counting(self.game)
        for embedding, codes, usual in ((self.rank, rank, 0), (self.counting, counting, own)):
            if embedding is not None:
                told = embedding.weight[usual : usual + 1] if codes is None else embedding(codes)
                x = x + told[:, :, None, None].to(x.dtype)
        if self.norm is None:
            x = F.relu(x)
        for block in self.blocks:
            x = block(x)
        return x if self.norm is None else F.relu(self.norm(x))

    def policy_heads(self, x: Tensor) -> Tensor:
        """Trunk output to (B, 2, A) logits: own move, opponent's reply; without it (B, 1, A)."""
        p = F.relu(self.policy_conv(x))
        pooled = pool(p)
        p = F.relu(p + self.policy_pool(pooled)[:, :, None, None])
        if self.game.policy_head == "flat":
            return self.policy_out(p.flatten(1)).view(len(x), -1, self.game.actions)  # type: ignore[no-any-return]
        points = self.policy_out(p).flatten(2)
        if self.pass_out is None:
            return points  # type: ignore[no-any-return]
        return torch.cat([points, self.pass_out(pooled)[:, :, None]], dim=2)

    def value_heads(self, x: Tensor) -> dict[str, Tensor]:
        """Trunk output to all heads but the policies; see `forward`."""
        v = F.relu(self.value_conv(x))
        hidden = F.relu(self.value_hidden(pool(v)))
        out = {"value": self.value_out(hidden)}
        if self.score_out is not None:
            out["score"] = self.score_out(hidden)[:, 0] * float(self.game.points) ** 0.5
        if self.ownership_out is not None:
            out["ownership"] = self.ownership_out(v).flatten(1)
        if self.distribution_out is not None:
            out["distribution"] = self.distribution_out(hidden, self.game.points)
        if self.short_out is not None:
            out["short"] = torch.tanh(self.short_out(hidden)[:, 0])
        return out

    def forward(
        self, planes: Tensor, rank: Tensor | None = None, counting: Tensor | None = None
    ) -> dict[str, Tensor]:
        """All heads that there are for planes (B, C, H, W), each seen from the side to move.

        That is of `rank` (B,) in games of `counting` (B,); without them, see `trunk`.
        `policy`, `reply` (B, A) logits; `value` (B, 3) logits in the order win, draw, loss;
        `score` (B,) expected margin in points; `ownership` (B, P) logits of owning the point;
        `distribution` (B, S) logits of the margins `score_bin` tells apart; `short` (B,) expected
        value of the next moves' searches, in [-1, 1].
        """
        x = self.trunk(planes, rank, counting)
        policies = zip(("policy", "reply"), self.policy_heads(x).unbind(dim=1), strict=False)
        return {**dict(policies), **self.value_heads(x)}


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
