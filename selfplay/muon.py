"""Muon: steps whose singular values are all about the same, for a network's hidden matrices.

torch.optim.Muon takes only 2-D parameters and iterates in bfloat16, so it is not what is used here.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor

import torch
from torch import Tensor, nn

HIDDEN = ("stem", "blocks", "policy_conv", "policy_pool", "value_conv", "value_hidden")
"""Modules of `Network` between its inputs and its outputs; all others are outputs or embeddings."""
ITERATIONS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of s, s^3 and s^5 in what an iteration makes of each singular value s (Jordan 2024)."""
TINY = 1e-7
"""A matrix of a smaller norm is not scaled up to 1, so that zero stays zero."""


def hidden_matrices(network: nn.Module) -> list[nn.Parameter]:
    """The kernels of all hidden convolutions and the weights of all hidden linear layers, in order.

    Not the outputs, embeddings, biases and norms.
    """
    return [
        each
        for name, each in network.named_parameters()
        if name.split(".")[0] in HIDDEN and each.ndim > 1
    ]


def orthogonalised(matrix: Tensor) -> Tensor:
    """`matrix` (R, C) with singular values near 1 (about 0.7 to 1.2) in place of its own.

    By Newton-Schulz iterations, in the matrix's number format; zero stays zero. A singular value that is
    below about 1/500 of the norm does not come as far.
    """
    first, third, fifth = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=TINY)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = first * x + (third * gram + fifth * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; for matrices and for kernels as (outputs, inputs * h * w).

    Jordan 2024, "Muon: an optimizer for hidden layers in neural networks". A group's `lr` is the
    root mean square of what a step adds to a weight (an orthogonal matrix has 1 / sqrt(its longer
    side); Liu et al. 2025, "Muon is scalable for LLM training"); `lr * weight_decay` of each weight is
    taken off besides. With `threads` the parameters are moved side by side, to the same bits.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float,
        weight_decay: float,
        threads: Executor | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.threads = threads

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; gradients stay as they are."""
        moves = [
            (weight, group["lr"], group["momentum"], group["weight_decay"])
            for group in self.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        one_by_one = self.threads.map if self.threads else map
        for _ in one_by_one(lambda move: self._move(*move), moves):
            pass

    @torch.no_grad()  # of each thread: gradients are recorded or not by thread
    def _move(self, weight: Tensor, rate: float, momentum: float, decay: float) -> None:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)  # its strides are the weight's
        mean = state["momentum"]
        mean.lerp_(weight.grad, 1 - momentum)
        update = orthogonalised(weight.grad.lerp(mean, momentum).flatten(1))
        weight.mul_(1 - rate * decay)
        weight.add_(update.reshape(weight.shape), alpha=-rate * max(update.shape) ** 0.5)
