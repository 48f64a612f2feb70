"""The JSON card beside each artifact (`generator.npz` -> `generator.npz.json`): what it is and how it came to be."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from snpe_srgan import __version__
from snpe_srgan.artifacts.files import read_json, sha256, write_json
from snpe_srgan.errors import InputError, Remark


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
    """A stage's measured agreement with the artifact it was made from, e.g. max |difference| 3e-7, or 62.1 dB.

    `value` is None where the two are equal and the measure is a PSNR."""

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
    # Of a network of others: what its own file takes and gives, how that is known, what the user said of it.
    ends: Mapping[str, Any] = field(default_factory=dict)
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

    @property
    def foreign(self) -> bool:
        """Whether it lies beside a stranger's own file, to keep what the user said of it; this package wrote none."""
        return "said" in self.ends

    @property
    def stages(self) -> Sequence[Mapping[str, Any]]:
        """What each training stage was: its name, steps and losses, as `training` records them."""
        stages = self.training.get("stages") or ()
        return stages if isinstance(stages, (list, tuple)) else ()


def card_path(artifact: str | os.PathLike) -> Path:
    """Where an artifact's card lies: beside it, `.json` behind its whole name."""
    artifact = Path(artifact)
    return artifact.with_name(artifact.name + ".json")


def write_card(artifact: str | os.PathLike, card: Card, *, tools: tuple[str, ...] = ()) -> Card:
    """Completes a card (name, bytes, SHA-256, time, versions of `tools`, given as package names) and writes it.

    Args:
        artifact: the finished file; it is read for its SHA-256.
        card: those fields that it leaves out are filled in; a card that is there is replaced.
        tools: a package that is not installed has the version `absent`.

    Returns:
        The card as it was written.
    """
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
    """The card beside an artifact, or None when there is none.

    A card of another file content (the artifact was replaced without it) is left out, with a `Remark`.
    """
    path = card_path(artifact)
    if not path.is_file():
        return None
    card = _parsed(path)
    if card.sha256 and card.sha256 != sha256(artifact):
        text = f"{path}: the card of another file (its SHA-256 differs), so it is left out"
        warnings.warn(text, Remark, stacklevel=2)
        return None
    return card


def _parsed(path: Path) -> Card:
    try:
        data = read_json(path)
        if not isinstance(data, dict):
            raise TypeError("it is not a JSON object")
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
        card = Card(**values)
        _check_types(card)
        return card
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"the card is damaged ({error})", where=path, hint="delete it, or make the artifact again"
        ) from error


def _are_stages(value: object) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and all(isinstance(stage, Mapping) for stage in value))


def _are_words(said: object) -> bool:
    names = {"layout", "takes", "gives", "channels"}
    if not isinstance(said, Mapping) or not set(said) <= names:
        return False
    return all(value is None or isinstance(value, str) for value in said.values())


def _check_types(card: Card) -> None:
    """TypeError for a card that says one thing in the words of another: everything that reads cards relies on this."""

    def whole(value: object) -> bool:
        return value is None or (type(value) is int and 0 <= value < 1 << 62)

    def number(value: object) -> bool:
        return value is None or (type(value) in (int, float) and abs(value) < 1e30)  # type: ignore[arg-type]

    def text(value: object) -> bool:
        return value is None or isinstance(value, str)

    right = {
        **{name: text(getattr(card, name)) for name in ("artifact", "kind", "network", "sha256", "created")},
        **{name: whole(getattr(card, name)) for name in ("parameters", "macs_per_lr_pixel", "receptive_radius")},
        "bytes": whole(card.bytes),
        "scale": type(card.scale) is int and 1 <= card.scale <= 16,
        "metrics": all(
            text(m.dataset) and text(m.protocol) and text(m.engine) and number(m.psnr) and number(m.ssim)
            for m in card.metrics
        ),
        "checks": all(
            text(c.against) and text(c.measure) and number(c.value) and number(c.threshold) for c in card.checks
        ),
        **{
            name: isinstance(getattr(card, name), Mapping)
            for name in ("ends", "options", "training", "compression", "quantization", "source", "tools")
        },
        "ends.said": isinstance(card.ends, Mapping) and _are_words(card.ends.get("said", {})),
        "training.stages": isinstance(card.training, Mapping) and _are_stages(card.training.get("stages")),
        **{
            name: port is None or (text(port.name) and text(port.layout) and all(map(whole, port.shape)))
            for name, port in (("input", card.input), ("output", card.output))
        },
    }
    wrong = [name for name, fits in right.items() if not fits]
    if wrong:
        raise TypeError(f"'{wrong[0]}' is not what it should be")


def source_of(artifact: str | os.PathLike) -> dict[str, str]:
    """What `Card.source` says of the file that an artifact was made from: its name and SHA-256."""
    return {"artifact": Path(artifact).name, "sha256": sha256(artifact)}


TENSORFLOW_PACKAGES = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-rocm", "tf-nightly")


def tensorflow_package() -> str:
    """The name that TensorFlow was installed by; `tensorflow` where there is none."""
    return next((name for name in TENSORFLOW_PACKAGES if version_of(name) != "absent"), "tensorflow")


def version_of(package: str) -> str:
    """The version of an installed package; `absent` where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
