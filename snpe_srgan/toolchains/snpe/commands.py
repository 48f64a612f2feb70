"""From facts to the exact argument list of each tool, release by release. Pure: nothing here looks at a disk.

    convert(release, network="gan.pb", dlc="gan.dlc", name="lr", size=(169, 255), output="sr")
    quantize(release, dlc="gan.dlc", input_list="raws.txt", out="gan_w8a8.dlc", wish=Wish(cle=True))
    net_run(release, "snpe-net-run", container="gan.dlc", input_list="raws.txt", output_dir="out", runtime="dsp")

Each gives a `Command`; what a release cannot do is a `UsageError` that says since when it can.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from snpe_srgan.errors import UsageError
from snpe_srgan.toolchains.snpe.options import check_profile, spelled, takes
from snpe_srgan.toolchains.snpe.release import QAIRT, SNPE1, Release

Path = str | os.PathLike
RUNTIMES = ("cpu", "gpu", "dsp", "aip")
PROFILING = "detailed"  # the level that knows the layers


Pair = tuple[str | os.PathLike[str], ...]  # an option and its values


@dataclass(frozen=True)
class Command:
    """A tool's name and what stands behind it."""

    tool: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([self.tool, *self.arguments])


@dataclass(frozen=True)
class Wish:
    """What a quantizer is asked for. `overrides`: the .dlc carries encodings of ours, which are to be used; `hta`: the
    parts that the AIP needs are added (1.x)."""

    weight_bits: int = 8
    activation_bits: int = 8
    cle: bool = False
    bc: bool = False
    per_channel: bool = False
    overrides: bool = False
    hta: bool = False


def _command(release: Release, tool: str, pairs: Sequence[Pair], *, equals: bool = False) -> Command:
    """Options as (name, value...) under this release's spelling; `equals` joins one value with '='."""
    arguments: list[str] = []
    for option, *parts in pairs:
        name = spelled(release, tool, os.fspath(option))
        values = [os.fspath(part) for part in parts]
        arguments += [f"{name}={values[0]}"] if equals and len(values) == 1 else [name, *values]
    return Command(tool, tuple(arguments))


def converter(release: Release, network: Path) -> str:
    """The converter for a network file, by its suffix."""
    if release.flavour == QAIRT:
        return "qairt-converter"
    return "snpe-onnx-to-dlc" if os.fspath(network).lower().endswith(".onnx") else "snpe-tensorflow-to-dlc"


def convert(
    release: Release,
    *,
    network: Path,
    dlc: Path,
    name: str,
    size: tuple[int, int],
    output: str,
    overrides: Path | None = None,
) -> Command:
    """A frozen .pb or an .onnx into a float .dlc with NHWC input `name` of [1, *size, 3].

    The colour order is left alone: the converters' default is the same encoding in and out, and naming `rgb` would
    make them swap red and blue.

    Args:
        network: a frozen .pb or an .onnx; its suffix chooses the converter.
        dlc: the file to write.
        name: of the input tensor.
        size: (height, width) in LR pixels.
        output: name of the output node.
        overrides: a JSON file of encodings that a later quantizer is to use; None for none.

    Raises:
        UsageError: this release's converter has no such option (`overrides` before 1.48, an .onnx's layout before
            1.50).
    """
    tool = converter(release, network)
    onnx = os.fspath(network).lower().endswith(".onnx")
    pairs: list[Pair] = [("--input_network", network)]
    if tool != "snpe-onnx-to-dlc" or takes(release, tool, "--input_dim"):
        pairs.append(("--input_dim", name, f"1,{size[0]},{size[1]},3"))
    if onnx:  # pictures are NHWC at both ends of our graphs, and a converter takes four dimensions for NCHW
        pairs.append(("--input_layout", name, "NHWC"))
    pairs += [("--out_node", output), ("--output_path", dlc)]
    if overrides is not None:
        pairs.append(("--quantization_overrides", overrides))
    return _command(release, tool, pairs)


def quantize(
    release: Release,
    *,
    dlc: Path,
    input_list: Path,
    out: Path,
    wish: Wish,
    htp_socs: Sequence[str] = (),
) -> Command:
    """A float .dlc into a quantized one. `htp_socs` adds caches for these chips in the same step (1.x only).

    Args:
        dlc: the float file.
        input_list: a text file that names a raw file a line: the calibration pictures.
        out: the file to write.
        htp_socs: part numbers as the tool spells them, in lower case ('sm8450').

    Raises:
        UsageError: the release lacks the weights' bits, bias correction or another option that was asked for.
    """
    tool = quantizer(release)
    pairs: list[Pair] = [("--input_dlc", dlc), ("--input_list", input_list), ("--output_dlc", out)]
    if wish.weight_bits not in ((8, 16) if release.flavour == SNPE1 else (4, 8, 16)):
        raise UsageError(f"{tool} of {release} has no weights of {wish.weight_bits} bits", where="--recipe")
    if (wish.weight_bits, wish.activation_bits) != (8, 8) or takes(release, tool, "--weights_bitwidth"):
        pairs += [
            ("--weights_bitwidth", str(wish.weight_bits)),
            ("--act_bitwidth", str(wish.activation_bits)),
            ("--bias_bitwidth", "32"),
        ]
    if wish.bc and release.flavour != SNPE1:
        raise UsageError(
            f"{tool} of {release} has no bias correction: it exists in SNPE 1.x only", where="--recipe",
            hint="leave out 'bc', or correct with the toolchain qnn and hand its encodings over: --overrides",
        )  # fmt: skip
    pairs += [("--algorithms", algorithm) for algorithm in ("cle", "bc") if getattr(wish, algorithm)]
    if wish.per_channel:
        pairs.append(("--use_per_channel_quantization",))
    if wish.overrides and release.flavour != QAIRT:  # there, encodings that were given are used unless forbidden
        pairs.append(("--override_params",))
    if wish.hta:
        pairs.append(("--enable_hta",))
    if htp_socs:
        pairs += [("--enable_htp",), ("--htp_socs", ",".join(htp_socs))]
    return _command(release, tool, pairs, equals=release.flavour != QAIRT)


def quantizer(release: Release) -> str:
    """The name of a release's quantizer."""
    return {QAIRT: "qairt-quantizer", SNPE1: "snpe-dlc-quantize"}.get(release.flavour, "snpe-dlc-quant")


def graph_prepare(release: Release, *, dlc: Path, out: Path, htp_socs: Sequence[str]) -> Command:
    """Ready-compiled caches for these chips into a quantized .dlc (2.x; in 1.x the quantizer makes them).

    Args:
        dlc: the quantized file.
        out: the file to write.
        htp_socs: part numbers as the tool spells them, in lower case ('sm8450').

    Raises:
        UsageError: a release of SNPE 1.x.
    """
    if release.flavour == SNPE1:
        raise UsageError(f"{release} has no snpe-dlc-graph-prepare", hint="its quantizer makes the caches: --htp-socs")
    pairs = [("--input_dlc", dlc), ("--output_dlc", out), ("--htp_socs", ",".join(htp_socs))]
    return _command(release, "snpe-dlc-graph-prepare", pairs, equals=True)


def dlc_info(release: Release, *, dlc: Path) -> Command:
    """The layers of a .dlc and which runtimes take each; `logs.py` reads what it prints."""
    return _command(release, "snpe-dlc-info", [("-i", dlc)])


def net_run(
    release: Release,
    *,
    container: Path,
    input_list: Path,
    output_dir: Path,
    runtime: str = "cpu",
    perf_profile: str | None = None,
    profiling: str | None = None,
    raw: str = "float32",
) -> Command:
    """One run over all lines of an input list. No runtime flag is the CPU; there is no fall-back to another.

    Args:
        container: the .dlc.
        input_list: a text file that names a raw file a line, an inference each.
        output_dir: receives `Result_<line>/<tensor>.raw` and the log SNPEDiag_0.log.
        runtime: one of `RUNTIMES`.
        perf_profile: one of `options.PROFILES`; None leaves it to the tool.
        profiling: the tool's own word, as `PROFILING`; None leaves it to the tool.
        raw: `float32`, or `uint8` for the network's own 8-bit integers (2.x).

    Raises:
        UsageError: an unknown runtime, or a profile or `uint8` that the release does not have.
    """
    tool = "snpe-net-run"
    pairs: list[Pair] = [("--container", container), ("--input_list", input_list), ("--output_dir", output_dir)]
    if _known(runtime) != "cpu":
        pairs.append((f"--use_{runtime}",))
    if raw == "uint8":
        if release.flavour == SNPE1:
            raise UsageError(f"{release} reads float32 files only", where="--raw uint8", hint="--raw float32")
        pairs += [("--userbuffer_auto",), ("--use_native_input_files",), ("--use_native_output_files",)]
    if perf_profile is not None:
        pairs.append(("--perf_profile", check_profile(release, perf_profile)))
    if profiling is not None:
        pairs.append(("--profiling_level", profiling))
    return _command(release, tool, pairs)


def throughput(
    release: Release, *, container: Path, seconds: int, runtime: str = "cpu", perf_profile: str | None = None
) -> Command:
    """Inferences a second over some seconds, on random input of the tool's own.

    Args:
        container: the .dlc.
        runtime: one of `RUNTIMES`.
        perf_profile: one of `options.PROFILES`; None leaves it to the tool.

    Raises:
        UsageError: an unknown runtime, or a profile that the release does not have.
    """
    pairs: list[Pair] = [("--container", container), ("--duration", str(seconds)), (f"--use_{_known(runtime)}",)]
    if perf_profile is not None:
        pairs.append(("--perf_profile", check_profile(release, perf_profile)))
    return _command(release, "snpe-throughput-net-run", pairs)


def diagview(release: Release, *, log: Path) -> Command:
    """A SNPEDiag log as text; `logs.parse_diagview` reads what it prints."""
    return _command(release, "snpe-diagview", [("--input_log", log)])


def _known(runtime: str) -> str:
    if runtime not in RUNTIMES:
        raise UsageError(f"unknown runtime '{runtime}'", where="--runtime", hint=", ".join(RUNTIMES))
    return runtime
