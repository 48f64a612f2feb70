"""SRVGGNetCompact (Wang et al. 2021, "Real-ESRGAN", its small networks): 3x3 convolutions at LR size, one shuffle.

    describe("srvgg", {"width": 64, "depth": 18, "activation": "prelu"})     # realesr-general-x4v3 has depth 34

The residual that is added is the enlarged picture itself (nearest neighbour), as in `mobile`; here every convolution is
3x3, all have the same width, and the activation is a choice. With `activation: clip` it is QuickSRNet's shape
(`anchor: 0` the small and the medium one's), with `activation: relu` ABPN's, with `luma: true` ECBSR's: a network that
was trained on brightness alone, whose colours its anchor enlarges.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import ConfigError
from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register

ACTIVATIONS = ("prelu", "relu", "leaky_relu", "silu", "clip")
SLOPE = 0.1  # of leaky_relu, as in the authors' code


@dataclass(frozen=True)
class Options:
    width: int = 64
    depth: int = 18  # convolutions, first and last included
    activation: str = "prelu"
    anchor: int = 1  # side of the convolution that enlarges the picture itself; 0 for none
    luma: bool = False  # a fixed 1x1 convolution in front makes one channel of three


@register("srvgg", Options, choices={"activation": ACTIVATIONS, "anchor": (0, 1, 3, 5)})
def describe(options: Options, scale: int) -> Graph:
    """621,616 parameters at the defaults and scale 4, 192 of them the fixed anchor; the clip is added.

    Raises:
        ConfigError: a depth below 2.
    """
    if options.depth < 2:
        raise ConfigError("srvgg needs at least two convolutions", where="model.options")
    extra = {"leaky_relu": {"slope": SLOPE}, "clip": {"low": 0.0, "high": 1.0}}.get(options.activation, {})
    net = Builder(scale=scale)
    x = net.conv(net.lr, 1, 1, name="luma", trainable=False) if options.luma else net.lr
    for i in range(1, options.depth):
        x = net.conv(x, options.width, 3, name=f"conv{i}", init="he" if i == 1 else "residual")
        x = net.apply(options.activation, x, name=f"act{i}", **extra)
    x = net.conv(x, 3 * scale**2, 3, name=f"conv{options.depth}", init="zeros")
    if options.anchor:
        start = "anchor" if options.anchor == 1 else "bicubic" if options.anchor == 5 else "glorot"
        anchor = net.conv(net.lr, 3 * scale**2, options.anchor, name="anchor", init=start, trainable=False)
        x = net.add(x, anchor, name="residual")
    x = net.clip(x, name="picture")
    return net.graph(net.depth_to_space(x, scale, name="shuffle"), network="srvgg", options=vars(options))
