"""What a network would cost on the DSP: Qualcomm's cost model asked about a graph, and the `.dlc` it would become.

    price = Pricer(input_size=(128, 128), chip="SA8255P")
    price(graph)                      # microseconds of one inference in 8 bits; weights do not matter, shapes do

A DSP runs 8 bits, so that is what is priced, by plain quantization. It is an estimate, never a measured latency. Each
takes 2 to 5 seconds (Qualcomm's compiler prepares the graph), so a structure is asked about once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.models.graph import Graph
from snpe_srgan.toolchains import qnn, socs

RECIPE = "w8a8-minmax"  # shapes and widths make the cost and the bytes, not how well the ranges were chosen
PROBE = 16  # LR pixels a side of the noise that the ranges are taken from


class Pricer:
    """Callable: Graph -> microseconds in 8 bits; remembers every structure (kinds and shapes, not names)."""

    def __init__(self, *, input_size: tuple[int, int], chip: int | str):
        self.input_size, self.chip = input_size, chip
        self._known: dict[tuple, float] = {}

    def __call__(self, graph: Graph) -> float:
        key = structure(graph)
        if key not in self._known:
            model = eight_bits(graph, random_weights(graph))
            self._known[key] = float(estimate(model, size=self.input_size, chip=self.chip).microseconds)
        return self._known[key]


def require(chip: int | str) -> socs.Soc:
    """The chip, when it can be priced here; `MissingToolError` without the wheel, `UsageError` for another chip."""
    from snpe_srgan.errors import UsageError

    qnn.require()
    soc = socs.find(chip)
    if not soc.estimates:
        known = ", ".join(s.name for s in socs.SOCS if s.estimates)
        raise UsageError(f"Qualcomm gives no cost model for {soc}", where="--chip", hint=f"these have one: {known}")
    return soc


def structure(graph: Graph) -> tuple:
    """What the cost depends on: two graphs with equal structures take equally long."""
    place = {layer.name: index for index, layer in enumerate(graph.layers)}
    rows = []
    for layer in graph.layers:
        facts = {key: layer.attributes.get(key) for key in ("kernel", "bias", "block")}
        facts["kernel"] = tuple(facts["kernel"]) if facts["kernel"] else None
        inputs = tuple(place[name] for name in layer.inputs)
        rows.append((layer.kind, inputs, layer.channels, layer.upscale, *facts.values()))
    return tuple(rows)


def random_weights(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep activations near 1."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in graph.weight_shapes().items():
        array = name.rsplit("/", 1)[1]
        if array == "kernel":
            value = random.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
        else:
            value = np.full(shape, {"alpha": 0.25, "gamma": 1.0, "variance": 1.0}.get(array, 0.0))
        weights[name] = value.astype(np.float32)
    return weights


def eight_bits(graph: Graph, weights: Mapping[str, np.ndarray]):
    """The network as a QDQ ONNX model of free size, plainly rounded to 8 bits."""
    from snpe_srgan.calibration.crops import Crops
    from snpe_srgan.onnx_graphs.from_layers import to_onnx
    from snpe_srgan.onnx_graphs.run import free_size
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.steps.run import make_plan

    noise = np.random.default_rng(0).random((1, PROBE, PROBE, 3), dtype=np.float32)
    model = free_size(to_onnx(graph, weights))
    made = make_plan(model, parse_recipe(RECIPE), scale=graph.scale, crops=Crops((noise,), "noise"))
    return made.plan.quantized()


def estimate(model, *, size: tuple[int, int], chip: int | str) -> qnn.CostEstimate:
    """Qualcomm's cost model on an ONNX (float or QDQ) model.

    Args:
        size: LR height and width.
        chip: the SoC's number or name.

    Raises:
        MissingToolError: the package with Qualcomm's libraries is not installed.
        SnpeSrganError: the chip has no cost model, or the compiler refuses the graph.
    """
    with Scratch() as folder:
        return qnn.estimate_cost(_fixed(model, size, Path(folder)), chip=chip)


def dlc_bytes(model, *, size: tuple[int, int]) -> int:
    """Bytes of the `.dlc` that an ONNX model becomes; the file itself is not kept."""
    with Scratch() as folder:
        return qnn.write_dlc(_fixed(model, size, Path(folder)), Path(folder) / "model.dlc").bytes


def _fixed(model, size: tuple[int, int], folder: Path) -> Path:
    from snpe_srgan.onnx_graphs.model import fix_size

    path = folder / "model.onnx"
    path.write_bytes(fix_size(model, size).SerializeToString())
    return path
