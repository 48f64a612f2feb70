"""ONNX Runtime Web, which runs networks in a browser: a few files of Microsoft's npm package `onnxruntime-web`.

    found = find_ort_web(None)          # ./node_modules, as `npm install onnxruntime-web` makes it
    found.processor.script, found.processor.wasm, found.graphics, found.version

Nothing is downloaded here: the user fetches the package with `npm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.files import read_json
from snpe_srgan.errors import InputError, MissingToolError

PACKAGE = "onnxruntime-web"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
GPU_SCRIPT, GPU_WASM = "ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Build:
    """A script and the WebAssembly that belongs to it."""

    script: Path
    wasm: Path


@dataclass(frozen=True)
class OrtWeb:
    """`graphics` (WebGPU) is None where the package has none in this form; `version` where the folder does not say."""

    processor: Build
    graphics: Build | None
    version: str | None


def find_ort_web(folder: str | Path | None) -> OrtWeb:
    """The package's files.

    Args:
        folder: the package's folder, its `dist`, or one with `node_modules`; None looks for `node_modules` here and in
            the folders above, as node does.

    Raises:
        InputError: `folder` does not hold the package.
        MissingToolError: none was named and none is there.
    """
    if folder is not None:
        found = _within(Path(folder))
        if found is None:
            raise InputError(
                f"the folder does not hold {PACKAGE}: no {SCRIPT} and {WASM}", where=folder,
                hint=f"the folder that 'npm install {PACKAGE}' makes",
            )  # fmt: skip
        return found
    here = Path.cwd()
    for place in (here, *here.parents):
        found = _within(place / "node_modules" / PACKAGE)
        if found is not None:
            return found
    raise MissingToolError(
        f"a site needs the npm package {PACKAGE}, and no folder from here upwards has it",
        hint=f"npm install {PACKAGE}; or --onnxruntime-web FOLDER",
    )


def _within(folder: Path) -> OrtWeb | None:
    for package in (folder, folder.parent, folder / "node_modules" / PACKAGE):
        processor = _build(package / "dist", SCRIPT, WASM)
        if processor is not None:
            return OrtWeb(processor, _build(package / "dist", GPU_SCRIPT, GPU_WASM), _version(package / "package.json"))
    processor = _build(folder, SCRIPT, WASM)
    return None if processor is None else OrtWeb(processor, _build(folder, GPU_SCRIPT, GPU_WASM), None)


def _build(folder: Path, script: str, wasm: str) -> Build | None:
    found = Build(folder / script, folder / wasm)
    return found if found.script.is_file() and found.wasm.is_file() else None


def _version(path: Path) -> str | None:
    if not path.is_file():
        return None
    data = read_json(path)
    version = data.get("version") if isinstance(data, dict) and data.get("name") == PACKAGE else None
    return version if isinstance(version, str) and len(version) < 50 else None
