"""Every failure a user can cause, as one small family of exceptions.

An error answers three questions, one line each: what went wrong, where, and what to type next. The command line
prints them and exits with `exit_code`; a library caller catches `SnpeSrganError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_LINE = 1000  # characters of a line of an error
LONGEST_VALUE = 60  # characters of a wrong value that an error repeats


class SnpeSrganError(Exception):
    """An expected failure (exit code 1).

    Args:
        what: one line, no full stop needed: what went wrong.
        where: the file, key, step or tile it happened at; shown on a line of its own.
        hint: what to type or change next; shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, hint: str | None = None):
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __reduce__(self):
        return (_rebuild, (type(self), self.what, self.where, self.hint))  # crosses process boundaries whole

    def lines(self) -> list[str]:
        """The message as at most three lines."""
        lines = [self.what]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return [line[: len(line) - len(line.lstrip())] + one_line(line) for line in lines]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def one_line(text: str) -> str:
    """Words in a row, cut where they would fill a screen."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_LINE else f"{words[: LONGEST_LINE - 4]} ..."


def _rebuild(kind, what, where, hint):
    return kind(what, where=where, hint=hint)


class InputError(SnpeSrganError):
    """A file, folder or picture that is missing, corrupt or of the wrong kind."""


class ConfigError(SnpeSrganError):
    """A configuration that cannot be used: unknown key, wrong type, contradiction."""

    exit_code = 2


class UsageError(SnpeSrganError):
    """Options that do not go together (what click itself cannot see)."""

    exit_code = 2


class MissingToolError(SnpeSrganError):
    """A package, SDK, tool or device that this machine lacks."""

    exit_code = 3


class CheckFailed(SnpeSrganError):
    """A measured value missed its threshold (a stage's self-check, `--min-psnr`)."""


class Remark(UserWarning):
    """Something that a user must know and that stops nothing, said where no sink is at hand: `warnings.warn`."""


class Finding(Remark):
    """What was found out about a file, said as progress is."""


NO_ROOM = ("failed to map segment", "cannot allocate memory", "cannot create shared object")  # glibc's loader


def cannot_load(error: ImportError) -> SnpeSrganError | None:
    """What to say of a package that is there and cannot be loaded; None when one of our own modules is meant.

    Args:
        error: as Python raised it: a library without the memory for it, a broken installation, a missing package.
    """
    package = (error.name or "").partition(".")[0]
    if package == "snpe_srgan":
        return None
    said = " ".join(str(error).split())[:200]
    if any(words in said.lower() for words in NO_ROOM):
        return SnpeSrganError(
            f"not enough memory to load a library: {said}", hint="raise the limit (ulimit -v), or free some memory"
        )
    return MissingToolError(f"a package cannot be loaded: {said}", hint=f"pip install {package or 'snpe-srgan'}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a misspelt one, or None when nothing is close."""
    matches = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest match if there is one, and all known names."""
    known = sorted(str(k) for k in known)
    match = nearest(name, known)
    choices = "known: " + ", ".join(known)
    return f"did you mean '{match}'? {choices}" if match else choices


def shown(value: object) -> str:
    """A wrong value as an error repeats it: short, however large it is.

    Args:
        value: what somebody wrote, e.g. in a config; of a section or list only the length is shown.
    """
    if isinstance(value, (dict, list, tuple, set)):
        return f"a {'section' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to write out very long numbers
        return "a number with far too many digits"
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"{value[:LONGEST_VALUE]!r} ..."
    return repr(value)
