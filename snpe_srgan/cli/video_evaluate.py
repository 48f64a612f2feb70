"""The part of `evaluate` that is about videos.

snpe-srgan evaluate mobile clip.mp4 --plot scores.png
"""

from __future__ import annotations

import contextlib


def evaluate_videos(
    model, videos, *, session_for, scale: int, protocol, limit, tile, plot, min_psnr, overwrite, output
) -> None:
    """Scores the model on each video, prints means (each frame's with --json), exits with 1 below `min_psnr`.

    Args:
        session_for: a context manager that gives the session, None for bicubic.
    """
    from pathlib import Path

    from snpe_srgan.artifacts.files import refuse_overwrite
    from snpe_srgan.errors import CheckFailed, UsageError
    from snpe_srgan.progress import track
    from snpe_srgan.video.judge import evaluate_video
    from snpe_srgan.video.kinds import STDIN, is_video, require_av
    from snpe_srgan.video.plot import plot_scores
    from snpe_srgan.video.vmaf import find_ffmpeg

    others = [str(path) for path in videos if not is_video(path) or str(path) == STDIN]
    if others:
        raise UsageError(f"videos and folders of pictures go in commands of their own: {others[0]} is no video file")
    if plot and len(videos) > 1:
        raise UsageError("--plot is one picture of one video")
    if plot:
        if Path(plot).suffix.lower() != ".png":
            raise UsageError("--plot writes a .png", where=plot)
        refuse_overwrite(plot, overwrite)
    require_av()
    find_ffmpeg()
    results = []
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(session_for())
        for path in videos:
            bar = track(output.say, str(path), unit="frame")
            try:
                results.append(
                    evaluate_video(
                        session, path, scale=scale, protocol=protocol, limit=limit, tile=tile, progress=bar.to
                    )
                )
            finally:
                bar.close()
    for result in results:
        if result.remark:
            output.warn(f"{result.video}: {result.remark}")
    if plot:
        plot_scores(results[0], plot, model=str(model), overwrite=overwrite)
        output.note(f"plot: {plot}")
    missed = [r for r in results if min_psnr is not None and r.mean.psnr < min_psnr]
    output.result(
        {"model": model, "passed": not missed, "min_psnr": min_psnr, "plot": plot, "videos": results},
        text=_text(model, results),
    )
    for result in missed:
        what = f"{result.mean.psnr:.2f} dB is less than --min-psnr {min_psnr:g}"
        output.error(CheckFailed(what, where=f"{model} on {result.video}").lines())
    for result in results:
        if result.damage:
            what = f"{result.damage[0]}: {len(result.frames)} frames were judged"
            output.error(CheckFailed(what, where=result.video).lines())
    if missed or any(result.damage for result in results):
        raise SystemExit(1)


def _flicker(model, result) -> list[str]:
    if result.flicker is None:
        return []
    source, own, bicubic = result.flicker
    changes = f"{model} {own:.2f} levels, bicubic {bicubic:.2f}, the small frames themselves {source:.2f}"
    return [f"flicker where nothing moves: {changes}"]


def _text(model, results) -> list[str]:
    from snpe_srgan.console import table

    lines = []
    for r in results:
        rows = [
            [name, f"{s.psnr:.2f}", f"{s.ssim:.4f}", f"{s.vmaf:.2f}", f"{s.neg:.2f}"]
            for name, s in ((model, r.mean), ("bicubic", r.bicubic))
        ]
        header = [f"{r.video} ({len(r.frames)} frames)", "PSNR", "SSIM", "VMAF", "VMAF-NEG"]
        worst = next(f for f in r.frames if f.number == r.lowest)
        seconds = sum(f.seconds for f in r.frames) / len(r.frames)
        lines += [
            table(header, rows),
            f"lowest VMAF-NEG: {worst.score.neg:.2f} at frame {worst.number} ({worst.time:.2f} s)",
            *_flicker(model, r),
            f"{r.engine}, x{r.scale}, {seconds:.3f} s a frame",
            "",
        ]
    return [*lines, results[0].protocol]
