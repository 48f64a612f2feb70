"""A phone over adb: which one, what it says, files there and back. Knows nothing of SNPE.

    phone = choose_phone(serial=None)            # the only one, $ANDROID_SERIAL, or --serial
    phone.shell("getprop ro.soc.model").output
    phone.push({"libs/libSNPE.so": path}, "/data/local/tmp/x"), phone.pull("/data/local/tmp/x/output", here)

Old phones' `adb shell` ends with 0 whatever happened, so each script prints its own status.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from snpe_srgan.errors import MissingToolError, SnpeSrganError, UsageError, did_you_mean
from snpe_srgan.toolchains.snpe.process import Ran, failure, how_ended, start

MARK = "snpe-srgan-status:"
LONG = 2000  # characters of names in a script: old phones take 4096 in all
TIMEOUT, TRANSFER_TIMEOUT = 60.0, 900.0  # seconds
# What `adb devices` says of a device that cannot be used: (in words, what to do).
STATES = {
    "unauthorized": ("has not allowed this computer", "unlock the phone and accept 'Allow USB debugging'"),
    "offline": ("does not answer (offline)", "pull the cable and plug it in again, or: adb reconnect"),
    "no": ("may not be opened by this user", "Linux: install the android-udev-rules, or join the group plugdev"),
    "recovery": ("is in recovery", "boot it to Android"),
    "bootloader": ("is in its bootloader", "boot it to Android"),
    "sideload": ("is in sideload mode", "boot it to Android"),
}


@dataclass(frozen=True)
class Phone:
    """One device that is ready. All paths on it are POSIX text."""

    adb: str
    serial: str

    def _adb(self, *arguments: str, timeout: float) -> Ran:
        return start([self.adb, "-s", self.serial, *arguments], timeout=timeout)

    def shell(self, script: str, *, timeout: float = TIMEOUT) -> Ran:
        """Runs a script on the phone; its status is the script's own, whatever adb makes of it.

        Args:
            timeout: in seconds.

        Raises:
            SnpeSrganError: the phone went away, or the script took too long. Another status than 0 is no error.
        """
        ran = self._adb("shell", f"(\n{script}\n)\n_s=$?; echo; echo {MARK}$_s", timeout=timeout)
        text = ran.output.replace("\r\n", "\n")
        marks = list(re.finditer(rf"^{MARK}(\d+)\n?", text, re.MULTILINE))  # standard error may come behind it
        if not marks:
            raise failure("adb", text, how="lost the phone in the middle of a command", where=self.serial)
        status, (first, last) = int(marks[-1][1]), marks[-1].span()
        return Ran(status, text[:first] + text[last:], ran.seconds)

    def check(self, script: str, *, doing: str, timeout: float = TIMEOUT) -> str:
        """A script that has to succeed; its output.

        Args:
            script: lines of POSIX shell.
            doing: what the error says was being done.
            timeout: in seconds.

        Raises:
            SnpeSrganError: the script ended with another status than 0, took too long, or the phone went away.
        """
        ran = self.shell(script, timeout=timeout)
        if ran.status != 0:
            raise failure(doing, ran.output, how=f"on the phone {how_ended(ran.status)}", where=self.serial)
        return ran.output

    def property(self, name: str) -> str:
        """An Android system property ('ro.soc.model'); empty text where the phone does not have it."""
        return self.shell(f"getprop {shlex.quote(name)}").output.strip()

    def look(self, folder: str, names: Iterable[str]) -> tuple[dict[str, str], int | None]:
        """(MD5 of those files of a folder that are there, bytes that are free there or None); makes the folders."""
        names = sorted(names)
        folders = sorted({str(PurePosixPath(folder, name).parent) for name in names})
        named = shlex.join(names)
        sums = f"md5sum {named}" if len(named) < LONG else "find . -type f -exec md5sum {} +"
        script = (
            f"mkdir -p {shlex.join(folders)} && cd {shlex.quote(folder)} || exit 1\ndf -k .\n{sums} 2>/dev/null\ntrue"
        )
        text = self.check(script, doing="mkdir")
        found = re.findall(r"^([0-9a-f]{32})\s+\*?(?:\./)?(.+)$", text, re.MULTILINE)
        return {path.strip(): digest for digest, path in found}, _free(text)

    def push(self, files: Mapping[str, Path], folder: str) -> list[str]:
        """Brings files to `folder`/name unless the same bytes are there; those that went. What arrives is compared.

        Args:
            files: name inside the folder -> path on this machine.

        Raises:
            SnpeSrganError: the phone is full or went away, or a file arrived damaged.
        """
        wanted = {name: md5(path) for name, path in files.items()}
        there, free = self.look(folder, wanted)
        missing = [name for name, digest in wanted.items() if there.get(name) != digest]
        if not missing:
            return []
        needed = sum(files[name].stat().st_size for name in missing)
        if free is not None and free < needed:
            raise self._full(f"{needed / 1e6:.0f} MB are to go there, {free / 1e6:.0f} MB are free", folder)
        for place, sources in _together(missing, files, folder):
            ran = self._adb("push", *sources, place, timeout=TRANSFER_TIMEOUT)
            if ran.status != 0 or "failed to copy" in ran.output or "error:" in ran.output:
                if "No space left" in ran.output:
                    raise self._full(f"{Path(sources[-1]).name} did not fit", folder)
                raise failure("adb push", ran.output, how="failed", where=f"{self.serial}:{place}")
        arrived, _ = self.look(folder, missing)
        damaged = [name for name in missing if arrived and arrived.get(name) != wanted[name]]
        if damaged:
            raise SnpeSrganError(
                f"{damaged[0]} did not arrive whole on the phone", where=f"{self.serial}:{folder}",
                hint="another cable or port; free some space on the phone",
            )  # fmt: skip
        return missing

    def _full(self, what: str, folder: str) -> SnpeSrganError:
        hint = "delete what is not needed under /data/local/tmp on the phone"
        return SnpeSrganError(f"no space left on the phone: {what}", where=f"{self.serial}:{folder}", hint=hint)

    def pull(self, folder: str, here: Path) -> Path:
        """A folder of the phone as `here`/<its name>.

        Raises:
            SnpeSrganError: the folder is not there, or the phone went away.
        """
        ran = self._adb("pull", folder, str(here), timeout=TRANSFER_TIMEOUT)
        target = here / PurePosixPath(folder).name
        if ran.status != 0 or not target.exists():
            raise failure("adb pull", ran.output, how="failed", where=f"{self.serial}:{folder}")
        return target

    def remove(self, folder: str) -> None:
        """Deletes a folder; a phone that has gone is no reason to fail."""
        try:
            self.shell(f"rm -rf {shlex.quote(folder)}")
        except SnpeSrganError:
            return


def _together(names: list[str], files: Mapping[str, Path], folder: str) -> list[tuple[str, list[str]]]:
    """(target on the phone, sources): files that keep their name go in one transfer a folder, others one by one."""
    groups: dict[str, list[str]] = {}
    for name in names:
        target = PurePosixPath(folder, name)
        place = f"{target.parent}/" if target.name == files[name].name else str(target)
        groups.setdefault(place, []).append(str(files[name]))
    return list(groups.items())


def _free(text: str) -> int | None:
    """The free bytes that `df -k` tells: the third number of its last line with as many."""
    for line in reversed(text.splitlines()):
        numbers = re.findall(r"(?<=\s)\d+(?=\s)", line)
        if len(numbers) >= 3:
            return int(numbers[2]) * 1024
    return None


def md5(path: Path) -> str:
    """MD5 of a file's bytes, as hexadecimal digits: what the phone's own `md5sum` prints."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def list_phones(adb: str) -> list[tuple[str, str]]:
    """(serial, state) of all devices that adb sees.

    Raises:
        MissingToolError: adb does not start, or fails.
    """
    ran = start([adb, "devices"], timeout=TIMEOUT)
    if ran.status != 0:
        raise failure("adb devices", ran.output, how=how_ended(ran.status), where=adb, kind=MissingToolError)
    rows = [line.split() for line in ran.output.partition("List of devices attached")[2].splitlines()]
    return [(row[0], row[1]) for row in rows if len(row) >= 2]


def choose_phone(serial: str | None = None) -> Phone:
    """The phone of a serial, of $ANDROID_SERIAL, or the only one; errors tell none, several, and those not ready.

    Raises:
        MissingToolError: adb is not on the PATH, or no phone is connected, none of that serial, or it is not ready.
        UsageError: several phones are ready and no serial says which.
    """
    adb = shutil.which("adb")
    if adb is None:
        raise MissingToolError("adb is not on the PATH", hint="install Android's platform-tools")
    found = list_phones(adb)
    wanted = serial or os.environ.get("ANDROID_SERIAL")
    if not found:
        raise MissingToolError(
            "no phone is connected", where=f"{adb} devices",
            hint="plug it in, and switch on Developer options > USB debugging",
        )  # fmt: skip
    if wanted is not None:
        states = dict(found)
        if wanted not in states:
            raise MissingToolError(
                f"no phone '{wanted}' is connected", where="--serial", hint=did_you_mean(wanted, states)
            )
        return _ready(adb, wanted, states[wanted])
    ready = [name for name, state in found if state == "device"]
    if len(ready) > 1:
        raise UsageError(f"{len(ready)} phones are connected", hint="--serial " + " or --serial ".join(ready))
    return _ready(adb, ready[0], "device") if ready else _ready(adb, *found[0])


def _ready(adb: str, serial: str, state: str) -> Phone:
    if state != "device":
        words, hint = STATES.get(state, (f"is not ready ({state})", "adb kill-server, then plug it in again"))
        raise MissingToolError(f"the phone {serial} {words}", where=f"{adb} devices", hint=hint)
    return Phone(adb, serial)
