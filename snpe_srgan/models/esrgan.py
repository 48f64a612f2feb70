"""ESRGAN's generator (Wang et al. 2018, "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV
workshops): residual-in-residual dense blocks without batch norm.

    describe("esrgan", {})                                          # the paper's: 23 blocks, 64 channels, growth 32
    describe("esrgan", {"blocks": 3, "width": 32, "growth": 16})    # light: fits a morning on two cores, and a phone

Figure 4: a dense block of five convolutions reads all that its earlier ones gave; three of them and a skip make an
RRDB, and every residual is scaled by 0.2 (section 3.1, "residual scaling"). Enlargement is nearest neighbour and a
convolution, as in the authors' code (xinntao/ESRGAN, RRDBNet), with leaky ReLU of slope 0.2 everywhere.

The scalings behind convolutions are folded into them at export; the outer one of each RRDB, which follows an addition,
stays a multiplication by a constant. As an adversarial network it wants `loss.adversarial: relativistic`
(configs/esrgan.yaml).
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import ConfigError
from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register
from snpe_srgan.models.srgan import STAGES

SLOPE = 0.2
RESIDUAL = 0.2  # beta of section 3.1


@dataclass(frozen=True)
class Options:
    blocks: int = 23  # RRDBs, of three dense blocks each
    width: int = 64  # nf
    growth: int = 32  # gc: what each convolution of a dense block adds
    unshuffle: int = 1  # a pixel unshuffle in front: 2 makes Real-ESRGAN's x2 of its x4, 4 its x1


@register("esrgan", Options, scales=(1, *STAGES), choices={"unshuffle": (1, 2, 4)})
def describe(options: Options, scale: int) -> Graph:
    """16,697,987 parameters at the defaults and scale 4, as in the authors' code. Dense blocks start small, as there (a
    tenth of He's); only the clip to the picture's range is added.

    Raises:
        ConfigError: the scale times `unshuffle` is not 2, 3, 4 or 8.
    """
    stages = STAGES.get(scale * options.unshuffle)
    if stages is None:
        raise ConfigError("esrgan's scale times its unshuffle must be 2, 3, 4 or 8", where="model.scale")
    net = Builder(scale=scale, unit=options.unshuffle)
    x = net.lr if options.unshuffle == 1 else net.space_to_depth(net.lr, options.unshuffle, name="unshuffle")
    x = head = net.conv(x, options.width, 3, name="head")
    for i in range(1, options.blocks + 1):
        start = x
        for j in (1, 2, 3):
            x = dense_block(net, x, growth=options.growth, name=f"block{i}_dense{j}")
        x = net.add(start, net.scale(x, RESIDUAL, name=f"block{i}_scale"), name=f"block{i}_add")
    x = net.add(head, net.conv(x, options.width, 3, name="body"), name="body_add")
    for i, factor in enumerate(stages, 1):
        x = net.conv(net.resize(x, factor, name=f"up{i}_resize"), options.width, 3, name=f"up{i}", init="he")
        x = net.leaky_relu(x, name=f"up{i}_leaky", slope=SLOPE)
    x = net.leaky_relu(net.conv(x, options.width, 3, name="tail1", init="he"), name="tail1_leaky", slope=SLOPE)
    x = net.clip(net.conv(x, 3, 3, name="tail2"), name="clip")
    return net.graph(x, network="esrgan", options=vars(options))


def dense_block(net: Builder, x: str, *, growth: int, name: str) -> str:
    """x + 0.2 * the fifth convolution, each of which reads x and what all before it gave.

    Args:
        x: the layer that the block reads; its size and channels are kept.
        growth: channels that each of the first four convolutions adds.
        name: what the block's layers begin with.
    """
    seen = [x]
    for k in range(1, 5):
        y = net.concat(seen, name=f"{name}_concat{k}") if len(seen) > 1 else x
        y = net.conv(y, growth, 3, name=f"{name}_conv{k}", init="he_small")
        seen.append(net.leaky_relu(y, name=f"{name}_leaky{k}", slope=SLOPE))
    y = net.conv(net.concat(seen, name=f"{name}_concat5"), net.channels(x), 3, name=f"{name}_conv5", init="he_small")
    return net.add(x, net.scale(y, RESIDUAL, name=f"{name}_conv5_scale"), name=f"{name}_add")
