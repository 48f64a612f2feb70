"""The tables of a compression, as (header, rows): for the command line, the run's report and the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snpe_srgan.compression.advice import MEANS

if TYPE_CHECKING:
    from snpe_srgan.compression.measure import Measured
    from snpe_srgan.compression.result import Row, Tried

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
UNITS = {"ssvd": "rank", "channels": "channels", "block": "block"}


def given_up(rows: Sequence[Row]) -> Table:
    """What each unit gave up; those left whole are not listed."""
    header: tuple[str, ...] = ("unit", "by", "of", "left", "MACs saved", "picture alone, dB")
    lines: list[tuple[str, ...]] = [
        (row.unit, MEANS[row.kind], f"{row.full} {UNITS[row.kind]}", str(row.kept), f"{row.macs_saved:,}",
         decibel(row.picture_psnr))
        for row in rows if row.kept < row.full
    ]  # fmt: skip
    return header, lines


def strategies(tried: Sequence[Tried], chosen: str) -> Table:
    """Each strategy: what it leaves, and how close the pictures stay."""
    priced = any(t.latency is not None for t in tried)
    header = ("strategy", "MACs", "parameters", *(("DSP estimate",) if priced else ()), "PSNR, dB", "")
    lines = []
    for t in tried:
        latency = ("-" if t.latency is None else f"{t.latency:.1%}",) if priced else ()
        remark = "taken" if t.strategy == chosen else "" if t.met else t.why_not or "not met"
        lines.append((t.strategy, f"{t.macs:.1%}", f"{t.parameters:.1%}", *latency, decibel(t.psnr_to_full), remark))
    return header, lines


def before_after(measured: Measured) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    """(header, rows, notes): every figure before and after, and what is left of it."""
    before, after = measured.before, measured.after
    rows = [
        _row("parameters", before.parameters, after.parameters),
        _row("MACs per LR pixel", before.macs_per_lr_pixel, after.macs_per_lr_pixel),
        _row(".npz bytes", before.npz_bytes, after.npz_bytes),
    ]
    for name, a, b in (
        (".dlc bytes, float", before.dlc_bytes, after.dlc_bytes),
        (".dlc bytes, 8 bits", before.dlc_bytes_8bit, after.dlc_bytes_8bit),
    ):
        if a is not None and b is not None:
            rows.append(_row(name, a, b))
    for engine, ratio in measured.speedups.items():
        slow, fast = before.host_seconds[engine], after.host_seconds[engine]
        rows.append((f"host, {engine}", f"{slow * 1000:.1f} ms", f"{fast * 1000:.1f} ms", f"{1 / ratio:.1%}",
                     f"{ratio:.2f}x"))  # fmt: skip
    for name, x, y in (
        ("DSP estimate, 8 bits", before.estimate_8bit, after.estimate_8bit),
        ("DSP estimate, float", before.estimate, after.estimate),
    ):
        if x is not None and y is not None:
            a, b = x.microseconds, y.microseconds
            rows.append((name, f"{a / 1000:.2f} ms", f"{b / 1000:.2f} ms", f"{b / a:.1%}", f"{a / b:.2f}x"))
    header = (f"{before.name} -> {after.name}", "before", "after", "left", "faster")
    size = "{}x{}".format(*measured.input_size)
    notes = [
        "host: {}x{} LR picture, {} runs in turns, {} threads on {}; median, and median ratio within a turn".format(
            *measured.picture_size, measured.runs, measured.threads, measured.cpu
        )
    ]
    if before.dlc_bytes is not None:
        notes.append(f".dlc: {size} LR input; 8 bits: plain rounding, `quantize` corrects it at the same size")
    if measured.estimate_label:
        notes.append(f"DSP: {measured.estimate_label} at {size}; accelerator time only, not a measured latency")
    figures = (before.estimate_8bit, after.estimate_8bit, before.estimate, after.estimate)
    notes += dict.fromkeys(f"DSP: {figure.remark}" for figure in figures if figure and figure.remark)
    return header, rows, [*notes, *measured.missing]


def _row(name: str, before: int, after: int) -> tuple[str, ...]:
    return name, f"{before:,}", f"{after:,}", f"{after / before:.1%}", ""


def decibel(value: float | None) -> str:
    """A number of dB with two digits, or `-`."""
    return "-" if value is None else f"{value:.2f}"
