"""The judge: the graph inside the .dlc on the Hexagon emulator, beside the simulation that guided the quantization.

    judged, figure = judge_on_emulator(float_model, quantized, rebuilt, crops, scale=4, overlap=40, soc=57)
    pictures = emulate(rebuilt, lr_pictures, scale=4, overlap=40, soc=57)

The emulator computes about 0.7 GMAC a second and CPU at 8 bits, 0.13 with 16-bit activations; pictures and their tiles
run side by side, a process on each CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.imaging.colour import sr_to_pixels
from snpe_srgan.imaging.tiles import plan_tiles
from snpe_srgan.metrics.psnr import psnr
from snpe_srgan.onnx_graphs.quantized import share_of_sixteen_bits
from snpe_srgan.onnx_graphs.run import free_size, runner
from snpe_srgan.progress import track

if TYPE_CHECKING:
    from snpe_srgan.metrics.dataset import Pair
    from snpe_srgan.runtimes.emulator import EmulatorEngineSession

JUDGED_CROPS = 3
RATE_8, RATE_16 = 0.73e9, 0.13e9  # measured: MACs a second and CPU, by the bits of the activations
AMPLIFIED = 32  # at most, so that a difference of one level shows


@dataclass(frozen=True)
class EmulatorJudgement:
    """On a few calibration crops, 8-bit RGB: how far simulation and emulator are from the float network's picture.

    Attributes:
        psnr_to_float, simulation_psnr_to_float: dB of each to the float picture.
        psnr_to_simulation: dB between the two.
        equal: share of the values (pixels x colours) that are the same in both.
        largest: the largest difference between the two, in 8-bit levels.
    """

    version: str
    crops: int
    psnr_to_float: float
    simulation_psnr_to_float: float
    psnr_to_simulation: float
    equal: float
    largest: int


def judge_on_emulator(
    reference, quantized, rebuilt, crops: Sequence[np.ndarray], *, scale: int, overlap: int | None, soc: int | str,
    fixed: bool = False,
) -> tuple[EmulatorJudgement, np.ndarray]:
    """Numbers, and a figure (uint8 RGB) of the crop on which the two differ most.

    Args:
        reference: the float network; `quantized`: the QDQ model that is simulated; both of free size.
        rebuilt: the graph read back from the .dlc.
        crops: LR crops (1, h, w, 3); JUDGED_CROPS of them are run.
        fixed: the graph works at its own size alone.
    """
    from snpe_srgan.toolchains import qnn

    crops = [c for c in crops if c.shape == crops[0].shape]
    crops = crops[:: -(-len(crops) // JUDGED_CROPS)]
    pictures = [np.rint(c[0] * 255).astype(np.uint8) for c in crops]
    emulated = emulate(rebuilt, pictures, scale=scale, overlap=overlap, soc=soc, fixed=fixed)
    exact, simulated = ([sr_to_pixels(run(c))[0] for c in crops] for run in (runner(reference), runner(quantized)))
    gaps = [np.abs(a.astype(int) - b) for a, b in zip(emulated, simulated, strict=True)]
    judgement = EmulatorJudgement(
        version=qnn.version() or "",
        crops=len(crops),
        psnr_to_float=_psnr(emulated, exact),
        simulation_psnr_to_float=_psnr(simulated, exact),
        psnr_to_simulation=_psnr(emulated, simulated),
        equal=float(np.mean([gap == 0 for gap in gaps])),
        largest=int(max(gap.max() for gap in gaps)),
    )
    shown = int(np.argmax([gap.mean() for gap in gaps]))
    return judgement, figure(exact[shown], simulated[shown], emulated[shown])


def _psnr(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """PSNR in dB over all values of two lists of uint8 pictures."""
    return psnr(*(np.concatenate([x.ravel() for x in side]) for side in (a, b)))


def figure(exact: np.ndarray, simulated: np.ndarray, emulated: np.ndarray) -> np.ndarray:
    """Float | simulation | emulator | what the last two differ by, amplified around grey: one uint8 RGB picture.

    Args:
        exact, simulated, emulated: uint8 (h, w, 3) of the same crop.

    Returns:
        uint8 (height, width, 3), with captions.
    """
    from snpe_srgan.imaging.side_by_side import Panel, nearest_enlarged, side_by_side

    gap = emulated.astype(int) - simulated
    largest = int(np.abs(gap).max())
    factor = max(1, min(AMPLIFIED, 127 // max(largest, 1)))
    shown = np.clip(128 + gap * factor, 0, 255).astype(np.uint8)  # signed: a shift of all pixels shows as a tint
    notes = (
        "",
        f"{psnr(simulated, exact):.2f} dB to float",
        f"{psnr(emulated, exact):.2f} dB to float",
        f"x{factor} (at most {largest} of 255)",
    )
    titles = ("float", "simulation", "emulator", "emulator - simulation")
    zoom = max(1, -(-180 // exact.shape[1]))  # a caption needs so many pixels
    pictures = (exact, simulated, emulated, shown)
    panels = [Panel(nearest_enlarged(p, zoom), t, n) for p, t, n in zip(pictures, titles, notes, strict=True)]
    return side_by_side(panels, detail=exact.shape[1] * zoom // 4)


def emulate(
    model,
    pictures: Sequence[np.ndarray],
    *,
    scale: int,
    overlap: int | None,
    soc: int | str,
    fixed: bool = False,
    done: Callable[[int], None] = lambda index: None,
) -> list[np.ndarray]:
    """The uint8 pictures (h, w, 3) enlarged by a model on the emulator, as many at a time as there are CPUs.

    Args:
        model: any ONNX model the HTP takes.
        overlap: the network's receptive radius, for pictures that need tiles; None runs every picture whole.
        fixed: the graph works at its own size alone.
        done: called with the index of each picture that is finished.
    """
    from snpe_srgan.machine import usable_threads
    from snpe_srgan.runtimes.upscale import upscale_pixels

    def one(index: int) -> np.ndarray:
        sr = upscale_pixels(session, pictures[index]).pixels
        done(index)
        return sr

    order = sorted(range(len(pictures)), key=lambda i: -pictures[i].size)  # the longest first
    at_once = min(usable_threads(), len(order))
    with (
        _session(model, scale=scale, overlap=overlap, soc=soc, fixed=fixed, pictures=at_once) as session,
        ThreadPoolExecutor(at_once) as pool,
    ):
        results = dict(zip(order, pool.map(one, order), strict=True))
    return [results[i] for i in range(len(pictures))]


def _session(
    model, *, scale: int, overlap: int | None, soc: int | str, fixed: bool, pictures: int
) -> EmulatorEngineSession:
    """A graph on the emulator, of any size where it can be; pictures that need tiles get them."""
    from snpe_srgan.onnx_graphs.model import onnx_facts
    from snpe_srgan.runtimes.emulator import EmulatorEngineSession
    from snpe_srgan.runtimes.source import Source

    free = model if fixed else free_size(model)
    facts = onnx_facts(free, where="the .dlc's graph")
    known = replace(facts, scale=scale, overlap=overlap, because=None if overlap is not None else "an unknown path")
    return EmulatorEngineSession(Source(Path("the .dlc's graph"), "onnx", free, known), chip=soc, pictures=pictures)


def emulator_seconds(
    model, pictures: Sequence[tuple[int, int]], *, overlap: int | None, fixed: bool = False
) -> float:
    """About how long `emulate` will take for pictures of these LR (heights, widths).

    Args:
        model: the quantized ONNX model.
        overlap: LR pixels by which tiles overlap; None: pictures run whole.
        fixed: whether the model takes its own size alone.

    Returns:
        Seconds, at the rates in this module's docstring.
    """
    from snpe_srgan.machine import usable_threads
    from snpe_srgan.onnx_graphs.cost import onnx_cost
    from snpe_srgan.runtimes.emulator import MOST_PIXELS
    from snpe_srgan.runtimes.tiling import choose_tile

    pixels = 0
    for height, width in pictures:
        tile = None if overlap is None else choose_tile(height, width, overlap=overlap, pixels=MOST_PIXELS)
        tile = tile or (height, width)
        pixels += len(plan_tiles(height, width, tile=tile, overlap=overlap or 0)) * tile[0] * tile[1]
    macs = pixels * onnx_cost(model if fixed else free_size(model)).macs_per_lr_pixel
    return macs / _rate(model) / min(usable_threads(), len(pictures))


def _rate(model) -> float:
    """MACs a second and CPU: between the two measured ones, by how many convolutions read 16-bit activations."""
    share = share_of_sixteen_bits(model)
    return 1 / (share / RATE_16 + (1 - share) / RATE_8)


def with_emulator(
    losses, paths, rebuilt, *, scale: int, overlap: int | None, soc, fixed: bool = False, say=lambda text: None
) -> tuple:
    """The `DatasetLoss`es of the data sets at `paths`, with the emulator's mean PSNR of whole pictures added.

    Args:
        losses, paths: of the same data sets, in the same order.
        rebuilt: the model that was read back from the .dlc.
        scale: by how much it enlarges.
        overlap: LR pixels by which tiles overlap; None: pictures run whole.
        soc: the SoC's number or name that the emulator compiles for.
        fixed: whether the model takes its own size alone.
    """
    from snpe_srgan.metrics.dataset import find_evaluation_set

    judged = []
    for loss, path in zip(losses, paths, strict=True):
        pairs = list(find_evaluation_set(path, scale=scale))
        lrs = [pair.lr for pair in pairs]
        minutes = emulator_seconds(rebuilt, [lr.shape[:2] for lr in lrs], overlap=overlap, fixed=fixed) / 60
        say(f"emulating {loss.dataset}: {len(pairs)} picture(s), about {max(minutes, 0.1):.1f} minutes")
        with track(say, f"emulating {loss.dataset}", total=len(lrs), unit="picture") as progress:
            emulated = emulate(
                rebuilt, lrs, scale=scale, overlap=overlap, soc=soc, fixed=fixed, done=lambda index: progress.advance()
            )
        judged.append(replace(loss, emulator_psnr=_mean_psnr(pairs, emulated, scale=scale)))
    return tuple(judged)


def _mean_psnr(pairs: Sequence[Pair], pictures: Sequence[np.ndarray], *, scale: int) -> float:
    """Of pictures that are there already: the emulator makes all of a set at once, on all CPUs."""
    from snpe_srgan.metrics.loop import score_pairs
    from snpe_srgan.metrics.protocol import Protocol, mean_score

    made = iter(pictures)
    rows = score_pairs(pairs, [lambda lr: next(made)], protocol=Protocol("y"), scale=scale)
    return mean_score([found.scores[0] for found in rows]).psnr
