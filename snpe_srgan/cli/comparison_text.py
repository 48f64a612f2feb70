"""The difference of two .dlc files for people: `snpe-srgan inspect a.dlc b.dlc`."""

from __future__ import annotations

from collections.abc import Sequence

from snpe_srgan.dlc.compare import Comparison, Difference
from snpe_srgan.dlc.describe import EncodingSummary, LayerSummary
from snpe_srgan.streams import Lines

FEW = 20  # layers of each kind that are listed


def comparison_text(result: Comparison, *, everything: bool = False) -> list[str]:
    """Lines; of long lists only the beginning unless `everything`."""
    if result.equal:
        return [f"{result.first.name} and {result.second.name}: no difference in {result.same} layers"]
    lines = [f"{result.first.name} -> {result.second.name}"]
    width = max((len(d.what) for d in result.file), default=0)
    lines += [f"{d.what:<{width}}  {_arrow(d)}" for d in result.file]
    for sign, layers in (("-", result.removed), ("+", result.added)):
        lines += _cut([f"{sign} {_layer(layer)}" for layer in layers], everything)
    changes = []
    for change in result.changed:
        changes.append(Lines.of([f"* {change.name}", *(f"    {d.what}: {_arrow(d)}" for d in change.differences)]))
    lines += _cut(changes, everything)
    counts = f"{len(result.removed)} removed, {len(result.added)} added, {len(result.changed)} changed"
    return [*lines, f"layers: {counts}, {result.same} the same"]


def _cut(lines: Sequence[str], everything: bool) -> list[str]:
    if everything or len(lines) <= FEW:
        return list(lines)
    return [*lines[:FEW], f"  ... and {len(lines) - FEW} more: --layers shows them all"]


def _layer(layer: LayerSummary) -> str:
    shape = "x".join(map(str, layer.output_shape))
    return f"{layer.name} ({layer.type}, {shape} {layer.output_dtype}, {layer.parameters:,} parameters)"


def _arrow(difference: Difference) -> str:
    if difference.first == "":
        return _plain(difference.second)
    return f"{_plain(difference.first)} -> {_plain(difference.second)}"


def _plain(value: object) -> str:
    if isinstance(value, EncodingSummary):
        channels = f" in {value.channels} channels" if value.channels > 1 else ""
        return f"{value.bits} bits{channels}, {value.low:.4g} .. {value.high:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)[:200]
