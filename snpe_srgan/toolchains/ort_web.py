"""ONNX Runtime Web, which runs networks in a browser: two files of Microsoft's npm package `onnxruntime-web`.

    found = find_ort_web(None)          # ./node_modules, as `npm install onnxruntime-web` makes it
    found.script, found.wasm, found.version

Nothing is downloaded here: 14 MB of WebAssembly are the user's to fetch, by `npm`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.files import read_json
from snpe_srgan.errors import InputError, MissingToolError

PACKAGE = "onnxruntime-web"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class OrtWeb:
    """`script` and `wasm` are files that belong together; `version` None where the folder does not say."""

    script: Path
    wasm: Path
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
        script, wasm = package / "dist" / SCRIPT, package / "dist" / WASM
        if script.is_file() and wasm.is_file():
            return OrtWeb(script, wasm, _version(package / "package.json"))
    script, wasm = folder / SCRIPT, folder / WASM
    return OrtWeb(script, wasm, None) if script.is_file() and wasm.is_file() else None


def _version(path: Path) -> str | None:
    if not path.is_file():
        return None
    data = read_json(path)
    version = data.get("version") if isinstance(data, dict) and data.get("name") == PACKAGE else None
    return version if isinstance(version, str) and len(version) < 50 else None
