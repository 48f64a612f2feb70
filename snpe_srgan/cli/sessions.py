"""The options that choose where a model runs, the same on `run` and `evaluate`, and the session they open."""

from __future__ import annotations

import click


def session_options(function):
    """Adds --on, --engine, --threads, --precision and --chip."""
    for option in reversed(
        [
            click.option(
                "--on",
                type=click.Choice(["host", "emulator", "sdk", "device"]),
                default="host",
                help="Where it runs: this machine's CPU, Qualcomm's Hexagon emulator, the SNPE SDK, a phone.",
            ),
            click.option(
                "--engine",
                type=click.Choice(["auto", "openvino", "onnxruntime"]),
                default="auto",
                help="The host's engine; auto is OpenVINO where it is installed, else ONNX Runtime.",
            ),
            click.option(
                "--threads", type=click.IntRange(1, 1024), help="Threads of the host; all processors if left out."
            ),
            click.option(
                "--precision",
                type=click.Choice(["f32", "bf16"]),
                default="f32",
                help="The host's arithmetic; bf16 is OpenVINO's, faster on CPUs that have it, a little less exact.",
            ),
            click.option(
                "--chip",
                help="For the emulator: the chip it computes as (57, SM8650, '8 Gen 3'; float graphs in float16),"
                " or none for true float32.  [default: SM8650, for which a .dlc is written]",
            ),
        ]
    ):
        function = option(function)
    return function


def open_model(file, *, on: str, engine: str, threads: int | None, precision: str, chip: str | None):
    """The session for these options; contradictions are usage errors."""
    from snpe_srgan.errors import UsageError
    from snpe_srgan.runtimes.open import open_session

    if chip is not None and on != "emulator":
        raise UsageError("--chip goes with --on emulator")
    if threads is not None and on == "emulator":
        raise UsageError("--threads is for the host: leave it out with --on emulator")
    chosen = {} if chip is None else {"chip": chip}
    return open_session(file, on=on, engine=engine, threads=threads, precision=precision, **chosen)
