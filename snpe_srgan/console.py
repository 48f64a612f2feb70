"""The one place that prints: results for people or one JSON object on stdout, everything else on stderr.

output = Output(as_json=True)
output.note("loading ...")            # stderr
output.result(report, text=lines)     # stdout: the text, or the JSON object

All text may hold what came from outside (names of files, words of a card): it is escaped here, where it is printed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence

from snpe_srgan.artifacts.plain import to_plain
from snpe_srgan.progress import Telling, draws
from snpe_srgan.streams import Lines, printable

SCHEMA_VERSION = 1
NUMBER = re.compile(r"[-+<>~]?\d|-$|nan$|inf$")  # what a cell of a column of numbers begins with


@dataclasses.dataclass
class Output:
    """Where a command's words go."""

    as_json: bool = False
    verbose: bool = False
    quiet: bool = False

    @functools.cached_property
    def say(self) -> Telling:
        """What functions say their remarks by, and show by how far they are (`progress.track`)."""
        return Telling(say, quiet=self.quiet, terminal=draws(sys.stderr))

    def note(self, text: str) -> None:
        """A remark, on stderr."""
        self.say(text)

    def warn(self, text: str) -> None:
        """A remark that `-q` does not silence."""
        self.say.loud(f"warning: {text}")

    def error(self, lines: Sequence[str]) -> None:
        """An error beside a result that is still printed (one picture of many); the caller exits with its code."""
        say_error(lines)

    def result(self, value: object, *, text: str | Iterable[str]) -> None:
        """The command's result: `value` (dataclass or plain data) as one JSON object, or `text` for people.

        `text` is a line, or several; `Lines` (e.g. a `table`) is one that holds line ends of its own.
        """
        if self.as_json:
            data = to_plain(value)
            if not isinstance(data, dict):
                data = {"result": data}
            print(json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False), flush=True)
        else:
            lines = [text] if isinstance(text, str) else text
            print(Lines.of(lines), flush=True)


def say(text: str) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def say_error(lines: Sequence[str]) -> None:
    """An error on stderr: what, where, what to type next."""
    say(Lines(f"error: {Lines.of(lines)}"))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Lines:
    """A plain text table: columns of numbers to the right, all others to the left."""
    cells = [[printable(str(c)) for c in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numbers = [i > 0 and all(NUMBER.match(row[i]) for row in cells[1:] if row[i]) for i in range(len(header))]
    lines = [
        "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numbers, strict=True))
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return Lines("\n".join(line.rstrip() for line in lines))


def fail(output: Output, code: int, lines: Sequence[str], error: BaseException | None = None) -> None:
    """Prints an error by the contract (at most three lines; a JSON object with --json) and ends the process.

    Args:
        code: the exit code.
        lines: what, where, what to type next.
        error: whose traceback is printed with -v or SNPE_SRGAN_DEBUG=1.

    Raises:
        SystemExit: always, with `code`.
    """
    if error is not None and (output.verbose or os.environ.get("SNPE_SRGAN_DEBUG") == "1"):
        say(Lines("".join(traceback.format_exception(error)).rstrip()))
    say_error(lines)
    if output.as_json:
        print(json.dumps({"schema_version": SCHEMA_VERSION, "error": list(lines), "exit_code": code}), flush=True)
    raise SystemExit(code)
