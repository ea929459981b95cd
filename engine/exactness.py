"""How far a backend's answers are from those of the same network in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ghostgo.engine.evaluator import NetworkEvaluator

MOST_KL = 0.005
"""Nats: what is exact enough has a smaller mean divergence of the policy."""
MOST_VALUE_ERROR = 0.01
"""What is exact enough has a smaller mean absolute error of the value in [-1, 1]."""
LIMITS = f"policy KL below {MOST_KL}, value error below {MOST_VALUE_ERROR}"


@dataclass(frozen=True)
class Exactness:
    """Differences from float32 over so many positions."""

    positions: int
    policy_kl: float
    """Mean over positions of KL(float32 || backend) over the legal moves, in nats."""
    value_error: float
    """Mean absolute difference of the value in [-1, 1]."""
    value_error_max: float

    @property
    def admits(self) -> bool:
        """Whether both means are below the limits."""
        return self.policy_kl < MOST_KL and self.value_error < MOST_VALUE_ERROR

    def __str__(self) -> str:
        return (
            f"policy KL {self.policy_kl:.2g}, value error {self.value_error:.2g} "
            f"(largest {self.value_error_max:.2g}) on {self.positions:,} positions"
        )


def judge(
    evaluator: NetworkEvaluator, planes: NDArray[np.uint16]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The evaluator's policy logits (N, A) and values (N,) for planes (N, P, C)."""
    step, policy, value = len(evaluator.value), [], []
    for start in range(0, len(planes), step):
        n = min(step, len(planes) - start)
        evaluator.planes[:n] = planes[start : start + n]
        evaluator.evaluate(n)
        policy.append(evaluator.policy[:n].copy())
        value.append(evaluator.value[:n].copy())
    return np.concatenate(policy), np.concatenate(value)


def compare(
    wanted: tuple[NDArray[np.float32], NDArray[np.float32]],
    given: tuple[NDArray[np.float32], NDArray[np.float32]],
    legal: NDArray[np.uint8],
) -> Exactness:
    """Exactness of the answers `given` against `wanted` (see `judge`), `legal` (N, A)."""
    illegal = torch.from_numpy(legal == 0)
    p, q = (
        F.log_softmax(torch.from_numpy(logits).double().masked_fill(illegal, -1e9), dim=1)
        for logits in (wanted[0], given[0])
    )
    kl = (p.exp() * (p - q)).sum(dim=1)
    off = np.abs(wanted[1].astype(np.float64) - given[1])
    return Exactness(len(off), float(kl.mean()), float(off.mean()), float(off.max()))
