"""The kinds of value that a config holds, as types that pydantic checks.

They are strict: `true` is no number, `3` is no text, and `2.0` is no whole number.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field, Strict

from snpe_srgan.errors import ConfigError
from snpe_srgan.sizes import LARGEST_INPUT, parse_size

NAME_BYTES = 100  # a name becomes part of file names, which may have 255 bytes


def _printable(text: str) -> str:
    """Refuses control characters (no file name and no layer holds one) and halves of surrogate pairs."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("must not hold control characters")
    return text


def _file_name(text: str) -> str:
    """Refuses what would lead out of the run folder, or is no file name at all."""
    if text.strip(" .") == "" or text[0] in ".-" or any(character in '/\\:' for character in text):
        raise ValueError("must be a name without / \\ : that does not begin with . or -, as files are named after it")
    if len(text.encode()) > NAME_BYTES:
        raise ValueError(f"must have at most {NAME_BYTES} bytes, as files are named after it")
    return text


def _picture_size(text: str) -> str:
    try:
        height, width = parse_size(text)
    except ConfigError as error:
        raise ValueError(f"must be a size like 169x255 (height x width), not {text[:40]!r}") from error
    if height * width > LARGEST_INPUT:
        raise ValueError(f"must be a size of at most {LARGEST_INPUT:,} pixels, not {text}")
    return text


Whole = Annotated[int, Strict()]
Count = Annotated[Whole, Field(ge=1, le=10**9)]  # 1 or more
Amount = Annotated[Whole, Field(ge=0, le=10**9)]  # 0 or more
Side = Annotated[Whole, Field(ge=1, le=65536)]  # pixels
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Decay = Annotated[Number, Field(ge=0, lt=1)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(max_length=4096), AfterValidator(_printable)]
Name = Annotated[Text, Field(min_length=1), AfterValidator(_file_name)]
PictureSize = Annotated[Text, AfterValidator(_picture_size)]
