"""What compression really saved: parameters, MACs, bytes and time of the network before and after.

    measured = measure(before="srgan.npz", after="srgan_macs50.npz", input_size=(128, 128), chip="SA8255P")
    measured.host_speedup, measured.dsp_speedup

MACs are no time. So both networks also run whole pictures on the host's engines, in turns, and Qualcomm's cost model is
asked about both, in float and in the 8 bits that a DSP runs: an estimate, never a measured latency. What could not be
measured here is said in `missing`.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.compression import pricing
from snpe_srgan.errors import SnpeSrganError, UsageError
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.npz import load_npz
from snpe_srgan.toolchains import qnn
from snpe_srgan.zoo.resolve import resolve

PICTURE = (169, 255)  # LR height and width of the picture that the host enlarges: the paper's


@dataclass(frozen=True)
class Figures:
    """One network. Parameters are those deployed (batch norm folded); the `.dlc` files have a fixed input.

    `host_seconds`: engine -> median seconds of a whole picture. `estimate*`: of Qualcomm's cost model.
    """

    name: str
    parameters: int
    macs_per_lr_pixel: int
    npz_bytes: int
    dlc_bytes: int | None
    dlc_bytes_8bit: int | None
    host_seconds: Mapping[str, float]
    estimate: qnn.CostEstimate | None
    estimate_8bit: qnn.CostEstimate | None


@dataclass(frozen=True)
class Measured:
    """Both networks under the same conditions. `speedups`: engine -> median over the turns of before / after within a
    turn; `engine`: where the compressed network was fastest; `dsp_speedup`: by the cost model, in 8 bits."""

    before: Figures
    after: Figures
    input_size: tuple[int, int]
    picture_size: tuple[int, int]
    runs: int
    threads: int
    cpu: str
    engine: str
    speedups: Mapping[str, float]
    host_speedup: float
    dsp_speedup: float | None
    estimate_label: str | None
    missing: tuple[str, ...]


def measure(
    before: str | os.PathLike,
    after: str | os.PathLike,
    *,
    input_size: tuple[int, int] = (128, 128),
    picture_size: tuple[int, int] = PICTURE,
    chip: int | str = "SA8255P",
    runs: int = 5,
    say: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Measures two `.npz` networks; takes minutes.

    Args:
        before, after: the networks' files.
        input_size: LR height and width of the `.dlc` files and of the estimate.
        picture_size: LR height and width of the picture that the host's engines enlarge.
        chip: the SoC's number or name that the cost model is asked about.
        runs: pictures timed on each engine.
        say: called with lines of progress.

    Raises:
        InputError: one of the files cannot be read.
    """
    from snpe_srgan.runtimes.benchmark import benchmark

    files = [resolve(path) for path in (before, after)]
    timed = benchmark(files, input_size=picture_size, runs=runs, chip=None, say=say)
    seconds = [{t.engine: t.seconds for t in model.timings} for model in timed.models]
    medians = [{name: statistics.median(s) for name, s in own.items()} for own in seconds]
    speedups = {
        name: statistics.median(a / b for a, b in zip(seconds[0][name], seconds[1][name], strict=True))
        for name in seconds[0]
    }
    missing: list[str] = []
    figures = [
        _figures(file.path, own, input_size, chip, missing, say) for file, own in zip(files, medians, strict=True)
    ]
    engine = min(medians[1], key=medians[1].__getitem__)
    estimates = [f.estimate_8bit for f in figures if f.estimate_8bit]
    return Measured(
        before=figures[0],
        after=figures[1],
        input_size=input_size,
        picture_size=picture_size,
        runs=timed.runs,
        threads=timed.threads,
        cpu=timed.cpu,
        engine=engine,
        speedups=speedups,
        host_speedup=speedups[engine],
        dsp_speedup=estimates[0].microseconds / estimates[1].microseconds if len(estimates) == 2 else None,
        estimate_label=estimates[0].source if estimates else None,
        missing=tuple(dict.fromkeys(missing)),
    )


def _figures(path: Path, host_seconds, size, chip, missing: list[str], say) -> Figures:
    from snpe_srgan.onnx_graphs.from_layers import to_onnx

    graph, weights = load_npz(path)
    cost = graph_cost(graph)
    bytes_of: dict[str, int] = {}
    estimates: dict[str, qnn.CostEstimate] = {}
    if (reason := qnn.available()) is not None:
        missing.append(f"no .dlc bytes and no cost estimate: {reason}")
    else:
        say(f"asking Qualcomm's cost model about {path.name}")
        models = {"": to_onnx(graph, weights), "_8bit": pricing.eight_bits(graph, weights)}
        for width, model in models.items():
            with _told(missing, f"{path.name}: no dlc_bytes{width}"):
                bytes_of[width] = pricing.dlc_bytes(model, size=size)
            with _told(missing, f"{path.name}: no estimate{width}"):
                estimates[width] = pricing.estimate(model, size=size, chip=chip)
    return Figures(
        name=path.name,
        parameters=cost.deployed_parameters,
        macs_per_lr_pixel=cost.macs_per_lr_pixel,
        npz_bytes=path.stat().st_size,
        host_seconds=host_seconds,
        dlc_bytes=bytes_of.get(""),
        dlc_bytes_8bit=bytes_of.get("_8bit"),
        estimate=estimates.get(""),
        estimate_8bit=estimates.get("_8bit"),
    )


@contextlib.contextmanager
def _told(missing: list[str], what: str) -> Iterator[None]:
    """An expected failure inside is a line in `missing`."""
    try:
        yield
    except UsageError:
        raise
    except SnpeSrganError as error:
        missing.append(f"{what}: {error.what}")
