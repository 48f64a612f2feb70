"""What a .dlc says about how it was made: each tool that worked on it, with its version and arguments.

Format 3 and early format 4 write lines `converter-command=TOOL key=value ...`; late format 4 writes a JSON history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_STEPS = 64
MAX_TEXT = 4000  # characters of one command
NOTHING = ("", "N/A")


@dataclass(frozen=True)
class Step:
    """One tool's run; `command` is the tool with its arguments, as far as the file tells them."""

    tool: str
    version: str
    command: str

    def __str__(self) -> str:
        return f"{self.tool} {self.version}".strip()


def history(metadata: Mapping[str, object]) -> tuple[Step, ...]:
    """The steps in the order in which the file lists them."""
    found: list[Step] = []
    for record in metadata.values():
        if isinstance(record, Mapping):
            found += _lines(record)
            found += _generations(record.get("dlcGenerationInfo"))
    return tuple(found[:MAX_STEPS])


def _lines(record: Mapping) -> Iterator[Step]:
    version = str(record.get("converter-version", ""))
    for key in ("converter-command", "quantizer-command", "optimizer-command"):
        command = str(record.get(key, ""))
        if command not in NOTHING:
            own = version if key.startswith("converter") else str(record.get(key.replace("command", "version"), ""))
            yield Step(command.split(" ", 1)[0][:80], "" if own in NOTHING else own[:80], command[:MAX_TEXT])


def _generations(steps: object) -> Iterator[Step]:
    for step in steps if isinstance(steps, list) else []:
        for command in step.values() if isinstance(step, Mapping) else []:
            if isinstance(command, Mapping) and command.get("tool"):
                tool, arguments = str(command["tool"])[:80], command.get("args")
                version = next((str(v) for k, v in command.items() if str(k).lower().endswith("version")), "")
                pairs = arguments.items() if isinstance(arguments, Mapping) else []
                yield Step(tool, version[:80], " ".join([tool, *(f"{k}={v}" for k, v in pairs)])[:MAX_TEXT])
