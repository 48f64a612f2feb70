"""The networks that a plan chooses among: a MODEL as typed, or every one with a name.

subject = read_subject("mobile")
subject.work, subject.precisions, subject.psnr
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.card import Card
from snpe_srgan.errors import InputError
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.boundary import Said
from snpe_srgan.planning.work import Work, of_graph, of_onnx
from snpe_srgan.toolchains.published import FLOAT, PRECISIONS, W8A8, W8A16
from snpe_srgan.zoo.named import PRETRAINED, list_named, model_names
from snpe_srgan.zoo.resolve import is_name, resolve

if TYPE_CHECKING:
    import onnx

TEST_SET = "Set5"


@dataclass(frozen=True)
class Subject:
    """One network.

    Attributes:
        name: as typed.
        work: of one LR pixel.
        scale: how many times as high and wide the result is.
        overlap: LR pixels by which tiles overlap; None when that is not known.
        whole: it reads the whole picture, so tiles are near its result and not equal to it.
        fixed: LR (height, width) that its file is fixed to, or None.
        precisions: those that it can be had in: all, or that of a quantized file.
        psnr: dB on Set5 (Y) by its card, of the file itself; None where none is known.
    """

    name: str
    work: Work
    scale: int
    overlap: int | None
    whole: bool
    fixed: tuple[int, int] | None
    precisions: tuple[str, ...]
    psnr: float | None


def named_subjects() -> list[Subject]:
    """Every network with a name; none is imported, for the structure is enough."""
    return [read_subject(name) for name in model_names()]


def read_subject(model: str, *, said: Said | None = None) -> Subject:
    """The network that MODEL names; `said` is what the user says of a foreign one's ends.

    Raises:
        InputError: no such model, or one whose operators cannot be read (.pb, ready-compiled code).
    """
    if is_name(model) and model in PRETRAINED:
        psnr = next(named.psnr.get(TEST_SET) for named in list_named() if named.name == model)
        return _of_graph(model, describe("srgan"), psnr)
    file = resolve(model, said=said)
    psnr = _psnr(file.card)
    if file.kind == "npz":
        from snpe_srgan.models.npz import load_npz

        return _of_graph(str(model), load_npz(file.path)[0], psnr)
    import onnx

    from snpe_srgan.runtimes.source import load_source

    source = load_source(file)
    if not isinstance(source.model, onnx.ModelProto) or source.facts is None or source.compiled:
        what = "ready-compiled code" if source.compiled else "a frozen TensorFlow graph"
        raise InputError(
            f"{what} is not read by plan", where=file.path, hint="the .npz, .onnx or .dlc that it was made from"
        )
    facts = source.facts
    return Subject(
        str(model), of_onnx(source.model, where=file.path), facts.scale, facts.overlap, facts.whole is not None,
        facts.input_size, _precisions(source.model), psnr,
    )  # fmt: skip


def _of_graph(name: str, graph: Graph, psnr: float | None) -> Subject:
    whole = any(layer.kind == "global_average_pool" for layer in graph.layers)
    radius = graph_cost(graph).receptive_radius
    return Subject(name, of_graph(graph), graph.scale, radius, whole, None, PRECISIONS, psnr)


def _psnr(card: Card | None) -> float | None:
    metrics = card.metrics if card else ()
    found = [m.psnr for m in metrics if m.dataset == TEST_SET and m.psnr is not None]
    return found[0] if found else None


def _precisions(model: onnx.ModelProto) -> tuple[str, ...]:
    """All for a float graph; for a quantized one that of its activations."""
    from snpe_srgan.onnx_graphs.quantized import is_quantized
    from snpe_srgan.toolchains.widths import sixteen_bits

    if not is_quantized(model):
        return PRECISIONS
    return (W8A16,) if sixteen_bits(model) else (W8A8,)


def remark_of(subject: Subject, precision: str) -> str | None:
    """What a PSNR does not say of a plan in this precision."""
    if subject.psnr is None or precision == FLOAT or subject.precisions != PRECISIONS:
        return None
    return "PSNR is the float network's: what quantization costs is measured by quantize"
