"""Commands that are killed at random moments: the same command then goes on, and nothing of the killed one stays.

`scripts/kill_runs` is the same at any length; here it runs at its smallest.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers_kills import start

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "kill_runs"


def kill(*words: str) -> str:
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_killed_run_goes_on():
    assert "run " in kill("--rounds", "1", "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", ["freeze", "convert", "quantize", "prepare", "sample", "evaluate", "train", "pipeline"]
)
def test_every_killed_command_goes_on(verb):
    kill("--rounds", "2", verb)


def test_an_unknown_command_is_refused():
    done = subprocess.run([sys.executable, SCRIPT, "rune"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "not known: rune" in done.stderr


CHILDREN = {
    "a benchmark's worker": """
from snpe_srgan.runtimes.contender import Contender
from snpe_srgan.zoo.resolve import resolve
Contender._ask = lambda self, request: {}
contender = Contender(resolve('mobile'), 'onnxruntime', size=(12, 16), threads=1, warmup=0)
process = contender._process
""",
    "a reader of strangers' files": """
from snpe_srgan.confined.process import Child
child = Child(where='a.pb')
process = child._process
""",
    "the emulator's worker": """
from snpe_srgan.toolchains.qnn_process import Worker
worker = Worker()
process = worker._process
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("name", CHILDREN)
def test_a_child_dies_with_its_parent(name, tmp_path):
    code = CHILDREN[name] + "import time\nprint(process.pid, flush=True)\ntime.sleep(600)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
        try:
            child = int(parent.stdout.readline())
            assert _lives(child)
        finally:
            parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 120  # a child that is still loading its libraries on a busy machine
    while _lives(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "pipeline"])
def test_two_at_once_in_one_run_folder(verb, tmp_path):
    """One works on and comes to its end, the other is refused and takes nothing away; then the folder is whole."""
    script = runpy.run_path(str(SCRIPT))
    script["prepare"](tmp_path)
    (tmp_path / "tmp").mkdir()
    words = [verb, "-c", "tiny.yaml", "--run-dir", "out"]
    two = [start(words, tmp_path) for _ in range(2)]
    ends = [(*process.communicate(), process.returncode) for process in two]
    assert sorted(code for _, _, code in ends) == [0, 1], ends
    (said,) = [err.decode() for _, err, code in ends if code]
    assert any(words in said for words in ("at work in this run folder", "holds a run already", "exists already")), said
    assert script["unreadable"](tmp_path / "out") == []
    assert (tmp_path / "out" / "metrics.jsonl").is_file()
    if verb == "pipeline":
        third = start(words, tmp_path)
        _, err = third.communicate()
        assert third.returncode == 0 and err.count(b"up to date") > 3, err
