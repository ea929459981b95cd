"""Put a run's checkpoint in the box of bots that come with the program, and say what it learnt from.

    python benchmarks/pack.py RUN[@STEP] NAME --source "self-play alone" [--root runs] [--box data/bots]

`--source` are words for whoever uses the bot: which games it learnt from, whose they are, and under
what licence. A bot of that name is replaced. Naming one in the box for RUN changes its words alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ghostgo.data.checkpoints import META, WEIGHTS
from ghostgo.data.run import BOTS, find_checkpoint, load_network
from ghostgo.data.shards import replace_file

OF_A_RUN = ("state_sha256", "shards")
"""What `meta.json` says of files that stay with the run."""


def pack(checkpoint: str, name: str, source: str, root: Path, box: Path) -> Path:
    """Copy weights and meta data of a checkpoint to the folder `name` of the `box`, which it gives.

    Raises UserError if the checkpoint is missing or damaged, or the copy cannot be written.
    """
    info = find_checkpoint(checkpoint, root)
    load_network(info.path)  # whatever is wrong with it comes to light before anything is written
    weights = (info.path / WEIGHTS).read_bytes()
    meta = {key: value for key, value in info.meta.items() if key not in OF_A_RUN}
    meta["source"] = source
    target = box / name
    target.mkdir(parents=True, exist_ok=True)
    replace_file(target / WEIGHTS, weights)
    replace_file(target / META, (json.dumps(meta, indent=1) + "\n").encode())
    load_network(target)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack one checkpoint, and say where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("name")
    parser.add_argument("--source", required=True)
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--box", type=Path, default=BOTS)
    given = parser.parse_args(arguments)
    source = " ".join(given.source.split())
    if not source:
        parser.error("--source: say in words what it learnt from")
    print(pack(given.checkpoint, given.name, source, given.root, given.box))


if __name__ == "__main__":
    main()
