"""Runs a verb in this process, as the console script does, and keeps what it printed."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass

from snpe_srgan.cli.root import main


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


def snpe_srgan(*arguments: object) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(a) for a in arguments])
            code = 0
        except SystemExit as end:
            code = end.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


def assert_error(outcome: Outcome, code: int, *words: str) -> None:
    """An error by the contract: the exit code, at most three lines, no traceback, and these words in it."""
    assert outcome.code == code, outcome
    lines = outcome.err[outcome.err.rindex("error: ") :].strip().splitlines()
    assert len(lines) <= 3 and "Traceback" not in outcome.err, outcome.err
    for word in words:
        assert word.lower() in outcome.err.lower(), (word, outcome.err)
