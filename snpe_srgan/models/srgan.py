"""SRGAN's generator (Ledig et al. 2017, figure 4), which is SRResNet when only the pixel loss trains it.

    describe("srgan", {"blocks": 16, "width": 64})

The pixel shuffle stays one `depth_to_space` layer: taken apart into reshapes and transposes it would be refused by the
GPU and DSP runtimes.
"""

from __future__ import annotations

from dataclasses import dataclass

from snpe_srgan.errors import ConfigError
from snpe_srgan.models.graph import Builder, Graph
from snpe_srgan.models.registry import register

STAGES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


@dataclass(frozen=True)
class Options:
    blocks: int = 16
    width: int = 64
    batch_norm: bool = True


@register("srgan", Options)
def describe(options: Options, scale: int) -> Graph:
    """9x9 convolution, residual blocks inside a long skip, one pixel shuffle for each factor, 9x9 convolution, tanh."""
    if scale not in STAGES:
        raise ConfigError(f"srgan has no scale {scale}", where="model.scale", hint="one of 2, 3, 4, 8")
    if options.blocks < 1 or options.width < 1:
        raise ConfigError("srgan needs at least one block and one channel", where="model.options")
    net = Builder(scale=scale)

    def conv(x: str, name: str, *, last: bool = False) -> str:
        """The body's last one starts as 0, so that the long skip alone counts at first."""
        x = net.conv(x, options.width, 3, name=name, init="zeros" if last and not options.batch_norm else "glorot")
        return net.batch_norm(x, name=f"{name}_bn", gamma=float(not last)) if options.batch_norm else x

    x = head = net.prelu(net.conv(net.lr, options.width, 9, name="head", init="rgb"), name="head_prelu")
    for i in range(1, options.blocks + 1):
        y = net.prelu(conv(x, f"block{i}_conv1"), name=f"block{i}_prelu")
        x = net.add(x, conv(y, f"block{i}_conv2"), name=f"block{i}_add")
    x = net.add(head, conv(x, "body", last=True), name="body_add")
    for i, factor in enumerate(STAGES[scale], 1):
        x = net.conv(x, options.width * factor**2, 3, name=f"up{i}", init="icnr_rgb")
        x = net.prelu(net.depth_to_space(x, factor, name=f"up{i}_shuffle"), name=f"up{i}_prelu")
    x = net.tanh(net.conv(x, 3, 9, name="tail", init="rgb_tanh"), name="tail_tanh")
    return net.graph(x, network="srgan", options=vars(options))
