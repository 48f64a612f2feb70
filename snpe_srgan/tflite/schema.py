"""The generated classes of the .tflite format, as the package ai-edge-litert ships them.

    s = schema()
    model = s.ModelT.InitFromObj(s.Model.GetRootAs(data))

TensorFlow ships the same file, but importing it loads all of TensorFlow.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from types import ModuleType

from snpe_srgan.errors import MissingToolError

PACKAGE, MODULE = "ai-edge-litert", "ai_edge_litert"
INSTALL = "pip install 'snpe-srgan[litert]'"
IDENTIFIER = b"TFL3"


def available() -> bool:
    """Whether the package can be imported; starts nothing."""
    return importlib.util.find_spec(MODULE) is not None


def version() -> str | None:
    """The installed package's version, or None."""
    try:
        return installed_version(PACKAGE)
    except PackageNotFoundError:
        return None


def require(what: str) -> None:
    """Raises `MissingToolError`, with the command that installs it, unless ai-edge-litert is installed.

    Args:
        what: what needs it, as the subject of the message.
    """
    if not available():
        raise MissingToolError(f"{what} needs the package {PACKAGE}", hint=INSTALL)


def schema() -> ModuleType:
    """The module of generated classes (0.3 s to import).

    Raises:
        MissingToolError: ai-edge-litert is not installed.
    """
    require("a .tflite file")
    from ai_edge_litert import schema_py_generated

    return schema_py_generated
