"""PyTorch weights of plain networks, convolutions in a row and the enlarged picture added: one function each."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.initialize import bicubic
from snpe_srgan.models.registry import describe
from snpe_srgan.zoo.foreign import Foreign
from snpe_srgan.zoo.torch_state import State, Weights, scale_of


def srvgg(state: State) -> Foreign | None:
    """SRVGGNetCompact of Real-ESRGAN: `body.0.weight`, `body.1.weight` (PReLU), ..., the last before the shuffle."""
    places = sorted(int(m[1]) for n in state.names if (m := re.fullmatch(r"body\.(\d+)\.weight", n)))
    convs = [i for i in places if len(state.shape(f"body.{i}.weight")) == 4]
    if not convs or convs != list(range(0, convs[-1] + 1, 2)) or state.shape("body.0.weight")[1:] != (3, 3, 3):
        return None
    width, depth = state.shape("body.0.weight")[0], len(convs)
    prelu = state.shape("body.1.weight") in ((width,), (1,))
    options: dict[str, Any] = {"width": width, "depth": depth, "activation": "prelu" if prelu else "relu"}
    scale = scale_of(state.shape(f"body.{convs[-1]}.weight")[0])
    graph, weights = describe("srvgg", options, scale=scale), Weights(state)
    for i, place in enumerate(convs, 1):
        last = i == depth
        weights.conv(f"conv{i}", f"body.{place}", shuffle=scale if last else 1)
        if not last and prelu:
            weights.prelu(f"act{i}", f"body.{place + 1}", width)
    # picture = shuffle(conv) + nearest(lr) in [0, 1]: the anchor maps its own part, the convolution is doubled
    weights.double(f"conv{depth}")
    weights.arrays["anchor/kernel"] = 2 * np.tile(np.eye(3, dtype=np.float32), (1, scale**2))[None, None]
    weights.arrays["anchor/bias"] = np.full(3 * scale**2, -1, np.float32)
    return Foreign(graph, weights.arrays, "SRVGGNetCompact")


QUICK_HALF = "QuickSRNet by 1.5: the picture would not be a whole number of times as high and wide"


def aimet_plain(state: State) -> Foreign | None:
    """QuickSRNet and ABPN as Qualcomm's AIMET model zoo has them: `cnn.0`, `cnn.2`, ..., an anchor or none.

    Raises:
        InputError: a QuickSRNet by 1.5.
    """
    places = sorted(int(m[1]) for n in state.names if (m := re.fullmatch(r"cnn\.(\d+)\.weight", n)))
    quick = "conv_last.weight" in state
    if not places or places != list(range(0, places[-1] + 1, 2)) or not (quick or "anchor.net.weight" in state):
        return None
    width = state.shape("cnn.0.weight")[0]
    if quick and state.shape("conv_last.weight")[1] == 4 * width:
        raise InputError(QUICK_HALF, hint="export it to .onnx by its whole factor, or train it for one")
    names = [f"cnn.{i}" for i in places] + (["conv_last"] if quick else [])
    scale = scale_of(state.shape(f"{names[-1]}.weight")[0])
    side = (*state.shape("anchor.net.weight"), 0)[-2 if "anchor.net.weight" in state else -1]
    options = {"width": width, "depth": len(names), "activation": "clip" if quick else "relu", "anchor": side}
    graph, weights = describe("srvgg", options, scale=scale), Weights(state)
    for i, name in enumerate(names, 1):
        weights.conv(f"conv{i}", name, shuffle=scale if i == len(names) else 1, picture=i == len(names) and not side)
    if side:  # conv + anchor in [0, 1]: the anchor maps its own part, the convolution is doubled
        weights.double(f"conv{len(names)}")
        weights.conv("anchor", "anchor.net", shuffle=scale, picture=True)
    return Foreign(graph, weights.arrays, "QuickSRNet" if quick else "ABPN")


def ecbsr(state: State) -> Foreign | None:
    """ECBSR, trained wide (five branches a convolution) or plain, on brightness alone as its authors' are: Y of BT.601
    in numbers up to 255. Its colours are enlarged by bicubic, which becomes the anchor's part.

    Raises:
        InputError: one that is not on brightness alone.
    """
    places = {int(m[1]) for n in state.names if (m := re.fullmatch(r"backbone\.(\d+)\.conv3x3\.weight", n))}
    if not places or places != set(range(len(places))):
        return None
    width, colours = state.shape("backbone.0.conv3x3.weight")[:2]
    depth, last = len(places), state.shape(f"backbone.{len(places) - 1}.conv3x3.weight")[0]
    scale = math.isqrt(last)
    if colours != 1 or scale**2 != last or not 1 <= scale <= 8:
        raise InputError(
            f"this ECBSR reads {colours} channels and gives {last}: only those of brightness (1 and scale^2) are known"
        )
    prelu = "backbone.0.act.weight" in state
    activation = "prelu" if prelu else "relu"
    options = {"width": width, "depth": depth, "activation": activation, "anchor": 5, "luma": True}
    graph, weights = describe("srvgg", options, scale=scale), Weights(state)
    for i in range(depth):
        kernel, bias = _five_branches(state, f"backbone.{i}")
        if i == depth - 1:  # the same for the three colours, and Y's 219 steps as 255
            kernel, bias = (np.repeat(a, 3, axis=0) * (2 * 255 / 219) for a in (kernel, bias))
        weights.put(f"conv{i + 1}", kernel, bias / 255)
        if prelu and i < depth - 1:
            weights.prelu(f"act{i + 1}", f"backbone.{i}.act", width)
    luma = np.array([65.481, 128.553, 24.966])
    weights.put("luma", luma.reshape(1, 3, 1, 1) / 255, np.array([16 / 255]))
    weights.arrays["anchor/kernel"], weights.arrays["anchor/bias"] = _luma_anchor(luma / 219, scale)
    return Foreign(graph, weights.arrays, "ECBSR (brightness; colours by bicubic)")


def _luma_anchor(luma: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The 5x5 convolution that repeats the brightness (`luma` (3,) of RGB) and enlarges the rest by bicubic, in
    [-1, 1]."""
    soft, _ = bicubic((5, 5, 3, 3 * scale**2))
    rest = np.eye(3) - luma[:, None]  # (RGB read, RGB given): what is left of a colour without its brightness
    taps = soft.reshape(5, 5, 3, scale**2, 3)[:, :, 0, :, 0].astype(np.float64)  # (5, 5, phases), of each colour
    kernel = taps[:, :, None, :, None] * rest[None, None, :, None, :]
    kernel[2, 2] += np.broadcast_to(luma[:, None, None], kernel.shape[2:])
    kernel = (2 * kernel).reshape(5, 5, 3, 3 * scale**2)
    return kernel.astype(np.float32), np.full(3 * scale**2, -1, np.float32)


def _five_branches(state: State, name: str) -> tuple[np.ndarray, np.ndarray]:
    """ECB as one 3x3 convolution: itself, 1x1 then 3x3, and 1x1 then a fixed edge filter on each channel (three of
    them). The branches pad with what their 1x1 convolution makes of black, so the sum is exact at borders too."""
    kernel, bias = state.take(f"{name}.conv3x3.weight"), state.take(f"{name}.conv3x3.bias")
    if f"{name}.conv1x1_3x3.k0" in state:
        k0, b0, k1, b1 = (state.take(f"{name}.conv1x1_3x3.{part}") for part in ("k0", "b0", "k1", "b1"))
        kernel = kernel + np.einsum("omhw,mi->oihw", k1, k0[:, :, 0, 0])
        bias = bias + k1.sum((2, 3)) @ b0 + b1
    for branch in ("conv1x1_sbx", "conv1x1_sby", "conv1x1_lpl"):
        if f"{name}.{branch}.k0" in state:
            k0, b0, scale, mask, shift = (
                state.take(f"{name}.{branch}.{part}") for part in ("k0", "b0", "scale", "mask", "bias")
            )
            edges = (scale * mask)[:, 0]
            kernel = kernel + np.einsum("ohw,oi->oihw", edges, k0[:, :, 0, 0])
            bias = bias + edges.sum((1, 2)) * b0 + shift
    return kernel, bias


def sesr(state: State) -> Foreign | None:
    """SESR as AIMET's model zoo has it, trained wide (`conv_expand`, `conv_squeeze`) or collapsed."""
    blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(r"residual_block\.(\d+)\.conv_expand\.weight", n))}
    if not blocks or "conv_first.conv_expand.weight" not in state:
        return None
    prelu = "conv_first.activation.weight" in state
    weights = Weights(state)
    head = _collapsed(state, "conv_first")
    width = len(head[0])
    weights.put("head", *head)
    for i in sorted(blocks):
        weights.put(f"block{i + 1}", *_collapsed(state, f"residual_block.{i}", skip=True))
    last = _collapsed(state, "conv_last")
    scale = scale_of(len(last[0]))
    weights.put("tail", *last, shuffle=scale)
    weights.double("tail")
    weights.conv("anchor", "anchor.net", shuffle=scale, picture=True)
    options = {"width": width, "blocks": len(blocks), "activation": "prelu" if prelu else "relu"}
    if prelu:
        weights.prelu("head_act", "conv_first.activation", width)
        for i in sorted(blocks):
            weights.prelu(f"block{i + 1}_act", f"residual_block.{i}.activation", width)
    return Foreign(describe("sesr", options, scale=scale), weights.arrays, "SESR")


def _collapsed(state: State, name: str, *, skip: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A collapsible block as one convolution; `skip`: a short skip goes around one that is not collapsed yet."""
    wide = state.take(f"{name}.conv_expand.weight")
    if f"{name}.conv_squeeze.weight" not in state:
        return wide, state.take(f"{name}.conv_expand.bias", (len(wide),))
    narrow = state.take(f"{name}.conv_squeeze.weight")[:, :, 0, 0]
    kernel = np.einsum("om,mihw->oihw", narrow, wide)
    if skip:
        middle = [side // 2 for side in kernel.shape[2:]]
        kernel[:, :, middle[0], middle[1]] += np.eye(len(kernel))
    return kernel, state.take(f"{name}.conv_squeeze.bias", (len(narrow),))


def disp(state: State) -> Foreign | None:
    """DISP of NTIRE 2026: `blocks.I.c1_r`, `c2_r`, `_extern_conv_block.*`, `c3_r`, each an `eval_conv`."""
    blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(r"blocks\.(\d+)\.c1_r\.eval_conv\.weight", n))}
    if not blocks or "conv_2.weight" not in state:
        return None
    more = {n for n in state.names if re.fullmatch(r"blocks\.0\._extern_conv_block\.\d+\.eval_conv\.weight", n)}
    parts = ["c1_r", "c2_r", *(f"_extern_conv_block.{k}" for k in range(len(more))), "c3_r"]
    weights = Weights(state)
    weights.conv("head", "conv_1.eval_conv")
    for i in sorted(blocks):
        for k, part in enumerate(parts, 1):
            weights.conv(f"block{i + 1}_conv{k}", f"blocks.{i}.{part}.eval_conv")
    weights.conv("body", "conv_2")
    scale = scale_of((*state.shape("upsampler.0.weight"), 0)[0])
    weights.conv("tail", "upsampler.0", shuffle=scale, picture=True)
    options = {"width": weights.arrays["head/bias"].size, "blocks": len(blocks), "depth": len(parts)}
    return Foreign(describe("disp", options, scale=scale), weights.arrays, "DISP")


def xlsr(state: State) -> Foreign | None:
    """XLSR as AIMET's model zoo has it; its grouped convolutions become whole ones with zeros between the groups."""
    blocks = sorted(int(m[1]) for n in state.names if (m := re.fullmatch(r"cnn\.(\d+)\.net\.0\.weight", n)))
    if not blocks or "residual.weight" not in state:
        return None
    weights = Weights(state)
    weights.conv("beside", "residual")
    weights.conv("head", "cnn.0")
    weights.conv("mix", "cnn.2")
    width = weights.arrays["head/bias"].size
    for i, place in enumerate(blocks, 1):
        weights.conv(f"block{i}_conv1", f"cnn.{place}.net.0", inputs=width)
        weights.conv(f"block{i}_conv2", f"cnn.{place}.net.2")
    weights.conv("fuse", "tail.0")
    scale = scale_of((*state.shape("tail.2.weight"), 0)[0])
    weights.conv("tail", "tail.2", shuffle=scale, picture=True)
    options = {"width": width, "beside": weights.arrays["beside/bias"].size, "blocks": len(blocks)}
    return Foreign(describe("xlsr", options, scale=scale), weights.arrays, "XLSR")
