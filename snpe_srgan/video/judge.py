"""A network judged on a video: PSNR, SSIM, VMAF and VMAF-NEG of each frame against bicubic's.

result = evaluate_video(session, "clip.mp4")
result.mean.neg, result.bicubic.neg

The clip is the original; its frames are made small by MATLAB-compatible bicubic and enlarged again, unencoded, so that
the network is judged and not an encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import downscale, upscale
from snpe_srgan.imaging.colour import to_uint8
from snpe_srgan.metrics.dataset import Pair
from snpe_srgan.metrics.loop import score_pairs
from snpe_srgan.metrics.protocol import Protocol, Score
from snpe_srgan.runtimes.session import Session
from snpe_srgan.video.frames import FrameEnlarger
from snpe_srgan.video.source import open_source
from snpe_srgan.video.steady import Steady
from snpe_srgan.video.vmaf import Vmaf, VmafScore


@dataclass(frozen=True)
class FrameScores:
    """All measures of one picture against the original: dB, 0 to 1, and twice 0 to 100."""

    psnr: float
    ssim: float
    vmaf: float
    neg: float


@dataclass(frozen=True)
class JudgedFrame:
    """One frame: its number, its time in seconds, the model's scores and bicubic's, and the network's seconds."""

    number: int
    time: float
    score: FrameScores
    bicubic: FrameScores
    seconds: float


@dataclass(frozen=True)
class JudgedVideo:
    """One clip; the means are over its frames, `lowest` is the frame with the model's lowest VMAF-NEG.

    Attributes:
        flicker: mean change from frame to frame of what stands still, in levels of 255: of the LR frames, of the
            model's and of bicubic's pictures; None where nothing stands still.
    """

    video: Path
    engine: str
    scale: int
    protocol: str
    size: tuple[int, int]
    frames: tuple[JudgedFrame, ...]
    mean: FrameScores
    bicubic: FrameScores
    lowest: int
    flicker: tuple[float, float, float] | None
    damage: tuple[str, ...]
    remark: str | None


def evaluate_video(
    session: Session | None,
    path: str | Path,
    *,
    scale: int = 4,
    protocol: Protocol | None = None,
    limit: int | None = None,
    tile: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> JudgedVideo:
    """Scores `session` (None: bicubic itself) on the frames of the video at `path`.

    Args:
        scale: for bicubic; a session has its own.
        limit: only the first so many frames.
        progress: called with (frames done, frames in all or 0) after each.

    Raises:
        InputError: it is no video, or too small.
        MissingToolError: PyAV is not installed, or no ffmpeg with libvmaf is there.
    """
    protocol = protocol or Protocol()
    scale = scale if session is None else session.scale
    with open_source(path) as source:
        multiple = math.lcm(scale, 4)  # whole LR pixels, and planes of colour in whole rows
        height, width = (side - side % multiple for side in source.facts.size)
        if min(height, width) < 16 * scale:
            raise InputError(f"frames of {width}x{height} are too small to be judged at x{scale}", where=path)
        enlargers, tiles = [upscale_by(scale)], None
        if session is not None:
            enlarge = FrameEnlarger(session, (height // scale, width // scale), tile=tile)
            tiles = enlarge.plan
            enlargers.insert(0, enlarge)
        places: list[tuple[int, float]] = []  # numbers, seconds into the clip
        rows: list[tuple[tuple[Score, ...], float]] = []

        def pairs() -> Iterator[Pair]:
            for frame in source.frames(wanted=lambda number, _: None if limit and number >= limit else True):
                hr = np.ascontiguousarray(to_uint8(frame.rgb)[:height, :width])
                places.append((frame.number, float(frame.pts * source.facts.time_base)))
                yield Pair(f"frame {frame.number}", hr, downscale(hr, scale), grey=False, source=Path(path))

        steadies = Steady(scale, smooth=False), Steady(scale, smooth=False)
        total = min(limit or source.facts.frames, source.facts.frames or (limit or 0))
        with Vmaf(size=(height, width), rate=source.facts.rate, rivals=2, colour=source.facts.colour) as vmaf:
            for found in score_pairs(pairs(), enlargers, protocol=protocol, scale=scale):
                vmaf.add(found.pair.hr, [found.pictures[0], found.pictures[-1]])
                for steady, picture in zip(steadies, (found.pictures[0], found.pictures[-1]), strict=True):
                    steady(found.pair.lr, picture)
                rows.append((found.scores, found.seconds[0]))
                if progress is not None:
                    progress(len(rows), total)
            measured = vmaf.scores()
    frames = tuple(
        JudgedFrame(number, at, _all(scores[0], first), _all(scores[-1], second), seconds)
        for (number, at), (scores, seconds), first, second in zip(places, rows, *measured, strict=True)
    )
    return JudgedVideo(
        video=Path(path),
        engine="bicubic" if session is None else session.description.engine,
        scale=scale,
        protocol=f"{protocol.describe()}; VMAF and VMAF-NEG 0.6.1 on yuv420p of 8 bits; LR by bicubic from the clip",
        size=(height, width),
        frames=frames,
        mean=_mean([f.score for f in frames]),
        bicubic=_mean([f.bicubic for f in frames]),
        lowest=min(frames, key=lambda f: f.score.neg).number,
        flicker=_flicker(*steadies),
        damage=() if limit else tuple(source.damage),
        remark=tiles.reason if tiles is not None else None,
    )


def _flicker(model: Steady, bicubic: Steady) -> tuple[float, float, float] | None:
    if model.flicker.means is None or bicubic.flicker.means is None:
        return None
    return model.flicker.means[0], model.flicker.means[1], bicubic.flicker.means[1]


def upscale_by(scale: int) -> Callable[[np.ndarray], np.ndarray]:
    """Bicubic enlargement by `scale` as a function of LR pixels, uint8 (h, w, 3)."""
    return lambda lr: upscale(lr, scale)


def _all(score: Score, vmaf: VmafScore) -> FrameScores:
    return FrameScores(score.psnr, score.ssim, vmaf.vmaf, vmaf.neg)


def _mean(scores: list[FrameScores]) -> FrameScores:
    return FrameScores(
        *(math.fsum(getattr(s, name) for s in scores) / len(scores) for name in ("psnr", "ssim", "vmaf", "neg"))
    )
