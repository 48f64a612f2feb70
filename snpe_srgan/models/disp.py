"""DISP, team 18's entry of the NTIRE 2026 challenge on efficient super-resolution: plain convolutions and SiLU.

    describe("disp", {"width": 32})

Four blocks of four 3x3 convolutions, a SiLU behind each, and a skip around each block; a 1x1 convolution, the long skip
and the pixel shuffle.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register


@dataclass(frozen=True)
class Options:
    width: int = 32
    blocks: int = 4
    depth: int = 4  # convolutions of a block


@register("disp", Options)
def describe(options: Options, scale: int) -> Graph:
    """163,792 parameters at the defaults and scale 4, as in the authors' code; the clip to the picture's range is
    added."""
    net = Builder(scale=scale)
    x = head = net.conv(net.lr, options.width, 3, name="head", init="he")
    for i in range(1, options.blocks + 1):
        y = x
        for k in range(1, options.depth + 1):
            y = net.conv(y, options.width, 3, name=f"block{i}_conv{k}", init="he_small" if k == options.depth else "he")
            y = net.apply("silu", y, name=f"block{i}_act{k}")
        x = net.add(y, x, name=f"block{i}_add")
    x = net.add(net.conv(x, options.width, 1, name="body"), head, name="body_add")
    x = net.depth_to_space(net.conv(x, 3 * scale**2, 3, name="tail", init="icnr"), scale, name="shuffle")
    return net.graph(net.clip(x, name="picture"), network="disp", options=vars(options))
