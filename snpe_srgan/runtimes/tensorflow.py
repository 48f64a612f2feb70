"""TensorFlow on a frozen graph: the baseline of `benchmark`. `run` and `evaluate` never load it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.machine import require, usable_threads
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.runtimes.base import description_of, first_line
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.source import Source


class TensorFlowSession(Session):
    def __init__(self, source: Source, *, threads: int | None = None):
        if source.kind != "pb":
            raise InputError("TensorFlow runs frozen graphs (.pb) here", where=source.path)
        require("tensorflow", what="this engine")
        from snpe_srgan.quiet import import_tensorflow

        tf = import_tensorflow()
        from snpe_srgan.models.freeze import INPUT, OUTPUT, read_graph_def

        graph_def = read_graph_def(source.path)
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads or usable_threads(), inter_op_parallelism_threads=1
        )
        self._graph = tf.Graph()
        try:
            with self._graph.as_default():
                tf.import_graph_def(graph_def, name="")
                self._lr, self._sr = (self._graph.get_tensor_by_name(f"{name}:0") for name in (INPUT, OUTPUT))
        except (ValueError, KeyError) as error:
            raise InputError(f"TensorFlow cannot open the graph: {first_line(error)}", where=source.path) from error
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        size: list[Any] = self._lr.shape.as_list()[1:3] if self._lr.shape.rank == 4 else [None, None]
        fixed = None if None in size else (size[0], size[1])
        probe = np.zeros((1, *(fixed or (8, 8)), 3), np.float32)
        scale = self._session.run(self._sr, {self._lr: probe}).shape[1] // probe.shape[1]
        facts = Facts(INPUT, OUTPUT, scale, fixed, None, 0, "TensorFlow's graph is not walked")
        super().__init__(description_of(replace(source, facts=facts), "tensorflow", tf.__version__))

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        return self._session.run(self._sr, {self._lr: lr})

    def close(self) -> None:
        self._session.close()
