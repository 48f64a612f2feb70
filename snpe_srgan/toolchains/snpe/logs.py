"""What `snpe-diagview`, `snpe-throughput-net-run` and `snpe-dlc-info` print, as numbers.

    times = parse_diagview(text)
    times.total_us, times.layers[0].microseconds

Formats: real outputs of SNPE 1.54, 1.63 and 2.9; a line that is not known is passed over, a missing total is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from snpe_srgan.errors import SnpeSrganError


@dataclass(frozen=True)
class LayerTime:
    index: int
    name: str
    amount: int
    unit: str
    runtime: str


@dataclass(frozen=True)
class Times:
    """Averages over the inferences of one run, in microseconds. `total_us` is what Table 3 calls latency."""

    version: str
    total_us: int
    forward_us: int | None
    rpc_us: int | None
    accelerator_us: int | None
    init_us: int | None
    deinit_us: int | None
    layers: tuple[LayerTime, ...]


@dataclass(frozen=True)
class Throughput:
    infers_per_second: float
    images: int
    build_us: int
    elapsed_us: int


@dataclass(frozen=True)
class LayerInfo:
    """A row of `snpe-dlc-info`: `runtimes` are the letters of those that take it (A AIP, D DSP, G GPU, C CPU)."""

    name: str
    type: str
    runtimes: str


_VALUE = re.compile(r"^\s*([A-Za-z][\w ()/-]*?):\s*(\d+)\s*(us|NONE|cycles|ms)?\s*$")
_LAYER = re.compile(r"^\s*(\d+)(?:\s*\((.*)\))?\s*:\s*(\d+)\s*(us|cycles)\b\s*(?::\s*(\S.*?))?\s*$")


def parse_diagview(text: str) -> Times:
    """The printed report of `snpe-diagview`; `SnpeSrganError` when it has no total inference time."""
    values: dict[str, int] = {}
    layers = []
    version = ""
    for line in text.splitlines():
        if "Software library version:" in line:
            version = line.split(":", 1)[1].strip()
        elif layer := _LAYER.match(line):
            index, name, amount, unit, runtime = layer.groups()
            layers.append(LayerTime(int(index), name or "", int(amount), unit, runtime or ""))
        elif value := _VALUE.match(line):
            values[value[1].strip()] = int(value[2])
    if "Total Inference Time" not in values:
        raise SnpeSrganError(
            "snpe-diagview reported no total inference time",
            hint="the log is empty, or was made with the profiling level off",
        )
    return Times(
        version=version,
        total_us=values["Total Inference Time"],
        forward_us=values.get("Forward Propagate Time"),
        rpc_us=values.get("RPC Execute Time"),
        accelerator_us=values.get("Accelerator Time"),
        init_us=values.get("Init"),
        deinit_us=values.get("De-Init"),
        layers=tuple(layers),
    )


def parse_throughput(text: str) -> Throughput:
    """The words of `snpe-throughput-net-run` on one thread.

    Raises:
        SnpeSrganError: they hold no throughput.
    """
    total = re.search(r"Total throughput:\s*([\d.]+)\s*infs/sec", text)
    if not total:
        raise SnpeSrganError("snpe-throughput-net-run reported no throughput")

    def number(label: str) -> int:
        found = re.search(label + r":?\s*(\d+)", text)
        return int(found[1]) if found else 0

    return Throughput(
        float(total[1]), number("Number of images processed"), number("Build time"), number("Elapsed time")
    )


def parse_dlc_info(text: str) -> tuple[LayerInfo, ...]:
    """The layers of `snpe-dlc-info`'s table; () when there is none."""
    columns: dict[str, int] = {}
    layers = []
    for line in text.splitlines():
        if not line.lstrip().startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Name" in cells and "Runtimes" in cells:
            columns = {name: at for at, name in enumerate(cells)}
        elif columns and len(cells) == len(columns) and cells[columns["Id"]].isdigit():
            layers.append(LayerInfo(cells[columns["Name"]], cells[columns["Type"]], cells[columns["Runtimes"]]))
    return tuple(layers)


def not_on(layers: tuple[LayerInfo, ...], letter: str) -> tuple[LayerInfo, ...]:
    """Those that a runtime does not take: `letter` D for the DSP, G for the GPU, A for the AIP, C for the CPU."""
    return tuple(layer for layer in layers if letter not in layer.runtimes.split())
