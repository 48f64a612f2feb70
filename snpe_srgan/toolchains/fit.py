"""Can this .dlc run on that chip? Held against Table 1: runtimes, bits, shapes, VTCM, generation of the file.

    fit = check(describe(read("generator_w8a8.dlc")), chips.find("845"))
    fit.runs        # ('cpu', 'gpu', 'dsp')
    fit.refused     # {'aip': 'Snapdragon 845 (SDM845) has no AIP runtime'}

Rules, from the SDK's documents: the CPU and GPU run floats and what is quantized (as floats); DSP and AIP run quantized
networks only, of 8 bits; the tensor processor (Hexagon v68 and later) takes 16-bit activations too, and a float network
that was compiled for it. No runtime takes a free shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from snpe_srgan.dlc.describe import DlcSummary
from snpe_srgan.toolchains.chips import HTP, SNPE_2, Chip

RUNTIMES = ("cpu", "gpu", "dsp", "aip")
CHANGES_OF_TYPE = {"Quantize", "Dequantize", "Convert", "Cast"}
FIXED_POINT = re.compile(r"[us]fxp(\d+)$")


@dataclass(frozen=True)
class Fit:
    """`runs`: the runtimes that take the file; `refused`: the others, with the reason; `remarks`: what else matters;
    `compiled`: whether the file holds its graph ready-compiled for this chip."""

    chip: Chip
    runs: tuple[str, ...]
    refused: Mapping[str, str]
    remarks: tuple[str, ...]
    compiled: bool


def check(summary: DlcSummary, chip: Chip) -> Fit:
    """Which of a chip's runtimes take a .dlc, and why the others do not; nothing is run.

    Args:
        summary: what `dlc.describe` read from the file, of SNPE 1.x or 2.x.

    Returns:
        A `Fit` whose `runs` and `refused` together name all of `RUNTIMES`.
    """
    refused = {runtime: why for runtime in RUNTIMES if (why := _refusal(summary, chip, runtime))}
    runs, remarks = tuple(r for r in RUNTIMES if r not in refused), tuple(_remarks(summary, chip, refused))
    return Fit(chip, runs, refused, remarks, compiled=chip.part in summary.caches)


def bits(summary: DlcSummary) -> tuple[int | None, int | None]:
    """(bits of weights, bits of activations): the widest there are; None where a layer computes in floats.

    Biases do not count (32 bits everywhere), nor the floats at the two ends of a quantized graph.
    """
    layers = [layer for layer in summary.layers if layer.type not in CHANGES_OF_TYPE]
    stored = {t.name: t.dtype for t in summary.tensors if t.role == "static" and len(t.shape) > 1}
    used = {name for layer in layers for name in layer.inputs}
    return (
        _widest([dtype for name, dtype in stored.items() if name in used]),
        _widest([layer.output_dtype for layer in layers]),
    )


def _widest(dtypes: list[str]) -> int | None:
    found = [int(match[1]) for match in map(FIXED_POINT.match, dtypes) if match]
    return max(found, default=0) if len(found) == len(dtypes) else None


def _refusal(summary: DlcSummary, chip: Chip, runtime: str) -> str | None:
    if any(length <= 0 for port in (*summary.inputs, *summary.outputs) for length in port.shape):
        return "the shapes are not fixed: convert with --input-size"
    if runtime in ("cpu", "gpu"):
        return None
    if runtime not in chip.runtimes:
        return f"{chip} has no {runtime.upper()} runtime"
    weights, activations = bits(summary)
    if weights is None or activations is None:
        if runtime == "dsp" and chip.part in summary.caches:
            return None  # compiled for this very chip: it computes in 16-bit floats
        return f"the {runtime.upper()} runs quantized networks only: convert --quantize"
    limit = 16 if runtime == "dsp" and (chip.hexagon or 0) >= HTP else 8
    if weights > 8 or activations > limit:
        wide = f"{weights}-bit weights, {activations}-bit activations"
        return f"the {runtime.upper()} of {chip} runs {limit}-bit networks, this one has {wide}"
    if summary.version >= 4 and (chip.hexagon or 0) < SNPE_2:
        return f"SNPE 2 has no DSP library for Hexagon v{chip.hexagon}: convert --toolchain snpe, with SNPE 1.x"
    return None


def _remarks(summary: DlcSummary, chip: Chip, refused: Mapping[str, str]):
    if summary.version == 3:
        yield "a file of SNPE 1.x: SNPE 2 and QAIRT cannot load it"
    if "dsp" in refused:
        return
    largest = max((layer.bytes for layer in summary.layers), default=0)
    if chip.vtcm_mb and largest > chip.vtcm_mb << 20:
        yield f"the weights of one layer ({largest:,} bytes) exceed the {chip.vtcm_mb} MB of VTCM: slow, from memory"
    if (chip.hexagon or 0) >= HTP and chip.part not in summary.caches:
        yield "no ready-compiled cache in the file: the phone compiles it at the first load"
