"""ONNX Runtime on the CPU: the engine that is always there."""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.machine import require, usable_threads
from snpe_srgan.onnx_graphs.wide_convolution import widen
from snpe_srgan.runtimes.base import EngineSession, first_line
from snpe_srgan.runtimes.source import Source


class OnnxRuntimeSession(EngineSession):
    engine = "onnxruntime"

    def __init__(self, source: Source, *, threads: int | None = None):
        require("onnxruntime", what="this engine")
        import onnxruntime as ort

        super().__init__(source.path, source.facts)
        self.version = ort.__version__
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_threads()
        options.log_severity_level = 4  # what fails is raised, and told once
        options.enable_cpu_mem_arena = False  # the arena keeps the peak of the largest tile for ever
        try:
            self._session = ort.InferenceSession(
                widen(source.model).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base but Exception
            raise InputError(f"ONNX Runtime cannot open the model: {first_line(error)}", where=source.path) from error
        self._input, self._output = source.facts.input_name, source.facts.output_name

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        try:
            return self._session.run([self._output], {self._input: lr})[0]
        except Exception as error:
            raise SnpeSrganError(f"ONNX Runtime failed: {first_line(error)}", where=self.path) from error

    def close(self) -> None:
        self._session = None
