"""Times on devices that Qualcomm publishes, as data: what estimates are calibrated on and held against.

    published = load()
    published.ms("srgan", "w8a8", "SM8650")     # 4.52: milliseconds of one inference at 128x128 LR pixels
    published.widened()                         # (1.96, 2.07, 2.36): w8a16 over w8a8, least, median, most

`published_times.json` names its source. Left out are ESRGAN (the structure of Real-ESRGAN-x4plus) and QCM6690 (its
Hexagon and VTCM are not in `chips.py`).
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("published_times.json")
FLOAT, W8A8, W8A16 = "float", "w8a8", "w8a16"
PRECISIONS = (FLOAT, W8A8, W8A16)


@dataclass(frozen=True)
class Device:
    """A device with published times. `stands_for`: parts with the same silicon under another number."""

    part: str
    device: str
    hexagon: int
    vtcm_mb: int
    stands_for: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """`times`: network -> precision -> part -> milliseconds, only what is published; `size`: LR height and width."""

    source: str
    size: tuple[int, int]
    devices: tuple[Device, ...]
    times: Mapping[str, Mapping[str, Mapping[str, float]]]

    def ms(self, network: str, precision: str, part: str) -> float | None:
        """Milliseconds of one inference, or None where none are published.

        Args:
            network: a key of `times`; `KeyError` for another.
            precision: one of `PRECISIONS`.
            part: Qualcomm's part number of a device with published times ('SM8650').
        """
        return self.times[network].get(precision, {}).get(part)

    def widened(self) -> tuple[float, float, float]:
        """By how much w8a16 takes longer than w8a8 on one device: (least, median, most) of all published pairs."""
        ratios = [
            ms / by[W8A8][part]
            for by in self.times.values()
            if W8A16 in by
            for part, ms in by[W8A16].items()
            if part in by[W8A8]
        ]
        return min(ratios), statistics.median(ratios), max(ratios)


@functools.cache
def load() -> Published:
    """The published times that ship in the package."""
    data = json.loads(FILE.read_text("utf-8"))
    devices = tuple(Device(**{**item, "stands_for": tuple(item["stands_for"])}) for item in data["chips"])
    times = {
        network: {
            precision: {d.part: ms for d, ms in zip(devices, row, strict=True) if ms is not None}
            for precision, row in rows.items()
        }
        for network, rows in data["times"].items()
    }
    height, width = data["input"]
    return Published(data["source"], (height, width), devices, times)


def sixteen_bit_remark() -> str:
    """What is to be said wherever Qualcomm's cost model prices 16-bit activations."""
    low, _, high = load().widened()
    count = len(load().times["srgan"][W8A16])
    return (
        "the cost model prices 16-bit activations below 8-bit ones, and published device times contradict it: on "
        f"{count} chips SRGAN takes {low:.1f} to {high:.1f} times as long in w8a16 as in w8a8 (Qualcomm AI Hub)"
    )
