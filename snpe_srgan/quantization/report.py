"""What a quantization cost, measured: the picture against the float network's, dB of ground truth, layer by layer.

report = make_report(model, quantized, plan, crops, statistics)
report.worst.name, report.psnr_to_float
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.quantization.affine import fake_quantize
from snpe_srgan.quantization.calibration import Statistics, channel_power
from snpe_srgan.quantization.encodings import Encoding
from snpe_srgan.quantization.network import Network
from snpe_srgan.quantization.ranges import range_error
from snpe_srgan.quantization.simulate import runner, session, with_outputs
from snpe_srgan.quantization.weights import weight_error

LAYER_CROPS = 4
JUDGED_CROPS = 3
TILE = 64  # kept LR pixels of a tile: ONNX Runtime takes 100 kB a pixel for 8-bit graphs
ENGINE = "onnxruntime (simulation)"


@dataclass(frozen=True)
class LayerLoss:
    """One quantized tensor.

    Attributes:
        kind: the operator that makes it; "weights" for a convolution's kernel.
        sqnr: signal to noise in dB with everything before it quantized as well; None for weights.
        sqnr_alone: with only this tensor rounded; None for weights.
        share: its part of the output's expected squared error, by the network's derivative; all shares sum to 1.
        low, high: the range its integers span.
    """

    name: str
    kind: str
    sqnr: float | None
    sqnr_alone: float | None
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class DatasetLoss:
    """dB lost against ground truth: mean PSNR of the float and of the quantized network, by the named protocol.

    `quantized_psnr` is the simulation's; `emulator_psnr` that of the .dlc's graph on the emulator, None if not run.
    """

    dataset: str
    protocol: str
    pictures: int
    float_psnr: float
    quantized_psnr: float
    emulator_psnr: float | None = None

    @property
    def lost(self) -> float:
        return self.float_psnr - self.quantized_psnr

    @property
    def lost_on_emulator(self) -> float | None:
        return None if self.emulator_psnr is None else self.float_psnr - self.emulator_psnr


@dataclass(frozen=True)
class EmulatorJudgement:
    """The .dlc's own graph on the Hexagon emulator: PSNR (dB, 8-bit RGB) against float and against the simulation."""

    crops: int
    psnr_to_float: float
    simulation_psnr_to_float: float
    psnr_to_simulation: float


@dataclass(frozen=True)
class Report:
    """All of it. `psnr_to_float` is over the calibration crops, 8-bit RGB, quantized against float."""

    recipe: str
    calibration: str
    engine: str
    crops: int
    psnr_to_float: float
    layers: tuple[LayerLoss, ...]
    worst: LayerLoss
    datasets: tuple[DatasetLoss, ...] = ()
    emulator: EmulatorJudgement | None = None


def psnr_to_float(run_float, run_quantized, crops: Sequence[np.ndarray]) -> float:
    """PSNR in dB over all pixels of the crops between the pictures (8 bits) that two runners make."""
    pairs = [(sr_to_pixels(run_float(c)).ravel(), sr_to_pixels(run_quantized(c)).ravel()) for c in crops]
    return psnr(*(np.concatenate(side) for side in zip(*pairs, strict=True)))


def layer_losses(
    model,
    quantized,
    encodings: Mapping[str, Encoding],
    weight_scales: Mapping[str, np.ndarray],
    statistics: Mapping[str, Statistics],
    crops: Sequence[np.ndarray],
    *,
    weight_bits: int,
) -> tuple[LayerLoss, ...]:
    """Every tensor and kernel, in execution order."""
    network = Network(model)
    rows = []
    sqnr = _measured(model, quantized, network, encodings, crops[:LAYER_CROPS])
    for x, s in statistics.items():
        e = encodings[x]
        error = float(range_error(s.weighted, s.edges, [e.low], [e.high], bits=e.bits)[0, 0])
        kind = network.makers[x].kind if x in network.makers else "input"
        error = 0.0 if kind == "input" and e.bits >= 8 else error  # 8-bit pictures lie on its grid
        rows.append((x, kind, *sqnr.get(x, (None, None)), error, e.low, e.high))
    for node in network.nodes:
        if node.kind == "Conv":
            gain = _gain_behind(network, node.output, statistics)
            power = channel_power(network, node.inputs[0], statistics)
            weights = np.asarray(node.constants[1], np.float64)
            scale = weight_scales[node.name]
            positions = _positions(network, node.output, statistics)
            error = positions * weight_error(weights, scale, power, gain, bits=weight_bits)
            rows.append((node.name, "weights", None, None, error, float(weights.min()), float(weights.max())))
    total = sum(row[4] for row in rows) or 1.0
    return tuple(LayerLoss(n, k, s, a, error / total, low, high) for n, k, s, a, error, low, high in rows)


def _measured(model, quantized, network: Network, encodings, crops) -> dict[str, tuple[float, float]]:
    """Tensor -> (SQNR with everything before it quantized, SQNR with it alone), over the crops."""
    made = {name for node in quantized.graph.node for name in node.output}
    names = [x for x in network.integer_tensors if f"{x}_dequantized" in made and x in network.makers]
    exact = session(with_outputs(model, names))
    rounded = session(with_outputs(quantized, [f"{x}_dequantized" for x in names]), integer_kernels=False)
    pairs: dict[str, list[list[np.ndarray]]] = {x: [] for x in names}
    for crop in crops:
        a = exact(names, {network.input: crop})
        b = rounded([f"{x}_dequantized" for x in names], {network.input: crop})
        for x, real, integer in zip(names, a, b, strict=True):
            e = encodings[x]
            alone = fake_quantize(real, e.scale, e.zero, bits=e.bits)
            signal = np.square(real, dtype=np.float64).sum()
            pairs[x].append([signal, np.square(real - integer).sum(), np.square(real - alone).sum()])
    sums = {x: np.sum(rows, axis=0) for x, rows in pairs.items()}
    return {x: (decibel(signal, noise), decibel(signal, alone)) for x, (signal, noise, alone) in sums.items()}


def decibel(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise); None where one of them is 0."""
    return float(10 * np.log10(signal / noise)) if signal > 0 and noise > 0 else None


def _gain_behind(network: Network, tensor: str, statistics) -> np.ndarray:
    return _behind(network, tensor, statistics).gain


def _positions(network: Network, tensor: str, statistics) -> float:
    s = _behind(network, tensor, statistics)
    return float(s.counts.sum() / len(s.low))


def _behind(network: Network, tensor: str, statistics) -> Statistics:
    """Statistics of a convolution's output; of the ReLU's where the two are one operator."""
    return statistics[network.readers[tensor][0].output if tensor in network.fused else tensor]


def make_report(
    model, quantized, encodings, scales, statistics, crops, recipe, *, scale: int, overlap: int | None, evaluate=()
) -> Report:
    """The report of one quantization; `crops` are the calibration's (`crops.Crops`)."""
    layers = layer_losses(model, quantized, encodings, scales, statistics, crops.arrays, weight_bits=recipe.weight_bits)
    exact, rounded = runner(model), runner(quantized)
    value = psnr_to_float(exact, rounded, crops.arrays)
    return Report(
        recipe=recipe.name,
        calibration=crops.origin,
        engine=ENGINE,
        crops=len(crops.arrays),
        psnr_to_float=value,
        layers=layers,
        worst=max(layers, key=lambda layer: layer.share),
        datasets=tuple(dataset_loss(exact, rounded, path, scale=scale, overlap=overlap) for path in evaluate),
    )


def dataset_loss(run_float, run_quantized, path, *, scale: int, overlap: int | None) -> DatasetLoss:
    """Mean PSNR (protocol y) of both networks on an evaluation set, in tiles that bound the memory."""
    from snpe_srgan.imaging.colour import pixels_to_lr
    from snpe_srgan.imaging.tiles import upscale_tiled
    from snpe_srgan.metrics.dataset import find_evaluation_set
    from snpe_srgan.metrics.protocol import Protocol, mean_score, score

    dataset, protocol = find_evaluation_set(path, scale=scale), Protocol("y")
    tile = None if overlap is None else (TILE + 2 * overlap,) * 2
    scores: tuple[list, list] = ([], [])
    for pair in dataset:
        for run, kept in zip((run_float, run_quantized), scores, strict=True):
            sr = upscale_tiled(run, pixels_to_lr(pair.lr), scale=scale, tile=tile, overlap=overlap or 0)
            kept.append(score(sr_to_pixels(sr), pair.hr, protocol=protocol, scale=scale, grey=pair.grey))
    float_psnr, quantized_psnr = (mean_score(kept).psnr for kept in scores)
    return DatasetLoss(
        dataset.name, f"{protocol.describe()}; {dataset.origin}", len(dataset), float_psnr, quantized_psnr
    )


def judge_on_emulator(model, quantized, rebuilt, crops: Sequence[np.ndarray], *, soc: int | str) -> EmulatorJudgement:
    """Runs the graph rebuilt from the .dlc on the Hexagon emulator, on a few crops (it computes about 1 GMAC/s)."""
    from snpe_srgan.runtimes.onnx_model import fix_size
    from snpe_srgan.toolchains.qnn import EmulatorSession

    crops = [c for c in crops if c.shape == crops[0].shape][:JUDGED_CROPS]
    fixed = fix_size(rebuilt, crops[0].shape[1:3])
    with EmulatorSession(fixed.SerializeToString(), soc_model=soc, name="the .dlc's graph") as emulator:
        judged = {crop.tobytes(): emulator.run(crop) for crop in crops}
    exact, simulated = runner(model), runner(quantized)

    def on_emulator(crop):
        return judged[crop.tobytes()]

    return EmulatorJudgement(
        crops=len(crops),
        psnr_to_float=psnr_to_float(exact, on_emulator, crops),
        simulation_psnr_to_float=psnr_to_float(exact, simulated, crops),
        psnr_to_simulation=psnr_to_float(simulated, on_emulator, crops),
    )


def to_json(report: Report) -> dict:
    """Plain data; a perfect match (infinite dB) is None, dB lost are added to each data set."""
    data = asdict(report)
    for entry, loss in zip(data["datasets"], report.datasets, strict=True):
        entry["lost"] = loss.lost
    return finite(data)


def finite(value):
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
