"""Is a SavedModel one that TensorFlow may load? Asked of its bytes, before TensorFlow gets them.

    check_saved_model("folder")        # InputError names the operator or the object that is not taken

A SavedModel is a program: its functions may read and write files, and loading it calls some of them (tables that
initialize themselves, variables that restore themselves by functions of their own). So every operator that loading or
the network can reach must be one that networks are made of, and nothing in it may bring a function for loading. Source:
tensorflow/core/protobuf/{saved_model,meta_graph,saver,saved_object_graph}.proto, core/framework/function.proto.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import InputError
from snpe_srgan.models.frozen_graph import LENGTH_DELIMITED, Node, fields, read_node, read_nodes
from snpe_srgan.opener import read_regular

NAME = "saved_model.pb"
MAX_BYTES = 1 << 30
TO_ONNX = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx --opset 18, where you trust its author"
ARITHMETIC = {
    "Abs", "Add", "AddN", "AddV2", "ArgMax", "BatchMatMulV2", "BiasAdd", "Cast", "Ceil", "ClipByValue", "Cos",
    "Div", "DivNoNan", "Einsum", "Elu", "Equal", "Erf", "Exp", "Floor", "FloorDiv", "FloorMod", "Greater",
    "GreaterEqual", "LeakyRelu", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "MatMul",
    "Max", "Maximum", "Mean", "Min", "Minimum", "Mod", "Mul", "MulNoNan", "Neg", "NotEqual", "Pow", "Prod",
    "RealDiv", "Reciprocal", "Relu", "Relu6", "Round", "Rsqrt", "Select", "SelectV2", "Selu", "Sigmoid", "Sign",
    "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Square", "SquaredDifference", "Sub", "Sum", "Tanh",
    "TruncateDiv",
}  # fmt: skip
PICTURES = {
    "AvgPool", "BatchNormWithGlobalNormalization", "BatchToSpaceND", "Conv2D", "Conv2DBackpropInput",
    "CropAndResize", "DepthToSpace", "DepthwiseConv2dNative", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxVarsPerChannel", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "MaxPool",
    "MirrorPad", "Pad", "PadV2", "ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor",
    "SpaceToBatchND", "SpaceToDepth",
}  # fmt: skip
SHAPES = {
    "BroadcastArgs", "BroadcastTo", "Concat", "ConcatV2", "Const", "ExpandDims", "Fill", "Gather", "GatherNd",
    "GatherV2", "Identity", "IdentityN", "OnesLike", "Pack", "Range", "Rank", "Reshape", "ReverseV2", "Shape",
    "ShapeN", "Size", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice", "Tile", "Transpose", "Unpack",
    "ZerosLike",
}  # fmt: skip
PLACES = {
    "Assert", "DisableCopyOnRead", "If", "Merge", "NoOp", "PartitionedCall", "Placeholder",
    "PlaceholderWithDefault", "PreventGradient", "ReadVariableOp", "StatefulPartitionedCall", "StatelessIf",
    "StopGradient", "Switch", "VarHandleOp", "VarIsInitializedOp", "Variable", "VariableV2",
}  # fmt: skip
CHANCE = {"RandomStandardNormal", "RandomUniform", "StatelessRandomUniformV2", "TruncatedNormal"}  # of dropouts
TAKEN = frozenset(ARITHMETIC | PICTURES | SHAPES | PLACES | CHANCE)
OBJECTS = {5: "a file beside it (an asset)", 10: "a table or another resource that initializes itself"}


@dataclass(frozen=True)
class SavedModel:
    """What the checks read of a SavedModel.

    Attributes:
        nodes: of the main graph.
        functions: name -> its nodes.
        signatures: name -> (inputs, outputs): tensors of the main graph by the names a caller uses.
        called: the functions that its objects offer; empty in one of TensorFlow 1, which has no objects.
    """

    nodes: tuple[Node, ...]
    functions: Mapping[str, tuple[Node, ...]]
    signatures: Mapping[str, tuple[dict[str, str], dict[str, str]]]
    called: tuple[str, ...]

    @property
    def of_tensorflow_1(self) -> bool:
        """Whether TensorFlow 1 wrote it: no object offers a function."""
        return not self.called


def is_saved_model(path: str | os.PathLike) -> bool:
    """Whether a path is a folder with a SavedModel's graph in it; nothing is read."""
    return (Path(path) / NAME).is_file()


def check_saved_model(folder: str | os.PathLike) -> SavedModel:
    """Reads and judges the SavedModel in a folder.

    Raises:
        InputError: it is none, or holds what is not loaded; the operator or object is named.
    """
    path = Path(folder) / NAME
    data = memoryview(read_regular(path, limit=MAX_BYTES, doing="read the model"))
    try:
        graphs = [part for number, part in _messages(data) if number == 2]
        if not graphs:
            raise ValueError("it holds no graph")
        model = _read(graphs[0])
        reachable = list(_reachable(model))  # calls are read from attributes: these may be damaged too
    except InputError as error:
        raise InputError(error.what, where=folder, hint=error.hint) from error
    except (ValueError, IndexError) as error:
        raise InputError(f"not a SavedModel: {str(error)[:100]}", where=folder) from error
    for node in reachable:
        if node.operator not in TAKEN:
            raise InputError(
                f"operator {node.operator[:60]} ('{node.name[:60]}') is not one that networks are taken with",
                where=folder, hint=TO_ONNX,
            )  # fmt: skip
    return model


def _messages(data: memoryview) -> Iterable[tuple[int, memoryview]]:
    for number, kind, value in fields(data):
        if kind == LENGTH_DELIMITED and isinstance(value, memoryview):
            yield number, value


def _read(meta: memoryview) -> SavedModel:
    nodes: list[Node] = []
    functions: dict[str, tuple[Node, ...]] = {}
    signatures: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    called: tuple[str, ...] = ()
    for number, part in _messages(meta):
        if number == 2:
            nodes = read_nodes(part)
            library = [inner for n, inner in _messages(part) if n == 2]
            functions = dict(_function(inner) for whole in library for n, inner in _messages(whole) if n == 1)
        elif number == 5:
            name, signature = _entry(part)
            signatures[name] = _signature(signature)
        elif number == 6:
            raise InputError("it brings a file of its own (an asset), which networks do not need", hint=TO_ONNX)
        elif number == 7:
            called = _objects(part)
    return SavedModel(tuple(nodes), functions, signatures, called)


def _function(data: memoryview) -> tuple[str, tuple[Node, ...]]:
    """A FunctionDef: 1 its signature (an OpDef, whose field 1 is the name), 3 its nodes."""
    name, nodes = "", []
    for number, part in _messages(data):
        if number == 1:
            name = next((str(inner, "utf-8") for n, inner in _messages(part) if n == 1), "")
        elif number == 3:
            nodes.append(read_node(part))
    return name, tuple(nodes)


def _entry(data: memoryview) -> tuple[str, memoryview]:
    """One entry of a map from text to messages."""
    found = dict(_messages(data))
    return str(found.get(1, memoryview(b"")), "utf-8"), found.get(2, memoryview(b""))


def _signature(data: memoryview) -> tuple[dict[str, str], dict[str, str]]:
    """A SignatureDef: 1 inputs, 2 outputs, maps to TensorInfo, whose field 1 is the tensor's name."""
    ends: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for number, part in _messages(data):
        if number in (1, 2):
            key, info = _entry(part)
            ends[number - 1][key] = next((str(value, "utf-8") for n, value in _messages(info) if n == 1), "")
    return ends


def _objects(data: memoryview) -> tuple[str, ...]:
    """A SavedObjectGraph: 1 objects, 2 a map from the functions' names to what they close over."""
    called = []
    for number, part in _messages(data):
        if number == 2:
            called.append(_entry(part)[0])
        elif number == 1:
            for kind, _ in _messages(part):
                if kind in OBJECTS:
                    raise InputError(f"it holds {OBJECTS[kind]}, which networks do not need", hint=TO_ONNX)
                if kind in (11, 16):
                    raise InputError("its variables restore themselves by functions of its own", hint=TO_ONNX)
    return tuple(called)


def _reachable(model: SavedModel) -> Iterable[Node]:
    """The nodes that loading or computing may run: what the objects offer, what the signatures' outputs are made from,
    and the functions that these call. The functions that save and restore it are nobody's: TensorFlow 2 restores by
    operators of its own, and of TensorFlow 1's only arrays are read."""
    by_name = {node.name: node for node in model.nodes}
    waiting = [_source(tensor) for _, outputs in model.signatures.values() for tensor in outputs.values()]
    seen, wanted = set(), list(model.called)
    nodes: list[Node] = []
    while waiting:
        name = waiting.pop()
        if name in seen or name not in by_name or name == "__saved_model_init_op":
            continue
        seen.add(name)
        nodes.append(by_name[name])
        waiting += [_source(text) for text in by_name[name].inputs]
    done: set[str] = set()
    at = 0
    while True:
        for node in nodes[at:]:
            wanted += _calls(node)
        at = len(nodes)
        while wanted and wanted[-1] in done:
            wanted.pop()
        if not wanted:
            return nodes
        done.add(wanted[-1])
        nodes += model.functions.get(wanted.pop(), ())


def _calls(node: Node) -> list[str]:
    """The functions that a node's attributes name: an AttrValue's field 10 is one, or a list's (field 1) field 9."""
    found = []
    for value in node.attributes.values():
        for number, part in _messages(value):
            if number == 10:
                found.append(part)
            elif number == 1:
                found += [inner for n, inner in _messages(part) if n == 9]
    return [str(name, "utf-8") for func in found for n, name in _messages(func) if n == 1]


def _source(text: str) -> str:
    return text.removeprefix("^").partition(":")[0]
