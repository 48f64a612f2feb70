"""What a search gives back: the smaller network, what each unit gave up, the strategies compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snpe_srgan.models.graph import Graph


@dataclass(frozen=True)
class Row:
    """What one unit gave up: `full` -> `kept`; `picture_psnr` of that alone, dB to the full network's pictures."""

    unit: str
    kind: str
    full: int
    kept: int
    picture_psnr: float | None
    macs_saved: int


@dataclass(frozen=True)
class Tried:
    """A strategy before fine-tuning: its costs as shares of the full network's, its pictures' dB to the full network's.

    `why_not` says why there is nothing to measure, or what the target was missed by.
    """

    strategy: str
    macs: float
    parameters: float
    latency: float | None
    psnr_to_full: float
    met: bool
    why_not: str | None = None


@dataclass(frozen=True, eq=False)
class Compression:
    """The smaller network; `tried` holds all strategies compared, `rows` the units of the one taken."""

    graph: Graph
    weights: dict[str, np.ndarray]
    strategy: str
    rows: tuple[Row, ...]
    tried: tuple[Tried, ...]
    notes: tuple[str, ...] = ()
