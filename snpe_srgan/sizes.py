"""Sizes of pictures as people type them: `169x255`, height first as everywhere in this project."""

from __future__ import annotations

import re

from snpe_srgan.errors import ConfigError

LARGEST_INPUT = 1 << 24  # pixels of a fixed LR input: 4096x4096


def parse_input_size(text: str, *, where: str = "size") -> tuple[int, int]:
    """As `parse_size`, of a network's fixed input: at most `LARGEST_INPUT` pixels, so that no work for hours begins."""
    height, width = parse_size(text, where=where)
    if height * width > LARGEST_INPUT:
        raise ConfigError(f"{text} is larger than any fixed input: at most {LARGEST_INPUT:,} pixels", where=where)
    return height, width


def parse_size(text: str, *, where: str = "size") -> tuple[int, int]:
    """`HxW` or one number for a square.

    Args:
        text: what was typed; each side is a whole number from 1 to 99999.
        where: the option or key, for the error.

    Returns:
        Height and width in pixels.

    Raises:
        ConfigError: the text is not a size.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:[xX]([1-9][0-9]{0,4}))?", text)
    if not match:
        raise ConfigError(f"{text[:40]!r} is not a size like 169x255 (height x width)", where=where)
    return int(match[1]), int(match[2] or match[1])
