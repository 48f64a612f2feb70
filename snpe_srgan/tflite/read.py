"""A .tflite file, whoever made it: ends, operators, what it says of itself, and the compiled NPU code in it.

    model = read_tflite("generator_w8a8_SM8650.tflite")
    model.codes[0].chip, model.metadata["scale"]

Everything is checked against the file's size before an engine sees it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.opener import read_regular
from snpe_srgan.tflite.context import CodeFacts, Port, facts
from snpe_srgan.tflite.schema import IDENTIFIER, schema
from snpe_srgan.tflite.write import METADATA

MAX_BYTES = (1 << 31) - 1  # a flatbuffer's own limit
MAX_ELEMENTS = 1 << 31
DISPATCH = "DISPATCH_OP"  # LiteRT's custom operator whose options point to compiled code
STAMP = "LiteRtStamp"
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 7: "int16", 9: "int8", 16: "uint16"}
DAMAGE = (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError, OverflowError, MemoryError,
          RecursionError, AssertionError)  # fmt: skip  # what the generated classes raise on a damaged file


@dataclass(frozen=True)
class Tensor:
    """`scale` and `zero` are None for floats, and for what is quantized per channel; `bytes` are those it stores."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero: int | None = None
    bytes: int = 0

    @property
    def port(self) -> Port:
        """Name, shape and dtype, as a wrapped context binary is told its ends."""
        return Port(self.name, self.shape, self.dtype)


@dataclass(frozen=True)
class Node:
    """One operator of the file: its kind in LiteRT's capitals, the indices of its tensors, its options object."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: object = None


@dataclass(frozen=True)
class Code:
    """Compiled NPU code in the file: `data` is a QNN context binary."""

    name: str
    data: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def facts(self) -> CodeFacts:
        """The QAIRT release, chip and Hexagon version that the code itself names."""
        return facts(self.data)


@dataclass(frozen=True)
class TfliteModel:
    """What a .tflite holds.

    Attributes:
        bytes: of the whole file.
        input, output: the file's one input and one output; `input_index` and `output_index` are theirs among `tensors`.
        metadata: what this project wrote into the file; empty in a file of others.
        codes: the NPU code that it holds; empty in a file that was not compiled.
        compiled_for: "Qualcomm SM8650" where the file says so.
    """

    path: Path
    bytes: int
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    input: Tensor
    output: Tensor
    input_index: int
    output_index: int
    metadata: Mapping[str, object]
    codes: tuple[Code, ...]
    compiled_for: str | None

    @property
    def operators(self) -> dict[str, int]:
        """How often each kind of operator occurs, the most frequent first."""
        return dict(Counter(node.kind for node in self.nodes).most_common())


def read_tflite(path: str | Path) -> TfliteModel:
    """Reads and checks a file.

    Raises:
        InputError: not a whole .tflite of one graph with one input and one output.
        MissingToolError: ai-edge-litert is not installed.
    """
    path = Path(path)
    s = schema()
    data = read_regular(path, limit=MAX_BYTES, doing="read the model")
    if data[4:8] != IDENTIFIER:
        raise InputError("not a .tflite file", where=path)
    try:
        return _Reader(s, data, path).model()
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"a damaged .tflite file: {reason[:150]}", where=path) from error


class _Reader:
    def __init__(self, s, data: bytes, path: Path):
        self.data, self.path = data, path
        self.raw = s.ModelT.InitFromObj(s.Model.GetRootAs(data))
        self.names = {v: k for k, v in vars(s.BuiltinOperator).items() if isinstance(v, int)}
        if len(self.raw.subgraphs or ()) != 1:
            raise InputError(f"the file holds {len(self.raw.subgraphs or ())} graphs; one is expected", where=path)
        self.graph = self.raw.subgraphs[0]

    def model(self) -> TfliteModel:
        tensors = tuple(self._tensor(t) for t in self.graph.tensors)
        nodes = tuple(self._node(op, len(tensors)) for op in self.graph.operators)
        ends = [[int(i) for i in side] for side in (self.graph.inputs, self.graph.outputs)]
        if [len(side) for side in ends] != [1, 1] or not nodes:
            raise InputError(
                f"not a super-resolution model: it has {len(ends[0])} inputs and {len(ends[1])} outputs, not 1 and 1",
                where=self.path,
            )
        (lr,), (sr,) = ends
        if not (0 <= lr < len(tensors) and 0 <= sr < len(tensors)):
            raise InputError("a damaged .tflite file: its ends are no tensors", where=self.path)
        records = {(m.name or b"").decode(): self._bytes(m.buffer) for m in self.raw.metadata or ()}
        stamp = re.findall(rb"[\x20-\x7e]{2,}", records.get(STAMP, b""))
        return TfliteModel(
            self.path, len(self.data), tensors, nodes, tensors[lr], tensors[sr], lr, sr,
            _metadata(records.get(METADATA)), tuple(self._codes(tensors)),
            " ".join(part.decode() for part in stamp) or None,
        )  # fmt: skip

    def _bytes(self, index: int) -> bytes:
        buffer = self.raw.buffers[index]
        if buffer.offset > 1:
            return self._slice(int(buffer.offset), int(buffer.size))
        return b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()

    def _slice(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0 or offset + size > len(self.data):
            raise InputError("a damaged .tflite file: data lie beyond its end", where=self.path)
        return self.data[offset : offset + size]

    def _tensor(self, raw) -> Tensor:
        shape = tuple(int(n) for n in (raw.shape if raw.shape is not None else ()))
        name = (raw.name or b"").decode("utf-8", "replace")
        if any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise InputError(f"tensor '{name}' has the impossible shape {shape}", where=self.path)
        dtype = DTYPES.get(raw.type, f"type {raw.type}")
        stored = len(self._bytes(raw.buffer)) if 0 < raw.buffer < len(self.raw.buffers) else 0
        if stored and dtype in DTYPES.values() and stored != math.prod(shape) * np.dtype(dtype).itemsize:
            raise InputError(f"a damaged .tflite file: '{name}' does not fill its shape", where=self.path)
        q = raw.quantization
        scales = list(q.scale) if q is not None and q.scale is not None else []
        zeros = list(q.zeroPoint) if q is not None and q.zeroPoint is not None else []
        single = len(scales) == 1 and len(zeros) == 1
        return Tensor(
            name, shape, dtype, float(scales[0]) if single else None, int(zeros[0]) if single else None, stored
        )

    def _node(self, raw, count: int) -> Node:
        code = self.raw.operatorCodes[raw.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        kind = (code.customCode or b"").decode("utf-8", "replace") or self.names.get(number, f"operator {number}")
        reads, gives = (tuple(int(i) for i in (x if x is not None else ())) for x in (raw.inputs, raw.outputs))
        if not all(-1 <= i < count for i in reads + gives):
            raise InputError(f"a damaged .tflite file: {kind} reads what is not there", where=self.path)
        return Node(kind, reads, gives, raw.builtinOptions)

    def _codes(self, tensors: tuple[Tensor, ...]):
        from flatbuffers import flexbuffers

        for raw in self.graph.operators:
            code = self.raw.operatorCodes[raw.opcodeIndex]
            if (code.customCode or b"").decode("utf-8", "replace") != DISPATCH:
                continue
            options = flexbuffers.Loads(np.asarray(raw.customOptions, np.uint8).tobytes())
            data = self._slice(int(options["bytecode_offset"]), int(options["bytecode_size"]))
            sides = [tuple(tensors[i] for i in x) for x in (raw.inputs, raw.outputs)]
            yield Code(str(options["name"]), data, *sides)


def _metadata(data: bytes | None) -> dict[str, object]:
    if not data:
        return {}
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"its record {METADATA} is no JSON object")
    return value
