"""ONNX Runtime on the CPU: the engine that is always there."""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.machine import require, usable_threads
from snpe_srgan.onnx_graphs.run import open_on_host
from snpe_srgan.onnx_graphs.wide_convolution import widen
from snpe_srgan.runtimes.base import description_of, first_line
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.source import Source


class OnnxRuntimeSession(Session):
    def __init__(self, source: Source, *, threads: int | None = None):
        require("onnxruntime", what="this engine")
        import onnxruntime as ort

        super().__init__(description_of(source, "onnxruntime", ort.__version__))
        try:
            self._session = open_on_host(widen(source.graph).SerializeToString(), threads=threads or usable_threads())
        except Exception as error:  # its exceptions share no base but Exception
            raise InputError(f"ONNX Runtime cannot open the model: {first_line(error)}", where=source.path) from error
        self._input, self._output = source.known.input_name, source.known.output_name

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        try:
            return self._session.run([self._output], {self._input: lr})[0]
        except Exception as error:
            raise SnpeSrganError(f"ONNX Runtime failed: {first_line(error)}", where=self.description.path) from error

    def close(self) -> None:
        self._session = None
