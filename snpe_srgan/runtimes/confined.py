"""A stranger's model on a host engine in a child process: the engine may crash, hang or fill memory there.

`open_session` gives such a session for every file that did not come with the package (`ModelFile.shipped`). The file is
read and the picture computed in the child, so a model that ends its engine ends in one error, whatever it did.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.confined.process import Child, megabytes_for
from snpe_srgan.machine import available_memory
from snpe_srgan.onnx_graphs.adapt import SECONDS
from snpe_srgan.onnx_graphs.boundary import Found, Said
from snpe_srgan.runtimes.session import Description, Session, Tiling
from snpe_srgan.runtimes.source import say_found
from snpe_srgan.zoo.resolve import ModelFile

HERE = f"{__name__}:"


class ConfinedSession(Session):
    """A host engine in a child; the same figures as the engine in this process gives.

    Args:
        file: the model.
        engine: `openvino`, `onnxruntime` or `tensorflow`.
        threads: None for all processors.
        precision: `f32` or `bf16`.
        say: told what takes long.
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        engine: str,
        threads: int | None,
        precision: str,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._child = Child(where=file.path, megabytes=megabytes_for(file.path.stat().st_size), say=say)
        arguments = {
            "path": str(file.path.absolute()), "said": asdict(file.known_ends), "engine": engine, "threads": threads,
            "precision": precision,
        }  # fmt: skip
        told, _ = self._child.call(f"{HERE}open_here", arguments, doing="open the model", seconds=SECONDS)
        super().__init__(_description(told, path=file.path))
        say_found(file, self.description.found)

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        free = available_memory()
        self._child.megabytes = None if free is None else (free + self._child.resident()) >> 20
        _, arrays = self._child.call(f"{HERE}run_here", {}, [lr], doing="enlarge the picture", seconds=None)
        return arrays[0]

    def close(self) -> None:
        self._child.close()


def open_here(
    state: dict[str, Any], *, path: str, said: dict[str, str | None], engine: str, threads: int | None, precision: str
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """In the child: opens the model on its engine.

    Args:
        state: the child's; keeps the session for `run_here`.
        path: absolute.
        said: the fields of `Said`: what the user says of the file's numbers.
        engine: `openvino`, `onnxruntime` or `tensorflow`.
        threads: None for all processors.
        precision: `f32` or `bf16`.

    Returns:
        The fields of the session's `Description` as plain data, and no arrays.
    """
    from snpe_srgan.runtimes.open import open_engine

    # The card is the parent's affair: nothing here needs it.
    file = ModelFile(path=Path(path), kind=os.path.splitext(path)[1].lower().lstrip("."), card=None, said=Said(**said))
    state["session"] = session = open_engine(file, engine=engine, threads=threads, precision=precision)
    return {**asdict(session.description), "path": path}, []


def _description(told: dict[str, Any], *, path: Path) -> Description:
    """What the child told of its session, as it was there."""
    size = told["input_size"]
    return Description(
        **{
            **told,
            "path": path,
            "input_size": None if size is None else (size[0], size[1]),
            "tiling": Tiling(told["tiling"]),
            "found": None if told["found"] is None else Found.of(told["found"]),
            "remarks": tuple(told["remarks"]),
        }
    )


def run_here(state: dict[str, Any], lr: np.ndarray) -> tuple[dict[str, Any], list[np.ndarray]]:
    """In the child: one picture or tile, (1, h, w, 3) float32 in [0, 1] -> (1, h * scale, w * scale, 3) in [-1, 1]."""
    return {}, [state["session"].run(lr)]
