"""A generator as plain data: an ordered list of layers.

A network's file describes itself once, through a `Builder`; everything else reads the description: the TensorLayer
model that trains (`models/tensorlayer_model.py`), the ONNX graph that runs (`onnx_graphs/from_layers.py`), parameters,
MACs and receptive field (`models/cost.py`). The description is stored inside the `.npz`, so a network that was pruned
or factorized is rebuilt from its own file, whatever the registry says.

    net = Builder(scale=4)
    x = net.conv(net.lr, 64, 9, name="head")
    x = net.prelu(x, name="head_prelu")
    ...
    graph = net.graph(net.tanh(x, name="sr_tanh"), network="srgan", options={...})

Weights are a flat dict of float32 arrays named `layer/array`, in TensorFlow's layouts:
`kernel` (h, w, in, out), `bias` (out,), `alpha` (channels,) for PReLU, `gamma / beta / mean / variance` (channels,).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from snpe_srgan.errors import InputError

FORMAT = 1
KINDS = {
    # kind: number of inputs (None: two or more)
    "input": 0,
    "conv": 1,
    "prelu": 1,
    "relu": 1,
    "leaky_relu": 1,
    "batch_norm": 1,
    "depth_to_space": 1,
    "tanh": 1,
    "clip": 1,
    "sigmoid": 1,
    "scale": 1,
    "resize": 1,
    "global_average_pool": 1,
    "add": 2,
    "multiply": 2,
    "concat": None,
}
POOLED = 0  # the `upscale` of a layer that gives one pixel for the whole picture


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, what it reads, how many channels it gives and at which multiple of the LR size
    (`POOLED`: one pixel, whatever that size)."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int
    upscale: int
    attributes: Mapping[str, object] = field(default_factory=dict)

    def weight_shapes(self, in_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the layer's arrays, by array name (without the layer's own name)."""
        if self.kind == "conv":
            kh, kw = self.attributes["kernel"]
            shapes = {"kernel": (kh, kw, in_channels, self.channels)}
            return shapes | {"bias": (self.channels,)} if self.attributes["bias"] else shapes
        if self.kind == "prelu":
            return {"alpha": (self.channels,)}
        if self.kind == "batch_norm":
            return {k: (self.channels,) for k in ("gamma", "beta", "mean", "variance")}
        return {}


@dataclass(frozen=True)
class Graph:
    """A whole generator: LR in [0, 1] NHWC RGB -> SR in [-1, 1], `scale` times as high and wide."""

    network: str
    scale: int
    options: Mapping[str, object]
    layers: tuple[Layer, ...]

    def __post_init__(self):
        seen: dict[str, Layer] = {}
        for layer in self.layers:
            wanted = KINDS.get(layer.kind, -1)
            if wanted == -1:
                raise InputError(f"unknown kind of layer '{layer.kind}'", where=layer.name)
            if layer.name in seen or not layer.name:
                raise InputError("layer names must be unique", where=layer.name)
            if (wanted is not None and len(layer.inputs) != wanted) or (wanted is None and len(layer.inputs) < 2):
                raise InputError(f"a {layer.kind} layer cannot have {len(layer.inputs)} inputs", where=layer.name)
            for name in layer.inputs:
                if name not in seen:
                    raise InputError(f"reads '{name}', which comes later or not at all", where=layer.name)
            seen[layer.name] = layer
        if not self.layers or self.layers[0].kind != "input":
            raise InputError("the first layer must be the input", where=self.network)
        last = self.layers[-1]
        if last.channels != 3 or last.upscale != self.scale:
            raise InputError(
                f"the network gives {last.channels} channels at x{last.upscale}, not RGB at x{self.scale}",
                where=last.name,
            )

    @property
    def output(self) -> str:
        return self.layers[-1].name

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def in_channels(self, layer: Layer) -> int:
        """Channels that arrive at a layer (the sum, for concat)."""
        return sum(self.layer(name).channels for name in layer.inputs)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every array of the network, `layer/array` -> shape, in layer order."""
        by_name = {layer.name: layer for layer in self.layers}
        shapes = {}
        for layer in self.layers:
            in_channels = sum(by_name[name].channels for name in layer.inputs)
            for array, shape in layer.weight_shapes(in_channels).items():
                shapes[f"{layer.name}/{array}"] = shape
        return shapes

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"))


def graph_from_json(text: str, *, where: object = None) -> Graph:
    """The graph stored in an `.npz`; `InputError` when the text is not one."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise InputError(f"architecture format {data['format']} is not known", where=where)
        layers = tuple(
            Layer(
                name=str(item["name"]),
                kind=str(item["kind"]),
                inputs=tuple(item["inputs"]),
                channels=int(item["channels"]),
                upscale=int(item["upscale"]),
                attributes=dict(item["attributes"]),
            )
            for item in data["layers"]
        )
        return Graph(network=data["network"], scale=int(data["scale"]), options=dict(data["options"]), layers=layers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the architecture in the file is damaged ({error!r})", where=where) from error


class Builder:
    """Collects layers; each method adds one and returns its name, to be the input of the next."""

    def __init__(self, *, scale: int):
        self._scale = scale
        self._layers: dict[str, Layer] = {}
        self.lr = self._add("lr", "input", (), 3, 1)

    def _add(self, name: str, kind: str, inputs: tuple[str, ...], channels: int, upscale: int, **attributes) -> str:
        if name in self._layers:
            raise ValueError(f"two layers named {name}")
        self._layers[name] = Layer(name, kind, inputs, channels, upscale, attributes)
        return name

    def channels(self, x: str) -> int:
        return self._layers[x].channels

    def _same(self, kind: str, x: str, name: str, **attributes) -> str:
        layer = self._layers[x]
        return self._add(name, kind, (x,), layer.channels, layer.upscale, **attributes)

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        name: str,
        bias: bool = True,
        init: str = "glorot",
        trainable: bool = True,
    ) -> str:
        """Stride 1, zero padding that keeps the size.

        `init`: glorot, he, he_small (a tenth of it), zeros; residual (`initialize.residual`); icnr (a depth_to_space
        follows: Aitken et al. 2017); anchor (the fixed 1x1 convolution that repeats RGB for a depth_to_space by `scale`
        and maps [0, 1] to [-1, 1]); bicubic (fixed too, 5x5, in [0, 1]); rgb, icnr_rgb, rgb_tanh (`pass_rgb`).
        """
        kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        return self._add(
            name, "conv", (x,), channels, self._layers[x].upscale,
            kernel=list(kernel), bias=bias, init=init, trainable=trainable,
        )  # fmt: skip

    def prelu(self, x: str, *, name: str) -> str:
        """max(x, 0) + alpha * min(x, 0), one alpha a channel, shared over space."""
        return self._same("prelu", x, name)

    def relu(self, x: str, *, name: str) -> str:
        return self._same("relu", x, name)

    def leaky_relu(self, x: str, *, name: str, slope: float = 0.2) -> str:
        return self._same("leaky_relu", x, name, slope=slope)

    def batch_norm(self, x: str, *, name: str, epsilon: float = 1e-3, decay: float = 0.9, gamma: float = 1.0) -> str:
        """`gamma` is what the scale starts from; 0 makes a residual branch start as nothing."""
        return self._same("batch_norm", x, name, epsilon=epsilon, decay=decay, gamma=gamma)

    def depth_to_space(self, x: str, block: int, *, name: str) -> str:
        """TensorFlow's order (ONNX: DCR): out[h*b+i, w*b+j, c] = in[h, w, (i*b+j)*C + c]."""
        layer = self._layers[x]
        return self._add(name, "depth_to_space", (x,), layer.channels // block**2, layer.upscale * block, block=block)

    def resize(self, x: str, factor: int, *, name: str) -> str:
        """Nearest neighbour: each pixel becomes factor x factor equal ones."""
        layer = self._layers[x]
        return self._add(name, "resize", (x,), layer.channels, layer.upscale * factor, factor=factor)

    def global_average_pool(self, x: str, *, name: str) -> str:
        """(n, h, w, c) -> (n, 1, 1, c), the mean of the whole picture: the network's reach is then the picture."""
        return self._add(name, "global_average_pool", (x,), self._layers[x].channels, POOLED)

    def add(self, x: str, y: str, *, name: str) -> str:
        return self._add(name, "add", (x, y), self._layers[x].channels, self._layers[x].upscale)

    def multiply(self, x: str, gate: str, *, name: str) -> str:
        """(n, h, w, c) times a gate (n, h, w, c) or (n, 1, 1, c)."""
        return self._add(name, "multiply", (x, gate), self._layers[x].channels, self._layers[x].upscale)

    def scale(self, x: str, factor: float, *, name: str) -> str:
        """Times a positive constant. Behind a convolution it costs nothing: export folds it in."""
        return self._same("scale", x, name, factor=factor)

    def concat(self, xs: list[str], *, name: str) -> str:
        return self._add(
            name, "concat", tuple(xs), sum(self._layers[x].channels for x in xs), self._layers[xs[0]].upscale
        )

    def tanh(self, x: str, *, name: str) -> str:
        return self._same("tanh", x, name)

    def sigmoid(self, x: str, *, name: str) -> str:
        return self._same("sigmoid", x, name)

    def clip(self, x: str, *, name: str, low: float = -1.0, high: float = 1.0) -> str:
        return self._same("clip", x, name, low=low, high=high)

    def graph(self, output: str, *, network: str, options: Mapping[str, object]) -> Graph:
        """The finished description; `output` must be the layer added last."""
        if next(reversed(self._layers)) != output:
            raise ValueError("the output must be the last layer")
        return Graph(network=network, scale=self._scale, options=dict(options), layers=tuple(self._layers.values()))
