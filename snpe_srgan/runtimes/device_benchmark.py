"""Table 3 of the paper on a phone: size and measured time of each .dlc on each unit of the chip.

    table = benchmark_device(files, sdk=find_sdk(), phone=choose_phone(), runtimes=("cpu", "gpu", "dsp"))

Times are those that SNPE logs itself (`snpe-diagview`: mean over the runs of one load), throughput those of
`snpe-throughput-net-run`. A pair that a phone cannot run keeps its row, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.errors import SnpeSrganError, UsageError
from snpe_srgan.runtimes.net_run import check_runtime, read_ports
from snpe_srgan.toolchains.snpe.adb import Phone
from snpe_srgan.toolchains.snpe.commands import RUNTIMES
from snpe_srgan.toolchains.snpe.device import Device
from snpe_srgan.toolchains.snpe.logs import LayerTime, Times
from snpe_srgan.toolchains.snpe.raw import write_raws
from snpe_srgan.toolchains.snpe.sdk import Sdk
from snpe_srgan.zoo.resolve import ModelFile

SECONDS = 3  # of throughput
PROFILE = "high_performance"  # the one that every release has


@dataclass(frozen=True)
class DeviceTiming:
    """One model on one unit. `times` and `per_second` are None where `reason` says why."""

    path: Path
    bytes: int
    quantized: bool
    input_size: tuple[int, int]
    runtime: str
    times: Times | None
    per_second: float | None
    layers: tuple[LayerTime, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class DeviceBenchmark:
    serial: str
    phone: dict[str, str]
    release: str
    perf_profile: str
    runs: int
    timings: tuple[DeviceTiming, ...]


def benchmark_device(
    files: Sequence[ModelFile],
    *,
    sdk: Sdk,
    phone: Phone,
    runtimes: Sequence[str] = ("cpu", "gpu", "dsp"),
    perf_profile: str = PROFILE,
    runs: int = 10,
    say: Callable[[str], None] = lambda text: None,
) -> DeviceBenchmark:
    """Times every .dlc on every unit; an error only when not one pair could be timed.

    Args:
        files: of kind `dlc`.
        runtimes: units of the chip, of `commands.RUNTIMES`.
        perf_profile: one of the SDK's performance profiles.
        runs: inferences of one load, whose mean SNPE logs.
        say: told what is done just now.

    Returns:
        Times in microseconds, throughput in inferences a second. A pair that failed has its reason instead.

    Raises:
        UsageError: a file is no .dlc, or a runtime is unknown.
        InputError: a .dlc cannot be read.
        SnpeSrganError: no pair could be timed: the error of the first.
    """
    for file in files:
        if file.kind != "dlc":
            raise UsageError(
                "a phone is timed with .dlc files", where=file.path, hint=f"snpe-srgan convert {file.path}"
            )
    for runtime in runtimes:
        if runtime not in RUNTIMES:
            raise UsageError(f"unknown runtime '{runtime}'", where="--runtimes", hint=", ".join(RUNTIMES))
    devices = {runtime: Device(sdk, phone, runtime=runtime) for runtime in runtimes}
    timings, errors = [], []
    for file in files:
        ports = read_ports(file)
        for runtime, device in devices.items():
            say(f"{file.path.name} on the {runtime.upper()} of {phone.serial}")
            row: dict[str, Any] = {"path": file.path, "bytes": file.path.stat().st_size, "quantized": ports.quantized,
                   "input_size": ports.facts.input_size, "runtime": runtime}  # fmt: skip
            try:
                check_runtime(sdk.release, runtime, ports, where=file.path)
                timings.append(_time(device, file.path, ports.lr, row, perf_profile=perf_profile, runs=runs))
            except SnpeSrganError as error:
                errors.append(error)
                timings.append(DeviceTiming(**row, times=None, per_second=None, reason=error.what))
    if all(timing.times is None for timing in timings):
        raise errors[0] if errors else SnpeSrganError("the phone's runs logged no times", hint="-v shows their words")
    facts = next(iter(devices.values())).describe()
    return DeviceBenchmark(phone.serial, facts, str(sdk.release), perf_profile, runs, tuple(timings))


def _time(device: Device, path: Path, port, row: dict[str, Any], *, perf_profile: str, runs: int) -> DeviceTiming:
    lr = np.random.default_rng(0).random(port.shape, dtype=np.float32)
    with Scratch() as folder:
        scratch = Path(folder)
        _, (raw,) = write_raws([lr], scratch / "in", port)
        ran = device.net_run(path, [raw] * runs, scratch, perf_profile=perf_profile, results=False)
    per_second, reason = None, ran.no_times
    try:
        per_second = device.throughput(path, seconds=SECONDS, perf_profile=perf_profile).infers_per_second
    except SnpeSrganError as error:  # an older SDK, or a tool that fails: the time is what was asked for
        reason = reason or f"no throughput: {error.what}"
    layers = () if ran.times is None else named(ran.times.layers, path)
    return DeviceTiming(**row, times=ran.times, per_second=per_second, layers=layers, reason=reason)


def named(layers: Sequence[LayerTime], dlc: Path) -> tuple[LayerTime, ...]:
    """Layer times with the names of the file's operators, where the log has numbers only and as many of them."""
    from dataclasses import replace

    from snpe_srgan.dlc.reader import read

    nodes = [node.name for node in read(dlc).graphs[0].nodes]
    if any(layer.name for layer in layers) or {layer.index for layer in layers} - set(range(len(nodes))):
        return tuple(layers)
    return tuple(replace(layer, name=nodes[layer.index]) for layer in layers)
