"""Standard output and standard error as they may be: closed, full, a pipe that nobody reads, in ASCII.

    with guarded_streams():        # from here on `print` never raises UnicodeEncodeError, and nothing is lost by stderr
        print(printable(name))     # text from outside: no control character reaches the terminal

A remark that cannot be written is dropped, since the work matters more. A result that cannot be written is a
`PrintError`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from snpe_srgan.errors import SnpeSrganError

_JOINERS = "\u200c\u200d"  # parts of words and of emoji
_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (bidi overrides), surrogate, line and paragraph separators


class PrintError(SnpeSrganError):
    """The result could not be written to standard output."""


class Lines(str):
    """Text whose line ends are meant. In any other text they came from outside, and are escaped."""

    @classmethod
    def of(cls, lines: Iterable[str]) -> Lines:
        """Lines of any origin, each of which is to stay one line."""
        return cls("\n".join(printable(line) for line in lines))


def printable(text: str) -> str:
    """The text with every character escaped that would move the cursor, forge a line or turn the text's direction.

    Args:
        text: of any origin. In `Lines` the line ends are kept; a file name's byte that is not in the locale's
            encoding is shown as `\\xe9`.
    """
    if isinstance(text, Lines):
        return "\n".join(printable(line) for line in text.split("\n"))
    if text.isprintable():
        return text
    return "".join(c if c in _JOINERS or unicodedata.category(c) not in _UNSAFE else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


@contextlib.contextmanager
def guarded_streams() -> Iterator[None]:
    """Puts a guard before `sys.stdout` and `sys.stderr`, and /dev/null in the place of closed descriptors.

    Without the latter the next file that is opened would get the number of standard error, and native libraries would
    write their chatter into it.
    """
    _fill_descriptors()
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Guard(out, required=True), _Guard(err, required=False)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def _fill_descriptors() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


class _Guard:
    """A text stream that writes what its encoding lacks as escapes, and fails as its kind of stream should.

    Args:
        stream: None where the process was started without it.
        required: whether a text that cannot be written is an error, or is dropped.
    """

    def __init__(self, stream: TextIO | None, *, required: bool):
        self._stream, self._required = stream, required

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # click would write past this guard
            raise AttributeError(name)
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # click asks in this way whether a stream takes bytes
            raise TypeError("text is needed, not bytes")
        if not text:  # click tries this too, and an error would be lost in its test
            return 0
        if self._stream is None:
            self._lost("it is closed")
            return len(text)
        try:
            self._stream.write(_encodable(text, self._stream.encoding or "utf-8", self._stream.errors or "strict"))
        except (OSError, ValueError) as error:
            self._failed(error)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._failed(error)

    def _failed(self, error: OSError | ValueError) -> None:
        """What is still in the buffers goes to /dev/null: Python writes it out once more when it ends."""
        stream, self._stream = self._stream, None
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())  # type: ignore[union-attr]
            os.close(null)
        if isinstance(error, BrokenPipeError) and self._required:
            raise error
        self._lost(getattr(error, "strerror", None) or str(error))

    def _lost(self, reason: str) -> None:
        if self._required:
            self._required = False  # said once: the error's own JSON object would fail in the same way
            raise PrintError(f"cannot write the result to standard output: {reason}")


def _encodable(text: str, encoding: str, errors: str) -> str:
    try:
        text.encode(encoding, errors)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
