"""SESR (Bhardwaj et al. 2022, "Collapsible Linear Blocks for Super-Efficient Super Resolution", MLSys).

    describe("sesr", {"width": 16, "blocks": 5})        # SESR-M5; XL has width 32 and 11 blocks

5x5 convolutions at both ends, 3x3 ones between them inside one long skip, and the enlarged picture itself added to the
result. Each convolution trains as a wide one (`training.expand` here), and the short skips around the middle ones are
part of their kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register

ACTIVATIONS = ("prelu", "relu")


@dataclass(frozen=True)
class Options:
    width: int = 16
    blocks: int = 5
    activation: str = "prelu"


@register("sesr", Options, choices={"activation": ACTIVATIONS})
def describe(options: Options, scale: int) -> Graph:
    """The clip to the picture's range is added."""
    net = Builder(scale=scale)
    x = net.conv(net.lr, options.width, 5, name="head", init="he")
    x = head = net.apply(options.activation, x, name="head_act")
    for i in range(1, options.blocks + 1):
        x = net.conv(x, options.width, 3, name=f"block{i}", init="residual")
        x = net.apply(options.activation, x, name=f"block{i}_act")
    x = net.conv(net.add(x, head, name="body_add"), 3 * scale**2, 5, name="tail", init="zeros")
    anchor = net.conv(net.lr, 3 * scale**2, 1, name="anchor", init="anchor", trainable=False)
    x = net.clip(net.add(x, anchor, name="residual"), name="picture")
    return net.graph(net.depth_to_space(x, scale, name="shuffle"), network="sesr", options=vars(options))
