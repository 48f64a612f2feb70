"""`.tflite` files: LiteRT on the host's CPU, compiled NPU code on the Hexagon emulator.

    with LiteRtSession(path) as session: ...        # plain operators
    with CompiledSession(path) as session: ...      # the file's own byte code

The file takes pixels (uint8) or 0..1 (float32) and gives the same; the session takes and gives what all sessions do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.machine import usable_threads
from snpe_srgan.onnx_graphs.reach import Facts, Step, walk
from snpe_srgan.runtimes.base import description_of, first_line
from snpe_srgan.runtimes.session import Description, Session
from snpe_srgan.runtimes.source import Source
from snpe_srgan.tflite import schema
from snpe_srgan.tflite.read import DISPATCH, Tensor, TfliteModel, read_tflite

if TYPE_CHECKING:
    from snpe_srgan.toolchains.qnn import EmulatorSession

SAME = {"ADD", "MUL", "SUB", "QUANTIZE", "DEQUANTIZE", "RELU", "RELU6", "PRELU", "LEAKY_RELU", "TANH", "LOGISTIC",
        "CONCATENATION", "MINIMUM", "MAXIMUM", "RELU_N1_TO_1", "HARD_SWISH"}  # fmt: skip


def tflite_facts(model: TfliteModel) -> Facts:
    """Scale, size and reach of a file: by its own record where this project wrote it, else by its operators.

    Raises:
        InputError: an end is no RGB picture of bytes or float32, a size is free, or the network does not enlarge by a
            whole number.
    """
    lr, sr = model.input, model.output
    for port, what in ((lr, "input"), (sr, "output")):
        if port.dtype not in ("uint8", "float32", "int8") or len(port.shape) != 4 or port.shape[0] != 1:
            raise InputError(
                f"the model's {what} '{port.name}' is {port.dtype} {list(port.shape)}, not one RGB picture",
                where=model.path, hint="[1, height, width, 3] of uint8 or float32",
            )  # fmt: skip
    if lr.shape[3] != 3:
        hint = "a .tflite is NHWC: [1, height, width, 3]"
        raise InputError(f"the model's input is {list(lr.shape)}, not one RGB picture", where=model.path, hint=hint)
    if min(lr.shape) < 1 or min(sr.shape) < 1:
        raise InputError("the model's sizes are not fixed", where=model.path)
    size = (lr.shape[1], lr.shape[2])
    scale, overlap, memory, because, whole = walk(
        _steps(model), lr=f"{model.input_index}", sr=f"{model.output_index}", lr_size=size,
        sr_size=(sr.shape[1], sr.shape[2], sr.shape[3]), where=model.path,
    )  # fmt: skip
    known = model.metadata.get("receptive_radius")
    if isinstance(known, int) and known >= 0:
        overlap, because = known, None
        told = model.metadata.get("reads_whole_picture")
        whole = str(told) if told else None
    return Facts(lr.name, sr.name, scale, size, overlap, memory, because, whole)


def _steps(model: TfliteModel):
    """The operators on pictures, as `reach` walks them."""
    for node in model.nodes:
        if not node.outputs:
            continue
        shape = model.tensors[node.outputs[0]].shape
        inputs = tuple(str(i) for i in node.inputs if i >= 0)
        window, repeat, whole = _window(model, node)
        size = (shape[1], shape[2], shape[3]) if len(shape) == 4 else (0, 0, 0)
        yield Step(node.kind, str(node.outputs[0]), inputs, size, window, repeat, whole)


def _window(model: TfliteModel, node) -> tuple[tuple[int, int, int, int] | None, int, bool]:
    if node.kind in SAME:
        return (0, 0, 0, 0), 1, False
    if node.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(node.inputs) > 1:
        options, kernel = node.options, model.tensors[node.inputs[1]].shape
        if len(kernel) != 4 or options is None or (options.strideH, options.strideW) != (1, 1) or options.padding != 0:
            return ((0, 0, 0, 0) if len(kernel) == 4 and kernel[1:3] == (1, 1) else None), 1, False
        reach = [(kernel[1] - 1) * options.dilationHFactor, (kernel[2] - 1) * options.dilationWFactor]
        return (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2), 1, False
    before, after = (list(model.tensors[x[0]].shape) if x and x[0] >= 0 else [] for x in (node.inputs, node.outputs))
    if node.kind in ("DEPTH_TO_SPACE", "RESIZE_NEAREST_NEIGHBOR") and len(before) == len(after) == 4 and before[1]:
        return (0, 0, 0, 0), max(after[1] // before[1], 1), False
    return None, 1, node.kind == "MEAN"


def to_values(lr: np.ndarray, port: Tensor) -> np.ndarray:
    """A picture (1, h, w, 3), float32 in 0..1, as what an input of the file takes: floats as they are, or integers on
    its grid, rounded and clipped.
    """
    if port.dtype == "float32":
        return lr
    scale, zero, kind = port.scale or 1 / 255, port.zero or 0, np.dtype(port.dtype)
    limits = np.iinfo(kind)
    steps = np.rint(lr / np.float32(scale)) + zero
    return np.clip(steps, limits.min, limits.max).astype(kind)


def from_values(sr: np.ndarray, port: Tensor) -> np.ndarray:
    """What an output of the file gives (integers on its grid, or floats in 0..1) as float32 in -1..1, of the same
    shape.
    """
    if port.dtype != "float32":
        scale, zero = port.scale or 1 / 255, port.zero or 0
        sr = (sr.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return sr * np.float32(2) - np.float32(1)


def _description(model: TfliteModel, engine: str, version: str | None) -> Description:
    return description_of(Source(Path(model.path), "tflite", None, tflite_facts(model)), engine, version or "")


class LiteRtSession(Session):
    """LiteRT's own CPU kernels (XNNPACK), as on the CPU of any phone."""

    def __init__(self, path: Path, *, threads: int | None = None):
        model = read_tflite(path)
        if DISPATCH in model.operators:
            raise InputError(
                f"its operators are NPU code for {model.compiled_for or 'a chip'}, which a CPU cannot run", where=path,
                hint="--on emulator, or the .tflite without a chip in its name",
            )  # fmt: skip
        super().__init__(_description(model, "litert", schema.version()))
        self._model = model
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(str(model.path), num_threads=threads or usable_threads())
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"LiteRT cannot open the model: {first_line(error)}", where=model.path) from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        try:
            self._interpreter.set_tensor(self._input, to_values(lr, self._model.input))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise SnpeSrganError(f"LiteRT failed: {first_line(error)}", where=self._model.path) from error
        return from_values(self._interpreter.get_tensor(self._output), self._model.output)

    def close(self) -> None:
        self._interpreter = None


class CompiledSession(Session):
    """The byte code inside a compiled .tflite, taken out of the file, on the Hexagon emulator."""

    def __init__(self, path: Path):
        from snpe_srgan.tflite.context import wrap
        from snpe_srgan.toolchains import qnn

        model = read_tflite(path)
        if not model.codes:
            raise InputError(
                "the file holds no compiled NPU code for the emulator to run", where=path,
                hint="snpe-srgan deploy writes it; without --on this file runs on LiteRT's CPU kernels",
            )  # fmt: skip
        qnn.require()
        super().__init__(_description(model, "hexagon-emulator", qnn.version()))
        self._model = model
        if len(model.codes) != 1 or set(model.operators) != {DISPATCH}:
            rest = ", ".join(kind for kind in model.operators if kind != DISPATCH)
            raise InputError(
                f"the file is {len(model.codes)} piece(s) of NPU code and {rest or 'nothing else'}: the emulator runs "
                "files that are one piece", where=model.path,
            )  # fmt: skip
        (code,) = model.codes
        self._wrapped = wrap(
            code.data, name=code.name, inputs=[t.port for t in code.inputs], outputs=[t.port for t in code.outputs]
        )
        self._emulator: EmulatorSession | None = None

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        from snpe_srgan.toolchains.qnn import EmulatorSession

        try:
            if self._emulator is None:
                self._emulator = EmulatorSession(self._wrapped, name=str(self._model.path))
            return from_values(self._emulator.run(to_values(lr, self._model.input)), self._model.output)
        except SnpeSrganError:
            self.close()  # its process has ended: the next picture gets a new one
            raise

    def close(self) -> None:
        if self._emulator is not None:
            self._emulator.close()
        self._emulator = None
