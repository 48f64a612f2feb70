"""Foreign networks that come as a graph, `.onnx` or `.dlc`, brought into our form with the evidence on the card.

    card = import_graph("their.onnx", "theirs_ours.onnx")     # then run, evaluate, quantize, convert as one of ours
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.artifacts.card import Card, Check, card_path, source_of, write_card
from snpe_srgan.artifacts.files import refuse_overwrite, require_writable, write_bytes
from snpe_srgan.artifacts.inputs import reading
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.errors import CheckFailed, InputError, UsageError
from snpe_srgan.models.npz import save_npz
from snpe_srgan.onnx_graphs.adapt import graph_of, read_graph
from snpe_srgan.onnx_graphs.boundary import OURS, SIDE, Found, Said, probe_picture
from snpe_srgan.onnx_graphs.cost import onnx_cost
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.onnx_graphs.saved_model import NAME as SAVED_MODEL
from snpe_srgan.onnx_graphs.tensorflow_models import kind_of, read_tensorflow
from snpe_srgan.onnx_graphs.tidy import tidy
from snpe_srgan.onnx_graphs.to_layers import to_layers
from snpe_srgan.zoo.model_card import graph_card, model_card
from snpe_srgan.zoo.resolve import ModelFile

SAME = 1e-3  # of a range of 2: what an import as layers may change
SUFFIXES = (".onnx", ".dlc")


def is_graph(path: str | os.PathLike, out: str | os.PathLike) -> bool:
    """Whether what lies there is a network with its graph, and not weights alone. An HDF5 file may be both: an `.npz`
    to write asks for its weights."""
    if str(path).lower().endswith((".h5", ".hdf5")) and str(out).lower().endswith(".npz"):
        return False
    return str(path).lower().endswith(SUFFIXES) or kind_of(path) is not None


def import_graph(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    said: Said | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> tuple[Card, Found]:
    """Writes a foreign graph in our form, with its card.

    Args:
        source: an `.onnx` or `.dlc` file, a SavedModel's folder, a `.keras`, `.h5`, `.pb` or float `.tflite`.
        out: the `.onnx` to write, or an `.npz` of our own layers.
        said: what the user says of the ends, taken as it is.

    Raises:
        UsageError: `out` is no `.onnx` or `.npz`.
        InputError: the file is no super-resolution network for RGB pictures.
    """
    path, target = Path(source), Path(out)
    if target.suffix.lower() not in (".onnx", ".npz"):
        what = f"a graph is imported as an .onnx or .npz, not as '{target.suffix}'"
        raise UsageError(what, hint=f"-o {target.stem}.onnx")
    file = path / SAVED_MODEL if path.is_dir() else path
    reading(file)
    refuse_overwrite(target, overwrite)
    if str(path).lower().endswith(SUFFIXES):
        model, found = read_graph(path, said=said or Said())
    else:
        model, found = graph_of(read_tensorflow(path, say=say).SerializeToString(), where=path, said=said or Said())
    found = found or Found(OURS, ("it is in our form",))
    if target.suffix.lower() == ".npz":
        return write_layers(model, path, target, found, overwrite=overwrite), found
    facts, cost = onnx_facts(model, where=path), onnx_cost(model)
    if cost.macs_per_lr_pixel == 0:
        raise InputError("the graph has no convolutions: not a network", where=path)
    base = Card(
        artifact="", kind="onnx", network="foreign", scale=facts.scale, parameters=cost.parameters,
        macs_per_lr_pixel=round(cost.macs_per_lr_pixel), ends=ends_of(path, found), source=source_of(file),
        training={"origin": path.name, "data": "not known", "licence": "not known"},
    )  # fmt: skip
    card = graph_card(base, facts)
    with unfinished(target.parent):
        write_bytes(target, model.SerializeToString(), overwrite=overwrite)
        return write_card(target, card, tools=("onnx", "onnxruntime")), found


def write_layers(model, path: Path, target: Path, found: Found | None, *, overwrite: bool) -> Card:
    """Writes a graph in our form as a network of our own layers, which trains on and is compressed.

    Args:
        model: the ONNX graph.
        path: the file that it came from.
        target: the `.npz`; its card is written beside it.
        found: the foreign file's ends; None for a graph of ours.
        overwrite: whether the files may exist already.

    Raises:
        InputError: an operator that is none of our layers.
        CheckFailed: the layers draw another picture than the graph.
    """
    graph, weights = to_layers(tidy(model, where=path), where=path)
    picture = probe_picture(*(onnx_facts(model, where=path).input_size or (SIDE, SIDE)))
    expected, got = runner(model)(picture), runner(to_onnx(graph, weights))(picture)
    difference = float(np.abs(expected - got).max())
    if difference > SAME:
        raise CheckFailed(f"the layers draw another picture than the graph, by {difference:.2g}", where=path)
    check = Check(path.name, "max |difference| of the output, range [-1, 1]", difference, SAME)
    training = {"origin": path.name, "data": "not known", "licence": "not known"}
    card = model_card(graph, kind="npz", training=training, source=source_of(path), checks=(check,))
    card = replace(card, ends=ends_of(path, found))
    with unfinished(target.parent):
        save_npz(target, graph, weights, overwrite=overwrite)
        return write_card(target, card, tools=("onnx", "onnxruntime"))


def ends_of(path: Path, found: Found | None) -> dict[str, Any]:
    """For the card of what is made from a foreign file: what that itself takes and gives; empty for one of ours."""
    return {} if found is None else {"file": path.name, "describes": found.boundary.describe(), **found.plain()}


def card_for(file: ModelFile, found: Found | None, *, scale: int) -> Card:
    """What the card of whatever is made from a file starts from: its own card, or an empty one, with a foreign
    network's ends.

    Args:
        found: the file's ends; None for one of ours.
        scale: for the empty card.
    """
    base = file.card or Card(artifact="", kind=file.kind, network="unknown", scale=scale)
    return replace(base, ends=ends_of(file.path, found)) if found is not None or base.foreign else base


def write_foreign_card(file: ModelFile, found: Found | None, *, scale: int) -> Path | None:
    """Keeps beside a stranger's file what the user said of its ends.

    Args:
        found: the file's ends, as they were seen.
        scale: by how much the network enlarges.

    Returns:
        The card's path; None where nothing is new, and nothing was written.

    Raises:
        InputError: the folder cannot be written, or another card lies there.
    """
    said = asdict(file.said)
    if file.card is not None and (not file.card.foreign or dict(file.card.ends["said"]) == said):
        return None
    require_writable(file.path.parent)
    ends = {**ends_of(file.path, found), "said": said}
    write_card(file.path, Card(artifact="", kind=file.kind, network="foreign", scale=scale, ends=ends))
    return card_path(file.path)
