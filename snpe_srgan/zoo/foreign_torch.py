"""PyTorch weights of known architectures as our networks: recognized by the names and shapes of their arrays.

    network = read_torch("RealESRGAN_x4plus.pth")     # Foreign: esrgan x4, 16,697,987 parameters

Each architecture is one function (`torch_plain.py`, `torch_deep.py`): None when the names are not its own, else our
description and the arrays under our names. What it does not take out of the file is an error that names it, so that no
weight is lost in silence.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.zoo.foreign import Foreign
from snpe_srgan.zoo.torch_deep import distilled, local_features, rrdb, span, srresnet
from snpe_srgan.zoo.torch_files import read_weights
from snpe_srgan.zoo.torch_plain import aimet_plain, disp, ecbsr, sesr, srvgg, xlsr
from snpe_srgan.zoo.torch_state import State

CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net_g", "generator", "g", "netG")
PREFIXES = ("module.", "generator.", "netG.", "model_g.", "net_g.", "_orig_mod.")
TAKEN = (
    "SRVGGNetCompact, RRDBNet (ESRGAN, Real-ESRGAN x4, x2), SPAN, DISP, SRResNet, RFDN, RLFN, QuickSRNet, SESR, XLSR, "
    "ABPN, ECBSR"
)
HINT = f"taken: {TAKEN}; export other networks to .onnx, which every command takes"
ARCHITECTURES: tuple[Callable[[State], Foreign | None], ...] = (
    srvgg, rrdb, span, srresnet, distilled, local_features, aimet_plain, sesr, disp, xlsr, ecbsr,
)  # fmt: skip
NOT_TAKEN = (  # an array that only this family has -> its name, for the refusal
    (
        r".*residual_group\.blocks\.\d+\.attn\.(qkv|.*relative_position_bias_table).*",
        "SwinIR or HAT (window attention)",
    ),
    (r".*\.attn\.logit_scale", "Swin2SR (window attention)"),
    (r".*\.(attns|chan_attn|spatial_block|attn_fn)\..*", "a transformer (DAT, DITN or a relative)"),
    (r".*\.qkv\.weight", "a transformer"),
    (r"(sub_mean|head\.0|body\.0\.body\.0)\.weight", "EDSR, RCAN or a relative in the layout of EDSR-PyTorch"),
    (r"feats\.\d+\.(lk|dccm)\..*", "PLKSR (large kernels)"),
)


def _family(names: list[str]) -> str | None:
    """The name of a family that is known and not taken."""
    return next((what for pattern, what in NOT_TAKEN if any(re.fullmatch(pattern, name) for name in names)), None)


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
    if family := _family(list(arrays)):
        raise InputError(f"these are weights of {family}, which is not taken as weights", where=path, hint=HINT)
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
