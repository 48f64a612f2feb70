"""The stage quantize with `--toolchain snpe`: a float model in, a .dlc quantized by the SDK's own quantizer out.

    options = SdkQuantizeOptions(recipe="w8a8-cle", calibration=["photos"])
    result = quantize_with_sdk(resolve("gan.npz"), "out", options, sdk=find_sdk())
    options = SdkQuantizeOptions(overrides="out/gan_w8a8.encodings.json")
    result = quantize_with_sdk(resolve("out/gan_w8a8.encodings.onnx"), "out", options, sdk=find_sdk())

The steps are those of the tool: `cle`, `bc` (SNPE 1.x), `perchannel`. With `overrides` the numbers are ours: what
`quantize` without --toolchain found goes through the converter, and the quantizer only stores it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.artifacts.card import Card, read_card, source_of, write_card
from snpe_srgan.artifacts.files import atomic_write, make_folder, read_json, refuse_overwrite
from snpe_srgan.calibration.crops import SAMPLE, Pictures, calibration_crops, check_sources, is_nothing
from snpe_srgan.errors import CheckFailed, InputError, UsageError, did_you_mean
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.runtimes.net_run import read_ports
from snpe_srgan.stages.convert_sdk import SdkConvertResult, convert_with_sdk
from snpe_srgan.toolchains.snpe import commands
from snpe_srgan.toolchains.snpe.commands import Wish
from snpe_srgan.toolchains.snpe.process import run_tool
from snpe_srgan.toolchains.snpe.raw import LIST, input_list, write_raws
from snpe_srgan.toolchains.snpe.release import SNPE1
from snpe_srgan.toolchains.snpe.sdk import Sdk
from snpe_srgan.zoo.resolve import ModelFile, resolve

STEPS = {"cle": "cle", "bc": "bc", "perchannel": "per_channel"}
NOTHING = ("plain", "pertensor")  # what the tool does unless asked for more
COUNT, JUDGED = 16, 4  # crops: to calibrate on, and to compare float and quantized network on
ENDING, PREPARED = ".encodings", ".prepared.dlc"


@dataclass(frozen=True)
class SdkQuantizeResult:
    """What was written, or with `dry_run` what would be. `psnr_to_float`: of the two networks' pictures, on a host
    engine, RGB; None where our reader does not know one of the operators. `converted`: the float .dlc, if made here."""

    recipe: str
    float_dlc: Path
    dlc: Path
    dlc_bytes: int | None
    release: str
    calibration: str
    commands: tuple[str, ...]
    psnr_to_float: float | None = None
    remarks: tuple[str, ...] = ()
    converted: SdkConvertResult | None = None


def parse_wish(recipe: str) -> Wish:
    """The wish of a recipe's name ('w8a16-cle-perchannel'); `UsageError` for steps that the SDK does not have."""
    bits, *steps = recipe.strip().lower().split("-")
    found = re.fullmatch(r"w(4|8|16)a(8|16)", bits)
    if not found:
        raise UsageError(f"unknown recipe '{recipe}'", where="--recipe", hint="w8a8, w8a16, w4a16, then -cle -bc ...")
    for step in steps:
        if step not in (*STEPS, *NOTHING):
            known = did_you_mean(step, [*STEPS, *NOTHING])
            raise UsageError(
                f"the SDK's quantizer has no step '{step}'", where="--recipe",
                hint=f"{known}; for other steps quantize without --toolchain, then hand over with --overrides",
            )  # fmt: skip
    return Wish(int(found[1]), int(found[2]), **{field: step in steps for step, field in STEPS.items()})


def read_overrides(path: Path, model: ModelFile) -> Wish:
    """The wish that goes with a file of encodings; `InputError` unless they are those of this very model."""
    if model.kind != "onnx":
        raise UsageError(
            f"encodings name the tensors of one .onnx, not of a .{model.kind}", where=model.path,
            hint=f"give the model that lies beside them: {path.with_suffix('')}.onnx",
        )  # fmt: skip
    from snpe_srgan.onnx_graphs.model import read_onnx

    data: Any = read_json(path)
    try:
        activations, parameters = data["activation_encodings"], data["param_encodings"]
        bits = data["quantizer_args"]
        wish = Wish(int(bits["param_bitwidth"]), int(bits["activation_bitwidth"]), overrides=True,
                    per_channel=any(len(entries) > 1 for entries in parameters.values()))  # fmt: skip
        named = {*activations, *parameters}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError("not a file of encodings in AIMET's format 0.6.1", where=path) from error
    graph = read_onnx(model.path).graph
    there = {x for node in graph.node for x in (*node.input, *node.output)}
    if missing := sorted(named - there):
        raise InputError(
            f"{len(missing)} of {len(named)} encodings name no tensor of {model.path.name}, '{missing[0]}' first",
            where=path, hint=f"give the model that lies beside them: {path.with_suffix('')}.onnx",
        )  # fmt: skip
    return wish


@dataclass(frozen=True)
class SdkQuantizeOptions:
    """How the SDK quantizes.

    Attributes:
        recipe: bits and the steps that the tool has; left out with `overrides`.
        overrides: a .encodings.json of ours; the model is then the .encodings.onnx beside it.
        calibration, lr, count: as `stages.quantize.QuantizeOptions` has them.
        input_size: LR height and width of the .dlc.
        input_name, output_name: of a foreign `.pb`, where the graph leaves a choice.
        htp_socs: chips, by Qualcomm's names (sm8650), for which ready-compiled caches go into the file.
        hta: adds what the AIP of SNPE 1.x needs.
        operator_check: False asks the converter even where our own check says that it will not do.
        dry_run: writes and starts nothing.
    """

    recipe: str = "w8a8"
    overrides: str | os.PathLike | None = None
    calibration: Sequence[Pictures] = (SAMPLE,)
    lr: bool = False
    count: int | None = None
    input_size: tuple[int, int] = (128, 128)
    input_name: str | None = None
    output_name: str | None = None
    htp_socs: Sequence[str] = ()
    hta: bool = False
    operator_check: bool = True
    overwrite: bool = False
    dry_run: bool = False

    @property
    def name(self) -> str:
        """What the result is named after."""
        return self.recipe.strip().lower() if self.overrides is None else "overrides"


def quantize_with_sdk(
    file: ModelFile,
    out_dir: str | os.PathLike,
    options: SdkQuantizeOptions | None = None,
    *,
    sdk: Sdk,
    say: Callable[[str], None] = lambda text: None,
) -> SdkQuantizeResult:
    """Converts (unless `file` is a float .dlc already), quantizes, and compares the two.

    Args:
        options: the defaults for None.
        sdk: whose tools are run.
        say: called with a line on what is being done.

    Raises:
        UsageError, InputError: what this release cannot do is said before anything is converted.
        CheckFailed: what the tool wrote is no quantized network.
    """
    options = options or SdkQuantizeOptions()
    if is_nothing(options.calibration):
        raise UsageError("the SDK's quantizer needs pictures", where="--calibration", hint="--calibration synthetic")
    overrides = None if options.overrides is None else Path(options.overrides)
    wish = parse_wish(options.recipe) if overrides is None else read_overrides(overrides, file)
    wish, folder = replace(wish, hta=options.hta), Path(out_dir)
    dlc = refuse_overwrite(folder / f"{file.stem.removesuffix(ENDING)}_{options.name}.dlc", options.overwrite)
    raws = folder / "".join("_" if c.isspace() else c for c in f"{file.stem}_raws")
    input_list((), prefix=os.fspath(raws.resolve()))  # fails now, not after minutes, for a folder that no list can name
    if not options.dry_run:
        check_sources(options.calibration)

    float_dlc = file.path if file.kind == "dlc" else folder / f"{file.stem}.dlc"
    quantize, prepare = _commands(sdk, float_dlc, raws / LIST, wish, options.htp_socs)
    last = [sdk.shell(quantize(dlc))]  # what this release cannot do is said here, before anything is converted
    if prepare:
        beside = dlc.with_suffix(PREPARED)
        last += [sdk.shell(prepare(dlc, beside)), shlex.join(["mv", str(beside), str(dlc)])]
    converted = _converted(file, folder, options, overrides, sdk, say)
    first, found = (sdk.exports(), ()) if converted is None else (converted.commands, converted.remarks)
    result = SdkQuantizeResult(
        options.name, float_dlc, dlc, None, str(sdk.release), ", ".join(map(str, options.calibration)),
        (*first, *last), remarks=found, converted=converted,
    )  # fmt: skip
    if options.dry_run:
        return replace(result, remarks=())

    known = read_ports(resolve(float_dlc))
    size = known.facts.input_size
    assert size is not None  # a .dlc's is fixed
    crops = calibration_crops(
        options.calibration, scale=known.facts.scale, count=options.count or COUNT, size=max(size), lr=options.lr
    )
    pictures = [fitted(array, size) for array in crops.watched]
    make_folder(folder)
    try:
        write_raws(pictures, raws, known.lr)
        with atomic_write(dlc, overwrite=options.overwrite) as temporary:
            say(f"{sdk.release}: {quantize(dlc)}")
            run_tool(sdk, quantize(temporary), makes=temporary, subject=float_dlc)
            if prepare:
                _prepare(sdk, prepare, temporary, say)
            _check_quantized(temporary, where=dlc)
            fidelity, remarks = _fidelity(float_dlc, temporary, pictures[:JUDGED])
    finally:
        shutil.rmtree(raws, ignore_errors=True)
    _write_card(dlc, float_dlc, wish, crops.origin, fidelity, sdk)
    return replace(
        result, dlc_bytes=dlc.stat().st_size, calibration=crops.origin, psnr_to_float=fidelity,
        remarks=(*found, *crops.notes, *remarks),
    )  # fmt: skip


def _converted(
    file: ModelFile, folder: Path, options: SdkQuantizeOptions, overrides: Path | None, sdk: Sdk, say
) -> SdkConvertResult | None:
    """The float .dlc made from the model; None when the model is one."""
    if file.kind != "dlc":
        return convert_with_sdk(
            file, folder, sdk=sdk, input_size=options.input_size, input_name=options.input_name,
            output_name=options.output_name, overrides=overrides, operator_check=options.operator_check,
            overwrite=options.overwrite, dry_run=options.dry_run, say=say,
        )  # fmt: skip
    if read_ports(file).quantized:
        raise InputError("this .dlc is quantized already", where=file.path, hint="quantize the float one")
    return None


def _commands(sdk: Sdk, float_dlc: Path, listed: Path, wish: Wish, htp_socs: Sequence[str]):
    """(target -> quantize command, (source, target) -> graph-prepare command or None)."""
    inline = htp_socs if sdk.release.flavour == SNPE1 else ()
    later = [] if sdk.release.flavour == SNPE1 else list(htp_socs)

    def quantize(target: Path):
        facts = {"dlc": float_dlc, "input_list": listed, "out": target}
        return commands.quantize(sdk.release, **facts, wish=wish, htp_socs=inline)

    def prepare(source: Path, target: Path):
        return commands.graph_prepare(sdk.release, dlc=source, out=target, htp_socs=later)

    return quantize, prepare if later else None


def _prepare(sdk: Sdk, prepare, path: Path, say) -> None:
    """Caches into the file itself: the tool reads one and writes another."""
    prepared = path.with_suffix(PREPARED)
    try:
        say(f"{sdk.release}: {prepare(path, prepared)}")
        run_tool(sdk, prepare(path, prepared), makes=prepared, subject=path)
        os.replace(prepared, path)
    finally:
        prepared.unlink(missing_ok=True)


def _check_quantized(dlc: Path, *, where: Path) -> None:
    try:
        quantized = read_ports(resolve(dlc)).quantized
    except InputError as error:
        raise CheckFailed(f"what the quantizer wrote cannot be read: {error.what}", where=where) from error
    if not quantized:
        raise CheckFailed("the quantizer wrote a file that is not quantized", where=where)


def fitted(crop: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A crop (1, h, w, 3) cut to `size`, or continued by its mirror image where it is smaller."""
    crop = crop[:, : size[0], : size[1]]
    while crop.shape[1:3] != size:  # a mirror at most doubles a side
        grow = [min(side, want - side) for side, want in zip(crop.shape[1:3], size, strict=True)]
        crop = np.pad(crop, ((0, 0), (0, grow[0]), (0, grow[1]), (0, 0)), mode="symmetric")
    return np.ascontiguousarray(crop)


def _fidelity(float_dlc: Path, dlc: Path, pictures) -> tuple[float | None, list[str]]:
    """Mean PSNR (peak 2) between the two networks' pictures on a host engine."""
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild
    from snpe_srgan.onnx_graphs.run import runner

    try:
        before, after = (runner(rebuild(read(path))) for path in (float_dlc, dlc))
    except InputError as error:
        return None, [f"not compared with the float network: {error.what}"]
    mean = float(np.mean([psnr(before(x), after(x), data_range=2.0) for x in pictures]))
    return (mean, []) if np.isfinite(mean) else (None, ["the two networks give equal pictures"])


def _write_card(dlc: Path, float_dlc: Path, wish: Wish, origin: str, fidelity: float | None, sdk: Sdk) -> None:
    ports = read_ports(resolve(dlc))
    base = read_card(float_dlc) or Card(artifact="", kind="dlc", network="unknown", scale=ports.facts.scale)
    quantization = {**asdict(wish), "calibration": origin, "psnr_to_float_db": fidelity, "by": str(sdk.release)}
    source, tools = source_of(float_dlc), {"sdk": str(sdk.release)}
    write_card(dlc, replace(base, quantization=quantization, checks=(), metrics=(), source=source, tools=tools))
