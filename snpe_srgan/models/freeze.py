"""A generator as a frozen TensorFlow graph: one `.pb` with the weights inside and fixed node names.

    graph_def = freeze(graph, weights)                       # any picture size
    graph_def = freeze(graph, weights, input_size=(169, 255))
    sr = run_graph_def(graph_def, lr)

The `.pb` holds exactly one placeholder `lr`, [1, height, width, 3] float32 RGB in [0, 1], and one output `sr`,
[1, scale * height, scale * width, 3] in [-1, 1]: what `snpe-tensorflow-to-dlc -d lr 1,H,W,3 --out_node sr` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.frozen_graph import check_frozen_graph
from snpe_srgan.models.graph import Graph

INPUT, OUTPUT = "lr", "sr"


def freeze(graph: Graph, weights: Mapping[str, np.ndarray], *, input_size: tuple[int, int] | None = None):
    """The GraphDef of the TensorLayer model in evaluation mode, weights as constants, cleaned by grappler.

    Args:
        weights: `layer/array` -> float32, exactly the arrays of `graph`.
        input_size: (height, width) of the placeholder in LR pixels; None leaves both free.

    Returns:
        A `tf.compat.v1.GraphDef` with the placeholder `lr` and the output `sr`.

    Raises:
        InputError: the weights do not fit the graph, or are not finite.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from snpe_srgan.models.tensorlayer_model import build, set_weights

    model = build(graph, seed=0)
    set_weights(model, graph, weights)
    signature = tf.TensorSpec([1, *(input_size or (None, None)), 3], tf.float32, name=INPUT)
    # Nothing in the model is for autograph, whose files stay in the folder for temporary ones after a kill.
    function = tf.function(
        lambda lr: tf.identity(model(lr, is_train=False), name=OUTPUT), input_signature=[signature], autograph=False
    )
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return _clean(needed_by(OUTPUT, frozen.graph.as_graph_def()))


def needed_by(output: str, graph_def):
    """The part of a graph that `output` is computed from."""
    by_name = {node.name: node for node in graph_def.node}
    needed, waiting = set(), [output]
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name not in needed:
            needed.add(name)
            waiting.extend(by_name[name].input)
    part = type(graph_def)(versions=graph_def.versions)
    part.node.extend(node for node in graph_def.node if node.name in needed)
    return part


def _clean(graph_def):
    """Folds constants and drops what the output does not need, keeping `lr` and `sr` by name."""
    import tensorflow as tf
    from tensorflow.python.grappler import tf_optimizer

    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        meta = tf.compat.v1.train.export_meta_graph(graph=graph, graph_def=graph.as_graph_def())
    meta.collection_def["train_op"].node_list.value.append(OUTPUT)  # what grappler takes for the graph's output
    config = tf.compat.v1.ConfigProto()
    # No layout pass or remapping: their fused operators exist in TensorFlow only, and the .pb is for other programs.
    config.graph_options.rewrite_options.optimizers.extend(["pruning", "constfold", "dependency"])
    config.graph_options.rewrite_options.meta_optimizer_iterations = 2
    cleaned = tf_optimizer.OptimizeGraph(config, meta)
    cleaned.library.Clear()
    for node in cleaned.node:
        node.attr.pop("_grappler_do_not_remove", None)
    return cleaned


def read_graph_def(path: str | Path):
    """The GraphDef in a `.pb`; `InputError` when the file is not a frozen graph."""
    return parse_graph_def(check_frozen_graph(Path(path)), where=path)


def parse_graph_def(data: bytes, *, where: object):
    """The GraphDef in checked bytes.

    Args:
        data: as `check_frozen_graph` has let through.
        where: the file, for the error.

    Raises:
        InputError: the bytes are no GraphDef.
    """
    from tensorflow.core.framework import graph_pb2

    graph_def = graph_pb2.GraphDef()
    try:
        graph_def.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise InputError("not a frozen TensorFlow graph (GraphDef)", where=where) from error
    return graph_def


def run_graph_def(
    graph_def, lr: np.ndarray, *, input_name: str = INPUT, output_name: str = OUTPUT, where: object = None
) -> np.ndarray:
    """One inference by TensorFlow: lr (1, h, w, 3) float32 -> sr (1, h * scale, w * scale, 3).

    Args:
        graph_def: a frozen graph, of this package or of another program.
        lr: what the placeholder takes; RGB in [0, 1] for graphs of this package.
        input_name, output_name: names of nodes, without `:0`.
        where: the file, for the error.

    Returns:
        The output as TensorFlow gives it; float32 in [-1, 1] for graphs of this package.

    Raises:
        InputError: TensorFlow refuses the graph or cannot run it on this input.
    """
    import tensorflow as tf

    try:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.import_graph_def(graph_def, name="")
            return session.run(f"{output_name}:0", {f"{input_name}:0": lr})
    except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(f"TensorFlow cannot run the graph: {reason}", where=where) from error
