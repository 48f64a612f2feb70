"""Where two runs part, for people: `snpe-srgan inspect MODEL --on emulator`."""

from __future__ import annotations

from snpe_srgan.console import table
from snpe_srgan.divergence.find import Divergence, LayerGap, PictureGap
from snpe_srgan.divergence.measure import Gap
from snpe_srgan.streams import Lines

FEW = 12  # layers that are listed


def divergence_text(report: Divergence, *, everything: bool = False) -> list[str | Lines]:
    """Lines; of the layers that depart only the first unless `everything`."""
    head = f"{report.first_model} on the host, {report.second_model} on the {report.on}"
    lines: list[str | Lines] = [
        f"{head}: {report.size[0]}x{report.size[1]} LR pixels, {len(report.layers)} layers",
        f"pictures: {_picture(report.picture)}",
    ]
    if report.on != "host":
        changed = f"changed it by up to {report.disturbed:.1f} levels: read what follows with care"
        lines.append("looking at the layers " + (changed if report.disturbed else "changed no bit of the picture"))
    if report.unpaired:
        lines.append(f"only in one of the two: {', '.join(report.unpaired[:FEW])}")
    first, worst = report.first, report.worst
    if first is None:
        lines.append("no layer departs by more than rounding" + _all_of(report))
    else:
        lines += ["", f"first layer that departs: {_layer(first)}", *_cause(first)]
        lines += [f"  the files differ in it: {line}" for line in first.differs[:FEW]]
    if worst is not None:
        own = "" if worst is first else f" ({worst.kind}{'' if worst.departs else ', by rounding'})"
        lines += ["", f"largest effect on the picture: {worst.name}{own}; it alone: {_picture(worst.picture)}"]
        lines += _cause(worst) if worst is not first else []
    shown = [layer for layer in report.layers if everything or layer.departs]
    if shown:
        lines += ["", table(HEADER, map(_row, shown if everything else shown[:FEW]))]
        if not everything and len(shown) > FEW:
            lines.append(f"... and {len(shown) - FEW} more: --layers shows all")
    return lines


def _all_of(report: Divergence) -> str:
    """Of which layers that is known, where not of all."""
    compared = sum(layer.local is not None for layer in report.layers)
    if compared == len(report.layers) and not report.unpaired:
        return ""
    named = ", ".join([layer.name for layer in report.layers if layer.local is None][:FEW])
    return f", of the {compared} of {len(report.layers)} that can be compared" + (f": not {named}" if named else "")


HEADER = ("layer", "kind", "bits", "SQNR alone", "with input", "mean", "largest", "picture", "likely cause")


def _row(layer: LayerGap) -> tuple[object, ...]:
    local, step = layer.local, layer.step or 1.0
    return (
        layer.name, layer.kind, layer.bits or "float", _dB(local),
        _dB(layer.cumulative),
        "" if local is None else f"{local.mean / step:+.3g}", "" if local is None else f"{local.largest / step:.3g}",
        "" if layer.picture is None else f"{layer.picture.shift:+.2f}", layer.cause.name if layer.cause else "",
    )  # fmt: skip


def _dB(gap: Gap | None) -> str:
    return "" if gap is None or gap.sqnr is None else f"{gap.sqnr:.1f}"


def _picture(gap: PictureGap | None) -> str:
    if gap is None or gap.psnr is None:
        return "the same"
    return f"{gap.psnr:.1f} dB apart, {gap.shift:+.2f} levels on average, {gap.largest:.1f} at most"


def _layer(layer: LayerGap) -> str:
    told = [layer.kind, f"{layer.bits} bits" if layer.bits else "float"]
    local, unit = layer.local, "steps" if layer.step else ""
    if local is not None:
        step = layer.step or 1.0
        told.append(f"SQNR {_dB(local) or 'none'} dB alone")
        told.append(f"off by {local.mean / step:+.3g} {unit} on average, {local.largest / step:.3g} at most".replace(
            "  ", " "))  # fmt: skip
    spot = layer.place
    where = "" if spot is None else f", in channel {spot.channel} at LR row {spot.lr_row}, column {spot.lr_column}"
    return f"{layer.name} ({', '.join(told)}{where})"


def _cause(layer: LayerGap) -> list[str]:
    if layer.cause is None:
        return []
    return [f"  likely cause: {layer.cause.text}", f"  to try: {layer.cause.advice}"]
