"""What all engines share: the facts of the model as the session's attributes, checks of what goes in and out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.onnx_graphs.reach import Facts


class EngineSession:
    """Base of the engines' sessions; a subclass gives `_infer` and may give `close`.

    `overlap` is the receptive radius; `overlap_unknown` names the operator that keeps it from being known, in which
    case `overlap` is 0 and tiles must not be used; `whole` names one that reads the whole picture, so that tiles are
    not exact; `cut_short` says what `shorten_overlap` leaves out, else None. `bytes_per_pixel` estimates the memory of
    one LR pixel; `remarks` are for the user, about how this machine runs it.
    """

    engine = ""
    version = ""
    remarks: tuple[str, ...] = ()

    def __init__(self, path: Path, facts: Facts):
        self.path, self.facts = path, facts
        self.scale = facts.scale
        self.input_size = facts.input_size
        self.overlap = facts.overlap or 0
        self.overlap_unknown = facts.because or ("an unknown path" if facts.overlap is None else None)
        self.whole = facts.whole
        self.cut_short: str | None = None
        self.bytes_per_pixel = facts.bytes_per_pixel

    def run(self, lr: np.ndarray) -> np.ndarray:
        """(1, h, w, 3) float32 in [0, 1] -> (1, h*scale, w*scale, 3) float32 in [-1, 1]."""
        if lr.ndim != 4 or lr.shape[0] != 1 or lr.shape[3] != 3 or lr.dtype != np.float32:
            raise InputError(f"the model takes float32 (1, h, w, 3), not {lr.dtype} {lr.shape}", where=self.path)
        if self.input_size not in (None, lr.shape[1:3]):
            raise InputError(
                f"the model's input is fixed to {self.input_size[0]}x{self.input_size[1]}, not "
                f"{lr.shape[1]}x{lr.shape[2]}",
                where=self.path,
            )
        sr = self._infer(np.ascontiguousarray(lr))
        wanted = (1, lr.shape[1] * self.scale, lr.shape[2] * self.scale, 3)
        if sr.shape != wanted:
            raise SnpeSrganError(f"{self.engine} gave shape {sr.shape}, not {wanted}", where=self.path)
        return sr

    def shorten_overlap(self, overlap: int) -> None:
        """Lets tiles overlap by less LR pixels than the network sees, which makes them near the whole picture's result
        and not equal to it. An overlap of at least the receptive radius changes nothing."""
        if self.overlap_unknown:
            self.cut_short = f"how far the network sees is not known (operator {self.overlap_unknown})"
        elif overlap < self.overlap or self.whole:
            self.cut_short = f"the network sees {'all' if self.whole else f'{self.overlap} pixels far'}"
        else:
            return
        self.overlap, self.overlap_unknown = overlap, None

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None:
        """Frees the engine; harmless when repeated."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def first_line(error: Exception) -> str:
    """The line of an engine's message that says what is wrong: its last, without the engine's own prefix."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[-1]) if lines else type(error).__name__
    return said[:300]
