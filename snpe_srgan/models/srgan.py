"""SRGAN's generator (Ledig et al. 2017, figure 4), which is SRResNet when only the pixel loss trains it.

    describe("srgan", {"blocks": 16, "width": 64})

The pixel shuffle stays one `depth_to_space` layer: taken apart into reshapes and transposes it would be refused by the
GPU and DSP runtimes.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register

STAGES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


@dataclass(frozen=True)
class Options:
    blocks: int = 16
    width: int = 64
    batch_norm: bool = True
    tanh: bool = True  # else a clip to the same range, for weights that were trained without it
    start_as_nearest: bool = False  # first weights that hand RGB on: trains in a minute, quantizes worse (see below)


@register("srgan", Options, scales=STAGES)
def describe(options: Options, scale: int) -> Graph:
    """9x9 convolution, residual blocks inside a long skip, one pixel shuffle for each factor, 9x9 convolution, tanh.

    A small network of this kind, which has no global skip, learns slowly from noise: 2 blocks of 16 channels draw level
    with bicubic in 1400 steps (sample set, batches of 8 crops of 64 pixels, learning rate 2e-3). `start_as_nearest`
    makes a fresh one nearly nearest-neighbour enlargement, and the same steps end 0.8 dB over bicubic. The few large
    weights that hand RGB on stay, beside small ones in the same filter, which plain 8-bit weights do not bear.
    """
    net = Builder(scale=scale)
    passing = options.start_as_nearest

    def conv(x: str, name: str, *, silent: bool = False) -> str:
        """`silent`: starts as 0, so that the long skip alone counts at first."""
        x = net.conv(x, options.width, 3, name=name, init="zeros" if silent and not options.batch_norm else "glorot")
        return net.batch_norm(x, name=f"{name}_bn", gamma=float(not silent)) if options.batch_norm else x

    head = net.conv(net.lr, options.width, 9, name="head", init="rgb" if passing else "glorot")
    x = head = net.prelu(head, name="head_prelu")
    for i in range(1, options.blocks + 1):
        y = net.prelu(conv(x, f"block{i}_conv1"), name=f"block{i}_prelu")
        x = net.add(x, conv(y, f"block{i}_conv2"), name=f"block{i}_add")
    x = net.add(head, conv(x, "body", silent=passing), name="body_add")
    for i, factor in enumerate(STAGES[scale], 1):
        x = net.conv(x, options.width * factor**2, 3, name=f"up{i}", init="icnr_rgb" if passing else "icnr")
        x = net.prelu(net.depth_to_space(x, factor, name=f"up{i}_shuffle"), name=f"up{i}_prelu")
    x = net.conv(x, 3, 9, name="tail", init="rgb_tanh" if passing else "glorot")
    x = net.tanh(x, name="tail_tanh") if options.tanh else net.clip(x, name="tail_clip")
    return net.graph(x, network="srgan", options=vars(options))
