"""What of a bundle loads on a phone: artifact x chip x runtime version, and which of them does not fit.

    verdicts = check_bundle("bundle/", chip="8 Gen 3", qairt="2.45")

The rules come from the files: compiled code is for the chips that it names, and needs a QAIRT runtime at least as new
as the release that wrote it. Nothing here was tried on a phone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.files import sha256
from snpe_srgan.deploy.manifest import AI_PACK, DLC, NPU_TFLITE, RELEASE, TFLITE, Artifact, read_manifest
from snpe_srgan.errors import UsageError
from snpe_srgan.toolchains import chips
from snpe_srgan.toolchains.litert_targets import TARGETS

LOADS, FAILS, UNKNOWN = "loads", "fails", "not known"
AXES = ("file", "chip", "qairt")


@dataclass(frozen=True)
class Verdict:
    """`axis` is what does not fit, one of AXES, or None; `npu` says whether the NPU would run it."""

    path: str
    kind: str
    verdict: str
    npu: bool
    axis: str | None
    reason: str


@dataclass(frozen=True)
class Phone:
    """A chip by all its names, and its Hexagon version where it is known."""

    names: frozenset[str]
    label: str
    hexagon: int | None
    chip: chips.Chip | None


def find_phone(name: str) -> Phone:
    """The chip of a LiteRT name, part number, marketing name or phone.

    Raises:
        UsageError: it is not known; the message lists the nearest names.
    """
    plain = "".join(c for c in name.lower().replace("snapdragon", "") if c.isalnum() or c == "+")
    for target in TARGETS:
        marketing = target.marketing.lower().replace("snapdragon", "").replace(" ", "")
        if plain and plain in (target.name.lower(), marketing):
            known = next((c for c in chips.CHIPS if target.soc is not None and c.soc == target.soc), None)
            names = {target.name, *([target.soc.name] if target.soc else [])}
            return Phone(frozenset(names), str(target), target.hexagon, known)
    chip = chips.find(name)
    names = {chip.part, *[t.name for t in TARGETS if chip.soc is not None and t.soc == chip.soc][:1]}
    return Phone(frozenset(names), str(chip), chip.hexagon, chip)


def parse_release(text: str) -> tuple[int, ...]:
    """(2, 45) of "2.45" or "v2.45.0.250101"; UsageError for anything else."""
    found = RELEASE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"'{text}' is no QAIRT release", where="--qairt", hint="two or three numbers: 2.45")
    return tuple(int(part) for part in found[1].split("."))


def check_bundle(folder: str | Path, *, chip: str, qairt: str | None = None) -> list[Verdict]:
    """A verdict for each artifact.

    Args:
        qairt: release of the runtime on the phone; None leaves that axis out.
    """
    manifest = read_manifest(folder)
    phone, release = find_phone(chip), None if qairt is None else parse_release(qairt)
    return [_verdict(Path(folder), artifact, phone, release) for artifact in manifest.artifacts]


def _verdict(folder: Path, artifact: Artifact, phone: Phone, release: tuple[int, ...] | None) -> Verdict:
    def say(verdict: str, npu: bool, axis: str | None, reason: str) -> Verdict:
        return Verdict(artifact.path, artifact.kind, verdict, npu, axis, reason)

    path = folder / artifact.path
    if not path.is_file():
        return say(FAILS, False, "file", "it is missing")
    if sha256(path) != artifact.sha256:
        return say(FAILS, False, "file", "its SHA-256 is not the bundle's: it was changed or cut short")
    if artifact.kind == DLC:
        return _dlc(path, artifact, phone, release)
    if not artifact.chips:
        if artifact.kind in (TFLITE, AI_PACK):
            return say(LOADS, False, None, "on the CPU or the GPU delegate of any phone; no NPU code")
        return say(LOADS, False, None, "ONNX Runtime compiles it on the device, or runs it on the CPU")
    if not phone.names & set(artifact.chips):
        same = phone.hexagon is not None and phone.hexagon in artifact.hexagon.values()
        reason = f"its code is for {', '.join(artifact.chips)}, not for {phone.label}"
        reason += "; the Hexagon version is the same, which was not tried and is not promised" if same else ""
        return say(FAILS, False, "chip", reason)
    short = _too_old(artifact, release)
    if short:
        return say(FAILS, False, "qairt", short)
    about = "" if release else f"; the runtime must be QAIRT {artifact.qairt} or newer"
    loader = "LiteRT's Qualcomm dispatch" if artifact.kind in (NPU_TFLITE, AI_PACK) else "ONNX Runtime's QNN provider"
    return say(LOADS, True, None, f"on the NPU, by {loader}{about}")


def _too_old(artifact: Artifact, release: tuple[int, ...] | None) -> str | None:
    if release is None or artifact.qairt is None:
        return None
    needed = parse_release(artifact.qairt)
    length = min(len(needed), len(release))
    if release[:length] >= needed[:length]:
        return None
    return f"its code was written by QAIRT {artifact.qairt}; the runtime is {'.'.join(map(str, release))}"


def _dlc(path: Path, artifact: Artifact, phone: Phone, release: tuple[int, ...] | None) -> Verdict:
    """By Table 1's rules (`toolchains/fit.py`): which units of the chip run the file."""
    from snpe_srgan.dlc.describe import describe
    from snpe_srgan.dlc.reader import read
    from snpe_srgan.toolchains.fit import check

    if phone.chip is None:
        return Verdict(artifact.path, DLC, UNKNOWN, False, "chip", f"{phone.label} is not in the table of SNPE's chips")
    fit = check(describe(read(path)), phone.chip)
    if "dsp" not in fit.runs:
        return Verdict(artifact.path, DLC, FAILS, False, "chip", fit.refused.get("dsp", "no DSP runtime"))
    short = _too_old(artifact, release)
    if short:
        return Verdict(artifact.path, DLC, UNKNOWN, False, "qairt", f"{short}: an older runtime may refuse the file")
    how = "with a ready-compiled cache" if fit.compiled else "compiled at the first load"
    return Verdict(artifact.path, DLC, LOADS, True, None, f"on the DSP, {how}")
