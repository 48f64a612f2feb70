"""One view of an ONNX graph, to read and to rewrite, and what its messages say: ends, sizes, attributes.

graph = OnnxGraph(model)
graph.remove(node, gives=node.input[0])
model = graph.model()

lr, sr = ends(model, where=path)
shapes_of(model.graph)["sr"]        # -> [1, None, None, 3]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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


def refuse_blind(model: onnx.ModelProto, *, where: object) -> None:
    """Raises `InputError` for a graph whose output does not depend on its input: it draws the same for every picture.

    Args:
        model: of one input and one output, its operators in an order in which they can be computed.
        where: the file, for the error.
    """
    lr, sr = ends(model, where=where)
    wanted = {sr.name}
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            if any(attribute.g.node or attribute.graphs for attribute in node.attribute):
                return  # a graph inside, which may read whatever is outside
    if lr.name not in wanted:
        raise InputError("not a super-resolution model: its output does not depend on its input", where=where)


def dims_of(value: onnx.ValueInfoProto) -> list[int | None]:
    """The sizes of a tensor's axes, None where one is free."""
    return [d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim]


def shapes_of(graph: onnx.GraphProto) -> dict[str, list[int | None]]:
    """The sizes of every tensor that the graph states, by name."""
    return {value.name: dims_of(value) for value in (*graph.value_info, *graph.input, *graph.output)}


def constant_dims(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """The shape of every constant, by name, without unpacking its numbers."""
    found = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = list(node.attribute[0].t.dims)
    return found


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes that are written out, by name; texts are bytes."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


class OnnxGraph:
    """A model's graph to read and to rewrite: who makes a tensor, who reads it, which numbers are constant.

    Whoever unpacks a graph does it through this class: the passes over TensorFlow's graphs, the widening of a
    convolution, quantization's `Network`, the .tflite writer.

    Attributes:
        nodes: the operators in execution order, without `Constant`; change them in place or replace the list.
        constants: name -> array: the initializers, and what `Constant` nodes gave.
        inputs, outputs: names of the ends.
    """

    def __init__(self, model: onnx.ModelProto):
        from onnx import numpy_helper

        self._model = model
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        self.inputs = [value.name for value in inputs_of(model.graph)]
        self.outputs = [value.name for value in model.graph.output]

    def makers(self) -> dict[str, onnx.NodeProto]:
        """Tensor -> the operator that writes it, as the graph is now."""
        return {name: node for node in self.nodes for name in node.output}

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The operators that read a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The single operator that reads a tensor, or None when there are more or the graph gives it out."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def place(self, node: onnx.NodeProto) -> int:
        """The position of this very message among `nodes`."""
        return next(i for i, other in enumerate(self.nodes) if other is node)

    def replace(self, old: onnx.NodeProto, new: onnx.NodeProto) -> None:
        """Puts another operator in the place of one."""
        self.nodes[self.place(old)] = new

    def remove(self, node: onnx.NodeProto, *, gives: str) -> None:
        """Takes an operator out; its readers read `gives`, which takes over the name where that is the graph's end."""
        self.nodes = [n for n in self.nodes if n is not node]
        result = node.output[0]
        self.rename(*((gives, result) if result in self.outputs else (result, gives)))

    def rename(self, old: str, new: str) -> None:
        """Calls a tensor otherwise, where it is written and where it is read."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new

    def append(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds an operator at the end, called as its output is; returns that name.

        Args:
            kind: ONNX's operator.
            inputs: tensors that earlier operators, inputs or constants give.
            attributes: as `onnx.helper.make_node` takes them.
        """
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        """Adds a float32 constant and returns its name.

        Args:
            name: a constant of that name is replaced.
            value: of any shape; copied.
        """
        self.constants[name] = np.array(value, np.float32, order="C")
        return name

    def drop_unused(self) -> None:
        """Removes operators that nothing reads, from the back, then constants."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in wanted}

    def model(self) -> onnx.ModelProto:
        """The model that was given, with this graph written into it; inferred shapes go, as they may be wrong now."""
        from onnx import numpy_helper

        graph = self._model.graph
        inputs = [value for value in graph.input if value.name in self.inputs]
        nodes = [*self.nodes]
        del graph.node[:], graph.initializer[:], graph.input[:], graph.value_info[:]
        graph.input.extend(inputs)
        graph.node.extend(nodes)
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())
        return self._model
