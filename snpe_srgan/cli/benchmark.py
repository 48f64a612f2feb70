"""snpe-srgan benchmark gan.pb gan.onnx gan_w8a8.onnx
snpe-srgan benchmark gan.npz gan_w8a8.dlc --input-size 128x128 --runs 20
snpe-srgan benchmark gan.dlc gan_w8a8.dlc --on device --runtimes cpu,gpu,dsp --layers
"""

from __future__ import annotations

import click

from snpe_srgan.cli.detail import find_model
from snpe_srgan.cli.ends import ends_options
from snpe_srgan.cli.options import Size, Verb, Whole, common
from snpe_srgan.cli.sessions import phone_options, sdk_option


@click.command(cls=Verb)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--input-size", type=Size(of_input=True), default="169x255", help="Height x width of the LR picture (the paper's)."
)
@click.option("--runs", type=Whole(1, 10000), default=10, help="Timed runs of each.")
@click.option("--warmup", type=Whole(0, 1000), default=1, help="Warm-up runs, not counted.")
@click.option(
    "--engines",
    metavar="A,B",
    help="Of tensorflow, openvino, openvino-bf16, onnxruntime, litert; all installed but bf16 if left out.",
)
@click.option("--threads", type=Whole(1, 1024), help="Of each engine; all processors if left out.")
@click.option("--chip", default="SA8255P", help="The chip of Qualcomm's cost estimate; 'none' for no estimate.")
@click.option(
    "--on", type=click.Choice(["host", "device"]), default="host",
    help="This machine's engines, or a phone: .dlc files by the SDK's snpe-net-run over adb.",
)  # fmt: skip
@click.option("--runtimes", metavar="A,B", default="cpu,gpu,dsp", help="With --on device: of cpu, gpu, dsp, aip.")
@click.option("--layers", is_flag=True, help="With --on device: the time of every layer.")
@ends_options
@sdk_option
@phone_options("high_performance")
@common
def command(
    models, input_size, runs, warmup, engines, threads, chip, on, runtimes, layers, sdk_folder, serial, perf_profile,
    said, output,
):  # fmt: skip
    """Measure size, time and memory of models, engine by engine.

    The baseline is TensorFlow on the first .pb (given, or beside a given .npz). Every engine has its own
    process; they run in turns. What Qualcomm's cost model says about the DSP is an estimate, never a measured latency.
    With --on device the times are measured: SNPE's own log on the phone, for each unit of its chip.
    """
    from snpe_srgan.cli.toolchain import refuse

    if on == "device":
        refuse("--on device", "input_size", "warmup", "engines", "threads", "chip")
        return _on_device(models, runs, runtimes, layers, sdk_folder, serial, perf_profile, output)
    refuse("--on host", "runtimes", "layers", "sdk_folder", "serial", "perf_profile")
    from snpe_srgan.runtimes.benchmark import benchmark, with_baseline

    result = benchmark(
        with_baseline([find_model(model, None, runs=True, said=said, output=output) for model in models]),
        input_size=input_size,
        runs=runs,
        warmup=warmup,
        engines=None if engines is None else [name.strip() for name in engines.split(",") if name.strip()],
        threads=threads,
        chip=None if chip.lower() == "none" else chip,
        say=output.say,
    )
    output.result(result, text=benchmark_text(result))


def benchmark_text(result) -> list[str]:
    """The table for people, with what the numbers are."""
    from snpe_srgan.console import table
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


def _on_device(models, runs, runtimes, layers, sdk_folder, serial, perf_profile, output) -> None:
    from snpe_srgan.runtimes.device_benchmark import PROFILE, benchmark_device
    from snpe_srgan.toolchains.snpe.adb import choose_phone
    from snpe_srgan.toolchains.snpe.sdk import find_sdk
    from snpe_srgan.zoo.resolve import resolve

    result = benchmark_device(
        [resolve(model) for model in models],
        sdk=find_sdk(sdk_folder),
        phone=choose_phone(serial),
        runtimes=[name.strip().lower() for name in runtimes.split(",") if name.strip()],
        perf_profile=perf_profile or PROFILE,
        runs=runs,
        say=output.say,
    )
    output.result(result, text=device_text(result, layers))


def device_text(result, layers: bool) -> list[str]:
    """The table for people: Table 3, measured."""
    from snpe_srgan.console import table

    rows, remarks = [], []
    for t in result.timings:
        ms = (
            ["-", "-"]
            if t.times is None
            else [f"{t.times.total_us / 1000:.2f}", f"{(t.times.init_us or 0) / 1000:.0f}"]
        )
        size = "{}x{}".format(*t.input_size)
        rate = "-" if t.per_second is None else f"{t.per_second:.1f}"
        rows.append([t.path.name, f"{t.bytes:,}", size, t.runtime.upper(), *ms, rate])
        if t.reason:
            remarks.append(f"{t.path.name} on the {t.runtime.upper()}: {t.reason}")
    lines = [table(["model", "bytes", "input", "unit", "ms", "load ms", "a second"], rows), ""]
    phone = ", ".join(value for value in result.phone.values() if value)
    lines.append(f"measured on {phone} ({result.serial}) by {result.release}, {result.perf_profile}; ms: mean of "
                 f"{result.runs} runs by SNPE's own log")  # fmt: skip
    for t in result.timings:
        if layers and t.layers:
            times = [[x.name or x.index, x.runtime, f"{x.amount:,} {x.unit}"] for x in t.layers]
            lines += ["", table([f"{t.path.name} on the {t.runtime.upper()}", "unit", "time"], times)]
    return [*lines, *dict.fromkeys(remarks)]
