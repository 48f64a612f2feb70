"""The scores of a video over time, as one picture of three panels."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from snpe_srgan.artifacts.files import write_bytes
from snpe_srgan.video.judge import JudgedVideo

PANELS = (("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("neg", "VMAF-NEG"))


def plot_scores(result: JudgedVideo, path: str | Path, *, model: str, overwrite: bool = False) -> Path:
    """Writes a PNG: the model's scores and bicubic's, one line each, over the clip's seconds.

    Args:
        model: what the legend calls the network.
        overwrite: whether a file that is there may be replaced.

    Raises:
        InputError: the file is there and may not be replaced, or cannot be written.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    times = [frame.time for frame in result.frames]
    for panel, (name, title) in zip(panels, PANELS, strict=True):
        panel.plot(times, [getattr(f.score, name) for f in result.frames], label=model)
        panel.plot(times, [getattr(f.bicubic, name) for f in result.frames], label="bicubic")
        panel.set_ylabel(title)
        panel.grid(alpha=0.3)
    panels[0].legend()
    panels[0].set_title(f"{result.video.name}, x{result.scale}")
    panels[-1].set_xlabel("seconds")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100)
    return write_bytes(path, data.getvalue(), overwrite=overwrite)
