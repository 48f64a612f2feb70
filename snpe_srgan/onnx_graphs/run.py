"""Runs float and QDQ graphs on ONNX Runtime's CPU: the fast simulation that guides quantization.

    run = session(model)
    (sr,) = run(["sr"], {"lr": crop})

Its integer kernels predict the Hexagon emulator's quality, not its bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.onnx_graphs.graph import copied

if TYPE_CHECKING:
    import onnxruntime as ort


RIGHT_FROM = (1, 26)  # 1.24.1 is wrong still: by 2 of the range of 2, for a 4x4 kernel padded by 1 before and 2 behind


def open_on_host(model: bytes, *, threads: int | None = None, optimize: bool = True) -> ort.InferenceSession:
    """The one place that opens ONNX Runtime on this machine's CPU.

    Args:
        model: a serialized ONNX model.
        threads: of one operator; None for ONNX Runtime's own choice.
        optimize: False runs the operators as written.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is raised, and told once
    options.enable_cpu_mem_arena = False  # pictures differ in size: an arena keeps the largest of everything
    if threads is not None:
        options.intra_op_num_threads = threads
    if tuple(map(int, ort.__version__.split(".")[:2])) < RIGHT_FROM:
        # Integer convolutions of an even kernel with other padding before than behind are computed wrongly. Python 3.10
        # has no newer version: there, graphs with integers are computed as they are written, more slowly.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime 1.23 (the last for Python 3.10) reorders memory for channels in blocks of 16, and fails on some
        # networks of other widths. Without that pass it computes the same.
        if not optimize or "ReorderOutput" not in str(error):
            raise
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class session:
    """An opened model; call it with the names wanted and a dict of inputs."""

    def __init__(self, model, *, integer_kernels: bool = True):
        """`integer_kernels=False` computes QDQ graphs as written: float operators between rounding steps."""
        self._session = open_on_host(model.SerializeToString(), optimize=integer_kernels)

    def __call__(self, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(list(names), dict(inputs))


def runner(model):
    """`run(lr) -> sr` of a model with one input and one output."""
    opened, lr, sr = session(model), model.graph.input[0].name, model.graph.output[0].name
    return lambda array: opened([sr], {lr: array})[0]


def with_outputs(model, names: Sequence[str]):
    """A copy of the model whose outputs are the named tensors as well."""
    import onnx

    copy = copied(model)
    ends = {v.name for v in (*copy.graph.input, *copy.graph.output)}
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(x) for x in names if x not in ends)
    return copy


# Operators that compute a pixel from those around it, wherever it is.
LOCAL = frozenset((
    "Add", "Clip", "Concat", "Conv", "DepthToSpace", "DequantizeLinear", "Div", "Elu", "Gelu", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Max", "Min", "Mul", "PRelu", "QuantizeLinear", "Relu", "Sigmoid",
    "SpaceToDepth", "Sub", "Tanh", "Transpose",
))  # fmt: skip


def takes_any_size(model) -> bool:
    """Whether a graph of fixed size computes the same at any other: no operator and no constant knows the size."""
    vectors = all(sum(side > 1 for side in t.dims) < 2 for t in model.graph.initializer if not _is_kernel(t, model))
    return vectors and all(node.op_type in LOCAL for node in model.graph.node)


def _is_kernel(tensor, model) -> bool:
    """Whether only convolutions read a constant, perhaps out of its integers."""
    readers = [node for node in model.graph.node if tensor.name in node.input]
    while readers and all(node.op_type == "DequantizeLinear" for node in readers):
        made = {output for node in readers for output in node.output}
        readers = [node for node in model.graph.node if made.intersection(node.input)]
    return bool(readers) and all(node.op_type == "Conv" for node in readers)


def free_size(model):
    """A copy that takes any LR height and width: the operators of super-resolution networks fit all sizes."""
    copy = copied(model)
    del copy.graph.value_info[:]
    for value, labels in (
        (copy.graph.input[0], ("height", "width")),
        (copy.graph.output[0], ("sr_height", "sr_width")),
    ):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in (1, *labels, 3):
            shape.dim.add(**({"dim_param": size} if isinstance(size, str) else {"dim_value": size}))
    return copy
