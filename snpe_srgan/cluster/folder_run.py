"""A folder run on a cluster, from what was typed to the result manifest.

    with connect(parse_cluster("local:4")) as client:
        done = run_on_cluster(client, network, work, results)

Each result is written whole or not at all, and its line goes to the result manifest when it is. The same command goes
on where a run stopped: what the manifest calls done is not looked at again, what failed is tried again, poison stays
aside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snpe_srgan.artifacts.files import TAKEN, require_writable
from snpe_srgan.artifacts.inputs import also_reading, refuse_input
from snpe_srgan.artifacts.staging import recover
from snpe_srgan.cluster.addresses import is_remote, join, names_below
from snpe_srgan.cluster.clusters import Reviver
from snpe_srgan.cluster.dispatch import MOST_DEATHS, Dispatch, Poisoned
from snpe_srgan.cluster.results import DONE, FAILED, POISON, Record, ResultManifest
from snpe_srgan.cluster.work_list import Entry
from snpe_srgan.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, WorkerPlugin

    from snpe_srgan.cluster.worker import Network

EQUIP_TRIES = 5
ERRORS = 10  # that are kept to be shown; all stand in the result manifest


@dataclass
class Progress:
    """How far a run is. Of `total` pictures `before` were done by an earlier run; `found` of the `done` were there,
    whole, without a line in the manifest. `rate` is pictures a second, of this run."""

    total: int
    before: int = 0
    done: int = 0
    found: int = 0
    failed: int = 0
    poison: int = 0
    workers: int = 0
    lost_workers: int = 0
    seconds: float = 0.0

    @property
    def ended(self) -> int:
        """Pictures that nothing more happens to: done before or now, failed, or put aside."""
        return self.before + self.done + self.failed + self.poison

    @property
    def rate(self) -> float:
        """Pictures a second, done and failed in this run; 0 before it has begun."""
        return (self.done + self.failed) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class ClusterRun:
    """What came of it; `errors` are the first of the failures, all are in `results`."""

    progress: Progress
    results: Path
    errors: tuple[tuple[str, ...], ...]
    notes: tuple[tuple[str, str], ...]


def refuse_taken(entries: Sequence[Entry], out: str, *, overwrite: bool, skip_existing: bool) -> None:
    """Before any work: no output may be there already, unless it is to be replaced or skipped; none is an input.

    Args:
        entries: all that is to be done; a target counts as taken where a file of its name is below `out`.
        out: the folder of the results, a path or an address.
        overwrite, skip_existing: either lets a target be there.

    Raises:
        InputError: a target is there already, is one of the inputs, or the folder cannot be written or listed.
    """
    if not is_remote(out):
        require_writable(out)
        recover(out, again=True)
    names = names_below(out)
    taken = [entry for entry in entries if names and _relative(entry.target, out) in names]
    local = [entry.source for entry in entries if not is_remote(entry.source)]
    with also_reading(local if taken else ()):
        for entry in taken:
            if not is_remote(entry.target):
                refuse_input(entry.target)
    if taken and not (overwrite or skip_existing):
        more = f", and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise InputError(
            TAKEN + more, where=taken[0].target, hint="--skip-existing, --overwrite, or another -o: they are of no run "
            "that this result manifest knows",
        )  # fmt: skip


def _relative(target: str, out: str) -> str:
    return target[len(join(out, "")) :]


def run_on_cluster(
    client: Client,
    network: Network,
    entries: Sequence[Entry],
    results: ResultManifest,
    *,
    watch: Callable[[Progress], None] | None = None,
) -> ClusterRun:
    """Enlarges what the result manifest does not call done.

    Args:
        watch: called about once a second.

    Raises:
        MissingToolError, SnpeSrganError: what befalls every picture: an engine that workers lack, a lost scheduler.
    """
    from snpe_srgan.cluster.worker import Enlarging, Outfit

    todo = [entry for entry in entries if results.before.get(entry.target) not in (DONE, POISON)]
    aside = [entry for entry in entries if results.before.get(entry.target) == POISON]
    state = Progress(len(entries), before=len(entries) - len(todo) - len(aside), poison=len(aside))
    errors = [_poisoned(entry).error for entry in aside[:ERRORS]]
    notes: list[tuple[str, str]] = []
    begun, revive = time.monotonic(), Reviver(client)

    def tick(workers: int) -> None:
        revive(workers)
        state.workers, state.lost_workers = workers, dispatch.lost_workers
        state.seconds = time.monotonic() - begun
        if watch is not None:
            watch(state)

    outfit = Outfit(network)
    _equip(client, outfit)
    try:
        dispatch: Dispatch[Entry, Record] = Dispatch(client, Enlarging(outfit.name), name="enlarge", tick=tick)
        for entry, result in dispatch.run(todo):
            record = _poisoned(entry) if isinstance(result, Poisoned) else result
            results.add(record)
            _count(state, record)
            if record.error and len(errors) < ERRORS:
                errors.append(record.error)
            notes += [(record.target, note) for note in record.notes if len(notes) < ERRORS]
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(outfit.name)
    state.seconds, state.lost_workers = time.monotonic() - begun, dispatch.lost_workers
    return ClusterRun(state, results.path, tuple(errors), tuple(notes))


def _equip(client: Client, outfit: WorkerPlugin) -> None:
    """Gives every worker, and each that comes later, the network. One that dies meanwhile is no reason to end."""
    for _ in range(EQUIP_TRIES - 1):
        try:
            client.register_plugin(outfit)
            return
        except OSError:
            time.sleep(1)
    client.register_plugin(outfit)


def _count(state: Progress, record: Record) -> None:
    state.done += record.status == DONE
    state.found += record.found
    state.failed += record.status == FAILED
    state.poison += record.status == POISON


def _poisoned(entry: Entry) -> Record:
    what = f"workers died of this picture ({MOST_DEATHS} tries): it is put aside"
    error = InputError(what, where=entry.source, hint="look at it alone: snpe-srgan run MODEL PICTURE")
    return Record(entry.source, entry.target, status=POISON, error=tuple(error.lines()))
