"""The stage convert with `--toolchain snpe`: a model file in, a float .dlc by the SDK's own converter out.

    result = convert_with_sdk(resolve("gan.npz"), "out", sdk=find_sdk(), input_size=(169, 255))
    result.dlc, result.commands

The converter gets a frozen .pb (SNPE; the paper's way, in which depth_to_space stays whole) or an .onnx (QAIRT, and
what is an .onnx already). Before it is started, our own check of operators and shapes; after it, the file is read back
and its network compared with the one it was made from.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from snpe_srgan.artifacts.card import Card, Check, source_of, write_card
from snpe_srgan.artifacts.files import atomic_write, refuse_overwrite, write_bytes
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.errors import CheckFailed, InputError, SnpeSrganError
from snpe_srgan.onnx_graphs.graph import shapes_of
from snpe_srgan.stages.checked_dlc import FLOAT_DLC
from snpe_srgan.stages.compare import check_decibel, probe_picture, run_onnx
from snpe_srgan.toolchains.snpe import commands
from snpe_srgan.toolchains.snpe.logs import not_on, parse_dlc_info
from snpe_srgan.toolchains.snpe.operators import check_operators, remarks
from snpe_srgan.toolchains.snpe.process import run_tool
from snpe_srgan.toolchains.snpe.release import QAIRT, Release
from snpe_srgan.toolchains.snpe.sdk import Sdk
from snpe_srgan.zoo.model_card import ports
from snpe_srgan.zoo.resolve import ModelFile, resolve


@dataclass(frozen=True)
class SdkConvertResult:
    """What was written, or with `dry_run` what would be: `commands` are the exact ones either way."""

    network: Path
    dlc: Path
    dlc_bytes: int | None
    input_size: tuple[int, int]
    release: str
    commands: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """What the converter is given: a file, its ports, the operators that our check looks at (those of `framework`).
    `by` is the command of ours that makes the file, None when it is there; `remarks` what may go wrong later."""

    path: Path
    lr: str
    sr: str
    framework: str
    operators: Mapping[str, int]
    by: str | None = None
    remarks: tuple[str, ...] = ()


def convert_with_sdk(
    file: ModelFile,
    out_dir: str | os.PathLike,
    *,
    sdk: Sdk,
    input_size: tuple[int, int] = (128, 128),
    input_name: str | None = None,
    output_name: str | None = None,
    overrides: Path | None = None,
    operator_check: bool = True,
    overwrite: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> SdkConvertResult:
    """Writes `<stem>.dlc` (LR size `input_size`), and for a .npz the .pb or .onnx that the converter reads.

    Args:
        overrides: encodings in AIMET's format that the .dlc is to carry, for the quantizer.
        operator_check: False asks the converter even where our own check says that it will not do.
        dry_run: writes and starts nothing.

    Raises:
        InputError: the model cannot be read, is a .dlc already, or has an operator that this release does not take.
        CheckFailed: what the converter wrote is another network.
        SnpeSrganError: the converter failed.
    """
    if file.kind == "dlc":
        raise InputError("a .dlc is converted already", where=file.path, hint=f"snpe-srgan quantize {file.path}")
    dlc = refuse_overwrite(Path(out_dir) / f"{file.stem}.dlc", overwrite)
    network = _network(file, Path(out_dir), sdk.release, input_size, input_name, output_name)
    if operator_check:
        check_operators(network.operators, network.framework, sdk.release, where=file.path)

    def command(target: Path) -> commands.Command:
        return commands.convert(
            sdk.release, network=network.path, dlc=target, name=network.lr, size=input_size, output=network.sr,
            overrides=overrides,
        )  # fmt: skip

    shown = tuple(filter(None, (network.by, *sdk.exports(), sdk.shell(command(dlc)))))
    if dry_run:
        return SdkConvertResult(network.path, dlc, None, input_size, str(sdk.release), shown, (), network.remarks)
    with unfinished(out_dir):
        if network.by:
            _make(file, network.path, input_size, overwrite, say)
        with atomic_write(dlc, overwrite=overwrite) as temporary:
            say(f"{sdk.release}: {command(dlc)}")
            run_tool(sdk, command(temporary), makes=temporary, subject=network.path)
            check_ports(temporary, input_size, where=dlc)
            checks, not_compared = _compare(temporary, network.path, input_size, where=dlc)
        found = (*network.remarks, *not_compared, *_runtimes(sdk, dlc))
        _write_card(dlc, file, network, input_size, sdk.release, checks)
    return SdkConvertResult(network.path, dlc, dlc.stat().st_size, input_size, str(sdk.release), shown, checks, found)


def _network(file: ModelFile, out_dir: Path, release: Release, size, input_name, output_name) -> Network:
    """A .pb or .onnx as it is; for a .npz the one of the two that this release's converter is to get."""
    if file.kind == "pb":
        return _frozen(file, input_name, output_name)
    if input_name or output_name:
        raise InputError("--input-name and --output-name are for .pb files", where=file.path)
    from snpe_srgan.onnx_graphs.model import fix_size, ports
    from snpe_srgan.runtimes.source import load_source

    model = load_source(file).graph
    lr, sr = ports(model, where=file.path)
    operators = Counter(node.op_type for node in model.graph.node)
    path, by = file.path, None
    if file.kind == "npz" and release.flavour == QAIRT:
        path = out_dir / f"{file.stem}.onnx"
        by = shlex.join(["snpe-srgan", "convert", str(file.path), "--onnx-only", "-o", str(out_dir)])
    elif file.kind == "npz":
        pixels = f"{size[0]}x{size[1]}"
        path = out_dir / f"{file.stem}_{pixels}.pb"
        by = shlex.join(["snpe-srgan", "freeze", str(file.path), "--input-size", pixels, "-o", str(path)])
    fixed = fix_size(model, size, where=file.path)
    shapes = {name: tuple(d or 0 for d in dims) for name, dims in shapes_of(fixed.graph).items()}
    found = remarks(shapes, operators if path.suffix == ".onnx" else {}, size, release)
    return Network(path, lr.name, sr.name, "onnx", operators, by, tuple(found))


def _frozen(file: ModelFile, input_name: str | None, output_name: str | None) -> Network:
    from snpe_srgan.models.freeze import read_graph_def
    from snpe_srgan.onnx_graphs.from_tensorflow import find_ports
    from snpe_srgan.quiet import import_tensorflow

    import_tensorflow()
    graph_def = read_graph_def(file.path)
    lr, sr = find_ports(graph_def, input_name=input_name, output_name=output_name, where=file.path)
    return Network(file.path, lr, sr, "tensorflow", Counter(node.op for node in graph_def.node))


def _make(file: ModelFile, path: Path, size, overwrite: bool, say) -> None:
    """The .pb or .onnx of a .npz: what `Network.by` says."""
    if path.suffix == ".pb":
        from snpe_srgan.stages.convert import freeze_model

        freeze_model(file, path, input_size=size, overwrite=overwrite, say=say)
        return
    from snpe_srgan.models.npz import load_npz
    from snpe_srgan.onnx_graphs.from_layers import to_onnx
    from snpe_srgan.zoo.model_card import model_card

    graph, weights = load_npz(file.path)
    write_bytes(path, to_onnx(graph, weights).SerializeToString(), overwrite=overwrite)
    card = model_card(graph, kind="onnx", training=file.card.training if file.card else None)
    write_card(path, replace(card, source=source_of(file.path)), tools=("onnx",))


def check_ports(dlc: Path, size: tuple[int, int], *, where: Path) -> None:
    """Refuses a .dlc that does not take one NHWC picture of `size`: converters have their own idea of layouts.

    Args:
        size: LR height and width that were asked for.
        where: the place that the error names; `dlc` may be a temporary file.

    Raises:
        CheckFailed: it takes something else, or cannot be read.
    """
    from snpe_srgan.dlc.reader import read

    try:
        shapes = [tensor.dims for tensor in read(dlc).graphs[0].of_role("input")]
    except InputError as error:
        raise CheckFailed(f"what the converter wrote cannot be read: {error.what}", where=where) from error
    if shapes != [(1, *size, 3)]:
        raise CheckFailed(
            f"the converter made a network of input {shapes}, [(1, {size[0]}, {size[1]}, 3)] was asked for",
            where=where, hint="is the network's own input fixed to another size, or NCHW?",
        )  # fmt: skip


def _compare(dlc: Path, network: Path, size, *, where: Path) -> tuple[tuple[Check, ...], list[str]]:
    """The network in the file against the one it was made from, on host engines; a remark where ours cannot read it."""
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild
    from snpe_srgan.runtimes.open import open_session

    try:
        rebuilt = rebuild(read(dlc))
    except InputError as error:
        return (), [f"not compared with {network.name}: {error.what}"]
    lr = probe_picture(*size)
    with open_session(resolve(network)) as session:
        expected = session.run(lr)
    return (check_decibel(run_onnx(rebuilt, lr), expected, least=FLOAT_DLC, against=network.name, where=where),), []


def _runtimes(sdk: Sdk, dlc: Path) -> list[str]:
    """What `snpe-dlc-info` says about the DSP, if this SDK has the tool and the tool says it."""
    if not sdk.has("snpe-dlc-info"):
        return []
    try:
        ran = run_tool(sdk, commands.dlc_info(sdk.release, dlc=dlc), subject=dlc)
    except SnpeSrganError as error:  # the file is there and checked: what this tool adds is not worth losing it
        return [error.what]
    refused = not_on(parse_dlc_info(ran.output), "D")
    return [f"the DSP does not take: {', '.join(f'{x.name} ({x.type})' for x in refused[:5])}"] if refused else []


def _write_card(dlc: Path, file: ModelFile, network: Network, size, release: Release, checks) -> None:
    from snpe_srgan.runtimes.net_run import read_ports

    facts = read_ports(resolve(dlc)).facts
    base = file.card or Card(artifact="", kind="dlc", network="unknown", scale=facts.scale)
    lr, sr = ports(facts.scale, size)
    card = replace(
        base, kind="dlc", scale=facts.scale, receptive_radius=facts.overlap, remarks=base.remarks or facts.remarks,
        input=replace(lr, name=facts.input_name), output=replace(sr, name=facts.output_name), metrics=(), checks=checks,
        source=source_of(network.path), tools={"sdk": str(release)},
    )  # fmt: skip
    write_card(dlc, card)
