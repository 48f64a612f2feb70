"""What is a video: by its name, or by its first bytes where the name says nothing.

is_video("clip.mp4"), is_video("-")          # the second is standard input
"""

from __future__ import annotations

import os
from pathlib import Path

from snpe_srgan.errors import UsageError
from snpe_srgan.imaging.kinds import HEAD, KNOWN_SUFFIXES, recognize
from snpe_srgan.machine import require

STDIN = "-"
SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".flv", ".wmv",
    ".asf", ".ogv", ".3gp", ".3g2", ".mxf", ".y4m", ".nut", ".h264", ".264", ".hevc", ".h265", ".265", ".ivf", ".obu",
    ".rm", ".rmvb", ".divx", ".f4v", ".dv",
)  # fmt: skip
# Suffix of an output -> libavformat's name of it. Only formats that keep exact times of frames and name their streams.
OUTPUTS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
FALLBACK = ".mkv"  # holds the streams of every other format


def require_av() -> None:
    """Exit code 3 where PyAV is not installed."""
    require("av", what="a video")


def is_video(source: str | os.PathLike) -> bool:
    """Whether an input is a video: standard input (`-`), a video's suffix, or its first bytes for an unknown one."""
    path = Path(source)
    suffix = path.suffix.lower()
    if str(source) == STDIN or suffix in SUFFIXES:
        return not path.is_dir()
    if suffix in KNOWN_SUFFIXES or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            return _magic(file.read(HEAD))
    except OSError:
        return False  # whoever opens it says what is wrong


def _magic(head: bytes) -> bool:
    if recognize(head) is not None:
        return False  # a picture: HEIC and AVIF share their first bytes with MP4
    if head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    return head.startswith((b"\x1a\x45\xdf\xa3", b"FLV\x01", b"YUV4MPEG2", b"\x00\x00\x01\xba", b"OggS"))


def output_format(path: Path) -> str:
    """libavformat's name for an output's suffix; a usage error for one that would lose what the source has."""
    found = OUTPUTS.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"no video is written as '{path.suffix or path.name}'", where=path, hint="-o with " + ", ".join(OUTPUTS)
        )
    return found


def output_suffix(source: Path) -> str:
    """The suffix that an output gets when the user names none."""
    return source.suffix.lower() if source.suffix.lower() in OUTPUTS else FALLBACK
