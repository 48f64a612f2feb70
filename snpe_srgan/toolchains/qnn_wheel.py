"""Is the onnxruntime-qnn wheel here, and is a model fit for it? Asked before any child process is started."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.opener import read_regular

if TYPE_CHECKING:
    import onnx

PACKAGE = "onnxruntime-qnn"
MAX_MODEL_BYTES = 1 << 31  # the protobuf format's own limit


def available() -> str | None:
    """None when the wheel can be used here, else the reason why not. Cheap: starts nothing."""
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        if sys.version_info < (3, 11):
            return f"{PACKAGE} needs Python 3.11 or later; this is {platform.python_version()}"
        system, machine = platform.system(), platform.machine()
        if not (system == "Windows" or (system == "Linux" and machine in ("x86_64", "AMD64"))):
            return f"{PACKAGE} has no wheel for {system} on {machine}: Linux x86-64 and Windows only"
        return f"{PACKAGE} is not installed"
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    name, glibc = platform.libc_ver()
    if name == "glibc" and tuple(int(n) for n in glibc.split(".")[:2]) < (2, 35):
        return f"{PACKAGE} needs glibc 2.35 or later; this system has {glibc}"
    return None


def require() -> None:
    """Raises MissingToolError, saying what to install, unless `available()`."""
    if (reason := available()) is not None:
        hint = "pip install onnxruntime-qnn, on Linux x86-64 (glibc 2.35 or later) or Windows, Python 3.11 or later"
        raise MissingToolError(f"no .dlc writer and Hexagon emulator: {reason}", hint=hint)


def version() -> str | None:
    """The installed wheel's version, or None."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_static(model_path: str | Path) -> onnx.ModelProto:
    """The model; raises InputError unless the file is an ONNX model whose inputs all have a fixed shape."""
    import onnx

    path = Path(model_path)
    try:
        model = onnx.load_model_from_string(read_regular(path, limit=MAX_MODEL_BYTES, doing="read the model"))
    except InputError:
        raise
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise InputError(f"not an ONNX model: {str(error)[:200]}", where=path) from error
    graph = model.graph
    if not graph.node or not graph.input:
        raise InputError("not an ONNX model: it has no operators or no inputs", where=path)
    constants = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        shape = [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]
        if value.name not in constants and not all(isinstance(d, int) and d > 0 for d in shape):
            raise InputError(
                f"the shape of input '{value.name}' is not fixed: {shape}",
                where=path,
                hint="give the size that the chip shall work at: convert --input-size HxW",
            )
    return model
