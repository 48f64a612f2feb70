"""SNPE on a phone: brings the SDK's runtime there once, runs a .dlc on a unit of the chip, brings the results back.

    device = Device(find_sdk(), choose_phone(), runtime="dsp")
    ran = device.net_run(dlc, raws, scratch, perf_profile="burst")
    ran.output, ran.times.total_us

What is already there is known by its checksum. What a run makes is deleted when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from snpe_srgan.errors import MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.toolchains.snpe import commands
from snpe_srgan.toolchains.snpe.adb import Phone, md5
from snpe_srgan.toolchains.snpe.commands import Command
from snpe_srgan.toolchains.snpe.logs import Throughput, Times, parse_diagview, parse_throughput
from snpe_srgan.toolchains.snpe.process import Ran, failure, how_ended, run_tool
from snpe_srgan.toolchains.snpe.raw import LIST, OUTPUT, input_list
from snpe_srgan.toolchains.snpe.release import SNPE1
from snpe_srgan.toolchains.snpe.sdk import Sdk

ROOT = "/data/local/tmp/snpe-srgan"
SYSTEM_SKELETONS = "/system/lib/rfsa/adsp;/system/vendor/lib/rfsa/adsp;/dsp"
TIMEOUT = 900.0  # seconds for one run of many tiles
LOG = "SNPEDiag_0.log"
TOOLS = ("snpe-net-run", "snpe-throughput-net-run")


@dataclass(frozen=True)
class DeviceRun:
    """A finished run: the folder of results on this machine, what the tool said, the times it logged (or why none)."""

    output: Path
    said: str
    times: Times | None
    no_times: str | None


class Device:
    """A phone with one SDK's runtime on it, for one unit of the chip."""

    def __init__(self, sdk: Sdk, phone: Phone, *, runtime: str = "dsp"):
        self.sdk, self.phone, self.runtime = sdk, phone, runtime
        self.base = f"{ROOT}/{sdk.release.flavour}-{sdk.release.number}"
        self.installed = False

    def describe(self) -> dict[str, str]:
        """The phone in its own words: product, chip, Android."""
        names = {"product": "ro.product.model", "chip": "ro.soc.model", "board": "ro.board.platform",
                 "android": "ro.build.version.release"}  # fmt: skip
        return {key: self.phone.property(name) for key, name in names.items()}

    def chip(self):
        """The phone's chip in our table (`toolchains/chips.py`), or None; phones before Android 12 name the board."""
        from snpe_srgan.toolchains import chips

        for name in ("ro.soc.model", "ro.board.platform"):
            if told := self.phone.property(name):
                with contextlib.suppress(UsageError):
                    return chips.find(told)
        return None

    def files(self) -> dict[str, Path]:
        """What has to be on the phone; refused here where the chip is known to lack the runtime."""
        if self.runtime in ("cpu", "gpu"):
            return runtime_files(self.sdk, self.runtime)
        chip = self.chip()
        if chip is not None and self.runtime not in chip.runtimes:
            raise SnpeSrganError(
                f"{chip} has no {self.runtime.upper()} runtime", where=self.phone.serial,
                hint="--runtime " + " or ".join(chip.runtimes),
            )  # fmt: skip
        return runtime_files(self.sdk, self.runtime, hexagon=chip.hexagon if chip else None)

    def install(self) -> list[str]:
        """Brings tools and libraries to the phone unless they are there; the names of those that went."""
        if self.installed:
            return []
        gone = self.phone.push(self.files(), self.base)
        if any(name.startswith("bin/") for name in gone):
            self.phone.check(f"chmod 755 {shlex.quote(self.base)}/bin/*", doing="chmod")
        self.installed = True
        return gone

    def push_model(self, dlc: Path) -> str:
        """Brings a model there unless the same bytes are; its path on the phone."""
        name = f"{md5(dlc)[:16]}.dlc"
        self.phone.push({name: dlc}, f"{ROOT}/models")
        return f"{ROOT}/models/{name}"

    def environment(self) -> str:
        """What a tool on the phone needs, as shell commands. The DSP's variable is separated by semicolons."""
        return (
            f"export LD_LIBRARY_PATH={self.base}/lib\n"
            f'export ADSP_LIBRARY_PATH="{self.base}/dsp;{SYSTEM_SKELETONS}"\n'
            f"export PATH={self.base}/bin:$PATH"
        )

    @contextlib.contextmanager
    def _folder(self) -> Iterator[str]:
        folder = f"{ROOT}/run-{secrets.token_hex(6)}"
        try:
            yield folder
        finally:
            self.phone.remove(folder)

    def script(self, command: Command, folder: str) -> str:
        """A command on the phone, as a shell script: with the tools' environment, in `folder`, which is made."""
        return f"{self.environment()}\nmkdir -p {folder} && cd {folder} && {command}"

    def plan(self, dlc: Path, *, perf_profile: str | None, raw: str = "float32") -> list[str]:
        """What a run would do, in the words of a shell: for --dry-run.

        Args:
            dlc: on this machine; read for its checksum only.
            perf_profile: one of `options.PROFILES`; None leaves it to the tool.
            raw: `float32` or `uint8` (see `commands.net_run`).

        Returns:
            A command a line, for one input file; nothing is written on the phone, but it is asked for its chip.

        Raises:
            UsageError: a profile or `raw` that the release does not have.
            MissingToolError: the SDK lacks files for Android or for this chip.
            SnpeSrganError: the chip has no such runtime.
        """
        folder, model = f"{ROOT}/run-000000000000", f"{ROOT}/models/{md5(dlc)[:16]}.dlc"
        adb = f"adb -s {self.phone.serial}"
        files = self.files()
        folders = sorted({str(PurePosixPath(self.base, name).parent) for name in files} | {f"{ROOT}/models", folder})
        lines = [f"{adb} shell mkdir -p {' '.join(folders)}"]
        lines += [f"{adb} push {path} {self.base}/{name}" for name, path in files.items()]
        lines += [f"{adb} shell chmod 755 '{self.base}/bin/*'"]
        lines += [f"{adb} push {dlc} {model}", f"{adb} push lr_0.raw {folder}/lr_0.raw", f"{adb} push {LIST} {folder}/"]
        command = self._net_run(model, folder, perf_profile, raw)
        lines.append(f"{adb} shell {shlex.quote(self.script(command, folder))}")
        lines += [f"{adb} pull {folder}/{OUTPUT} .", f"{adb} shell rm -rf {folder}"]
        return lines

    def _net_run(self, model: str, folder: str, perf_profile: str | None, raw: str) -> Command:
        return commands.net_run(
            self.sdk.release, container=model, input_list=f"{folder}/{LIST}", output_dir=f"{folder}/{OUTPUT}",
            runtime=self.runtime, perf_profile=perf_profile, profiling=commands.PROFILING, raw=raw,
        )  # fmt: skip

    def net_run(
        self,
        dlc: Path,
        raws: list[Path],
        scratch: Path,
        *,
        perf_profile: str | None,
        raw: str = "float32",
        results: bool = True,
    ) -> DeviceRun:
        """Runs a .dlc on raw files (a line of the input list each, a file may be named again) and brings the results
        and the log into `scratch`; the log alone without `results`.

        Args:
            raws: on this machine; one file goes to the phone once, however often it is named.
            scratch: a folder on this machine.
            perf_profile: one of `options.PROFILES`; None leaves it to the tool.
            raw: `float32` or `uint8` (see `commands.net_run`).

        Raises:
            UsageError: a profile or `raw` that the release does not have.
            MissingToolError: the SDK lacks files for Android or for this chip.
            SnpeSrganError: the tool failed or wrote no result, the phone went away or is full, or a time limit passed.
                A log that cannot be read is no error: `times` is then None and `no_times` says why.
        """
        self.install()
        model = self.push_model(dlc)
        with self._folder() as folder:
            listed = scratch / LIST
            listed.write_text(input_list(raws, prefix=folder), encoding="utf-8")
            self.phone.push({path.name: path for path in (*raws, listed)}, folder)
            command = self._net_run(model, folder, perf_profile, raw)
            ran = self._run(command, folder, where=dlc)
            output = self._bring(folder, scratch, ran, results=results)
        times, reason = self._times(output / LOG)
        return DeviceRun(output, ran.output, times, reason)

    def throughput(self, dlc: Path, *, seconds: int, perf_profile: str | None) -> Throughput:
        """Inferences a second; the tool is known to crash at its very end, after it has printed the result.

        Args:
            seconds: handed to the tool as its `--duration`.
            perf_profile: one of `options.PROFILES`; None leaves it to the tool.

        Raises:
            UsageError: the release does not have the profile.
            MissingToolError: the SDK lacks files for Android or for this chip.
            SnpeSrganError: the tool failed before it printed a result, or the phone went away.
        """
        self.install()
        model = self.push_model(dlc)
        command = commands.throughput(
            self.sdk.release, container=model, seconds=seconds, runtime=self.runtime, perf_profile=perf_profile
        )
        with self._folder() as folder:
            ran = self.phone.shell(self.script(command, folder), timeout=TIMEOUT + seconds)
        if ran.status != 0 and "Total throughput" not in ran.output:
            raise failure(command.tool, ran.output, how=how_ended(ran.status), where=self._place(dlc))
        return parse_throughput(ran.output)

    def _place(self, dlc: Path) -> str:
        return f"{dlc} on {self.phone.serial}, runtime {self.runtime}"

    def _run(self, command: Command, folder: str, *, where: Path) -> Ran:
        ran = self.phone.shell(self.script(command, folder), timeout=TIMEOUT)
        if ran.status != 0:
            raise failure(command.tool, ran.output, how=how_ended(ran.status), where=self._place(where))
        return ran

    def _bring(self, folder: str, scratch: Path, ran: Ran, *, results: bool) -> Path:
        if self.phone.shell(f"ls {folder}/{OUTPUT}/Result_0").status != 0:
            how = "said that all went well (status 0) but wrote no result"
            raise failure("snpe-net-run", ran.output, how=how, where=f"{self.phone.serial}, runtime {self.runtime}")
        if results:
            return self.phone.pull(f"{folder}/{OUTPUT}", scratch)
        if self.phone.shell(f"ls {folder}/{OUTPUT}/{LOG}").status == 0:
            self.phone.pull(f"{folder}/{OUTPUT}/{LOG}", scratch)
        return scratch

    def _times(self, log: Path) -> tuple[Times | None, str | None]:
        if not log.is_file():
            return None, "the run wrote no SNPEDiag log"
        try:
            ran = run_tool(self.sdk, commands.diagview(self.sdk.release, log=log), subject=log.name)
            return parse_diagview(ran.output), None
        except SnpeSrganError as error:  # the picture is there: times alone are no reason to lose it
            return None, error.what


def runtime_files(sdk: Sdk, runtime: str, *, hexagon: int | None = None) -> dict[str, Path]:
    """What a runtime needs on the phone, as name there -> path here; `hexagon` leaves out other chips' libraries.

    Args:
        runtime: `cpu`, `gpu`, `dsp` or `aip`; the last two also need skeleton libraries for the DSP.
        hexagon: the chip's Hexagon version; None, or one before v68, takes the libraries of all.

    Raises:
        MissingToolError: the SDK holds no tools, no libSNPE.so or no skeleton libraries that fit.
    """
    programs = _newest(sdk, "bin")
    libraries = _newest(sdk, "lib")
    files = {f"bin/{name}": programs / name for name in TOOLS if (programs / name).is_file()}
    if "bin/snpe-net-run" not in files:
        raise MissingToolError(f"{sdk.release} holds no snpe-net-run for Android", where=programs)
    dsp = runtime in ("dsp", "aip")
    if sdk.release.flavour == SNPE1:
        chosen = list(libraries.glob("*.so"))
        skeletons = list((sdk.root / "lib" / "dsp").glob("*.so")) if dsp else []
    else:
        names = ["libSNPE.so", "libc++_shared.so", *(["libSnpe*.so", "libSnpeHta*.so", "libhta*.so"] if dsp else [])]
        chosen = [path for name in names for path in libraries.glob(name)]
        skeletons = list((sdk.root / "lib").glob("hexagon-v*/unsigned/libSnpe*.so")) if dsp else []
    files |= {f"lib/{path.name}": path for path in sorted(chosen) if _fits(path.name, hexagon)}
    files |= {f"dsp/{path.name}": path for path in sorted(skeletons) if _fits(path.name, hexagon)}
    if "lib/libSNPE.so" not in files:
        raise MissingToolError(f"{sdk.release} holds no libSNPE.so for Android", where=libraries)
    if dsp and not any(name.startswith("dsp/") for name in files):
        what = "no skeleton libraries" + (f" for Hexagon v{hexagon}" if hexagon else "")
        raise MissingToolError(
            f"{sdk.release} holds {what}", where=sdk.root / "lib", hint="a newer SDK knows newer chips"
        )
    return files


def _newest(sdk: Sdk, kind: str) -> Path:
    """bin or lib for 64-bit Android: `aarch64-android`, in 1.x with the compiler's name behind it."""
    found = sorted((sdk.root / kind).glob("aarch64-android*"))
    if not found:
        raise MissingToolError(f"{sdk.release} has no {kind}/aarch64-android", where=sdk.root)
    return found[-1]


def _fits(name: str, hexagon: int | None) -> bool:
    """Whether a library is for this Hexagon version, or for all."""
    version = re.search(r"[vV](\d\d)(?=\D|$)", name)
    return hexagon is None or version is None or int(version[1]) == hexagon or hexagon < 68
