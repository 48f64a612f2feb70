"""snpe-srgan benchmark gan.pb gan.onnx gan_w8a8.onnx
snpe-srgan benchmark gan.npz gan_w8a8.dlc --input-size 128x128 --runs 20
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Size, common


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--input-size", type=Size(), default="169x255", help="Height x width of the LR picture (the paper's).")
@click.option("--runs", type=click.IntRange(1, 10000), default=10, help="Timed runs of each.")
@click.option("--warmup", type=click.IntRange(0, 1000), default=1, help="Runs before, not counted.")
@click.option(
    "--engines",
    metavar="A,B",
    help="Of tensorflow, openvino, openvino-bf16, onnxruntime; all installed but bf16 if left out.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Of each engine; all processors if left out.")
@click.option("--chip", default="SA8255P", help="The chip of Qualcomm's cost estimate; 'none' for no estimate.")
@common
def command(models, input_size, runs, warmup, engines, threads, chip, output):
    """Size, time and memory of models, engine by engine.

    The baseline is TensorFlow on the first .pb (given, or beside a given .npz). Every engine has a process of its
    own; they run in turns. What Qualcomm's cost model says about the DSP is an estimate, never a measured latency.
    """
    from snpe_srgan.artifacts.resolve import resolve
    from snpe_srgan.runtimes.benchmark import benchmark, with_baseline

    result = benchmark(
        with_baseline([resolve(model) for model in models]),
        input_size=input_size,
        runs=runs,
        warmup=warmup,
        engines=None if engines is None else [name.strip() for name in engines.split(",") if name.strip()],
        threads=threads,
        chip=None if chip.lower() == "none" else chip,
        say=output.note,
    )
    output.result(result, text=benchmark_text(result))


def benchmark_text(result) -> list[str]:
    """The table for people, with what the numbers are."""
    from snpe_srgan.cli.output import table
    from snpe_srgan.runtimes.benchmark import NOT_ASKED

    rows, remarks = [], []
    for model in result.models:
        size, estimate = f"{model.bytes:,}", model.estimate
        shown = "-" if estimate is None else f"{estimate.microseconds / 1000:.2f} ({estimate.lower / 1000:.2f}"
        shown += "" if estimate is None else f"-{estimate.upper / 1000:.2f})"
        if estimate is not None and estimate.input_size != result.input_size:
            shown += " at {}x{}".format(*estimate.input_size)
        for timing in model.timings or [None]:
            rows.append([model.path.name, size, *_cells(timing), shown])
            size, shown = "", ""
        if estimate is None and model.no_estimate != NOT_ASKED:
            remarks.append(f"{model.path.name}: no estimate, {model.no_estimate}")
        elif estimate is not None and estimate.remark:
            remarks.append(f"{model.path.name}: {estimate.remark}")
        for timing in model.timings:
            if timing.tiles > 1:
                remarks.append(f"{model.path.name}: its input is fixed, the picture took {timing.tiles} tiles")
    header = ["model", "bytes", "engine", "median ms", "p90", "min", "speed-up", "peak MB", "DSP estimate ms"]
    lines = [
        table(header, rows),
        "",
        f"{result.input_size[0]}x{result.input_size[1]} LR picture, {result.runs} runs in turns, {result.threads} "
        f"threads on {result.cpu}; each engine in its own process",
    ]
    if result.baseline:
        lines.append(f"speed-up: over {result.baseline} in the same turn, median over the turns")
    labels = dict.fromkeys(m.estimate.label for m in result.models if m.estimate)
    lines += [f"DSP: {label}, with its bounds; accelerator time only, not a measured latency" for label in labels]
    return [*lines, *dict.fromkeys(remarks)]


def _cells(timing) -> list[str]:
    if timing is None:
        return ["-"] * 6
    peak = "-" if timing.peak_bytes is None else f"{timing.peak_bytes / 1e6:.0f}"
    speed = "-" if timing.speedup is None else f"{timing.speedup:.2f}x"
    times = [f"{seconds * 1000:.1f}" for seconds in (timing.median, timing.p90, timing.minimum)]
    return [f"{timing.engine} {timing.version}", *times, speed, peak]
