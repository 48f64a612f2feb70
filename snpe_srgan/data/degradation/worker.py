"""The child process that degrades windows while the training computes.

One JSON line on standard input opens the cache, each further one is a window; each answer is the window's LR pixels as
raw bytes. It ends with its input, so a training that is killed leaves none behind.

    python -m snpe_srgan.data.degradation.worker       # started by pool.Pool, not by hand
"""

from __future__ import annotations

import json
import sys

from snpe_srgan.data.degradation.windows import Window, degrade_window
from snpe_srgan.data.stored import open_cache


def main() -> int:
    """Answers requests until standard input ends; gives the exit code, 0."""
    request = json.loads(sys.stdin.readline())
    cache = open_cache(request["cache"])
    out = sys.stdout.buffer
    for line in sys.stdin:
        data = json.loads(line)
        window = Window(**{**data, "seed": tuple(data["seed"])})
        out.write(degrade_window(cache, window, preset=request["preset"], strength=request["strength"]).tobytes())
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
