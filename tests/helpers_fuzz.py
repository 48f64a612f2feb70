"""Damaged copies of files, and what the program makes of them. Used by the tests and by `scripts/fuzz`.

A kind of file (`helpers_fuzz_kinds.py`) says how a whole one is made, how it is injured and how it is read. Here is
what all kinds share: the injuries, and a child process that reads one copy after the other and is watched meanwhile.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import resource
import select
import signal
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snpe_srgan.confined.worker import MARK
from snpe_srgan.errors import SnpeSrganError

EDGES = (0, 1, 2, 3, 4, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)
VALUES = (
    None, True, False, 0, 1, -1, 2, 255, 65536, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.0, -0.5, 1.5, 1e308,
    1e-320, "", "a", "x" * 5000, "../../x", "a/b", "a\0b", "\x1b[2J\r\n", "\u202eabc", "\ud800", "nan", "1e9",
    "2024-99-99", [], {}, [0], [[]], [1, 2, 3, 4, 5], ["a"] * 300, {"a": 1}, {"": None},
)  # fmt: skip


PATIENCE = 15.0  # seconds, see Kind.native
STANDING = 5.0


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        suffix: of the damaged copies, e.g. ".npz".
        make: writes whole files into a folder and returns their bytes.
        injure: a damaged copy of such bytes.
        read: does all that the program does with such a file; SnpeSrganError is the refusal that is wanted.
        seconds: a copy may take this long (see `_wait`).
        megabytes: and the process that reads it may grow to this.
        native: other people's libraries read it, which the program keeps in a child process of its own. Here they
            read in the process that serves all copies, so that they are loaded once; a copy that ends it, or that
            holds it up for `PATIENCE` seconds, is then read again as the program does it, and that is what counts.
    """

    name: str
    suffix: str
    make: Callable[[Path], list[bytes]]
    injure: Callable[[bytes, np.random.Generator], bytes]
    read: Callable[[Path], None]
    seconds: float = 10.0
    megabytes: int = 2000
    native: bool = False
    warm: Callable[[], None] = bool  # loads what every child would load; it must start no thread


class Unforeseen(Exception):
    """The program failed in a way that it does not know."""


def injure_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four random injuries: bits, edge numbers, lost or repeated bytes, the end cut off."""
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(len(damaged), 1)))
        kind = rng.integers(0, 7) if rng.integers(0, 30) else 7
        if kind <= 1 and damaged:
            damaged[at] ^= 1 << int(rng.integers(0, 8))
        elif kind <= 3:
            number = EDGES[rng.integers(0, len(EDGES))]
            damaged[at : at + 4] = struct.pack("<I" if rng.integers(0, 2) else ">I", number)
        elif kind == 4:
            damaged[at : at + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 5:
            del damaged[at : at + int(rng.integers(1, 100))]
        elif kind == 6:
            damaged[at:at] = damaged[at : at + int(rng.integers(1, 100))]
        else:
            del damaged[at:]
    return bytes(damaged)


def injure_json(value: object, rng: np.random.Generator) -> object:
    """A copy of plain data with one to three places changed, lost, doubled or exchanged."""
    value = copy.deepcopy(value)
    for _ in range(rng.integers(1, 4)):
        places = list(_places(value))
        if not places:
            return VALUES[rng.integers(0, len(VALUES))]
        holder, key = places[rng.integers(0, len(places))]
        kind = rng.integers(0, 8)
        if kind <= 4:
            holder[key] = copy.deepcopy(VALUES[rng.integers(0, len(VALUES))])
        elif kind == 5:
            del holder[key]
        elif kind == 6:
            other, name = places[rng.integers(0, len(places))]
            holder[key] = copy.deepcopy(other[name])
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[str(key) + "x"] = holder.pop(key)
    return value


def _places(value: object) -> Iterator[tuple[dict | list, object]]:
    """(holder, key) of everything in plain data."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key, item in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, key
            if isinstance(item, (dict, list)) and item:
                waiting.append(item)


def injure_json_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Damaged JSON: in half of the copies the text, in the others what it says."""
    if rng.integers(0, 3) == 0:
        return injure_bytes(data, rng)
    return json.dumps(injure_json(json.loads(data), rng)).encode()


def injure_protobuf(data: bytes, rng: np.random.Generator) -> bytes:
    """A damaged protobuf message: mostly whole on the wire, with other contents."""
    if rng.integers(0, 4) == 0:
        return injure_bytes(data, rng)
    for _ in range(rng.integers(1, 4)):
        data = _injure_message(data, rng, depth=0)
    return data


def _injure_message(data: bytes, rng: np.random.Generator, *, depth: int) -> bytes:
    fields = _wire(data)
    if not fields:
        return injure_bytes(data, rng)
    at = int(rng.integers(0, len(fields)))
    number, wire, value = fields[at]
    if wire == 2 and depth < 8 and rng.integers(0, 5):  # mostly go deeper
        inner = _wire(value)
        if inner and all(1 <= n <= 100 for n, _, _ in inner):
            fields[at] = (number, wire, _injure_message(value, rng, depth=depth + 1))
            return _unwire(fields)
    kind = rng.integers(0, 6)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields.insert(int(rng.integers(0, len(fields) + 1)), fields[at])
    elif kind == 2:
        other = int(rng.integers(0, len(fields)))
        fields[at], fields[other] = fields[other], fields[at]
    elif kind == 3:
        fields[at] = (int(rng.integers(1, 21)), wire, value)
    elif wire == 0:
        fields[at] = (number, wire, int(rng.choice([0, 1, 2, 3, 7, 127, 1 << 20, (1 << 31) - 1, (1 << 63) - 1])))
    elif wire == 2 and kind == 4:
        texts = [item for n, w, item in fields if w == 2]
        fields[at] = (number, wire, texts[rng.integers(0, len(texts))])
    else:
        fields[at] = (number, wire, injure_bytes(value, rng) if isinstance(value, bytes) else value)
    return _unwire(fields)


def _wire(data: bytes) -> list[tuple[int, int, bytes | int]] | None:
    """The fields of a message, or None when it is none."""
    fields, at = [], 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        elif wire == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            return None
        if at > len(data) or number == 0:
            return None
        fields.append((number, wire, value))
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    return 0, len(data) + 1


def _pack_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _unwire(fields: list[tuple[int, int, bytes | int]]) -> bytes:
    out = bytearray()
    for number, wire, value in fields:
        out += _pack_varint(number << 3 | wire)
        if wire == 0:
            out += _pack_varint(value)
        else:
            out += (_pack_varint(len(value)) if wire == 2 else b"") + value
    return bytes(out)


def copies(kind: Kind, originals: list[bytes], *, start: int, count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """(index, damaged bytes): the same for the same seed and index, whatever came before."""
    for index in range(start, start + count):
        yield index, kind.injure(originals[index % len(originals)], np.random.default_rng((seed, index)))


@dataclass(frozen=True)
class Verdict:
    """What became of one copy: `problem` is None for one that was read or properly refused; `ended`: the process
    that read it did not outlive it."""

    index: int
    refused: bool
    problem: str | None
    ended: bool = False
    data: bytes | None = None  # of a bad copy


def fuzz(kind: Kind, folder: Path, *, count: int, seed: int = 0, start: int = 0) -> Iterator[Verdict]:
    """Reads damaged copies of a kind in a child process, which is started anew when it dies, hangs or grows."""
    originals = in_child(lambda: kind.make(folder))
    at, last = start, start + count
    kind.warm()
    quick = replace(kind, seconds=min(kind.seconds, PATIENCE)) if kind.native else kind
    while at < last:
        for verdict in _watched(quick, originals, folder, at, last - at, seed):
            if kind.native and verdict.ended:
                verdict = next(_watched(replace(kind, native=False), originals, folder, verdict.index, 1, seed))
            at = verdict.index + 1
            if verdict.problem is not None:
                _, data = next(copies(kind, originals, start=verdict.index, count=1, seed=seed))
                verdict = replace(verdict, data=data)
            yield verdict


def in_child(work: Callable[[], object]):
    """What `work` returns, done in a forked child: no library with threads may be loaded before `_watched` forks."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(write_end, "wb") as answer:
                pickle.dump(work(), answer)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        result = pickle.load(answer)
    os.waitpid(child, 0)
    return result


def _watched(kind: Kind, originals, folder: Path, start: int, count: int, seed: int) -> Iterator[Verdict]:
    """The verdicts of one child; ends after the copy that it does not outlive."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            if kind.native:
                os.environ[MARK] = "1"
            os.dup2(os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)  # libraries' last words
            with os.fdopen(write_end, "wb") as answers:
                for index, data in copies(kind, originals, start=start, count=count, seed=seed):
                    answers.write(pickle.dumps(judge(kind, folder, index, data)))
                    answers.flush()
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(write_end)
    index = start
    try:
        with os.fdopen(read_end, "rb", buffering=0) as answers:
            while index < start + count:
                problem = _wait(answers, child, kind)
                if problem is not None:
                    yield Verdict(index, False, problem, ended=True)
                    return
                try:
                    verdict = pickle.load(answers)
                except EOFError:
                    _, status = os.waitpid(child, 0)
                    child = 0
                    yield Verdict(index, False, f"the process died (status {status})", ended=True)
                    return
                yield verdict
                index += 1
    finally:
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _wait(answers, child: int, kind: Kind) -> str | None:
    """Waits for the child's next answer; what went wrong, or None.

    On a busy machine a second of the clock is little work: the time that a copy may take is counted in seconds in
    which the child computed, and `STANDING` times as many by the clock.
    """
    began, computed = time.monotonic(), _computed(child)
    while not select.select([answers], [], [], 0.02)[0]:
        waited = time.monotonic() - began
        if waited > kind.seconds and (_computed(child) - computed > kind.seconds or waited > STANDING * kind.seconds):
            return f"took over {kind.seconds:g} s"
        try:
            pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # it has ended: the pipe says so next
        if pages * resource.getpagesize() > kind.megabytes << 20:
            return f"took over {kind.megabytes} MB"
    return None


def _computed(child: int) -> float:
    """Seconds that a process has computed; 0 when it has ended."""
    try:
        words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def judge(kind: Kind, folder: Path, index: int, data: bytes) -> Verdict:
    """Reads one copy in this process."""
    path = folder / f"damaged{kind.suffix}"
    path.write_bytes(data)
    try:
        kind.read(path)
    except SnpeSrganError as error:
        problem = None
        if isinstance(error.__cause__, MemoryError):
            problem = "asked for too much memory"
        elif len(error.lines()) > 3 or max(map(len, error.lines())) > 1000:
            problem = f"a message of {len(str(error))} characters"
        return Verdict(index, True, problem)
    except Unforeseen as error:
        return Verdict(index, False, str(error)[:300])
    except Exception as error:
        return Verdict(index, False, f"{type(error).__name__}: {error}"[:300])
    return Verdict(index, False, None)
