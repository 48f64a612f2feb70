"""VMAF and VMAF-NEG by an ffmpeg that has libvmaf: one process, frames through one pipe, no file of frames.

with Vmaf(size=(720, 1280), rate=Fraction(25), rivals=2) as vmaf:
    vmaf.add(original, [sr, bicubic])
first, second = vmaf.scores()

VMAF is Netflix's model `vmaf_v0.6.1` (Li et al. 2016); NEG (`vmaf_v0.6.1neg`) gives nothing for sharpening beyond the
original, which is what a super-resolution network has to be judged by.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.errors import MissingToolError, SnpeSrganError
from snpe_srgan.machine import require, usable_threads
from snpe_srgan.video.colour import Colour, from_rgb

MODELS = r"model='version=vmaf_v0.6.1\:name=vmaf|version=vmaf_v0.6.1neg\:name=neg'"
HINT = "pip install imageio-ffmpeg"


@dataclass(frozen=True)
class VmafScore:
    """0 to 100, higher is nearer to the original."""

    vmaf: float
    neg: float


def find_ffmpeg() -> str:
    """imageio-ffmpeg's ffmpeg, which has libvmaf.

    Raises:
        MissingToolError: imageio-ffmpeg is not installed, or its ffmpeg has no libvmaf.
    """
    require("imageio_ffmpeg", what="VMAF", pip="imageio-ffmpeg")
    import imageio_ffmpeg

    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MissingToolError(f"imageio-ffmpeg has no ffmpeg for this machine: {error}"[:200], hint=HINT) from error
    listed = subprocess.run([ffmpeg, "-hide_banner", "-filters"], capture_output=True, text=True)
    if " libvmaf " not in listed.stdout:
        raise MissingToolError("this ffmpeg has no libvmaf", where=ffmpeg, hint=HINT + ", and unset IMAGEIO_FFMPEG_EXE")
    return ffmpeg


class Vmaf:
    """Scores `rivals` clips against one original, frame by frame. The height is a multiple of 4, the width of 2.

    Original and rivals of one frame go through the pipe as one tall picture, which ffmpeg takes apart again.
    """

    def __init__(self, *, size: tuple[int, int], rate: Fraction, rivals: int, colour: Colour):
        self.size, self.rivals, self.colour = size, rivals, colour
        ffmpeg = find_ffmpeg()
        self._scratch = Scratch()
        folder = Path(self._scratch.name)
        self._errors = open(folder / "errors", "w+b")  # noqa: SIM115
        height, width = size
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height * (1 + rivals)}", "-r", str(rate)]
        self._process = subprocess.Popen(
            [ffmpeg, "-v", "error", *raw, "-i", "pipe:0", "-filter_complex", _graph(size, rivals), *_sinks(rivals)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, cwd=folder,
        )  # fmt: skip
        self.frames = 0

    def add(self, original: np.ndarray, rivals: list[np.ndarray]) -> None:
        """One frame: uint8 RGB `(h, w, 3)` each.

        Args:
            rivals: as many as were announced, all of the original's size.

        Raises:
            SnpeSrganError: ffmpeg has ended.
        """
        pictures = [
            from_rgb(rgb, None, self.colour, pix_fmt="yuv420p").to_ndarray() for rgb in (original, *rivals)
        ]
        height = self.size[0]
        cuts = (0, height, height + height // 4, height + height // 2)  # rows of Y, of U, of V as they lie in memory
        assert self._process.stdin is not None
        try:
            for begin, end in itertools.pairwise(cuts):
                for picture in pictures:
                    self._process.stdin.write(np.ascontiguousarray(picture[begin:end]).data)
        except BrokenPipeError as error:
            raise self._failure() from error
        self.frames += 1

    def scores(self) -> list[list[VmafScore]]:
        """Ends the process: for each rival the scores of all frames.

        Raises:
            SnpeSrganError: ffmpeg failed, or scored another number of frames.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError as error:
            raise self._failure() from error
        if self._process.wait():
            raise self._failure()
        found = []
        for index in range(self.rivals):
            log = json.loads((Path(self._scratch.name) / f"rival{index}.json").read_text())
            found.append([VmafScore(f["metrics"]["vmaf"], f["metrics"]["neg"]) for f in log["frames"]])
            if len(found[-1]) != self.frames:
                raise SnpeSrganError(f"libvmaf scored {len(found[-1])} of {self.frames} frames")
        return found

    def _failure(self) -> SnpeSrganError:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return SnpeSrganError(f"ffmpeg failed: {lines[-1] if lines else 'without a word'}"[:300])

    def close(self) -> None:
        """Ends ffmpeg and removes its files; `scores` comes before."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        self._scratch.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _graph(size: tuple[int, int], rivals: int) -> str:
    height, width = size
    parts = [f"[0:v]split={2 * rivals}" + "".join(f"[o{i}][r{i}]" for i in range(rivals))]
    for i in range(rivals):
        parts.append(f"[o{i}]crop={width}:{height}:0:0[original{i}]")
        parts.append(f"[r{i}]crop={width}:{height}:0:{height * (i + 1)}[rival{i}]")
        log = f"log_fmt=json:log_path=rival{i}.json:n_threads={usable_threads()}"
        parts.append(f"[rival{i}][original{i}]libvmaf={log}:{MODELS}[out{i}]")
    return ";".join(parts)


def _sinks(rivals: int) -> list[str]:
    return [word for i in range(rivals) for word in ("-map", f"[out{i}]", "-f", "null", "-")]
