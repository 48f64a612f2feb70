"""PyTorch weights of known architectures as our networks: recognized by the names and shapes of their arrays.

    network = read_torch("RealESRGAN_x4plus.pth")     # Foreign: esrgan x4, 16,697,987 parameters

Each architecture is one function: None when the names are not its own, else our description and the arrays under our
names. What it does not take out of the file is an error that names it, so that no weight is lost in silence. The ends
differ: these networks give pictures in [0, 1] and ours in [-1, 1], which the last convolution takes in exactly; a
PyTorch pixel shuffle orders channels (colour, row, column), ours (row, column, colour), which is a permutation of the
convolution before it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.models.registry import describe
from snpe_srgan.zoo.foreign import Foreign
from snpe_srgan.zoo.torch_files import read_weights

CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net_g", "generator", "g", "netG")
PREFIXES = ("module.", "generator.", "netG.", "model_g.", "net_g.", "_orig_mod.")
HINT = (
    "known: SRVGGNetCompact, RRDBNet (ESRGAN, Real-ESRGAN x4), SPAN, SRResNet; of others export the network to .onnx, "
    "which run, quantize and convert take"
)


class State:
    """The arrays of a file, which architectures take out one by one."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays = dict(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    @property
    def names(self) -> list[str]:
        return list(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape if name in self._arrays else ()

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """One array, in float64; `InputError` when it is missing or of another shape."""
        if name not in self._arrays:
            raise InputError(f"the array '{name[:80]}' is missing")
        array = self._arrays.pop(name)
        if shape is not None and array.shape != shape:
            raise InputError(f"the array '{name[:80]}' is {array.shape}, not {shape}")
        return array.astype(np.float64)

    def drop(self, pattern: str) -> None:
        """Leaves out what has no part in the picture."""
        for name in [n for n in self._arrays if re.fullmatch(pattern, n)]:
            del self._arrays[name]


class Weights:
    """Our arrays, filled from PyTorch's layouts."""

    def __init__(self, state: State):
        self.state = state
        self.arrays: dict[str, np.ndarray] = {}

    def conv(self, ours: str, theirs: str, *, norm: str | None = None, shuffle: int = 1, picture: bool = False) -> None:
        """A convolution: OIHW to HWIO, and a bias of 0 where there is none.

        Args:
            norm: the batch norm behind it, folded in (epsilon 1e-5, PyTorch's default).
            shuffle: a pixel shuffle by this follows.
            picture: it gives the picture, in [0, 1] there and in [-1, 1] here.
        """
        kernel = self.state.take(f"{theirs}.weight")
        if kernel.ndim != 4:
            raise InputError(f"'{theirs[:80]}' is no convolution")
        outputs = len(kernel)
        bias = self.state.take(f"{theirs}.bias", (outputs,)) if f"{theirs}.bias" in self.state else np.zeros(outputs)
        if norm is not None:
            mean, variance = (self.state.take(f"{norm}.running_{x}", (outputs,)) for x in ("mean", "var"))
            factor = self.state.take(f"{norm}.weight", (outputs,)) / np.sqrt(np.maximum(variance, 0) + 1e-5)
            kernel = kernel * factor.reshape(-1, 1, 1, 1)
            bias = (bias - mean) * factor + self.state.take(f"{norm}.bias", (outputs,))
        self.put(ours, kernel, bias, shuffle=shuffle, picture=picture)

    def put(self, ours: str, kernel: np.ndarray, bias: np.ndarray, *, shuffle: int = 1, picture: bool = False) -> None:
        """As `conv`, of arrays: kernel OIHW."""
        if picture:
            kernel, bias = 2 * kernel, 2 * bias - 1
        if shuffle > 1:
            order = np.arange(len(kernel)).reshape(-1, shuffle**2).T.reshape(-1)
            kernel, bias = kernel[order], bias[order]
        self.arrays[f"{ours}/kernel"] = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32)
        self.arrays[f"{ours}/bias"] = bias.astype(np.float32)

    def prelu(self, ours: str, theirs: str, channels: int) -> None:
        """PReLU's slopes, one for all channels or one each."""
        slope = self.state.take(f"{theirs}.weight")
        if slope.size not in (1, channels):
            raise InputError(f"'{theirs[:80]}' has {slope.size} slopes for {channels} channels")
        self.arrays[f"{ours}/alpha"] = np.full(channels, slope.reshape(-1), np.float32)


def _scale(channels: int) -> int:
    """Of a last convolution that gives 3 * scale^2 channels."""
    scale = math.isqrt(channels // 3)
    if 3 * scale**2 != channels or scale < 1:
        raise InputError(f"a last convolution of {channels} channels makes no RGB picture")
    return scale


def srvgg(state: State) -> Foreign | None:
    """SRVGGNetCompact of Real-ESRGAN: `body.0.weight`, `body.1.weight` (PReLU), ..., the last before the shuffle."""
    places = sorted(int(m[1]) for n in state.names if (m := re.fullmatch(r"body\.(\d+)\.weight", n)))
    convs = [i for i in places if len(state.shape(f"body.{i}.weight")) == 4]
    if not convs or convs != list(range(0, convs[-1] + 1, 2)) or state.shape("body.0.weight")[1:] != (3, 3, 3):
        return None
    width, depth = state.shape("body.0.weight")[0], len(convs)
    prelu = state.shape("body.1.weight") in ((width,), (1,))
    options: dict[str, Any] = {"width": width, "depth": depth, "activation": "prelu" if prelu else "relu"}
    scale = _scale(state.shape(f"body.{convs[-1]}.weight")[0])
    graph, weights = describe("srvgg", options, scale=scale), Weights(state)
    for i, place in enumerate(convs, 1):
        last = i == depth
        weights.conv(f"conv{i}", f"body.{place}", shuffle=scale if last else 1)
        if not last and prelu:
            weights.prelu(f"act{i}", f"body.{place + 1}", width)
    # picture = shuffle(conv) + nearest(lr) in [0, 1]: the anchor maps its own part, the convolution is doubled
    for array in ("kernel", "bias"):
        weights.arrays[f"conv{depth}/{array}"] *= np.float32(2)
    weights.arrays["anchor/kernel"] = 2 * np.tile(np.eye(3, dtype=np.float32), (1, scale**2))[None, None]
    weights.arrays["anchor/bias"] = np.full(3 * scale**2, -1, np.float32)
    return Foreign(graph, weights.arrays, "SRVGGNetCompact")


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
    """RRDBNet: ESRGAN (both spellings) and Real-ESRGAN x4plus; x2plus begins with a pixel unshuffle."""
    for names in RRDB_NAMES:
        blocks = {int(m[1]) for n in state.names if (m := re.fullmatch(names["blocks"], n))}
        if blocks:
            break
    else:
        return None
    width, inputs = (*state.shape(f"{names['head']}.weight"), 0, 0)[:2]
    if inputs != 3:
        raise InputError(
            f"this RRDBNet reads {inputs} channels: a pixel unshuffle (x2plus, x1) or another picture",
            hint="export it to .onnx, which run, quantize and convert take",
        )
    growth = (*state.shape(names["dense"].format(i=0, j=1, k=1) + ".weight"), 0)[0]
    ups = [name for name in ("up1", "up2") if f"{names[name]}.weight" in state]
    options = {"blocks": len(blocks), "width": width, "growth": growth}
    graph, weights = describe("esrgan", options, scale=2 ** len(ups)), Weights(state)
    weights.conv("head", names["head"])
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
    scale = _scale((*state.shape("upsampler.0.weight"), 0)[0])
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


ARCHITECTURES: tuple[Callable[[State], Foreign | None], ...] = (srvgg, rrdb, span, srresnet)


def read_torch(path: str | os.PathLike) -> Foreign:
    """The network in a `.pth`, `.pt` or `.safetensors` file.

    Raises:
        InputError: no known architecture, an array that is missing, of another shape, or left over.
    """
    arrays = _plain(read_weights(path))
    for architecture in ARCHITECTURES:
        state = State(arrays)
        try:
            found = architecture(state)
        except InputError as error:
            raise InputError(error.what, where=path, hint=error.hint or HINT) from error
        if found is None:
            continue
        if left := state.names:
            raise InputError(
                f"{len(left)} arrays have no place in {found.origin}: {', '.join(sorted(left)[:3])[:200]}", where=path,
                hint="another variant of this architecture; export the network to .onnx",
            )  # fmt: skip
        return found
    raise InputError(
        f"no known architecture has these {len(arrays)} arrays ({', '.join(sorted(arrays)[:3])[:120]}, ...)",
        where=path, hint=HINT,
    )  # fmt: skip


def _plain(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights alone: averaged ones where a checkpoint has both, without the wrappers' prefixes."""
    for container in CONTAINERS:
        inside = {n.partition("/")[2]: a for n, a in arrays.items() if n.partition("/")[0] == container and "/" in n}
        if inside:
            return _plain(inside)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in arrays):
            return _plain({name[len(prefix) :]: array for name, array in arrays.items()})
    return arrays
