"""A frozen TensorFlow graph as ONNX, by tf2onnx and the passes of `onnx_passes`.

model = pb_to_onnx("generator.pb")
model = pb_to_onnx("foreign.pb", input_name="x", output_name="out", input_size=(128, 128))

The result looks like what `to_onnx` makes: input `lr` and output `sr`, NHWC, batch 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.confined.messages import Message
from snpe_srgan.confined.process import Child, megabytes_for
from snpe_srgan.errors import InputError, did_you_mean
from snpe_srgan.models.freeze import read_graph_def, run_graph_def
from snpe_srgan.models.frozen_graph import check_frozen_graph
from snpe_srgan.onnx_graphs.from_layers import IR_VERSION, OPSET

if TYPE_CHECKING:
    import onnx

NO_RESULT = ("Const", "NoOp", "Assert", "Placeholder")

# tf2onnx's optimizer walks sets of nodes in the order of their addresses: now and then it leaves operators that only
# change a shape, which another go removes.
LEFT_OVER, AGAIN = {"Reshape", "Squeeze", "Unsqueeze"}, 2


def find_ports(
    graph_def, *, input_name: str | None = None, output_name: str | None = None, where: object = None
) -> tuple[str, str]:
    """The names of the picture that goes in and the one that comes out; asks for an option when it is not clear.

    Args:
        graph_def: a GraphDef.
        input_name, output_name: nodes, with or without `:0`; None for the only placeholder, the only node that nothing
            reads.
        where: the file, for the error.

    Returns:
        Names of nodes, without `:0`.

    Raises:
        InputError: there is no such node, or none or several to choose from.
    """
    names = {node.name: node for node in graph_def.node}
    inputs, outputs = [node.name for node in graph_def.node if node.op == "Placeholder"], possible_outputs(graph_def)
    chosen = []
    for given, found, option, what in (
        (input_name, inputs, "--input-name", "input"),
        (output_name, outputs, "--output-name", "output"),
    ):
        name = given.removesuffix(":0") if given else None
        if name is not None and name not in names:
            raise InputError(f"the graph has no node '{name}'", where=where, hint=did_you_mean(name, found))
        if name is None:
            if len(found) != 1:
                listed = ", ".join(found[:8]) or "none"
                raise InputError(
                    f"the graph has {len(found)} possible {what}s", where=where, hint=f"{option} ({listed})"
                )
            name = found[0]
        chosen.append(name)
    return chosen[0], chosen[1]


def possible_outputs(graph_def) -> list[str]:
    """The nodes that nothing reads and that give a result."""
    read = {name.lstrip("^").split(":")[0] for node in graph_def.node for name in node.input}
    return [node.name for node in graph_def.node if node.name not in read and node.op not in NO_RESULT]


def graph_def_to_onnx(graph_def, *, input_name: str, output_name: str, input_size=None, where: object = None):
    """The converted, cleaned model; `where` is what errors call the graph.

    Args:
        graph_def: a GraphDef of constants, without variables; it is not changed.
        input_name, output_name: nodes, without `:0`; the input a float32 placeholder of one NHWC RGB picture.
        input_size: (height, width) in LR pixels that the input is fixed to; None leaves it as it is.

    Returns:
        An ONNX model with the ends `lr` and `sr`.

    Raises:
        InputError: the input is something else or of another fixed size, or an operator has no ONNX form.
    """
    graph_def = _with_input_shape(graph_def, input_name, input_size, where=where)
    return _best(graph_def, input_name, output_name, ("lr", "sr"), where)


def convert_foreign(graph_def, *, input_name: str, output_name: str, where: object = None):
    """As `graph_def_to_onnx`, with the ends as they are: any layout, channels and numbers; a batch is one picture.

    Args:
        graph_def: a GraphDef of constants, without variables; it is not changed.
        input_name, output_name: nodes, without `:0`.
        where: what errors call the graph.

    Returns:
        An ONNX model with the ends `input` and `output`.

    Raises:
        InputError: an operator has no ONNX form.
    """
    copy = type(graph_def)()
    copy.CopyFrom(graph_def)
    node = next(node for node in copy.node if node.name == input_name)
    dims = node.attr["shape"].shape.dim
    if node.op == "Placeholder" and len(dims) == 4:
        dims[0].size = 1
    elif node.op == "Placeholder" and not dims:  # nothing is known of it: TensorFlow's pictures
        for size in (1, -1, -1, 3):
            dims.add().size = size
        node.attr["shape"].shape.unknown_rank = False
    return _best(copy, input_name, output_name, ("input", "output"), where)


def _best(graph_def, input_name: str, output_name: str, names: tuple[str, str], where: object):
    """The smallest of a few goes of tf2onnx, whose optimizer sometimes leaves operators that change a shape alone."""
    import tf2onnx

    lr, sr = f"{input_name}:0", f"{output_name}:0"
    ends = {"input_names": [lr], "output_names": [sr], "tensors_to_rename": dict(zip((lr, sr), names, strict=True))}

    def convert():
        return tf2onnx.convert.from_graph_def(graph_def, opset=OPSET, **ends)[0]

    model = finish(converted(convert, where))
    for _ in range(AGAIN):
        if not LEFT_OVER.intersection(node.op_type for node in model.graph.node):
            break
        model = min(model, finish(converted(convert, where)), key=lambda made: len(made.graph.node))
    return model


def converted(convert: Callable[[], onnx.ModelProto], where: object) -> onnx.ModelProto:
    """What tf2onnx makes of a graph; `InputError` names what it does not know."""
    try:
        with _quiet():
            model = convert()
    except Exception as error:  # whatever tf2onnx meets in a foreign graph
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"tf2onnx cannot convert the graph: {reason}", where=where) from error
    unknown = sorted({node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    if unknown:
        raise InputError(f"operators without an ONNX form: {', '.join(unknown[:5])}", where=where)
    return model


def _with_input_shape(graph_def, input_name: str, input_size: tuple[int, int] | None, *, where: object):
    """A copy whose placeholder is [1, height, width, 3]; only a size that is free can be chosen."""
    copy = type(graph_def)()
    copy.CopyFrom(graph_def)
    node = next(node for node in copy.node if node.name == input_name)
    if node.op != "Placeholder" or node.attr["dtype"].type != 1:  # DT_FLOAT
        raise InputError(f"the input '{input_name}' must be a float32 placeholder", where=where)
    dims = [dim.size for dim in node.attr["shape"].shape.dim] or [-1, -1, -1, 3]
    if len(dims) != 4 or dims[0] not in (-1, 1) or dims[3] not in (-1, 3):
        raise InputError(f"the input '{input_name}' is {dims}, not one NHWC RGB picture", where=where)
    for given, own in zip(input_size or (), dims[1:3], strict=False):
        if own not in (-1, given):
            raise InputError(f"the graph's input size is fixed to {dims[1]}x{dims[2]}", where=where)
    del node.attr["shape"].shape.dim[:]
    for size in (1, *(input_size or dims[1:3]), 3):
        node.attr["shape"].shape.dim.add().size = size
    node.attr["shape"].shape.unknown_rank = False
    return copy


def finish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Our passes, and our ways of saying what a graph is."""
    from snpe_srgan.onnx_graphs.passes import clean

    model = clean(model)
    model.ir_version = IR_VERSION
    model.producer_name = "snpe-srgan"
    unused = [item for item in model.opset_import if item.domain not in ("", "ai.onnx")]
    for item in unused:
        model.opset_import.remove(item)
    for value, labels in (
        (model.graph.input[0], ("height", "width")),
        (model.graph.output[0], ("sr_height", "sr_width")),
    ):
        for dim, label in zip(value.type.tensor_type.shape.dim[1:3], labels, strict=False):
            if not dim.dim_value:
                dim.dim_param = label
    return model


class FrozenGraph:
    """A `.pb` in a child process, where TensorFlow and tf2onnx read it: some damaged graphs end the process.

    Args:
        path: the file.
        say: told what takes long.
    """

    def __init__(self, path: str | os.PathLike, *, say: Callable[[str], None] | None = None) -> None:
        self.path = Path(path)
        check_frozen_graph(self.path)
        self._child = Child(where=path, megabytes=megabytes_for(Path(path).stat().st_size), say=say)

    def to_onnx(
        self,
        *,
        input_name: str | None = None,
        output_name: str | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> onnx.ModelProto:
        """The graph as ONNX; input and output are found where the graph leaves no choice.

        Args:
            input_name, output_name: nodes, with or without `:0`.
            input_size: (height, width) in LR pixels that the input is fixed to; None leaves it as it is.

        Raises:
            InputError: it is unclear which nodes are meant, the input is no NHWC RGB picture or of another fixed size,
                an operator has no ONNX form, or the child ended.
        """
        import onnx

        arguments = {
            "path": str(self.path.absolute()), "where": str(self.path), "input_name": input_name,
            "output_name": output_name, "input_size": input_size,
        }  # fmt: skip
        _, (data,) = self._child.call(f"{__name__}:convert_here", arguments, doing="convert the graph")
        return onnx.load_model_from_string(data.tobytes())

    def run(self, lr: np.ndarray) -> np.ndarray:
        """What TensorFlow computes of lr (1, h, w, 3), between the ports that `to_onnx` chose."""
        _, (sr,) = self._child.call(f"{__name__}:run_here", {}, [lr], doing="run the graph by TensorFlow")
        return sr

    def __enter__(self) -> FrozenGraph:
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.close()


def convert_here(state: dict[str, Any], *, path: str, where: str, input_name, output_name, input_size) -> Message:
    """In the child: see `FrozenGraph.to_onnx`.

    Args:
        state: the child's; keeps the graph and its ports for `run_here`.
        path: absolute.
        where: what errors call the file.
        input_name, output_name, input_size: as of `FrozenGraph.to_onnx`.

    Returns:
        The ONNX model's bytes, as one uint8 array.
    """
    from snpe_srgan.quiet import import_tensorflow

    import_tensorflow()
    graph_def = read_graph_def(path)
    lr, sr = find_ports(graph_def, input_name=input_name, output_name=output_name, where=where)
    model = graph_def_to_onnx(graph_def, input_name=lr, output_name=sr, input_size=input_size, where=where)
    state.update(graph_def=graph_def, ports={"input_name": lr, "output_name": sr}, where=where)
    return {}, [np.frombuffer(model.SerializeToString(), np.uint8)]


def run_here(state: dict[str, Any], lr: np.ndarray) -> Message:
    """In the child: see `FrozenGraph.run`."""
    return {}, [run_graph_def(state["graph_def"], lr, **state["ports"], where=state["where"])]


def pb_to_onnx(
    path: str | os.PathLike,
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    input_size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """Reads a `.pb` and converts it; see `FrozenGraph`.

    Args:
        input_name, output_name: nodes, with or without `:0`; None where the graph leaves no choice.
        input_size: (height, width) in LR pixels that the input is fixed to; None leaves it as it is.

    Raises:
        InputError: no frozen graph, or as of `FrozenGraph.to_onnx`.
    """
    with FrozenGraph(path) as graph:
        return graph.to_onnx(input_name=input_name, output_name=output_name, input_size=input_size)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx calls what TensorFlow deprecates: not for a user's eyes."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
