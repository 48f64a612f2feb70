"""The contract between a network on an engine and everything that feeds it pictures.

with open_session(resolve("model.dlc"), on="emulator") as session:
    sr = session.run(lr)                                     # one array
    plan = session.plan(height, width)                       # how a picture of that size is cut, and what that gives

`Description` says once what a caller must know; `Session` has a default for everything but the inference itself.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError, UsageError
from snpe_srgan.onnx_graphs.boundary import OURS, Found

if TYPE_CHECKING:
    from snpe_srgan.imaging.tiles import Tile
    from snpe_srgan.runtimes.tiling import TilePlan
    from snpe_srgan.toolchains.snpe.logs import Times


class Tiling(str, enum.Enum):
    """What tiles give, compared with the whole picture run at once on the same engine."""

    EXACT = "exact"  # the same bits
    ROUNDING = "to rounding"  # the same sums, in another order: float engines choose it by the size of the input
    NEAR = "near"  # something else near the tiles' borders; the description says why
    WHOLE_ONLY = "whole only"  # not known how far the network sees: a picture that needs tiles is refused


@dataclass(frozen=True)
class Description:
    """What a caller must know of an opened network.

    Attributes:
        path: the model file.
        engine, version: what computes, for people: "openvino", "onnxruntime", "hexagon-emulator", ...
        scale: the factor between LR and SR size.
        input_size: the fixed (height, width) of the LR input; None where any size is taken.
        multiple: height and width of the input must be whole multiples of this; pictures are continued to that.
        radius: how many LR pixels far the network sees (its receptive radius); None where that is not known.
        overlap: LR pixels by which tiles overlap, where the user chose it; None for what `radius` asks for.
        tiling: what tiles give, and `reason` why it is no more than that.
        reads_all: an operator reads the whole picture, so that a tile has means of its own.
        bytes_per_pixel: an estimate of the memory that one LR pixel takes.
        most_pixels: LR pixels that are run at once; None where free memory decides.
        found: what a foreign file itself takes and gives, and how that is known. A session always takes and gives ours.
        remarks: for the user, about how this machine runs it.
    """

    path: Path
    engine: str
    version: str = ""
    scale: int = 4
    input_size: tuple[int, int] | None = None
    multiple: int = 1
    radius: int | None = 0
    overlap: int | None = None
    tiling: Tiling = Tiling.EXACT
    reason: str | None = None
    reads_all: bool = False
    bytes_per_pixel: int = 1
    most_pixels: int | None = None
    found: Found | None = None
    remarks: tuple[str, ...] = field(default=())

    @property
    def computed_by(self) -> str:
        """The engine and its version, for people."""
        return f"{self.engine} {self.version}".strip()

    @property
    def ends(self) -> str:
        """What the file itself takes and gives, for people."""
        return (OURS if self.found is None else self.found.boundary).describe()

    def with_overlap(self, overlap: int) -> Description:
        """With tiles that overlap by less than the network sees: near the whole picture's result, not equal to it. An
        overlap of at least the receptive radius changes nothing."""
        if self.tiling is Tiling.WHOLE_ONLY:
            reason = f"how far the network sees is not known (operator {self.reason})"
        elif self.reads_all:
            reason = "the network sees all"
        elif self.radius is not None and overlap < self.radius:
            reason = f"the network sees {self.radius} pixels far"
        else:
            return self
        return replace(self, overlap=overlap, tiling=Tiling.NEAR, reason=reason)


class Session:
    """A network on one engine. A subclass gives `_infer`, and `close` where the engine holds something."""

    def __init__(self, description: Description):
        self.description = description

    @property
    def scale(self) -> int:
        """How many times as high and wide the result is."""
        return self.description.scale

    @property
    def input_size(self) -> tuple[int, int] | None:
        """The fixed (height, width) of the LR input; None where any size is taken."""
        return self.description.input_size

    @property
    def times(self) -> Times | None:
        """What the engine itself measured of the last run, on a phone."""
        return None

    @property
    def no_times(self) -> str | None:
        """Why `times` could not be read, where they should have been."""
        return None

    @property
    def arithmetic(self) -> str | None:
        """The precision of the picture at hand and why, where that was chosen for it; None where it was asked for."""
        return None

    def prepare(self, pixels: np.ndarray) -> None:
        """Told of a whole picture, uint8 or uint16 (h, w, 3), before its tiles."""

    def underlay(
        self, pixels: np.ndarray, plan: TilePlan, parts: Sequence[Tile], onto: np.ndarray | None, *, grey: bool
    ) -> tuple[Sequence[Tile], np.ndarray | None]:
        """What the tiles lie on: where another network makes some of the picture (`runtimes/mixing.py`).

        Args:
            pixels: the whole picture, uint8 or uint16 (h, w, 3).
            parts: the plan's tiles that are asked for.
            onto: what the others are in, may be written into; None where all are asked for.
            grey: the result has one channel.

        Returns:
            The tiles that are left to run, and the result so far, None where there is none.
        """
        return parts, onto

    def run(self, lr: np.ndarray) -> np.ndarray:
        """(1, h, w, 3) float32 in [0, 1] -> (1, h*scale, w*scale, 3) float32 in [-1, 1]."""
        (sr,) = self.run_all([lr])
        return sr

    def run_all(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """`run` for several arrays of one picture, each taken when its turn comes; an engine that starts slowly takes
        all of them at once.

        Args:
            arrays: float32 (1, h, w, 3) in [0, 1].

        Yields:
            float32 (1, h * scale, w * scale, 3) in [-1, 1], in the order of the arrays.

        Raises:
            InputError: the network does not take an array.
            SnpeSrganError: the engine failed.
        """
        for lr in arrays:
            self.check_input(lr)
            yield self.check_output(lr, self._infer(np.ascontiguousarray(lr)))

    def run_parts(self, arrays: Iterable[np.ndarray], plan: TilePlan, parts: Sequence[Tile]) -> Iterator[np.ndarray]:
        """`run_all` for tiles of a picture; what a tile gives need be right only where the picture keeps it.

        Args:
            arrays: (1, h, w, 3) float32 in [0, 1], one for each of `parts`.
            plan: by which the picture is cut; `parts`: those of its tiles that are run.

        Returns:
            (1, h*scale, w*scale, 3) float32 in [-1, 1] each, in order.
        """
        return self.run_all(arrays)

    def check_input(self, lr: np.ndarray) -> None:
        """Raises `InputError` for an array that the network does not take."""
        description = self.description
        if lr.ndim != 4 or lr.shape[0] != 1 or lr.shape[3] != 3 or lr.dtype != np.float32:
            raise InputError(f"the model takes float32 (1, h, w, 3), not {lr.dtype} {lr.shape}", where=description.path)
        fixed = description.input_size
        if fixed not in (None, lr.shape[1:3]):
            raise InputError(
                f"the model's input is fixed to {fixed[0]}x{fixed[1]}, not {lr.shape[1]}x{lr.shape[2]}",
                where=description.path,
            )
        if any(side % description.multiple for side in lr.shape[1:3]):
            raise InputError(
                f"the model takes sizes that are multiples of {description.multiple}, not {lr.shape[1]}x{lr.shape[2]}",
                where=description.path,
            )

    def check_output(self, lr: np.ndarray, sr: np.ndarray) -> np.ndarray:
        """`sr`, if it is the enlargement of `lr` in shape; else raises `SnpeSrganError`."""
        wanted = (1, lr.shape[1] * self.scale, lr.shape[2] * self.scale, 3)
        if sr.shape != wanted:
            where = self.description.path
            raise SnpeSrganError(f"{self.description.engine} gave shape {sr.shape}, not {wanted}", where=where)
        return sr

    def plan(self, height: int, width: int, *, tile: tuple[int, int] | None = None) -> TilePlan:
        """How a picture of this LR size is cut; errors come here, before any work.

        Args:
            tile: the caller's wish for (height, width) of a tile; by default what the network and memory ask for.
        """
        from snpe_srgan.runtimes.tiling import plan_tiling

        return plan_tiling(self.description, height, width, tile=tile)

    def commands(self) -> list[str]:
        """What a run does, in the words of a shell: for `--dry-run`.

        Raises:
            UsageError: the engine runs none: it computes in this program's processes.
        """
        raise UsageError(f"{self.description.engine} runs no commands", where=self.description.path)

    def shorten_overlap(self, overlap: int) -> None:
        """Lets tiles overlap by `overlap` LR pixels: see `Description.with_overlap`."""
        self.description = self.description.with_overlap(overlap)

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None:
        """Frees the engine; harmless when repeated."""

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.close()
