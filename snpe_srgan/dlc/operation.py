"""One layer of a .dlc as the rules of `operators*.py` see it: its inputs, shapes, and attributes that fail by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snpe_srgan.dlc.model import Node, Tensor
from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    from snpe_srgan.dlc.to_onnx import Builder


class Operation:
    """One .dlc node with readers for its attributes that fail by name."""

    def __init__(self, node: Node, builder: Builder):
        self.node, self.builder = node, builder
        self.inputs, self.output = node.inputs, node.outputs[0]

    def stored(self) -> list[Tensor]:
        """The stored tensors among the inputs."""
        return [t for t in map(self.builder.tensor, dict.fromkeys(self.inputs)) if t.role == "static"]

    def dims(self, index: int) -> tuple[int, ...]:
        """Shape of an input in the file's order (images NHWC); `InputError` where there is no such input."""
        return self.builder.tensor(self.input(index)).dims

    def input(self, index: int) -> str:
        """Name of an input, counted from 0; `InputError` where there is none."""
        if index >= len(self.inputs):
            raise InputError(f"input {index} is missing")
        return self.inputs[index]

    @property
    def output_dims(self) -> tuple[int, ...]:
        """Shape of the first output in the file's order (images NHWC)."""
        return self.builder.tensor(self.output).dims

    def scalar(self, name: str, default=None):
        """An attribute that is a number or text; `InputError` when it is neither, or absent and without a default."""
        value = self.node.attributes.get(name, default)
        if not isinstance(value, (int, float, str)):
            raise InputError(f"attribute '{name}' is missing")
        return value

    def ints(self, name: str, count: int | None = None, default: list[int] | None = None) -> list[int]:
        """A small stored tensor as a flat list of whole numbers.

        Args:
            count: how many there must be; None for any number (of which 64 are read).
            default: for an attribute that is absent; None makes it one that must be there.

        Raises:
            InputError: the attribute is absent, is no plain stored tensor, or has another number of values.
        """
        value = self.node.attributes.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, Tensor) or value.quantized:
            raise InputError(f"attribute '{name}' is missing")
        numbers = [int(v) for v in value.data().reshape(-1)[:64]]
        if count is not None and len(numbers) != count:
            raise InputError(f"attribute '{name}' has {len(numbers)} values, not {count}")
        return numbers
