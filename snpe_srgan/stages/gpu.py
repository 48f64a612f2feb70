"""Which GPU TensorFlow can train on, and why none.

nvidia_cards()              # what the driver lists, without starting anything of NVIDIA's where there is no driver
built_with_cuda()           # from TensorFlow's own note on its build: the package is not imported
ask_tensorflow()            # a child process imports it and says what it sees: 10 seconds
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")
BUILD_INFO = "python/platform/build_info.py"
INSTALL = "pip install 'snpe-srgan[cuda]' (Linux x86-64)"
TIMEOUT = 120.0  # seconds for the import of TensorFlow, on a slow disk too

CHILD = """
import json, sys
import tensorflow as tf
gpus = []
for gpu in tf.config.list_physical_devices("GPU"):
    details = tf.config.experimental.get_device_details(gpu)
    capability = details.get("compute_capability")
    gpus.append([details.get("device_name", gpu.name), list(capability) if capability else None])
print(json.dumps({"version": tf.__version__, "cuda": tf.test.is_built_with_cuda(), "gpus": gpus}))
"""


@dataclass(frozen=True)
class Seen:
    """TensorFlow's own answer.

    Attributes:
        cuda: whether it was built with CUDA support.
        gpus: name and compute capability (None where it has none) of each.
        reason: what it wrote when it found none, one line; empty where it wrote nothing.
    """

    version: str
    cuda: bool
    gpus: tuple[tuple[str, tuple[int, int] | None], ...]
    reason: str


def nvidia_cards() -> list[str]:
    """Names of the cards that a loaded driver lists."""
    names = []
    for information in sorted(DRIVER.glob("*/information")):
        try:
            found = re.search(r"^Model:\s*(.+)$", information.read_text(errors="replace"), re.MULTILINE)
        except OSError:
            continue
        names.append(found[1].strip() if found else "an NVIDIA card")
    smi = None if names else shutil.which("nvidia-smi")  # the only trace of the driver under WSL and on Windows
    if smi:
        try:
            done = subprocess.run([smi, "-L"], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return names
        names = re.findall(r"^GPU \d+: (.+?)(?: \(UUID.*)?$", done.stdout, re.MULTILINE) if not done.returncode else []
    return names


def built_with_cuda() -> bool | None:
    """None where TensorFlow is missing, or keeps its note elsewhere."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.origin:
        return None
    try:
        tree = ast.parse((Path(spec.origin).parent / BUILD_INFO).read_text())
    except (OSError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
            name, value = node.elts[0].value, node.elts[1]
            if name == "is_cuda_build" and isinstance(value, ast.Constant):
                return bool(value.value)
    return None


def ask_tensorflow(*, timeout: float = TIMEOUT) -> Seen | str:
    """What TensorFlow says in a process of its own, or why it could not be asked."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=timeout,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"TensorFlow did not start in {timeout:.0f} s"
    try:
        data = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        return f"TensorFlow does not start: {last[0].strip()}" if last else "TensorFlow does not start"
    gpus = tuple((name, tuple(capability) if capability else None) for name, capability in data["gpus"])
    return Seen(data["version"], data["cuda"], gpus, "" if gpus else _reason(done.stderr))


def _reason(log: str) -> str:
    """The line of TensorFlow's start-up log that speaks of CUDA; the last one, which knows most."""
    said = [line for line in log.splitlines() if re.search(r"cuda|gpu|cuInit|dlopen", line, re.IGNORECASE)]
    # "2026-01-01 00:00:00.1: E file.cc:265] text" or "E0000 00:00:1.2 1 file.cc:265] text"
    return re.sub(r"^.*?\.cc:\d+\]\s*", "", said[-1]).strip() if said else ""
