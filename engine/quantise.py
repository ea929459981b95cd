"""8-bit trunks: what the convolutions' inputs are rounded to, and what that shifts is put right.

The 3x3 convolutions of the trunk, some 95 % of the work, take 8-bit inputs and weights. Weights are
symmetric with a scale for each output channel; an input has one range a tensor, cut where the mean
squared error of rounding and clipping is least over positions of real play; and each convolution's
bias takes back what rounding, its own and that of all before it, shifts its output by on average
(Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference"; Nagel et al.
2019, "Data-free quantization through weight equalization and bias correction", section 4.2). The
skip, the stem, pooling, the heads and, with pre-activation, the norms before the blocks are not
rounded.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ghostgo.engine.network import Block, Network, pool

LEVELS = 256
"""Of an 8-bit input."""
WEIGHT_LEVELS = 255
"""Of 8-bit weights: symmetric about zero."""
BINS = 2048
"""Of the histogram in which a range is sought."""
CUTS = np.linspace(0.25, 1.0, 64)
"""Ranges tried, as parts of the whole one."""


class Rounding(NamedTuple):
    """How one convolution computes in 8 bits."""

    low: float
    high: float
    """The range of its input: LEVELS values from low to high, zero among them."""
    shift: tuple[float, ...]
    """(C,) added to its bias, batch norm folded in."""


Calibration = tuple[Rounding, ...]
"""Of each block's two convolutions, in order. It belongs to one set of weights and one board."""


def folded(pair: nn.Module) -> nn.Conv2d:
    """One convolution with a bias that does what a convolution and its batch norm, if any, do."""
    if isinstance(pair, nn.Conv2d):
        alone = copy.deepcopy(pair).eval()
        if alone.bias is None:
            alone.bias = nn.Parameter(torch.zeros(alone.out_channels))
        return alone
    assert isinstance(pair, nn.Sequential)
    conv, norm = pair[0], pair[1]
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv.eval(), norm.eval())


def weight_limits(weight: Tensor) -> Tensor:
    """(O, 1, 1, 1): the largest magnitude of each output channel's weights (O, I, H, W)."""
    return weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp(1e-12)


def _rounded(x: Tensor, low: float, high: float) -> Tensor:
    step = (high - low) / (LEVELS - 1)
    return ((x.clamp(low, high) - low) / step).round() * step + low


def _rounded_weight(weight: Tensor) -> Tensor:
    step = weight_limits(weight) / (WEIGHT_LEVELS // 2)
    return (weight / step).round() * step


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """The range moved so that zero is one of its levels: padding must stay exact."""
    step = (high - low) / (LEVELS - 1)
    zero = round(-low / step)
    return -zero * step, (LEVELS - 1 - zero) * step


def _best_range(x: Tensor) -> tuple[float, float]:
    """The range in which rounding x has the least mean squared error, by a histogram of x."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 1e-6)
    counts: NDArray[np.float64] = torch.histc(x, BINS, low, high).double().numpy()
    centres = low + (high - low) / BINS * (np.arange(BINS) + 0.5)
    best, least = (low, high), np.inf
    for cut in CUTS:
        a, b = _with_zero(float(cut) * low, float(cut) * high)
        beyond = centres - np.clip(centres, a, b)
        # Inside the range the error is that of rounding, outside the distance to its end.
        inside = (b - a) ** 2 / (LEVELS - 1) ** 2 / 12
        error = float((counts * np.where(beyond == 0, inside, beyond**2)).sum())
        if error < least:
            best, least = (a, b), error
    return best


def _convolved(
    pair: nn.Module, x: Tensor, rounded: Tensor, found: list[Rounding]
) -> tuple[Tensor, Tensor]:
    """The convolution of x, and in 8 bits of its rounded twin; appends how to `found`."""
    conv = folded(pair)
    low, high = _best_range(x)
    out = conv(x)
    weight = _rounded_weight(conv.weight)
    in_8_bits = F.conv2d(_rounded(rounded, low, high), weight, conv.bias, padding=conv.padding)
    shift = (out - in_8_bits).mean(dim=(0, 2, 3))
    found.append(Rounding(low, high, tuple(shift.tolist())))
    return out, in_8_bits + shift[None, :, None, None]


def calibrate(network: Network, planes: NDArray[np.uint16]) -> Calibration:
    """How `network` computes in 8 bits, from planes (N, P, C) of real play; some hundred rows do.

    Memory: about eight times the trunk's output for all rows, in float32.
    """
    game, found = network.game, list[Rounding]()
    snapshot = copy.deepcopy(network.at_rank()).to("cpu").eval()
    bits = torch.from_numpy(planes.view(np.int16)).view(torch.bfloat16)
    with torch.inference_mode():
        given = bits.view(-1, game.rows, game.cols, game.planes).permute(0, 3, 1, 2).float()
        x = snapshot.stem(given)
        x = r = F.relu(x) if snapshot.norm is None else x  # r: x with all rounding so far
        for block in snapshot.blocks:
            assert isinstance(block, Block)
            seen = _convolved(block.first, block.before(x), block.before(r), found)
            y, s = (F.relu(out) for out in seen)
            if block.pooled is not None:
                y, s = (out + block.pooled(pool(out))[:, :, None, None] for out in (y, s))
            y, s = _convolved(block.second, y, s, found)
            x, r = block.after(x + y), block.after(r + s)
    return tuple(found)
