"""Where every tenth of a dB goes: all that can be said about a quantized network's layers, as data.

    analysis = analyse(plan, crops, reference=float_model)
    write_analysis("generator_w8a8.analysis.json", analysis)

`plots` draws it, `report` prints the worst of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from snpe_srgan.artifacts.files import write_text
from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.run import session
from snpe_srgan.parallel import Jobs
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.judge.layer_losses import (
    Flow,
    LayerLoss,
    channel_ranges,
    decibel,
    layer_losses,
    observe,
)
from snpe_srgan.quantization.judge.sensitivity import crops_for, picture_psnr, sensitivities

OBSERVED = 4  # crops
DIGITS = 5  # of a number in the file


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of one tensor, or the output channels of one kernel; all arrays (channels,).

    Attributes:
        kind: the operator that makes it, or "weights".
        low_before, high_before: extremes in the network that was quantized; None for a tensor it does not have.
        low, high: the same after equalization and the other rewriting.
        shift_before, shift: mean of the quantized - mean of the float values, with all of the network quantized,
            without and with the plan's corrections; None for weights.
        spread: standard deviation of the float values; None for weights.
        sqnr_before: dB of the whole tensor without the corrections, beside `LayerLoss.sqnr`.
    """

    name: str
    kind: str
    low: np.ndarray
    high: np.ndarray
    low_before: np.ndarray | None = None
    high_before: np.ndarray | None = None
    spread: np.ndarray | None = None
    shift: np.ndarray | None = None
    shift_before: np.ndarray | None = None
    sqnr_before: float | None = None

    @property
    def range_before(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) before the network was rewritten; as it is now where nothing else is known."""
        if self.low_before is None or self.high_before is None:
            return self.low, self.high
        return self.low_before, self.high_before

    def used(self, *, before: bool = False) -> float:
        """What part of the tensor's range its channels use on average: 1 when all are equally wide (Nagel's p-bar)."""
        low, high = self.range_before if before else (self.low, self.high)
        bound = np.maximum(np.maximum(high, 0), np.maximum(-low, 0))
        return float((bound / bound.max()).mean()) if bound.max() > 0 else 1.0

    def relative_shift(self, *, before: bool = False) -> float | None:
        """Root mean square of the channels' mean shifts against that of their spreads."""
        shift = self.shift_before if before else self.shift
        if shift is None or self.spread is None or not np.any(self.spread):
            return None
        return float(np.sqrt(np.square(shift).mean() / np.square(self.spread).mean()))


@dataclass(frozen=True, eq=False)
class Analysis:
    """Of one plan.

    Attributes:
        against: the float network that everything is compared with.
        crops: how many were observed.
        sensitivity_crops: LR height x width and number of those that sensitivity was measured on; None: not measured.
        picture_psnr: on those, dB of the quantized picture against the float one, not rounded to pixels.
        picture_psnr_summed: what the layers' measured errors make together; near `picture_psnr` when they are
            independent, higher when they reinforce each other, lower when the corrections cancel them.
    """

    layers: tuple[LayerLoss, ...]
    channels: tuple[Channels, ...]
    against: str
    crops: int
    sensitivity_crops: str | None = None
    picture_psnr: float | None = None
    picture_psnr_summed: float | None = None

    @property
    def worst(self) -> LayerLoss:
        """The layer with the largest share of the error."""
        return max(self.layers, key=lambda layer: layer.share)


def analyse(
    plan: Plan,
    crops: Sequence[np.ndarray],
    *,
    reference,
    exact=None,
    measure: bool = True,
    progress: Callable[[int, int], None] | None = None,
    jobs: Jobs = 1,
) -> Analysis:
    """Everything about a plan's layers.

    Args:
        crops: LR crops (1, h, w, 3) float32 in [0, 1].
        reference: the float network that was to be quantized: the ranges before.
        exact: the same function in the plan's own channel scales (equalized, not yet corrected or rounded): what is
            compared with. `reference` if nothing was equalized; `plan.model` by default, as after fine-tuning.
        measure: also measure every layer's sensitivity (half a minute for the 16 x 64 network on two free cores).
        progress: of that measurement; jobs: processes for it.
    """
    exact, few = exact or plan.model, list(crops[:OBSERVED])
    quantized = plan.quantized()
    variants = [quantized] if exact is plan.model else [quantized, replace(plan, model=exact).quantized()]
    seen, *uncorrected = observe(plan, few, exact=exact, quantized=variants)
    ranges = channel_ranges(reference, few)
    measured = sensitivities(plan, crops, exact=exact, progress=progress, jobs=jobs) if measure else ()
    analysis = Analysis(
        layers=layer_losses(plan, seen, measured, exact=exact),
        channels=(*_tensors(plan, seen, uncorrected[0] if uncorrected else None, ranges), *_kernels(plan, reference)),
        against="the plan's own float network" if exact is plan.model else "the float network before corrections",
        crops=len(few),
    )
    if not measure:
        return analysis
    lr = crops_for(plan.model, crops)
    return replace(
        analysis,
        sensitivity_crops=f"{lr.shape[1]}x{lr.shape[2]}, {len(lr)}",
        picture_psnr=picture_psnr(_error(exact, quantized, lr)),
        picture_psnr_summed=picture_psnr(sum(s.error for s in measured)),
    )


def _error(exact, quantized, lr: np.ndarray) -> float:
    """Mean squared error of the quantized network's pictures against the float one's, clipped to [-1, 1]."""
    outputs = []
    for model in (exact, quantized):
        run, name, sr = session(model), model.graph.input[0].name, model.graph.output[0].name
        outputs.append([np.clip(run([sr], {name: one[None]})[0], -1, 1).astype(np.float64) for one in lr])
    return float(np.mean([np.square(a - b).mean() for a, b in zip(*outputs, strict=True)]))


def _tensors(plan: Plan, seen: dict[str, Flow], uncorrected: dict[str, Flow] | None, ranges) -> list[Channels]:
    network = Network(plan.model)
    rows = []
    for x, flow in seen.items():
        low, high = ranges.get(x, (None, None))
        if low is not None and len(low) != len(flow.low):
            low = high = None  # rewritten to another number of channels
        before = None if uncorrected is None else uncorrected[x]
        rows.append(
            Channels(
                name=x,
                kind=network.makers[x].kind,
                low=flow.low,
                high=flow.high,
                low_before=low,
                high_before=high,
                spread=flow.spread,
                shift=flow.shift,
                shift_before=None if before is None else before.shift,
                sqnr_before=None if before is None else decibel(before.signal, before.noise),
            )
        )
    return rows


def _kernels(plan: Plan, reference) -> list[Channels]:
    def extremes(node):
        flat = np.asarray(node.constants[1]).reshape(len(node.constants[1]), -1)
        return flat.min(axis=1), flat.max(axis=1)

    old = {n.name: extremes(n) for n in Network(reference).nodes if n.kind == "Conv"}
    rows = []
    for node in Network(plan.model).nodes:
        if node.kind == "Conv":
            low, high = extremes(node)
            before = old.get(node.name, (None, None))
            before = before if before[0] is not None and len(before[0]) == len(low) else (None, None)
            rows.append(Channels(node.name, "weights", low, high, *before))
    return rows


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Plain data; numbers of arrays with DIGITS digits, with the summary of each array that a reader wants first."""
    data = to_plain(analysis)
    for entry, channels in zip(data["channels"], analysis.channels, strict=True):
        for key, value in entry.items():
            if isinstance(value, list):
                entry[key] = [None if v is None else float(f"{v:.{DIGITS}g}") for v in value]
        entry["used"] = channels.used()
        entry["used_before"] = None if channels.low_before is None else channels.used(before=True)
        entry["relative_shift"] = channels.relative_shift()
        entry["relative_shift_before"] = channels.relative_shift(before=True)
    return data


def write_analysis(path: str | os.PathLike, analysis: Analysis, *, overwrite: bool = False) -> None:
    """JSON with one line for each layer, so that 64 channels do not fill 64 lines.

    Args:
        overwrite: whether the file may exist already.

    Raises:
        InputError: it exists and may not, or cannot be written.
    """
    data = to_json(analysis)
    lines = []
    for key, value in data.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row, allow_nan=False) for row in value)
            lines.append(f'"{key}": [\n  {rows}\n ]')
        else:
            lines.append(f'"{key}": {json.dumps(value, allow_nan=False)}')
    write_text(path, "{\n " + ",\n ".join(lines) + "\n}\n", overwrite=overwrite)
