"""RFDN and RLFN: distilled features, and a gate for each pixel from a coarse look at the picture.

    rfdn(width=50, blocks=4, scale=4)       # Liu et al. 2020, "Residual Feature Distillation Network", ECCV workshops
    rlfn(width=52, middle=52, gate=16, blocks=6, scale=4)     # Kong et al. 2022, CVPR workshops

The gate (ESA, Liu et al. 2020, "Residual Feature Aggregation Network") is computed on a grid a sixth as fine: a
convolution of stride 2, a max pool of stride 3, and bilinear enlargement back to the picture's size. That grid does not
follow a tile's place, so tiles are near the whole picture's result and not equal to it. Both come from weights of
others (`zoo/torch_deep.py`); neither is among the networks with a name.
"""

from __future__ import annotations

from snpe_srgan.models.graph import Builder, Graph

SLOPE = 0.05


def rfdn(*, width: int, blocks: int, scale: int) -> Graph:
    """433,448 parameters of the authors' (width 50, 4 blocks, scale 4); the clip to the picture's range is added.

    Args:
        width: channels of the body; the distilled branches have half as many, the gates a quarter.
        blocks: distillation blocks, each of three residual convolutions and four distilled branches.
        scale: 1 to 16, by one pixel shuffle.
    """
    net, half = Builder(scale=scale), width // 2
    x = head = net.conv(net.lr, width, 3, name="head", init="he")
    given = []
    for i in range(1, blocks + 1):
        kept, name = [], f"block{i}"
        for k in (1, 2, 3):
            thin = net.conv(x, half, 1, name=f"{name}_distilled{k}", init="he")
            kept.append(net.leaky_relu(thin, name=f"{name}_distilled{k}_leaky", slope=SLOPE))
            y = net.add(net.conv(x, width, 3, name=f"{name}_conv{k}", init="he_small"), x, name=f"{name}_add{k}")
            x = net.leaky_relu(y, name=f"{name}_leaky{k}", slope=SLOPE)
        thin = net.conv(x, half, 3, name=f"{name}_conv4", init="he")
        kept.append(net.leaky_relu(thin, name=f"{name}_leaky4", slope=SLOPE))
        x = net.conv(net.concat(kept, name=f"{name}_concat"), width, 1, name=f"{name}_fuse")
        x = gate(net, x, width // 4, name=f"{name}_gate", deep=True)
        given.append(x)
    x = net.conv(net.concat(given, name="concat") if blocks > 1 else x, width, 1, name="fuse", init="he")
    x = net.conv(net.leaky_relu(x, name="fuse_leaky", slope=SLOPE), width, 3, name="body")
    return _picture(net, net.add(x, head, name="body_add"), scale, "rfdn", {"width": width, "blocks": blocks})


def rlfn(*, width: int, middle: int, gate_width: int, blocks: int, scale: int) -> Graph:
    """543,744 parameters of the authors' (52, 52, 16, 6, scale 4); the clip to the picture's range is added.

    Args:
        width: channels that go from block to block.
        middle: channels of the first two convolutions of each block.
        gate_width: channels inside each gate.
        blocks: residual blocks, each of three convolutions and a gate.
        scale: 1 to 16, by one pixel shuffle.
    """
    net = Builder(scale=scale)
    x = head = net.conv(net.lr, width, 3, name="head", init="he")
    for i in range(1, blocks + 1):
        y, name = x, f"block{i}"
        for k, channels in ((1, middle), (2, middle), (3, width)):
            y = net.conv(y, channels, 3, name=f"{name}_conv{k}", init="he")
            y = net.leaky_relu(y, name=f"{name}_leaky{k}", slope=SLOPE)
        x = net.conv(net.add(y, x, name=f"{name}_add"), width, 1, name=f"{name}_fuse")
        x = gate(net, x, gate_width, name=f"{name}_gate", deep=False)
    x = net.add(net.conv(x, width, 3, name="body"), head, name="body_add")
    options = {"width": width, "middle": middle, "gate": gate_width, "blocks": blocks}
    return _picture(net, x, scale, "rlfn", options)


def gate(net: Builder, x: str, width: int, *, name: str, deep: bool) -> str:
    """x times a sigmoid of a coarse look at it; `deep`: three convolutions on the coarse grid, else one.

    Args:
        x: the layer that is gated; its size and channels are kept.
        width: channels inside the gate.
        name: of the product; the gate's other layers begin with it.
    """
    inner = net.conv(x, width, 1, name=f"{name}_in")
    y = net.max_pool(net.strided_conv(inner, width, 3, 2, name=f"{name}_down"), 7, 3, name=f"{name}_pool")
    if deep:
        y = net.relu(net.conv(y, width, 3, name=f"{name}_max", init="he"), name=f"{name}_max_relu")
        y = net.relu(net.conv(y, width, 3, name=f"{name}_coarse1", init="he"), name=f"{name}_coarse1_relu")
    y = net.resize_to(net.conv(y, width, 3, name=f"{name}_coarse2"), inner, name=f"{name}_resize")
    beside = net.conv(inner, width, 1, name=f"{name}_beside")
    y = net.conv(net.add(beside, y, name=f"{name}_sum"), net.channels(x), 1, name=f"{name}_out")
    return net.multiply(x, net.sigmoid(y, name=f"{name}_sigmoid"), name=name)


def _picture(net: Builder, x: str, scale: int, network: str, options: dict[str, int]) -> Graph:
    x = net.depth_to_space(net.conv(x, 3 * scale**2, 3, name="tail", init="icnr"), scale, name="shuffle")
    return net.graph(net.clip(x, name="picture"), network=network, options=options)
