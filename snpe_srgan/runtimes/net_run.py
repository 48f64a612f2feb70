"""A .dlc through Qualcomm's own `snpe-net-run`, here (`--on sdk`) or on a phone (`--on device`).

    with SdkSession(resolve("gan.dlc"), sdk=find_sdk()) as session: sr = session.run(lr)
    phone = Device(find_sdk(), choose_phone(), runtime="dsp")
    with DeviceSession(resolve("gan_w8a8.dlc"), device=phone) as session: sr = session.run(lr)

Starting the tool and loading the network takes longer than the network: all tiles of a picture go in one run
(`run_all`), as lines of one input list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.runtimes.base import description_of
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.source import Source
from snpe_srgan.toolchains.snpe import commands
from snpe_srgan.toolchains.snpe.device import Device
from snpe_srgan.toolchains.snpe.logs import Times
from snpe_srgan.toolchains.snpe.process import run_tool
from snpe_srgan.toolchains.snpe.raw import LIST, OUTPUT, Port, read_result, write_raws
from snpe_srgan.toolchains.snpe.release import SNPE1, Release
from snpe_srgan.toolchains.snpe.sdk import Sdk
from snpe_srgan.zoo.resolve import ModelFile


class NetRunSession(Session):
    """What the two have in common; a subclass runs raw files."""

    engine = ""

    def __init__(
        self, file: ModelFile, *, release: Release, version: str, runtime: str, perf_profile: str | None, raw: str
    ):
        if file.kind != "dlc":
            raise UsageError(
                "SNPE runs .dlc files only", where=file.path, hint=f"snpe-srgan convert {file.path} --toolchain snpe"
            )
        dlc = read_ports(file)
        source = Source(file.path, file.kind, None, dlc.facts)
        super().__init__(description_of(source, self.engine, version))
        check_runtime(release, runtime, dlc, where=file.path)
        self.path = file.path
        self.release, self.runtime, self.perf_profile, self.raw = release, runtime, perf_profile, raw
        self._lr, self._sr = dlc.lr, dlc.sr
        self._times: Times | None = None
        self._no_times: str | None = None

    @property
    def times(self) -> Times | None:
        return self._times

    @property
    def no_times(self) -> str | None:
        return self._no_times

    def run_all(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Runs all of one picture's tiles at once; gives the results in order, each read when it is asked for."""
        arrays = list(arrays)
        for lr in arrays:
            self.check_input(lr)
        scratch = Scratch()
        try:
            listed, files = write_raws(arrays, Path(scratch.name) / "in", self._lr, raw=self.raw)
            output, said = self._net_run(listed, files, Path(scratch.name))
        except BaseException:
            scratch.cleanup()
            raise
        return self._results(scratch, output, arrays, said)

    def _results(self, scratch, output: Path, arrays: list[np.ndarray], said: str) -> Iterator[np.ndarray]:
        with scratch:
            for index, lr in enumerate(arrays):
                yield self.check_output(lr, read_result(output, index, self._sr, raw=self.raw, said=said))

    def _net_run(self, listed: Path, files: list[Path], scratch: Path) -> tuple[Path, str]:
        """Runs the tool; the folder with its results, and what it said."""
        raise NotImplementedError


class SdkSession(NetRunSession):
    engine = "snpe-net-run"

    def __init__(
        self, file: ModelFile, *, sdk: Sdk, runtime: str = "cpu", perf_profile: str | None = None, raw: str = "float32"
    ):
        super().__init__(
            file, release=sdk.release, version=str(sdk.release), runtime=runtime, perf_profile=perf_profile, raw=raw
        )
        self._sdk = sdk

    def command(self, listed: Path | str, output: Path | str) -> commands.Command:
        """The `snpe-net-run` of this session, for an input list and a folder for results."""
        return commands.net_run(
            self.release, container=self.path, input_list=listed, output_dir=output, runtime=self.runtime,
            perf_profile=self.perf_profile, raw=self.raw,
        )  # fmt: skip

    def commands(self) -> list[str]:
        return [*self._sdk.exports(), self._sdk.shell(self.command(LIST, OUTPUT))]

    def _net_run(self, listed, files, scratch):
        ran = run_tool(self._sdk, self.command(listed, scratch / OUTPUT), subject=self.path)
        return scratch / OUTPUT, ran.output


class DeviceSession(NetRunSession):
    engine = "snpe-net-run on a phone"

    def __init__(self, file: ModelFile, *, device: Device, perf_profile: str | None = None, raw: str = "float32"):
        release = device.sdk.release
        version = f"{release}, {device.phone.serial}, {device.runtime.upper()}"
        super().__init__(
            file, release=release, version=version, runtime=device.runtime, perf_profile=perf_profile, raw=raw
        )
        self._device = device

    def commands(self) -> list[str]:
        return self._device.plan(self.path, perf_profile=self.perf_profile, raw=self.raw)

    def _net_run(self, listed, files, scratch):
        ran = self._device.net_run(self.path, files, scratch, perf_profile=self.perf_profile, raw=self.raw)
        self._times, self._no_times = ran.times, ran.no_times
        return ran.output, ran.said


class DlcPorts:
    """What a caller of `snpe-net-run` must know of a .dlc: its facts, its one input and output, whether quantized,
    the version of the file's format (3 of SNPE 1.x, 4 of SNPE 2)."""

    def __init__(self, facts: Facts, lr: Port, sr: Port, *, quantized: bool, version: int):
        self.facts, self.lr, self.sr, self.quantized, self.version = facts, lr, sr, quantized, version


def read_ports(file: ModelFile) -> DlcPorts:
    """Reads them from the file. An operator that only the SDK knows leaves the receptive field unknown, no more.

    Raises:
        InputError: the file is damaged, holds several networks, or is none that enlarges one NHWC RGB picture.
    """
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild
    from snpe_srgan.onnx_graphs.model import onnx_facts

    dlc = read(file.path)
    if len(dlc.graphs) != 1:
        raise InputError(f"the .dlc holds {len(dlc.graphs)} networks; one is expected", where=file.path)
    graph = dlc.graphs[0]
    inputs, outputs = graph.of_role("input"), graph.of_role("output")
    if len(inputs) != 1 or len(outputs) != 1:
        what = f"not a super-resolution model: {len(inputs)} inputs and {len(outputs)} outputs, not 1 and 1"
        raise InputError(what, where=file.path)
    lr, sr = _port(inputs[0]), _port(outputs[0])
    if not all(len(p.shape) == 4 and p.shape[0] == 1 and p.shape[3] == 3 for p in (lr, sr)):
        raise InputError(f"not a super-resolution model: {lr.shape} in, {sr.shape} out, not pictures", where=file.path)
    try:
        facts = onnx_facts(rebuild(dlc), where=file.path)
    except InputError as error:
        scale = sr.shape[1] // lr.shape[1]
        if sr.shape != (1, lr.shape[1] * scale, lr.shape[2] * scale, 3):
            raise
        facts = Facts(lr.name, sr.name, scale, (lr.shape[1], lr.shape[2]), None, 12 * scale**2, error.what)
    quantized = any(t.quantized for t in graph.tensors.values())
    return DlcPorts(facts, lr, sr, quantized=quantized, version=dlc.version)


def _port(tensor) -> Port:
    encoding = tensor.encoding if tensor.quantized else None
    if encoding is None:
        return Port(tensor.name, tensor.dims)
    return Port(tensor.name, tensor.dims, encoding.bits, float(encoding.scale[0]), int(encoding.offset[0]))


def check_runtime(release: Release, runtime: str, dlc: DlcPorts, *, where: object) -> None:
    """What this SDK or unit is known not to run is refused here, before minutes are spent on bringing it there.

    SNPE 1.x quantizes a float file itself when it loads it (except for the AIP), 2.x does not run it; 2.x loads no file
    of 1.x.

    Args:
        runtime: `cpu`, `gpu`, `dsp` or `aip`.
        where: the .dlc, for the error.

    Raises:
        UsageError: a file of SNPE 1.x for a later release, or a float file for a unit that runs quantized ones only.
    """
    if dlc.version < 4 and release.flavour != SNPE1:
        raise UsageError(
            f"this .dlc is of SNPE 1.x, {release} does not load it", where=where, hint="convert it again, or --sdk"
        )
    if dlc.quantized or runtime in ("cpu", "gpu") or (release.flavour == SNPE1 and runtime == "dsp"):
        return
    raise UsageError(
        f"the {runtime.upper()} of {release} runs quantized models only, and this one is float", where=where,
        hint="snpe-srgan quantize, or --runtime gpu",
    )  # fmt: skip
