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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from snpe_srgan.errors import ConfigError, InputError, did_you_mean
from snpe_srgan.models.operators import COARSE, OPERATORS

T = TypeVar("T")
FORMAT = 1
POOLED = 0  # the `upscale` of a layer that gives one pixel for the whole picture
MOST_CHANNELS, MOST_UPSCALE = 1 << 16, 64  # far beyond any network, and small enough to compute with
MOST_LAYERS, MOST_SCALE, LONGEST_NAME = 5000, 16, 200
OPTIONAL = ("init", "gamma", "decay")  # attributes that only a fresh training reads


@dataclass(frozen=True)
class Layer:
    """One layer: what it is, what it reads, how many channels it gives and at which multiple of the LR size
    (`POOLED`: one pixel, whatever that size). In a network that begins with a pixel unshuffle the multiples are those
    of its smallest grid: the input is then a multiple itself (`Graph.unit`)."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int
    upscale: int
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def weight_shapes(self, in_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the layer's arrays, by array name (without the layer's own name)."""
        return OPERATORS[self.kind].weights(self, in_channels)

    def check(self) -> None:
        """`InputError` unless the description is one that can be computed: files come from strangers."""
        operator = OPERATORS.get(self.kind)
        if operator is None:
            hint = did_you_mean(self.kind, OPERATORS)
            raise InputError(f"unknown kind of layer '{self.kind[:40]}'", where=self.name, hint=hint)
        few = len(self.inputs) < 2 if operator.inputs is None else len(self.inputs) != operator.inputs
        if few:
            raise InputError(f"a {self.kind} layer cannot have {len(self.inputs)} inputs", where=self.name)
        if not 0 <= self.channels <= MOST_CHANNELS or not COARSE <= self.upscale <= MOST_UPSCALE:
            raise InputError(f"{self.channels!r:.20} channels at x{self.upscale!r:.20} cannot be", where=self.name)
        for name, right in operator.attributes.items():
            if name not in self.attributes and name in OPTIONAL:
                continue
            if name not in self.attributes or not right(self.attributes[name]):
                value = repr(self.attributes.get(name, "missing"))[:40]
                raise InputError(f"the attribute '{name}' of a {self.kind} layer cannot be {value}", where=self.name)
        for name in self.attributes:
            if name not in operator.attributes:
                raise InputError(f"a {self.kind} layer has no attribute '{name[:40]}'", where=self.name)

    def check_result(self, inputs: Sequence[Layer]) -> None:
        """`InputError` unless channels and size are what the layer makes of its inputs."""
        wanted = OPERATORS[self.kind].gives(self, inputs)
        if (self.channels, self.upscale) != wanted:
            read = " and ".join(f"{item.channels} at x{item.upscale}" for item in inputs[:4]) or "nothing"
            made = f"{self.channels} channels at x{self.upscale}"
            raise InputError(f"a {self.kind} layer cannot make {made} of {read}", where=self.name)


@dataclass(frozen=True)
class Graph:
    """A whole generator: LR in [0, 1] NHWC RGB -> SR in [-1, 1], `scale` times as high and wide."""

    network: str
    scale: int
    options: Mapping[str, Any]
    layers: tuple[Layer, ...]

    def __post_init__(self):
        seen: dict[str, Layer] = {}
        if not _is_name(self.network) or not 1 <= self.scale <= MOST_SCALE or len(self.layers) > MOST_LAYERS:
            raise InputError(
                f"a network has a name, a scale from 1 to {MOST_SCALE} and at most {MOST_LAYERS} layers",
                where=self.network[:40],
            )
        for layer in self.layers:
            if layer.name in seen or not _is_name(layer.name):
                raise InputError(
                    f"layers have names of at most {LONGEST_NAME} characters, each its own", where=layer.name[:80]
                )
            layer.check()
            for name in layer.inputs:
                if name not in seen:
                    raise InputError(f"reads '{name[:40]}', which comes later or not at all", where=layer.name)
            layer.check_result([seen[name] for name in layer.inputs])
            seen[layer.name] = layer
        if not self.layers or self.layers[0].kind != "input":
            raise InputError("the first layer must be the input", where=self.network)
        last = self.layers[-1]
        if last.channels != 3 or last.upscale != self.scale * self.unit:
            raise InputError(
                f"the network gives {last.channels} channels at x{last.upscale / self.unit:g}, not RGB at "
                f"x{self.scale}",
                where=last.name,
            )

    @property
    def output(self) -> str:
        """Name of the last layer, which gives the SR picture."""
        return self.layers[-1].name

    @property
    def unit(self) -> int:
        """LR pixels a side of one pixel of the smallest grid: height and width must be multiples of it."""
        return self.layers[0].upscale

    def layer(self, name: str) -> Layer:
        """The layer of that name; `StopIteration` where there is none."""
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
        """The description as compact JSON, as an `.npz` stores it; `graph_from_json` reads it back."""
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"))


def graph_from_json(text: str, *, where: object = None) -> Graph:
    """The graph stored in an `.npz`; `InputError` when the text is not one."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise InputError(f"architecture format {str(data['format'])[:40]} is not known", where=where)
        layers = tuple(
            Layer(
                name=_typed(item["name"], str),
                kind=_typed(item["kind"], str),
                inputs=tuple(_typed(name, str) for name in _typed(item["inputs"], list)),
                channels=_typed(item["channels"], int),
                upscale=_typed(item["upscale"], int),
                attributes=_typed(item["attributes"], dict),
            )
            for item in _typed(data["layers"], list)[: MOST_LAYERS + 1]
        )
        return Graph(
            network=_typed(data["network"], str), scale=_typed(data["scale"], int),
            options=_typed(data["options"], dict), layers=layers,
        )  # fmt: skip
    except InputError as error:
        place = ", ".join(str(part) for part in (where, error.where) if part is not None)
        raise InputError(error.what, where=place or None, hint=error.hint) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the architecture in the file is damaged ({error!r:.80})", where=where) from error


def _typed(value: object, kind: type[T]) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


class Builder:
    """Collects layers; each method adds one and returns its name, to be the input of the next."""

    def __init__(self, *, scale: int, unit: int = 1):
        """`unit`: by how much the network's pixel unshuffles make its input smaller (see `Layer`)."""
        self._scale = scale
        self._layers: dict[str, Layer] = {}
        self.lr = self._add("lr", "input", (), 3, unit)

    def _add(self, name: str, kind: str, inputs: tuple[str, ...], channels: int, upscale: int, **attributes) -> str:
        if name in self._layers:
            raise ValueError(f"two layers named {name}")
        if len(self._layers) >= MOST_LAYERS:
            raise ConfigError(f"the network has more than {MOST_LAYERS:,} layers", where="model.options")
        self._layers[name] = Layer(name, kind, inputs, channels, upscale, attributes)
        return name

    def channels(self, x: str) -> int:
        """Channels that a layer gives."""
        return self._layers[x].channels

    def apply(self, kind: str, x: str, *, name: str, **attributes) -> str:
        """Any kind of layer that keeps size and channels, by its name in `operators.OPERATORS`.

        Args:
            kind: a key of `OPERATORS`; layers that change size or channels have a method of their own.
            attributes: what the kind's record asks for. They are checked when the `Graph` is made, not here.

        Raises:
            ValueError: the name is taken.
            ConfigError: the network has too many layers.
        """
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

        Args:
            channels: of the output.
            kernel: side in pixels of the layer's own grid, or (height, width).
            trainable: False for weights that are part of the design, which training leaves alone.
        """
        sides = [kernel, kernel] if isinstance(kernel, int) else list(kernel)
        return self._add(
            name, "conv", (x,), channels, self._layers[x].upscale,
            kernel=sides, bias=bias, init=init, trainable=trainable,
        )  # fmt: skip

    def strided_conv(self, x: str, channels: int, kernel: int, stride: int, *, name: str, init: str = "he") -> str:
        """No padding: its result lies on a coarse grid of its own (`operators.COARSE`).

        Args:
            channels: of the output.
            kernel: side of the square kernel in pixels of the input's grid.
            stride: in pixels of the input's grid, 2 or more.
            init: as in `conv`.
        """
        return self._add(
            name, "strided_conv", (x,), channels, COARSE, kernel=[kernel, kernel], stride=stride, bias=True, init=init
        )

    def max_pool(self, x: str, side: int, stride: int, *, name: str) -> str:
        """No padding; the result lies on a coarse grid of its own.

        Args:
            side: of the square window, in pixels of the input's grid.
            stride: in pixels of the input's grid.
        """
        return self._add(name, "max_pool", (x,), self._layers[x].channels, COARSE, side=side, stride=stride)

    def resize_to(self, x: str, like: str, *, name: str) -> str:
        """A coarse grid back to the size of `like`, bilinear.

        Args:
            x: a layer on a coarse grid (of `strided_conv` or `max_pool`); its channels are kept.
            like: a layer whose height and width are taken; not its values.
        """
        return self._add(name, "resize_to", (x, like), self._layers[x].channels, self._layers[like].upscale)

    def prelu(self, x: str, *, name: str) -> str:
        """max(x, 0) + alpha * min(x, 0), one alpha a channel, shared over space."""
        return self.apply("prelu", x, name=name)

    def relu(self, x: str, *, name: str) -> str:
        """max(x, 0)."""
        return self.apply("relu", x, name=name)

    def leaky_relu(self, x: str, *, name: str, slope: float = 0.2) -> str:
        """x where it is positive, slope * x elsewhere; the slope is fixed, one for all channels.

        Args:
            slope: in (0, 1).
        """
        return self.apply("leaky_relu", x, name=name, slope=slope)

    def batch_norm(self, x: str, *, name: str, epsilon: float = 1e-3, decay: float = 0.9, gamma: float = 1.0) -> str:
        """`gamma` is what the scale starts from; 0 makes a residual branch start as nothing.

        Args:
            epsilon: added to the variance.
            decay: how much of the moving mean and variance a training step keeps, in [0, 1].
        """
        return self.apply("batch_norm", x, name=name, epsilon=epsilon, decay=decay, gamma=gamma)

    def depth_to_space(self, x: str, block: int, *, name: str) -> str:
        """TensorFlow's order (ONNX: DCR): out[h*b+i, w*b+j, c] = in[h, w, (i*b+j)*C + c].

        Args:
            block: factor to each side; the input's channels must be a multiple of its square.
        """
        layer = self._layers[x]
        return self._add(name, "depth_to_space", (x,), layer.channels // block**2, layer.upscale * block, block=block)

    def space_to_depth(self, x: str, block: int, *, name: str) -> str:
        """TensorFlow's order: out[h, w, (i*b+j)*C + c] = in[h*b+i, w*b+j, c]. A pixel unshuffle.

        Args:
            block: factor to each side; the input's height and width must be multiples of it.
        """
        layer = self._layers[x]
        return self._add(name, "space_to_depth", (x,), layer.channels * block**2, layer.upscale // block, block=block)

    def resize(self, x: str, factor: int, *, name: str) -> str:
        """Nearest neighbour: each pixel becomes factor x factor equal ones.

        Args:
            factor: a whole number, the same for height and width.
        """
        layer = self._layers[x]
        return self._add(name, "resize", (x,), layer.channels, layer.upscale * factor, factor=factor)

    def global_average_pool(self, x: str, *, name: str) -> str:
        """(n, h, w, c) -> (n, 1, 1, c), the mean of the whole picture: the network's reach is then the picture."""
        return self._add(name, "global_average_pool", (x,), self._layers[x].channels, POOLED)

    def add(self, x: str, y: str, *, name: str) -> str:
        """x + y, value by value.

        Args:
            x: its size and channels are kept.
            y: of the same size and channels, or (n, 1, 1, c).
        """
        return self._add(name, "add", (x, y), self._layers[x].channels, self._layers[x].upscale)

    def multiply(self, x: str, gate: str, *, name: str) -> str:
        """(n, h, w, c) times a gate (n, h, w, c) or (n, 1, 1, c).

        Args:
            gate: a layer with as many channels as `x`.
        """
        return self._add(name, "multiply", (x, gate), self._layers[x].channels, self._layers[x].upscale)

    def scale(self, x: str, factor: float, *, name: str) -> str:
        """Times a positive constant. Behind a convolution it costs nothing: export folds it in.

        Args:
            factor: above 0; passes that move factors through layers rely on it.
        """
        return self.apply("scale", x, name=name, factor=factor)

    def concat(self, xs: list[str], *, name: str) -> str:
        """Channels of several layers of one size side by side, in the order given."""
        return self._add(
            name, "concat", tuple(xs), sum(self._layers[x].channels for x in xs), self._layers[xs[0]].upscale
        )

    def tanh(self, x: str, *, name: str) -> str:
        """tanh(x), which lies in (-1, 1)."""
        return self.apply("tanh", x, name=name)

    def sigmoid(self, x: str, *, name: str) -> str:
        """1 / (1 + exp(-x)), which lies in (0, 1)."""
        return self.apply("sigmoid", x, name=name)

    def clip(self, x: str, *, name: str, low: float = -1.0, high: float = 1.0) -> str:
        """min(max(x, low), high).

        Args:
            low, high: the defaults are the range of an SR picture; [0, 1] is that of an LR picture.
        """
        return self.apply("clip", x, name=name, low=low, high=high)

    def graph(self, output: str, *, network: str, options: Mapping[str, object]) -> Graph:
        """The finished description; `output` must be the layer added last.

        Args:
            output: must give 3 channels at the scale.
            network: its name, for messages and the model card.
            options: what the network was made with; stored, and never read to rebuild it.

        Raises:
            ValueError: `output` was not added last.
            InputError: a layer, or how they fit together, is not one that can be computed.
        """
        if next(reversed(self._layers)) != output:
            raise ValueError("the output must be the last layer")
        return Graph(network=network, scale=self._scale, options=dict(options), layers=tuple(self._layers.values()))
