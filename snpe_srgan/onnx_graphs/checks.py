"""What an ONNX model from a stranger must not be, told from its message before a native library gets it.

    refuse(model, where=path)       # InputError names what is wrong

Other files (external data), loops, names that are no text, weights that are not in the file, more nodes than any engine
reads in a reasonable time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

DOMAINS = ("", "ai.onnx", "com.microsoft")
MAX_NODES = 20_000  # SwinIR has 6,000
MAX_DIMENSIONS = 8
LATEST_OPSET = 100
FIELDS = {  # TensorProto.DataType -> (field of single numbers, bytes of one in raw_data)
    1: ("float_data", 4), 2: ("int32_data", 1), 3: ("int32_data", 1), 4: ("int32_data", 2), 5: ("int32_data", 2),
    6: ("int32_data", 4), 7: ("int64_data", 8), 9: ("int32_data", 1), 10: ("int32_data", 2), 11: ("double_data", 8),
    12: ("uint64_data", 4), 13: ("uint64_data", 8), 16: ("int32_data", 2),
}  # fmt: skip


def refuse(model: onnx.ModelProto, *, where: object) -> None:
    """`InputError` for a model that is not to be read further.

    Args:
        model: as parsed.
        where: the file, shown in errors.
    """
    graph = model.graph
    if not graph.node or not graph.input:
        raise InputError("not an ONNX model: it has no operators or no input", where=where)
    if len(graph.node) > MAX_NODES:
        raise InputError(
            f"the graph has {len(graph.node)} nodes, more than {MAX_NODES}: not a super-resolution network", where=where
        )
    if model.functions:
        raise InputError("models with functions of their own are not taken", where=where)
    _check_texts(model, where)
    for opset in model.opset_import:
        if not 1 <= opset.version <= LATEST_OPSET:
            raise InputError(f"operator set {opset.version} is not known", where=where)
    for tensor in graph.initializer:
        check_tensor(tensor, where=where)
    for sparse in graph.sparse_initializer:
        check_tensor(sparse.values, where=where)
        check_tensor(sparse.indices, where=where)
    for node in graph.node:
        _check_node(node, where)


def _check_node(node: onnx.NodeProto, where: object) -> None:
    if node.domain not in DOMAINS:
        raise InputError(f"operator {node.domain:.60}.{node.op_type:.60} is not known", where=where)
    if not node.output:
        raise InputError(f"operator {node.op_type:.60} has no result", where=where)
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs:
            raise InputError(f"models with loops or branches ({node.op_type:.60}) are not taken", where=where)
        for tensor in [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]:
            check_tensor(tensor, where=where)


def check_tensor(tensor: onnx.TensorProto, *, where: object) -> None:
    """`InputError` unless a tensor's numbers are in the file, as many as its shape asks for."""
    import onnx

    name = f"'{tensor.name:.60}'" if tensor.name else "a constant"
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise InputError(
            f"the weights of {name} lie in another file, which is not read",
            where=where,
            hint="save the model as one file: onnx.save_model(model, path, save_as_external_data=False)",
        )
    if len(tensor.dims) > MAX_DIMENSIONS or any(length < 0 for length in tensor.dims):
        raise InputError(f"the weights of {name} have an impossible shape", where=where)
    count = math.prod(tensor.dims)
    if tensor.data_type not in FIELDS:  # text, complex numbers, 4 and 8 bits: the engines' to take or to refuse
        if count > 8 * (tensor.ByteSize() + 1):
            raise InputError(f"the weights of {name} are not in the file", where=where)
        return
    field, size = FIELDS[tensor.data_type]
    held = len(tensor.raw_data) / size if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if held != count:
        raise InputError(f"the weights of {name} are {held:g} numbers, where their shape asks for {count}", where=where)


def _check_texts(model: onnx.ModelProto, where: object) -> None:
    """Names and properties must be text: protobuf hands out bytes, or fails late, where they are not UTF-8."""
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        try:
            found = message.ListFields()
        except UnicodeDecodeError:
            raise InputError("not an ONNX model: a name in it is no text", where=where) from None
        for field, value in found:
            values = [value] if hasattr(value, "ListFields") or isinstance(value, (str, bytes)) else value
            if field.type == field.TYPE_STRING and not all(isinstance(text, str) for text in values):
                raise InputError(f"not an ONNX model: a {field.name} in it is no text", where=where)
            if field.type == field.TYPE_MESSAGE:
                waiting.extend(values)
