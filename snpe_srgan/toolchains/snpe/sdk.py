"""Finds an SDK: its folder, release, tools, the environment they need and the Python its converters want.

    sdk = find_sdk()                     # SNPE_ROOT, QAIRT_SDK_ROOT, QNN_SDK_ROOT, in this order
    sdk = find_sdk("/opt/snpe-1.68.0")
    sdk.tool("snpe-net-run"), sdk.release

Nothing is started to find it: the version is in `sdk.yaml` (2.x) or in the folder's name (1.x).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.toolchains.snpe.release import SNPE1, Release, parse_release

VARIABLES = ("SNPE_ROOT", "QAIRT_SDK_ROOT", "QNN_SDK_ROOT")
PYTHON_VARIABLE = (
    "SNPE_SRGAN_SDK_PYTHON"  # the Python that starts the SDK's converters, where the PATH has no fitting one
)
HOST = "x86_64-linux-clang"


@dataclass(frozen=True)
class Sdk:
    """An SDK on this machine. `origin` is what named it: a variable, or '--sdk'."""

    root: Path
    release: Release
    origin: str

    def has(self, tool: str) -> bool:
        """Whether the SDK holds a program of that name for this machine."""
        return (self.root / "bin" / HOST / tool).is_file()

    def tool(self, tool: str) -> Path:
        """The path of one of its programs for this machine; `MissingToolError` when it is not in it."""
        path = self.root / "bin" / HOST / tool
        if not path.is_file():
            raise MissingToolError(
                f"{self.release} holds no {tool}", where=path.parent, hint="is the SDK unpacked whole? --sdk FOLDER"
            )
        return path

    def environment(self) -> dict[str, str]:
        """What `bin/envsetup.sh` sets, on top of this process's environment."""
        environment = dict(os.environ)
        for variable, folders in {
            "PATH": [self.root / "bin" / HOST],
            "LD_LIBRARY_PATH": [self.root / "lib" / HOST],
            "PYTHONPATH": [self.root / "lib" / "python"],
        }.items():
            kept = environment.get(variable)
            environment[variable] = os.pathsep.join([*map(str, folders), *([kept] if kept else [])])
        for variable in ("SNPE_ROOT",) if self.release.flavour == SNPE1 else VARIABLES:
            environment[variable] = str(self.root)
        return environment

    def exports(self) -> list[str]:
        """The same as a shell has to say it."""
        changed = {k: v for k, v in self.environment().items() if os.environ.get(k) != v}
        lines = []
        for name, value in changed.items():
            kept = os.environ.get(name)
            value = value.removesuffix(kept) if kept else value
            lines.append(
                f"export {name}={shlex.quote(value)}" + (f'"${name}"' if kept and name not in VARIABLES else "")
            )
        return lines

    def shell(self, command) -> str:
        """A command (`commands.Command`) as it is started, for a shell."""
        return shlex.join([*self.start(command.tool), *command.arguments])

    def start(self, tool: str) -> list[str]:
        """The beginning of the argument list that starts a tool: Python programs by the Python they want."""
        path = self.tool(tool)
        return [str(self.python()), str(path)] if is_python(path) else [str(path)]

    def python(self) -> str:
        """The Python for the converters: $SNPE_SRGAN_SDK_PYTHON, or a version that the release was made for.

        Raises:
            MissingToolError: the variable names no program, or no such version is on the PATH.
        """
        named = os.environ.get(PYTHON_VARIABLE)
        if named:
            found = shutil.which(named)
            if found is None:
                raise MissingToolError(f"{PYTHON_VARIABLE} names no program", where=named)
            return found
        wanted = self.release.pythons
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        for version in wanted:
            if version == own:
                return sys.executable
            found = shutil.which(f"python{version}")
            if found:
                return found
        raise MissingToolError(
            f"the converters of {self.release} want Python {' or '.join(wanted)}, which is not on the PATH",
            where=self.root,
            hint=f"make an environment for them as the SDK's setup page says, and set {PYTHON_VARIABLE} to its python",
        )


def is_python(path: Path) -> bool:
    """Whether a tool is a Python program (converters) and not a native one."""
    with path.open("rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and b"python" in first


def find_sdk(path: str | os.PathLike | None = None) -> Sdk:
    """The SDK of `path` (--sdk), or of the first variable that is set; `MissingToolError` when there is none."""
    if path is not None:
        return read_sdk(path, origin="--sdk")
    for variable in VARIABLES:
        if os.environ.get(variable):
            return read_sdk(os.environ[variable], origin=variable)
    raise MissingToolError(
        "this needs the SNPE or QAIRT SDK, and none is set up",
        where=f"looked at --sdk, {', '.join(VARIABLES)}",
        hint="install the SDK from Qualcomm and set QAIRT_SDK_ROOT to its folder; without it, --toolchain qnn and "
        "--on emulator do the same",
    )


def read_sdk(path: str | os.PathLike, *, origin: str) -> Sdk:
    """The SDK in a folder; `MissingToolError` says what is wrong with one that is none."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise MissingToolError(f"{origin} names no folder", where=root, hint="the folder that holds bin/ and lib/")
    root = root.resolve()
    tools = root / "bin" / HOST
    if not tools.is_dir():
        inner = [p for p in sorted(root.glob("*/")) if (p / "bin" / HOST).is_dir()]
        hint = f"{origin} {inner[0]}" if inner else f"the folder that holds bin/{HOST}"
        raise MissingToolError("this folder is no SNPE or QAIRT SDK for Linux", where=root, hint=hint)
    names = {p.name for p in tools.iterdir()}
    if not names & {"snpe-net-run", "snpe-onnx-to-dlc", "qairt-converter"}:
        raise MissingToolError(
            "this SDK has no SNPE tools (QNN alone is not enough)", where=root, hint="QAIRT, or SNPE, holds both"
        )
    return Sdk(root, _release(root, qairt="qairt-converter" in names), origin)


def _release(root: Path, *, qairt: bool) -> Release:
    described = root / "sdk.yaml"
    if described.is_file():
        line = re.search(r"^version:\s*[\"']?([^\s\"']+)", described.read_text("utf-8", "replace"), re.MULTILINE)
        if line:
            return parse_release(line[1], qairt=qairt, where=described)
    for name in (root.name, root.parent.name):
        if re.search(r"\d+\.\d+", name):
            return parse_release(name, qairt=qairt, where=root)
    raise InputError(
        "the SDK does not say its version", where=root, hint="keep the folder's own name, as in snpe-1.68.0.3932"
    )
