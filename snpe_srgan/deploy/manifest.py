"""`bundle.json`: what is in a bundle, as data, for `deploy --check`, for CI and for the samples.

    manifest = read_manifest("bundle/")
    for artifact in manifest.artifacts: artifact.path, artifact.chips, artifact.qairt
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from snpe_srgan.artifacts.files import read_json, write_json
from snpe_srgan.artifacts.typed import typed
from snpe_srgan.errors import InputError

NAME = "bundle.json"
RELEASE = re.compile(r"v?(\d{1,3}(?:\.\d{1,9}){1,3})")  # of QAIRT
TFLITE, NPU_TFLITE, AI_PACK, CONTEXT, ONNX, DLC = "tflite", "tflite-npu", "ai-pack", "onnx-context", "onnx", "dlc"


@dataclass(frozen=True)
class Port:
    """An end of a file: `black` and `white` are the numbers that stand for them."""

    name: str
    shape: tuple[int, ...]
    type: str
    black: float
    white: float


@dataclass(frozen=True)
class Artifact:
    """One file (of an AI pack: one of its models).

    Attributes:
        kind: one of the constants above.
        chips: whose NPU code it holds; empty for none.
        hexagon: the version of that code, chip by chip.
        qairt: the QAIRT release that wrote the code; a phone's runtime must be at least as new.
        runtime: what loads it.
    """

    path: str
    kind: str
    runtime: str
    bytes: int
    sha256: str
    input: Port
    output: Port
    chips: tuple[str, ...] = ()
    hexagon: Mapping[str, int] = field(default_factory=dict)
    qairt: str | None = None
    offloaded: int | None = None
    operators: int | None = None


@dataclass(frozen=True)
class Manifest:
    """A bundle. `tools` are the versions that made it; `failed` names chips that the compiler made nothing for."""

    network: str
    recipe: str
    scale: int
    input_size: tuple[int, int]
    receptive_radius: int | None
    source: Mapping[str, str]
    artifacts: tuple[Artifact, ...]
    tools: Mapping[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `bundle.json` into the bundle's folder, which must hold none yet."""
    write_json(folder / NAME, asdict(manifest))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a bundle.

    Raises:
        InputError: no bundle, or a damaged one.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(f"no bundle: the folder has no {NAME}", where=folder, hint="snpe-srgan deploy MODEL -o FOLDER")
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema_version") != 1:
        raise InputError(f"the bundle's {NAME} is not of version 1", where=path)
    manifest = typed(Manifest, data, where=path, hint="snpe-srgan deploy makes the bundle again")
    for artifact in manifest.artifacts:
        inside = Path(artifact.path)
        if inside.is_absolute() or ".." in inside.parts or "\0" in artifact.path:
            raise InputError(f"the bundle's {NAME} names a path that leaves the bundle", where=path)
        if artifact.qairt is not None and RELEASE.fullmatch(artifact.qairt) is None:
            raise InputError(f"the bundle's {NAME} names no QAIRT release: {artifact.qairt[:50]!r}", where=path)
    return manifest
