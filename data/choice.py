"""How a run's network is computed: `backend.json` in its folder, which `ghostgo bench --run` writes.

A run without the file computes as `ghostgo.engine.evaluator.choose_backend` says.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ghostgo.data.config import from_mapping
from ghostgo.data.run import CheckpointInfo, read_json
from ghostgo.data.shards import replace_file
from ghostgo.engine.errors import UserError
from ghostgo.engine.evaluator import BACKENDS, backend_works, choose_device
from ghostgo.engine.quantise import Calibration, Rounding

FORMAT = 1
"""Number of the file's layout."""
FILE = "backend.json"


@dataclass(frozen=True)
class Int8:
    """What the test of 8-bit trunks came to, for one set of weights."""

    sha256: str
    """Of the weights."""
    admitted: bool
    """Whether it passed; only then does anything compute so."""
    calibration: list[Any]
    """`low`, `high` and `shift` of each `Rounding`."""

    def roundings(self) -> Calibration:
        """The calibration as `make_evaluator` takes it."""
        return tuple(Rounding(low, high, tuple(shift)) for low, high, shift in self.calibration)


@dataclass(frozen=True)
class Choice:
    """A run's backends, as measured on one machine."""

    device: str
    """`cpu` or `cuda`; on another kind of device the choice does not count."""
    backend: str
    """For any weights of the run: the fastest that is exact enough, int8 excepted."""
    why: str
    positions: int
    """How many positions of real play the backends were compared on."""
    batch: int
    """Rows of the batches that were timed."""
    measured: dict[str, Any]
    """By backend: `evaluations_per_second` on one thread, `policy_kl`, `value_error` and
    `value_error_max` against float32 (see `Exactness`)."""
    int8: Int8 | None = None
    """None if it was not tried."""


class Backend(NamedTuple):
    """What `make_evaluator` is told."""

    name: str = "auto"
    calibration: Calibration | None = None
    """For int8 only."""


def write_choice(folder: Path, choice: Choice) -> None:
    """Make `choice` that of the run in `folder`, in one step. Raises UserError if it cannot be."""
    content = json.dumps({"format": FORMAT, **asdict(choice)}, indent=1) + "\n"
    replace_file(folder / FILE, content.encode())


def read_choice(folder: Path) -> Choice | None:
    """The choice of the run in `folder`, None if nothing was chosen.

    Raises UserError naming the file if it is damaged or newer.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    values = read_json(path, FORMAT)
    values.pop("format")
    try:
        choice = from_mapping(Choice, values, str(path))
        if choice.int8 is not None:
            choice.int8.roundings()
    except UserError:
        raise
    except (TypeError, ValueError):
        raise UserError(f"{path}: is damaged: something is missing in it") from None
    if choice.backend not in BACKENDS or choice.backend == "int8":
        raise UserError(f"{path}: is damaged: {choice.backend!r} is no backend for a run")
    return choice


def chosen_backend(info: CheckpointInfo, device: str = "auto", training: bool = False) -> Backend:
    """How to compute a checkpoint's network on `device`: its run's choice, if that works here.

    int8 is for the weights that it was admitted for alone, so never where the network is
    `training`. What does not work here is said once, on standard error. Raises UserError if the
    choice is damaged.
    """
    choice = None if info.in_the_box else read_choice(info.path.parent.parent)
    if choice is None:
        return Backend()
    device = choose_device(device)[0]
    if choice.device != device.partition(":")[0]:
        _say(f"{info.run}: its backend was chosen for {choice.device}, not for {device}")
        return Backend()
    tried, wanted = choice.int8, [Backend(choice.backend)]
    if (
        tried is not None
        and tried.admitted
        and tried.sha256 == info.meta["sha256"]
        and not training
    ):
        wanted.insert(0, Backend("int8", tried.roundings()))
    failed, reason = [], ""
    for backend in wanted:
        works, why = backend_works(backend.name, device)
        if works:
            break
        failed.append(backend.name)
        reason = reason or why
    else:
        backend = Backend()
    if failed:
        _say(f"{info.run}: {' and '.join(failed)}, its choice, cannot be used here: {reason}")
    return backend


@cache
def _say(note: str) -> None:
    """Print a note once."""
    print(f"ghostgo: {note}", file=sys.stderr, flush=True)
