"""The networks whose times on devices are published, described layer by layer: what the latency model is fitted on.

    graphs = references()       # name in published_times.json -> Graph

Structures are those of the authors' papers and code, at the parameter counts that AI Hub's table gives: QuickSRNet
(Berger et al. 2023; 33 k, 61 k and 436 k), XLSR (Ayazoglu 2021; 28 k), SESR-M5 as deployed, with its linear blocks not
collapsed (Bhardwaj et al. 2022; 343 k), SRGAN (16x64; 1.55 M), SRVGGNetCompact (1.21 M), RRDBNet (16.7 M).
"""

from __future__ import annotations

import functools

from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import describe

# Siblings: one left out tells little while the others stay, so they are also left out together.
FAMILIES = {"quicksrnet-small": "quicksrnet", "quicksrnet-medium": "quicksrnet", "quicksrnet-large": "quicksrnet"}


@functools.cache
def references() -> dict[str, Graph]:
    """Every network of the published table as a Graph, x4."""
    return {
        "quicksrnet-small": describe("srvgg", {"width": 32, "depth": 4, "activation": "clip"}),
        "quicksrnet-medium": describe("srvgg", {"width": 32, "depth": 7, "activation": "clip"}),
        "quicksrnet-large": describe("srvgg", {"width": 64, "depth": 13, "activation": "clip"}),
        "xlsr": _xlsr(),
        "sesr-m5": _sesr(),
        "srgan": describe("srgan"),
        "real-esrgan-general-x4v3": describe("srvgg", {"width": 64, "depth": 34}),
        "real-esrgan-x4plus": describe("esrgan"),
    }


def _xlsr() -> Graph:
    """XLSR. Its convolutions of four groups (8 channels each) are described as plain ones of 32: that is how wide the
    accelerator computes. So the description holds 20,736 parameters more than the network."""
    net = Builder(scale=4)
    skip = net.relu(net.conv(net.lr, 16, 3, name="skip"), name="skip_relu")
    x = net.relu(net.conv(net.lr, 32, 3, name="head"), name="head_relu")
    for i in range(1, 4):
        x = net.relu(net.conv(x, 32, 3, name=f"block{i}"), name=f"block{i}_relu")
        x = net.conv(x, 32, 1, name=f"block{i}_mix")
    x = net.concat([skip, x], name="join")
    x = net.relu(net.conv(x, 32, 1, name="mix1"), name="mix1_relu")
    x = net.conv(net.conv(x, 32, 1, name="mix2"), 48, 3, name="tail")
    x = net.depth_to_space(net.clip(x, name="clip"), 4, name="shuffle")
    return net.graph(x, network="xlsr", options={})


def _sesr() -> Graph:
    """SESR-M5: linear blocks of a k x k convolution to 256 channels and a 1x1 one back."""
    net = Builder(scale=4)

    def linear(x: str, channels: int, kernel: int, name: str) -> str:
        return net.conv(net.conv(x, 256, kernel, name=f"{name}_wide", bias=False), channels, 1, name=name)

    x = head = net.relu(linear(net.lr, 16, 5, "head"), name="head_relu")
    for i in range(1, 6):
        x = net.relu(linear(x, 16, 3, f"block{i}"), name=f"block{i}_relu")
    x = linear(net.add(x, head, name="skip"), 48, 5, "tail")
    x = net.add(x, net.conv(net.lr, 48, 1, name="anchor"), name="picture")
    x = net.depth_to_space(net.clip(x, name="clip"), 4, name="shuffle")
    return net.graph(x, network="sesr", options={})
