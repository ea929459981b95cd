"""Every number of a run's config has a range, and what is out of it is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from math import inf, nan
from typing import Any, get_type_hints

import pytest

from ghostgo.engine.errors import UserError
from ghostgo.selfplay.config import RunConfig, make_config
from ghostgo.selfplay.ranges import MOST, RANGES, Range


def numbers(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type]]:
    """Path and kind of each number in a config."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if is_dataclass(value):
            yield from numbers(value, (*path, field.name))
        elif hint in (int, float, float | None):
            yield (*path, field.name), int if hint is int else float


NUMBERS = list(numbers(RunConfig()))


def nested(path: tuple[str, ...], value: float) -> dict[str, Any]:
    """The TOML table with `value` at `path`."""
    return {path[0]: nested(path[1:], value) if path[1:] else value}


@pytest.mark.parametrize(("path", "kind"), NUMBERS, ids=[".".join(path) for path, _ in NUMBERS])
def test_what_is_out_of_range_is_refused(path: tuple[str, ...], kind: type) -> None:
    found: Any = RANGES if path[0] != "anchor" else {"anchor": dict.fromkeys(path[1:], Range(0))}
    for key in path:
        found = found[key]
    high = found.high if found.high < inf else MOST
    wrong: list[float] = [int(found.low) - 1, int(high) + 1 if high < 2**63 else 2**64]
    if kind is float:
        wrong = [nan, inf, -inf, found.low - 1.0, *([found.high + 1] if found.high < inf else [])]
        wrong += [found.low] if found.open_low else []
        wrong += [found.high] if found.open_high else []
    if path == ("selfplay", "positions_per_iteration"):  # where 0 stands for so many a point
        wrong.remove(0)
        wrong.append(-1)
    for value in wrong:
        with pytest.raises(UserError, match=path[-1]) as caught:
            make_config(nested(path, value), game="tic_tac_toe")
        assert "\n" not in str(caught.value), value


@pytest.mark.parametrize(
    ("tested", "inside", "outside"),
    [
        (Range(2), [2, MOST, 2.0, 1e300], [1, MOST + 1, 1.9, nan, inf]),
        (Range(0, open_low=True), [1e-9, 1], [0.0, -1.0, nan, inf]),
        (Range(0, 1), [0, 1, 0.0, 1.0, 0.5], [-1, 2, -0.1, 1.1, nan, inf]),
        (Range(0, 1, open_high=True), [0.0, 0.999], [1.0, nan]),
    ],
)
def test_ends_of_ranges(tested: Range, inside: list[float], outside: list[float]) -> None:
    assert [tested.fault(value) for value in inside] == [""] * len(inside)
    assert all(tested.fault(value) for value in outside)


def test_a_number_that_may_be_left_out_is_in_its_range() -> None:
    assert make_config(game="tic_tac_toe").search.root_fpu_reduction is None
