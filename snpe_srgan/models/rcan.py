"""RCAN (Zhang et al. 2018, "Image Super-Resolution Using Very Deep Residual Channel Attention Networks").

    describe("rcan", {})                                        # the paper's: 10 groups x 20 blocks x 64 channels
    describe("rcan", {"groups": 3, "blocks": 4, "width": 32})   # light: a two-core training and a phone can bear it

A block's channel attention (equations 5 to 10) multiplies each channel by a number in (0, 1) that is computed from the
*mean of every channel over the whole picture*. So no tile alone gives what the whole picture gives: host engines run
whole pictures as far as memory goes, and where tiles are needed (a .dlc's fixed input) each tile has means of its own,
which `run` says (runtimes/tiling.py). `channel_attention: false` leaves it out, one of the paper's own ablations:
the same residual groups, which see only so far, and tile exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register
from snpe_srgan.models.srgan import STAGES


@dataclass(frozen=True)
class Options:
    groups: int = 10
    blocks: int = 20  # in each group
    width: int = 64
    reduction: int = 16  # by how much the attention's middle is narrower
    channel_attention: bool = True


@register("rcan", Options, scales=STAGES)
def describe(options: Options, scale: int) -> Graph:
    """15,592,355 parameters at the defaults and scale 4, and 917 GMACs for a 1280x720 output, as published.

    Two things differ from the authors' code. The mean colour of DIV2K is not subtracted: the first bias does that. And
    the last convolution of every residual branch starts as 0, so that a fresh network is its skips: 200 nested fresh
    branches would make its features grow by orders of magnitude.
    """
    net = Builder(scale=scale)

    def conv(x: str, name: str, init: str = "glorot") -> str:
        return net.conv(x, options.width, 3, name=name, init=init)

    x = head = conv(net.lr, "head")
    for i in range(1, options.groups + 1):
        start = x
        for j in range(1, options.blocks + 1):
            block = f"group{i}_block{j}"
            y = net.relu(conv(x, f"{block}_conv1"), name=f"{block}_relu")
            y = conv(y, f"{block}_conv2", "zeros")
            if options.channel_attention:
                y = channel_attention(net, y, reduction=options.reduction, name=block)
            x = net.add(x, y, name=f"{block}_add")
        x = net.add(start, conv(x, f"group{i}_conv", "zeros"), name=f"group{i}_add")
    x = net.add(head, conv(x, "body", "zeros"), name="body_add")
    for i, factor in enumerate(STAGES[scale], 1):
        x = net.conv(x, options.width * factor**2, 3, name=f"up{i}", init="icnr")
        x = net.depth_to_space(x, factor, name=f"up{i}_shuffle")
    x = net.clip(net.conv(x, 3, 3, name="tail"), name="clip")
    return net.graph(x, network="rcan", options=vars(options))


def channel_attention(net: Builder, x: str, *, reduction: int, name: str) -> str:
    """x * sigmoid(W2 relu(W1 mean(x))), a factor a channel. The two convolutions work on one pixel.

    Args:
        x: the layer that is attended to; its size and channels are kept.
        reduction: by how much the middle has fewer channels than `x`; at least one channel stays.
        name: what the new layers begin with.
    """
    channels = net.channels(x)
    y = net.global_average_pool(x, name=f"{name}_mean")
    y = net.conv(y, max(channels // reduction, 1), 1, name=f"{name}_squeeze")
    y = net.conv(net.relu(y, name=f"{name}_squeeze_relu"), channels, 1, name=f"{name}_excite")
    return net.multiply(x, net.sigmoid(y, name=f"{name}_gate"), name=f"{name}_scaled")
