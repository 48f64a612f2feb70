"""The stages freeze and convert: a model file in, the next files with their cards and self-checks out.

card = freeze_model("runs/mobile", "generator.pb")
result = convert_model("generator.pb", "out", input_size=(128, 128))     # out/generator.onnx, out/generator.dlc
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.card import Card, Check, source_of, tensorflow_package, write_card
from snpe_srgan.artifacts.files import refuse_overwrite, require_writable, write_bytes
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.errors import InputError
from snpe_srgan.models.npz import load_npz
from snpe_srgan.onnx_graphs.boundary import OURS, Found, size_of
from snpe_srgan.quiet import import_tensorflow
from snpe_srgan.stages.checked_dlc import dlc_size, write_checked_dlc
from snpe_srgan.stages.compare import check_equal, probe_picture, run_onnx
from snpe_srgan.toolchains.socs import Soc
from snpe_srgan.zoo.foreign_graph import card_for
from snpe_srgan.zoo.model_card import graph_card, model_card, ports
from snpe_srgan.zoo.resolve import ModelFile, resolve

PROBE = (40, 36)  # LR size of the picture that free-size checks run on


def freeze_model(
    model: str | os.PathLike | ModelFile,
    out: str | os.PathLike,
    *,
    input_size: tuple[int, int] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Card:
    """Writes a `.pb` and checks it against the network's ONNX graph; returns its card.

    Args:
        model: a run folder, a shipped network's name, or a `.npz`.
        out: the `.pb`; its card is written beside it.
        input_size: LR height and width to fix; None: any size.
        overwrite: whether the files may exist already.
        say: called with a line on what is being done.

    Raises:
        InputError: the model cannot be read, or the files exist or cannot be written.
        CheckFailed: the frozen graph draws another picture.
    """
    from snpe_srgan.models.freeze import freeze, run_graph_def
    from snpe_srgan.onnx_graphs.from_layers import to_onnx

    file = model if isinstance(model, ModelFile) else resolve(model, kinds=("npz",))
    require_writable(refuse_overwrite(out, overwrite).parent)
    graph, weights = load_npz(file.path)
    say("loading TensorFlow")
    import_tensorflow()
    graph_def = freeze(graph, weights, input_size=input_size)
    lr = probe_picture(*(input_size or PROBE))
    check = check_equal(
        run_graph_def(graph_def, lr), run_onnx(to_onnx(graph, weights), lr), against=file.path.name, where=out
    )
    card = model_card(
        graph,
        kind="pb",
        input_size=input_size,
        training=file.card.training if file.card else None,
        source=source_of(file.path),
        checks=(check,),
    )
    with unfinished(Path(out).parent):
        write_bytes(out, graph_def.SerializeToString(deterministic=True), overwrite=overwrite)
        return write_card(out, card, tools=(tensorflow_package(), "tensorlayer"))


@dataclass(frozen=True)
class ConvertResult:
    """What was written; `onnx` is None when the model was one already, `dlc` with `onnx_only`. `onnx_size` is the LR
    size that a `.pb` fixes, None for any."""

    onnx: Path | None
    dlc: Path | None
    onnx_bytes: int | None
    dlc_bytes: int | None
    onnx_size: tuple[int, int] | None
    input_size: tuple[int, int] | None
    chip: str | None
    checks: tuple[Check, ...]
    dsp_notes: tuple[str, ...] = ()


def convert_model(
    model: str | os.PathLike | ModelFile,
    out_dir: str | os.PathLike,
    *,
    input_size: tuple[int, int] | None = None,
    soc: int | str | None = None,
    caches: Sequence[Soc] = (),
    input_name: str | None = None,
    output_name: str | None = None,
    onnx_only: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> ConvertResult:
    """Writes `<stem>.onnx` (any input size) and `<stem>.dlc` (of fixed LR size) of a model file.

    Args:
        input_size: LR height and width of the .dlc; None for what the model is fixed to, else 128x128.
        soc, caches: the chip that the .dlc's operators are checked for; chips to compile its graph for, beside itself.
        input_name, output_name: of a foreign `.pb`, where the graph leaves a choice.

    Raises:
        InputError, CheckFailed, MissingToolError: a bad model, a file that would differ from it, no Qualcomm libraries.
    """
    from snpe_srgan.onnx_graphs.model import onnx_facts
    from snpe_srgan.toolchains import qnn, socs

    file = model if isinstance(model, ModelFile) else resolve(model)
    if file.kind == "dlc":
        raise InputError(
            "a .dlc is converted already", where=file.path, hint="inspect --to-onnx gives the graph that it holds"
        )
    if file.kind == "onnx" and onnx_only:
        raise InputError("the model is an .onnx already", where=file.path, hint="leave out --onnx-only")
    if file.kind != "pb" and (input_name or output_name):
        raise InputError("--input-name and --output-name are for .pb files", where=file.path)
    if not onnx_only:
        qnn.require()
        chip = socs.find(socs.DEFAULT if soc is None else soc)
    onnx_path = None if file.kind == "onnx" else Path(out_dir) / f"{file.stem}.onnx"
    dlc_path = None if onnx_only else Path(out_dir) / f"{file.stem}.dlc"
    for path in (onnx_path, dlc_path):
        if path is not None:
            refuse_overwrite(path, overwrite)
    require_writable(out_dir)

    converted, card, checks = _to_onnx(file, input_name, output_name, say)
    with unfinished(out_dir):
        if onnx_path is not None:
            write_bytes(onnx_path, converted.SerializeToString(), overwrite=overwrite)
            tools = ("onnx", "onnxruntime", *(("tf2onnx",) if file.kind == "pb" else ()))
            write_card(onnx_path, replace(card, source=source_of(file.path), checks=checks), tools=tools)
        if dlc_path is not None:
            say(f"writing the .dlc for {chip.name}")
            input_size = dlc_size(input_size, onnx_facts(converted, where=file.path))
            made, _ = write_checked_dlc(
                converted, dlc_path, input_size=input_size, scale=card.scale, soc=chip.id, caches=caches,
                overwrite=overwrite, against=f"{file.stem}.onnx",
            )  # fmt: skip
            lr, sr = ports(card.scale, input_size)
            dlc_card = replace(
                card,
                kind="dlc",
                input=replace(lr, name=card.input.name),
                output=replace(sr, name=card.output.name),
                source=source_of(onnx_path or file.path),
                checks=made,
            )
            write_card(dlc_path, dlc_card, tools=("onnxruntime-qnn",))
            checks = (*checks, *made)
    return ConvertResult(
        onnx=onnx_path,
        dlc=dlc_path,
        onnx_bytes=onnx_path.stat().st_size if onnx_path else None,
        dlc_bytes=dlc_path.stat().st_size if dlc_path else None,
        onnx_size=card.input.shape[1:3] if None not in card.input.shape[1:3] else None,
        input_size=None if onnx_only else input_size,
        chip=None if onnx_only else chip.name,
        checks=checks,
        dsp_notes=card.dsp_notes,
    )


def _to_onnx(file: ModelFile, input_name: str | None, output_name: str | None, say: Callable[[str], None]):
    """(model, its card, the checks against the source network) of any float model file; an `.onnx` is only read."""
    from snpe_srgan.onnx_graphs.adapt import adapt
    from snpe_srgan.onnx_graphs.model import onnx_facts
    from snpe_srgan.runtimes.source import load_source, say_found

    training = file.card.training if file.card else None
    if file.kind == "npz":
        from snpe_srgan.onnx_graphs.from_layers import to_onnx

        graph, weights = load_npz(file.path)
        model = to_onnx(graph, weights)
        say("checking against the TensorLayer network")
        lr = probe_picture(*PROBE)
        check = check_equal(
            run_onnx(model, lr), _tensorlayer(graph, weights, lr), against=file.path.name, where=file.path
        )
        return model, model_card(graph, kind="onnx", training=training), (check,)
    if file.kind == "onnx":
        source = load_source(file)
        return source.graph, _card_of(file, source.graph, source.known, source.found), ()

    from snpe_srgan.onnx_graphs.from_tensorflow import FrozenGraph

    say("loading TensorFlow")
    with FrozenGraph(file.path, say=say) as frozen:
        model = frozen.to_onnx(input_name=input_name, output_name=output_name)
        ours, found = adapt(model, where=file.path, said=file.known_ends)
        boundary = OURS if found is None else found.boundary
        lr = boundary.given(probe_picture(*(size_of(model, boundary.layout) or PROBE)))
        expected = frozen.run(lr)
    check = check_equal(run_onnx(model, lr), expected, against=file.path.name, where=file.path)
    say_found(file, found)
    model = ours
    card = _card_of(file, model, onnx_facts(model, where=file.path), found)
    _describe(model, card)
    return model, card, (check,)


def _tensorlayer(graph, weights, lr: np.ndarray) -> np.ndarray:
    import_tensorflow()
    from snpe_srgan.models.tensorlayer_model import build, set_weights

    network = build(graph, seed=0)
    set_weights(network, graph, weights)
    return np.asarray(network(lr, is_train=False))


def _card_of(file: ModelFile, model, facts, found: Found | None) -> Card:
    """The card of an ONNX model of which there is no description, only the graph (and the source's card, if any)."""
    from snpe_srgan.onnx_graphs.cost import onnx_cost

    cost = onnx_cost(model, where=file.path)
    card = graph_card(card_for(file, found, scale=facts.scale), facts)
    return replace(card, parameters=cost.parameters, macs_per_lr_pixel=round(cost.macs_per_lr_pixel))


def _describe(model, card: Card) -> None:
    from onnx import helper

    known = {"scale": card.scale, "network": card.network, "receptive_radius": card.receptive_radius}
    helper.set_model_props(model, {key: str(value) for key, value in known.items() if value is not None})
