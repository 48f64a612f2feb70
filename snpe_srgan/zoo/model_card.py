"""What every artifact's card says about the network itself, so that each stage adds only what it knows.

card = model_card(graph, kind="npz", training={...})
write_card(path, card)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from snpe_srgan.artifacts.card import Card, Check, TensorInfo
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.dsp_notes import dsp_notes
from snpe_srgan.models.graph import Graph
from snpe_srgan.onnx_graphs.reach import WHOLE, Facts


def ports(scale: int, input_size: tuple[int, int] | None = None) -> tuple[TensorInfo, TensorInfo]:
    """The input and output that every generator here has; `input_size` (height, width) when it is fixed."""
    height, width = input_size or (None, None)
    high, wide = (None if n is None else n * scale for n in (height, width))
    lr = TensorInfo(name="lr", shape=(1, height, width, 3), range=(0.0, 1.0))
    return lr, TensorInfo(name="sr", shape=(1, high, wide, 3), range=(-1.0, 1.0))


def model_card(
    graph: Graph,
    *,
    kind: str,
    input_size: tuple[int, int] | None = None,
    training: Mapping[str, object] | None = None,
    source: Mapping[str, str] | None = None,
    checks: tuple[Check, ...] = (),
) -> Card:
    """A card complete but for what `write_card` fills in.

    Args:
        kind: of the file: `npz`, `pb`, `onnx`, `dlc`. The first two count batch norm's arrays, others have it folded.
        input_size: LR height and width where they are fixed; None: any.
        training: how the weights came to be.
        source: the file that it is made from, as of `source_of`.
        checks: that were made on it.
    """
    cost = graph_cost(graph)
    lr, sr = ports(graph.scale, input_size)
    return Card(
        artifact="",
        kind=kind,
        network=graph.network,
        scale=graph.scale,
        parameters=cost.parameters if kind in ("npz", "pb") else cost.deployed_parameters,
        macs_per_lr_pixel=cost.macs_per_lr_pixel,
        receptive_radius=cost.receptive_radius,
        input=lr,
        output=sr,
        options=dict(graph.options),
        training=dict(training or {}),
        checks=checks,
        remarks=remarks(graph),
        dsp_notes=dsp_notes(graph),
        source=dict(source or {}),
    )


def graph_card(base: Card, facts: Facts) -> Card:
    """`base` for an ONNX graph that its network's layers do not describe: what the graph itself says."""
    lr, sr = ports(facts.scale, facts.input_size)
    return replace(
        base,
        kind="onnx",
        scale=facts.scale,
        receptive_radius=facts.overlap,
        remarks=base.remarks or facts.remarks,
        input=replace(lr, name=facts.input_name),
        output=replace(sr, name=facts.output_name),
        metrics=(),
        checks=(),
        tools={},
    )


def remarks(graph: Graph) -> tuple[str, ...]:
    """What the figures on a card do not say: that no receptive radius covers what the network reads."""
    return (WHOLE.format("global_average_pool"),) if any(x.kind == "global_average_pool" for x in graph.layers) else ()
