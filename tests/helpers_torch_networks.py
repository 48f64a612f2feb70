"""Small checkpoints of the known architectures under PyTorch's names, each with a forward pass of its own in numpy."""

from __future__ import annotations

import numpy as np
from helpers_torch import conv, nearest, prelu, shuffle, sigmoid, unshuffle


class Maker:
    """Draws arrays under PyTorch's names."""

    def __init__(self, rng):
        self.rng, self.arrays = rng, {}

    def conv(self, name: str, out: int, into: int, size: int, *, bias: bool = True):
        self.arrays[f"{name}.weight"] = self.rng.normal(0, 0.6 / np.sqrt(into * size**2), (out, into, size, size))
        if bias:
            self.arrays[f"{name}.bias"] = self.rng.normal(0, 0.05, out)

    def norm(self, name: str, channels: int):
        for array, low, high in (("weight", 0.5, 1.5), ("bias", -0.1, 0.1), ("running_mean", -0.1, 0.1),
                                 ("running_var", 0.5, 1.5)):  # fmt: skip
            self.arrays[f"{name}.{array}"] = self.rng.uniform(low, high, channels)
        self.arrays[f"{name}.num_batches_tracked"] = np.zeros(1)

    def slopes(self, name: str, channels: int):
        self.arrays[f"{name}.weight"] = self.rng.uniform(0, 0.4, channels)


def srvgg(make: Maker, scale: int = 4, width: int = 8, depth: int = 4, prelus: bool = True):
    for i in range(depth):
        make.conv(f"body.{2 * i}", 3 * scale**2 if i == depth - 1 else width, width if i else 3, 3)
        if prelus and i < depth - 1:
            make.slopes(f"body.{2 * i + 1}", width)
    w = make.arrays

    def forward(x):
        y = x
        for i in range(depth):
            y = conv(y, w[f"body.{2 * i}.weight"], w[f"body.{2 * i}.bias"])
            if i < depth - 1:
                y = prelu(y, w[f"body.{2 * i + 1}.weight"] if prelus else 0.0)
        return shuffle(y, scale) + nearest(x, scale)

    return forward


def rrdb(make: Maker, dense: str, head: str, body: str, ups: tuple[str, ...], tail1: str, tail2: str, blocks: int = 1,
         smaller: int = 1):  # fmt: skip
    width, growth = 8, 4
    make.conv(head, width, 3 * smaller**2, 3)
    for i in range(blocks):
        for j in (1, 2, 3):
            for k in range(1, 6):
                into = width + (k - 1) * growth
                make.conv(dense.format(i=i, j=j, k=k), growth if k < 5 else width, into, 3)
    for name in (body, *ups, tail1):
        make.conv(name, width, width, 3)
    make.conv(tail2, 3, width, 3)
    w = make.arrays

    def layer(x, name):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def forward(x):
        y = start = layer(x if smaller == 1 else unshuffle(x, smaller), head)
        for i in range(blocks):
            block = y
            for j in (1, 2, 3):
                seen = [y]
                for k in range(1, 5):
                    seen.append(prelu(layer(np.concatenate(seen, 1), dense.format(i=i, j=j, k=k)), 0.2))
                y = y + 0.2 * layer(np.concatenate(seen, 1), dense.format(i=i, j=j, k=5))
            y = block + 0.2 * y
        y = start + layer(y, body)
        for name in ups:
            y = prelu(layer(nearest(y, 2), name), 0.2)
        return layer(prelu(layer(y, tail1), 0.2), tail2)

    return forward


def span(make: Maker, *, wide: bool, normalize: bool, width: int = 8, scale: int = 4):
    w = make.arrays

    def conv3xc(name, out, into):
        if wide:
            make.conv(f"{name}.sk", out, into, 1)
            for i, (a, b, size) in enumerate(((2 * into, into, 1), (2 * out, 2 * into, 3), (out, 2 * out, 1))):
                make.conv(f"{name}.conv.{i}", a, b, size)
            w[f"{name}.eval_conv.weight"], w[f"{name}.eval_conv.bias"] = np.zeros((out, into, 3, 3)), np.zeros(out)
        else:
            make.conv(f"{name}.eval_conv", out, into, 3)

    def run(x, name):
        if not wide:
            return conv(x, w[f"{name}.eval_conv.weight"], w[f"{name}.eval_conv.bias"])
        y = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # once, in front, as Conv3XC does
        y = conv(y, w[f"{name}.conv.0.weight"], w[f"{name}.conv.0.bias"])
        y = conv(y, w[f"{name}.conv.1.weight"], w[f"{name}.conv.1.bias"])[:, :, 1:-1, 1:-1]
        y = conv(y, w[f"{name}.conv.2.weight"], w[f"{name}.conv.2.bias"])
        return y + conv(x, w[f"{name}.sk.weight"], w[f"{name}.sk.bias"])

    conv3xc("conv_1", width, 3)
    for i in range(1, 7):
        for k in (1, 2, 3):
            conv3xc(f"block_{i}.c{k}_r", width, width)
    conv3xc("conv_2", width, width)
    make.conv("conv_cat", width, 4 * width, 1)
    make.conv("upsampler.0", 3 * scale**2, width, 3)
    if not normalize:
        w["no_norm"] = np.zeros(1)

    def forward(x):
        if normalize:
            x = (x - np.reshape([0.4488, 0.4371, 0.4040], (1, 3, 1, 1))) * 255.0
        y = head = run(x, "conv_1")
        given = []
        for i in range(1, 7):
            first = run(y, f"block_{i}.c1_r")
            second = run(first * sigmoid(first), f"block_{i}.c2_r")
            third = run(second * sigmoid(second), f"block_{i}.c3_r")
            y = (third + y) * (sigmoid(third) - 0.5)
            given.append((y, first))
        y = np.concatenate([head, run(y, "conv_2"), given[0][0], given[5][1]], 1)
        y = conv(y, w["conv_cat.weight"], w["conv_cat.bias"])
        return shuffle(conv(y, w["upsampler.0.weight"], w["upsampler.0.bias"]), scale)

    return forward


def srresnet(make: Maker, width: int = 8, blocks: int = 2):
    w = make.arrays
    make.conv("conv1.0", width, 3, 9)
    make.slopes("conv1.1", 1)
    for i in range(blocks):
        for place in (0, 3):
            make.conv(f"trunk.{i}.rcb.{place}", width, width, 3, bias=False)
            make.norm(f"trunk.{i}.rcb.{place + 1}", width)
        make.slopes(f"trunk.{i}.rcb.2", 1)
    make.conv("conv2.0", width, width, 3, bias=False)
    make.norm("conv2.1", width)
    for i in range(2):
        make.conv(f"upsampling.{i}.upsample_block.0", 4 * width, width, 3)
        make.slopes(f"upsampling.{i}.upsample_block.2", 1)
    make.conv("conv3", 3, width, 9)

    def norm(x, name):
        mean, var, gamma, beta = (w[f"{name}.{a}"].reshape(1, -1, 1, 1)
                                  for a in ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
        return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta

    def forward(x):
        y = start = prelu(conv(x, w["conv1.0.weight"], w["conv1.0.bias"]), w["conv1.1.weight"])
        for i in range(blocks):
            z = norm(conv(y, w[f"trunk.{i}.rcb.0.weight"]), f"trunk.{i}.rcb.1")
            z = prelu(z, w[f"trunk.{i}.rcb.2.weight"])
            y = y + norm(conv(z, w[f"trunk.{i}.rcb.3.weight"]), f"trunk.{i}.rcb.4")
        y = start + norm(conv(y, w["conv2.0.weight"]), "conv2.1")
        for i in range(2):
            name = f"upsampling.{i}.upsample_block"
            y = prelu(shuffle(conv(y, w[f"{name}.0.weight"], w[f"{name}.0.bias"]), 2), w[f"{name}.2.weight"])
        return conv(y, w["conv3.weight"], w["conv3.bias"])

    return forward


def aimet_plain(make: Maker, *, quick: bool, anchor: bool, scale: int = 2, width: int = 8, depth: int = 4):
    """QuickSRNet (small and medium without an anchor) and ABPN."""
    w, last = make.arrays, "conv_last" if quick else f"cnn.{2 * (depth - 1)}"
    names = [f"cnn.{2 * i}" for i in range(depth - 1)] + [last]
    for i, name in enumerate(names):
        make.conv(name, 3 * scale**2 if name == last else width, width if i else 3, 3)
    if anchor:
        make.conv("anchor.net", 3 * scale**2, 3, 1)

    def forward(x):
        y = x
        for name in names:
            y = conv(y, w[f"{name}.weight"], w[f"{name}.bias"])
            if name != last:
                y = np.clip(y, 0, 1 if quick else None)
        return shuffle(y + (conv(x, w["anchor.net.weight"], w["anchor.net.bias"]) if anchor else 0), scale)

    return forward


def sesr(make: Maker, *, wide: bool, prelus: bool, scale: int = 2, width: int = 8, blocks: int = 2):
    w = make.arrays
    names = ["conv_first", *(f"residual_block.{i}" for i in range(blocks)), "conv_last"]
    for name in names:
        out, into = 3 * scale**2 if name == "conv_last" else width, 3 if name == "conv_first" else width
        side = 3 if name.startswith("residual") else 5
        make.conv(f"{name}.conv_expand", 16 if wide else out, into, side, bias=not wide)
        if wide:
            make.conv(f"{name}.conv_squeeze", out, 16, 1)
        if prelus and name != "conv_last":
            make.slopes(f"{name}.activation", 1)
    make.conv("anchor.net", 3 * scale**2, 3, 1)

    def block(x, name):
        y = conv(x, w[f"{name}.conv_expand.weight"], None if wide else w[f"{name}.conv_expand.bias"])
        if wide:
            y = conv(y, w[f"{name}.conv_squeeze.weight"], w[f"{name}.conv_squeeze.bias"])
            y = y + x if name.startswith("residual") else y
        if name == "conv_last":
            return y
        return prelu(y, w[f"{name}.activation.weight"] if prelus else 0.0)

    def forward(x):
        y = head = block(x, names[0])
        for name in names[1:-1]:
            y = block(y, name)
        return shuffle(block(y + head, "conv_last") + conv(x, w["anchor.net.weight"], w["anchor.net.bias"]), scale)

    return forward


def disp(make: Maker, width: int = 8, scale: int = 3):
    w, parts = make.arrays, ("c1_r", "c2_r", "_extern_conv_block.0", "c3_r")
    make.conv("conv_1.eval_conv", width, 3, 3)
    for i in range(2):
        for part in parts:
            make.conv(f"blocks.{i}.{part}.eval_conv", width, width, 3)
    make.conv("conv_2", width, width, 1)
    make.conv("upsampler.0", 3 * scale**2, width, 3)

    def layer(x, name):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def forward(x):
        y = head = layer(x, "conv_1.eval_conv")
        for i in range(2):
            z = y
            for part in parts:
                z = layer(z, f"blocks.{i}.{part}.eval_conv")
                z = z * sigmoid(z)
            y = z + y
        return shuffle(layer(layer(y, "conv_2") + head, "upsampler.0"), scale)

    return forward


def xlsr(make: Maker, scale: int = 4, groups: int = 4):
    w = make.arrays
    make.conv("residual", 4, 3, 3)
    make.conv("cnn.0", 8, 3, 3)
    make.conv("cnn.2", 8, 8, 1)
    for i in (3, 4):
        make.conv(f"cnn.{i}.net.0", 8, 8 // groups, 3)
        make.conv(f"cnn.{i}.net.2", 8, 8, 1)
    make.conv("tail.0", 8, 12, 1)
    make.conv("tail.2", 3 * scale**2, 8, 3)

    def layer(x, name):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def grouped(x, name):
        parts = zip(np.split(x, groups, 1), np.split(w[f"{name}.weight"], groups), strict=True)
        return np.concatenate([conv(*part) for part in parts], 1) + w[f"{name}.bias"].reshape(1, -1, 1, 1)

    def forward(x):
        y = layer(prelu(layer(x, "cnn.0"), 0.0), "cnn.2")
        for i in (3, 4):
            y = layer(prelu(grouped(y, f"cnn.{i}.net.0"), 0.0), f"cnn.{i}.net.2")
        y = prelu(layer(np.concatenate([y, layer(x, "residual")], 1), "tail.0"), 0.0)
        return shuffle(layer(y, "tail.2"), scale)

    return forward


MASKS = {
    "sbx": [[1, 0, -1], [2, 0, -2], [1, 0, -1]], "sby": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "lpl": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
}  # fmt: skip


def ecbsr(make: Maker, *, wide: bool, prelus: bool = True, scale: int = 2, width: int = 8, depth: int = 3):
    """On brightness in 0..255; the colours are enlarged by bicubic."""
    w, rng = make.arrays, make.rng
    for i in range(depth):
        name, into, out = f"backbone.{i}", width if i else 1, scale**2 if i == depth - 1 else width
        make.conv(f"{name}.conv3x3", out, into, 3)
        if wide:
            for branch, outer in (("conv1x1_3x3", 2 * out), *((f"conv1x1_{mask}", out) for mask in MASKS)):
                w[f"{name}.{branch}.k0"] = rng.normal(0, 0.2, (outer, into, 1, 1))
                w[f"{name}.{branch}.b0"] = rng.normal(0, 0.2, outer)
            w[f"{name}.conv1x1_3x3.k1"] = rng.normal(0, 0.1, (out, 2 * out, 3, 3))
            w[f"{name}.conv1x1_3x3.b1"] = rng.normal(0, 0.2, out)
            for mask, taps in MASKS.items():
                w[f"{name}.conv1x1_{mask}.scale"] = rng.normal(0, 0.1, (out, 1, 1, 1))
                w[f"{name}.conv1x1_{mask}.bias"] = rng.normal(0, 0.2, out)
                w[f"{name}.conv1x1_{mask}.mask"] = np.tile(np.array(taps, float), (out, 1, 1, 1))
        if prelus and i < depth - 1:
            make.slopes(f"{name}.act", width)

    def block(x, name):
        y = conv(x, w[f"{name}.conv3x3.weight"], w[f"{name}.conv3x3.bias"])
        if wide:  # each branch: 1x1, padded with what it makes of black, then 3x3
            for branch in ("conv1x1_3x3", *(f"conv1x1_{mask}" for mask in MASKS)):
                z = conv(
                    np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), w[f"{name}.{branch}.k0"], w[f"{name}.{branch}.b0"]
                )
                if branch == "conv1x1_3x3":
                    z = conv(z, w[f"{name}.{branch}.k1"], w[f"{name}.{branch}.b1"])
                else:
                    kernel = w[f"{name}.{branch}.scale"] * w[f"{name}.{branch}.mask"]
                    z = np.concatenate([conv(z[:, c : c + 1], kernel[c : c + 1]) for c in range(len(kernel))], 1)
                    z = z + w[f"{name}.{branch}.bias"].reshape(1, -1, 1, 1)
                y = y + z[:, :, 1:-1, 1:-1]
        return y

    def forward(x):
        from skimage.color import rgb2ycbcr

        from snpe_srgan.imaging.bicubic import upscale

        planes = rgb2ycbcr(x[0].transpose(1, 2, 0))
        y = luma = planes[None, None, :, :, 0]
        for i in range(depth):
            y = block(y, f"backbone.{i}")
            if i < depth - 1:
                y = prelu(y, w[f"backbone.{i}.act.weight"] if prelus else 0.0)
        enlarged = shuffle(y + luma, scale)[0, 0]
        inner = (slice(4 * scale, -4 * scale),) * 2  # grey lies around the picture, as for a convolution
        colours = [128 + upscale(np.pad(planes[..., c] - 128, 4), scale)[inner] for c in (1, 2)]
        rgb = _rgb(np.stack([enlarged, *colours], -1))
        return rgb.transpose(2, 0, 1)[None]

    def _rgb(planes):
        y, cb, cr = (planes[..., i] for i in range(3))
        y, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
        return np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)

    return forward


def pooled(x, side=7, step=3):
    """torch.nn.functional.max_pool2d without padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))
    return windows[:, :, ::step, ::step].max((4, 5))


def bilinear(x, height, width):
    """torch.nn.functional.interpolate(mode="bilinear", align_corners=False)."""
    for axis, length in ((2, height), (3, width)):
        sides = x.shape[axis]
        place = np.clip((np.arange(length) + 0.5) * sides / length - 0.5, 0, None)
        low = np.minimum(place.astype(int), sides - 1)
        part = (place - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = np.take(x, low, axis) * (1 - part) + np.take(x, np.minimum(low + 1, sides - 1), axis) * part
    return x


def distilled(make: Maker, *, of: str, width: int = 8, blocks: int = 2, scale: int = 4):
    """RFDN (`of` "B{i}") and RLFN (`of` "block_{i}"): features, and a gate from a coarse grid."""
    w, deep = make.arrays, of == "B{i}"
    gate = width // 4 if deep else 3
    head, body = ("fea_conv", "LR_conv") if deep else ("conv_1", "conv_2")
    make.conv(head, width, 3, 3)
    make.conv(body, width, width, 3)
    make.conv("upsampler.0", 3 * scale**2, width, 3)
    if deep:
        make.conv("c.0", width, blocks * width, 1)
    for name in (of.format(i=i) for i in range(1, blocks + 1)):
        for k in (1, 2, 3):
            make.conv(f"{name}.c{k}_r", width, width, 3)
            if deep:
                make.conv(f"{name}.c{k}_d", width // 2, width, 1)
        if deep:
            make.conv(f"{name}.c4", width // 2, width, 3)
        make.conv(f"{name}.c5", width, 2 * width if deep else width, 1)
        make.conv(f"{name}.esa.conv1", gate, width, 1)
        make.conv(f"{name}.esa.conv_f", gate, gate, 1)
        make.conv(f"{name}.esa.conv4", width, gate, 1)
        for part in ("conv2", "conv3", *(("conv_max", "conv3_") if deep else ())):
            make.conv(f"{name}.esa.{part}", gate, gate, 3)

    def layer(x, name):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def attend(x, name):
        inner = layer(x, f"{name}.conv1")
        y = pooled(layer(inner, f"{name}.conv2")[:, :, 1:-1:2, 1:-1:2])  # stride 2, no padding
        if deep:
            y = prelu(layer(prelu(layer(y, f"{name}.conv_max"), 0.0), f"{name}.conv3"), 0.0)
        y = bilinear(layer(y, f"{name}.conv3_" if deep else f"{name}.conv3"), *x.shape[2:])
        return x * sigmoid(layer(y + layer(inner, f"{name}.conv_f"), f"{name}.conv4"))

    def forward(x):
        y = start = layer(x, head)
        given = []
        for name in (of.format(i=i) for i in range(1, blocks + 1)):
            if deep:
                kept = []
                for k in (1, 2, 3):
                    kept.append(prelu(layer(y, f"{name}.c{k}_d"), 0.05))
                    y = prelu(layer(y, f"{name}.c{k}_r") + y, 0.05)
                y = layer(np.concatenate([*kept, prelu(layer(y, f"{name}.c4"), 0.05)], 1), f"{name}.c5")
            else:
                z = y
                for k in (1, 2, 3):
                    z = prelu(layer(z, f"{name}.c{k}_r"), 0.05)
                y = layer(z + y, f"{name}.c5")
            y = attend(y, f"{name}.esa")
            given.append(y)
        if deep:
            y = prelu(layer(np.concatenate(given, 1), "c.0"), 0.05)
        return shuffle(layer(layer(y, body) + start, "upsampler.0"), scale)

    return forward


NEW = {"dense": "body.{i}.rdb{j}.conv{k}", "head": "conv_first", "body": "conv_body", "ups": ("conv_up1", "conv_up2"),
       "tail1": "conv_hr", "tail2": "conv_last"}  # fmt: skip
OLD = {"dense": "model.1.sub.{i}.RDB{j}.conv{k}.0", "head": "model.0", "body": "model.1.sub.1",
       "ups": ("model.3", "model.6"), "tail1": "model.8", "tail2": "model.10"}  # fmt: skip
MIDDLE = {"dense": "RRDB_trunk.{i}.RDB{j}.conv{k}", "head": "conv_first", "body": "trunk_conv",
          "ups": ("upconv1", "upconv2"), "tail1": "HRconv", "tail2": "conv_last"}  # fmt: skip
NETWORKS = {
    "srvgg": srvgg,
    "srvgg relu x2": lambda make: srvgg(make, scale=2, prelus=False),
    "rrdb": lambda make: rrdb(make, **NEW),
    "rrdb of 2018": lambda make: rrdb(make, **OLD),
    "rrdb between": lambda make: rrdb(make, **MIDDLE),
    "rrdb x2": lambda make: rrdb(make, **{**NEW, "ups": ("conv_up1",)}),
    "rrdb unshuffled x2": lambda make: rrdb(make, **NEW, smaller=2),
    "rrdb unshuffled x1": lambda make: rrdb(make, **OLD, smaller=4),
    "quicksrnet": lambda make: aimet_plain(make, quick=True, anchor=False),
    "quicksrnet large": lambda make: aimet_plain(make, quick=True, anchor=True, scale=3),
    "abpn": lambda make: aimet_plain(make, quick=False, anchor=True),
    "sesr wide": lambda make: sesr(make, wide=True, prelus=True),
    "sesr": lambda make: sesr(make, wide=False, prelus=False),
    "disp": disp,
    "xlsr": xlsr,
    "rfdn": lambda make: distilled(make, of="B{i}"),
    "rlfn": lambda make: distilled(make, of="block_{i}"),
    "ecbsr wide": lambda make: ecbsr(make, wide=True),
    "ecbsr plain": lambda make: ecbsr(make, wide=False, prelus=False, scale=4),
    "span wide": lambda make: span(make, wide=True, normalize=True),
    "span plain": lambda make: span(make, wide=False, normalize=False),
    "srresnet": srresnet,
}


def checkpoint(name: str, rng):
    make = Maker(rng)
    forward = NETWORKS[name](make)
    make.arrays = {key: np.asarray(a, np.float32) for key, a in make.arrays.items()}
    return make.arrays, forward
