"""Which SDK this is: a version and a flavour decide what the tools are called and what they take.

parse_release("1.68.0.3932").flavour        # 'snpe1'
parse_release("2.31.0", qairt=True)         # the merged SDK, with qairt-converter
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from snpe_srgan.errors import InputError

SNPE1, SNPE2, QAIRT = "snpe1", "snpe2", "qairt"
TITLES = {SNPE1: "SNPE", SNPE2: "SNPE", QAIRT: "QAIRT"}
OLDEST = (1, 25)

# (from this version on, Python versions that its converters are written for, the best first)
PYTHONS = (
    ((1, 0), ("3.6", "3.5", "3.4")),
    ((2, 0), ("3.8", "3.10", "3.6")),
    ((2, 20), ("3.10", "3.8")),
)


@dataclass(frozen=True)
class Release:
    """An SDK's version, as numbers, and its flavour: `snpe1` (1.x), `snpe2` (2.x), `qairt` (2.x with QAIRT's tools)."""

    version: tuple[int, ...]
    flavour: str

    @property
    def number(self) -> str:
        """The version as text, '2.31.0'."""
        return ".".join(map(str, self.version))

    @property
    def pythons(self) -> tuple[str, ...]:
        """The Python versions that the converters (Python programs) are written for, the best first."""
        return next(pythons for since, pythons in reversed(PYTHONS) if self.version >= since)

    def __str__(self) -> str:
        return f"{TITLES[self.flavour]} {self.number}"


def parse_release(text: str, *, qairt: bool = False, where: object = None) -> Release:
    """The release of a version as text ('2.9.0.4462', 'v1.68.0', 'snpe-1.25.0.287'); `InputError` without one.

    Args:
        text: the first version in it counts.
        qairt: whether the SDK holds QAIRT's tools; a 2.x is `snpe2` without them.
        where: the file or folder that the text came from, for the error.

    Raises:
        InputError: the text holds no version, or one before 1.25 or after 2.x.
    """
    found = re.search(r"(?<![\d.])v?(\d+)\.(\d+)((?:\.\d+)*)", text)
    if not found:
        raise InputError(f"'{text[:80]}' is no SDK version", where=where, hint="a version looks like 2.31.0.250130")
    version = tuple(int(part) for part in (found[1], found[2], *found[3].split(".")[1:]))
    if version < OLDEST or version[0] > 2:
        raise InputError(
            f"SDK version {'.'.join(map(str, version))} is not known", where=where, hint="SNPE 1.25 to 1.68, 2.x, QAIRT"
        )
    return Release(version, QAIRT if qairt else SNPE1 if version[0] == 1 else SNPE2)
