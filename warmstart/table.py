"""A network's judgement by `evaluate` as text, and as JSON."""

from __future__ import annotations

import math
from typing import Any

from ghostgo.warmstart.report import LAST_PLIES

BEFORE = "value_mse_before_resigning"


def without_nan(value: Any) -> Any:
    """The same with null for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def table_lines(found: dict[str, Any]) -> list[str]:
    """The assessment as text; behind +- stands half the width of a 95 % interval."""
    head = f"{'':>12}  {'positions':>9}  {'top-1':>14}  {'top-5':>14}  {'log loss':>14}  {'value MSE':>14}"

    def cell(part: dict[str, Any], name: str, form: str) -> str:
        half = part["half_width"][name]
        return f"{part[name]:6{form}} {'' if math.isnan(half) else f'+-{half:{form}}':<7}"

    def text(name: str, part: dict[str, Any]) -> str:
        cells = [cell(part, each, ".1%") for each in ("top1", "top5")]
        cells += [cell(part, each, ".3f") for each in ("log_loss", "value_mse")]
        return f"{name:>12}  {part['positions']:9d}  {'  '.join(cells)}".rstrip()

    share, sets = found["held_out"], ", ".join(found["sets"])
    which = "all" if share == 1 else f"those that --held-out {share:g} keeps back"
    lines = [f"{found['games']} games of {sets}: {which}", head, text("all", found)]
    if "baselines" in found:
        parts = dict(found["baselines"])
        fitted = parts.pop("fitted")
        lines += [text(name, part) for name, part in parts.items()]
        lines += [
            f"{'':>12}  baselines fitted on {fitted['games']:,} games of {fitted['name']}, none of them",
            f"{'':>12}  judged",
        ]
    lines += [text(name, part) for name, part in found["by_rank"].items()]
    lines += [text(f"move {name}+", part) for name, part in found["by_move"].items()]
    if abs(found[BEFORE] - found["value_mse"]) > 0:  # else no game was resigned
        before = cell(found, BEFORE, ".3f").strip()
        lines.append(f"value MSE without the last {LAST_PLIES} moves of resigned games: {before}")
    lines.append(f"{'value said':>12}  {'positions':>9}  {'came':>6}")
    lines += [
        f"{part['guess']:12.2f}  {part['positions']:9d}  {part['result']:6.2f}"
        for part in found["calibration"]
    ]
    if passes := found.get("passes"):
        after, counted = passes["after_last"], passes["after_counted"]
        lines.append(
            f"passes: {passes['positions']} played, {passes['recall']:.1%} of them the first choice, "
            f"probability {passes['p_pass']:.3f}; after the last move of {after['games']} games "
            f"without passes {after['p_pass']:.3f}, of {counted['games']} counted ones "
            f"{counted['p_pass']:.3f}"
        )
    for band, row in found.get("asked", {}).items():
        cells = (
            f"{name} {cell['above']:+.4f} ({cell['half_width']:.4f})" for name, cell in row.items()
        )
        lines.append(f"played by {band}, log loss above its own when asked as: {', '.join(cells)}")
    return lines
