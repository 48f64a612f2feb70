"""MODEL, as typed on the command line, to a file: a shipped model's name, a run folder, or a .npz/.pb/.onnx/.dlc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.card import Card, read_card
from snpe_srgan.errors import InputError, did_you_mean

KINDS = ("npz", "pb", "onnx", "dlc")
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"  # models that ship in the package


@dataclass(frozen=True)
class ModelFile:
    """A model on disk. `card` is None for a file that came without one."""

    path: Path
    kind: str
    card: Card | None

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def folder(self) -> Path:
        """Where files made from it belong by default: beside it, but never into the installed package."""
        return Path() if self.path.parent == WEIGHTS else self.path.parent


def shipped_models() -> dict[str, Path]:
    """Name -> .npz of the models that ship in the package."""
    return {p.stem: p for p in sorted(WEIGHTS.glob("*.npz"))} if WEIGHTS.is_dir() else {}


def resolve(model: str | os.PathLike, *, kinds: tuple[str, ...] = KINDS) -> ModelFile:
    """Finds MODEL; a run folder stands for its `generator.npz`. `InputError` says what was looked for."""
    path = Path(model)
    if path.is_dir():
        path = path / "generator.npz"
        if not path.is_file():
            raise InputError(
                "the folder holds no generator.npz", where=path.parent, hint="snpe-srgan train -c CONFIG --run-dir DIR"
            )
    elif not path.exists():
        shipped = shipped_models()
        if str(model) in shipped:
            path = shipped[str(model)]
        else:
            beside = [p.name for p in path.parent.glob("*.*") if p.suffix.lower().lstrip(".") in KINDS]
            near = did_you_mean(path.name, (path.suffix and beside) or shipped)
            raise InputError("no such model file, run folder or shipped model", where=model, hint=near)
    kind = path.suffix.lower().lstrip(".")
    if kind not in kinds:
        raise InputError(
            f"a .{kind} file is no model this command takes" if kind else "a file without a suffix is no model",
            where=path,
            hint="one of " + ", ".join(f".{k}" for k in kinds),
        )
    return ModelFile(path=path, kind=kind, card=read_card(path))
