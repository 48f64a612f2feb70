"""The stand-in adb: `devices`, `-s SERIAL shell | push | pull`, on a folder that is the phone's file system.

STAND_IN_PHONES names a folder with one sub-folder a phone: `state.json` and `files/`. Its shell is this machine's,
with paths under /data moved into `files`, and the phone's own `getprop` and `df`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    root = Path(os.environ["STAND_IN_PHONES"])
    phones = {p.name: json.loads((p / "state.json").read_text()) for p in sorted(root.iterdir())}
    log = root.parent / "adb.log"
    with log.open("a") as file:
        file.write(json.dumps(argv) + "\n")
    if argv == ["devices"]:
        print("* daemon started successfully\nList of devices attached")
        for serial, phone in phones.items():
            print(f"{serial}\t{phone['state']}")
        print()
        return 0
    if argv[:1] != ["-s"] or len(argv) < 3:
        return fail("adb: usage: unknown command " + " ".join(argv[:1]))
    serial, verb, rest = argv[1], argv[2], argv[3:]
    if serial not in phones:
        return fail(f"adb: device '{serial}' not found")
    if phones[serial]["state"] != "device":
        return fail(f"error: device {phones[serial]['state']}.")
    phone = Phone(root / serial, phones[serial])
    return {"shell": phone.shell, "push": phone.push, "pull": phone.pull}[verb](rest)


def fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


class Phone:
    def __init__(self, folder: Path, state: dict):
        self.folder, self.state, self.files = folder, state, folder / "files"

    def here(self, path: str) -> Path:
        return self.files / path.lstrip("/")

    def shell(self, rest: list[str]) -> int:
        script = " ".join(rest).replace("/data/local", str(self.here("/data/local")))
        if "unplugged" in self.state["faults"] and "snpe-net-run --" in script:
            return fail("error: closed")
        programs = self.folder / "programs"
        self._programs(programs)
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin", "STAND_IN_PHONE": str(self.folder),
            "HOME": os.environ.get("HOME", "/"), "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        }  # fmt: skip
        if "silent" in self.state["faults"]:
            environment["STAND_IN_SILENT_FAILURE"] = "snpe-net-run"
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, env=environment)
        text = (done.stdout + done.stderr).replace(str(self.here("/data/local")), "/data/local")
        if "carriage returns" in self.state["faults"]:  # as old phones do
            text = text.replace("\n", "\r\n")
        sys.stdout.write(text)
        return 0  # an old phone's adb ends with 0, whatever the script did

    def _programs(self, folder: Path) -> None:
        """The phone's own getprop and df."""
        folder.mkdir(exist_ok=True)
        cases = "".join(f"{name}) echo '{value}';; " for name, value in self.state["properties"].items())
        free = self.state["free_kb"]
        scripts = {
            "getprop": f'#!/bin/sh\ncase "$1" in {cases} esac\n',
            "df": "#!/bin/sh\necho 'Filesystem 1K-blocks Used Available Use% Mounted on'\n"
            f"echo '/dev/block/dm-5 999999999 1000 {free} 1% /data'\n",
        }
        for name, text in scripts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def push(self, rest: list[str]) -> int:
        *sources, target = rest
        place = self.here(target)
        if len(sources) > 1 and not place.is_dir():
            return fail(f"adb: error: target '{target}' is not a directory")
        for source in map(Path, sources):
            if not source.is_file():
                return fail(f"adb: error: cannot stat '{source}': No such file or directory")
            end = place / source.name if place.is_dir() or target.endswith("/") else place
            if not end.parent.is_dir():
                return fail(f"adb: error: failed to copy '{source}' to '{target}': remote couldn't create file: "
                            "No such file or directory")  # fmt: skip
            if "full while writing" in self.state["faults"]:
                end.write_bytes(source.read_bytes()[:10])
                return fail(f"adb: error: failed to copy '{source}' to '{target}': remote write failed: "
                            "No space left on device")  # fmt: skip
            data = source.read_bytes()
            end.write_bytes(data[: len(data) // 2] if "damages" in self.state["faults"] else data)
        print(f"{len(sources)} files pushed, 0 skipped. 30.1 MB/s")
        return 0

    def pull(self, rest: list[str]) -> int:
        source, target = self.here(rest[0]), Path(rest[1])
        if not source.exists():
            return fail(f"adb: error: failed to stat remote object '{rest[0]}': No such file or directory")
        shutil.copytree(source, target / source.name) if source.is_dir() else shutil.copy(source, target)
        print("1 file pulled, 0 skipped.")
        return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
