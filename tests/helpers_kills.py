"""Kills a command again and again, at moments drawn at random, and looks at what the same command makes of the rest.

outcome = kill_and_go_on(["freeze", "net.npz", "-o", "net.pb"], folder, kills=5, random=random)
assert outcome.clean
"""

from __future__ import annotations

import os
import random as random_module
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path


@dataclass
class Outcome:
    """What came of one command.

    Attributes:
        kills: how often it was ended by SIGKILL.
        whole: kills that came when its result was already printed.
        refused: runs after a kill that said that an output exists already, or failed in another way.
        left: what remains that is not the command's output: hidden files and folders, half-made caches, processes.
        seconds: of the run that nobody disturbed.
    """

    kills: int = 0
    whole: int = 0
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.refused and not self.left


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    return subprocess.Popen(
        [sys.executable, "-m", "snpe_srgan", *words], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def kill_and_go_on(
    words: list[str],
    folder: Path,
    *,
    kills: int,
    seconds: float,
    random: random_module.Random,
    again: tuple[str, ...] = (),
    late: bool = True,
) -> Outcome:
    """Starts `words` in `folder` and kills it, `kills` times; then lets it run to its end.

    Args:
        seconds: how long the command takes undisturbed; the moments lie within.
        again: words that are added from the second run on (`--resume`).
        late: moments lie in the second half, where files are written, three times out of four.
    """
    outcome = Outcome(seconds=seconds)
    (folder / "tmp").mkdir(exist_ok=True)
    extra: tuple[str, ...] = ()
    for _ in range(kills):
        process = start([*words, *extra], folder)
        extra = again
        begin = 0.5 if late and random.random() < 0.75 else 0.05
        try:
            printed, said = process.communicate(timeout=seconds * random.uniform(begin, 1.02))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            outcome.kills += 1
            printed, _ = process.communicate()
            if printed.strip():
                outcome.whole += 1
                return outcome
            continue
        if process.returncode:
            outcome.refused.append(said.decode(errors="replace")[-400:])
        return outcome  # it was quicker than the kill, and is done
    process = start([*words, *extra], folder)
    _, said = process.communicate()
    if process.returncode:
        outcome.refused.append(said.decode(errors="replace")[-400:])
    outcome.left = leftovers(folder) + living(folder)
    return outcome


def living(folder: Path, *, patience: float = 60.0) -> list[str]:
    """Processes that work in the folder and do not end by themselves: what a killed command has started."""
    end = time.monotonic() + patience  # one that still loads its libraries learns of its parent's end afterwards
    while found := [text for text in map(_at_work, Path("/proc").glob("[0-9]*"), repeat(folder)) if text]:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return found


def _at_work(process: Path, folder: Path) -> str | None:
    try:
        if folder.resolve() not in (place := (process / "cwd").resolve(), *place.parents):
            return None
        return f"process {process.name}: " + (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:100]
    except OSError:  # it has ended, or is another user's
        return None


def leftovers(folder: Path) -> list[str]:
    """Hidden names, unfinished folders, journals and what lies in the folder for temporary files."""
    time.sleep(0.2)  # children that read the end of their pipe are just leaving
    found = [p for p in folder.rglob("*") if p.name.startswith(".") or p.name.endswith(".part")]
    found += folder.rglob("journal*")
    found += (folder / "tmp").iterdir()
    return sorted({str(p.relative_to(folder)) for p in found})
