"""What happens on a worker: one session a process, opened for the first picture and kept; one picture after the other.

The network travels as the bytes of its file, by Dask's plugin for workers: each worker gets it when it starts, also one
that takes a dead one's place.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from snpe_srgan import __version__
from snpe_srgan.artifacts.card import card_path
from snpe_srgan.artifacts.files import sha256
from snpe_srgan.artifacts.staging import Scratch
from snpe_srgan.cluster.addresses import exists, fetch, is_remote, path_of, publish
from snpe_srgan.cluster.results import DONE, FAILED, Record
from snpe_srgan.cluster.work_list import Entry
from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.machine import share_memory
from snpe_srgan.onnx_graphs.boundary import Said
from snpe_srgan.opener import read_regular
from snpe_srgan.runtimes.enlarge import Enlarged, Job, enlarge_one, error_lines, is_whole
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.session import Session
from snpe_srgan.toolchains.socs import DEFAULT
from snpe_srgan.zoo.named import WEIGHTS
from snpe_srgan.zoo.resolve import RUNNABLE, ModelFile, resolve

LARGEST_MODEL = 1 << 31  # bytes


@dataclass(frozen=True)
class Packed:
    """A model's file as it travels: names and bytes of it and of its card; `digest` is its SHA-256."""

    files: tuple[tuple[str, bytes], ...]
    digest: str

    def unpack(self, folder: Path) -> ModelFile:
        """The file in `folder`; where the package has the same one, that, as it needs no child to run in."""
        shipped = WEIGHTS / self.files[0][0]
        if shipped.is_file() and sha256(shipped) == self.digest:
            return resolve(shipped, kinds=RUNNABLE)
        for name, data in self.files:
            (folder / name).write_bytes(data)
        return resolve(folder / self.files[0][0], kinds=RUNNABLE)


def pack(file: ModelFile) -> Packed:
    """A model's file, and its card where it has one."""
    card = card_path(file.path)
    files = [(file.path.name, read_regular(file.path, limit=LARGEST_MODEL, doing="read the model"))]
    if file.card is not None and card.is_file():
        files.append((card.name, read_regular(card, limit=1 << 24)))
    return Packed(tuple(files), sha256(file.path))


@dataclass(frozen=True)
class Network:
    """A network and how it is run: all that a worker needs to open it as the client does.

    Attributes:
        on, engine, precision, chip: of `open_session`.
        threads: of a session; None for as many as Dask says the worker has.
        said: what the user says of a foreign network's ends.
        tile, overlap, overwrite: as options of `run`.
        workers: worker processes that share a machine's memory, as far as that is known.
        version: of this package; workers of another one refuse to work.
    """

    model: Packed
    on: str = "host"
    engine: str = "auto"
    precision: str = "f32"
    chip: str | None = None
    threads: int | None = None
    said: Said = Said()  # noqa: RUF009 - it cannot be changed
    overlap: int | None = None
    tile: tuple[int, int] | None = None
    overwrite: bool = False
    workers: int = 1
    version: str = __version__

    def open(self, file: ModelFile, *, threads: int | None) -> Session:
        """The session, in this process."""
        session = open_session(
            replace(file, said=self.said or file.said), on=self.on, engine=self.engine, precision=self.precision,
            chip=self.chip or DEFAULT,
            threads=None if self.on == "emulator" else threads,
        )  # fmt: skip
        if self.overlap is not None:
            session.shorten_overlap(self.overlap)
        return session


class Outfit(WorkerPlugin):
    """A worker's network. Dask keeps it on the scheduler and sets it up in each worker that starts."""

    def __init__(self, network: Network):
        self.network = network
        self.name = f"snpe-srgan-{network.model.digest[:16]}-{os.urandom(4).hex()}"
        self._client = os.getpid()
        self._session: Session | None = None
        self._scratch: Scratch | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"network": self.network, "name": self.name, "_client": self._client}

    def setup(self, worker: Worker) -> None:
        self._lock, self._session, self._scratch = threading.Lock(), None, None
        self._address, self._threads = worker.address, worker.state.nthreads
        if os.getpid() != self._client:  # a process of its own
            os.dup2(2, 1)  # standard output belongs to the client's result
            share_memory(self.network.workers)

    def teardown(self, worker: Worker) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
            if self._scratch is not None:
                self._scratch.cleanup()
            self._session = self._scratch = None

    def enlarge(self, entries: Sequence[Entry]) -> list[Record]:
        """One after the other: the session has all the threads of this worker."""
        with self._lock:
            return [self._enlarge(entry) for entry in entries]

    def _opened(self) -> Session:
        if self._session is None:
            network = self.network
            if network.version != __version__:
                raise SnpeSrganError(
                    f"this worker has snpe-srgan {__version__}, and the client {network.version}", where=self._address,
                    hint="install the same version",
                )  # fmt: skip
            self._scratch = Scratch()
            file = network.model.unpack(Path(self._scratch.name))
            self._session = network.open(file, threads=network.threads or self._threads)
        return self._session

    def _enlarge(self, entry: Entry) -> Record:
        begun = time.perf_counter()
        session = self._opened()  # what it raises befalls every picture
        record = Record(entry.source, entry.target, worker=self._address)
        try:
            if is_remote(entry.source) or is_remote(entry.target):
                with Scratch() as folder:
                    record = self._remote(session, entry, record, Path(folder))
            else:
                record = self._local(session, Job(Path(entry.source), Path(entry.target)), record)
        except (MissingToolError, UsageError):
            raise
        except SnpeSrganError as error:
            record = replace(record, status=FAILED, error=error_lines(error, entry.source))
        except Exception as error:  # a defect of ours or of a library: it stops no list of a million
            what = f"unforeseen: {type(error).__name__}: {error}"
            record = replace(record, status=FAILED, error=tuple(SnpeSrganError(what, where=entry.source).lines()))
        return replace(record, seconds=time.perf_counter() - begun)

    def _local(self, session: Session, job: Job, record: Record) -> Record:
        if not self.network.overwrite and is_whole(job, session.scale):
            return replace(record, found=True)
        done = enlarge_one(session, job, tile=self.network.tile, overwrite=self.network.overwrite)
        return _filled(record, done)

    def _remote(self, session: Session, entry: Entry, record: Record, folder: Path) -> Record:
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        source = fetch(entry.source, folder / "in")
        if not is_remote(entry.target):
            return self._local(session, Job(source, Path(entry.target)), record)
        if not self.network.overwrite and exists(entry.target):
            there = fetch(entry.target, folder / "out")
            if is_whole(Job(source, there), session.scale):
                return replace(record, found=True)
            raise InputError("the output exists already, and it is not this picture's", where=entry.target)
        made = folder / "out" / path_of(entry.target).name
        done = enlarge_one(session, Job(source, made), tile=self.network.tile)
        publish(made, entry.target)
        return _filled(record, done)


def _filled(record: Record, done: Enlarged) -> Record:
    return replace(
        record, status=DONE, lr_size=done.lr_size, sr_size=done.sr_size, inference_seconds=done.inference_seconds,
        tiling=done.tiling.value, notes=done.notes,
    )  # fmt: skip


@dataclass(frozen=True)
class Enlarging:
    """The work that `Dispatch` deals: entries through the outfit of the worker it runs on."""

    outfit: str

    def __call__(self, entries: Sequence[Entry]) -> list[Record]:
        outfit = get_worker().plugins.get(self.outfit)
        if not isinstance(outfit, Outfit):
            raise SnpeSrganError("the worker has not got the network", where=get_worker().address)
        return outfit.enlarge(entries)
