"""What is inside a model file, in one form for all four kinds.

report = inspect_model(resolve("generator_w8a8.dlc"))
report.parameters, report.operators, report.layers

A `.dlc` is summarized by `dlc/describe.py` and, where its operators are known, measured as the graph it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.card import Card
from snpe_srgan.errors import InputError
from snpe_srgan.models.npz import load_npz
from snpe_srgan.zoo.resolve import ModelFile

UNKNOWN: Mapping[str, object] = {"scale": None, "macs_per_lr_pixel": None, "receptive_radius": None, "facts": {}}
MAX_MEASURED = 1 << 27  # bytes of weights: the rebuilt graph takes several times as much memory


@dataclass(frozen=True)
class Port:
    """An input or output; None is a free length. `encoding` is set where a file wants integers."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    encoding: object = None


@dataclass(frozen=True)
class LayerRow:
    """One layer or operator. `detail`: kernel, block, or shape and number format of its output.

    `attributes`, `inputs` and `outputs` are given for a `.dlc` only, in the file's own words.
    """

    name: str
    kind: str
    parameters: int
    detail: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """`macs_per_lr_pixel`, `scale` and `receptive_radius` are None where they are not known; `remark` says why."""

    path: Path
    kind: str
    bytes: int
    network: str
    scale: int | None
    parameters: int
    macs_per_lr_pixel: float | None
    receptive_radius: int | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: Mapping[str, int]
    layers: tuple[LayerRow, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    remark: str = ""
    card: Card | None = None
    dsp_notes: tuple[str, ...] = ()
    tensors: tuple = ()  # of a .dlc: `dlc.describe.TensorSummary`


def inspect_model(file: ModelFile) -> Inspection:
    """What is inside a model file, with its card where it has one.

    Raises:
        InputError: the file cannot be read as what its ending says.
    """
    report = {
        "npz": lambda: _npz(file.path), "onnx": lambda: _onnx(file), "pb": lambda: _pb(file.path),
        "dlc": lambda: _dlc(file), "tflite": lambda: _tflite(file.path),
    }[file.kind]()  # fmt: skip
    if report.network == "unknown" and file.card is not None:
        report = replace(report, network=file.card.network, scale=report.scale or file.card.scale)
    if file.card is not None:
        report = replace(report, dsp_notes=report.dsp_notes or file.card.dsp_notes)
    return replace(report, card=file.card)


def _npz(path: Path) -> Inspection:
    from snpe_srgan.models.cost import graph_cost
    from snpe_srgan.models.dsp_notes import dsp_notes
    from snpe_srgan.zoo.model_card import remarks

    graph, weights = load_npz(path)
    cost = graph_cost(graph)
    sizes: Counter[str] = Counter()
    for key, value in weights.items():
        sizes[key.rsplit("/", 1)[0]] += value.size
    rows = []
    for layer in graph.layers:
        size = "" if layer.upscale in (0, graph.unit) else f" at x{layer.upscale / graph.unit:g}"
        detail = f"{layer.channels} channels{size}"
        if layer.kind == "conv":
            detail = "x".join(map(str, layer.attributes["kernel"])) + f", {detail}"
        rows.append(LayerRow(layer.name, layer.kind, sizes[layer.name], detail))
    return Inspection(
        path=path,
        kind="npz",
        bytes=path.stat().st_size,
        network=graph.network,
        scale=graph.scale,
        parameters=cost.parameters,
        macs_per_lr_pixel=cost.macs_per_lr_pixel,
        receptive_radius=cost.receptive_radius,
        inputs=(Port("lr", (1, None, None, 3), "float32"),),
        outputs=(Port("sr", (1, None, None, 3), "float32"),),
        operators=dict(Counter(layer.kind for layer in graph.layers).most_common()),
        layers=tuple(rows),
        facts={"options": dict(graph.options), "deployed_parameters": cost.deployed_parameters},
        remark="; ".join(remarks(graph)),
        dsp_notes=dsp_notes(graph),
    )


def _onnx(file: ModelFile) -> Inspection:
    from snpe_srgan.onnx_graphs.model import read_onnx

    path = file.path
    model = read_onnx(path)
    properties = {item.key: item.value for item in model.metadata_props}
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    opsets = {item.domain or "ai.onnx": item.version for item in model.opset_import}
    shared = _measured(file)
    if shared["parameters"] is None:
        shared["parameters"] = sum(sizes.values())
    return Inspection(
        path=path,
        kind="onnx",
        bytes=path.stat().st_size,
        network=properties.get("network", "unknown"),
        inputs=tuple(_port(value) for value in model.graph.input if value.name not in sizes),
        outputs=tuple(_port(value) for value in model.graph.output),
        operators=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        layers=tuple(
            LayerRow(node.name or node.output[0], node.op_type, sum(sizes.get(name, 0) for name in node.input))
            for node in model.graph.node
        ),
        facts={
            "opset": opsets, "producer": model.producer_name, "properties": properties, **_compiled(model),
            **shared.pop("facts"),
        },
        **shared,
    )


def _remark(facts) -> str:
    if facts.because:
        return f"receptive radius unknown because of {facts.because}"
    return "; ".join(facts.remarks)


def _measured(file: ModelFile) -> dict:
    """Scale, parameters, MACs and reach of the graph in a file, and what a foreign one takes and gives; only parameters
    when it is no super-resolution network."""
    from snpe_srgan.onnx_graphs.compiled import is_compiled
    from snpe_srgan.onnx_graphs.cost import onnx_cost
    from snpe_srgan.runtimes.source import load_source

    path = file.path
    try:
        source = load_source(file)
        model, facts = source.graph, source.known
        if is_compiled(model):
            return {
                "scale": facts.scale, "parameters": 0, "macs_per_lr_pixel": None, "receptive_radius": facts.overlap,
                "facts": {}, "remark": "its operators are NPU code, which is not counted",
            }  # fmt: skip
        cost = onnx_cost(model, where=path)
    except InputError as error:
        return {"parameters": None, **UNKNOWN, "remark": error.what}
    ends = {} if source.found is None else {
        "takes_and_gives": source.found.boundary.describe(), "evidence": "; ".join(source.found.evidence)
    }  # fmt: skip
    return {
        "scale": facts.scale,
        "parameters": cost.parameters,
        "macs_per_lr_pixel": cost.macs_per_lr_pixel,
        "receptive_radius": facts.overlap,
        "facts": {**ends, "quantized_convolutions": cost.quantized},
        "remark": _remark(facts),
    }


def _port(value) -> Port:
    from onnx import TensorProto

    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)
    name = TensorProto.DataType.Name(kind.elem_type).lower()
    return Port(value.name, shape, {"float": "float32", "double": "float64"}.get(name, name))


def _compiled(model) -> dict[str, object]:
    """What a ready-compiled .onnx says of the NPU code in it; nothing for other files."""
    from snpe_srgan.onnx_graphs.compiled import chips_of, code_facts, code_of, is_compiled

    if not is_compiled(model):
        return {}
    told = code_facts(model)
    return {"npu_code_for": ", ".join(chips_of(model)), "npu_code_bytes": len(code_of(model)), "qairt": told.qairt}


def _tflite(path: Path) -> Inspection:
    from snpe_srgan.runtimes.litert import tflite_facts
    from snpe_srgan.tflite.read import read_tflite

    model = read_tflite(path)
    try:
        facts = tflite_facts(model)
        scale, radius, remark = facts.scale, facts.overlap, _remark(facts)
    except InputError as error:
        scale, radius, remark = None, None, error.what
    told: dict[str, object] = {key: value for key, value in model.metadata.items() if value is not None}
    for code in model.codes:
        told.update(
            npu_code_for=code.facts.chip or "", npu_code_bytes=len(code.data), qairt=code.facts.qairt,
            hexagon=f"v{code.facts.hexagon}",
        )  # fmt: skip

    def port(tensor) -> Port:
        return Port(tensor.name, tensor.shape, tensor.dtype)

    def row(node) -> LayerRow:
        stored = [model.tensors[i] for i in node.inputs if i >= 0 and model.tensors[i].bytes]
        result = model.tensors[node.outputs[0]] if node.outputs else None
        detail = "" if result is None else f"{'x'.join(map(str, result.shape))} {result.dtype}"
        return LayerRow(result.name if result else "", node.kind, sum(int(np.prod(t.shape)) for t in stored), detail)

    return Inspection(
        path=path,
        kind="tflite",
        bytes=model.bytes,
        network=str(model.metadata.get("network", "unknown")),
        scale=scale,
        parameters=sum(int(np.prod(t.shape)) for t in model.tensors if t.bytes),
        macs_per_lr_pixel=None,
        receptive_radius=radius,
        inputs=(port(model.input),),
        outputs=(port(model.output),),
        operators=model.operators,
        layers=tuple(row(node) for node in model.nodes),
        facts=told,
        remark=remark,
    )


def _pb(path: Path) -> Inspection:
    from snpe_srgan.quiet import import_tensorflow

    tf = import_tensorflow()
    from snpe_srgan.models.freeze import read_graph_def
    from snpe_srgan.onnx_graphs.from_tensorflow import NO_RESULT

    graph_def = read_graph_def(path)
    read = {name.lstrip("^").split(":")[0] for node in graph_def.node for name in node.input}
    constants = {node.name: node for node in graph_def.node if node.op == "Const"}
    sizes = {
        name: int(np.prod([d.size for d in node.attr["value"].tensor.tensor_shape.dim]))
        for name, node in constants.items()
        if tf.dtypes.as_dtype(node.attr["dtype"].type).is_floating
    }
    work = [node for node in graph_def.node if node.op not in ("Const", "Placeholder")]

    def port(node) -> Port:
        dims = tuple(d.size if d.size > 0 else None for d in node.attr["shape"].shape.dim)
        kind = node.attr["dtype"].type or node.attr["T"].type
        return Port(node.name, dims, tf.dtypes.as_dtype(kind).name if kind else "unknown")

    return Inspection(
        path=path,
        kind="pb",
        bytes=path.stat().st_size,
        network="unknown",
        scale=None,
        parameters=sum(sizes.values()),
        macs_per_lr_pixel=None,
        receptive_radius=None,
        inputs=tuple(port(node) for node in graph_def.node if node.op == "Placeholder"),
        outputs=tuple(port(node) for node in work if node.name not in read and node.op not in NO_RESULT),
        operators=dict(Counter(node.op for node in work).most_common()),
        layers=tuple(
            LayerRow(node.name, node.op, sum(sizes.get(name.split(":")[0], 0) for name in node.input)) for node in work
        ),
        remark="convert it to learn its scale, multiply-accumulates and receptive radius",
    )


def _dlc(file: ModelFile) -> Inspection:
    from snpe_srgan.dlc.describe import describe
    from snpe_srgan.dlc.reader import read

    path = file.path
    dlc = read(path)
    summary = describe(dlc)
    try:
        if summary.weight_bytes > MAX_MEASURED:
            raise InputError("too large to be measured")
        measured = _measured(file)
    except InputError as error:
        measured = {**UNKNOWN, "remark": error.what}
    measured["parameters"] = summary.parameters
    facts = {
        "format": summary.version,
        "made_by": "; ".join(map(str, summary.history)),
        "commands": [step.command for step in summary.history],
        "caches": ", ".join(summary.caches),
        "graph": summary.graph,
        "quantized": summary.quantized,
        "weight_bytes": summary.weight_bytes,
        "bytes_by_dtype": dict(summary.bytes_by_dtype),
        "activation_dtypes": dict(summary.activation_dtypes),
        "records": dict(summary.records),
        **measured.pop("facts"),
    }
    return Inspection(
        path=path,
        kind="dlc",
        bytes=summary.bytes,
        network="unknown",
        inputs=tuple(Port(p.name, p.shape, p.dtype, p.encoding) for p in summary.inputs),
        outputs=tuple(Port(p.name, p.shape, p.dtype, p.encoding) for p in summary.outputs),
        operators=dict(summary.operators),
        layers=tuple(
            LayerRow(
                layer.name,
                layer.type,
                layer.parameters,
                f"{'x'.join(map(str, layer.output_shape))} {_numbers(layer.output_dtype, layer.output_encoding)}",
                layer.attributes,
                layer.inputs,
                layer.outputs,
            )
            for layer in summary.layers
        ),
        tensors=summary.tensors,
        facts=facts,
        **measured,
    )


def _numbers(dtype: str, encoding) -> str:
    return dtype if encoding is None else f"{dtype} {encoding.low:.4g} .. {encoding.high:.4g}"
