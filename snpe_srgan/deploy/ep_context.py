"""Ready-compiled .onnx files (EPContext) for ONNX Runtime's QNN provider, and the table of which operator became what.

    made = compile_onnx("fixed.onnx", "generator_SM8650_ctx.onnx", [socs.find("SM8650")], metadata={...})
    made.rows       # ("conv1", "Conv", "Conv2d"), ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.onnx_graphs.compiled import describe
from snpe_srgan.toolchains.qnn import PREPARE_TIMEOUT
from snpe_srgan.toolchains.qnn_process import Worker
from snpe_srgan.toolchains.socs import Soc

TRACE = "qnn_op_trace.json"


@dataclass(frozen=True)
class TraceRow:
    """One operator of the chip's graph and the ONNX operators that it was made of."""

    sources: tuple[str, ...]
    operator: str
    fusion: str


@dataclass(frozen=True)
class OperatorTrace:
    """`unsupported` names the ONNX operators that the NPU does not take, of `total`."""

    rows: tuple[TraceRow, ...]
    total: int
    supported: int
    unsupported: tuple[str, ...]


@dataclass(frozen=True)
class ContextFile:
    """A ready-compiled file for these chips, its operator trace, and the result of the probe before it was stored."""

    path: Path
    socs: tuple[Soc, ...]
    trace: OperatorTrace
    sr: np.ndarray | None = None


def compile_onnx(
    model: str | Path, out: str | Path, socs: Sequence[Soc], *, metadata: Mapping[str, str],
    probe: np.ndarray | None = None, timeout: float = PREPARE_TIMEOUT,
) -> ContextFile:  # fmt: skip
    """Compiles an ONNX model of fixed size for one chip or several, into one file.

    Args:
        metadata: written into the file, for `compiled.compiled_facts`.
        probe: an input that the compiling session itself computes: what the file, loaded again, must give. For one
            chip only: the emulator runs no file for several.

    Raises:
        SnpeSrganError: an operator that the HTP refuses, or a chip that this build does not know.
    """
    import onnx

    several = len(socs) > 1
    with Worker(subject=model, timeout=timeout) as worker:
        target = worker.folder / "context.onnx"
        options = {
            "soc_model": ",".join(str(soc.id) for soc in socs),
            "ep.context_enable": "1",
            "ep.context_file_path": str(target),
            "ep.context_embed_mode": "1",
            "enable_framework_op_trace": "1",
            "framework_op_trace_dir": str(worker.folder),
            "offload_graph_io_quantization": "0",  # float32 ends, as of every other file here
        }
        if several:  # for one chip its Hexagon follows from it; ONNX Runtime's own list of Hexagons lacks v79
            options["htp_arch"] = ",".join(str(soc.hexagon) for soc in socs)
            options["vtcm_mb"] = ",".join(str(soc.vtcm_mb) for soc in socs)
        worker.open(model, options)
        if not target.is_file():
            raise SnpeSrganError("the compiler wrote no ready-compiled file", where=model)
        compiled = onnx.load_model_from_string(target.read_bytes())
        trace = read_trace(worker.folder / TRACE)
        sr = None if probe is None else worker.ask({"do": "run"}, [probe])[1][0]
    describe(compiled, metadata)
    Path(out).write_bytes(compiled.SerializeToString())
    return ContextFile(Path(out), tuple(socs), trace, sr)


def read_trace(path: Path) -> OperatorTrace:
    """Reads `qnn_op_trace.json`, as ONNX Runtime writes it beside a compilation.

    Raises:
        SnpeSrganError: there is none.
    """
    if not path.is_file():
        raise SnpeSrganError("the compiler wrote no operator trace", where=path)
    data = json.loads(path.read_text("utf-8"))
    rows = []
    for graph in data.get("subgraph_traces", ()):
        for mapping in graph.get("op_mappings", ()):
            names = tuple(s["name"] for s in mapping.get("sources", ()) if s.get("type") == "OP")
            rows.append(TraceRow(names, mapping["dst_qnn_op_type"], mapping.get("node_group_type", "")))
    summary = data.get("summary", {})
    unsupported = tuple(
        str(entry.get("name", entry)) if isinstance(entry, dict) else str(entry)
        for entry in data.get("unsupported_nodes", ())
    )
    return OperatorTrace(
        tuple(rows), int(summary.get("total_onnx_nodes", 0)), int(summary.get("supported_nodes", 0)), unsupported
    )
