"""What a quantization cost, measured: the picture against the float network's, dB of ground truth, layer by layer.

report = make_report(plan, analysis, crops, recipe="w8a8", reference=float_model, scale=4, overlap=40)
report.worst.name, report.psnr_to_float
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.onnx_graphs.run import runner
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.judge.analysis import Analysis
from snpe_srgan.quantization.judge.layer_losses import LayerLoss
from snpe_srgan.quantization.judge.on_emulator import EmulatorJudgement
from snpe_srgan.runtimes.base import description_of
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.source import Source
from snpe_srgan.runtimes.upscale import upscale_pixels

TILE = 64  # kept LR pixels of a tile: ONNX Runtime takes 100 kB a pixel for 8-bit graphs
ENGINE = "onnxruntime (simulation)"


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
        """dB that the simulated quantized network lost against the float one; below 0 where it is better."""
        return self.float_psnr - self.quantized_psnr

    @property
    def lost_on_emulator(self) -> float | None:
        """dB that the emulated .dlc lost against the float network; None if it was not run."""
        return None if self.emulator_psnr is None else self.float_psnr - self.emulator_psnr


@dataclass(frozen=True)
class Report:
    """All of it. `psnr_to_float` is over the calibration crops, 8-bit RGB, quantized against float.

    `layers` in execution order, `worst` the one with the largest share of the error (measured, else estimated).
    """

    recipe: str
    calibration: str
    engine: str
    crops: int
    psnr_to_float: float
    layers: tuple[LayerLoss, ...]
    worst: LayerLoss
    datasets: tuple[DatasetLoss, ...] = ()
    emulator: EmulatorJudgement | None = None


def make_report(
    plan: Plan,
    analysis: Analysis,
    crops,
    *,
    recipe: str,
    reference,
    scale: int,
    overlap: int | None,
    evaluate: Sequence = (),
    facts: Facts | None = None,
) -> Report:
    """The report of one quantization.

    Args:
        analysis: of the same plan.
        crops: those it is judged on (`calibration.crops.Crops`).
        recipe: its name, for the report.
        reference: the float ONNX model.
        scale: by how much the network enlarges.
        overlap: LR pixels by which tiles overlap; None: pictures run whole.
        evaluate: paths of data sets, as of `find_evaluation_set`.
        facts: of a network that takes not every size; with None it takes any.
    """
    exact, rounded = runner(reference), runner(plan.quantized())
    return Report(
        recipe=recipe,
        calibration=crops.origin,
        engine=ENGINE,
        crops=len(crops.arrays),
        psnr_to_float=psnr_to_float(exact, rounded, crops.arrays),
        layers=analysis.layers,
        worst=analysis.worst,
        datasets=tuple(
            dataset_loss(exact, rounded, path, scale=scale, overlap=overlap, facts=facts) for path in evaluate
        ),
    )


def psnr_to_float(run_float, run_quantized, crops: Sequence[np.ndarray]) -> float:
    """PSNR in dB over all pixels of the crops between the pictures (8 bits) that two runners make.

    Args:
        run_float, run_quantized: LR (1, h, w, 3) in [0, 1] -> (1, H, W, 3) in [-1, 1].
        crops: LR (1, h, w, 3) float32 in [0, 1].

    Returns:
        Infinite where all pixels are equal.
    """
    pairs = [(sr_to_pixels(run_float(c)).ravel(), sr_to_pixels(run_quantized(c)).ravel()) for c in crops]
    return psnr(*(np.concatenate(side) for side in zip(*pairs, strict=True)))


class _Simulated(Session):
    """A network that takes not every size, as a session that plans its tiles."""

    def __init__(self, run, facts: Facts):
        source = Source(Path("the network"), "onnx", None, facts)
        super().__init__(description_of(source, ENGINE, ""))
        self._run = run

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        return self._run(lr)


def dataset_loss(
    run_float, run_quantized, path, *, scale: int, overlap: int | None, facts: Facts | None = None
) -> DatasetLoss:
    """Mean PSNR (protocol y) of both networks on an evaluation set, in tiles that bound the memory.

    Args:
        run_float, run_quantized: LR (1, h, w, 3) in [0, 1] -> (1, H, W, 3) in [-1, 1].
        path: of the set, as of `find_evaluation_set`.
        scale: by how much the networks enlarge.
        overlap: LR pixels by which tiles overlap; None: pictures run whole.
        facts: of networks that take not every size; with None they take any.

    Raises:
        InputError: there is no such set, or one of its pictures cannot be read.
    """
    from snpe_srgan.imaging.colour import pixels_to_lr
    from snpe_srgan.imaging.tiles import upscale_tiled
    from snpe_srgan.metrics.dataset import find_evaluation_set
    from snpe_srgan.metrics.loop import score_pairs
    from snpe_srgan.metrics.protocol import Protocol, mean_score

    dataset, protocol = find_evaluation_set(path, scale=scale), Protocol("y")
    tile = None if overlap is None else (TILE + 2 * overlap,) * 2

    def enlarger(run) -> Callable[[np.ndarray], np.ndarray]:
        if facts is not None and (facts.input_size is not None or facts.multiple > 1):
            session = _Simulated(run, facts)
            return lambda lr: upscale_pixels(session, lr).pixels
        return lambda lr: sr_to_pixels(
            upscale_tiled(run, pixels_to_lr(lr), scale=scale, tile=tile, overlap=overlap or 0)
        )

    rows = score_pairs(dataset, [enlarger(run_float), enlarger(run_quantized)], protocol=protocol, scale=scale)
    float_psnr, quantized_psnr = (
        mean_score(kept).psnr for kept in zip(*(found.scores for found in rows), strict=True)
    )
    return DatasetLoss(
        dataset.name, f"{protocol.describe()}; {dataset.origin}", len(dataset), float_psnr, quantized_psnr
    )


def to_json(report: Report) -> dict:
    """Plain data; a perfect match (infinite dB) is None, dB lost are added to each data set."""
    data = asdict(report)
    for entry, loss in zip(data["datasets"], report.datasets, strict=True):
        entry["lost"], entry["lost_on_emulator"] = loss.lost, loss.lost_on_emulator
    return finite(data)


def finite(value):
    """Plain data with None for every float that JSON does not have (infinite, not a number); tuples become lists."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
