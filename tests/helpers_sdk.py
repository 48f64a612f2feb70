"""Builds stand-in SDKs and phones (see `stand_in_sdk/README.md`) in a test's own folder."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from snpe_srgan.toolchains.snpe.sdk import PYTHON_VARIABLE, VARIABLES

HERE = Path(__file__).parent / "stand_in_sdk"
REPO = HERE.parents[1]
ONE = ["snpe-tensorflow-to-dlc", "snpe-onnx-to-dlc", "snpe-dlc-quantize", "snpe-dlc-info", "snpe-diagview"]
TWO = [*ONE, "snpe-dlc-quant", "snpe-dlc-graph-prepare"]
QAIRT = [*TWO, "qairt-converter", "qairt-quantizer"]
BOTH = ["snpe-net-run", "snpe-throughput-net-run"]  # on this machine and on a phone


def make_sdk(root: Path, version: str, *, qairt: bool = False) -> Path:
    """An SDK folder of a version: tools that start `stand_in_sdk/tools.py`, and empty libraries of the right names."""
    numbers = tuple(map(int, version.split(".")))
    two = numbers >= (2, 0)
    folder = root / (f"{'qairt' if qairt else 'snpe'}-{version}")
    phone = "aarch64-android" if two else "aarch64-android-clang8.0"
    for tool in (QAIRT if qairt else TWO if two else ONE) + BOTH:
        _program(folder / "bin" / "x86_64-linux-clang" / tool, tool, numbers)
    for tool in BOTH:
        _program(folder / "bin" / phone / tool, tool, numbers)
    libraries = [f"lib/{phone}/libSNPE.so", f"lib/{phone}/libc++_shared.so"]
    if two:
        for v in (69, 73, 75):
            libraries += [f"lib/{phone}/libSnpeHtpV{v}Stub.so", f"lib/hexagon-v{v}/unsigned/libSnpeHtpV{v}Skel.so"]
        libraries.append(f"lib/{phone}/libSnpeHtpPrepare.so")
        (folder / "sdk.yaml").write_text(f"name: sdk\nversion: {version}\n")
    else:
        libraries += [f"lib/dsp/libsnpe_dsp_v{v}_domains_v2_skel.so" for v in (60, 65, 66)]
    for name in libraries:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def _program(path: Path, tool: str, version: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!{sys.executable} -S\nimport sys\nsys.path[:0] = [{str(HERE)!r}, {str(REPO)!r}]\nimport tools\n"
        f"raise SystemExit(tools.main({tool!r}, {version!r}, sys.argv[1:]))\n"
    )
    path.chmod(0o755)


@dataclass
class Workshop:
    """A folder with SDKs and phones; `monkeypatch` points the environment at them."""

    folder: Path
    monkeypatch: object
    serials: list[str] = field(default_factory=list)

    def __post_init__(self):
        for variable in (*VARIABLES, "ANDROID_SERIAL"):
            self.monkeypatch.delenv(variable, raising=False)
        self.monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
        (self.folder / "phones").mkdir(exist_ok=True)

    def sdk(self, version: str, *, qairt: bool = False) -> Path:
        root = make_sdk(self.folder, version, qairt=qairt)
        self.monkeypatch.setenv("QAIRT_SDK_ROOT" if qairt else "SNPE_ROOT", str(root))
        return root

    def phone(
        self, serial: str = "1a2b3c", *, chip: str = "SM8550", faults=(), runtimes=("cpu", "gpu", "dsp"),
        state: str = "device", free_kb: int = 10**6,
    ) -> Path:  # fmt: skip
        """Connects a phone (with a Snapdragon 8 Gen 2), and puts the stand-in adb on the PATH."""
        program = self.folder / "platform-tools" / "adb"
        if not program.exists():
            program.parent.mkdir()
            program.write_text(f"#!{sys.executable} -IS\n" + (HERE / "adb.py").read_text())  # -IS: starts at once
            program.chmod(0o755)
            self.monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
            self.monkeypatch.setenv("STAND_IN_PHONES", str(self.folder / "phones"))
        folder = self.folder / "phones" / serial
        (folder / "files" / "data" / "local" / "tmp").mkdir(parents=True, exist_ok=True)
        properties = {"ro.soc.model": chip, "ro.product.model": "Stand-in", "ro.build.version.release": "13"}
        described = {"state": state, "free_kb": free_kb, "hexagon": 73, "runtimes": list(runtimes),
                     "faults": list(faults), "properties": properties}  # fmt: skip
        (folder / "state.json").write_text(json.dumps(described))
        return folder

    def adb_calls(self) -> list[list[str]]:
        """What adb was started with, oldest first."""
        log = self.folder / "adb.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def on_phone(self, serial: str = "1a2b3c") -> list[str]:
        """Files on the phone, below /data/local/tmp."""
        root = self.folder / "phones" / serial / "files" / "data" / "local" / "tmp"
        return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
