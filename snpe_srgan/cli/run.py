"""snpe-srgan run generator.npz photo.jpg -o photo_x4.png
snpe-srgan run generator.npz photos/ -o enlarged/
snpe-srgan run generator_w8a8.dlc photo.jpg --on emulator -o proof.png
snpe-srgan run generator_w8a8.dlc photo.jpg --on device --runtime dsp -o phone.png
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Size, common, model_argument, output_option, overwrite_option
from snpe_srgan.cli.sessions import open_model, session_options


@click.command()
@model_argument
@click.argument("pictures", metavar="PICTURE...", nargs=-1, required=True)
@output_option("A picture file, or a folder for several; by default the current folder, for one picture.")
@session_options
@click.option("--tile", type=Size(), help="Cut pictures in tiles of this LR size; chosen by memory otherwise.")
@click.option("--dry-run", is_flag=True, help="With --on sdk and device: print the exact commands, run nothing.")
@overwrite_option
@common
def command(model, pictures, out, tile, dry_run, overwrite, output, **where):
    """Enlarge pictures.

    PICTURE is a file, a folder or a quoted glob. Any kind of picture is taken; transparency, 16 bits and colour
    profiles are kept. Pictures larger than the model's fixed input, or than memory allows, are cut in tiles that
    overlap so far that no seam can be. When one of several pictures fails, the others are still done and the
    command ends with exit code 1 naming it.
    """
    import time

    from snpe_srgan.artifacts.resolve import resolve
    from snpe_srgan.errors import UsageError
    from snpe_srgan.runtimes.enlarge import enlarge, find_pictures, plan_jobs

    if dry_run and where["on"] not in ("sdk", "device"):
        raise UsageError("--dry-run prints the SDK's commands: it goes with --on sdk or --on device")
    start = time.perf_counter()
    file = resolve(model)
    found = find_pictures(pictures)
    with open_model(file, **where) as session:
        if dry_run:
            plan = session.plan()
            output.result({"dry_run": True, "commands": plan}, text=plan)
            return
        for remark in session.remarks:
            output.warn(remark)
        jobs = plan_jobs(found, out=out, scale=session.scale, overwrite=overwrite)
        watch = Watch(output, jobs)
        try:
            done, failed = enlarge(
                session, jobs, tile=tile, overwrite=overwrite, started=watch.started, tiles_done=watch.tiles_done
            )
        finally:
            watch.close()
        engine_name = f"{session.engine} {session.version}".strip()
        scale = session.scale
        times, no_times = getattr(session, "times", None), getattr(session, "no_times", None)
    for item in done:
        for note in item.notes:
            output.warn(f"{item.target}: {note}")
    seconds = time.perf_counter() - start
    result = {
        "model": file.path, "engine": engine_name, "scale": scale, "seconds": seconds, "pictures": done,
        "failed": failed, "times": times,
    }  # fmt: skip
    lines = [_line(item) for item in done]
    if len(jobs) > 1 or failed:
        lines.append(f"{len(done)} of {len(jobs)} pictures, x{scale} by {engine_name}, {seconds:.1f} s in all")
    else:
        lines[-1] += f" by {engine_name}"
    if times is not None:
        lines.append(f"  measured on the phone: {times.total_us / 1000:.2f} ms an inference, by SNPE's own log")
    elif no_times:
        output.warn(f"no times were read: {no_times}")
    output.result(result, text=lines)
    if failed:
        for item in failed:
            output.error(item.error)
        raise SystemExit(1)


def _line(item) -> str:
    (lh, lw), (sh, sw) = item.lr_size, item.sr_size
    tiles = f", {item.tiles} tiles" if item.tiles > 1 else ""
    return f"{item.target}  {lh}x{lw} -> {sh}x{sw}  {item.seconds:.2f} s{tiles}"


class Watch:
    """Progress on stderr: a line a picture where there are several, a bar for pictures of many tiles at a terminal."""

    def __init__(self, output, jobs):
        self.output, self.jobs, self.count, self.bar = output, jobs, 0, None

    def started(self, job) -> None:
        self.close()
        self.count += 1
        if len(self.jobs) > 1:
            self.output.note(f"({self.count}/{len(self.jobs)}) {job.source}")

    def tiles_done(self, done: int, total: int) -> None:
        if total < 2 or not self.output.progress:
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit="tile", leave=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None
