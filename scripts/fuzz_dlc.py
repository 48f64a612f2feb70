#!/usr/bin/env python3
"""Reads damaged copies of a .dlc file: each must be read, or refused with InputError, quickly and in little memory.

scripts/fuzz_dlc.py [FILE.dlc] [--count 20000] [--seed 0] [--seconds 2] [--megabytes 64]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("tests", ".")]

from helpers_dlc import TINY, mutate, read_all  # noqa: E402

from snpe_srgan.errors import InputError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=TINY)
    parser.add_argument("--count", type=int, default=20000, help="damaged copies to read (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0, help="a copy may take this long (default: %(default)s)")
    parser.add_argument("--megabytes", type=float, default=64, help="and this much memory (default: %(default)s)")
    options = parser.parse_args()
    data, rng = options.file.read_bytes(), np.random.default_rng(options.seed)
    read_all(options.file)
    refused = failures = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.dlc"
        for index in range(options.count):
            path.write_bytes(mutate(data, rng))
            tracemalloc.start()
            start, problem = time.perf_counter(), None
            try:
                read_all(path)
            except InputError:
                refused += 1
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
            if problem is None and (seconds > options.seconds or peak > options.megabytes + 2 * len(data) / 1e6):
                problem = f"took {seconds:.1f} s, {peak:.0f} MB"
            if problem:
                failures += 1
                kept = Path(f"fuzz_dlc_{options.seed}_{index}.dlc")
                kept.write_bytes(path.read_bytes())
                print(f"{kept}: {problem}", file=sys.stderr)
                if failures == 10:
                    print("stopped after 10 bad ones", file=sys.stderr)
                    return 1
    read = options.count - refused - failures
    print(f"{options.count} damaged copies: {refused} refused, {read} read, {failures} bad")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
