"""What is to be enlarged, and where each result goes: from folders, patterns, addresses and manifests.

A manifest is JSON lines: an address, or an object with a name for its result.

    "photos/1.jpg"
    {"source": "s3://bucket/2.jpg", "target": "second/2.png"}

Paths in it are relative to its own folder, targets to `-o`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from snpe_srgan.cluster.addresses import fetch, find, is_remote, join, normal, path_of
from snpe_srgan.errors import InputError, SnpeSrganError, UsageError, did_you_mean, shown
from snpe_srgan.imaging.pictures import output_format
from snpe_srgan.opener import open_regular
from snpe_srgan.runtimes.enlarge import find_pictures, target_names

MANIFEST = ".jsonl"
KEYS = ("source", "target")
LONGEST_LINE = 1 << 16  # bytes; an address has some hundred


@dataclass(frozen=True)
class Entry:
    """One picture: the address it is read from, and the address its enlargement is written to."""

    source: str
    target: str


@dataclass(frozen=True)
class WorkList:
    """Entries in order, each source once; `passed_over` says what a folder holds beside its pictures."""

    entries: tuple[Entry, ...]
    passed_over: str | None = None


@dataclass(frozen=True)
class _Wish:
    """A picture as it was asked for; `target` is the name that a manifest gives its result."""

    source: str
    target: str | None = None
    where: str = ""


def is_manifest(typed: str) -> bool:
    """Whether a path or address is that of a manifest, by its suffix."""
    return path_of(typed).suffix.lower() == MANIFEST


def make_work_list(typed: Sequence[str], *, out: str, scale: int) -> WorkList:
    """The work that was typed.

    Args:
        typed: files, folders, patterns, remote addresses of these, and manifests.
        out: the folder of the results, a path or an address.

    Raises:
        InputError: there are no pictures, or a manifest cannot be read.
        UsageError: two pictures would get one name.
    """
    wishes: dict[tuple[str, str | None], _Wish] = {}
    local: list[str] = []
    for word in typed:
        if is_manifest(word):
            found: Iterable[_Wish] = _read_manifest(word)
        elif is_remote(word):
            found = map(_Wish, find(word))
        else:
            local.append(word.removeprefix("file://"))
            continue
        for wish in found:
            wishes.setdefault((wish.source, wish.target), wish)
    pictures, passed_over = find_pictures(local) if local else ([], None)
    for picture in pictures:
        source = normal(str(picture))
        wishes.setdefault((source, None), _Wish(source))
    if not wishes:
        raise InputError("the work list is empty", where=", ".join(typed))
    return WorkList(_with_targets(list(wishes.values()), normal(out), scale), passed_over)


def _with_targets(wishes: list[_Wish], out: str, scale: int) -> tuple[Entry, ...]:
    unnamed = [path_of(wish.source) for wish in wishes if wish.target is None]
    names = iter(target_names(unnamed, scale))
    entries: list[Entry] = []
    taken: dict[str, _Wish] = {}
    for wish in wishes:
        name = next(names) if wish.target is None else wish.target
        other = taken.setdefault(name.casefold(), wish)
        if other is not wish:
            raise UsageError(
                f"two pictures would both become {name}", where=f"{other.source} and {wish.source}",
                hint="give one of them another \"target\" in the manifest",
            )  # fmt: skip
        entries.append(Entry(wish.source, join(out, name)))
    return tuple(entries)


def _read_manifest(address: str) -> list[_Wish]:
    with tempfile.TemporaryDirectory(prefix="snpe-srgan-manifest-") as folder:
        path = fetch(normal(address), Path(folder))
        base = address.rpartition("/")[0] if is_remote(address) else os.path.dirname(normal(address))
        wishes = []
        with open_regular(path, doing="read the manifest") as file:
            for number in range(1, 1 << 62):
                line = file.readline(LONGEST_LINE + 1)
                if not line:
                    break
                if line.strip():
                    wishes.append(_wish(line, base, f"{address}, line {number}"))
    return wishes


def _wish(line: bytes, base: str, where: str) -> _Wish:
    if len(line) > LONGEST_LINE:
        raise InputError(f"a line of more than {LONGEST_LINE} bytes is no entry of a manifest", where=where)
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a line of JSON: {error}"[:200], where=where, hint='"photos/1.jpg"') from error
    if isinstance(value, str):
        value = {"source": value}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise InputError(
            f"an entry is an address or an object of texts, not {shown(value)}", where=where,
            hint='{"source": "photos/1.jpg", "target": "1.png"}',
        )  # fmt: skip
    for key in value:
        if key not in KEYS:
            raise InputError(f"unknown key '{key[:40]}'", where=where, hint=did_you_mean(key, KEYS))
    source = value.get("source", "")
    if not source or "\0" in source:
        raise InputError('"source" is missing or empty', where=where)
    return _Wish(normal(source if "://" in source else join(base, source)), _target(value.get("target"), where), where)


def _target(name: str | None, where: str) -> str | None:
    """A name below the folder of the results, with a suffix that can be written."""
    if name is None:
        return None
    path = PurePosixPath(name)
    if "\0" in name or "://" in name or path.is_absolute() or PurePath(name).is_absolute() or ".." in path.parts:
        raise InputError(f"a target is a name below -o, not {shown(name)}", where=where)
    try:
        output_format(str(path))
    except SnpeSrganError as error:
        raise type(error)(error.what, where=where, hint=error.hint) from error
    return str(path)
