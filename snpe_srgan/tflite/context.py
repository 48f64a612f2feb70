"""A QNN context binary (ready-compiled NPU code) as a one-node ONNX model that the Hexagon emulator runs.

    model = wrap(code, name="qnn_partition_0", inputs=[...], outputs=[...])
    with EmulatorSession(model) as session: ...
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DOMAIN, OPERATOR = "com.microsoft", "EPContext"
SOURCE = "QNNExecutionProvider"
QAIRT = re.compile(rb"v(\d+\.\d+\.\d+)\.\d{6,}")
CHIP = re.compile(rb"soc_type=([A-Za-z0-9_]+);arch=(\d+);")


@dataclass(frozen=True)
class Port:
    """An input or output of compiled code, by the name that it has in the code."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class CodeFacts:
    """What compiled code says about itself: the QAIRT release that wrote it, the chip and Hexagon it is for."""

    qairt: str | None
    chip: str | None
    hexagon: int | None


def facts(code: bytes) -> CodeFacts:
    """Reads the release, e.g. 2.51.0, and the chip out of a context binary; None for what it does not say."""
    release, chip = QAIRT.search(code), CHIP.search(code)
    return CodeFacts(
        None if release is None else release[1].decode(),
        None if chip is None else chip[1].decode(),
        None if chip is None else int(chip[2]),
    )


def wrap(code: bytes, *, name: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
    """The bytes of an ONNX model that runs `code`.

    Args:
        code: a QNN context binary.
        name: of the graph in it.
        inputs, outputs: as the code names them.
    """
    from onnx import helper

    node = helper.make_node(
        OPERATOR, [p.name for p in inputs], [p.name for p in outputs], name=name, domain=DOMAIN,
        embed_mode=1, main_context=1, ep_cache_context=code, source=SOURCE, partition_name=name,
    )  # fmt: skip
    kinds = {"uint8": 2, "int8": 3, "float32": 1, "uint16": 4}

    def values(ports: Sequence[Port]) -> list:
        return [helper.make_tensor_value_info(p.name, kinds[p.dtype], p.shape) for p in ports]

    graph = helper.make_graph([node], name, values(inputs), values(outputs))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="snpe-srgan").SerializeToString()
