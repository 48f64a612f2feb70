"""From what `--cluster` says to a Dask client: processes here, a scheduler somewhere, or jobs of a batch system.

| says | is |
|---|---|
| `local:4`, `local` | 4 worker processes on this machine; one for each core |
| `local:0` | one worker within this process, for a look at what happens |
| `tcp://10.0.0.1:8786`, `10.0.0.1:8786` | a scheduler that is running (`dask scheduler`, Kubernetes, Coiled, ...) |
| `slurm.yaml` | jobs of SLURM, PBS, LSF, SGE, OAR, HTCondor or Moab, by dask-jobqueue |
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snpe_srgan.config.yaml_text import MAX_BYTES, YamlError, read_yaml
from snpe_srgan.errors import ConfigError, MissingToolError, SnpeSrganError, UsageError, did_you_mean
from snpe_srgan.machine import installed, usable_threads
from snpe_srgan.opener import read_text

if TYPE_CHECKING:
    from distributed import Client

PIP = "pip install 'snpe-srgan[cluster]'"
KINDS = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster", "oar": "OARCluster",
    "htcondor": "HTCondorCluster", "moab": "MoabCluster",
}  # fmt: skip
CONNECT_SECONDS = 30
STARTS = 3  # tries to start workers here
REVIVE_SECONDS = 20  # more than the 15 after which Dask gives a worker up

# A call that ends with its worker comes back at once, to be counted and tried alone; a worker holds no call in reserve,
# so that none is blamed for what another did.
OWN_SCHEDULER = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "logging": {"distributed": "critical", "tornado": "critical"},
}


@dataclass(frozen=True)
class Wanted:
    """What `--cluster` says.

    Attributes:
        kind: `local`, `address`, or a batch system of KINDS.
        workers: worker processes on this machine; jobs of a batch system.
        adapt: of a batch system: at most `workers` jobs, and only while there is work.
        options: of dask-jobqueue's class.
    """

    kind: str
    address: str = ""
    workers: int = 1
    adapt: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def threads(self) -> int | None:
        """Threads of a session; None for what Dask says a worker has."""
        if self.kind == "local":
            return max(1, usable_threads() // max(1, self.workers))
        if self.kind == "address":
            return None
        return max(1, int(self.options.get("cores", 1)) // self.processes)

    @property
    def processes(self) -> int:
        """Worker processes that share one machine's memory, as far as that is known."""
        if self.kind == "local":
            return max(1, self.workers)
        return 1 if self.kind == "address" else max(1, int(self.options.get("processes", 1)))


def parse_cluster(text: str) -> Wanted:
    """What was typed.

    Raises:
        UsageError: it is no cluster.
        ConfigError: a file that is not as it must be.
    """
    if match := re.fullmatch(r"local(?::(\d{1,4}))?", text):
        return Wanted("local", workers=usable_threads() if match[1] is None else int(match[1]))
    if text.endswith((".yaml", ".yml")):
        return _read_file(text)
    if re.fullmatch(r"\w+://[^\s/]+:\d+(/\S*)?|[\w.\-\[\]:]+:\d{4,5}", text):
        return Wanted("address", address=text if "://" in text else f"tcp://{text}")
    raise UsageError(f"'{text[:80]}' is no cluster", hint="local:4, tcp://HOST:8786 (a Dask scheduler) or slurm.yaml")


def _read_file(path: str) -> Wanted:
    try:
        data = read_yaml(read_text(path, limit=MAX_BYTES, doing="read the cluster file"))
    except YamlError as error:
        raise ConfigError(f"not valid YAML: {error}", where=path) from error
    known = ("kind", "jobs", "adapt", "options")
    if not isinstance(data, dict) or "kind" not in data:
        raise ConfigError("a cluster file has a key 'kind'", where=path, hint=f"kind: {', '.join(KINDS)}")
    for key in data:
        if key not in known:
            raise ConfigError(f"unknown key '{key[:40]}'", where=path, hint=did_you_mean(key, known))
    kind, jobs, options = data["kind"], data.get("jobs", 1), data.get("options") or {}
    if kind not in KINDS:
        raise ConfigError(f"unknown kind '{kind}'", where=path, hint=did_you_mean(str(kind), KINDS))
    if not isinstance(jobs, int) or isinstance(jobs, bool) or not 1 <= jobs <= 100_000:
        raise ConfigError("'jobs' is a whole number from 1 on", where=path)
    adapt = data.get("adapt", False)
    if not isinstance(adapt, bool) or not isinstance(options, dict):
        raise ConfigError("'adapt' is true or false, and 'options' a section", where=path)
    for key in ("cores", "processes"):
        value = options.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"'options.{key}' is a whole number from 1 on", where=path)
    return Wanted(kind, workers=jobs, adapt=adapt, options=dict(options))


def require() -> None:
    """Raises `MissingToolError` without Dask."""
    if not (installed("distributed") and installed("fsspec")):
        raise MissingToolError("--cluster needs the package dask with distributed", hint=PIP)


@contextlib.contextmanager
def connect(wanted: Wanted) -> Iterator[Client]:
    """A client of the cluster. What was started for it ends with the block.

    Raises:
        MissingToolError: a package is missing.
        SnpeSrganError: the scheduler does not answer, the batch system takes no jobs.
    """
    require()
    import dask
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a dead worker is our remark, not a page of theirs
    if wanted.kind == "address":
        with _client(wanted.address) as client:
            yield client
        return
    with (
        dask.config.set(OWN_SCHEDULER),
        _start(wanted) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _client(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SnpeSrganError(f"no Dask scheduler answers: {reason}", where=address, hint="dask scheduler") from error


def _start(wanted: Wanted) -> Any:
    """A new cluster; a context manager that ends it."""
    if wanted.kind == "local":
        for _ in range(STARTS - 1):
            with contextlib.suppress(SnpeSrganError):  # a worker that is killed while it starts takes all with it
                return _local(wanted)
        return _local(wanted)
    if not installed("dask_jobqueue"):
        raise MissingToolError(f"jobs of {wanted.kind} need dask-jobqueue", hint="pip install dask-jobqueue")
    import dask_jobqueue

    extra = [*wanted.options.get("worker_extra_args", []), "--nthreads", "1"]  # one picture at a time a process
    options = {"silence_logs": "critical", **wanted.options, "worker_extra_args": extra}
    try:
        cluster = getattr(dask_jobqueue, KINDS[wanted.kind])(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dask-jobqueue takes no such options: {error}"[:300]) from error
    if wanted.adapt:
        cluster.adapt(minimum_jobs=0, maximum_jobs=wanted.workers)
    else:
        cluster.scale(jobs=wanted.workers)
    return cluster


def _local(wanted: Wanted) -> Any:
    from distributed import LocalCluster

    processes = wanted.workers > 0
    try:
        return LocalCluster(
            n_workers=max(1, wanted.workers), threads_per_worker=1, processes=processes, memory_limit=0,
            host="127.0.0.1" if processes else None, silence_logs=logging.CRITICAL,
            dashboard_address="127.0.0.1:0" if installed("bokeh") and processes else None,
        )  # fmt: skip
    except (OSError, RuntimeError) as error:
        raise SnpeSrganError(f"the workers cannot be started: {error}"[:300]) from error


class Reviver:
    """Starts workers of this machine again that died while they were starting: Dask's own watch ends there.

    Called with the number of workers, about once a second.
    """

    def __init__(self, client: Client):
        from distributed import LocalCluster

        self._cluster = client.cluster if isinstance(client.cluster, LocalCluster) else None
        self._wanted = 0 if self._cluster is None else len(self._cluster.worker_spec)
        self._whole = time.monotonic()

    def __call__(self, workers: int) -> None:
        now = time.monotonic()
        if self._cluster is None or workers >= self._wanted:
            self._whole = now
        elif now - self._whole > REVIVE_SECONDS:
            self._whole = now
            self._cluster.scale(self._wanted)
