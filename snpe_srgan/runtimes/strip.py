"""Does Qualcomm's compiler keep the picture at this width? A strip of full width, on the emulator and on the host.

Seen with QAIRT 2.51: an 8-bit DepthToSpace of block 4 writes wrong first columns at widths of 9, 10, 30, 31, 61, 62,
63, 95, 127, ..., and nothing reports it. PSNR with its cropped border does not see it; a strip does, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.artifacts.card import Check
from snpe_srgan.errors import CheckFailed, InputError

if TYPE_CHECKING:
    import onnx

ROWS = 8  # LR rows: the fault depends on the width alone
LEVELS = 16.0  # of 255: what a column may be off, on average ...
BLOCK = 4  # of a DepthToSpace that is compiled wrongly at some odd widths
TIMES = 8.0  # ... unless it is the common rounding noise of a network that quantizes badly


@dataclass(frozen=True)
class Strip:
    """Mean absolute difference between emulator and host in 8-bit levels: of the worst LR column, of the usual one."""

    worst: float
    column: int
    median: float

    @property
    def passed(self) -> bool:
        """Whether the worst column is within `LEVELS`, or within `TIMES` the usual one."""
        return self.worst <= LEVELS or self.worst <= TIMES * self.median


def compare(emulated: np.ndarray, host: np.ndarray, *, scale: int) -> Strip:
    """How far two results of one network are apart, a column of LR pixels at a time.

    Args:
        emulated, host: float (1, rows * scale, width * scale, 3) in [-1, 1].
        scale: the network's.
    """
    error = np.abs(emulated.astype(np.float64) - host)[0].mean(axis=(0, 2)) * 127.5
    columns = error.reshape(-1, scale).mean(axis=1)
    return Strip(float(columns.max()), int(columns.argmax()), float(np.median(columns)))


def suspect_width(model: onnx.ModelProto, width: int) -> bool:
    """Whether the compiler may get a graph wrong at this width: it enlarges by a block of 4 or more, and the width is
    no multiple of 4."""
    blocks = (
        a.i for n in model.graph.node if n.op_type == "DepthToSpace" for a in n.attribute if a.name == "blocksize"
    )
    return width % 4 != 0 and any(block >= BLOCK for block in blocks)


def run_strip(model: onnx.ModelProto, *, width: int, scale: int, soc: int | str | None, where: object) -> Strip:
    """A strip of noise through an ONNX model on the emulator and on the host: of ROWS rows, or, where a graph of fixed
    size cannot be resized (a Reshape holds its sizes), of its own height.

    Args:
        model: of free input size, or of a fixed one that is `width` wide.
        width: of the strip, in LR pixels.
    """
    from snpe_srgan.onnx_graphs.model import input_size
    from snpe_srgan.toolchains.qnn import EmulatorSession

    own = input_size(model)
    tried = _on_host(model, (ROWS, width), scale, where)
    fixed, lr, expected = tried or _on_host(model, own or (ROWS, width), scale, where, least=True)
    with EmulatorSession(fixed.SerializeToString(), soc_model=soc, name=str(where)) as emulator:
        return compare(emulator.run(lr), expected, scale=scale)


def _on_host(model, size: tuple[int, int], scale: int, where: object, *, least: bool = False):
    """The model at a size, noise, and the host's answer; None where it does not work at that size (an error with
    `least`)."""
    from snpe_srgan.onnx_graphs.model import fix_size
    from snpe_srgan.onnx_graphs.run import runner

    lr = np.random.default_rng(0).random((1, *size, 3), dtype=np.float32)
    wanted = (1, size[0] * scale, size[1] * scale, 3)
    try:
        fixed = fix_size(model, size, where=where)
        expected = runner(fixed)(lr)
    except Exception as error:  # ONNX Runtime's share no base but Exception
        if least:
            raise InputError(f"the model does not run at {size[0]}x{size[1]}: {error}", where=where) from error
        return None
    if expected.shape != wanted:
        if least:
            raise InputError(f"the model gives {expected.shape} at {size[0]}x{size[1]}, not {wanted}", where=where)
        return None
    return fixed, lr, expected


def check_strip(model: onnx.ModelProto, *, width: int, scale: int, soc: int | str, where: object) -> Check:
    """See `run_strip`; `CheckFailed` when a column is wrong.

    Args:
        width: of the strip, in LR pixels.
        scale: the network's.
        soc: the chip that the emulator computes as.
        where: the model, for the error.

    Returns:
        The worst column's mean absolute difference in 8-bit levels, for the model's card.

    Raises:
        CheckFailed: a column is off by more than `Strip.passed` lets through.
        MissingToolError: onnxruntime-qnn is not installed.
    """
    strip = run_strip(model, width=width, scale=scale, soc=soc, where=where)
    if not strip.passed:
        raise CheckFailed(
            f"Qualcomm's compiler computes wrong columns at width {width}: column {strip.column} is off by "
            f"{strip.worst:.0f} of 255 levels, the usual one by {strip.median:.1f}",
            where=where,
            hint="--input-size with a width that is a multiple of 4",
        )
    return Check("the host engine", f"worst column of a strip on the emulator, 8-bit levels of {width}", strip.worst)
