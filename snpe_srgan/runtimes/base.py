"""What all engines share: an opened file's facts as the session's description, engines' messages in one line."""

from __future__ import annotations

import re

from snpe_srgan.onnx_graphs.reach import WHOLE
from snpe_srgan.runtimes.session import Description, Tiling
from snpe_srgan.runtimes.source import Source


def description_of(
    source: Source, engine: str, version: str, *, remarks: tuple[str, ...] = (), most_pixels: int | None = None
) -> Description:
    """The `Description` of a model file on an engine; `source.facts` must be known.

    Args:
        engine, version: what computes, for people.
        remarks: for the user, about how this machine runs the model.
        most_pixels: LR pixels that the engine runs at once; None where free memory decides.
    """
    facts = source.known
    if facts.overlap is None:
        tiling, reason = Tiling.WHOLE_ONLY, facts.because or "an unknown path"
    elif facts.whole:
        tiling, reason = Tiling.NEAR, WHOLE.format(facts.whole)
    else:
        tiling, reason = (Tiling.EXACT if source.integer else Tiling.ROUNDING), None
    return Description(
        path=source.path,
        engine=engine,
        version=version,
        scale=facts.scale,
        input_size=facts.input_size,
        multiple=facts.multiple,
        radius=facts.overlap,
        tiling=tiling,
        reason=reason,
        reads_all=facts.whole is not None,
        bytes_per_pixel=facts.bytes_per_pixel,
        most_pixels=most_pixels,
        found=source.found,
        remarks=remarks,
    )


def first_line(error: Exception) -> str:
    """The line of an engine's message that says what is wrong: its last, without the engine's own prefix."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[-1]) if lines else type(error).__name__
    return said[:300]
