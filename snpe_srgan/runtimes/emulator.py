"""Qualcomm's Hexagon emulator: the DSP's own arithmetic, about 1 GMAC a second. The judge of pictures and bits.

A chip's graph has one input size. A model of free size is therefore fixed to the size of the picture or tile it gets,
and prepared again when that changes.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError
from snpe_srgan.runtimes.base import EngineSession
from snpe_srgan.runtimes.source import Source


class EmulatorEngineSession(EngineSession):
    """Args:
    chip: None computes float graphs in float32; a chip of Hexagon v73 or later in float16, as it would.
    """

    engine = "hexagon-emulator"

    def __init__(self, source: Source, *, chip: int | str | None = None):
        from snpe_srgan.toolchains import qnn

        qnn.require()
        if source.model is None:
            raise MissingToolError(
                "the emulator does not take a .pb", where=source.path, hint=f"snpe-srgan convert {source.path}"
            )
        super().__init__(source.path, source.facts)
        self.version = qnn.version() or ""
        self._source, self._chip = source, None if source.compiled else chip
        if source.compiled and "," in source.compiled:
            raise InputError(
                f"a file for several chips ({source.compiled}): the emulator loads none of them", where=source.path,
                hint="the file of one chip",
            )  # fmt: skip
        self._emulator, self._size = None, None

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        try:
            if self._size != lr.shape:
                self._open(lr.shape)
            return self._emulator.run(lr)
        except SnpeSrganError:
            self.close()  # its process has ended: the next picture gets a new one
            raise

    def _open(self, shape: tuple[int, ...]) -> None:
        from snpe_srgan.onnx_graphs.model import fix_size
        from snpe_srgan.toolchains.qnn import EmulatorSession

        self.close()
        model = self._source.model
        if self.input_size is None:
            model = fix_size(model, shape[1:3], where=self.path)
        self._emulator = EmulatorSession(model.SerializeToString(), soc_model=self._chip, name=str(self.path))
        self._size = shape

    def close(self) -> None:
        if self._emulator is not None:
            self._emulator.close()
        self._emulator, self._size = None, None
