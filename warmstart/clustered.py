"""Means over positions, and what they are worth where those of one game depend on each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean(values: NDArray[Any]) -> float:
    """The mean of `values`, nan of none."""
    return float(values.mean()) if len(values) else float("nan")


def clustered_error(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> float:
    """Standard error of the mean of `values` (n,), those of one cluster taken as dependent.

    nan for a single cluster.
    """
    names, index = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return float("nan")
    sums = np.bincount(index, values - values.mean())
    few = len(names) / (len(names) - 1)
    return float(np.sqrt(few * (sums**2).sum()) / len(values))
