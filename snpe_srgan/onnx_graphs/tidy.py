"""A graph of anyone in the words that quantization reads: one way to say each thing, four dimensions everywhere.

    model = tidy(model)          # of free size where the network is

Exporters say a pixel shuffle as two Reshapes and a Transpose, a clip as Max and Min, a bias as Add, sizes as half a
dozen operators on Shapes. Everything that hangs on a size is computed at one size, then the operators that are left
are said again without it. ONNX Runtime folds constants and batch norms; the passes here keep the function.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.onnx_graphs import passes, shuffle_passes, size_passes
from snpe_srgan.onnx_graphs.boundary import MARK, OWN, probe_picture
from snpe_srgan.onnx_graphs.graph import OnnxGraph, attributes_of, copied
from snpe_srgan.onnx_graphs.model import fix_size, onnx_facts
from snpe_srgan.onnx_graphs.our_form import at_least
from snpe_srgan.onnx_graphs.run import free_size, runner

if TYPE_CHECKING:
    import onnx

SIZES = ((64, 64), (48, 96))  # at which a graph of free size is computed, and tried again
SAME = 1e-3  # of a range of 2: what folding constants may change
OPSET = 18


def is_tidy(model: onnx.ModelProto) -> bool:
    """Whether this package wrote the graph from its own layers."""
    words = {p.key for p in model.metadata_props}
    return words >= OWN and MARK not in words


def tidy(model: onnx.ModelProto, *, where: object = None) -> onnx.ModelProto:
    """The same network; of free size where it works at other sizes too, else of its own.

    Args:
        model: in our form.

    Raises:
        InputError: the graph is no network that enlarges pictures.
    """
    fixed = onnx_facts(model, where=where).input_size
    size = fixed or SIZES[0]
    start = at_least(copied(model), OPSET)
    graph = OnnxGraph(_folded(fix_size(start, size, where=where)))
    shapes = _shapes(graph)
    for step in PASSES:
        step(graph, shapes)
        graph.drop_unused()
    taken: set[str] = set()
    for node in graph.nodes:  # each has a name of its own: the file's, where it has one
        node.name = node.name if node.name and node.name not in taken else node.output[0]
        taken.add(node.name)
    made = graph.model()
    if _differs(model, made, size):
        return start  # a pass read more into the graph than is there: as it was, and quantization says what it lacks
    free = free_size(made)
    with contextlib.suppress(Exception):  # whatever a runtime says of a size that a graph does not take
        other = SIZES[1]
        picture = probe_picture(*other)
        got = runner(fix_size(free, other))(picture)
        scale = got.shape[1] // other[0]
        whole = got.shape == (1, other[0] * scale, other[1] * scale, 3)
        if whole and (fixed is not None or not _differs(model, free, other)):
            return free
    return made


def _differs(one: onnx.ModelProto, two: onnx.ModelProto, size: tuple[int, int]) -> bool:
    picture = probe_picture(*size)
    expected, got = (runner(model)(picture) for model in (one, two))
    return expected.shape != got.shape or float(np.abs(expected - got).max()) > SAME * max(1.0, np.abs(expected).max())


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """What does not depend on the picture computed once, batch norms and products inside convolutions."""
    import onnx
    import onnxruntime as ort

    with Scratch() as folder:
        path = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"],
            disabled_optimizers=["TransposeOptimizer"],  # it moves Transposes into the Reshapes of a pixel shuffle
        )  # fmt: skip
        folded = onnx.load(str(path))
    folded.metadata_props.extend(p for p in model.metadata_props if p.key not in {q.key for q in folded.metadata_props})
    del folded.graph.value_info[:]
    return folded


def _shapes(graph: OnnxGraph) -> dict[str, list[int]]:
    """The sizes of all tensors, which are known at one size."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(copied(graph.model()), data_prop=True)
    found = {}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        found[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return found


# ---- passes of one line each, around those of TensorFlow's graphs ----

Pass = Callable[[OnnxGraph, dict[str, list[int]]], None]


def _plain(step: Callable[[OnnxGraph], None]) -> Pass:
    return lambda graph, shapes: step(graph)


def drop_casts(graph: OnnxGraph, shapes: dict[str, list[int]]) -> None:
    """Casts of floats to floats, dropouts."""
    for node in list(graph.nodes):
        if node.op_type in ("Cast", "Dropout") and node.output[0] not in graph.outputs:
            graph.remove(node, gives=node.input[0])


def plain_arithmetic(graph: OnnxGraph, shapes: dict[str, list[int]]) -> None:
    """Sub and Div of a constant, Max and Min with one number, squares, sums of many: as Add, Mul and Clip."""
    from onnx import helper

    for node in list(graph.nodes):
        constant = [graph.constants.get(x) for x in node.input]
        name, kind = node.output[0], node.op_type
        second = constant[1] if len(constant) == 2 else None
        if kind in ("Sub", "Div") and second is not None and second.dtype.kind == "f" and np.all(second != 0):
            value = graph.constant(f"{name}/value", -second if kind == "Sub" else 1 / second.astype(np.float64))
            graph.replace(node, helper.make_node("Add" if kind == "Sub" else "Mul", [node.input[0], value], [name]))
        elif kind == "Sub" and len(constant) == 2 and constant[0] is not None:  # c - x
            sign = graph.constant(f"{name}/sign", np.array(-1.0))
            graph.nodes.insert(
                graph.place(node), helper.make_node("Mul", [node.input[1], sign], [f"{name}/negative"])
            )
            graph.replace(node, helper.make_node("Add", [f"{name}/negative", node.input[0]], [name]))
        elif kind in ("Max", "Min") and sum(c is not None and c.size == 1 for c in constant) == 1 == len(constant) - 1:
            (x,) = (i for i, c in zip(node.input, constant, strict=True) if c is None)
            (c,) = (c for c in constant if c is not None)
            bound = graph.constant(f"{name}/bound", c.reshape(()))
            inputs = [x, bound] if kind == "Max" else [x, "", bound]
            graph.replace(node, helper.make_node("Clip", inputs, [name]))
        elif kind == "Pow" and second is not None and second.size == 1 and float(second.reshape(())) == 2:
            graph.replace(node, helper.make_node("Mul", [node.input[0], node.input[0]], [name]))
        elif kind == "Sum" and len(node.input) > 1:
            last = node.input[0]
            for i, x in enumerate(node.input[1:-1]):
                graph.nodes.insert(graph.place(node), helper.make_node("Add", [last, x], [f"{name}/{i}"]))
                last = f"{name}/{i}"
            graph.replace(node, helper.make_node("Add", [last, node.input[-1]], [name]))


def split_to_slices(graph: OnnxGraph, shapes: dict[str, list[int]]) -> None:
    """One Slice for each part of a Split: every operator then has one result."""
    from onnx import helper

    for node in [n for n in graph.nodes if n.op_type == "Split"]:
        axis, place = int(attributes_of(node).get("axis", 0)), graph.place(node)
        before = shapes.get(node.input[0], [])
        axis += len(before) if axis < 0 else 0
        first, made = 0, []
        for part in node.output:
            length = shapes[part][axis]
            numbers = {"start": first, "end": first + length, "axis": axis}
            for word, number in numbers.items():
                graph.constants[f"{part}/{word}"] = np.array([number], np.int64)
            made.append(helper.make_node("Slice", [node.input[0], *(f"{part}/{word}" for word in numbers)], [part]))
            first += length
        graph.nodes[place : place + 1] = made


def sizes_to_scales(graph: OnnxGraph, shapes: dict[str, list[int]]) -> None:
    """Resize to a given size: by factors, which hold at any size."""
    from onnx import helper

    for node in [n for n in graph.nodes if n.op_type == "Resize"]:
        sizes = graph.constants.get(node.input[3]) if len(node.input) > 3 else None
        before, own = shapes.get(node.input[0], []), attributes_of(node)
        if sizes is None or len(before) != 4 or len(sizes) != 4 or own.get("axes"):
            continue
        scales = graph.constant(f"{node.output[0]}/scales", sizes / np.array(before))
        graph.replace(node, helper.make_node("Resize", [node.input[0], "", scales], [node.output[0]], **own))


def norms_to_products(graph: OnnxGraph, shapes: dict[str, list[int]]) -> None:
    """A batch norm that follows no convolution: a product and a sum for each channel."""
    from onnx import helper

    for node in [n for n in graph.nodes if n.op_type == "BatchNormalization" and len(n.output) == 1]:
        if any(x not in graph.constants for x in node.input[1:]):
            continue
        gamma, beta, mean, variance = (graph.constants[x].astype(np.float64) for x in node.input[1:])
        factor = gamma / np.sqrt(variance + attributes_of(node).get("epsilon", 1e-5))
        name = node.output[0]
        product = graph.constant(f"{name}/factor", factor.reshape(-1, 1, 1))
        shift = graph.constant(f"{name}/shift", (beta - mean * factor).reshape(-1, 1, 1))
        graph.nodes.insert(graph.place(node), helper.make_node("Mul", [node.input[0], product], [f"{name}/scaled"]))
        graph.replace(node, helper.make_node("Add", [f"{name}/scaled", shift], [name]))


PASSES: tuple[Pass, ...] = (
    _plain(passes.drop_identities), drop_casts, shuffle_passes.sink_transposes, _plain(passes.cancel_transposes),
    _plain(passes.explicit_attributes), _plain(passes.fold_affine), norms_to_products, _plain(passes.fuse_prelu),
    _plain(passes.fuse_clip), plain_arithmetic, split_to_slices, shuffle_passes.fuse_shuffles,
    shuffle_passes.unroll_transposed, sizes_to_scales, _plain(size_passes.fuse_pool),
    _plain(size_passes.drop_reshapes), _plain(passes.drop_identities), _plain(passes.cancel_transposes),
)  # fmt: skip
