"""Any model file as what the engines open: an ONNX graph (or, for a `.pb`, the path), and its facts.

| file | becomes |
|---|---|
| `.npz` | the ONNX graph of its layers, in memory, any input size |
| `.onnx` | itself |
| `.dlc` | the graph that the file holds, rebuilt by `dlc/`: the file's own operators, weights and encodings |
| `.pb` | itself; OpenVINO reads frozen TensorFlow graphs |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.onnx_graphs.quantized import integer_sums
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.zoo.resolve import ModelFile

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Source:
    """`model` is an ONNX ModelProto, or None for a `.pb`; `facts` likewise (OpenVINO finds them)."""

    path: Path
    kind: str
    model: onnx.ModelProto | None
    facts: Facts | None

    @property
    def graph(self) -> onnx.ModelProto:
        """The ONNX graph, of a file that is or becomes one."""
        if self.model is None:
            raise ValueError(f"{self.path} is no ONNX graph")
        return self.model

    @property
    def known(self) -> Facts:
        """The facts, where they are known before an engine opens the file."""
        if self.facts is None:
            raise ValueError(f"the facts of {self.path} are found by the engine")
        return self.facts

    @property
    def compiled(self) -> str | None:
        """The chips whose NPU code the graph is, for people; None for a graph of operators."""
        from snpe_srgan.onnx_graphs.compiled import chips_of, is_compiled

        if self.model is None or not is_compiled(self.model):
            return None
        return ", ".join(chips_of(self.model)) or "a chip"

    @property
    def integer(self) -> bool:
        """Every convolution is between 8-bit integers, whose sums are the same in any order."""
        return self.model is not None and integer_sums(self.model)


def load_source(file: ModelFile) -> Source:
    """Reads a model file; `InputError` for whatever is not a whole super-resolution model."""
    if file.kind == "pb":
        return Source(file.path, file.kind, None, None)
    from snpe_srgan.onnx_graphs.model import onnx_facts, read_onnx

    if file.kind == "npz":
        from snpe_srgan.models.npz import load_npz
        from snpe_srgan.onnx_graphs.from_layers import to_onnx

        model = to_onnx(*load_npz(file.path))
    elif file.kind == "dlc":
        from snpe_srgan.dlc.reader import read
        from snpe_srgan.dlc.to_onnx import rebuild

        model = rebuild(read(file.path))
    else:
        model = read_onnx(file.path)
    return Source(file.path, file.kind, model, onnx_facts(model, where=file.path))
