"""Holds a rebuilt graph to its .dlc: a computed tensor must have, by ONNX's rules, the shape that the file gives it.

A rule of `operators*.py` that misreads an attribute is nearly always found out here, before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    import onnx

SMALL = 64  # elements: shapes, axes, sizes


def check_shapes(model: onnx.ModelProto, computed: Mapping[str, tuple[str, tuple[int, ...]]], *, where: object) -> None:
    """Has ONNX infer the shape of every computed tensor, and compares it with the one that the file gives.

    Args:
        model: the rebuilt graph, with its constants.
        computed: ONNX name -> (.dlc name, shape in ONNX's order: images NCHW). Others are not compared.
        where: the .dlc, for the error.

    Raises:
        InputError: two shapes differ.
        onnx.shape_inference.InferenceError: the graph's shapes contradict each other.
    """
    from onnx import helper, shape_inference

    graph = helper.make_graph(model.graph.node, "shapes", model.graph.input, model.graph.output)
    for tensor in model.graph.initializer:  # the values of shapes and axes matter; those of weights would be copied
        if math.prod(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    light = helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)
    inferred = shape_inference.infer_shapes(light, strict_mode=True, data_prop=True).graph
    for value in (*inferred.value_info, *inferred.output):
        shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        name, dims = computed.get(value.name, ("", shape))
        if dims != shape:
            raise InputError(f"'{name}' is {dims} in the .dlc, but its operator makes {shape}", where=where)
