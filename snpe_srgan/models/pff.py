"""PFF: progressive feature fusion, after PFFN (Zhang et al. 2021, "PFFN: Progressive Feature Fusion Network for
Lightweight Image Super-Resolution", ACM Multimedia, doi 10.1145/3474085.3475650).

    describe("pff", {})
    describe("pff", {"blocks": 2, "width": 64, "paths": 2})

SNPE-SRGAN names "PFF" as future work without a reference. Of what carries the name, PFFN is the one network for
lightweight super-resolution (the others remove haze or segment).

Only PFFN's abstract could be read. From it: a row of progressive attention blocks of several parallel but connected
paths with pixel attention, a dual attention (channel and spatial) inside each block, an upsampling with multi-scale
pixel attention, training by a cosine schedule. What it leaves open is chosen here, from what it builds on where that is
known: pixel attention is x * sigmoid(1x1 convolution of x), as Zhao et al. 2020 (PAN) define it; path p reads its part
of the block's input plus what path p - 1 gave; the spatial factor is one map, repeated by a 1x1 convolution; the
multi-scale gate adds a 1x1 and a 3x3 convolution. Ours entirely: the numbers of blocks, paths and channels, ReLU, and
the residual that a nearest-neighbour enlargement is added to (models/mobile.py says why). So this network bears the
idea and not the paper's numbers: neither its parameters nor its PSNR could be checked against it.

The dual attention's channel half looks at the whole picture; `channel_attention: false` leaves it out and makes tiles
exact (models/rcan.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import ConfigError
from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.rcan import channel_attention
from snpe_srgan.models.registry import register
from snpe_srgan.models.srgan import STAGES


@dataclass(frozen=True)
class Options:
    blocks: int = 5
    width: int = 96
    paths: int = 3  # of width / paths channels each
    up_width: int = 32
    reduction: int = 16
    channel_attention: bool = True


@register("pff", Options, scales=STAGES)
def describe(options: Options, scale: int) -> Graph:
    """532,838 parameters at the defaults and scale 4. A fresh network is nearest-neighbour enlargement: its last
    convolution starts as 0.

    Paths and upsampling are 32 channels wide because a DSP works on 32 at once: Qualcomm's cost model asks 2.6 ms for a
    128x128 input (w8a8, SA8255P), and 6.1 ms for 16 blocks of 4 paths of 12 channels with 24 in the upsampling, which
    have half the parameters and half the multiplications.

    Raises:
        ConfigError: `width` is no multiple of `paths`.
    """
    if options.width % options.paths:
        raise ConfigError(
            f"{options.width} channels cannot be shared by {options.paths} paths", where="model.options.width"
        )
    net = Builder(scale=scale)
    x = head = net.conv(net.lr, options.width, 3, name="head")
    for i in range(1, options.blocks + 1):
        x = progressive_attention_block(net, x, options, name=f"block{i}")
    x = net.add(head, net.conv(x, options.width, 3, name="body"), name="body_add")
    nearest = net.conv(net.lr, 3 * scale**2, 1, name="anchor", init="anchor", trainable=False)
    for i, factor in enumerate(STAGES[scale], 1):
        x = upsampling(net, x, factor, options, name=f"up{i}")
        nearest = net.depth_to_space(nearest, factor, name=f"anchor_shuffle{i}")
    x = net.add(net.conv(x, 3, 3, name="tail", init="zeros"), nearest, name="residual")
    return net.graph(net.clip(x, name="clip"), network="pff", options=vars(options))


def pixel_attention(net: Builder, x: str, *, name: str, kernels: tuple[int, ...] = (1,)) -> str:
    """x * sigmoid(sum of convolutions of x): a factor for each pixel and channel.

    Args:
        x: the layer that is attended to; its size and channels are kept.
        name: what the new layers begin with.
        kernels: a side in pixels for each convolution of the sum.
    """
    y = ""
    for kernel in kernels:
        gate = net.conv(x, net.channels(x), kernel, name=f"{name}_gate{kernel}")
        y = net.add(y, gate, name=f"{name}_gates") if y else gate
    return net.multiply(x, net.sigmoid(y, name=f"{name}_attention"), name=f"{name}_attended")


def spatial_attention(net: Builder, x: str, *, name: str) -> str:
    """x * sigmoid(one map): a factor for each pixel. A 1x1 convolution repeats the map for every channel, scaled, so
    that both sides of the product have one shape, which 8-bit runtimes multiply without a detour.

    Args:
        x: the layer that is attended to; its size and channels are kept.
        name: what the new layers begin with.
    """
    y = net.conv(net.conv(x, 1, 3, name=f"{name}_map"), net.channels(x), 1, name=f"{name}_repeat")
    return net.multiply(x, net.sigmoid(y, name=f"{name}_attention"), name=f"{name}_attended")


def progressive_attention_block(net: Builder, x: str, options: Options, *, name: str) -> str:
    """Paths side by side, each fed with what the one before gave, so that path p sees p windows of 3x3; then fused.

    Args:
        x: the layer that the block reads, of `options.width` channels; size and channels are kept.
        options: `width` must be a multiple of `paths`.
        name: what the block's layers begin with.
    """
    found: list[str] = []
    for p in range(1, options.paths + 1):
        path = f"{name}_path{p}"
        y = net.conv(x, options.width // options.paths, 1, name=f"{path}_in")
        y = net.add(y, found[-1], name=f"{path}_add") if found else y
        y = net.relu(net.conv(y, net.channels(y), 3, name=f"{path}_conv", init="he"), name=f"{path}_relu")
        found.append(pixel_attention(net, y, name=path))
    y = net.concat(found, name=f"{name}_paths") if len(found) > 1 else found[0]
    y = net.conv(y, options.width, 1, name=f"{name}_fuse")
    if options.channel_attention:
        y = channel_attention(net, y, reduction=options.reduction, name=name)
    y = spatial_attention(net, y, name=f"{name}_spatial")
    return net.add(x, y, name=f"{name}_add")


def upsampling(net: Builder, x: str, factor: int, options: Options, *, name: str) -> str:
    """Pixel shuffle, multi-scale pixel attention, a convolution.

    Args:
        factor: of this step, to each side.
        options: `up_width` is the number of channels that come out.
        name: what the new layers begin with.
    """
    x = net.conv(x, options.up_width * factor**2, 3, name=name, init="icnr")
    x = net.depth_to_space(x, factor, name=f"{name}_shuffle")
    x = net.relu(pixel_attention(net, x, name=name, kernels=(1, 3)), name=f"{name}_relu")
    return net.relu(net.conv(x, options.up_width, 3, name=f"{name}_conv", init="he"), name=f"{name}_conv_relu")
