"""Is a Keras model file made of Keras' own layers alone? Asked of its description, before Keras gets it.

    check_keras("model.keras")         # or an .h5; InputError names the layer that is not taken

Keras builds a model by importing the modules and calling the names that its file holds, and a Lambda layer is code. So
every name must be a class of Keras' layers, operators or initializers; anything else is not built.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snpe_srgan.confined.messages import Message
from snpe_srgan.confined.process import call_confined
from snpe_srgan.errors import InputError
from snpe_srgan.opener import open_regular

MAX_BYTES = 1 << 30
MAX_JSON = 32 << 20
MOST_PARTS = 20_000  # groups and arrays
MODULES = re.compile(
    r"keras|keras\.(layers|initializers|regularizers|constraints|dtype_policies|activations|models)"
    r"|keras\.src\.(models\.(functional|sequential|model)|layers(\.[a-z0-9_]+){1,2}|dtype_policies\.dtype_policy)"
    r"|keras\.src\.(ops|initializers|regularizers|constraints)\.[a-z0-9_]+"
)
CLASS = re.compile(r"[A-Z][A-Za-z0-9]*|__(keras_tensor|tensor|numpy|ellipsis)__")
DAMAGE = (  # what h5py, zipfile and json raise on a damaged file
    ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
CODE = {  # what would run code of the file's author, or is made by another framework
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer",
}  # fmt: skip
ELSEWHERE = (
    "where you trust its author: load it with his code, then model.export('FOLDER') and import that folder, or convert "
    "it to .onnx with tf2onnx"
)


def is_keras_model(path: str | os.PathLike) -> bool:
    """Whether a file holds a whole Keras model: a `.keras` archive, or an HDF5 file with a description of one."""
    path = Path(path)
    with open_regular(path) as file:
        start = file.read(8)
        file.seek(0)
        if start[:4] == b"PK\x03\x04":
            try:
                return "model.weights.h5" in zipfile.ZipFile(file).namelist()
            except Exception:  # whoever reads it as something else reports a damaged one
                return False
    if start != b"\x89HDF\r\n\x1a\n":
        return False
    return call_confined(f"{__name__}:has_description_here", path, doing="read the file")[0]["found"]


def check_keras(path: str | os.PathLike) -> None:
    """Raises `InputError` unless the file is a model of Keras' own layers. HDF5 reads in a child: it may never end."""
    call_confined(f"{__name__}:check_here", path, doing="read the model")


def has_description_here(state: dict[str, Any], *, path: str) -> Message:
    """In a child: `found`, whether an HDF5 file holds a description of a whole model."""
    return {"found": _description_in_h5(Path(path)) is not None}, []


def check_here(state: dict[str, Any], *, path: str) -> Message:
    """In a child: see `check_keras`."""
    _check(Path(path))
    return {}, []


def _check(path: Path) -> None:
    try:
        model = _description(path)
        for part in _classes(model):
            _check_class(part)
        _check_weights(path)
    except InputError as error:
        raise InputError(error.what, where=path, hint=error.hint) from error
    except DAMAGE as error:
        raise InputError(f"not a Keras model, or a damaged one ({str(error)[:100]})", where=path) from error


def _check_weights(path: Path) -> None:
    import h5py

    with open_regular(path, limit=MAX_BYTES) as file:
        archive = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        if archive:
            with (
                zipfile.ZipFile(file) as parts,
                parts.open("model.weights.h5") as inside,
                h5py.File(inside, "r") as found,
            ):
                refuse_links(found)
        else:
            with h5py.File(file, "r") as found:
                refuse_links(found)


def refuse_links(file: Any) -> None:
    """Raises `InputError` for an HDF5 file that reads others: by a link, or with numbers that lie outside of it."""
    import h5py

    waiting, seen = [file], 0
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            if seen > MOST_PARTS:
                raise InputError("it holds more parts than any network's file")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"'{name[:60]}' is a link to somewhere else, which is not followed")
            part = group[name]
            if isinstance(part, h5py.Group):
                waiting.append(part)
            elif isinstance(part, h5py.Dataset) and (part.external or part.is_virtual):
                raise InputError(f"the numbers of '{name[:60]}' lie in another file, which is not read")


def _description(path: Path) -> Any:
    with open_regular(path, limit=MAX_BYTES) as file:
        if file.read(4) != b"PK\x03\x04":
            text = _description_in_h5(path)
            if text is None:
                raise ValueError("weights without a model")
            return json.loads(text)
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename not in ("config.json", "metadata.json", "model.weights.h5"):
                    raise InputError(f"it holds '{entry.filename[:60]}', which no Keras model needs", hint=ELSEWHERE)
            if archive.getinfo("config.json").file_size > MAX_JSON:
                raise ValueError("its description is larger than any network's")
            return json.loads(archive.read("config.json"))


def _description_in_h5(path: Path) -> str | None:
    import h5py

    try:
        with open_regular(path, limit=MAX_BYTES) as raw, h5py.File(raw, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, KeyError, ValueError, RuntimeError):
        return None
    if text is None:
        return None
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if len(text) > MAX_JSON:
        raise InputError("its description is larger than any network's", where=path)
    return text


def _classes(part: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every object of a description that names a class; how it was to be trained is left out, and not loaded."""
    if depth > 100:
        raise ValueError("it is nested too deeply")
    if isinstance(part, dict):
        if "class_name" in part:
            yield part
        for key, value in part.items():
            if key != "compile_config" or depth:
                yield from _classes(value, depth + 1)
    elif isinstance(part, list):
        for value in part:
            yield from _classes(value, depth + 1)


def _check_class(part: dict[str, Any]) -> None:
    kind, module, registered = (part.get(key) for key in ("class_name", "module", "registered_name"))
    config = part.get("config")
    name = str(part.get("name") or (config.get("name") if isinstance(config, dict) else None) or kind)[:60]
    if kind in CODE or kind == "__lambda__":
        raise InputError(f"layer '{name}' ({kind}) holds code of its author, which is not run", hint=ELSEWHERE)
    own = module is None or (isinstance(module, str) and MODULES.fullmatch(module) is not None)
    plain = isinstance(kind, str) and CLASS.fullmatch(kind) is not None
    if not own or not plain or (registered is not None and registered != kind):
        raise InputError(
            f"layer '{name}' ({str(kind)[:60]}) is none of Keras' own, and its code is not run", hint=ELSEWHERE
        )
