"""Every kind of layer, one record each: all that the rest of the package knows of it.

`OPERATORS["relu"]` says what a ReLU reads, which arrays it holds, how far it sees, how ONNX and TensorFlow compute it,
what may pass through it unchanged and what it costs on a DSP. To add a kind of layer, add its record here; `Builder`
takes it by name (`net.apply("silu", x, name="act")`). What trains beyond a plain function of its arrays (a batch norm's
statistics, an expanded kernel) has a TensorLayer class in `models/layers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from snpe_srgan.products import conv2d

if TYPE_CHECKING:
    import tensorflow as tf

    from snpe_srgan.models.graph import Layer

# For each phase of a layer's pixel grid (its offset inside one LR pixel): how many LR pixels it sees before and after.
Reach = tuple[tuple[int, int], ...]
Shape = tuple[int, ...]
Arrays = Mapping[str, np.ndarray]

NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
COARSE = -1  # the `upscale` of a grid of its own size, smaller than the picture's by no whole number
LARGEST_KERNEL, LARGEST_BLOCK = 255, 64  # far beyond any network, and small enough to compute with


@dataclass(frozen=True)
class OnnxNode:
    """One ONNX operator of a layer.

    Attributes:
        kind: the operator's name.
        constants: its constant inputs in order, behind what it reads; None leaves one out.
        attributes: as `onnx.helper.make_node` takes them.
        suffix: of the result's name; empty for the layer's own result, which comes last.
        reads: suffixes of earlier results that it reads behind the layer's inputs.
        of: it reads this one of the layer's inputs alone.
        last: suffixes of earlier results that it reads behind its constants.
    """

    kind: str
    constants: Mapping[str, np.ndarray | None] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""
    reads: tuple[str, ...] = ()
    of: int | None = None
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operator:
    """One kind of layer.

    Attributes:
        onnx: (layer, its arrays) -> the ONNX nodes that compute it.
        tensorflow: (layer, its arrays, inputs NHWC, name of the result or None) -> the result.
        inputs: how many tensors it reads; None for two or more.
        attributes: what its description must hold: name -> check of the value.
        weights: (layer, input channels) -> shapes of its arrays.
        gives: (layer, the layers that it reads) -> (channels, upscale) of its result; None when it cannot be.
        reach: (layer, axis, what its inputs see) -> what it sees; None when it sees the whole picture.
        pointwise: it computes each value from the value at the same place (and channel) alone.
        homogeneous: f(s * x) = s * f(x) for s > 0, channel by channel, so that equalization passes through it.
        dsp: what it costs on a DSP, a line with `{count}` and `{names}`, or "".
    """

    onnx: Callable[[Layer, Arrays], Sequence[OnnxNode]]
    tensorflow: Callable[[Layer, Mapping[str, Any], Sequence[Any], str | None], tf.Tensor]
    inputs: int | None = 1
    attributes: Mapping[str, Callable[[object], bool]] = field(default_factory=dict)
    weights: Callable[[Layer, int], dict[str, Shape]] = lambda layer, channels: {}
    gives: Callable[[Layer, Sequence[Layer]], tuple[int, int] | None] = lambda layer, read: (
        read[0].channels,
        read[0].upscale,
    )
    reach: Callable[[Layer, int, Reach], Reach | None] = lambda layer, axis, reach: reach
    pointwise: bool = False
    homogeneous: bool = False
    dsp: str = ""


# ---- reach ----


def widest(reaches: Sequence[Reach]) -> Reach:
    """What a layer sees that reads several others of one size."""
    return tuple(
        (max(before for before, _ in phase), max(after for _, after in phase)) for phase in zip(*reaches, strict=True)
    )


def after_window(reach: Reach, before: int, after: int) -> Reach:
    """After a window that reads `before` pixels back and `after` ahead, on the layer's own grid.

    Args:
        reach: what the layer's input sees, in LR pixels, for each phase of its grid.
        before, after: in pixels of the layer's own grid; 1 and 1 for a kernel of 3.

    Returns:
        What the layer sees, in LR pixels, for each phase.
    """
    phases = len(reach)
    grown = []
    for phase in range(phases):
        seen = [divmod(phase + step, phases) for step in range(-before, after + 1)]
        grown.append((max(reach[p][0] - q for q, p in seen), max(reach[p][1] + q for q, p in seen)))
    return tuple(grown)


def after_gathering(reach: Reach, block: int) -> Reach:
    """After a downscaling by `block` in which each pixel depends on all that it was made of."""
    return tuple(widest([(reach[i + j],) for j in range(block)])[0] for i in range(0, len(reach), block))


def after_repeat(reach: Reach, block: int) -> Reach:
    """After an upscaling by `block` in which each pixel depends on the one it was."""
    return tuple(reach[phase // block] for phase in range(len(reach) * block))


def _conv_reach(layer: Layer, axis: int, reach: Reach) -> Reach:
    kernel = layer.attributes["kernel"][axis]
    return after_window(reach, (kernel - 1) // 2, kernel // 2)


# ---- channels and size (an `upscale` of 0 is one pixel for the whole picture) ----


def _shuffled(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    block = layer.attributes["block"]
    channels, rest = divmod(read[0].channels, block**2)
    return None if rest or read[0].upscale < 1 else (channels, read[0].upscale * block)


def _gathered(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    block = layer.attributes["block"]
    upscale, rest = divmod(read[0].upscale, block)
    return None if rest or upscale < 1 else (read[0].channels * block**2, upscale)


def _coarse(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    channels = layer.channels if layer.kind == "strided_conv" else read[0].channels
    return None if not read[0].upscale else (channels, COARSE)


def _brought_back(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    return (read[0].channels, read[1].upscale) if read[0].upscale == COARSE and read[1].upscale > 0 else None


def _enlarged(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    return (read[0].channels, read[0].upscale * layer.attributes["factor"]) if read[0].upscale > 0 else None


def _paired(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    first, second = read
    fits = first.channels == second.channels and second.upscale in (first.upscale, 0)
    return (first.channels, first.upscale) if fits else None


def _joined(layer: Layer, read: Sequence[Layer]) -> tuple[int, int] | None:
    same = all(item.upscale == read[0].upscale for item in read)
    return (sum(item.channels for item in read), read[0].upscale) if same else None


# ---- checks of attributes that came from a file ----


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _number(value: object) -> bool:
    return type(value) in (int, float) and -1e30 < value < 1e30  # type: ignore[operator]


def _truth(value: object) -> bool:
    return type(value) is bool


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) < 100


def _kernel(value: object) -> bool:
    sides = isinstance(value, (list, tuple)) and len(value) == 2
    return sides and all(_whole(1, LARGEST_KERNEL)(side) for side in value)  # type: ignore[attr-defined]


# ---- one layer's arrays ----


def _conv_weights(layer: Layer, channels: int) -> dict[str, Shape]:
    height, width = layer.attributes["kernel"]
    shapes: dict[str, Shape] = {"kernel": (height, width, channels, layer.channels)}
    return shapes | {"bias": (layer.channels,)} if layer.attributes["bias"] else shapes


def _batch_norm_weights(layer: Layer, channels: int) -> dict[str, Shape]:
    return dict.fromkeys(("gamma", "beta", "mean", "variance"), (layer.channels,))


# ---- ONNX ----


def _plain(kind: str) -> Callable[[Layer, Arrays], Sequence[OnnxNode]]:
    return lambda layer, own: [OnnxNode(kind)]


def _onnx_conv(layer: Layer, own: Arrays) -> Sequence[OnnxNode]:
    height, width = layer.attributes["kernel"]
    # TensorFlow's SAME: of an odd number of zeros the larger half goes below and to the right.
    pads = [(height - 1) // 2, (width - 1) // 2, height // 2, width // 2]
    constants = {"kernel": own["kernel"].transpose(3, 2, 0, 1)} | ({"bias": own["bias"]} if "bias" in own else {})
    shape = {"kernel_shape": [height, width], "pads": pads, "strides": [1, 1], "dilations": [1, 1], "group": 1}
    return [OnnxNode("Conv", constants, shape)]


def _onnx_strided(layer: Layer, own: Arrays) -> Sequence[OnnxNode]:
    step = layer.attributes["stride"]
    (plain,) = _onnx_conv(layer, own)
    return [OnnxNode("Conv", plain.constants, {**plain.attributes, "pads": [0, 0, 0, 0], "strides": [step, step]})]


def _onnx_max_pool(layer: Layer, own: Arrays) -> Sequence[OnnxNode]:
    side, step = layer.attributes["side"], layer.attributes["stride"]
    return [OnnxNode("MaxPool", {}, {"kernel_shape": [side, side], "strides": [step, step]})]


def _onnx_resize_to(layer: Layer, own: Arrays) -> Sequence[OnnxNode]:
    """To the size of the second thing read, bilinear as PyTorch's (half-pixel centres)."""
    return [
        OnnxNode("Shape", {}, {"start": 2}, suffix="size", of=1),
        OnnxNode(
            "Resize", {"roi": None, "scales": None}, {"mode": "linear", "axes": [2, 3]}, of=0, last=("size",)
        ),
    ]  # fmt: skip


def _onnx_batch_norm(layer: Layer, own: Arrays) -> Sequence[OnnxNode]:
    constants = {array: own[array] for array in ("gamma", "beta", "mean", "variance")}
    return [OnnxNode("BatchNormalization", constants, {"epsilon": float(layer.attributes["epsilon"])})]


def _onnx_resize(layer: Layer, own: Arrays) -> Sequence[OnnxNode]:
    factor = int(layer.attributes["factor"])
    return [OnnxNode("Resize", {"roi": None, "scales": np.array([1, 1, factor, factor])}, NEAREST)]


# ---- TensorFlow ----


def nearest(x: tf.Tensor, factor: int, *, name: str | None = None) -> tf.Tensor:
    """(n, h, w, c) -> (n, h * factor, w * factor, c), each pixel repeated, as the operator that converters know.

    Args:
        name: of the result's node; None leaves the name to TensorFlow.
    """
    import tensorflow as tf

    size = tf.multiply(tf.shape(x)[1:3], factor, name=name and f"{name}/size")
    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, half_pixel_centers=True, name=name)


def _tf_conv(layer: Layer, own, inputs, name):
    import tensorflow as tf

    if "bias" not in own:
        return conv2d(inputs[0], own["kernel"], name=name)
    return tf.nn.bias_add(conv2d(inputs[0], own["kernel"], name=name and f"{name}/conv"), own["bias"], name=name)


def _tf_strided(layer: Layer, own, inputs, name):
    import tensorflow as tf

    y = conv2d(inputs[0], own["kernel"], layer.attributes["stride"], "VALID", name=name and f"{name}/conv")
    return tf.nn.bias_add(y, own["bias"], name=name)


def _tf_resize_to(layer: Layer, own, inputs, name):
    import tensorflow as tf

    size = tf.shape(inputs[1], name=name and f"{name}/size")[1:3]
    return tf.raw_ops.ResizeBilinear(images=inputs[0], size=size, half_pixel_centers=True, name=name)


def _tf_batch_norm(layer: Layer, own, inputs, name):
    import tensorflow as tf

    epsilon = layer.attributes["epsilon"]
    return tf.nn.batch_normalization(
        inputs[0], own["mean"], own["variance"], own["beta"], own["gamma"], epsilon, name=name
    )


def _tf_prelu(layer: Layer, own, inputs, name):
    """In this order and with these names: the pattern that the conversion of a `.pb` takes for a PReLU."""
    import tensorflow as tf

    x, inner = inputs[0], (lambda part: name and f"{name}/{part}")
    above = tf.nn.relu(x, name=inner("above"))
    below = tf.nn.relu(tf.negative(x, name=inner("mirrored")), name=inner("below"))
    return tf.add(above, tf.multiply(-own["alpha"], below, name=inner("sloped")), name=name)


def _tf(function: Callable) -> Callable:
    """`function(tf, layer, inputs, name)` with TensorFlow imported when it is called."""

    def call(layer: Layer, own, inputs, name):
        import tensorflow

        return function(tensorflow, layer, inputs, name)

    return call


# ---- the table ----

_ATTENTION = (
    "{count}x a sigmoid or a product of tensors (attention): passes over memory that no convolution takes along"
)
_LEAKY = "{count}x a leaky or parametric ReLU, an operator of its own; a ReLU would be part of its convolution"

OPERATORS: dict[str, Operator] = {
    "input": Operator(
        onnx=_plain("Identity"),
        tensorflow=lambda layer, own, x, name: x[0],
        inputs=0,
        gives=lambda layer, read: (3, max(layer.upscale, 1)),
    ),
    "conv": Operator(
        onnx=_onnx_conv,
        tensorflow=_tf_conv,
        attributes={"kernel": _kernel, "bias": _truth, "init": _text, "trainable": _truth},
        weights=_conv_weights,
        gives=lambda layer, read: (layer.channels, read[0].upscale),
        reach=_conv_reach,
    ),
    "strided_conv": Operator(  # without padding; what it gives has a size of its own (COARSE), as a pool's result
        onnx=_onnx_strided,
        tensorflow=_tf_strided,
        attributes={"kernel": _kernel, "stride": _whole(2, LARGEST_BLOCK), "bias": _truth, "init": _text},
        weights=_conv_weights,
        gives=_coarse,
        reach=lambda layer, axis, reach: None,
    ),
    "max_pool": Operator(
        onnx=_onnx_max_pool,
        tensorflow=_tf(
            lambda tf, layer, x, name: tf.nn.max_pool2d(
                x[0], layer.attributes["side"], layer.attributes["stride"], "VALID", name=name
            )
        ),
        attributes={"side": _whole(1, LARGEST_KERNEL), "stride": _whole(1, LARGEST_BLOCK)},
        gives=_coarse,
        reach=lambda layer, axis, reach: None,
        homogeneous=True,
        dsp="{count}x a max pool, whose grid does not follow a tile's place: tiles are near the whole picture's result",
    ),
    "resize_to": Operator(
        onnx=_onnx_resize_to,
        tensorflow=_tf_resize_to,
        inputs=2,
        gives=_brought_back,
        reach=lambda layer, axis, reach: reach,
        homogeneous=True,
        dsp="{count}x a bilinear enlargement from a small grid",
    ),
    "batch_norm": Operator(
        onnx=_onnx_batch_norm,
        tensorflow=_tf_batch_norm,
        attributes={"epsilon": _number, "decay": _number, "gamma": _number},
        weights=_batch_norm_weights,
    ),
    "prelu": Operator(
        onnx=lambda layer, own: [OnnxNode("PRelu", {"alpha": own["alpha"].reshape(-1, 1, 1)})],
        tensorflow=_tf_prelu,
        weights=lambda layer, channels: {"alpha": (layer.channels,)},
        pointwise=True,
        homogeneous=True,
        dsp=_LEAKY,
    ),
    "relu": Operator(
        onnx=_plain("Relu"),
        tensorflow=_tf(lambda tf, layer, x, name: tf.nn.relu(x[0], name=name)),
        pointwise=True,
        homogeneous=True,
    ),
    "leaky_relu": Operator(
        onnx=lambda layer, own: [OnnxNode("LeakyRelu", {}, {"alpha": float(layer.attributes["slope"])})],
        tensorflow=_tf(lambda tf, layer, x, name: tf.nn.leaky_relu(x[0], layer.attributes["slope"], name=name)),
        attributes={"slope": _number},
        pointwise=True,
        homogeneous=True,
        dsp=_LEAKY,
    ),
    "tanh": Operator(
        onnx=_plain("Tanh"), tensorflow=_tf(lambda tf, layer, x, name: tf.math.tanh(x[0], name=name)), pointwise=True
    ),
    "sigmoid": Operator(
        onnx=_plain("Sigmoid"),
        tensorflow=_tf(lambda tf, layer, x, name: tf.math.sigmoid(x[0], name=name)),
        pointwise=True,
        dsp=_ATTENTION,
    ),
    "silu": Operator(  # x * sigmoid(x) (Elfwing et al. 2018), which ONNX says in two nodes
        onnx=lambda layer, own: [OnnxNode("Sigmoid", suffix="sigmoid"), OnnxNode("Mul", reads=("sigmoid",))],
        tensorflow=_tf(
            lambda tf, layer, x, name: tf.multiply(
                x[0], tf.math.sigmoid(x[0], name=name and f"{name}/sigmoid"), name=name
            )
        ),
        pointwise=True,
        dsp=_ATTENTION,
    ),
    "clip": Operator(
        onnx=lambda layer, own: [
            OnnxNode("Clip", {"low": np.array(layer.attributes["low"]), "high": np.array(layer.attributes["high"])})
        ],
        tensorflow=_tf(
            lambda tf, layer, x, name: tf.clip_by_value(
                x[0], layer.attributes["low"], layer.attributes["high"], name=name
            )
        ),
        attributes={"low": _number, "high": _number},
        pointwise=True,
    ),
    "scale": Operator(
        onnx=lambda layer, own: [OnnxNode("Mul", {"factor": np.array(layer.attributes["factor"])})],
        tensorflow=_tf(lambda tf, layer, x, name: tf.multiply(x[0], layer.attributes["factor"], name=name)),
        attributes={"factor": _number},
        pointwise=True,
        homogeneous=True,
    ),
    "depth_to_space": Operator(
        onnx=lambda layer, own: [
            OnnxNode("DepthToSpace", {}, {"blocksize": int(layer.attributes["block"]), "mode": "DCR"})
        ],
        tensorflow=_tf(lambda tf, layer, x, name: tf.nn.depth_to_space(x[0], layer.attributes["block"], name=name)),
        attributes={"block": _whole(1, LARGEST_BLOCK)},
        gives=_shuffled,
        reach=lambda layer, axis, reach: after_repeat(reach, layer.attributes["block"]),
        homogeneous=True,
    ),
    "space_to_depth": Operator(
        onnx=lambda layer, own: [OnnxNode("SpaceToDepth", {}, {"blocksize": int(layer.attributes["block"])})],
        tensorflow=_tf(lambda tf, layer, x, name: tf.nn.space_to_depth(x[0], layer.attributes["block"], name=name)),
        attributes={"block": _whole(1, LARGEST_BLOCK)},
        gives=_gathered,
        reach=lambda layer, axis, reach: after_gathering(reach, layer.attributes["block"]),
        homogeneous=True,
    ),
    "resize": Operator(
        onnx=_onnx_resize,
        tensorflow=_tf(lambda tf, layer, x, name: nearest(x[0], layer.attributes["factor"], name=name)),
        attributes={"factor": _whole(1, LARGEST_BLOCK)},
        gives=_enlarged,
        reach=lambda layer, axis, reach: after_repeat(reach, layer.attributes["factor"]),
        homogeneous=True,
        dsp="{count}x a nearest-neighbour enlargement: cheap by itself, but the convolution behind it works on all the "
        "new pixels, where one before a pixel shuffle works on the old",
    ),
    "global_average_pool": Operator(
        onnx=_plain("GlobalAveragePool"),
        tensorflow=_tf(lambda tf, layer, x, name: tf.reduce_mean(x[0], axis=[1, 2], keepdims=True, name=name)),
        gives=lambda layer, read: (read[0].channels, 0),
        reach=lambda layer, axis, reach: None,
        homogeneous=True,
        dsp="{count}x a mean over the whole picture: it waits for all of a tensor before the next operator may begin, "
        "and a tile's mean is not the picture's. By Qualcomm's cost model a light RCAN takes 1.5 times as long with "
        "its channel attention as without",
    ),
    "add": Operator(
        onnx=_plain("Add"),
        tensorflow=_tf(lambda tf, layer, x, name: tf.add(x[0], x[1], name=name)),
        inputs=2,
        gives=_paired,
    ),
    "multiply": Operator(
        onnx=_plain("Mul"),
        tensorflow=_tf(lambda tf, layer, x, name: tf.multiply(x[0], x[1], name=name)),
        inputs=2,
        gives=_paired,
        dsp=_ATTENTION,
    ),
    "concat": Operator(
        onnx=lambda layer, own: [OnnxNode("Concat", {}, {"axis": 1})],
        tensorflow=_tf(lambda tf, layer, x, name: tf.concat(x, axis=-1, name=name or "concat")),
        inputs=None,
        gives=_joined,
        dsp="{count}x a concatenation: it copies its inputs, which share one 8-bit grid",
    ),
}
