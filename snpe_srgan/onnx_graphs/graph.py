"""What a graph's protobuf messages say, read in one place: ends, sizes, attributes.

    lr, sr = ends(model, where=path)
    shapes_of(model.graph)["sr"]        # -> [1, None, None, 3]
    attributes_of(node).get("pads")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    import onnx


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A deep copy, to be changed."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller feeds: old files list the weights as inputs as well."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def ends(model: onnx.ModelProto, *, where: object) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """The model's one input and one output; `InputError` where there are more or fewer."""
    inputs, outputs = inputs_of(model.graph), model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"not a super-resolution model: it has {len(inputs)} inputs and {len(outputs)} outputs, not 1 and 1",
            where=where,
        )
    return inputs[0], outputs[0]


def dims_of(value: onnx.ValueInfoProto) -> list[int | None]:
    """The sizes of a tensor's axes, None where one is free."""
    return [d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim]


def shapes_of(graph: onnx.GraphProto) -> dict[str, list[int | None]]:
    """The sizes of every tensor that the graph states, by name."""
    return {value.name: dims_of(value) for value in (*graph.value_info, *graph.input, *graph.output)}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes that are written out, by name; texts are bytes."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
