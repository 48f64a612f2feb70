"""The options that choose where a model runs, the same on `run` and `evaluate`, and the session they open.

--on host --engine openvino          --on emulator --chip "8 gen 3"
--on sdk --sdk /opt/snpe-1.68.0      --on device --serial 1a2b3c --runtime dsp --perf-profile burst
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from snpe_srgan.cli.options import Finite, Whole

if TYPE_CHECKING:
    from snpe_srgan.zoo.resolve import ModelFile


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


@dataclass(frozen=True)
class Mix:
    """`--mix`: the small network beside MODEL, and from which difficulty on a tile is MODEL's."""

    small: ModelFile
    above: float


def mix_options(function):
    """The options --mix and --mix-above of a command, as `mix` and `mix_above`."""
    function = click.option(
        "--mix-above", type=Finite(0, 1000), metavar="LEVELS", default=None,
        help="With --mix: a tile is hard whose total variation is more than so many of 255 levels a pixel; 0 sends all "
        "but flat tiles to LARGE.  [default: 20]",
    )(function)  # fmt: skip
    return click.option(
        "--mix", metavar="SMALL,LARGE",
        help="Two networks in place of MODEL: SMALL makes the picture, LARGE the tiles that are hard (MobiSR).",
    )(function)  # fmt: skip


def model_of(model: str | None, mix: str | None, above: float | None, detail: float | None):
    """The name of MODEL, and the `Mix` that goes with it, for `open_model`.

    Args:
        model: what was typed as MODEL; with `mix` nothing may be.
        mix: what was typed after --mix.
        above: what was typed after --mix-above.
    """
    from snpe_srgan.errors import UsageError
    from snpe_srgan.runtimes.mixing import ABOVE
    from snpe_srgan.zoo.resolve import RUNNABLE, resolve

    if mix is None:
        if above is not None:
            raise UsageError("--mix-above goes with --mix SMALL,LARGE")
        return model, None
    names = mix.split(",")
    if len(names) != 2 or not all(names):
        raise UsageError(f"--mix takes two networks, not '{mix}'", hint="--mix mobile,mobile-l")
    if model is not None:
        raise UsageError(f"--mix names both networks: leave out {model}")
    if detail is not None:
        raise UsageError("--detail is of one network: it does not go with --mix")
    return names[1], Mix(resolve(names[0], kinds=RUNNABLE), ABOVE if above is None else above)


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
        type=Whole(0, 4096),
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
    function = mix_options(function)
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
                "--threads", type=Whole(1, 1024), help="Threads of the host; all processors if left out."
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
    by_picture: bool = False, mix: Mix | None = None,
):  # fmt: skip
    """The session for these options; contradictions are usage errors.

    Args:
        mix: a small network that makes what is not hard.
        say: told what takes long.
        by_picture: whether each picture may have a precision of its own.
    """
    from snpe_srgan.errors import UsageError
    from snpe_srgan.runtimes.open import AUTO_PRECISION, open_session

    if precision == AUTO_PRECISION and not by_picture:
        refuse_auto_precision()
    if mix is not None:
        from snpe_srgan.runtimes.mixing import MixedSession

        if on in ("sdk", "device"):
            raise UsageError(f"--mix does not go with --on {on}, which runs one network")
        same = {
            "on": on, "engine": engine, "threads": threads, "precision": precision, "chip": chip,
            "sdk_folder": sdk_folder, "runtime": runtime, "serial": serial, "perf_profile": perf_profile, "raw": raw,
            "overlap": overlap, "say": say, "by_picture": by_picture,
        }  # fmt: skip
        small = open_model(mix.small, **same)
        try:
            return MixedSession(small, open_model(file, **same), above=mix.above)
        except BaseException:
            small.close()
            raise

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
