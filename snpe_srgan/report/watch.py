"""A training as it stands: its curves, its last validation pictures and the end of its log, as one page.

    text = watch_page(Path("runs/mobile"), refresh=5)

Reads what `train` writes while it runs, and measures nothing itself. Half-written files are left for the next look.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.opener import read_text
from snpe_srgan.report.curves import training_charts
from snpe_srgan.report.page import Table, page
from snpe_srgan.report.results import LogLine, read_log
from snpe_srgan.report.shown import Shown, png_file
from snpe_srgan.training.validation import last_strips

LOG_BYTES = 1 << 28
LOG_LINES = 12
HEADER = ("stage", "step", "loss", "D(real)", "D(fake)", "images/s", "waiting", "last validation", "best")


def watch_page(folder: Path, *, refresh: int | None) -> str:
    """The page of a run folder.

    Args:
        folder: of a training, running or ended.
        refresh: seconds after which a browser asks for it again; None for a page that stays as it is.

    Raises:
        InputError: there is no training in the folder.
    """
    log = read_log(folder / "metrics.jsonl")
    if log is None:
        raise InputError(
            "there is no training in this folder", where=folder, hint="name the run folder of train, as in runs/mobile"
        )
    lines = _log_lines(folder / "log.txt")
    ended = (folder / "generator.npz").is_file()
    return page(
        "watch.html.j2", title=f"Training {folder.resolve().name}", refresh=None if ended else refresh,
        state=_state(folder, ended), numbers=Table("Stages", HEADER, _rows(log)), charts=training_charts(log),
        strips=_strips(folder / "samples"), log="\n".join(lines) or "Nothing yet.",
    )  # fmt: skip


def _state(folder: Path, ended: bool) -> str:
    if ended:
        return "The training has ended: generator.npz is written."
    try:
        age = max(0.0, time.time() - (folder / "metrics.jsonl").stat().st_mtime)
    except OSError:
        return "The training has begun."
    return f"The last numbers are {age:.0f} seconds old."


def _rows(log: Sequence[LogLine]) -> list[tuple[str, ...]]:
    """A row a stage: its newest numbers."""
    rows: list[tuple[str, ...]] = []
    for stage in dict.fromkeys(line.stage for line in log):
        trained = [line for line in log if line.stage == stage and line.kind == "train"]
        scores = [s for line in log if line.stage == stage and (s := line.values.get("psnr")) is not None]
        values = trained[-1].values if trained else {}
        rows.append((
            stage, str(max(line.step for line in log if line.stage == stage)), _number(values.get("loss"), ".4g"),
            _number(values.get("d_real"), ".2f"), _number(values.get("d_fake"), ".2f"),
            _number(values.get("images_per_second"), ".0f"), _number(values.get("waiting"), ".1%"),
            _number(scores[-1] if scores else None, ".2f", " dB"), _number(max(scores, default=None), ".2f", " dB"),
        ))  # fmt: skip
    return rows


def _number(value: float | None, style: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{style}}{unit}"


def _strips(folder: Path) -> list[Shown]:
    """The pictures of the last validation, but for one that is being written."""
    shown = []
    for path in last_strips(folder):
        with contextlib.suppress(SnpeSrganError):
            shown.append(png_file(path, path.stem))
    return shown


def _log_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return read_text(path, limit=LOG_BYTES, doing="read the training's log").splitlines()[-LOG_LINES:]
