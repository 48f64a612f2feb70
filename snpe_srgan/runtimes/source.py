"""Any model file as what the engines open: an ONNX graph (or, for a `.pb`, the path), and its facts.

| file | becomes |
|---|---|
| `.npz` | the ONNX graph of its layers, in memory, any input size |
| `.onnx` | itself |
| `.dlc` | the graph that the file holds, rebuilt by `dlc/`: the file's own operators, weights and encodings |
| `.pb` | itself; OpenVINO reads frozen TensorFlow graphs |

An `.onnx` or `.dlc` of others, of whatever layout and numbers, is brought into our form here, so that every command
takes it: `onnx_graphs/adapt.py`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.confined.worker import inside
from snpe_srgan.errors import Finding, Remark
from snpe_srgan.onnx_graphs.boundary import OURS, Found, Said
from snpe_srgan.onnx_graphs.quantized import integer_sums
from snpe_srgan.onnx_graphs.reach import Facts
from snpe_srgan.zoo.resolve import ModelFile

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Source:
    """`model` is an ONNX ModelProto in our form, or None for a `.pb`; `facts` likewise (OpenVINO finds them). `found`
    says what a foreign file itself takes and gives, None for one of ours."""

    path: Path
    kind: str
    model: onnx.ModelProto | None
    facts: Facts | None
    found: Found | None = None

    @property
    def graph(self) -> onnx.ModelProto:
        """The ONNX graph, of a file that is or becomes one.

        Raises:
            ValueError: the file is a `.pb`.
        """
        if self.model is None:
            raise ValueError(f"{self.path} is no ONNX graph")
        return self.model

    @property
    def known(self) -> Facts:
        """The facts, where they are known before an engine opens the file.

        Raises:
            ValueError: the file is a `.pb`.
        """
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
    """Reads a model file; `InputError` for whatever is not a whole super-resolution model.

    A foreign graph is brought into our form; what was found out about it is said as a remark.
    """
    if file.kind == "pb":
        return Source(file.path, file.kind, None, None)
    from snpe_srgan.onnx_graphs.model import onnx_facts

    found = None
    if file.kind == "npz":
        from snpe_srgan.models.npz import load_npz
        from snpe_srgan.onnx_graphs.from_layers import to_onnx

        model = to_onnx(*load_npz(file.path))
    else:
        from snpe_srgan.onnx_graphs.adapt import read_graph

        model, found = read_graph(file.path, said=file.known_ends)
    say_found(file, found)
    return Source(file.path, file.kind, model, onnx_facts(model, where=file.path), found)


def settled(file: ModelFile) -> ModelFile:
    """The file with all said that was found out about its ends, so that no other process finds it out again."""
    if file.kind not in ("onnx", "dlc") or file.in_our_form:
        return file
    found = load_source(file).found
    if found is None:
        return file
    ends = found.boundary
    return replace(file, said=Said(ends.layout, ends.takes, ends.gives, ends.channels))


def say_found(file: ModelFile, found: Found | None) -> None:
    """Says what a foreign network takes and gives: as a finding, or, where it had to be assumed, as a remark."""
    if found is None or inside() or (found.certain and found.boundary == OURS):
        return
    warnings.warn(found.sentence(file.path.name), Finding if found.certain else Remark, stacklevel=3)
