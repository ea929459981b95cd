"""Boards of several sizes: a batch of each by itself, or one mixed batch behind a mask.

    python benchmarks/masks.py [--network b4c32] [--games go7,go9] [--batch 256]
                               [--calls 4,16,64,256] [--rounds 5] [--seconds 0.5] [--json FILE]

`by_board` is what ghostgo does: every batch is of one board. `masked` has the same weights, all
boards in the corner of the largest one, and a mask (as KataGo, Wu 2019): what lies off the board is
zero before each 3x3 convolution, batch norms and pools see points on the board alone. Both take the
same rows, equally many of each board, in float32 on one thread of a CPU:

- training: by_board takes a whole step (AdamW and average included) of `--batch` rows on each board,
  masked as many steps of as many rows, shuffled.
- inference: a call of so many rows for each number in `--calls`; by_board cuts it by board.

First the masked twin is held against the network, in inference and in training (outputs, losses,
gradients, running statistics). Then both take turns, `--seconds` a turn at least; the table has the
median rates, and the ratio of the rates of the same round.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from operators import random_batch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostgo.bench import rate
from ghostgo.data.batch import Batch, join
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.games.game import Game
from ghostgo.engine.games.registry import get_game
from ghostgo.engine.network import Network, NetworkConfig, misfit
from ghostgo.selfplay.learner import Learner, LearnerConfig, head_losses, planes_tensor

OFF = -1e9
"""A logit off the board: its chance is 0 in float32. With -inf, 0 times it would be no number."""
CLOSE, CLOSE_GRADIENT = 1e-4, 1e-3
"""Differences that rounding may make: of outputs; of gradients, relative to the weight's largest."""
CHECKED = 8
"""Rows of each board that are compared before anything is timed."""
Parts = list[tuple[Game, Batch]]
Works = dict[str, Callable[[], int]]


class Boards:
    """Which points of the largest board each row's own board has, one game a row."""

    def __init__(self, games: list[Game], large: Game) -> None:
        self.large = large
        mask = torch.zeros(len(games), 1, large.rows, large.cols)
        for row, game in enumerate(games):
            mask[row, 0, : game.rows, : game.cols] = 1
        self.mask = mask
        self.off = mask == 0
        self.points = torch.tensor([float(game.points) for game in games])
        self.inside = mask.flatten().nonzero()[:, 0]
        """(N,) indices of the points on their board, among all rows' points."""

    @property
    def padding(self) -> float:
        """Share of all points that is off the board."""
        return 1 - len(self.inside) / self.mask.numel()


def masked_norm(norm: nn.BatchNorm2d, x: Tensor, boards: Boards) -> Tensor:
    """`norm` of (B, C, H, W) over the points on the board, and zero off it.

    In training the points on the board are gathered for torch's own norm: a third of the time of
    sums under a mask, forward and backward.
    """
    if not norm.training:
        return norm(x) * boards.mask  # type: ignore[no-any-return]
    flat = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    inside = norm(flat[boards.inside, :, None, None])[:, :, 0, 0]
    full = torch.zeros_like(flat).index_copy(0, boards.inside, inside)
    return full.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


def masked_pool(x: Tensor, boards: Boards) -> Tensor:
    """`network.pool` over the points on the board, of `x` that is 0 off it and nowhere below."""
    mean = x.sum(dim=(2, 3)) / boards.points[:, None]
    width = boards.points[:, None].sqrt()
    highest = F.adaptive_max_pool2d(x, 1).flatten(1)
    return torch.cat([mean, mean * ((width - 14.0) / 10.0), highest], dim=1)


def masked_forward(network: Network, planes: Tensor, boards: Boards) -> dict[str, Tensor]:
    """All heads for planes on the largest board, as `Network.forward` gives them on each row's own.

    `policy`, `reply` and `ownership` are over the points of the largest board; both policies are
    `OFF` off the row's own.
    """

    def normed(pair: Any, x: Tensor) -> Tensor:
        return masked_norm(pair[1], pair[0](x), boards)

    x = F.relu(normed(network.stem, planes))
    block: Any
    for block in network.blocks:
        y = F.relu(normed(block.first, x))
        if block.pooled is not None:
            y = (y + block.pooled(masked_pool(y, boards))[:, :, None, None]) * boards.mask
        x = F.relu(x + normed(block.second, y))
    p = F.relu(normed(network.policy_conv, x))
    pooled = masked_pool(p, boards)
    p = network.policy_out(F.relu(p + network.policy_pool(pooled)[:, :, None, None]))
    policy = p.masked_fill(boards.off, OFF).flatten(2)
    if network.pass_out is not None:
        policy = torch.cat([policy, network.pass_out(pooled)[:, :, None]], dim=2)
    v = F.relu(normed(network.value_conv, x))
    hidden = F.relu(network.value_hidden(masked_pool(v, boards)))
    out = dict(zip(("policy", "reply"), policy.unbind(1), strict=False))
    out["value"] = network.value_out(hidden)
    if network.score_out is not None:
        out["score"] = network.score_out(hidden)[:, 0] * boards.points.sqrt()
    if network.ownership_out is not None:
        out["ownership"] = network.ownership_out(v).flatten(1)
    if network.short_out is not None:
        out["short"] = torch.tanh(network.short_out(hidden)[:, 0])
    return out


def masked_losses(out: dict[str, Tensor], batch: Batch, boards: Boards) -> dict[str, Tensor]:
    """`head_losses` of rows on boards of their own; `batch` is on the largest (see `padded`)."""
    shown = dict(out)
    owned = shown.pop("ownership", None)
    if "score" in shown:
        # `head_losses` divides by the largest board's side; each row's own is meant.
        scale = (boards.large.points / boards.points).sqrt()
        shown["score"] = shown["score"] * scale
        batch = replace(batch, score=batch.score * scale.numpy())
    losses = head_losses(shown, batch, boards.large)
    if owned is not None:
        target = torch.from_numpy(batch.ownership)
        each = F.binary_cross_entropy_with_logits(owned, target, reduction="none")
        losses["ownership"] = ((each * boards.mask.flatten(1)).sum(dim=1) / boards.points).mean()
    return losses


class MaskedLearner(Learner):
    """A learner whose batches lie on the largest board, on the boards that `boards` tells."""

    boards: Boards

    def _backward(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        network.train()
        network.zero_grad(set_to_none=True)
        x = planes_tensor(batch.planes, network.game)
        losses = masked_losses(masked_forward(network, x, self.boards), batch, self.boards)
        losses["total"] = sum(self.weights[head] * loss for head, loss in losses.items())  # type: ignore[assignment]
        losses["total"].backward()  # type: ignore[no-untyped-call]
        return {head: loss.detach() for head, loss in losses.items()}


def learner(kind: type[Learner], network: Network, rows: int) -> Any:
    """One that trains a copy of the network in float32 on one thread."""
    made = kind(copy.deepcopy(network), LearnerConfig(batch_size=rows), "cpu", 1)
    made.bfloat16 = False
    return made


def place(game: Game, large: Game) -> np.ndarray[Any, Any]:
    """(A,) the action of the largest board that each of `game` becomes; a pass stays last."""
    grid = np.arange(large.points).reshape(large.rows, large.cols)
    points = grid[: game.rows, : game.cols].ravel()
    return np.concatenate([points, np.arange(large.points, large.actions)])


def padded(batch: Batch, game: Game, large: Game) -> Batch:
    """The batch in the corner of the largest board; zeros off its own."""
    moves = place(game, large)

    def spread(values: np.ndarray[Any, Any], to: int) -> np.ndarray[Any, Any]:
        full = np.zeros((len(values), to, *values.shape[2:]), values.dtype)
        full[:, moves[: values.shape[1]]] = values
        return full

    return replace(
        batch,
        planes=spread(batch.planes, large.points),
        policy=spread(batch.policy, large.actions),
        reply=spread(batch.reply, large.actions),
        ownership=spread(batch.ownership, large.points),
    )


def mixed(batches: Parts, large: Game, cuts: list[int]) -> list[tuple[Batch, Boards]]:
    """All the rows, shuffled, on the largest board, as batches from cut to cut."""
    joined = reduce(join, (padded(batch, game, large) for game, batch in batches))
    games = [game for game, batch in batches for _ in range(len(batch))]
    order = np.random.default_rng(0).permutation(len(games))
    parts = [order[first:last] for first, last in pairwise(cuts)]
    return [(joined.taken(part), Boards([games[i] for i in part], large)) for part in parts]


def enliven(network: Network) -> Network:
    """The network with weights and statistics far from their start, so that errors show."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.2)
                module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(0, (1.5 / module.weight[0].numel()) ** 0.5)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1)
    return network


def check_inference(network: Network, games: list[Game], large: Game) -> float:
    """The largest difference between mixed rows and each on its own board; ends where it is large."""
    network = copy.deepcopy(network).eval()
    batches = [(game, random_batch(game, CHECKED, 1)) for game in games]
    joined = reduce(join, (padded(batch, game, large) for game, batch in batches))
    boards = Boards([game for game in games for _ in range(CHECKED)], large)
    worst = 0.0
    with torch.inference_mode():
        found = masked_forward(network, planes_tensor(joined.planes, large), boards)
        for i, (game, batch) in enumerate(batches):
            wanted = network.on(game)(planes_tensor(batch.planes, game))
            if wanted.keys() != found.keys():
                raise SystemExit(f"masked has {', '.join(found)}, the network {', '.join(wanted)}")
            moves = torch.from_numpy(place(game, large))
            for head, mine in wanted.items():
                theirs = found[head][CHECKED * i : CHECKED * (i + 1)]
                if head in ("policy", "reply", "ownership"):
                    theirs = theirs[:, moves[: mine.shape[1]]]
                scale = game.points**0.5 if head == "score" else 1.0
                off = float((theirs - mine).abs().max()) / scale
                if not off <= CLOSE:
                    raise SystemExit(f"masked: {head} on {game.name} is {off:.2g} off")
                worst = max(worst, off)
    return worst


def check_training(network: Network, game: Game, large: Game) -> float:
    """The same of a step on one board: losses, gradients and running statistics."""
    batch = random_batch(game, CHECKED, 2)
    plain, twin = (learner(kind, network, CHECKED) for kind in (Learner, MaskedLearner))
    twin.boards = Boards([game] * CHECKED, large)
    wanted = plain._backward(plain.network.on(game), batch)
    found = twin._backward(twin.network.on(large), padded(batch, game, large))
    pairs = [(f"loss of {head}", loss, found[head], CLOSE) for head, loss in wanted.items()]
    twins = dict(twin.network.named_parameters())
    for name, weight in plain.network.named_parameters():
        pairs.append((f"gradient of {name}", weight.grad, twins[name].grad, CLOSE_GRADIENT))
    statistics = dict(twin.network.named_buffers())
    for name, buffer in plain.network.named_buffers():
        pairs.append((name, buffer, statistics[name], CLOSE))
    worst = 0.0
    for name, mine, theirs, close in pairs:
        off = float((theirs - mine).abs().max() / mine.abs().max().clamp(min=1e-3))
        if not off <= close:
            raise SystemExit(f"masked: {name} on {game.name} is {off:.2g} off")
        worst = max(worst, off)
    return worst


def training_works(network: Network, games: list[Game], large: Game, rows: int) -> Works:
    """A step of so many rows for each board, by both variants."""
    batches = [(game, random_batch(game, rows, 3)) for game in games]
    mixes = mixed(batches, large, [rows * i for i in range(len(games) + 1)])
    plain, twin = (learner(kind, network, rows) for kind in (Learner, MaskedLearner))

    def by_board() -> int:
        for game, batch in batches:
            plain.step(batch, game=game)
        return rows * len(games)

    def masked() -> int:
        for batch, boards in mixes:
            twin.boards = boards
            twin.step(batch, game=large)
        return rows * len(games)

    return {"by_board": by_board, "masked": masked}


def inference_works(network: Network, games: list[Game], large: Game, rows: int) -> Works:
    """So many rows in all, the boards' shares alike, by both variants."""
    shares = np.diff(np.linspace(0, rows, len(games) + 1).astype(int))
    batches = [(g, random_batch(g, share, 4)) for g, share in zip(games, shares, strict=True)]
    joined, boards = mixed(batches, large, [0, rows])[0]
    x = planes_tensor(joined.planes, large)
    shown = [(network.on(game), planes_tensor(b.planes, game)) for game, b in batches]

    def by_board() -> int:
        with torch.inference_mode():
            for view, planes in shown:
                view(planes)
        return rows

    def masked() -> int:
        with torch.inference_mode():
            masked_forward(network, x, boards)
        return rows

    return {"by_board": by_board, "masked": masked}


def in_turns(name: str, works: Works, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Rows a second of each in each round; who begins a round alternates."""
    for work in works.values():
        work()
    rates: dict[str, list[float]] = {variant: [] for variant in works}
    for i in range(rounds):
        print(f"\r{name}: round {i + 1} of {rounds}", end="", file=sys.stderr, flush=True)
        for variant in list(works)[:: -1 if i % 2 else 1]:
            rates[variant].append(rate(works[variant], seconds))
    print(file=sys.stderr)
    return rates


def compare(given: argparse.Namespace, games: list[Game], large: Game) -> dict[str, Any]:
    """Check, measure and print; the figures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = enliven(Network(large, NetworkConfig.preset(given.network)))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    off = {"inference": check_inference(network, games, large)}
    off["training"] = max(check_training(network, game, large) for game in games)
    padding = Boards(games, large).padding
    print(f"{given.network}, {given.games}: {padding:.1%} of the points computed are padding")
    print("largest difference: " + ", ".join(f"{each:.1g} in {name}" for name, each in off.items()))
    network.eval()
    rows = {f"training, {given.batch} rows": training_works(network, games, large, given.batch)}
    for count in given.calls:
        rows[f"inference, {count} rows"] = inference_works(network, games, large, count)
    print("| | by_board, rows/s | masked, rows/s | masked to by_board, median (least to most) |")
    print("|---" * 4 + "|")
    figures = {}
    for name, works in rows.items():
        rates = in_turns(name, works, given.rounds, given.seconds)
        ratios = np.array(rates["masked"]) / np.array(rates["by_board"])
        middle = {variant: float(np.median(each)) for variant, each in rates.items()}
        print(
            f"| {name} | {middle['by_board']:,.0f} | {middle['masked']:,.0f} | "
            f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) |"
        )
        figures[name] = {"rates": rates, "ratios": ratios.tolist()}
    return {"padding": padding, "off": off, "figures": figures}


def boards_of(names: str, network: str) -> tuple[list[Game], Game]:
    """The games, and the one whose board holds all others. Raises UserError where there is none."""
    config = NetworkConfig.preset(network)
    if config.ranks or config.counting or config.distribution or config.preactivation:
        raise UserError(f"network {network!r} has no masked twin: leave out the letters r, j, d, p")
    games = [get_game(name) for name in names.split(",")]
    large = max(games, key=lambda game: game.points)
    for game in games:
        if why := misfit(large, game):
            raise UserError(why)
        if game.rows > large.rows or game.cols > large.cols:
            raise UserError(f"{game.name} does not lie on {large.name}: one board must hold all")
    if large.policy_head == "flat":
        raise UserError(f"{large.name} has a flat policy head: choose a game of points")
    return games, large


def counts(text: str) -> list[int]:
    """Numbers with commas between."""
    return [int(each) for each in text.split(",")]


def main(words: list[str] | None = None) -> None:
    """Compare as the options say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="b4c32")
    parser.add_argument("--games", default="go7,go9")
    parser.add_argument("--batch", type=int, default=256, help="rows of a training step")
    parser.add_argument("--calls", type=counts, default="4,16,64,256", help="rows of inference")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn, at least")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(words)
    try:
        games, large = boards_of(given.games, given.network)
    except UserError as error:
        parser.error(str(error))
    if min(given.batch, *given.calls) < len(games) or given.rounds < 1 or given.seconds <= 0:
        parser.error("rows are at least one of each board, rounds at least 1, seconds above 0")
    found = compare(given, games, large)
    if given.json:
        said = {
            key: getattr(given, key) for key in ("network", "games", "batch", "rounds", "seconds")
        }
        replace_file(given.json, (json.dumps({**said, **found}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
