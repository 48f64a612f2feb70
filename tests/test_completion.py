"""Completion: the scripts are taken by their shells, and verbs, options and values come back."""

import os
import shutil
import subprocess
import sys

import pytest
from helpers_cli import assert_error, snpe_srgan

from snpe_srgan.cli.completion import SHELLS


def asked(words: str) -> list[str]:
    """What bash is offered for the last of these words, by a process of its own, as a shell asks."""
    environment = {
        **os.environ, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_SNPE_SRGAN_COMPLETE": "bash_complete",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "snpe_srgan"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done
    return [line.split(",", 1)[1] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    "words,expected",
    [("snpe-srgan comp", ["compare", "completion", "compress"]), ("snpe-srgan run --skip", ["--skip-existing"]),
     ("snpe-srgan run --on e", ["emulator"]), ("snpe-srgan completion z", ["zsh"]), ("snpe-srgan nonsense", [])],
)  # fmt: skip
def test_offers(words, expected):
    assert sorted(asked(words)) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_script(shell):
    outcome = snpe_srgan("completion", shell)
    assert outcome.code == 0 and "_SNPE_SRGAN_COMPLETE=" in outcome.out.replace(f"{shell}_complete", "")
    assert snpe_srgan("completion", shell, "--json").json["script"].strip() == outcome.out.strip()
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=outcome.out, text=True, check=False).returncode == 0


def test_unknown_shell():
    assert_error(snpe_srgan("completion", "csh"), 2, "csh")


def test_a_question_that_is_none_is_answered_with_nothing(monkeypatch):
    monkeypatch.setenv("_SNPE_SRGAN_COMPLETE", "x")
    outcome = snpe_srgan()
    assert outcome.code == 0 and not outcome.out.strip()
