"""What a network's operators cost on a DSP, in words: on its card, and said by `inspect` and `convert`.

    for note in dsp_notes(graph): print(note)

What a kind of layer costs anywhere stands in its record (`models/operators.py`); here is what depends on its place.
Facts are Hexagon's: a convolution works on 32 channels at once and takes a ReLU along for nothing; any other operator
is a pass over memory of its own; a picture of 16 times the pixels costs 16 times as much. The faults are those seen
with QAIRT 2.51 (runtimes/strip.py holds every .dlc to the host's picture).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from snpe_srgan.models.cost import layer_macs, macs_per_lr_pixel, receptive_radius
from snpe_srgan.models.graph import Graph, Layer
from snpe_srgan.models.operators import OPERATORS

FAR = 48  # LR pixels: from there on a usual .dlc's 128x128 input is mostly overlap
VECTOR = 32  # channels
LARGE = 7  # a kernel's side


def dsp_notes(graph: Graph) -> tuple[str, ...]:
    """One line for each thing that matters: what depends on a layer's place, then what its kind costs anywhere."""
    notes = []
    for matters, text in NOTES:
        found = [layer for layer in graph.layers if matters(graph, layer)]
        if found:
            notes.append(text.format(count=len(found), names=_names(found)))
    for text in dict.fromkeys(operator.dsp for operator in OPERATORS.values() if operator.dsp):
        found = [layer for layer in graph.layers if OPERATORS[layer.kind].dsp == text]
        if found:
            notes.append(text.format(count=len(found), names=_names(found)))
    return (*_share_at_full_size(graph), *notes, *_far_sight(graph))


def _stays(graph: Graph, layer: Layer) -> bool:
    """Whether a multiplication by a constant cannot be folded into a convolution before it."""
    if layer.kind != "scale":
        return False
    readers = sum(x.inputs.count(layer.inputs[0]) for x in graph.layers)
    before = graph.layer(layer.inputs[0])
    while before.kind == "batch_norm":
        before = graph.layer(before.inputs[0])
    return before.kind != "conv" or readers > 1


def _inner_tanh(graph: Graph, layer: Layer) -> bool:
    return layer.kind == "tanh" and layer.upscale != graph.layers[-1].upscale


def _large_and_thin(graph: Graph, layer: Layer) -> bool:
    if layer.kind != "conv" or layer.upscale != graph.layers[-1].upscale or max(layer.attributes["kernel"]) < LARGE:
        return False
    return min(layer.channels, graph.in_channels(layer)) < VECTOR


NOTES: Sequence[tuple[Callable[[Graph, Layer], bool], str]] = (
    (
        _large_and_thin,
        f"{{names}}: a kernel of {LARGE}x{LARGE} or larger at HR size with fewer than {VECTOR} channels at one end; "
        "most of the matrix unit is idle. `compress` moves a last convolution that follows a pixel shuffle before it",
    ),
    (
        _stays,
        "{count}x a multiplication by a constant that follows no convolution, so that it stays an operator; those "
        "behind one are part of it",
    ),
    (_inner_tanh, "{count}x a tanh between convolutions, an operator of its own; a ReLU would be part of one"),
    (
        lambda graph, layer: layer.kind == "depth_to_space" and layer.attributes["block"] == 4,
        "a pixel shuffle by 4 is computed wrongly in 8 bits at some widths, by Qualcomm's compiler (QAIRT 2.51); never "
        "seen at multiples of 4. `convert` checks the width it is given",
    ),
)


def _share_at_full_size(graph: Graph) -> list[str]:
    """How much of the arithmetic is done on the enlarged picture, where it is most of it."""
    large = sum(layer_macs(graph, layer) for layer in graph.layers if layer.upscale == graph.layers[-1].upscale)
    share = large / max(macs_per_lr_pixel(graph), 1)
    if graph.scale == 1 or share < 0.5:
        return []
    return [f"{share:.0%} of the multiplications are done at HR size, {graph.scale**2} times for each LR pixel"]


def _far_sight(graph: Graph) -> list[str]:
    radius = receptive_radius(graph)
    if radius < FAR:
        return []
    return [
        f"it sees {radius} LR pixels far, and tiles that equal the whole picture overlap by as much: a .dlc should "
        "take the whole picture (--input-size)"
    ]


def _names(layers: Sequence[Layer]) -> str:
    names = [layer.name for layer in layers]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
