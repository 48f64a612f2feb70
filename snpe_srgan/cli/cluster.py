"""`snpe-srgan run ... --cluster`: folders of any size on many processes and machines.

snpe-srgan run mobile photos/ -o enlarged/ --cluster local:4
snpe-srgan run mobile photos.jsonl -o s3://bucket/enlarged --results results.jsonl --cluster tcp://10.0.0.1:8786
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from snpe_srgan.cluster.clusters import Wanted
    from snpe_srgan.cluster.folder_run import Progress
    from snpe_srgan.console import Output
    from snpe_srgan.parallel import Jobs

RESULTS = "results.jsonl"


def cluster_options(function):
    """Adds --cluster and --results."""
    function = click.option(
        "--results", type=click.Path(), metavar="FILE",
        help=f"With --cluster: the result manifest, one line per picture.  [default: {RESULTS} in the folder -o]",
    )(function)  # fmt: skip
    return click.option(
        "--cluster", metavar="CLUSTER",
        help="On many processes and machines, by Dask: local:N (N processes here), a scheduler's address, or a .yaml "
        "file for SLURM and the like. PICTURE may then be a manifest (.jsonl) or an address (s3://...). The same "
        "command resumes where a run stopped.",
    )(function)  # fmt: skip


def refuse_cluster_options(cluster: str | None, results: str | None, pictures, out) -> None:
    """What goes with --cluster only is an error without it.

    Args:
        cluster, results, out: as typed; None where the option was left out.
        pictures: the words that name pictures.

    Raises:
        UsageError: --results, a manifest or an address, and no --cluster.
    """
    from snpe_srgan.errors import UsageError

    if cluster is not None:
        return
    if results is not None:
        raise UsageError("--results goes with --cluster")
    for word in (*pictures, *filter(None, [out])):
        if "://" in word or word.lower().endswith(".jsonl"):
            raise UsageError(
                "manifests and addresses go with --cluster", where=word, hint="--cluster local:1 for one process"
            )


@contextlib.contextmanager
def workers_for(jobs: int | None, cluster: str | None, output: Output) -> Iterator[Jobs | None]:
    """What --jobs or --cluster says, for `parallel.ordered`; None where neither is given.

    Args:
        jobs: processes on this machine; None where --jobs is left out.
        cluster: as it was typed; None where --cluster is left out.
        output: told which cluster it is.

    Raises:
        UsageError: both are given, or CLUSTER is none.
        MissingToolError: Dask is missing.
    """
    from snpe_srgan.cluster.clusters import require
    from snpe_srgan.errors import UsageError

    if cluster is None:
        yield jobs
        return
    if jobs is not None:
        raise UsageError("--jobs is for processes of this command: leave it out with --cluster")
    require()
    from snpe_srgan.cluster.crew import crew_of

    with crew_of(cluster) as crew:
        output.note(f"cluster: {cluster}, {crew.size} at once{_dashboard(crew.client)}")
        yield crew


def run_on_cluster(
    file, pictures, network, *, cluster: str, results: str | None, out: str | None, tile, where,
    skip_existing: bool, overwrite: bool, output: Output,
) -> None:  # fmt: skip
    """The folder run of `run`, on a cluster; prints the result and exits with 1 where a picture failed.

    Args:
        file: the model, resolved.
        pictures: folders, globs, manifests or addresses, as typed.
        network: the model's name in the result.
        cluster, results, out: the options as typed; without --results the list lies in the output folder.
        tile: LR (height, width) of the tiles; None: chosen by the engine.
        where: the options of `cli.sessions` that say what computes.
        skip_existing, overwrite: as typed, of results that are there.

    Raises:
        UsageError: options that do not go together, or a manifest that has no place of its own.
        MissingToolError: Dask is not installed.
        SystemExit: 1, after the result, where a picture failed.
    """
    from snpe_srgan.cluster import folder_run
    from snpe_srgan.cluster.addresses import is_remote, normal
    from snpe_srgan.cluster.clusters import connect, parse_cluster, require
    from snpe_srgan.cluster.results import open_results
    from snpe_srgan.cluster.work_list import make_work_list
    from snpe_srgan.errors import UsageError
    from snpe_srgan.progress import track

    require()
    from snpe_srgan.cluster.worker import Network, pack

    wanted = parse_cluster(cluster)
    _refuse(wanted, where, pictures, out)
    folder = normal(str(out))
    if results is None and is_remote(folder):
        raise UsageError("the result manifest is a file of this machine: say which", hint="--results FILE.jsonl")
    packed = Network(
        pack(file), on=where["on"], engine=where["engine"], precision=where["precision"], chip=where["chip"],
        overlap=where["overlap"], threads=where["threads"] or wanted.threads, workers=wanted.processes, said=file.said,
        tile=tile, overwrite=overwrite,
    )  # fmt: skip
    with packed.open(file, threads=where["threads"]) as session:  # its errors and remarks come before any work
        scale, description = session.scale, session.description
        for remark in description.remarks:
            output.warn(remark)
    work = make_work_list(pictures, out=folder, scale=scale)
    if work.passed_over:
        output.note(work.passed_over)
    path = Path(results or Path(folder) / RESULTS)
    goes_on = path.is_file() and path.stat().st_size > 0 and not overwrite
    if not goes_on:
        folder_run.refuse_taken(work.entries, folder, overwrite=overwrite, skip_existing=skip_existing)
    head = {
        "model": packed.model.digest, "scale": scale, "engine": description.computed_by, "on": packed.on,
        "ends": description.ends, "chip": packed.chip, "tile": tile, "overlap": packed.overlap,
    }  # fmt: skip
    manifest = open_results(path, head, overwrite=overwrite)
    before = sum(entry.target in manifest.before for entry in work.entries)
    with contextlib.closing(manifest), connect(wanted) as client:
        output.note(f"cluster: {cluster}{_dashboard(client)}; results: {path}")
        with track(output.say, "enlarging", total=len(work.entries), unit="picture", done=before) as bar:
            done = folder_run.run_on_cluster(
                client, packed, work.entries, manifest, watch=lambda state: bar.to(state.ended, note=words(state))
            )
    head = {"model": file.path, "network": network, "engine": description.computed_by, "scale": scale}
    _finish(output, head, done)


def _refuse(wanted: Wanted, where, pictures, out) -> None:
    from snpe_srgan.cli.sessions import refuse_auto_precision
    from snpe_srgan.errors import UsageError
    from snpe_srgan.video.kinds import is_video

    if where["on"] not in ("host", "emulator"):
        raise UsageError(f"--cluster does not go with --on {where['on']}: a phone or an SDK is one machine's")
    if where["precision"] == "auto":
        refuse_auto_precision()
    if where["mix"] is not None:
        raise UsageError("--mix does not go with --cluster, which sends one network to each worker")
    if out is None:
        raise UsageError("--cluster needs a folder for the results", hint="-o FOLDER")
    if films := [word for word in pictures if is_video(word)]:
        raise UsageError("--cluster is for pictures, not for videos", where=films[0], hint="leave it out")
    inside = wanted.kind == "local" and wanted.workers == 0
    for word in (*pictures, out):
        if word.startswith("memory://") and not inside:
            raise UsageError("memory:// is within one process: no worker sees it", where=word, hint="--cluster local:0")


def _dashboard(client) -> str:
    from snpe_srgan.machine import installed

    link = client.dashboard_link if installed("bokeh") else ""
    return f", dashboard {link}" if link else ""


def _finish(output: Output, head, run) -> None:
    state = run.progress
    for target, note in run.notes:
        output.warn(f"{target}: {note}")
    if state.lost_workers:
        output.warn(f"workers were lost at least {state.lost_workers} times; their pictures went to others")
    there = state.before + state.found
    parts = [f"{state.before + state.done} of {state.total} pictures"]
    parts += [f"({there} were there already)"] if there else []
    bad = state.failed + state.poison
    text = f"{' '.join(parts)}, x{head['scale']} by {head['engine']}, {state.seconds:.1f} s, {state.rate:.2f} a second"
    output.result({**head, **vars(state), "rate": state.rate, "results": run.results}, text=[text, str(run.results)])
    for error in run.errors:
        output.error(error)
    if bad > len(run.errors):
        output.warn(f"{bad - len(run.errors)} more failed: see {run.results}")
    if bad:
        raise SystemExit(1)


def words(state: Progress) -> str:
    """What stands behind the count of pictures."""
    lost = (state.lost_workers, "lost workers")
    counts = ((state.workers, "workers"), (state.failed, "failed"), (state.poison, "put aside"), lost)
    return ", ".join(f"{count} {what}" for count, what in counts if count or what == "workers")
