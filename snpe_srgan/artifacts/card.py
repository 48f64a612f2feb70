"""The JSON card beside each artifact (`generator.npz` -> `generator.npz.json`): what it is and how it came to be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from snpe_srgan import __version__
from snpe_srgan.artifacts.files import read_json, sha256, write_json
from snpe_srgan.errors import InputError


@dataclass(frozen=True)
class TensorInfo:
    """A model's input or output: None in `shape` is a free dimension."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    layout: str = "NHWC RGB"
    range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Check:
    """A stage's measured agreement with the artifact it was made from, e.g. max |difference| 3e-7, or 62.1 dB."""

    against: str
    measure: str
    value: float | None
    threshold: float | None = None
    passed: bool = True


@dataclass(frozen=True)
class Metric:
    """A figure of quality, never without its protocol (one line, see metrics/protocol.py)."""

    dataset: str
    protocol: str
    psnr: float | None
    ssim: float | None = None
    engine: str | None = None


@dataclass(frozen=True)
class Card:
    """Everything a later command or a reader must know about one artifact."""

    artifact: str
    kind: str  # npz, pb, onnx, dlc
    network: str
    scale: int
    parameters: int | None = None
    macs_per_lr_pixel: int | None = None
    receptive_radius: int | None = None  # LR pixels that can influence an output pixel, to each side; see `remarks`
    input: TensorInfo | None = None
    output: TensorInfo | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, object] = field(default_factory=dict)  # data, steps, losses, origin, licences
    compression: Mapping[str, object] = field(default_factory=dict)  # target, strategy, what each layer gave up
    quantization: Mapping[str, object] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()  # what a user of the network must know besides
    dsp_notes: tuple[str, ...] = ()  # what its operators cost on a DSP (models/dsp_notes.py)
    source: Mapping[str, str] = field(default_factory=dict)  # {"artifact": name, "sha256": ...}
    tools: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    bytes: int = 0
    created: str = ""
    schema_version: int = 1


def card_path(artifact: str | os.PathLike) -> Path:
    artifact = Path(artifact)
    return artifact.with_name(artifact.name + ".json")


def write_card(artifact: str | os.PathLike, card: Card, *, tools: tuple[str, ...] = ()) -> Card:
    """Completes a card (name, bytes, SHA-256, time, versions of `tools`, given as package names) and writes it."""
    artifact = Path(artifact)
    values = {f.name: getattr(card, f.name) for f in fields(card)}
    values.update(
        artifact=artifact.name,
        sha256=sha256(artifact),
        bytes=artifact.stat().st_size,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tools={"snpe-srgan": __version__, **{name: version_of(name) for name in tools}, **card.tools},
    )
    done = Card(**values)
    write_json(card_path(artifact), asdict(done), overwrite=True)
    return done


def read_card(artifact: str | os.PathLike) -> Card | None:
    """The card beside an artifact, or None when there is none. A card of another file content is an error."""
    path = card_path(artifact)
    if not path.is_file():
        return None
    data = read_json(path)
    try:
        known = {f.name for f in fields(Card)}
        values = {k: v for k, v in data.items() if k in known}
        for key in ("input", "output"):
            if values.get(key):
                info = values[key]
                values[key] = TensorInfo(**{**info, "shape": tuple(info["shape"]), "range": tuple(info["range"])})
        values["metrics"] = tuple(Metric(**m) for m in values.get("metrics", ()))
        values["checks"] = tuple(Check(**c) for c in values.get("checks", ()))
        for key in ("remarks", "dsp_notes"):
            values[key] = tuple(str(line) for line in values.get(key, ()))
        return Card(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"the card is damaged ({error})", where=path, hint="delete it, or make the artifact again"
        ) from error


def source_of(artifact: str | os.PathLike) -> dict[str, str]:
    return {"artifact": Path(artifact).name, "sha256": sha256(artifact)}


def version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
