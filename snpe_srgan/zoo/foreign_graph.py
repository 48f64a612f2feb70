"""Foreign networks that come as a graph, `.onnx` or `.dlc`, brought into our form with the evidence on the card.

    card = import_graph("their.onnx", "theirs_ours.onnx")     # then run, evaluate, quantize, convert as one of ours
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import Card, source_of, write_card
from snpe_srgan.artifacts.files import refuse_overwrite, write_bytes
from snpe_srgan.artifacts.inputs import reading
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.onnx_graphs.boundary import OURS, Boundary, Found, find_boundary, in_our_form, is_ours
from snpe_srgan.onnx_graphs.cost import onnx_cost
from snpe_srgan.onnx_graphs.model import onnx_facts, read_onnx
from snpe_srgan.zoo.model_card import ports
from snpe_srgan.zoo.resolve import ModelFile

if TYPE_CHECKING:
    import onnx

SUFFIXES = (".onnx", ".dlc")


@dataclass(frozen=True)
class Said:
    """What the user says of a network's ends; None is found out."""

    takes: str | None = None
    gives: str | None = None
    colour: str | None = None

    @property
    def boundary(self) -> Boundary | None:
        """None where nothing was said; of two ranges the one left out is like the other."""
        if self == Said():
            return None
        takes, gives = self.takes or self.gives, self.gives or self.takes
        if takes is None or gives is None:
            return Boundary(takes="0..1", gives="0..1", colour=self.colour or "RGB")
        return Boundary(takes=takes, gives=gives, colour=self.colour or "RGB")


def read_graph(path: str | os.PathLike) -> onnx.ModelProto:
    """The graph in an `.onnx` or a `.dlc` of anyone; checked, not yet in our form."""
    path = Path(path)
    if path.suffix.lower() != ".dlc":
        return read_onnx(path)
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.dlc.to_onnx import rebuild

    return rebuild(read(path))


def adapt(model: onnx.ModelProto, *, where: object, said: Said | None = None) -> tuple[onnx.ModelProto, Found]:
    """A graph in our form, and what was found out about it; one that is in our form already stays as it is.

    Raises:
        InputError: the ends are no RGB pictures, or the rewritten graph does not enlarge by a whole number.
    """
    if is_ours(model) and (said is None or said == Said()):
        return model, Found(OURS, ("it is in our form",))
    found = find_boundary(model, where=where, wanted=said.boundary if said else None)
    ours = in_our_form(model, found.boundary)
    onnx_facts(ours, where=where)
    return ours, found


def import_graph(
    source: str | os.PathLike, out: str | os.PathLike, *, said: Said | None = None, overwrite: bool = False
) -> tuple[Card, Found]:
    """Writes a foreign graph in our form, with its card.

    Args:
        source: an `.onnx` or `.dlc` file.
        out: the `.onnx` to write.
        said: what the user says of the ends, taken as it is.

    Raises:
        UsageError: `out` is no `.onnx`.
        InputError: the file is no super-resolution network for RGB pictures.
    """
    path, target = Path(source), Path(out)
    if target.suffix.lower() != ".onnx":
        raise UsageError(f"a graph is imported as an .onnx, not as '{target.suffix}'", hint=f"-o {target.stem}.onnx")
    reading(path)
    refuse_overwrite(target, overwrite)
    model, found = adapt(read_graph(path), where=path, said=said)
    facts, cost = onnx_facts(model, where=path), onnx_cost(model)
    lr, sr = ports(facts.scale, facts.input_size)
    if cost.macs_per_lr_pixel == 0:
        raise InputError("the graph has no convolutions: not a network", where=path)
    card = Card(
        artifact="",
        kind="onnx",
        network="foreign",
        scale=facts.scale,
        parameters=cost.parameters,
        macs_per_lr_pixel=round(cost.macs_per_lr_pixel),
        receptive_radius=facts.overlap,
        input=replace(lr, name=facts.input_name),
        output=replace(sr, name=facts.output_name),
        training={"origin": path.name, "data": "not known", "licence": "not known",
                  "boundary": found.boundary.describe(), "evidence": list(found.evidence)},
        remarks=facts.remarks,
        source=source_of(path),
    )  # fmt: skip
    with unfinished(target.parent):
        write_bytes(target, model.SerializeToString(), overwrite=overwrite)
        return write_card(target, card, tools=("onnx", "onnxruntime")), found


def refuse_other_numbers(file: ModelFile) -> None:
    """`InputError` for a graph without a card that clearly takes or gives other numbers than ours.

    Scored or calibrated on our numbers it would draw nonsense, and nothing would say so. One whose ends cannot be told
    passes: there is nothing to hold against it.
    """
    if file.kind not in ("onnx", "dlc") or file.card is not None:
        return
    model = read_graph(file.path)
    if is_ours(model):
        return
    try:
        found = find_boundary(model, where=file.path)
    except InputError:
        raise
    except Exception:  # an operator that ONNX Runtime does not have: the engine says so in its own words
        return
    ours = (OURS.layout, OURS.takes, OURS.gives)
    if found.certain and (found.boundary.layout, found.boundary.takes, found.boundary.gives) != ours:
        raise InputError(
            f"this network is {found.boundary.describe()}; ours is {OURS.describe()}", where=file.path,
            hint=f"snpe-srgan import {file.path.name} -o {file.stem}_ours.onnx, and use that",
        )  # fmt: skip
