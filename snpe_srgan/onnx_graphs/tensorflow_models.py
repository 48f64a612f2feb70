"""Networks of others in TensorFlow's and Keras' forms as ONNX: SavedModel, `.keras`, `.h5`, `.pb`, float `.tflite`.

    model = read_tensorflow("folder")        # its own names, layout and numbers; `zoo/foreign_graph.py` adapts it

What a file holds is judged by its bytes first (`saved_model.py`, `keras_files.py`, `models/frozen_graph.py`); then a
child process loads, freezes and converts it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.confined.messages import Message
from snpe_srgan.confined.process import Child, megabytes_for
from snpe_srgan.errors import InputError
from snpe_srgan.machine import require
from snpe_srgan.models.frozen_graph import check_frozen_graph
from snpe_srgan.onnx_graphs.from_tensorflow import convert_foreign, possible_outputs
from snpe_srgan.onnx_graphs.keras_files import check_keras, is_keras_model
from snpe_srgan.onnx_graphs.saved_model import NAME, check_saved_model, is_saved_model
from snpe_srgan.onnx_graphs.switches import PLACEHOLDERS, without_switches

if TYPE_CHECKING:
    import onnx

KINDS = {  # what a reader in the child is called by -> what people call it
    "saved_model": "a SavedModel", "keras": "a Keras model", "graph": "a frozen TensorFlow graph",
    "tflite": "a .tflite",
}  # fmt: skip
DEFAULT = "serving_default"
FIXED = 128  # LR pixels a side of a network that cannot be built for a free size


def kind_of(path: str | os.PathLike) -> str | None:
    """A key of `KINDS`, or None for what is no network of TensorFlow's; a SavedModel may be meant by its `.pb`."""
    path = Path(path)
    if path.is_dir():
        return "saved_model" if is_saved_model(path) else None
    suffix = path.suffix.lower()
    if suffix == ".pb":
        return "saved_model" if path.name == NAME else "graph"
    if suffix in (".keras", ".h5", ".hdf5") and path.is_file():
        return "keras" if suffix == ".keras" or is_keras_model(path) else None
    return "tflite" if suffix == ".tflite" else None


def read_tensorflow(path: str | os.PathLike, *, say: Callable[[str], None] | None = None) -> onnx.ModelProto:
    """The graph, with the ends that it has in its file; only a batch is one picture.

    Raises:
        InputError: it is none, holds code or operators that are not taken, or has no ONNX form.
        MissingToolError: TensorFlow is not installed.
    """
    import onnx

    path, kind = Path(path), kind_of(path)
    if kind is None:
        raise InputError("no network of TensorFlow's or Keras'", where=path)
    require("tensorflow", what=f"reading {KINDS[kind]}")
    folder, files = path, [path]
    if kind == "saved_model":
        folder = path if path.is_dir() else path.parent
        check_saved_model(folder)
        files = [file for file in folder.rglob("*") if file.is_file()]
    elif kind == "keras":
        check_keras(path)
    elif kind == "graph":
        check_frozen_graph(path, switches=True)
    else:
        _check_tflite(path)
    size = sum(file.stat().st_size for file in files)
    with Child(where=path, megabytes=megabytes_for(size), say=say) as child:
        arguments = {"path": str(folder.absolute()), "where": str(path), "kind": kind}
        told, (data,) = child.call(f"{__name__}:convert_here", arguments, doing="convert the network")
    if told["fixed"] and say is not None:
        say(f"its layers are built for one size alone: {told['fixed']} was taken ({path})")
    return onnx.load_model_from_string(data.tobytes())


def _check_tflite(path: Path) -> None:
    from snpe_srgan.tflite.read import read_tflite

    model = read_tflite(path)
    if model.codes:
        raise InputError("its graph is NPU code, which nothing is made from", where=path)
    quantized = [port.name for port in (model.input, model.output) if port.scale is not None]
    quantized += [t.name for t in model.tensors if t.dtype in ("int8", "int16") or (t.dtype == "uint8" and t.scale)]
    if quantized:
        raise InputError(
            f"it is quantized already ('{quantized[0][:60]}'): float networks are taken", where=path,
            hint="import the float .tflite, or what that was made from; `run` takes this one as it is",
        )  # fmt: skip


# ---- in the child ----


def convert_here(state: dict[str, Any], *, path: str, where: str, kind: str) -> Message:
    """See `read_tensorflow`.

    Args:
        state: the child's, unused.
        path: absolute; a folder for a SavedModel.
        where: what errors call it.
        kind: a key of `KINDS`.

    Returns:
        `fixed`: the one size that a Keras network's layers are built for, in words, or None; and the ONNX model's bytes
        as one uint8 array.
    """
    from snpe_srgan.quiet import import_tensorflow

    tf = import_tensorflow()
    fixed = None
    if kind == "tflite":
        model = _from_tflite(path, where)
    else:
        if kind == "keras":
            graph_def, lr, sr, fixed = _keras(tf, path, where)
        else:
            graph_def, lr, sr = {"saved_model": _saved_model, "graph": _graph}[kind](tf, path, where)
        model = convert_foreign(graph_def, input_name=lr, output_name=sr, where=where)
    return {"fixed": fixed}, [np.frombuffer(model.SerializeToString(), np.uint8)]


def _from_tflite(path: str, where: str) -> onnx.ModelProto:
    import tf2onnx

    from snpe_srgan.onnx_graphs.from_layers import OPSET
    from snpe_srgan.onnx_graphs.from_tensorflow import converted, finish

    model = converted(lambda: tf2onnx.convert.from_tflite(path, opset=OPSET)[0], where)
    return finish(model)


def _saved_model(tf: Any, path: str, where: str) -> tuple[Any, str, str]:
    facts = check_saved_model(path)
    names = [name for name in facts.signatures if name != "__saved_model_init_op"]
    name = DEFAULT if DEFAULT in names else names[0] if len(names) == 1 else None
    if name is None:
        raise InputError(
            f"it has the signatures {', '.join(names)[:100] or 'none'}: one '{DEFAULT}' is needed", where=where
        )
    if facts.of_tensorflow_1:
        return _of_tensorflow_1(tf, path, facts.signatures[name], where)
    try:
        loaded = tf.saved_model.load(path)  # which holds the variables that its functions read
        function = loaded.signatures[name]
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise InputError(f"TensorFlow cannot load it: {_line(error)}", where=where) from error
    frozen = _frozen(function, where)
    del loaded
    return frozen


def _of_tensorflow_1(tf: Any, path: str, signature: tuple[dict, dict], where: str) -> tuple[Any, str, str]:
    """Nothing of it is run: its variables become constants, read from the file beside it."""
    from tensorflow.core.protobuf import saved_model_pb2

    inputs, outputs = signature
    if len(outputs) != 1:
        raise InputError(f"it gives {len(outputs)} results ({', '.join(outputs)[:80]}), not one picture", where=where)
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((Path(path) / NAME).read_bytes())
    graph_def = model.meta_graphs[0].graph_def
    prefix = Path(path) / "variables" / "variables"
    arrays: Mapping[str, np.ndarray] = {}
    if prefix.with_suffix(".index").exists():
        try:
            reader = tf.train.load_checkpoint(str(prefix))
            arrays = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
        except (ValueError, tf.errors.OpError) as error:
            raise InputError(f"its variables cannot be read: {_line(error)}", where=where) from error
    for node in graph_def.node:
        if node.op in ("VariableV2", "Variable", "VarHandleOp"):
            shared = node.attr["shared_name"].s.decode() if "shared_name" in node.attr else ""
            array = arrays.get(shared or node.name, arrays.get(node.name))
            if array is not None:
                _constant(tf, node, array)
    made = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        if node.op == "ReadVariableOp" and made[node.input[0].split(":")[0]].op == "Const":
            node.op = "Identity"
            kind = node.attr["dtype"].type
            node.attr.clear()
            node.attr["T"].type = kind
    return _ends(graph_def, [tensor.split(":")[0] for tensor in inputs.values()], next(iter(outputs.values())), where)


def _constant(tf: Any, node: Any, array: np.ndarray) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = tf.as_dtype(array.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))


def _keras(tf: Any, path: str, where: str) -> tuple[Any, str, str, str | None]:
    """Also the size that a free one had to be fixed to, as text: some of Keras' layers cannot be traced without."""
    import keras

    check_keras(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras meets in a foreign description
        raise InputError(f"Keras cannot build it: {_line(error)}", where=where) from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not 1 and 1", where=where
        )
    dims, kind = list(model.inputs[0].shape[1:]), model.inputs[0].dtype

    @tf.function(autograph=False)
    def call(x: Any) -> Any:
        return model(x, training=False)

    try:
        return *_frozen(call.get_concrete_function(tf.TensorSpec([1, *dims], kind)), where), None
    except InputError:
        raise
    except Exception as error:
        sides = [FIXED if side is None else side for side in dims[:2]]
        if sides == dims[:2]:
            raise InputError(f"Keras cannot compute it: {_line(error)}", where=where) from error
    try:
        concrete = call.get_concrete_function(tf.TensorSpec([1, *sides, *dims[2:]], kind))
    except Exception as error:
        raise InputError(f"Keras cannot compute it: {_line(error)}", where=where) from error
    return *_frozen(concrete, where), "x".join(map(str, sides))


def _frozen(function: Any, where: str) -> tuple[Any, str, str]:
    """A concrete function as a graph of constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        frozen = convert_variables_to_constants_v2(function)
    except Exception as error:  # of many kinds, for graphs that cannot be frozen
        raise InputError(f"TensorFlow cannot freeze it: {_line(error)}", where=where) from error
    ends = [[tensor.name.split(":")[0] for tensor in tensors] for tensors in (frozen.inputs, frozen.outputs)]
    if len(ends[1]) != 1:
        raise InputError(f"it gives {len(ends[1])} results, not one picture", where=where)
    return _ends(frozen.graph.as_graph_def(), ends[0], ends[1][0], where)


def _graph(tf: Any, path: str, where: str) -> tuple[Any, str, str]:
    from snpe_srgan.models.freeze import parse_graph_def

    graph_def = parse_graph_def(check_frozen_graph(path, switches=True), where=where)
    outputs = possible_outputs(graph_def)
    if len(outputs) != 1:
        listed = ", ".join(outputs[:4])[:100] or "none"
        raise InputError(f"the graph has {len(outputs)} possible results ({listed}), not one picture", where=where)
    return _ends(graph_def, [node.name for node in graph_def.node if node.op in PLACEHOLDERS], outputs[0], where)


def _ends(graph_def: Any, inputs: list[str], output: str, where: str) -> tuple[Any, str, str]:
    """What the picture's result is made of, its switches set to inference."""
    from snpe_srgan.models.freeze import needed_by

    sr = output.split(":")[0]
    plain = needed_by(sr, without_switches(graph_def, where=where))
    left = [node.name for node in plain.node if node.op == "Placeholder"]
    if len(left) != 1:
        raise InputError(
            f"it takes {len(left)} inputs ({', '.join(left or inputs)[:100]}), not one picture", where=where,
            hint="export it with all others as constants",
        )  # fmt: skip
    return plain, left[0], sr


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
