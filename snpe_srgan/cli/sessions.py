"""The options that choose where a model runs, the same on `run` and `evaluate`, and the session they open.

--on host --engine openvino          --on emulator --chip "8 gen 3"
--on sdk --sdk /opt/snpe-1.68.0      --on device --serial 1a2b3c --runtime dsp --perf-profile burst
"""

from __future__ import annotations

import click


def sdk_option(function):
    """The option --sdk of a command, as the parameter `sdk_folder`."""
    return click.option(
        "--sdk",
        "sdk_folder",
        type=click.Path(),
        help="Folder of the SNPE or QAIRT SDK.  [default: $SNPE_ROOT, $QAIRT_SDK_ROOT, $QNN_SDK_ROOT]",
    )(function)


def phone_options(profile: str):
    """Adds --serial and --perf-profile; `profile` says what that is when it is left out."""

    def add(function):
        function = click.option(
            "--perf-profile",
            help="The chip's performance profile: balanced, high_performance, burst, power_saver, ...  "
            f"[default: {profile}]",
        )(function)
        text = "The phone's serial number (`adb devices`); needed when several are connected."
        return click.option("--serial", help=text)(function)

    return add


def session_options(*, by_picture: bool = False):
    """Adds --on, what goes with each place, --overlap, and --sdk, --serial, --runtime, --perf-profile, --raw.

    Args:
        by_picture: whether each picture may have a precision of its own (`--precision auto`).
    """
    return lambda function: _session_options(function, by_picture)


def _session_options(function, by_picture: bool):
    precision = "The host's arithmetic; bf16 is OpenVINO's, faster on CPUs that have it, a little less exact."
    if by_picture:
        precision += (
            " auto, for pictures: bf16 for each 8-bit picture on which a probe differs by at most 1 of 255 levels, f32 "
            "for the others; it says which."
        )
    function = click.option(
        "--overlap",
        type=click.IntRange(0, 4096),
        help="LR pixels by which tiles overlap; by default as far as the network sees, so that no tile shows. Less is "
        "near that, for deep networks of small fixed input.",
    )(function)
    function = click.option(
        "--raw",
        type=click.Choice(["float32", "uint8"]),
        default="float32",
        help="Number format of the files for --on sdk and device; uint8 files are a quarter the size, for models "
        "with 8-bit inputs and outputs.",
    )(function)
    function = phone_options("the SDK's own")(function)
    function = click.option(
        "--runtime",
        type=click.Choice(["cpu", "gpu", "dsp", "aip"]),
        help="The chip's unit, for --on sdk and device.  [default: dsp on a device, else cpu]",
    )(function)
    function = sdk_option(function)
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
                help="The host's engine; auto takes OpenVINO if it is installed, otherwise ONNX Runtime.",
            ),
            click.option(
                "--threads", type=click.IntRange(1, 1024), help="Threads of the host; all processors if left out."
            ),
            click.option(
                "--precision",
                type=click.Choice(["f32", "bf16", *(["auto"] if by_picture else [])]),
                default="f32",
                help=precision,
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


def refuse_auto_precision() -> None:
    """What is compared or joined is computed in one precision."""
    from snpe_srgan.errors import UsageError

    raise UsageError("--precision auto chooses for each picture of `run`: name one here", hint="--precision f32")


def open_model(
    file, *, on: str, engine: str, threads: int | None, precision: str, chip: str | None, sdk_folder: str | None,
    runtime: str | None, serial: str | None, perf_profile: str | None, raw: str, overlap: int | None, say=None,
    by_picture: bool = False,
):  # fmt: skip
    """The session for these options; contradictions are usage errors.

    Args:
        say: told what takes long.
        by_picture: whether each picture may have a precision of its own.
    """
    from snpe_srgan.errors import UsageError
    from snpe_srgan.runtimes.open import AUTO_PRECISION, open_session

    if precision == AUTO_PRECISION and not by_picture:
        refuse_auto_precision()

    given = {"--sdk": sdk_folder, "--runtime": runtime, "--serial": serial, "--perf-profile": perf_profile}
    if on in ("sdk", "device"):
        if engine != "auto" or precision != "f32" or threads is not None or chip is not None:
            raise UsageError(f"--engine, --threads, --precision and --chip do not go with --on {on}")
        if on == "sdk" and serial is not None:
            raise UsageError("--serial names a phone: it goes with --on device")
        session = open_session(
            file, on=on, sdk_folder=sdk_folder, runtime=runtime, serial=serial, perf_profile=perf_profile, raw=raw
        )
    else:
        given["--raw"] = None if raw == "float32" else raw
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} is for the SDK and the phone: it goes with --on sdk or --on device")
        if chip is not None and on != "emulator":
            raise UsageError("--chip goes with --on emulator")
        if threads is not None and on == "emulator":
            raise UsageError("--threads is for the host: leave it out with --on emulator")
        chosen = {} if chip is None else {"chip": chip}
        session = open_session(file, on=on, engine=engine, threads=threads, precision=precision, say=say, **chosen)
    if overlap is not None:
        session.shorten_overlap(overlap)
    return session
