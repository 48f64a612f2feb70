"""The two places a graph can be looked into: ONNX Runtime's CPU, operators as written, and the Hexagon emulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    import onnx

PLACES = ("host", "emulator")


class Place(Protocol):
    """Runs a graph of any number of inputs and outputs."""

    name: str

    def run(self, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's outputs by name, for its inputs by name.

        Raises:
            InputError: the place does not run this graph.
        """


class Host:
    """The definition of a QDQ graph: float operators between rounding steps, nothing fused."""

    name = "host"

    def run(self, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Place.run`; the graph is opened for this run alone."""
        return Opened(model)(inputs)


class Opened:
    """A graph on the host, opened once for many runs."""

    def __init__(self, model: onnx.ModelProto):
        from snpe_srgan.onnx_graphs.run import session

        self._names = [v.name for v in model.graph.output]
        self._run = _asked(lambda: session(model, integer_kernels=False))

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self._names, _asked(lambda: self._run(self._names, inputs)), strict=True))


def _asked(work):
    try:
        return work()
    except Exception as error:  # ONNX Runtime's share no base but Exception
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise InputError(f"the host engine does not run this graph: {first}") from error


class Emulator:
    """Qualcomm's Hexagon emulator, as a chip; None computes float graphs in float32."""

    name = "emulator"

    def __init__(self, chip: int | str | None):
        from snpe_srgan.toolchains import qnn

        qnn.require()
        self.chip = chip

    def run(self, model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Place.run`; each run prepares the graph in a process of its own, which takes seconds."""
        from snpe_srgan.toolchains.qnn import EmulatorSession

        name = "the graph on the emulator"
        with EmulatorSession(model.SerializeToString(), soc_model=self.chip, name=name, single=False) as emulator:
            return emulator.run_named(inputs)
