"""SPAN (Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPR workshops).

    describe("span", {"width": 48})

Six blocks of three convolutions; what a block gives is multiplied by an odd function of itself, sigmoid(x) - 0.5, which
costs no parameter. The convolutions are trained as wide ones (`training.expand` here, Conv3XC there) and run as plain
3x3. On a DSP the products of tensors are passes over memory that no convolution takes along (models/operators.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register

BLOCKS = 6


@dataclass(frozen=True)
class Options:
    width: int = 48
    normalize: bool = False  # a fixed 1x1 convolution in front, as the authors' pixel range and mean are


@register("span", Options)
def describe(options: Options, scale: int) -> Graph:
    """426,288 parameters at the defaults and scale 4; the clip to the picture's range is added."""
    net = Builder(scale=scale)
    x = net.lr
    if options.normalize:
        x = net.conv(x, 3, 1, name="normalize", init="glorot", trainable=False)
    head = net.conv(x, options.width, 3, name="head", init="he")
    x, firsts, given = head, [], []
    for i in range(1, BLOCKS + 1):
        x, first = _block(net, x, options.width, name=f"block{i}")
        firsts.append(first)
        given.append(x)
    last = net.conv(x, options.width, 3, name="body", init="he_small")
    x = net.concat([head, last, given[0], firsts[-1]], name="features")
    x = net.conv(net.conv(x, options.width, 1, name="fuse"), 3 * scale**2, 3, name="tail", init="icnr")
    return net.graph(
        net.clip(net.depth_to_space(x, scale, name="shuffle"), name="picture"), network="span", options=vars(options)
    )


def _block(net: Builder, x: str, width: int, *, name: str) -> tuple[str, str]:
    """(the block's output, its first convolution's): (c3 + x) * (sigmoid(c3) - 0.5), with SiLU between."""
    first = net.conv(x, width, 3, name=f"{name}_conv1", init="he_small")
    y = net.conv(net.apply("silu", first, name=f"{name}_act1"), width, 3, name=f"{name}_conv2", init="he_small")
    y = net.conv(net.apply("silu", y, name=f"{name}_act2"), width, 3, name=f"{name}_conv3", init="he_small")
    # sigmoid(y) - 0.5 = tanh(y / 2) / 2, in operators that every runtime has whole
    gate = net.scale(net.tanh(net.scale(y, 0.5, name=f"{name}_half"), name=f"{name}_gate"), 0.5, name=f"{name}_weight")
    return net.multiply(net.add(y, x, name=f"{name}_add"), gate, name=f"{name}_out"), first
