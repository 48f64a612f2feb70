"""OpenVINO on the CPU: the fastest host engine, and the reader of frozen TensorFlow graphs.

The model is compiled for each picture size it meets (0.1 to 0.3 s, kept while the size stays): a fixed shape runs
faster than a free one and its memory is planned.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.machine import require, usable_threads
from snpe_srgan.models.frozen_graph import check_frozen_graph
from snpe_srgan.onnx_graphs.model import PROBE
from snpe_srgan.onnx_graphs.reach import REPEATS, Facts, Step, walk
from snpe_srgan.onnx_graphs.wide_convolution import widen
from snpe_srgan.runtimes.base import description_of, first_line
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.source import Source


def has_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU; elsewhere it computes in float32 all the same."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoSession(Session):
    """OpenVINO on this machine's CPU.

    Args:
        threads: None for all processors that this process may use.
        precision: `f32`, or `bf16`: faster where the CPU has AVX512_BF16 or AMX, at a small cost in accuracy.
    """

    def __init__(self, source: Source, *, threads: int | None = None, precision: str = "f32"):
        require("openvino", what="this engine" if source.kind != "pb" else "running a .pb on the host")
        if source.kind == "pb":
            check_frozen_graph(source.path)
        import openvino as ov

        self._core = ov.Core()
        remarks: tuple[str, ...] = ()
        if precision == "bf16" and not has_bf16():
            remarks = ("this CPU has no bf16 of its own: f32 is faster on it",)
        try:
            if source.model is None:
                self._model = self._core.read_model(str(source.path))
            else:
                self._model = self._core.read_model(io.BytesIO(widen(source.model).SerializeToString()))
        except Exception as error:  # OpenVINO throws plain RuntimeError
            kind = "a frozen TensorFlow graph" if source.kind == "pb" else "the model"
            raise InputError(f"OpenVINO cannot read {kind}: {first_line(error)}", where=source.path) from error
        facts = source.facts or openvino_facts(self._model, where=source.path)
        version = ov.__version__.split("-")[0]
        super().__init__(description_of(replace(source, facts=facts), "openvino", version, remarks=remarks))
        self._config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads or usable_threads(),
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits for a busy core; on an idle machine it gains nothing
        }
        self._compiled: Any = None
        self._size: tuple[int, ...] | None = None

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        try:
            if self._size != lr.shape:
                self._compiled = None  # frees the old one's memory first
                self._model.reshape(list(lr.shape))
                self._compiled = self._core.compile_model(self._model, "CPU", self._config).create_infer_request()
                self._size = lr.shape
            return self._compiled.infer([lr], share_inputs=True).to_tuple()[0].copy()
        except Exception as error:
            self._size = None
            raise SnpeSrganError(f"OpenVINO failed: {first_line(error)}", where=self.description.path) from error

    def close(self) -> None:
        self._compiled = self._model = self._core = None


def openvino_facts(model, *, where: object) -> Facts:
    """The facts of a graph that OpenVINO has read (a `.pb`): see `onnx_model.onnx_facts`.

    Raises:
        InputError: it does not have one float32 NHWC RGB picture in and one out, or does not work at its size.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"not a super-resolution model: it has {len(model.inputs)} inputs and {len(model.outputs)} outputs",
            where=where,
        )
    shape = model.inputs[0].get_partial_shape()
    dims: list[Any] = [d.get_length() if d.is_static else None for d in shape] if shape.rank.is_static else []
    kind = model.inputs[0].get_element_type().get_type_name()
    if len(dims) != 4 or dims[0] not in (None, 1) or dims[3] not in (None, 3) or kind != "f32":
        raise InputError(f"the model's input is {kind} {shape}, not float32 [1, height, width, 3]", where=where)
    fixed = None if None in dims[1:3] else (dims[1], dims[2])
    size = fixed or PROBE
    probe = model.clone()
    try:
        probe.reshape([1, *size, 3])
        out = tuple(probe.outputs[0].get_shape())
    except Exception as error:
        raise InputError(f"the model does not work at {size[0]}x{size[1]}: {first_line(error)}", where=where) from error
    if len(out) != 4:
        raise InputError(f"the model's output {list(out)} is no picture", where=where)
    lr = probe.inputs[0].get_node()
    steps = _steps(probe, lr)
    scale, overlap, memory, because, whole = walk(
        steps, lr=_key(lr.output(0)), sr="result", lr_size=size, sr_size=tuple(out[1:]), where=where
    )
    names = [sorted(p.get_names()) or [p.get_node().get_friendly_name()] for p in (model.inputs[0], model.outputs[0])]
    return Facts(names[0][0], names[1][0], scale, fixed, overlap, memory, because, whole)


SAME = {
    "Abs", "Add", "BatchNormInference", "Clamp", "Concat", "Convert", "Divide", "Elu", "Exp", "FakeQuantize", "Gelu",
    "HSwish", "HardSigmoid", "Maximum", "Minimum", "Multiply", "Negative", "PRelu", "Power", "Relu", "Result", "Selu",
    "Sigmoid", "Sqrt", "Subtract", "Swish", "Tanh", "Transpose",
}  # fmt: skip
POOLS = {"AvgPool", "MaxPool", "ReduceMax", "ReduceMean", "ReduceSum"}


def _key(output) -> str:
    return f"{output.get_node().get_name()}:{output.get_index()}"


def _steps(model, lr):
    flat = {_key(lr.output(0))}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("Parameter", "Constant", "ShapeOf"):
            continue
        sources = tuple(_key(port.get_source_output()) for port in node.inputs())
        turned = None
        if kind == "Transpose":
            order = node.input_value(1).get_node()
            turned = list(order.get_data()) if order.get_type_name() == "Constant" else []
        nhwc = turned == [0, 2, 3, 1] or (turned is None and any(name in flat for name in sources))
        window, repeat = ((0, 0, 0, 0), 1) if kind in SAME else (None, 1)
        if kind in ("Convolution", "GroupConvolution") and not nhwc:
            window = _window(node)
        elif kind == "DepthToSpace" and not nhwc:
            window, repeat = (0, 0, 0, 0), int(node.get_attributes()["block_size"])
        elif kind == "Interpolate":
            window, repeat = _repeated(node, rows=1 if nhwc else 2)
        shape = list(node.get_output_shape(0))
        height, width, channels = 0, 0, 0  # fits nothing: the radius is then unknown
        if len(shape) == 4:
            height, width, channels = shape[1:] if nhwc else (shape[2], shape[3], shape[1])
        whole = kind in POOLS and (len(shape) != 4 or (height, width) == (1, 1))
        output = "result" if kind == "Result" else _key(node.output(0))
        if nhwc:
            flat.add(output)
        yield Step(kind, output, sources, (height, width, channels), window, repeat, whole)


def _repeated(node, *, rows: int) -> tuple[tuple[int, int, int, int] | None, int]:
    """Window and factor of a nearest-neighbour enlargement by a whole number; others are not known."""
    attributes = node.get_attributes()
    before, after = (list(shape) for shape in (node.get_input_shape(0), node.get_output_shape(0)))
    way = attributes.get("coordinate_transformation_mode"), attributes.get("nearest_mode")
    whole = len(before) == 4 and not any(a % b for a, b in zip(after, before, strict=True))
    if attributes.get("mode") != "nearest" or way not in REPEATS or not whole:
        return None, 1
    return (0, 0, 0, 0), after[rows] // before[rows]


def _window(node) -> tuple[int, int, int, int] | None:
    attributes = node.get_attributes()
    kernel = list(node.get_input_shape(1))[-2:]
    if list(attributes["strides"]) != [1, 1]:
        return None
    reach = [(k - 1) * d for k, d in zip(kernel, attributes["dilations"], strict=True)]
    low = [int(p) for p in attributes["pads_begin"]]
    if str(attributes.get("auto_pad", "explicit")).lower().endswith("same_upper"):
        low = [r // 2 for r in reach]
    elif str(attributes.get("auto_pad", "explicit")).lower().endswith("same_lower"):
        low = [(r + 1) // 2 for r in reach]
    return low[0], reach[0] - low[0], low[1], reach[1] - low[1]
