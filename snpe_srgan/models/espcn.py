"""ESPCN (Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR): three convolutions at LR size and the pixel shuffle that it introduced.

    describe("espcn", {})                         # f1, n1 = 5, 64; f2, n2 = 3, 32; f3 = 3; tanh
    describe("espcn", {"activation": "relu"})     # what an 8-bit DSP wants

The paper's final model uses tanh, which it found better than ReLU (section 3.2). A DSP joins a ReLU to the convolution
before it and computes a tanh as an operator of its own. The paper's network enlarges luma; this one RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register

ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Options:
    width: int = 64  # n1
    narrow: int = 32  # n2
    activation: str = "tanh"


@register("espcn", Options, choices={"activation": ACTIVATIONS})
def describe(options: Options, scale: int) -> Graph:
    """24,752 parameters on luma at scale 4; 37,200 in colour."""
    net = Builder(scale=scale)
    bend = net.tanh if options.activation == "tanh" else net.relu
    x = bend(net.conv(net.lr, options.width, 5, name="conv1"), name="conv1_active")
    x = bend(net.conv(x, options.narrow, 3, name="conv2"), name="conv2_active")
    x = net.conv(x, 3 * scale**2, 3, name="conv3", init="icnr")
    x = net.depth_to_space(x, scale, name="shuffle")
    return net.graph(net.clip(x, name="clip"), network="espcn", options=vars(options))
