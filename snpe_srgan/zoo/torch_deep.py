"""PyTorch weights of residual and dense networks: RRDBNet, SPAN, SRResNet; one function each."""

from __future__ import annotations

import math
import re

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.distilled import rfdn, rlfn
from snpe_srgan.models.registry import describe
from snpe_srgan.zoo.foreign import Foreign
from snpe_srgan.zoo.torch_state import State, Weights, scale_of

RRDB_NAMES = (  # RRDBNet's layers in the three spellings that are about
    {"head": "conv_first", "dense": "body.{i}.rdb{j}.conv{k}", "body": "conv_body", "up1": "conv_up1",
     "up2": "conv_up2", "tail1": "conv_hr", "tail2": "conv_last", "blocks": r"body\.(\d+)\.rdb1\.conv1\.weight"},
    {"head": "conv_first", "dense": "RRDB_trunk.{i}.RDB{j}.conv{k}", "body": "trunk_conv", "up1": "upconv1",
     "up2": "upconv2", "tail1": "HRconv", "tail2": "conv_last", "blocks": r"RRDB_trunk\.(\d+)\.RDB1\.conv1\.weight"},
    {"head": "model.0", "dense": "model.1.sub.{i}.RDB{j}.conv{k}.0", "body": "model.1.sub.{n}", "up1": "model.3",
     "up2": "model.6", "tail1": "model.8", "tail2": "model.10",
     "blocks": r"model\.1\.sub\.(\d+)\.RDB1\.conv1\.0\.weight"},
)  # fmt: skip


def rrdb(state: State) -> Foreign | None:
    """RRDBNet: ESRGAN (both spellings), Real-ESRGAN x4plus, and x2plus, which begins with a pixel unshuffle.

    Raises:
        InputError: it reads no RGB picture, or makes it smaller.
    """
    for names in RRDB_NAMES:
        blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(names["blocks"], n))}
        if blocks:
            break
    else:
        return None
    width, inputs = (*state.shape(f"{names['head']}.weight"), 0, 0)[:2]
    unshuffle = math.isqrt(inputs // 3)
    if 3 * unshuffle**2 != inputs or unshuffle not in (1, 2, 4):
        raise InputError(
            f"this RRDBNet reads {inputs} channels, which no RGB picture gives",
            hint="export it to .onnx, which run, quantize and convert take",
        )
    growth = (*state.shape(names["dense"].format(i=0, j=1, k=1) + ".weight"), 0)[0]
    ups = [name for name in ("up1", "up2") if f"{names[name]}.weight" in state]
    scale, rest = divmod(2 ** len(ups), unshuffle)
    if rest or not scale:
        raise InputError(f"this RRDBNet makes its picture smaller: x{2 ** len(ups)} behind an unshuffle by {unshuffle}")
    options = {"blocks": len(blocks), "width": width, "growth": growth, "unshuffle": unshuffle}
    graph, weights = describe("esrgan", options, scale=scale), Weights(state)
    weights.conv("head", names["head"], unshuffle=unshuffle)
    for i in range(len(blocks)):
        for j in (1, 2, 3):
            for k in range(1, 6):
                weights.conv(f"block{i + 1}_dense{j}_conv{k}", names["dense"].format(i=i, j=j, k=k))
    weights.conv("body", names["body"].format(n=len(blocks)))
    for name in ups:
        weights.conv(name, names[name])
    weights.conv("tail1", names["tail1"])
    weights.conv("tail2", names["tail2"], picture=True)
    return Foreign(graph, weights.arrays, "RRDBNet (ESRGAN, Real-ESRGAN)")


RGB_MEAN, RANGE = (0.4488, 0.4371, 0.4040), 255.0


def span(state: State) -> Foreign | None:
    """SPAN, trained wide (Conv3XC: `sk` and three convolutions) or already plain (`eval_conv`)."""
    if not any(n.startswith("block_6.c3_r.") for n in state.names):
        return None
    weights, normalize = Weights(state), "no_norm" not in state
    state.drop("no_norm")

    def conv(ours: str, theirs: str) -> None:
        if f"{theirs}.sk.weight" in state:
            state.drop(re.escape(theirs) + r"\.eval_conv\.(weight|bias)")  # made from the others whenever they change
            weights.put(ours, *_merged(state, theirs))
        else:
            weights.conv(ours, f"{theirs}.eval_conv")

    conv("head", "conv_1")
    width = weights.arrays["head/bias"].size
    for i in range(1, 7):
        for k in (1, 2, 3):
            conv(f"block{i}_conv{k}", f"block_{i}.c{k}_r")
    conv("body", "conv_2")
    weights.conv("fuse", "conv_cat")
    scale = scale_of((*state.shape("upsampler.0.weight"), 0)[0])
    weights.conv("tail", "upsampler.0", shuffle=scale, picture=True)
    if normalize:
        mean = np.asarray(RGB_MEAN)
        weights.put("normalize", RANGE * np.eye(3)[:, :, None, None], -RANGE * mean)
    graph = describe("span", {"width": width, "normalize": normalize}, scale=scale)
    return Foreign(graph, weights.arrays, "SPAN")


def _merged(state: State, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Conv3XC as one 3x3 convolution: 1x1, 3x3 and 1x1 in a row, plus a 1x1 beside them. All of it is linear, and the
    input is padded once, in front, so that the borders agree as well."""
    parts = [(state.take(f"{name}.conv.{i}.weight"), state.take(f"{name}.conv.{i}.bias")) for i in range(3)]
    (first, b1), (middle, b2), (last, b3) = parts
    kernel = np.einsum("po,omhw,mi->pihw", last[:, :, 0, 0], middle, first[:, :, 0, 0])
    bias = last[:, :, 0, 0] @ (middle.sum((2, 3)) @ b1 + b2) + b3
    kernel[:, :, 1, 1] += state.take(f"{name}.sk.weight")[:, :, 0, 0]
    return kernel, bias + state.take(f"{name}.sk.bias")


def srresnet(state: State) -> Foreign | None:
    """SRResNet and SRGAN's generator as Lornatang's SRGAN-PyTorch has it (Qualcomm AI Hub's `srgan`)."""
    blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(r"trunk\.(\d+)\.rcb\.0\.weight", n))}
    if not blocks or "conv1.0.weight" not in state:
        return None
    width = state.shape("conv1.0.weight")[0]
    up = r"upsampling\.(\d+)\.upsample_block\.0\.weight"
    ups = sorted({int(m[1]) for n in state.names if (m := re.match(up, n))})
    factor = math.isqrt((*state.shape("upsampling.0.upsample_block.0.weight"), 0)[0] // width)
    options = {"blocks": len(blocks), "width": width, "batch_norm": False, "tanh": False}
    graph, weights = describe("srgan", options, scale=factor ** len(ups)), Weights(state)
    state.drop(r".*\.num_batches_tracked")
    weights.conv("head", "conv1.0")
    weights.prelu("head_prelu", "conv1.1", width)
    for i in range(len(blocks)):
        weights.conv(f"block{i + 1}_conv1", f"trunk.{i}.rcb.0", norm=f"trunk.{i}.rcb.1")
        weights.prelu(f"block{i + 1}_prelu", f"trunk.{i}.rcb.2", width)
        weights.conv(f"block{i + 1}_conv2", f"trunk.{i}.rcb.3", norm=f"trunk.{i}.rcb.4")
    weights.conv("body", "conv2.0", norm="conv2.1")
    for i in ups:
        weights.conv(f"up{i + 1}", f"upsampling.{i}.upsample_block.0", shuffle=factor)
        weights.prelu(f"up{i + 1}_prelu", f"upsampling.{i}.upsample_block.2", width)
    weights.conv("tail", "conv3", picture=True)
    return Foreign(graph, weights.arrays, "SRResNet (SRGAN-PyTorch)")


def _gate(weights: Weights, ours: str, theirs: str) -> None:
    """ESA: RFDN's has three convolutions on the coarse grid, RLFN's one."""
    weights.conv(f"{ours}_in", f"{theirs}.conv1")
    weights.conv(f"{ours}_down", f"{theirs}.conv2")
    if f"{theirs}.conv_max.weight" in weights.state:
        weights.conv(f"{ours}_max", f"{theirs}.conv_max")
        weights.conv(f"{ours}_coarse1", f"{theirs}.conv3")
        weights.conv(f"{ours}_coarse2", f"{theirs}.conv3_")
    else:
        weights.conv(f"{ours}_coarse2", f"{theirs}.conv3")
    weights.conv(f"{ours}_beside", f"{theirs}.conv_f")
    weights.conv(f"{ours}_out", f"{theirs}.conv4")


def distilled(state: State) -> Foreign | None:
    """RFDN (`fea_conv`, `B1`, ...) as its authors' file has it."""
    blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(r"B(\d+)\.c1_d\.weight", n))}
    if not blocks or "fea_conv.weight" not in state:
        return None
    weights = Weights(state)
    weights.conv("head", "fea_conv")
    width = weights.arrays["head/bias"].size
    for i in sorted(blocks):
        for k in (1, 2, 3):
            weights.conv(f"block{i}_distilled{k}", f"B{i}.c{k}_d")
            weights.conv(f"block{i}_conv{k}", f"B{i}.c{k}_r")
        weights.conv(f"block{i}_conv4", f"B{i}.c4")
        weights.conv(f"block{i}_fuse", f"B{i}.c5")
        _gate(weights, f"block{i}_gate", f"B{i}.esa")
    weights.conv("fuse", "c.0")
    weights.conv("body", "LR_conv")
    scale = scale_of((*state.shape("upsampler.0.weight"), 0)[0])
    weights.conv("tail", "upsampler.0", shuffle=scale, picture=True)
    return Foreign(rfdn(width=width, blocks=len(blocks), scale=scale), weights.arrays, "RFDN")


def local_features(state: State) -> Foreign | None:
    """RLFN (`conv_1`, `block_1.c1_r` with an `esa`), its challenge entry and RLFN-S among them."""
    blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(r"block_(\d+)\.esa\.conv1\.weight", n))}
    if not blocks or "conv_1.weight" not in state:
        return None
    weights = Weights(state)
    weights.conv("head", "conv_1")
    for i in sorted(blocks):
        for k in (1, 2, 3):
            weights.conv(f"block{i}_conv{k}", f"block_{i}.c{k}_r")
        weights.conv(f"block{i}_fuse", f"block_{i}.c5")
        _gate(weights, f"block{i}_gate", f"block_{i}.esa")
    weights.conv("body", "conv_2")
    scale = scale_of((*state.shape("upsampler.0.weight"), 0)[0])
    weights.conv("tail", "upsampler.0", shuffle=scale, picture=True)
    sizes = {name: weights.arrays[f"{layer}/bias"].size for name, layer in
             (("width", "head"), ("middle", "block1_conv1"), ("gate_width", "block1_gate_in"))}  # fmt: skip
    return Foreign(rlfn(**sizes, blocks=len(blocks), scale=scale), weights.arrays, "RLFN")
