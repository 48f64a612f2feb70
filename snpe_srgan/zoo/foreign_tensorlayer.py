"""Weight files of TensorLayer's own SRGAN: every array of the generator in a row, in the order of its layers.

That network is an earlier relative of the paper's: 3x3 convolutions at both ends but for a last 1x1, ReLU throughout,
no bias before batch norm, epsilon 1e-5, and an input in [-1, 1], which a fixed 1x1 convolution makes from [0, 1] here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.arrays import ArrayFile
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import Builder, Graph

EPSILON = 1e-5
FIXED_ARRAYS, ARRAYS_PER_BLOCK = 13, 10  # head 2, body 1 + 4, up1 2, up2 2, tail 2; a block has 2 x (1 + 4)
ORDER = {"conv": ("kernel", "bias"), "batch_norm": ("beta", "gamma", "mean", "variance")}
MAX_BYTES = 1 << 29
PLAIN = (
    "if you trust the file: python -c \"import numpy as np; np.savez('plain.npz', "
    "*np.load('FILE', allow_pickle=True)['params'])\""
)


def read_tensorlayer(path: Path):
    """The file as `Foreign`; number of blocks and width are read from the arrays.

    Raises:
        InputError: the arrays make no such generator.
    """
    from snpe_srgan.zoo.foreign import Foreign

    arrays = _read_arrays(path)
    blocks, rest = divmod(len(arrays) - FIXED_ARRAYS, ARRAYS_PER_BLOCK)
    if blocks < 1 or rest or arrays[0].ndim != 4:
        raise InputError(f"{len(arrays)} arrays do not make TensorLayer's SRGAN generator", where=path)
    graph = describe_tensorlayer(blocks=blocks, width=int(arrays[0].shape[3]))
    weights = {"range/kernel": 2 * np.eye(3, dtype=np.float32)[None, None], "range/bias": -np.ones(3, np.float32)}
    waiting = iter(arrays)
    shapes = graph.weight_shapes()
    for layer in graph.layers:
        for array in ORDER.get(layer.kind, ()):
            key = f"{layer.name}/{array}"
            if key not in shapes or key in weights:
                continue
            value = next(waiting)
            if value.shape != shapes[key]:
                raise InputError(f"{key} has shape {value.shape}, not {shapes[key]}", where=path)
            weights[key] = value.astype(np.float32)
    return Foreign(graph, weights, "weight file in the layout of TensorLayer's SRGAN")


def describe_tensorlayer(*, blocks: int, width: int) -> Graph:
    """That network as our layers: `blocks` residual blocks of `width` channels, x4."""
    net = Builder(scale=4)

    def conv(x: str, name: str) -> str:
        return net.batch_norm(net.conv(x, width, 3, name=name, bias=False), name=f"{name}_bn", epsilon=EPSILON)

    x = net.conv(net.lr, 3, 1, name="range", trainable=False)
    x = head = net.relu(net.conv(x, width, 3, name="head"), name="head_relu")
    for i in range(1, blocks + 1):
        y = net.relu(conv(x, f"block{i}_conv1"), name=f"block{i}_relu")
        x = net.add(x, conv(y, f"block{i}_conv2"), name=f"block{i}_add")
    x = net.add(conv(x, "body"), head, name="body_add")
    for i in (1, 2):
        x = net.depth_to_space(net.conv(x, 4 * width, 3, name=f"up{i}", init="icnr"), 2, name=f"up{i}_shuffle")
        x = net.relu(x, name=f"up{i}_relu")
    x = net.tanh(net.conv(x, 3, 1, name="tail"), name="tail_tanh")
    return net.graph(x, network="srgan_tensorlayer", options={"blocks": blocks, "width": width})


def _read_arrays(path: Path) -> list[np.ndarray]:
    """`arr_0`, `arr_1`, ... in number order, or named arrays in the file's order."""
    try:
        with ArrayFile(path, limit=MAX_BYTES) as file:
            names = list(file.arrays)
            if "__architecture__" in names:
                raise InputError("the file is a .npz of ours already: nothing to import", where=path)
            if names and all(name.startswith("arr_") and name[4:].isdecimal() for name in names):
                names.sort(key=lambda name: int(name[4:]))
            if any(head.dtype.kind != "f" for head in file.arrays.values()):
                raise InputError("the file holds something other than floating-point arrays", where=path)
            return [file.read(name) for name in names]
    except InputError as error:
        if "pickled" in error.what:
            raise InputError(error.what, where=path, hint=PLAIN) from error
        raise
