"""An ONNX graph in a form that is easy to rewrite: lists and dictionaries in place of protobuf messages.

net = Net(model)
net.remove(node, gives=node.input[0])
model = net.model()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


class Net:
    """An ONNX graph as lists and dictionaries that are easy to change; `model()` writes them back."""

    def __init__(self, model: onnx.ModelProto):
        from onnx import numpy_helper

        self._model = model
        self.nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Constant":
                self.nodes.append(node)
        self.inputs = {value.name for value in model.graph.input}
        self.outputs = {value.name for value in model.graph.output}

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if tensor in node.input]

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The single node that reads a tensor, or None when there are more or the graph gives it out."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def replace(self, old: onnx.NodeProto, new: onnx.NodeProto) -> None:
        self.nodes[next(i for i, node in enumerate(self.nodes) if node is old)] = new

    def remove(self, node: onnx.NodeProto, *, gives: str) -> None:
        """Takes a node out; whoever read its output reads `gives`, or `gives` takes the name of a graph output."""
        self.nodes = [n for n in self.nodes if n is not node]
        result = node.output[0]
        if result in self.outputs:
            old, new = gives, result
        else:
            old, new = result, gives
        for other in self.nodes:
            for names in (other.input, other.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = np.array(value, np.float32, order="C")
        return name

    def drop_unused(self) -> None:
        """Removes nodes that nothing reads, from the back, then constants."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in wanted}

    def model(self) -> onnx.ModelProto:
        from onnx import numpy_helper

        graph = self._model.graph
        inputs = [value for value in graph.input if value.name not in self.constants]
        del graph.node[:], graph.initializer[:], graph.input[:], graph.value_info[:]
        graph.input.extend(inputs)
        graph.node.extend(self.nodes)
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self.constants.items())
        return self._model
