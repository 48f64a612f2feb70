"""Commands that are killed at random moments: the same command then goes on, and nothing of the killed one stays.

`scripts/kill_runs` is the same at any length; here it runs at its smallest.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
