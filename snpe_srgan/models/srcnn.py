"""SRCNN (Dong et al. 2016, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 38(2)): the first one.

    describe("srcnn", {})                # 9-5-5, the paper's best
    describe("srcnn", {"middle": 1})     # 9-1-5, its fast one

A baseline to compare with. It sharpens the picture that bicubic has enlarged, so every multiplication is done at HR
size, 16 times for each LR pixel: three layers cost half of what SRGAN's 37 do. On a DSP it is worse still, because a
vector unit of 32 channels reads 3 of them in the first layer and gives 3 in the last, both with large kernels.

The enlargement is part of the network: a fixed 5x5 convolution and a depth_to_space compute MATLAB's bicubic
(imaging/bicubic.py) exactly, but for the outermost two LR pixels, where zeros stand outside the picture and MATLAB
mirrors it. What is darker than black becomes black, as in a stored picture: the tensor's grid then starts at 0, and
with any other zero point Qualcomm's compiler pads a 9x9 convolution of three channels wrongly (QAIRT 2.51: the borders
are off by up to 100 of 255 levels). This is the paper's RGB variant (section 4.5: c = 3), as
everything here is colour.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register


@dataclass(frozen=True)
class Options:
    width: int = 64  # n1
    narrow: int = 32  # n2
    middle: int = 5  # f2


@register("srcnn", Options, scales=range(2, 9))
def describe(options: Options, scale: int) -> Graph:
    """Weights as published: 57,184 for 9-5-5 and 8,032 for 9-1-5 on luma, that is without the factor 3 of the first and
    last layer and without biases. With them, and the 3,648 numbers of the fixed enlargement by 4: 72,899."""
    net = Builder(scale=scale)
    x = net.conv(net.lr, 3 * scale**2, 5, name="bicubic", init="bicubic", trainable=False)
    x = net.depth_to_space(net.relu(x, name="bicubic_relu"), scale, name="bicubic_shuffle")
    x = net.relu(net.conv(x, options.width, 9, name="patches"), name="patches_relu")
    x = net.relu(net.conv(x, options.narrow, options.middle, name="mapping"), name="mapping_relu")
    x = net.clip(net.conv(x, 3, 5, name="reconstruction"), name="clip")
    return net.graph(x, network="srcnn", options=vars(options))
