"""Qualcomm's libraries from the onnxruntime-qnn wheel: write a .dlc, run the Hexagon emulator, estimate a chip's cost.

    write_dlc("generator.onnx", "generator.dlc")
    with EmulatorSession("generator_w8a8.onnx") as emulator: sr = emulator.run(lr)
    estimate_cost("generator_w8a8.onnx").microseconds

All native code runs in a child process (`qnn_process`, `qnn_worker`); nothing here falls back to another engine.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import atomic_write, refuse_overwrite
from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.toolchains import socs
from snpe_srgan.toolchains.published import sixteen_bit_remark
from snpe_srgan.toolchains.qnn_process import Worker
from snpe_srgan.toolchains.qnn_wheel import PACKAGE, available, check_static, require, version
from snpe_srgan.toolchains.widths import sixteen_bits

__all__ = [
    "CostEstimate",
    "DlcInfo",
    "EmulatorSession",
    "TensorInfo",
    "available",
    "estimate_cost",
    "parse_estimate",
    "require",
    "version",
    "write_dlc",
]

PREPARE_TIMEOUT = 900.0  # seconds; the paper's network at 270x480 needs 3


@dataclass(frozen=True)
class TensorInfo:
    """A graph input or output: its name, shape, and element type in numpy's words."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class DlcInfo:
    """A written .dlc. `inputs` and `outputs` are those of the ONNX graph it was made from."""

    path: Path
    bytes: int
    soc: socs.Soc
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    toolchain: str


@dataclass(frozen=True)
class CostEstimate:
    """What Qualcomm's cost model says about one inference: accelerator time only, never a measurement.

    `remark` is to be said wherever the figure is shown: what is known to be wrong with it, or left out of it.
    """

    chip: str
    microseconds: int
    lower: int
    upper: int
    cycles: int
    input_bytes: int
    output_bytes: int
    spill_bytes: int
    fill_bytes: int
    uncosted_operators: int
    source: str
    remark: str | None = None


def _tensors(rows) -> tuple[TensorInfo, ...]:
    kinds = {"float": "float32", "double": "float64"}
    plain = [(name, shape, kind.removeprefix("tensor(").removesuffix(")")) for name, shape, kind in rows]
    return tuple(TensorInfo(name, tuple(shape), kinds.get(kind, kind)) for name, shape, kind in plain)


def write_dlc(
    onnx_path: str | Path,
    dlc_path: str | Path,
    *,
    soc_model: int | str = socs.DEFAULT,
    offload_io: bool = False,
    overwrite: bool = False,
    name: object = None,
    timeout: float = PREPARE_TIMEOUT,
) -> DlcInfo:
    """Writes an ONNX (float or QDQ) model of fixed shape as a .dlc, each operator checked against the chip's HTP.

    `offload_io` leaves the quantization of the input and the dequantization of the output to the caller, so that both
    are integer tensors; the output is then named after the graph's last QuantizeLinear. The default keeps float32
    tensors with the model's own names, which is what SNPE's float .raw files and every tool of this project feed.
    `name`: what errors call the model; its path by default.

    Args:
        soc_model: the chip whose HTP the operators are checked against: id, part number or marketing name.
        overwrite: whether a .dlc that is there may be replaced.
        timeout: seconds that preparing the graph may take.

    Raises:
        MissingToolError: onnxruntime-qnn is not installed.
        UsageError: the chip is not known.
        InputError: a free shape, an operator that the converter does not have, or the .dlc exists already.
        SnpeSrganError: the HTP refuses the graph, or the child process crashed or took too long.
    """
    require()
    soc = socs.find(soc_model)
    refuse_overwrite(dlc_path, overwrite)
    check_static(onnx_path)
    with (
        Worker(subject=name or onnx_path, timeout=timeout) as worker,
        atomic_write(dlc_path, overwrite=overwrite) as temporary,
    ):
        ports = _dump(worker, onnx_path, soc, "0", "dlc")
        if offload_io:  # leaves operators at the ends to the caller, so that only the run above could be strict
            _dump(worker, onnx_path, soc, "1", "offloaded")
        written = sorted((worker.folder / ("offloaded" if offload_io else "dlc")).glob("*.dlc"))
        if len(written) != 1:
            raise SnpeSrganError(
                f"the serializer wrote {len(written)} .dlc files where one was expected",
                where=onnx_path,
                hint="the graph must be one connected piece of operators that the HTP has",
            )
        _copy(written[0], temporary)
    return DlcInfo(
        path=Path(dlc_path),
        bytes=Path(dlc_path).stat().st_size,
        soc=soc,
        inputs=_tensors(ports["inputs"]),
        outputs=_tensors(ports["outputs"]),
        toolchain=f"{PACKAGE} {version()}",
    )


def _dump(worker: Worker, onnx_path: str | Path, soc: socs.Soc, offload: str, folder: str) -> dict:
    """Prepares the model and has the serializer write its .dlc into a sub-folder of the worker's."""
    target = worker.folder / folder
    target.mkdir()
    options = {"dump_qnn_ir_dlc": "1", "dump_qnn_ir_dlc_dir": str(target), "soc_model": str(soc.id)}
    options["offload_graph_io_quantization"] = offload
    return worker.open(onnx_path, options, strict=offload == "0")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(1 << 20):
            write.write(block)


class EmulatorSession:
    """A model on the Hexagon emulator: one child process, alive for many calls. The judge of bits, not fast.

    Args:
        model: path or bytes of an ONNX model of fixed shape, with one input and one output (`single`) or more.
        soc_model: None computes float graphs in true float32; a chip of Hexagon v73 or later, in float16 as it would.
        timeout: seconds one inference may take; None waits for ever.
        name: what errors call the model; the path by default.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        soc_model: int | str | None = None,
        timeout: float | None = None,
        name: str | None = None,
        single: bool = True,
    ):
        require()
        options = {} if soc_model is None else {"soc_model": str(socs.find(soc_model).id)}
        subject = name or (None if isinstance(model, bytes) else Path(model))
        self._worker = Worker(subject=subject, timeout=timeout)
        try:
            if isinstance(model, bytes):
                path = self._worker.folder / "model.onnx"
                path.write_bytes(model)
            else:
                path = Path(model)
            check_static(path)
            ports = self._worker.open(path, options)
            self.inputs, self.outputs = _tensors(ports["inputs"]), _tensors(ports["outputs"])
            if single and (len(self.inputs) != 1 or len(self.outputs) != 1):
                raise InputError("the emulator session takes models with one input and one output", where=name or path)
        except BaseException:
            self._worker.close()
            raise

    def run(self, array: np.ndarray) -> np.ndarray:
        """One inference: an array of the input's shape and dtype in, the output's out.

        Raises:
            SnpeSrganError: the array has another shape or dtype (there is no free size), or the child crashed or took
                too long.
        """
        port = self.inputs[0]
        if array.shape != port.shape or array.dtype != port.dtype:
            raise SnpeSrganError(f"'{port.name}' takes {port.dtype} {port.shape}, not {array.dtype} {array.shape}")
        return self._worker.ask({"do": "run"}, [array])[1][0]

    def run_named(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference of a graph with any number of inputs and outputs, by their names.

        Args:
            arrays: of the shapes and dtypes that `inputs` says; further names are passed over.

        Raises:
            SnpeSrganError: an input is missing, or the child crashed or took too long.
        """
        for port in self.inputs:
            if port.name not in arrays:
                raise SnpeSrganError(f"'{port.name}', an input of the graph, is not given")
        results = self._worker.ask({"do": "run"}, [arrays[port.name] for port in self.inputs])[1]
        return dict(zip((port.name for port in self.outputs), results, strict=True))

    def close(self) -> None:
        """Ends the child process; harmless when repeated."""
        self._worker.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def estimate_cost(
    onnx_path: str | Path, *, chip: int | str = "SA8255P", timeout: float = PREPARE_TIMEOUT
) -> CostEstimate:
    """Asks Qualcomm's cost model what one inference takes on a chip: prepares the graph, executes nothing.

    Only some chips have a cost model (`Soc.estimates`). SA8255P is Hexagon v73 with 8 MB VTCM: what the
    Snapdragon 8 Gen 2 has. The model prices w8a16 below w8a8, and published times say the opposite: the `remark`
    of such an estimate says so.

    Args:
        onnx_path: a float or QDQ model of fixed shape.
        chip: id, part number or marketing name.
        timeout: seconds that preparing the graph may take.

    Raises:
        MissingToolError: onnxruntime-qnn is not installed.
        UsageError: the chip is not known.
        InputError: a free shape, or an operator that the converter does not have.
        SnpeSrganError: the chip has no cost model, or the HTP refuses the graph.
    """
    require()
    soc = socs.find(chip)
    if not soc.estimates:
        known = ", ".join(s.name for s in socs.SOCS if s.estimates)
        raise SnpeSrganError(f"Qualcomm gives no cost model for {soc}", hint=f"chips that have one: {known}")
    model = check_static(onnx_path)
    with Worker(subject=onnx_path, timeout=timeout) as worker:
        profile = worker.folder / "profile.csv"
        options = {"soc_model": str(soc.id), "profiling_level": "detailed", "profiling_file_path": str(profile)}
        worker.open(onnx_path, options)
        worker.ask({"do": "close"})
        text = profile.read_text("utf-8", "replace") if profile.exists() else ""
    found = parse_estimate(text, soc, where=onnx_path)
    said = [sixteen_bit_remark()] if sixteen_bits(model) else []
    if found.uncosted_operators:
        said.append(f"{found.uncosted_operators} operators have no price in it")
    return replace(found, remark="; ".join(said) or None)


def parse_estimate(text: str, soc: socs.Soc, *, where: object = None) -> CostEstimate:
    """Reads the "Performance Estimates" of a profile CSV (columns: stamp, message, value, unit, ..., identifier).

    Args:
        text: the whole CSV.
        soc: the chip that was asked for; named in the result and in errors.
        where: the model, for the error.

    Raises:
        SnpeSrganError: one of the values is missing, as when the graph was not costed.
    """
    rows = [row for row in csv.reader(text.splitlines()) if len(row) >= 7 and row[2].isdigit()]
    values = {row[6]: int(row[2]) for row in rows}

    def value(name: str) -> int:
        if name not in values:
            raise SnpeSrganError(f"the cost model gave no '{name}' for {soc}", where=where)
        return values[name]

    return CostEstimate(
        chip=soc.name,
        microseconds=value("Simulated (Accelerator exec time us)"),
        lower=value("Simulated (Accelerator exec time us (lower estimate))"),
        upper=value("Simulated (Accelerator exec time us (upper estimate))"),
        cycles=value("Simulated (Accelerator exec cycles)"),
        input_bytes=value("Input Fill"),
        output_bytes=value("Output Spill"),
        spill_bytes=value("Intermediate Spill"),
        fill_bytes=value("Intermediate Fill"),
        uncosted_operators=value("Missing Ops (Number of Ops with no Costs associated)"),
        source=f"estimate of Qualcomm's cost model for {soc.name} (Hexagon v{soc.hexagon})",
    )
