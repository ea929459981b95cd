"""ghostgo: self-play with and without human games, rated against what each of them cost."""

__version__ = "0.1.0"

import os

# Before torch loads its OpenMP: threads that wait must sleep. Spinning ones, beside any other busy
# process, slow two-thread training to a tenth.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
