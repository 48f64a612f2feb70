"""A plain network for 8-bit DSPs: 3x3 convolutions and ReLU at LR size, an anchor residual, one shuffle at the end.

    describe("mobile", {"width": 32, "depth": 8})

Every choice is for integer arithmetic (Du et al. 2021, "Anchor-based Plain Net for Mobile Image Super-Resolution"):
no long chain of additions in which rounding noise grows; the residual that is added is the enlarged picture itself, so
the convolutions carry only small differences; the clip gives the output a fixed range; 32 channels fill the vector
unit. One shuffle by 4 costs the DSP half of what two by 2 cost, at a price: Qualcomm's compiler computes it wrongly at
8 bits for some widths, none of them a multiple of 4 (runtimes/strip.py holds every .dlc to that).

The last convolution, which makes the 48 channels of the shuffle, is 1x1: as a 3x3 one it would hold a quarter of all
weights, which are worth more as two further 3x3 layers before it. It also reads the first layer's features, which the
layers between need not carry along then (docs/results.md has both by their dB).

A fresh network *is* nearest-neighbour upsampling (its last convolution starts at 0), and training improves on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import ConfigError
from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register


@dataclass(frozen=True)
class Options:
    width: int = 32
    depth: int = 8  # convolutions, first and last included
    last: int = 1  # the last one's kernel; all others are 3x3
    skip: bool = True  # the last one reads the first one's features too


@register("mobile", Options, choices={"last": (1, 3)})
def describe(options: Options, scale: int) -> Graph:
    """59,696 parameters at the defaults and scale 4.

    Raises:
        ConfigError: a depth below 2.
    """
    if options.depth < 2:
        raise ConfigError("mobile needs at least two convolutions", where="model.options")
    net = Builder(scale=scale)
    x = net.lr
    for i in range(1, options.depth):
        x = net.conv(x, options.width, 3, name=f"conv{i}", init="he" if i == 1 else "residual")
        x = net.relu(x, name=f"relu{i}")
    if options.skip and options.depth > 2:  # of two convolutions the last reads the first as it is
        x = net.concat(["relu1", x], name="skip")
    x = net.conv(x, 3 * scale**2, options.last, name=f"conv{options.depth}", init="zeros")
    anchor = net.conv(net.lr, 3 * scale**2, 1, name="anchor", init="anchor", trainable=False)
    x = net.clip(net.add(x, anchor, name="residual"), name="clip")
    return net.graph(net.depth_to_space(x, scale, name="shuffle"), network="mobile", options=vars(options))
