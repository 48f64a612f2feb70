"""XLSR (Ayazoglu 2021, "Extremely Lightweight Quantization Robust Real-Time Single-Image Super Resolution for Mobile
Devices", CVPR workshops).

    describe("xlsr", {"width": 32})

Three blocks of a 3x3 convolution, a ReLU and a 1x1 convolution, whose result a second look at the picture joins. The
authors' 3x3 convolutions fall into four groups of channels; here they are whole, and weights of theirs have zeros
between the groups: the same picture for four times the products.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register


@dataclass(frozen=True)
class Options:
    width: int = 32
    beside: int = 16  # channels of the second look
    blocks: int = 3


@register("xlsr", Options)
def describe(options: Options, scale: int) -> Graph:
    """48,752 parameters at the defaults and scale 4, more than the paper's, whose convolutions are grouped."""
    net = Builder(scale=scale)
    beside = net.conv(net.lr, options.beside, 3, name="beside", init="he")
    x = net.relu(net.conv(net.lr, options.width, 3, name="head", init="he"), name="head_relu")
    x = net.conv(x, options.width, 1, name="mix")
    for i in range(1, options.blocks + 1):
        x = net.relu(net.conv(x, options.width, 3, name=f"block{i}_conv1", init="he"), name=f"block{i}_relu")
        x = net.conv(x, options.width, 1, name=f"block{i}_conv2")
    x = net.conv(net.concat([x, beside], name="both"), options.width, 1, name="fuse", init="he")
    x = net.conv(net.relu(x, name="fuse_relu"), 3 * scale**2, 3, name="tail", init="icnr")
    return net.graph(
        net.clip(net.depth_to_space(x, scale, name="shuffle"), name="picture"), network="xlsr", options=vars(options)
    )
