"""What a video is made of while it is unfinished: encoded segments in a hidden folder beside the output.

Each segment holds the same number of frames and begins with a picture that needs none before it. When its packets are
on the disk a line is added to the journal, so whoever comes after a kill knows what is whole. The folder is locked by
the process that works in it, and removed when the output has its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from snpe_srgan.artifacts.locks import exclusive
from snpe_srgan.artifacts.own import work_folder
from snpe_srgan.artifacts.staging import discard, mark_of
from snpe_srgan.artifacts.typed import typed
from snpe_srgan.errors import InputError, SnpeSrganError
from snpe_srgan.opener import os_error, read_regular

STATE, JOURNAL, DONE = "state.json", "journal.jsonl", "done.json"
LONGEST = 180  # bytes of the output's name that go into the folder's
MAX_STATE, MAX_JOURNAL = 1 << 20, 1 << 26  # bytes
LATEST = 1 << 53  # time stamp: a century in nanoseconds is less
_HEAD = struct.Struct("<qqI?")  # pts, duration, bytes, key frame


@dataclass(frozen=True)
class Segment:
    """A finished segment. `first` and `last` are its lowest and highest time stamps, `reorder` by how many packets a
    frame comes earlier in the file than on the screen at most, `crc` of the file."""

    index: int
    frames: int
    first: int
    last: int
    reorder: int
    size: int
    crc: int


@dataclass(frozen=True)
class Stored:
    """A packet of the enlarged video, times in units of the source's time base."""

    pts: int
    dts: int
    duration: int
    data: bytes
    key: bool


@dataclass(frozen=True)
class Ending:
    """The source was read to its end: what was wrong with it, how many frames' times were moved, frames read; the time
    stamp of the first frame taken."""

    damage: tuple[str, ...]
    moved: int
    seen: int
    first: int


def place_for(target: Path) -> Path:
    """The hidden folder of an output."""
    name = target.name
    if len(os.fsencode(name)) > LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return target.parent / f".snpe-srgan-{name}.unfinished"


class Workplace:
    """The unfinished state of one output, locked. `segments` are those finished, `ending` is there when all are."""

    def __init__(self, folder: Path, key: dict[str, object], *, restart: bool):
        self.folder = folder
        if restart:
            self._clear()
        state = self._read_state()
        if state is not None and state != key:
            self._refuse(state, key)
        self.segments, self.ending = ([], None) if state is None else self._read_journal()
        if state is None:
            self._clear()
            self._write(STATE, json.dumps(key, indent=1).encode())
        self._rewrite_journal()

    def _read_state(self) -> dict[str, object] | None:
        try:
            state = json.loads(read_regular(self.folder / STATE, limit=MAX_STATE))
        except (InputError, ValueError, RecursionError):
            return None
        return state if isinstance(state, dict) else None

    def _refuse(self, state: dict[str, object], key: dict[str, object]) -> None:
        different = sorted(name for name in {*state, *key} if state.get(name) != key.get(name))
        raise InputError(
            f"an unfinished run for this output had other settings ({', '.join(different)[:120]})",
            where=self.folder,
            hint="the same command as then continues it; --restart starts over",
        )

    def _read_journal(self) -> tuple[list[Segment], Ending | None]:
        """Segments that are whole, in a row from the first; a half-written line ends it."""
        segments: list[Segment] = []
        try:
            lines = read_regular(self.folder / JOURNAL, limit=MAX_JOURNAL).splitlines()
        except InputError:
            return [], None
        for line in lines:
            try:
                entry = json.loads(line)
                if "damage" in entry:
                    return segments, typed(Ending, entry, where=self.folder) if segments else None
                segment = typed(Segment, entry, where=self.folder)
                if segment.index != len(segments) or segment != self._seen(segment.index):
                    break
            except (InputError, OSError, ValueError, TypeError, RecursionError, struct.error):
                break
            segments.append(segment)
        return segments, None

    def _seen(self, index: int) -> Segment:
        """What a segment's file holds, read again; ValueError when its packets do not fill it."""
        crc, size = 0, self.file(index).stat().st_size
        with open(self.file(index), "rb") as file:
            while block := file.read(1 << 20):
                crc = zlib.crc32(block, crc)
            file.seek(0)
            heads = list(_heads(file))
        if sum(_HEAD.size + length for _, _, length, _ in heads) != size or not heads:
            raise ValueError("packets that do not fill the file")
        if any(abs(pts) > LATEST or not 0 <= duration <= LATEST for pts, duration, *_ in heads):
            raise ValueError("times that cannot be")
        return _segment(index, [pts for pts, *_ in heads], size=size, crc=crc)

    def _rewrite_journal(self) -> None:
        lines = [json.dumps(asdict(s)) for s in self.segments] + (
            [] if self.ending is None else [json.dumps(asdict(self.ending))]
        )
        self._write(JOURNAL, "".join(line + "\n" for line in lines).encode())

    @property
    def frames(self) -> int:
        """Frames that need not be made again."""
        return sum(s.frames for s in self.segments)

    @property
    def finished(self) -> Ending:
        """The ending, when all segments are there."""
        if self.ending is None:
            raise SnpeSrganError("the video is not finished", where=self.folder)
        return self.ending

    def file(self, index: int) -> Path:
        """Where the packets of a segment lie."""
        return self.folder / f"{index:06}.packets"

    def _write(self, name: str, data: bytes) -> None:
        temporary = self.folder / (name + ".new")
        with self.guarded(), open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with self.guarded():
            os.replace(temporary, self.folder / name)

    def _append(self, entry: dict[str, object]) -> None:
        with self.guarded(), open(self.folder / JOURNAL, "ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """A full disk, a folder that was removed: one error with the place, and what was finished stays.

        Raises:
            InputError: whatever the operating system refuses inside the block.
        """
        try:
            yield
        except OSError as error:
            raise os_error(error, self.folder, "write the unfinished video") from error

    def begin(self) -> SegmentWriter:
        """The next segment, written packet by packet."""
        return SegmentWriter(self, len(self.segments))

    def add(self, segment: Segment) -> None:
        """Notes in the journal that a segment's file is whole; on the disk when this returns."""
        self._append(asdict(segment))
        self.segments.append(segment)

    def finish(self, ending: Ending) -> None:
        """Notes in the journal that the source was read to its end; on the disk when this returns."""
        self._append(asdict(ending))
        self.ending = ending

    def packets(self, *, step: int) -> Iterator[Stored]:
        """All packets in the order of the encoder, with decoding times for the whole row.

        The encoders of two segments know nothing of each other, so their decoding times may overlap. Here the n-th
        packet is decoded at the n-th lowest presentation time, `reorder` frames earlier, which is never after its own.

        Args:
            step: the distance of two frames, for the times before the first.
        """
        reorder = max((s.reorder for s in self.segments), default=0)
        first = self.segments[0].first if self.segments else 0
        times = deque(first - (reorder - i) * step for i in range(reorder))
        for segment in self.segments:
            with self.guarded(), open(self.file(segment.index), "rb") as file:
                times.extend(sorted(pts for pts, *_ in _heads(file)))
                file.seek(0)
                for pts, duration, size, key in _heads(file, skip=False):
                    yield Stored(pts, times.popleft(), duration, file.read(size), key)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()

    def note_done(self, made: Path) -> None:
        """Before the finished file gets the output's name: what stands there afterwards is this run's own."""
        self._write(DONE, json.dumps(mark_of(os.stat(made))).encode())

    def remove(self) -> None:
        """Removes the folder and all that is in it: the output is finished, or nothing of it is worth keeping."""
        discard(self.folder)


class SegmentWriter:
    """Packets into a file; `close` puts it on the disk and into the journal. One not closed counts as nothing."""

    def __init__(self, work: Workplace, index: int):
        self._work, self._index = work, index
        self._crc = self._size = 0
        self._times: list[int] = []
        with work.guarded():
            self._file = open(work.file(index), "wb")  # noqa: SIM115

    def write(self, packet) -> None:
        """Adds one of the encoder's packets (PyAV's), in the encoder's order.

        Raises:
            InputError: the disk is full, or the folder has gone.
        """
        data = bytes(packet)
        head = _HEAD.pack(packet.pts, packet.duration or 0, len(data), packet.is_keyframe)
        with self._work.guarded():
            for part in (head, data):
                self._file.write(part)
                self._crc, self._size = zlib.crc32(part, self._crc), self._size + len(part)
        self._times.append(packet.pts)

    def close(self, frames: int) -> Segment:
        """Ends the segment, which holds so many frames.

        Raises:
            SnpeSrganError: the encoder gave another number of packets.
        """
        times = self._times
        if len(times) != frames:
            raise SnpeSrganError(f"the encoder gave {len(times)} packets for {frames} frames")
        with self._work.guarded():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        segment = _segment(self._index, times, size=self._size, crc=self._crc)
        self._work.add(segment)
        return segment

    def abandon(self) -> None:
        """Closes the file of a segment that failed; the journal does not name it, so it is made again."""
        with contextlib.suppress(OSError):
            self._file.close()


def _segment(index: int, times: list[int], *, size: int, crc: int) -> Segment:
    """The record of a segment whose packets have these times, in the order of the file."""
    rank = {pts: place for place, pts in enumerate(sorted(times))}
    reorder = max(place - rank[pts] for place, pts in enumerate(times))
    return Segment(index, len(times), min(times), max(times), reorder, size, crc)


def _heads(file, *, skip: bool = True) -> Iterator[tuple[int, int, int, bool]]:
    """(pts, duration, bytes, key frame) of the packets in a file; the data are passed over, or read by the caller."""
    while head := file.read(_HEAD.size):
        fields = _HEAD.unpack(head)
        if skip:
            file.seek(fields[2], os.SEEK_CUR)
        yield fields


def left_by_a_kill(target: Path) -> bool:
    """Whether the output that is there was put there by a run that was killed before it had tidied up."""
    try:
        return json.loads(read_regular(place_for(target) / DONE, limit=MAX_STATE)) == mark_of(os.lstat(target))
    except (InputError, OSError, ValueError, RecursionError):
        return False


@contextlib.contextmanager
def workplace(target: Path, key: dict[str, object], *, restart: bool = False) -> Iterator[Workplace]:
    """The unfinished state for `target`, made or gone on with; another process at the same output is refused.

    Args:
        key: all that the enlarged frames depend on, as plain data: a state of another key is not gone on with.
        restart: what was left there is thrown away.

    Yields:
        A state with the segments that an earlier run has finished. After an expected error it stays, unless it holds no
        frame.

    Raises:
        InputError: another process is at work on the output, or an unfinished run had other settings.
    """
    folder = work_folder(place_for(target))
    with exclusive(folder, "another run is at work on this output", hint="choose another -o"):
        work = Workplace(folder, key, restart=restart)
        try:
            yield work
        except SnpeSrganError as error:
            if not work.frames:
                work.remove()
                raise
            kept = f"{work.frames} frames are kept: the same command goes on there"
            hint = "; ".join(filter(None, (error.hint, kept)))
            raise type(error)(error.what, where=error.where, hint=hint) from error
